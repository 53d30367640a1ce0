//! A commit's files that an earlier run on this machine has unpacked: a later one takes them instead
//! of unpacking them again.
//!
//! Files are kept by the digest of their archive, apart for each type of run: a deploy never gets
//! what a preview had. One run has them at a time, in its own folder, and may write whatever it
//! likes. Afterwards all that it has added is removed, and they are kept only if all others are as
//! they were unpacked. The kernel tells: whatever changes a file gives it a new time of change, which
//! no program can set. What is kept lies where no process of a run reaches it.

use gantry_domain::run::RunType;
use gantry_engine::files;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// The folder of what is kept, among those of the runs.
const KEPT: &str = "sources";
/// The files, in a folder of what is kept.
const TREE: &str = "tree";
/// How they were unpacked, beside them.
const AS_UNPACKED: &str = "unpacked.json";
/// Fewer files are unpacked faster than looked after.
const WORTH_KEEPING: usize = 100;
/// At most this much is kept on a machine, in bytes and in copies; what was used least recently goes
/// first.
const LARGEST: u64 = 4 << 30;
const MOST: usize = 32;
/// Kernels before 6.13 tell times of change apart by their clock's tick, which is at most this long.
const TICK: Duration = Duration::from_millis(10);

/// Where a machine keeps the files of one archive for one type of run.
pub(crate) struct Sources {
    all: PathBuf,
    place: PathBuf,
}

/// The files that a run has, as they were unpacked.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Unpacked {
    /// The links that were left out of the archive because they lead outside.
    pub(crate) left_out: Vec<String>,
    bytes: u64,
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Entry {
    /// Has a new time of change with each file that is made in it.
    Folder { mode: u32 },
    /// A file or a link.
    File { inode: u64, changed: (i64, i64) },
}

impl Entry {
    fn of(found: &Metadata) -> Self {
        match found.is_dir() {
            true => Self::Folder { mode: found.mode() },
            false => {
                Self::File { inode: found.ino(), changed: (found.ctime(), found.ctime_nsec()) }
            }
        }
    }
}

impl Sources {
    /// For the archive with that digest, among the runs of a machine.
    pub(crate) fn new(work: &Path, digest: &str, run_type: RunType) -> Self {
        let all = work.join(KEPT);
        Self { place: all.join(format!("{run_type}-{digest}")), all }
    }

    /// Moves files that an earlier run has left, as they were unpacked, to the empty folder `into`;
    /// none where there are none. `run` is the folder of the run.
    pub(crate) fn take(&self, run: &Path, into: &Path) -> io::Result<Option<Unpacked>> {
        let entries = match fs::read_dir(&self.place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            entries => entries?,
        };
        let taken = run.join("source");
        for entry in entries {
            match fs::rename(entry?.path(), &taken) {
                // Another run was faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                moved => moved?,
            }
            let unpacked = fs::read(taken.join(AS_UNPACKED))?;
            let unpacked: Unpacked = serde_json::from_slice(&unpacked)?;
            let tree = taken.join(TREE);
            let as_it_was = unpacked.restore(&tree)?;
            if as_it_was {
                fs::rename(tree, into)?;
            }
            files::remove_folder(&taken)?;
            if as_it_was {
                return Ok(Some(unpacked));
            }
        }
        Ok(None)
    }

    /// Keeps the files in the folder `tree`, unless the run has changed one of them. `run` is the
    /// folder of the run, which has ended with all its processes.
    pub(crate) fn give_back(&self, run: &Path, tree: &Path, files: &Unpacked) -> io::Result<()> {
        if files.bytes > LARGEST || !files.restore(tree)? {
            return Ok(());
        }
        let given = run.join("source");
        files::make_fresh_folder(&given, 0o700)?;
        fs::rename(tree, given.join(TREE))?;
        fs::write(given.join(AS_UNPACKED), serde_json::to_vec(files)?)?;
        files::make_folder(&self.place, 0o700)?;
        let name = run.file_name().unwrap_or_default().to_string_lossy().into_owned();
        fs::rename(given, self.place.join(format!("{}-{name}", files.bytes)))?;
        prune(&self.all, LARGEST, MOST)
    }
}

impl Unpacked {
    /// What lies in the folder `tree`, which was just unpacked; none where it is not worth keeping, or
    /// could not be told from what is changed later.
    pub(crate) fn of(tree: &Path, left_out: Vec<String>) -> io::Result<Option<Self>> {
        let mut unpacked = Self { left_out, bytes: 0, entries: BTreeMap::new() };
        let can_be_kept = unpacked.add(tree, "")?;
        // A file system that keeps whole seconds.
        let coarse = |entry: &Entry| matches!(entry, Entry::File { changed: (_, 0), .. });
        let can_be_kept = can_be_kept
            && unpacked.entries.len() >= WORTH_KEEPING
            && !unpacked.entries.values().all(|entry| coarse(entry) || is_folder(entry));
        Ok(can_be_kept.then_some(unpacked))
    }

