//! A folder that shows what lies in another one, as if it were a copy: what is changed in it lies
//! apart, and nothing costs time but what is looked at and changed
//! (<https://docs.kernel.org/filesystems/overlayfs.html>).

use nix::errno::Errno;
use std::{
    io,
    path::{Path, PathBuf},
};

/// The kernel reads one page of a mount's options.
#[cfg(target_os = "linux")]
const LONGEST_OPTIONS: usize = 4000;

/// Gives this process mounts of its own, where it may have them: nobody else sees what it mounts from
/// then on, but what it starts, and all of them end with it. To be called before there is another
/// thread.
///
/// # Errors
/// When the machine does not let it.
#[cfg(target_os = "linux")]
pub fn gain_mounts() -> io::Result<()> {
    use nix::{
        mount::{MsFlags, mount},
        sched::{CloneFlags, unshare},
    };
    let none: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS)?;
    // What the machine mounts later is seen here too, and not the other way round.
    Ok(mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)?)
}

/// Gives this process mounts of its own, which only Linux can.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn gain_mounts() -> io::Result<()> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}

/// Whether an error says that the machine can never show a folder like that, not only this time.
pub fn is_lasting(error: &io::Error) -> bool {
    let known = [Errno::EPERM, Errno::EINVAL, Errno::ENODEV, Errno::EOPNOTSUPP];
    match error.raw_os_error() {
        Some(number) => known.contains(&Errno::from_raw(number)),
        None => [io::ErrorKind::InvalidInput, io::ErrorKind::Unsupported].contains(&error.kind()),
    }
}

/// A folder that shows another one, as long as this is there.
#[derive(Debug)]
pub struct Overlay {
    at: PathBuf,
}

impl Overlay {
    /// Shows the folder `files` in the empty folder `at`, to this process, which has
    /// [mounts of its own](gain_mounts), and to what it starts. Nobody may change `files` meanwhile.
    /// What is changed goes to the empty folder `changed`, which also says whose `at` is; `own`, an
    /// empty folder beside it, is the kernel's.
    ///
    /// Folders of `files` cannot be renamed in there: programs that can copy, like `mv`, do that
    /// instead. What is there when the machine loses its power does not matter to anybody, so nothing
    /// waits for the disk.
    ///
    /// # Errors
    /// When the machine does not let it, or no option can hold a path.
    #[cfg(target_os = "linux")]
    pub fn new(files: &Path, changed: &Path, own: &Path, at: &Path) -> io::Result<Self> {
        use nix::mount::{MsFlags, mount};
        let no_option = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, why);
        let option = |path: &Path| {
            let path = path.to_str().filter(|path| !path.contains([',', ':', '\\', '"']));
            path.map(str::to_owned).ok_or_else(|| no_option("no option can hold the path"))
        };
        let options = format!(
            "lowerdir={},upperdir={},workdir={},userxattr,index=off,volatile",
            option(files)?,
            option(changed)?,
            option(own)?
        );
        if options.len() > LONGEST_OPTIONS {
            return Err(no_option("the paths are too long"));
        }
        let safe = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("overlay"), at, Some("overlay"), safe, Some(options.as_str()))?;
        Ok(Self { at: at.to_owned() })
    }

    /// Shows nothing: only Linux can.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(target_os = "linux"))]
    pub fn new(_files: &Path, _changed: &Path, _own: &Path, _at: &Path) -> io::Result<Self> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        #[cfg(target_os = "linux")]
        if let Err(error) = nix::mount::umount2(&self.at, nix::mount::MntFlags::MNT_DETACH) {
            tracing::error!(%error, folder = %self.at.display(), "it still shows another folder");
        }
        #[cfg(not(target_os = "linux"))]
        let _ = &self.at;
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;
    use std::{
        fs,
        os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
        thread,
    };

    #[test]
    fn what_is_changed_in_it_lies_apart() {
        if !gantry_terraform::is_root("mounts of a thread") {
            return;
        }
        // A thread can have mounts of its own, and the other tests of this process see none of them.
        thread::spawn(changes).join().unwrap();
    }

    #[test]
    fn what_the_machine_never_shows_is_told_from_trouble() {
        for errno in [Errno::EPERM, Errno::EINVAL, Errno::ENODEV, Errno::EOPNOTSUPP] {
            assert!(is_lasting(&errno.into()), "{errno}");
        }
        for errno in [Errno::ENOMEM, Errno::ENOSPC, Errno::EBUSY, Errno::ENOENT, Errno::EIO] {
            assert!(!is_lasting(&errno.into()), "{errno}");
        }
        assert!(!is_lasting(&io::Error::other("trouble")));
        let (long, empty) = ("x".repeat(LONGEST_OPTIONS), Path::new(""));
        for files in ["a,b", "a:b", "a\\b", "a\"b", long.as_str()] {
            assert!(is_lasting(&Overlay::new(files.as_ref(), empty, empty, empty).unwrap_err()));
        }
    }

    fn changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["files/deep/er", "1/changed", "1/own", "1/at", "2/changed", "2/own", "2/at"] {
            fs::create_dir_all(path(name)).unwrap();
        }
        for name in ["deep/er/main.tf", "deep/er/gone.tf", "deep/other.tf"] {
            fs::write(path("files").join(name), "as it was").unwrap();
        }
        symlink("deep/other.tf", path("files/link")).unwrap();
        let show = |name: &str| {
            let path = |part: &str| path(name).join(part);
            Overlay::new(&folder.path().join("files"), &path("changed"), &path("own"), &path("at"))
        };
        if gain_mounts().is_err() {
            return;
        }
        // Not on every file system: that of a container is one of these itself.
        let Ok(first) = show("1") else { return };
        let second = show("2").unwrap();
        let at = path("1/at");
        fs::write(at.join("deep/er/main.tf"), "changed").unwrap();
        fs::remove_file(at.join("deep/er/gone.tf")).unwrap();
        fs::rename(at.join("deep/other.tf"), at.join("deep/er/moved.tf")).unwrap();
        fs::write(at.join("new.tf"), "").unwrap();
        fs::set_permissions(at.join("deep"), fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(fs::read(at.join("deep/er/main.tf")).unwrap(), b"changed");
        assert!(!at.join("deep/er/gone.tf").exists() && !at.join("link").exists());
        for other in [path("files"), path("2/at")] {
            for name in ["deep/er/main.tf", "deep/er/gone.tf", "deep/other.tf", "link"] {
                assert_eq!(fs::read(other.join(name)).unwrap(), b"as it was", "{name}");
            }
            assert!(!other.join("new.tf").exists() && !other.join("deep/er/moved.tf").exists());
            assert_ne!(fs::metadata(other.join("deep")).unwrap().mode() & 0o777, 0o700);
        }
        drop((first, second));
        assert!(fs::read_dir(at).unwrap().next().is_none(), "it shows nothing any more");
        assert_eq!(fs::read(path("1/changed/deep/er/main.tf")).unwrap(), b"changed");
    }
}
