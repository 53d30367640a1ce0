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

/// Copies a policy's settings to `folder`, with a place for all else that it names in there.
pub(super) fn copy(policy: &mut Policy, folder: &Path) -> io::Result<()> {
    let place = |path: &Path| Some(folder.join(path.strip_prefix(SETTINGS).ok()?));
    let settings = View::of(&Policy { read: policy.settings.clone(), ..Policy::default() });
    let others = View::of(&Policy { settings: Vec::new(), ..policy.clone() });
    // Who names the whole folder wants what is in there, and not a copy of some.
    if Path::new(SETTINGS).ancestors().any(|path| others.mounts.contains_key(path)) {
        return Ok(());
    }
    for path in settings.mounts.keys() {
        if let Some(at) = place(path) {
            copy_all(path, &at)?;
        }
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
                // It is a part of a folder that was copied.
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

/// What is neither file, folder nor link is left out, and so is what this user may not read.
fn copy_all(from: &Path, at: &Path) -> io::Result<()> {
    let Ok(found) = fs::symlink_metadata(from) else { return Ok(()) };
    // It lies in a folder that was copied before.
    if !found.is_dir() && at.symlink_metadata().is_ok() {
        return Ok(());
    }
    if found.is_symlink() {
        let Ok(target) = fs::read_link(from) else { return Ok(()) };
        return symlink(target, at);
    }
    if found.is_file() {
        let Ok(mut source) = fs::File::open(from) else { return Ok(()) };
        make_folder_of(at)?;
        let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o600).open(at)?;
        io::copy(&mut source, &mut copy)?;
        return copy.set_permissions(found.permissions());
    }
    let Ok(within) = fs::read_dir(from) else { return Ok(()) };
    make_folder(at, PASSABLE)?;
    for entry in within {
        let name = entry?.file_name();
        copy_all(&from.join(&name), &at.join(&name))?;
    }
    fs::set_permissions(at, found.permissions())
}

fn make_folder_of(path: &Path) -> io::Result<()> {
    make_folder(path.parent().unwrap_or(path), PASSABLE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn all(folder: &Path) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(at) = folders.pop() {
            for entry in fs::read_dir(&at).unwrap().map(|entry| entry.unwrap().path()) {
                let kind = fs::symlink_metadata(&entry).unwrap();
                let name = entry.strip_prefix(folder).unwrap().display();
                let mode = kind.permissions().mode() & 0o777;
                found.push(match kind.is_symlink() {
                    true => format!("{name} -> {}", fs::read_link(&entry).unwrap().display()),
                    false => format!("{name} {mode:o}"),
                });
                if kind.is_dir() {
                    folders.push(entry);
                }
            }
        }
        found.sort();
        found
    }

    #[test]
    fn folders_are_copied_as_they_are_once() {
        let outside = tempfile::tempdir().unwrap();
        let (from, at) = (outside.path().join("from"), outside.path().join("at"));
        fs::create_dir_all(from.join("certs/deep")).unwrap();
        fs::write(from.join("certs/deep/a.pem"), "a").unwrap();
        fs::set_permissions(from.join("certs/deep/a.pem"), fs::Permissions::from_mode(0o444))
            .unwrap();
        symlink("deep/a.pem", from.join("certs/hash.0")).unwrap();
        symlink("a.pem", from.join("certs/deep/hash.0")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(from.join("certs/socket")).unwrap();
        fs::set_permissions(from.join("certs/deep"), fs::Permissions::from_mode(0o555)).unwrap();
        let expected = [
            "certs 755",
            "certs/deep 555",
            "certs/deep/a.pem 444",
            "certs/deep/hash.0 -> a.pem",
            "certs/hash.0 -> deep/a.pem",
        ];
        // Where one lies in the other, in either order.
        copy_all(&from.join("certs"), &at.join("certs")).unwrap();
        copy_all(&from.join("certs/deep"), &at.join("certs/deep")).unwrap();
        copy_all(&from.join("gone"), &at.join("gone")).unwrap();
        assert_eq!(all(&at), expected);
        assert_eq!(fs::read(at.join("certs/hash.0")).unwrap(), b"a");
        // What cannot be written is told.
        fs::write(outside.path().join("file"), "").unwrap();
        assert!(copy_all(&from.join("certs"), &outside.path().join("file/certs")).is_err());
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
        assert_eq!((copied, all(empty.path())), (whole, Vec::new()));
    }
}