    fn add(&mut self, folder: &Path, name: &str) -> io::Result<bool> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let Some(name) = below(name, &entry) else { return Ok(false) };
            let found = entry.metadata()?;
            if found.is_dir() && !self.add(&entry.path(), &name)? {
                return Ok(false);
            }
            self.bytes += found.len();
            self.entries.insert(name, Entry::of(&found));
        }
        Ok(true)
    }

    /// How long a change of the files could still go unnoticed.
    pub(crate) fn settles_in(&self, now: SystemTime) -> Duration {
        let changed = |entry: &Entry| match entry {
            Entry::Folder { .. } => None,
            Entry::File { changed, .. } => Some(*changed),
        };
        let (seconds, nanoseconds) =
            self.entries.values().filter_map(changed).max().unwrap_or_default();
        let newest = Duration::new(
            seconds.try_into().unwrap_or_default(),
            nanoseconds.try_into().unwrap_or_default(),
        );
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        (newest + TICK).saturating_sub(now).min(TICK)
    }

    /// Removes what was added to the folder `tree`; false when anything else is not as it was.
    fn restore(&self, tree: &Path) -> io::Result<bool> {
        Ok(self.restore_in(tree, "")? == Some(self.entries.len()))
    }

    /// How much of it is there; none when something was changed.
    fn restore_in(&self, folder: &Path, name: &str) -> io::Result<Option<usize>> {
        let mut there = 0;
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let found = entry.metadata()?;
            let known = below(name, &entry).and_then(|name| self.entries.get_key_value(&name));
            let Some((name, known)) = known else {
                match found.is_dir() {
                    true => files::remove_folder(&entry.path())?,
                    false => fs::remove_file(entry.path())?,
                }
                continue;
            };
            if *known != Entry::of(&found) {
                return Ok(None);
            }
            there += 1;
            if found.is_dir() {
                let Some(below) = self.restore_in(&entry.path(), name)? else { return Ok(None) };
                there += below;
            }
        }
        Ok(Some(there))
    }
}

fn is_folder(entry: &Entry) -> bool {
    matches!(entry, Entry::Folder { .. })
}

/// The path of something in the folder `name`; none where it is no text.
fn below(name: &str, entry: &fs::DirEntry) -> Option<String> {
    let file_name = entry.file_name();
    let own = file_name.to_str()?;
    Some(match name {
        "" => own.to_owned(),
        name => format!("{name}/{own}"),
    })
}

