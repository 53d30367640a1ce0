//! Commits' archives, as GitLab and as others make them, and what is packed from them.

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use gantry_package::{Limits, PackageError, Packed};
use std::{collections::BTreeMap, io::Read as _, time::Duration};
use tar::{EntryType, Header};

/// The folder that everything is below.
pub(crate) const TOP: &str = "shop-1f0c2b-1f0c2b";

pub(crate) const LIMITS: Limits =
    Limits { unpacked: 4 << 20, files: 100, file: 1 << 20, time: Duration::from_secs(600) };

/// One entry of an archive: its whole path, what it is and what it holds.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) kind: EntryType,
    pub(crate) path: String,
    pub(crate) mode: u32,
    pub(crate) to: String,
    pub(crate) body: Vec<u8>,
}

pub(crate) fn entry(kind: EntryType, path: &str) -> Entry {
    Entry { kind, path: path.to_owned(), mode: 0o664, to: String::new(), body: Vec::new() }
}

pub(crate) fn file(path: &str, body: impl AsRef<[u8]>) -> Entry {
    let path = format!("{TOP}/{path}");
    Entry { body: body.as_ref().to_vec(), ..entry(EntryType::Regular, &path) }
}

pub(crate) fn folder(path: &str) -> Entry {
    Entry { mode: 0o775, ..entry(EntryType::Directory, &format!("{TOP}/{path}")) }
}

pub(crate) fn link(path: &str, to: &str) -> Entry {
    Entry { to: to.to_owned(), ..entry(EntryType::Symlink, &format!("{TOP}/{path}")) }
}

/// Writes headers by hand: the tar crate's own builder would refuse what is to be refused here.
pub(crate) fn header(entry: &Entry, size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(entry.kind);
    header.set_mode(entry.mode);
    header.set_mtime(1_700_000_000);
    header.set_uid(1000);
    header.set_size(size);
    header.as_mut_bytes()[..entry.path.len()].copy_from_slice(entry.path.as_bytes());
    header.as_mut_bytes()[157..157 + entry.to.len()].copy_from_slice(entry.to.as_bytes());
    header.set_cksum();
    header
}

pub(crate) fn archive(entries: &[Entry]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for entry in entries {
        tar.append(&header(entry, entry.body.len() as u64), entry.body.as_slice()).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

/// What was packed, and the bytes.
pub(crate) fn pack(entries: &[Entry], root: &str) -> Result<(Packed, Vec<u8>), PackageError> {
    pack_within(&archive(entries), root, LIMITS)
}

pub(crate) fn pack_within(
    archive: &[u8],
    root: &str,
    limits: Limits,
) -> Result<(Packed, Vec<u8>), PackageError> {
    let mut out = Vec::new();
    let packed = gantry_package::pack(archive, root, &mut out, limits);
    assert!(packed.is_ok() || out.is_empty(), "nothing is written of what is refused");
    packed.map(|packed| (packed, out))
}

/// The entries of what was packed, one a line.
pub(crate) fn listed(packed: &[u8]) -> String {
    let mut lines = Vec::new();
    for entry in tar::Archive::new(GzDecoder::new(packed)).entries().unwrap() {
        let mut entry = entry.unwrap();
        let header = entry.header();
        assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
        assert_eq!(header.mtime().unwrap(), 0);
        let (kind, mode) = (header.entry_type(), header.mode().unwrap());
        let path = entry.path().unwrap().display().to_string();
        let to = entry.link_name().unwrap().map(|to| format!(" -> {}", to.display()));
        let mut body = String::new();
        entry.read_to_string(&mut body).unwrap();
        let (to, body) = (to.unwrap_or_default(), body.trim_end());
        lines.push(format!("{kind:?} {mode:o} {path}{to} {body}").trim_end().to_owned());
    }
    lines.join("\n")
}

/// The files of a folder, as entries of an archive.
pub(crate) fn module(files: &[(&str, &str)]) -> Vec<Entry> {
    let files: BTreeMap<_, _> = files.iter().copied().collect();
    files.into_iter().map(|(path, body)| file(path, body)).collect()
}
