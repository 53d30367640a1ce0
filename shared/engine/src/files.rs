//! Files that a run's code may have had its hands on, handled without following it anywhere.

use crate::Unprivileged;
use nix::fcntl::OFlag;
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Makes a folder, and those above it that are missing, with `mode`, whatever the umask; one that
/// exists stays as it is.
pub fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    match fs::DirBuilder::new().mode(mode).create(path) {
        Ok(()) => fs::set_permissions(path, fs::Permissions::from_mode(mode)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let above = path.parent().filter(|above| !above.as_os_str().is_empty());
            make_folder(above.ok_or(error)?, mode)?;
            make_folder(path, mode)
        }
        Err(error) => Err(error),
    }
}

/// Makes an empty folder in place of whatever is there.
pub fn make_fresh_folder(path: &Path, mode: u32) -> io::Result<()> {
    remove_folder(path)?;
    make_folder(path, mode)
}

/// Removes a folder with all that is in it, if it is there.
pub fn remove_folder(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Opens a regular file for reading: no link, no pipe, no device.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other(format!("{} is not a regular file", path.display())));
    }
    Ok(file)
}

/// The folder at `inner` within `outer`, where no link leads elsewhere.
pub fn within(outer: &Path, inner: &str) -> Option<PathBuf> {
    let outer = outer.canonicalize().ok()?;
    let folder = outer.join(inner).canonicalize().ok()?;
    (folder.starts_with(&outer) && folder.is_dir()).then_some(folder)
}

/// Writes a new file that only its owner can read, and waits until it is on the disk.
pub fn write_private(path: &Path, body: &[u8]) -> io::Result<()> {
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(body)?;
    file.sync_all()
}

/// Gives a folder and all that is in it to `user`; links themselves, never what they lead to.
///
/// The folder itself goes last. As long as it is closed to the user, nobody puts links in the way.
pub fn give_to(path: &Path, user: Unprivileged) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        for entry in fs::read_dir(path)? {
            give_to(&entry?.path(), user)?;
        }
    }
    std::os::unix::fs::lchown(path, Some(user.uid), Some(user.gid))
}

/// The SHA-256 of everything that `from` gives, hex, and its length.
pub fn digest_of(mut from: impl Read) -> io::Result<(String, u64)> {
    let mut sink = HashingWriter::new(io::sink());
    let length = io::copy(&mut from, &mut sink)?;
    Ok((sink.finish().1, length))
}

/// The SHA-256 of a text, hex.
pub fn digest(body: &[u8]) -> String {
    hex::encode(Sha256::digest(body))
}

/// Passes everything on and knows its digest at the end.
pub(crate) struct HashingWriter<W> {
    inner: W,
    hasher: Sha256,
}

impl<W: Write> HashingWriter<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, hasher: Sha256::new() }
    }

    pub(crate) fn finish(self) -> (W, String) {
        (self.inner, hex::encode(self.hasher.finalize()))
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, body: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(body)?;
        self.hasher.update(&body[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
