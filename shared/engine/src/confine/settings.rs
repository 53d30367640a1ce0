//! A copy of the system's settings, made once for all processes of a run.

use super::{
    Policy,
    view::{SETTINGS, View},
};
use crate::files::make_folder;
use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

/// The mode of folders that a run's user passes through, whatever the runner's own files get.
const PASSABLE: u32 = 0o755;

/// Copies a policy's settings to `folder`, with a place for all else that it names in there.
pub(super) fn copy(policy: &mut Policy, folder: &Path) -> io::Result<()> {
    let place = |path: &Path| Some(folder.join(path.strip_prefix(SETTINGS).ok()?));
    let settings = View::of(&Policy { read: policy.settings.clone(), ..Policy::default() });
    let others = View::of(&Policy { settings: Vec::new(), ..policy.clone() });
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
    let copied = copy_one(from, at);
    match copied.as_ref().map_err(io::Error::kind) {
        Err(io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound) => Ok(()),
        _ => copied,
    }
}

fn copy_one(from: &Path, at: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(from)?;
    if found.is_symlink() {
        return symlink(fs::read_link(from)?, at);
    }
    if found.is_file() {
        make_folder_of(at)?;
        return fs::copy(from, at).map(|_| ());
    }
    if !found.is_dir() {
        return Ok(());
    }
    let within: Vec<PathBuf> =
        fs::read_dir(from)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    make_folder(at, PASSABLE)?;
    for path in within {
        copy_all(&path, &at.join(path.file_name().unwrap_or_default()))?;
    }
    fs::set_permissions(at, found.permissions())
}

fn make_folder_of(path: &Path) -> io::Result<()> {
    make_folder(path.parent().unwrap_or(path), PASSABLE)
}
