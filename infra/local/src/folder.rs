//! The data folder, closed to everybody but its owner: it holds secrets, states and records.

use anyhow::{Context as _, anyhow, bail};
use nix::{
    sys::stat::{Mode, umask},
    unistd::{Uid, User, geteuid},
};
use std::{
    fs::{self, File, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Where runs execute, below the data folder. Each run closes its own folder.
pub const RUNNERS: &str = "runners";

/// What says whose the data folder is: the kernel's lock on it, in which the process id is only for
/// people. It stays where it is.
const LOCK: &str = "lock";

/// What this process writes from now on is its user's alone, however it was started.
pub fn write_for_owner_only() {
    umask(Mode::from_bits_truncate(0o077));
}

/// The data folder, which is this process's alone until this is dropped or the process ends,
/// however it does. What the process starts does not hold it.
#[derive(Debug)]
pub struct Held {
    data: PathBuf,
    /// What who passes through may do.
    passage: u32,
    _lock: File,
}

impl Held {
    /// Makes the data folder if it is missing, and holds it. Where runs have a user of their own,
    /// that user may pass through to them.
    ///
    /// # Errors
    /// When it cannot be made, or another process holds it.
    pub fn new(data: &Path, runs_have_user: bool) -> anyhow::Result<Self> {
        let passage = if runs_have_user { 0o711 } else { 0o700 };
        make_for(data, passage, data)?;
        let file = data.join(LOCK);
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let opened = options.open(&file).map_err(|error| why(error, &file, data));
        let mut lock = opened.with_context(|| format!("{} cannot be opened", file.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let process = io::read_to_string(&lock).unwrap_or_default();
                bail!(
                    "another Gantry (process {}) uses the folder {}; stop it, or choose another \
                     folder with GANTRY_DATA_DIR",
                    process.trim(),
                    data.display()
                )
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("{} cannot be locked", file.display()));
            }
        }
        let written = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
        written.with_context(|| format!("{} cannot be written", file.display()))?;
        Ok(Self { data: data.to_owned(), passage, _lock: lock })
    }

    /// Makes the runners' folder, and closes what others could look into. How many files and
    /// folders were open.
    ///
    /// # Errors
    /// When something cannot be made, or cannot be closed.
    pub fn prepare(&self) -> anyhow::Result<u64> {
        let Self { data, passage, .. } = self;
        let runners = data.join(RUNNERS);
        make_for(&runners, *passage, data)?;
        let closed = (|| {
            let mut closed = 0;
            for path in self.entries().map_err(|error| why(error, data, data))? {
                if path.is_file() {
                    // Those that open it later say less of why they cannot.
                    File::open(&path).map_err(|error| why(error, &path, data))?;
                }
                if path != runners {
                    closed += close(&path, data)?;
                }
            }
            for folder in [data, &runners] {
                let was_open = set(folder, *passage).map_err(|error| why(error, folder, data))?;
                closed += u64::from(was_open);
            }
            Ok::<_, anyhow::Error>(closed)
        })();
        closed.with_context(|| format!("the folder {} cannot be closed to others", data.display()))
    }

    /// Removes all that is in it, and goes on holding it.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn empty(&self) -> anyhow::Result<()> {
        let emptied = (|| {
            for path in self.entries()? {
                match fs::symlink_metadata(&path)?.is_dir() {
                    true => fs::remove_dir_all(path)?,
                    false if path.ends_with(LOCK) => {}
                    false => fs::remove_file(path)?,
                }
            }
            Ok::<_, io::Error>(())
        })();
        emptied.with_context(|| format!("the folder {} cannot be emptied", self.data.display()))
    }

    fn entries(&self) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(&self.data)?.map(|entry| Ok(entry?.path())).collect()
    }
}

/// Makes `data`, or a folder in it.
fn make_for(folder: &Path, mode: u32, data: &Path) -> anyhow::Result<()> {
    make(folder, mode)
        .map_err(|error| why(error, folder, data))
        .with_context(|| format!("the folder {} cannot be created", folder.display()))
}

/// Why something at `path` cannot be done: a folder that was put back may be another user's, or on
/// a disk that is mounted read-only.
fn why(error: io::Error, path: &Path, data: &Path) -> anyhow::Error {
    why_for(geteuid(), error, path, data)
}

fn why_for(user: Uid, error: io::Error, path: &Path, data: &Path) -> anyhow::Error {
    // Whose the files are is hidden in a folder that may not be entered.
    let seen = path.ancestors().find_map(|path| Some((path, fs::metadata(path).ok()?.uid())));
    let Some((seen, owner)) = seen.map(|(path, owner)| (path, Uid::from_raw(owner))) else {
        return error.into();
    };
    match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => {
            anyhow!("{} is on a file system that is mounted read-only", seen.display())
        }
        io::ErrorKind::PermissionDenied if owner != user => {
            let user = name(user);
            let todo = match seen.starts_with(data) {
                true => format!("chown -R {user} {}", data.display()),
                false => "choose another folder with GANTRY_DATA_DIR".to_owned(),
            };
            let (seen, owner) = (seen.display(), name(owner));
            anyhow!("{seen} belongs to {owner}, and Gantry runs as {user}: {todo}")
        }
        _ => error.into(),
    }
}

fn name(user: Uid) -> String {
    let known = User::from_uid(user).ok().flatten();
    known.map_or_else(|| user.to_string(), |known| known.name)
}

/// Makes a folder and those above it that are missing, with a mode that no umask changes.
fn make(folder: &Path, mode: u32) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if folder.exists() {
        let file = folder.display();
        return Err(io::Error::other(format!(
            "{file} is a file; move it away, or choose another folder with GANTRY_DATA_DIR"
        )));
    }
    if let Some(above) = folder.parent().filter(|above| !above.as_os_str().is_empty()) {
        make(above, mode)?;
    }
    fs::DirBuilder::new().mode(mode).create(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(mode))
}

