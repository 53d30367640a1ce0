//! A root folder of a process's own, in which only what its policy names exists.
//!
//! It keeps a run from what Landlock alone does not restrict: sockets with a path (a session bus, a
//! container engine, an agent with keys), and modes, owners and times of files.

use super::Policy;
use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
    unistd::{chdir, pivot_root},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ffi::OsString,
    fs, io,
    os::unix::fs::symlink,
    path::{Component, Path, PathBuf},
};

/// Where the machine's own root is while the new one is furnished.
const OLD: &str = "/old";
/// The kernel's own limit is the same.
const MOST_LINKS: u32 = 40;
/// Where the kernel shows processes.
const PROCESSES: &str = "/proc";
/// Where settings are. The view has a folder of its own there.
pub(super) const SETTINGS: &str = "/etc";

/// What there will be.
pub(super) struct View {
    /// Real paths; no part of them is a link.
    pub(super) mounts: BTreeMap<PathBuf, Mount>,
    /// The links that lead to them, as they are on the machine.
    pub(super) links: BTreeMap<PathBuf, PathBuf>,
    /// What is known not to be a link.
    no_links: BTreeSet<PathBuf>,
    temporary: Option<PathBuf>,
}

#[derive(Clone)]
pub(super) struct Mount {
    pub(super) is_folder: bool,
    can_change: bool,
    /// What is mounted, where it is not what the machine has at the same path.
    from: Option<PathBuf>,
}

impl View {
    /// The view that a policy allows, of what exists now.
    pub(super) fn of(policy: &Policy) -> Self {
        let mut view = Self {
            mounts: BTreeMap::new(),
            links: BTreeMap::new(),
            no_links: BTreeSet::new(),
            temporary: None,
        };
        // Landlock says what can be opened in there: nothing of other processes.
        view.add(Path::new(PROCESSES), false);
        let settings = match &policy.settings_copy {
            Some(copy) => {
                view.no_links.insert(PathBuf::from(SETTINGS));
                let copy = Mount { is_folder: true, can_change: false, from: Some(copy.clone()) };
                view.mounts.insert(PathBuf::from(SETTINGS), copy);
                [].iter()
            }
            None => policy.settings.iter(),
        };
        for path in policy.read.iter().chain(settings) {
            view.add(path, false);
        }
        for path in &policy.write {
            view.add(path, true);
        }
        for (name, target) in
            [("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")]
        {
            view.links.insert(Path::new("/dev").join(name), Path::new("/proc/self").join(target));
        }
        let temporary = policy.temporary.as_deref().and_then(|path| path.canonicalize().ok());
        let mut used = view.mounts.keys().chain(view.links.keys());
        view.temporary = match used.any(|path| path.starts_with("/tmp")) {
            // What it needs lies in there: it must do with the variable that names the folder.
            true => None,
            false => temporary,
        };
        view
    }

    fn add(&mut self, path: &Path, can_change: bool) {
        let Ok((real, found)) = self.resolve(path) else { return };
        let mount = Mount { is_folder: found.is_dir(), can_change, from: None };
        let entry = self.mounts.entry(real).or_insert(mount);
        entry.can_change |= can_change;
    }