/// Removes what was used least recently until the rest is few and small enough.
fn prune(all: &Path, largest: u64, most: usize) -> io::Result<()> {
    let mut copies = Vec::new();
    for place in fs::read_dir(all)? {
        let place = place?.path();
        let mut is_empty = true;
        for copy in fs::read_dir(&place)? {
            let copy = copy?;
            is_empty = false;
            let bytes =
                copy.file_name().to_str().and_then(|name| name.split_once('-')?.0.parse().ok());
            // Another run may just have taken it.
            let Ok(given) = copy.metadata().and_then(|found| found.modified()) else { continue };
            copies.push((given, bytes.unwrap_or(0u64), copy.path()));
        }
        if is_empty {
            // Somebody may be about to use it, and makes it again.
            let _as_far_as_it_goes = fs::remove_dir(place);
        }
    }
    copies.sort();
    let (mut bytes, mut count) = (copies.iter().map(|copy| copy.1).sum::<u64>(), copies.len());
    for (_, size, path) in copies {
        if bytes <= largest && count <= most {
            break;
        }
        files::remove_folder(&path)?;
        (bytes, count) = (bytes - size, count - 1);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_setup::Clock;
    use std::{
        fs::File,
        os::unix::fs::{PermissionsExt, symlink},
    };

    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn run(&self, name: &str) -> PathBuf {
            let run = self.0.path().join(name);
            files::make_folder(&run.join("job"), 0o700).unwrap();
            run
        }

        fn sources(&self) -> Sources {
            Sources::new(self.0.path(), "abc", RunType::Proposed)
        }

        fn kept(&self) -> usize {
            let place = fs::read_dir(self.sources().place);
            place.map_or(0, Iterator::count)
        }
    }

    /// A commit's files in a run's folder, as they were unpacked.
    fn unpack(run: &Path) -> (PathBuf, Unpacked) {
        let tree = run.join("job/workspace");
        for n in 0..WORTH_KEEPING {
            let folder = tree.join(format!("folder-{}", n % 7));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(format!("{n}.tf")), "as it was").unwrap();
        }
        symlink("folder-1/1.tf", tree.join("link")).unwrap();
        let unpacked = Unpacked::of(&tree, vec!["out -> ../..".to_owned()]).unwrap().unwrap();
        std::thread::sleep(unpacked.settles_in(Clock::system().now().into()));
        (tree, unpacked)
    }

    #[test]
    fn a_later_run_has_the_files_as_they_were_unpacked() {
        let machine = Machine::new();
        let first = machine.run("run-1");
        let (tree, unpacked) = unpack(&first);
        let outside = machine.0.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "").unwrap();
        fs::create_dir_all(tree.join("folder-1/.terraform/modules")).unwrap();
        fs::set_permissions(tree.join("folder-1/.terraform"), PermissionsExt::from_mode(0o500))
            .unwrap();
        fs::write(tree.join("folder-2/.terraform.lock.hcl"), "").unwrap();
        symlink(&outside, tree.join("folder-3/elsewhere")).unwrap();
        machine.sources().give_back(&first, &tree, &unpacked).unwrap();
        assert!(!tree.exists());

        let second = machine.run("run-2");
        let into = second.join("job/workspace");
        fs::create_dir(&into).unwrap();
        let taken = machine.sources().take(&second, &into).unwrap().unwrap();
        assert_eq!(taken.left_out, ["out -> ../.."]);
        assert!(into.join("folder-1/1.tf").is_file() && into.join("link").is_symlink());
        for added in ["folder-1/.terraform", "folder-2/.terraform.lock.hcl", "folder-3/elsewhere"] {
            assert!(into.join(added).symlink_metadata().is_err(), "{added}");
        }
        assert!(outside.join("kept").exists(), "no link is followed");
        assert_eq!(machine.kept(), 0, "one run at a time");
        let third = machine.run("run-3");
        assert!(machine.sources().take(&third, &third.join("job/workspace")).unwrap().is_none());
    }

    #[test]
    fn nobody_gets_files_that_a_run_has_changed() {
        type Change = fn(&Path);
        let changes: [(&str, Change); 7] = [
            ("another content", |tree| fs::write(tree.join("folder-1/1.tf"), "not so").unwrap()),
            ("another content, with size and time as they were", |tree| {
                let path = tree.join("folder-1/1.tf");
                let before = fs::metadata(&path).unwrap().modified().unwrap();
                fs::write(&path, "as it Was").unwrap();
                File::options().write(true).open(&path).unwrap().set_modified(before).unwrap();
            }),
            ("another file in its place", |tree| {
                fs::write(tree.join("new"), "as it was").unwrap();
                fs::rename(tree.join("new"), tree.join("folder-1/1.tf")).unwrap();
            }),
            ("other permissions", |tree| {
                let permissions = PermissionsExt::from_mode(0o777);
                fs::set_permissions(tree.join("folder-1/1.tf"), permissions).unwrap();
            }),
            ("a folder that others may write to", |tree| {
                fs::set_permissions(tree.join("folder-1"), PermissionsExt::from_mode(0o777))
                    .unwrap();
            }),
            ("a file that is gone", |tree| fs::remove_file(tree.join("folder-1/1.tf")).unwrap()),
            ("a link in place of a folder", |tree| {
                fs::rename(tree.join("folder-1"), tree.join("elsewhere")).unwrap();
                symlink("elsewhere", tree.join("folder-1")).unwrap();
            }),
        ];
        for (what, change) in changes {
            let machine = Machine::new();
            let run = machine.run("run-1");
            let (tree, unpacked) = unpack(&run);
            change(&tree);
            machine.sources().give_back(&run, &tree, &unpacked).unwrap();
            assert_eq!(machine.kept(), 0, "{what}");

            // And where somebody got to what is kept.
            let machine = Machine::new();
            let run = machine.run("run-1");
            let (tree, unpacked) = unpack(&run);
            machine.sources().give_back(&run, &tree, &unpacked).unwrap();
            let copy = fs::read_dir(machine.sources().place).unwrap().next().unwrap().unwrap();
            change(&copy.path().join(TREE));
            let run = machine.run("run-2");
            let taken = machine.sources().take(&run, &run.join("job/workspace")).unwrap();
            assert!(taken.is_none(), "{what}");
            assert_eq!(machine.kept(), 0, "{what}");
        }
    }

    #[test]
    fn few_files_are_not_kept() {
        let machine = Machine::new();
        let run = machine.run("run-1");
        fs::create_dir(run.join("job/workspace")).unwrap();
        fs::write(run.join("job/workspace/main.tf"), "").unwrap();
        assert!(Unpacked::of(&run.join("job/workspace"), Vec::new()).unwrap().is_none());
    }

    #[test]
    fn what_was_used_least_recently_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        for (name, used) in [("a/100-run-1", 10), ("b/100-run-2", 30), ("b/100-run-3", 20)] {
            let path = folder.path().join(name);
            fs::create_dir_all(&path).unwrap();
            let used = SystemTime::UNIX_EPOCH + Duration::from_secs(used);
            File::open(path).unwrap().set_modified(used).unwrap();
        }
        prune(folder.path(), 300, 3).unwrap();
        assert!(folder.path().join("a/100-run-1").exists());
        prune(folder.path(), 299, 3).unwrap();
        assert!(!folder.path().join("a/100-run-1").exists());
        prune(folder.path(), 300, 1).unwrap();
        assert!(!folder.path().join("a").exists(), "empty");
        assert!(!folder.path().join("b/100-run-3").exists());
        assert!(folder.path().join("b/100-run-2").exists());
    }
}
