//! The data folder, closed to everybody but its owner: it holds secrets, states and records.

use anyhow::Context as _;
use nix::sys::stat::{Mode, umask};
use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::Path,
};

/// Where runs execute, below the data folder. Each run closes its own folder.
pub const RUNNERS: &str = "runners";

/// What this process writes from now on is its user's alone, however it was started.
pub fn write_for_owner_only() {
    umask(Mode::from_bits_truncate(0o077));
}

/// Makes the data folder, or closes one that others could look into. How many files and folders
/// in it were open. Where runs have a user of their own, that user may pass through to them.
///
/// # Errors
/// When it cannot be made, or cannot be closed.
pub fn prepare(data: &Path, runs_have_user: bool) -> anyhow::Result<u64> {
    let passage = if runs_have_user { 0o711 } else { 0o700 };
    let runners = data.join(RUNNERS);
    for folder in [data, &runners] {
        make(folder, passage)
            .with_context(|| format!("the folder {} cannot be created", folder.display()))?;
    }
    let closed = (|| {
        let mut closed = 0;
        for entry in fs::read_dir(data)? {
            let path = entry?.path();
            if path != runners {
                closed += close(&path)?;
            }
        }
        Ok::<_, io::Error>(
            closed + u64::from(set(data, passage)?) + u64::from(set(&runners, passage)?),
        )
    })();
    closed.with_context(|| format!("the folder {} cannot be closed to others", data.display()))
}

/// Makes a folder and those above it that are missing, with a mode that no umask changes.
fn make(folder: &Path, mode: u32) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(above) = folder.parent().filter(|above| !above.as_os_str().is_empty()) {
        make(above, mode)?;
    }
    fs::DirBuilder::new().mode(mode).create(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(mode))
}

/// Takes what the group and others may do from a file, or a folder with all that is in it. Links
/// are passed over, and what they lead to with them.
fn close(path: &Path) -> io::Result<u64> {
    let found = match fs::symlink_metadata(path) {
        // A runner that outlived the last host may tidy up meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        other => other?,
    };
    if !found.is_dir() && !found.is_file() {
        return Ok(0);
    }
    let mut closed = u64::from(set(path, found.mode() & 0o700)?);
    if found.is_dir() {
        for entry in fs::read_dir(path)? {
            closed += close(&entry?.path())?;
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

    #[test]
    fn a_new_folder_is_its_owners_and_one_that_was_open_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("new/data");
        assert_eq!(prepare(&data, false).unwrap(), 0);
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
        assert_eq!(prepare(&data, false).unwrap(), 5);
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
        assert_eq!(prepare(&data, false).unwrap(), 0);

        // The user of runs passes through, and lists nothing.
        assert_eq!(prepare(&data, true).unwrap(), 0);
        assert_eq!((mode(&data), mode(&data.join(RUNNERS))), (0o711, 0o711));
        assert_eq!(mode(&data.join("objects")), 0o700);
        assert_eq!(prepare(&data, false).unwrap(), 2);
    }
}