    /// The real path and what is there, with the links on the way noted down.
    fn resolve(&mut self, path: &Path) -> io::Result<(PathBuf, fs::Metadata)> {
        let parts = |path: &Path| -> Vec<OsString> {
            path.components().map(|part| part.as_os_str().to_owned()).collect()
        };
        let mut ahead = VecDeque::from(parts(path));
        let mut at = PathBuf::from("/");
        let mut found = None;
        let mut links = 0;
        while let Some(part) = ahead.pop_front() {
            match Path::new(&part).components().next() {
                Some(Component::RootDir) => (at, found) = (PathBuf::from("/"), None),
                Some(Component::ParentDir) => {
                    at.pop();
                    found = None;
                }
                Some(Component::Normal(name)) => {
                    let next = at.join(name);
                    if self.no_links.contains(&next) {
                        (at, found) = (next, None);
                        continue;
                    }
                    let is_there = fs::symlink_metadata(&next)?;
                    if !is_there.is_symlink() {
                        self.no_links.insert(next.clone());
                        (at, found) = (next, Some(is_there));
                        continue;
                    }
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(io::Error::from(Errno::ELOOP));
                    }
                    let target = fs::read_link(&next)?;
                    for part in parts(&target).into_iter().rev() {
                        ahead.push_front(part);
                    }
                    self.links.insert(next, target);
                }
                _ => {}
            }
        }
        let found = match found {
            Some(found) => found,
            None => fs::metadata(&at)?,
        };
        Ok((at, found))
    }

    /// What can be opened in it, and whether it can be changed: the settings that it has are a
    /// folder of its own; of what the kernel shows of processes, only what the policy names.
    pub(super) fn reachable(&self) -> impl Iterator<Item = (&Path, bool)> {
        let others = self.mounts.iter().filter(|(path, mount)| {
            let is_setting = path.starts_with(SETTINGS) && !mount.can_change;
            *path != Path::new(PROCESSES) && !is_setting && !self.is_covered(path, mount)
        });
        let settings = (Path::new(SETTINGS), false);
        others.map(|(path, mount)| (path.as_path(), mount.can_change)).chain([settings])
    }

    /// Whether a folder that it lies in is reached in the same way.
    fn is_covered(&self, path: &Path, mount: &Mount) -> bool {
        let by = path.parent().and_then(|folder| self.mount_of(folder));
        !path.starts_with(PROCESSES) && by.is_some_and(|by| by.shows_alike(mount))
    }

    /// The mount that a path of the view is on.
    fn mount_of(&self, path: &Path) -> Option<&Mount> {
        path.ancestors().find_map(|folder| self.mounts.get(folder))
    }

    /// Makes it this process's root. The inner error is why the machine does not let it.
    pub(super) fn enter(&self) -> io::Result<nix::Result<()>> {
        let none: Option<&str> = None;
        let own = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        let safe = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        let first = mount(none, "/", none, own, none)
            .and_then(|()| mount(Some("tmpfs"), "/tmp", Some("tmpfs"), safe, Some("mode=755")));
        if first.is_err() {
            return Ok(first);
        }
        fs::create_dir(Path::new("/tmp").join(&OLD[1..]))?;
        chdir("/tmp")?;
        pivot_root(".", &OLD[1..])?;
        chdir("/")?;
        self.furnish()?;
        umount2(OLD, MntFlags::MNT_DETACH)?;
        fs::remove_dir(OLD)?;
        self.close()?;
        Ok(Ok(()))
    }

    fn furnish(&self) -> io::Result<()> {
        for (path, kind) in &self.mounts {
            let covered = path.parent().and_then(|folder| self.mount_of(folder));
            if covered.is_some_and(|by| by.shows_alike(kind)) {
                continue;
            }
            if covered.is_none() {
                make_place(path, kind.is_folder)?;
            }
            bind(kind.from.as_deref().unwrap_or(path), path)?;
        }
        if let Some(temporary) = &self.temporary {
            // POSIX's shared memory and semaphores are files there.
            for place in ["/tmp", "/dev/shm"] {
                make_place(Path::new(place), true)?;
                bind(temporary, Path::new(place))?;
            }
        }
        for (at, target) in &self.links {
            if self.mount_of(at).is_none() {
                make_place(at.parent().unwrap_or(Path::new("/")), true)?;
                match symlink(target, at) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error)?,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Makes everything read-only that the policy does not let it change.
    fn close(&self) -> io::Result<()> {
        for line in fs::read_to_string("/proc/self/mountinfo")?.lines() {
            let mut fields = line.split(' ').skip(4);
            let (Some(path), Some(options)) = (fields.next(), fields.next()) else { continue };
            let path = unescaped(path);
            let is_temporary = ["/tmp", "/dev/shm"].iter().any(|place| path == Path::new(place));
            let can_change = self.mount_of(&path).is_some_and(|mount| mount.can_change)
                || (self.temporary.is_some() && is_temporary);
            let more = match can_change {
                true => MsFlags::MS_NODEV,
                false => MsFlags::MS_RDONLY,
            };
            let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_NOSUID | more;
            let none: Option<&str> = None;
            match mount(none, &path, none, flags | flags_of(options), none) {
                // A mount below another one that hides it.
                Err(Errno::EINVAL | Errno::ENOENT | Errno::EACCES) | Ok(()) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl Mount {
    /// Whether what lies in this one needs no mount of its own to be as `other` wants it.
    fn shows_alike(&self, other: &Self) -> bool {
        self.from.is_none() && self.can_change == other.can_change
    }
}

/// What a mount has already, and a user namespace may not take from it.
fn flags_of(options: &str) -> MsFlags {
    let known = [
        ("ro", MsFlags::MS_RDONLY),
        ("nosuid", MsFlags::MS_NOSUID),
        ("nodev", MsFlags::MS_NODEV),
        ("noexec", MsFlags::MS_NOEXEC),
        ("noatime", MsFlags::MS_NOATIME),
        ("nodiratime", MsFlags::MS_NODIRATIME),
        ("relatime", MsFlags::MS_RELATIME),
    ];
    let has = |name: &str| options.split(',').any(|option| option == name);
    known.into_iter().filter(|(name, _)| has(name)).map(|(_, flag)| flag).collect()
}

/// Blanks and the like are octal in the kernel's list.
fn unescaped(path: &str) -> PathBuf {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    let path = escapes.iter().fold(path.to_owned(), |path, (code, c)| path.replace(code, c));
    PathBuf::from(path)
}

fn make_place(path: &Path, is_folder: bool) -> io::Result<()> {
    if is_folder {
        return fs::create_dir_all(path);
    }
    make_place(path.parent().unwrap_or(Path::new("/")), true)?;
    fs::File::create(path).map(|_| ())
}

/// Where a path of the machine is while the new root is furnished.
fn on_machine(path: &Path) -> PathBuf {
    Path::new(OLD).join(path.strip_prefix("/").unwrap_or(path))
}

/// Shows what the machine has at `from`, with everything that is mounted in there.
fn bind(from: &Path, at: &Path) -> io::Result<()> {
    let source = on_machine(from);
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    let none: Option<&str> = None;
    match mount(Some(&source), at, none, flags, none) {
        // Gone meanwhile, or nothing that this user may see.
        Err(Errno::ENOENT | Errno::EACCES | Errno::EPERM) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
