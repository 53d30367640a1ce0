//! A copy of the system's settings, made once for all processes of a run.

use super::{
    Policy,
    view::{SETTINGS, View},
};
use crate::files::make_folder;
use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::{OpenOptionsExt as _, symlink},
    path::Path,
};

/// The mode of folders that a run's user passes through, whatever the runner's own files get.
const PASSABLE: u32 = 0o755;

/// Copies a policy's files of settings to `folder`, with a place for all else that it names in
/// there: folders of settings are shown as they are. A folder of certificates has hundreds of links,
/// and making them is slow on a disk where as many were just removed.
pub(super) fn copy(policy: &mut Policy, folder: &Path) -> io::Result<()> {
    let place = |path: &Path| Some(folder.join(path.strip_prefix(SETTINGS).ok()?));
    let settings = View::of(&Policy { read: policy.settings.clone(), ..Policy::default() });
    let mut others = View::of(&Policy { settings: Vec::new(), ..policy.clone() });
    // Who names the whole folder wants what is in there, and not a copy of some.
    if Path::new(SETTINGS).ancestors().any(|path| others.mounts.contains_key(path)) {
        return Ok(());
    }
    let (folders, files): (Vec<_>, Vec<_>) =
        settings.mounts.into_iter().partition(|(_, mount)| mount.is_folder);
    for (path, _) in files {
        let is_shown = folders.iter().any(|(folder, _)| path.starts_with(folder));
        if let Some(at) = place(&path).filter(|_| !is_shown) {
            copy_file(&path, &at)?;
        }
    }
    for (path, mount) in folders.into_iter().filter(|(path, _)| path.starts_with(SETTINGS)) {
        policy.read.push(path.clone());
        others.mounts.entry(path).or_insert(mount);
    }
    for (path, mount) in &others.mounts {
        if let Some(at) = place(path).filter(|at| !at.exists()) {
            match mount.is_folder {
                true => make_folder(&at, PASSABLE)?,
                false => {
                    make_folder_of(&at)?;
                    fs::File::create(&at)?;
                }
            }
        }
    }
    for (at, target) in settings.links.iter().chain(&others.links) {
        if let Some(at) = place(at) {
            make_folder_of(&at)?;
            match symlink(target, &at) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
    }
    // Where links lead.
    let real = policy.settings.iter().filter_map(|path| path.canonicalize().ok());
    policy.read.extend(real.filter(|path| !path.starts_with(SETTINGS)));
    policy.settings_copy = Some(folder.to_owned());
    Ok(())
}

/// What is no file is left out, and so is what this user may not read.
fn copy_file(from: &Path, at: &Path) -> io::Result<()> {
    // What is no file may never let itself be opened.
    let Ok(found) = fs::metadata(from) else { return Ok(()) };
    if !found.is_file() {
        return Ok(());
    }
    let Ok(mut source) = fs::File::open(from) else { return Ok(()) };
    make_folder_of(at)?;
    let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o600).open(at)?;
    io::copy(&mut source, &mut copy)?;
    copy.set_permissions(found.permissions())
}

fn make_folder_of(path: &Path) -> io::Result<()> {
    make_folder(path.parent().unwrap_or(path), PASSABLE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn files_are_copied_as_they_are() {
        let outside = tempfile::tempdir().unwrap();
        let (from, at) = (outside.path().join("from"), outside.path().join("a/b/at"));
        fs::write(&from, "a").unwrap();
        fs::set_permissions(&from, fs::Permissions::from_mode(0o444)).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(outside.path().join("s")).unwrap();
        copy_file(&from, &at).unwrap();
        assert_eq!(fs::read(&at).unwrap(), b"a");
        assert_eq!(fs::metadata(&at).unwrap().permissions().mode() & 0o777, 0o444);
        for none in ["gone", "s"] {
            let at = outside.path().join(format!("{none}-copied"));
            copy_file(&outside.path().join(none), &at).unwrap();
            assert!(!at.exists(), "{none}");
        }
        // What cannot be written is told.
        assert!(copy_file(&from, &from.join("file")).is_err());
    }

    #[test]
    fn folders_are_shown_as_they_are() {
        let (folder, empty) = (tempfile::tempdir().unwrap(), Policy::default());
        let some = fs::read_dir(SETTINGS).unwrap().map(|entry| entry.unwrap().path());
        let some = some.filter(|path| !path.is_symlink()).find(|path| path.is_dir()).unwrap();
        let mut policy = Policy { settings: vec![some.clone()], ..empty };
        copy(&mut policy, folder.path()).unwrap();
        assert_eq!(policy.read, std::slice::from_ref(&some));
        let place = folder.path().join(some.file_name().unwrap());
        assert_eq!(fs::read_dir(place).unwrap().count(), 0);
        let view = View::of(&policy);
        assert!(view.mounts.contains_key(&some), "{:?}", view.mounts.keys());
    }

    #[test]
    fn what_else_is_named_has_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let mut policy = Policy {
            settings: vec!["/etc/hosts".into(), "/etc/not-there".into()],
            read: vec!["/etc/passwd".into(), "/usr".into()],
            ..Policy::default()
        };
        let whole = Policy { read: vec!["/etc".into()], ..policy.clone() };
        copy(&mut policy, folder.path()).unwrap();
        assert_eq!(policy.settings_copy.as_deref(), Some(folder.path()));
        assert_eq!(policy.read, [Path::new("/etc/passwd"), Path::new("/usr")]);
        let hosts = fs::read(folder.path().join("hosts")).unwrap();
        assert_eq!(hosts, fs::read("/etc/hosts").unwrap());
        assert_eq!(fs::read(folder.path().join("passwd")).unwrap(), b"");
        let empty = tempfile::tempdir().unwrap();
        let mut copied = whole.clone();
        copy(&mut copied, empty.path()).unwrap();
        assert_eq!(copied, whole);
        assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0);
    }
}