/// Takes what the group and others may do from a file, or a folder with all that is in it. Links
/// are passed over, and what they lead to with them.
fn close(path: &Path, data: &Path) -> anyhow::Result<u64> {
    let at = |error| why(error, path, data);
    let found = match fs::symlink_metadata(path) {
        // A runner that outlived the last host may tidy up meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        other => other.map_err(at)?,
    };
    if !found.is_dir() && !found.is_file() {
        return Ok(0);
    }
    let mut closed = u64::from(set(path, found.mode() & 0o700).map_err(at)?);
    if found.is_dir() {
        for entry in fs::read_dir(path).map_err(at)? {
            closed += close(&entry.map_err(at)?.path(), data)?;
        }
    }
    Ok(closed)
}

/// Whether the group or others could do more before than now.
fn set(path: &Path, mode: u32) -> io::Result<bool> {
    let before = fs::metadata(path)?.mode() & 0o7777;
    if before != mode {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    Ok(before & 0o077 & !mode != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    /// How many were open, for a host that starts and ends.
    fn prepare(data: &Path, runs_have_user: bool) -> u64 {
        Held::new(data, runs_have_user).unwrap().prepare().unwrap()
    }

    #[test]
    fn a_folder_is_held_by_one_and_stays_so_when_it_is_emptied() {
        let folder = tempfile::tempdir().unwrap();
        let held = Held::new(folder.path(), false).unwrap();
        fs::create_dir_all(folder.path().join("objects/state")).unwrap();
        fs::write(folder.path().join("table.db"), "").unwrap();
        held.empty().unwrap();
        let left: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, [LOCK]);
        let refused = Held::new(folder.path(), false).unwrap_err().to_string();
        let expected = format!(
            "another Gantry (process {}) uses the folder {}; stop it, or choose another folder \
             with GANTRY_DATA_DIR",
            std::process::id(),
            folder.path().display()
        );
        assert_eq!(refused, expected);
        drop(held);
        Held::new(folder.path(), false).unwrap();
    }

    #[test]
    fn a_file_in_its_place_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("data");
        fs::write(&file, "").unwrap();
        for data in [file.clone(), file.join("demo")] {
            let refused = Held::new(&data, false).unwrap_err();
            let expected = format!(
                "the folder {} cannot be created: {} is a file; move it away, or choose another \
                 folder with GANTRY_DATA_DIR",
                data.display(),
                file.display()
            );
            assert_eq!(format!("{refused:#}"), expected);
        }
    }

    #[test]
    fn what_belongs_to_another_user_or_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (data, gone) = (folder.path(), folder.path().join("gone"));
        let owner = name(geteuid());
        let said = |kind: io::ErrorKind, path: &Path, data: &Path| {
            // A user that no machine has.
            why_for(Uid::from_raw(4_000_000_000), kind.into(), path, data).to_string()
        };
        let (lock, shown) = (data.join(LOCK), data.display().to_string());
        let denied = io::ErrorKind::PermissionDenied;
        let told = format!("{shown} belongs to {owner}, and Gantry runs as 4000000000: ");
        let todo = format!("chown -R 4000000000 {shown}");
        assert_eq!(said(denied, &lock, data), format!("{told}{todo}"));
        assert_eq!(said(denied, &data.join(RUNNERS), data), format!("{told}{todo}"));
        let todo = "choose another folder with GANTRY_DATA_DIR";
        assert_eq!(said(denied, &gone, &gone), format!("{told}{todo}"));
        let expected = format!("{shown} is on a file system that is mounted read-only");
        assert_eq!(said(io::ErrorKind::ReadOnlyFilesystem, &lock, data), expected);
        let own = why(denied.into(), &lock, data).to_string();
        assert!(!own.contains("belongs to"), "{own}");
    }

    #[test]
    fn a_new_folder_is_its_owners_and_one_that_was_open_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("new/data");
        assert_eq!(prepare(&data, false), 0);
        assert_eq!((mode(&data), mode(&data.join(RUNNERS))), (0o700, 0o700));
        assert_eq!(mode(&folder.path().join("new")), 0o700);

        let outside = folder.path().join("outside");
        fs::write(&outside, "").unwrap();
        fs::create_dir_all(data.join("objects/state")).unwrap();
        fs::create_dir_all(data.join("runners/run-1")).unwrap();
        for name in ["table.db", "objects/state/1", "runners/run-1/file"] {
            fs::write(data.join(name), "").unwrap();
            fs::set_permissions(data.join(name), fs::Permissions::from_mode(0o664)).unwrap();
        }
        for path in [&outside, &data, &data.join("objects"), &data.join("objects/state")] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        std::os::unix::fs::symlink(&outside, data.join("objects/link")).unwrap();
        assert_eq!(prepare(&data, false), 5);
        for (name, wanted) in [
            ("", 0o700),
            ("table.db", 0o600),
            ("objects", 0o700),
            ("objects/state", 0o700),
            ("objects/state/1", 0o600),
            // A run's own, which may be going on.
            ("runners/run-1/file", 0o664),
            ("objects/link", 0o755),
        ] {
            assert_eq!(mode(&data.join(name)), wanted, "{name}");
        }
        assert_eq!(prepare(&data, false), 0);

        // The user of runs passes through, and lists nothing.
        assert_eq!(prepare(&data, true), 0);
        assert_eq!((mode(&data), mode(&data.join(RUNNERS))), (0o711, 0o711));
        assert_eq!(mode(&data.join("objects")), 0o700);
        assert_eq!(prepare(&data, false), 2);
    }
}
