//! Writes a module so that the same files are the same bytes.

use crate::archive::{Entry, Module};
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};
use std::io::{self, Write};
use tar::EntryType;

/// Writes the module's `tar.gz`. Returns its SHA-256 in hex, and its length.
pub(crate) fn write(module: &Module, out: impl Write) -> io::Result<(String, u64)> {
    let out = Counting { inner: out, hasher: Sha256::new(), size: 0 };
    let mut tar = tar::Builder::new(GzEncoder::new(out, Compression::default()));
    for (path, entry) in &module.entries {
        match entry {
            Entry::Folder => {
                tar.append_data(&mut header(EntryType::Directory, 0o755, 0), path, io::empty())?;
            }
            Entry::File { body, executable } => {
                let mode = if *executable { 0o755 } else { 0o644 };
                let mut header = header(EntryType::Regular, mode, body.len() as u64);
                tar.append_data(&mut header, path, body.as_slice())?;
            }
            Entry::Link(to) => {
                tar.append_link(&mut header(EntryType::Symlink, 0o777, 0), path, to)?;
            }
        }
    }
    let mut out = tar.into_inner()?.finish()?;
    out.flush()?;
    Ok((hex::encode(out.hasher.finalize()), out.size))
}

/// A header that says nothing of where and when it was made.
fn header(kind: EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// Passes everything on, and knows its digest and length.
struct Counting<W> {
    inner: W,
    hasher: Sha256,
    size: u64,
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, body: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(body)?;
        self.hasher.update(&body[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
