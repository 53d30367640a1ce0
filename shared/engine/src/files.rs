//! Files that a run's code may have had its hands on, handled without following it anywhere.

use crate::Unprivileged;
use nix::{
    dir::Dir,
    fcntl::{AtFlags, OFlag, openat, readlinkat},
    sys::stat::{FchmodatFlags, Mode, SFlag, fchmodat, fstatat},
    unistd::{UnlinkatFlags, unlinkat},
};
use sha2::{Digest, Sha256};
use std::{
    ffi::{OsStr, OsString},
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::{
        fd::OwnedFd,
        unix::{
            ffi::OsStrExt,
            fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
        },
    },
    path::{Component, Path, PathBuf},
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

/// Removes a folder that nobody but us can replace, with all that is in it, if it is there.
pub fn remove_folder(path: &Path) -> io::Result<()> {
    let removed = match fs::remove_dir_all(path) {
        // Go makes its module cache read-only.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
            Folder::within(path, path)?.open_up()?;
            fs::remove_dir_all(path)
        }
        other => other,
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Removes all that is in a folder, which stays whose it is.
pub fn empty_folder(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => remove_folder(&entry.path())?,
            false => fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

/// A folder, held open: what is reached through it lies in it, whatever links a run's code puts in
/// the way meanwhile.
#[derive(Debug)]
pub struct Folder(OwnedFd);

impl Folder {
    /// The folder at `path`, which lies in `outer`. Nobody but us can replace `outer`; links below
    /// it are followed as long as they lead to what lies in it too.
    pub fn within(outer: &Path, path: &Path) -> io::Result<Self> {
        let outer = outer.canonicalize()?;
        let path = path.canonicalize()?;
        let Ok(inner) = path.strip_prefix(&outer) else {
            let problem = format!("{} is not in {}", path.display(), outer.display());
            return Err(io::Error::other(problem));
        };
        let opened = nix::fcntl::open(&outer, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty());
        // By now a link may be where none was: it is not followed.
        inner.components().try_fold(Self(opened?), |folder, part| folder.folder(part.as_os_str()))
    }

    /// A folder in it that is no link.
    pub fn folder(&self, name: &OsStr) -> io::Result<Self> {
        Ok(Self(self.open(name, OFlag::O_DIRECTORY, Mode::empty())?))
    }

    /// A regular file in it, for reading: no link, no pipe, no device.
    pub fn file(&self, name: &OsStr) -> io::Result<File> {
        let file = File::from(self.open(name, OFlag::O_NONBLOCK, Mode::empty())?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::other(format!("{} is not a regular file", name.display())));
        }
        Ok(file)
    }

    /// Makes a file in it where nothing has that name.
    pub fn create_new(&self, name: &OsStr) -> io::Result<File> {
        let new = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
        Ok(self.open(name, new, Mode::from_bits_truncate(0o666))?.into())
    }

    fn open(&self, name: &OsStr, flags: OFlag, mode: Mode) -> io::Result<OwnedFd> {
        let mut parts = Path::new(name).components();
        let (Some(Component::Normal(name)), None) = (parts.next(), parts.next()) else {
            return Err(io::Error::other(format!("{} is not a file name", name.display())));
        };
        Ok(openat(&self.0, name, flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, mode)?)
    }

    /// The names of all that is in it.
    pub fn names(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in Dir::from_fd(self.0.try_clone()?)?.iter() {
            let name = OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Lets its owner change all folders in it.
    fn open_up(&self) -> io::Result<()> {
        for name in self.names()? {
            if self.kind(&name)? == SFlag::S_IFDIR {
                let itself = FchmodatFlags::NoFollowSymlink;
                fchmodat(&self.0, name.as_os_str(), Mode::S_IRWXU, itself)?;
                self.folder(&name)?.open_up()?;
            }
        }
        Ok(())
    }

    /// Of what kind something in it is, a link itself and not what it leads to.
    pub fn kind(&self, name: &OsStr) -> io::Result<SFlag> {
        let found = fstatat(&self.0, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        Ok(SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT)
    }

    /// What a link in it says.
    pub fn link(&self, name: &OsStr) -> io::Result<PathBuf> {
        Ok(readlinkat(&self.0, name)?.into())
    }

    /// Removes a file or a link in it.
    pub fn remove(&self, name: &OsStr) -> io::Result<()> {
        Ok(unlinkat(&self.0, name, UnlinkatFlags::NoRemoveDir)?)
    }
}

/// Opens a regular file that lies in `outer`, as [`Folder::within`] finds its folder.
pub fn open_regular(outer: &Path, path: &Path) -> io::Result<File> {
    let (folder, name) = place(path)?;
    Folder::within(outer, folder)?.file(name)
}

/// Removes a file that lies in `outer`, as [`open_regular`] finds it.
pub fn remove_file(outer: &Path, path: &Path) -> io::Result<()> {
    let (folder, name) = place(path)?;
    Folder::within(outer, folder)?.remove(name)
}

fn place(path: &Path) -> io::Result<(&Path, &OsStr)> {
    path.parent()
        .zip(path.file_name())
        .ok_or_else(|| io::Error::other(format!("{} is not a file path", path.display())))
}

/// The folder at `inner` within `outer`, where no link leads elsewhere.
pub fn within(outer: &Path, inner: &Path) -> Option<PathBuf> {
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

/// Makes a file that takes this much room on the disk, so that removing it leaves as much. Where the
/// file system cannot promise room, there is none.
pub fn reserve(path: &Path, bytes: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use nix::{
            errno::Errno,
            fcntl::{FallocateFlags, fallocate},
        };
        let file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        let bytes = i64::try_from(bytes).map_err(io::Error::other)?;
        match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
            Err(Errno::EOPNOTSUPP) => {}
            Err(error) => {
                fs::remove_file(path)?;
                return Err(error.into());
            }
            Ok(()) => {}
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (path, bytes);
    Ok(())
}

/// Gives a folder and all that is in it to `user`; links themselves, never what they lead to. What is
/// the user's already is not touched.
///
/// The folder itself goes last. As long as it is closed to the user, nobody puts links in the way.
pub fn give_to(path: &Path, user: Unprivileged) -> io::Result<()> {
    let found = fs::symlink_metadata(path)?;
    if found.is_dir() {
        for entry in fs::read_dir(path)? {
            give_to(&entry?.path(), user)?;
        }
    }
    if (found.uid(), found.gid()) == (user.uid, user.gid) {
        return Ok(());
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
