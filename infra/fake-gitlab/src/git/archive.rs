//! `archive.tar.gz`, as GitLab packs it.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::object::Objects;
use super::{Oid, tree};

/// Packs a tree below the folder `top`. Submodules are empty folders, as in GitLab.
pub(crate) fn tar_gz(objects: &Objects, root: Oid, top: &str, mtime: u64) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let written = append(&mut tar, objects, root, top, mtime)
        .and_then(|()| tar.into_inner())
        .and_then(GzEncoder::finish);
    written.expect("writing to memory does not fail")
}

fn append<W: Write>(
    tar: &mut tar::Builder<W>,
    objects: &Objects,
    root: Oid,
    top: &str,
    mtime: u64,
) -> std::io::Result<()> {
    append_folder(tar, &format!("{top}/"), mtime)?;
    let mut entries = tree::list(objects, root, "", true);
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    for entry in entries {
        let path = format!("{top}/{}", entry.path);
        match entry.mode {
            0o040_000 | 0o160_000 => append_folder(tar, &format!("{path}/"), mtime)?,
            0o120_000 => {
                let target = objects.blob(entry.id).unwrap_or_default();
                let mut header = header(tar::EntryType::Symlink, 0o777, 0, mtime);
                tar.append_link(&mut header, path, String::from_utf8_lossy(&target).as_ref())?;
            }
            mode => {
                let content = objects.blob(entry.id).unwrap_or_default();
                let mode = if mode == 0o100_755 { 0o775 } else { 0o664 };
                let mut header = header(tar::EntryType::Regular, mode, content.len() as u64, mtime);
                tar.append_data(&mut header, path, content.as_slice())?;
            }
        }
    }
    Ok(())
}

fn append_folder<W: Write>(
    tar: &mut tar::Builder<W>,
    path: &str,
    mtime: u64,
) -> std::io::Result<()> {
    tar.append_data(&mut header(tar::EntryType::Directory, 0o775, 0, mtime), path, std::io::empty())
}

fn header(kind: tar::EntryType, mode: u32, size: u64, mtime: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(mtime);
    header
}
