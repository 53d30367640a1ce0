//! A commit's files that an earlier run on this machine has unpacked: a later one takes them instead
//! of unpacking them again.
//!
//! Files are kept by the digest of their archive, apart for each type of run: a deploy never gets
//! what a preview had. One run has them at a time, in its own folder, and may write whatever it
//! likes. Afterwards all that it has added is removed, and they are kept only if every file and link
//! is the one that was unpacked. The kernel tells: on the file systems that count here, whatever
//! changes a file gives it a new time of change, which nobody can set. What is kept lies where no
//! process of a run reaches it.

use gantry_domain::run::RunType;
use gantry_engine::files;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

/// The folder of what is kept, among those of the runs.
const KEPT: &str = "sources";
/// The files, in a folder of what is kept.
const TREE: &str = "tree";
/// How they were unpacked, beside them.
const AS_UNPACKED: &str = "unpacked.json";
/// Where a run has what it takes or gives, in its folder.
const IN_RUN: &str = "source";
/// Fewer files are unpacked faster than looked after.
const WORTH_KEEPING: usize = 100;
/// At most this much is kept on a machine, in bytes and in copies; what was used least recently goes
/// first.
const LARGEST: u64 = 4 << 30;
const MOST: usize = 32;
/// How long the clock that files get their times from may stand still.
const LONGEST_TICK: Duration = Duration::from_secs(1);

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
    /// The kernel that saw them: what another one finds was on a disk that may have lost something.
    boot: String,
    device: u64,
    bytes: u64,
    /// By their paths; that of the folder itself is empty.
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Entry {
    /// Has a new time of change with each file that is made in it.
    Folder { inode: u64, mode: u32 },
    /// A file or a link.
    File { inode: u64, size: u64, changed: (i64, i64) },
}

impl Entry {
    fn of(found: &Metadata) -> Self {
        match found.is_dir() {
            true => Self::Folder { inode: found.ino(), mode: found.mode() },
            false => Self::File {
                inode: found.ino(),
                size: found.len(),
                changed: (found.ctime(), found.ctime_nsec()),
            },
        }
    }

    fn changed(&self) -> Option<(i64, i64)> {
        match self {
            Self::Folder { .. } => None,
            Self::File { changed, .. } => Some(*changed),
        }
    }
}

/// Whether the file system of that folder tells each change of a file. Others let programs exchange
/// what files hold (XFS), or write through a mapping (tmpfs), without a new time of change. So does
/// ext4, but with a call that no confined process may make (`EXT4_IOC_MOVE_EXT`).
#[cfg(target_os = "linux")]
pub(crate) fn tells_changes(folder: &Path) -> bool {
    use nix::sys::statfs::{BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, statfs};
    statfs(folder)
        .is_ok_and(|found| [EXT4_SUPER_MAGIC, BTRFS_SUPER_MAGIC].contains(&found.filesystem_type()))
}

/// Whether the file system of that folder tells each change of a file.
#[cfg(not(target_os = "linux"))]
pub(crate) fn tells_changes(_folder: &Path) -> bool {
    false
}

/// The present start of the machine.
pub(crate) fn boot() -> io::Result<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
}

impl Sources {
    /// For the archive with that digest, among the runs of a machine.
    pub(crate) fn new(work: &Path, digest: &str, run_type: RunType) -> Self {
        let all = work.join(KEPT);
        Self { place: all.join(format!("{run_type}-{digest}")), all }
    }

    /// Moves files that an earlier run has left, as they were unpacked, to the empty folder `into`;
    /// none where there are none, or none that can be taken. `run` is the folder of the run.
    pub(crate) fn take(&self, run: &Path, into: &Path) -> Option<Unpacked> {
        let taken = run.join(IN_RUN);
        for copy in fs::read_dir(&self.place).ok()?.flatten() {
            let files = take_copy(&copy.path(), &taken, into);
            let removed = files::remove_folder(&taken);
            match files {
                Ok(Some(files)) => return Some(files),
                Ok(None) => {}
                // Another run was faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => tracing::warn!(%error, "files of an earlier run cannot be used"),
            }
            if let Err(error) = removed {
                tracing::warn!(%error, "files of an earlier run cannot be removed");
                break;
            }
        }
        None
    }

    /// Keeps the files in the folder `tree`, unless the run has changed one of them. `run` is the
    /// folder of the run, which has ended with all its processes.
    pub(crate) fn give_back(&self, run: &Path, tree: &Path, files: &Unpacked) -> io::Result<()> {
        // Out of the run's reach first: it may have put anything in its place.
        let given = run.join(IN_RUN);
        files::make_fresh_folder(&given, 0o700)?;
        fs::rename(tree, given.join(TREE))?;
        if files.bytes > LARGEST || !files.restore(&given.join(TREE))? {
            return files::remove_folder(&given);
        }
        // Nothing waits for the disk: after its power was lost, the machine has started anew.
        fs::write(given.join(AS_UNPACKED), serde_json::to_vec(files)?)?;
        files::make_folder(&self.place, 0o700)?;
        let name = run.file_name().unwrap_or_default().to_string_lossy().into_owned();
        fs::rename(&given, self.place.join(format!("{}-{name}", files.bytes)))?;
        prune(&self.all, &given, LARGEST, MOST)
    }
}

fn take_copy(copy: &Path, taken: &Path, into: &Path) -> io::Result<Option<Unpacked>> {
    fs::rename(copy, taken)?;
    let files: Unpacked = serde_json::from_slice(&fs::read(taken.join(AS_UNPACKED))?)?;
    let tree = taken.join(TREE);
    if files.boot != boot()? || !files.restore(&tree)? {
        return Ok(None);
    }
    fs::rename(tree, into)?;
    Ok(Some(files))
}

impl Unpacked {
    /// What lies in the folder `tree`, which was just unpacked; none where it is not worth keeping, or
    /// could not be told from what is changed later.
    pub(crate) fn of(tree: &Path, left_out: Vec<String>) -> io::Result<Option<Self>> {
        let root = fs::symlink_metadata(tree)?;
        let entries = BTreeMap::from([(String::new(), Entry::of(&root))]);
        let (boot, device) = (boot()?, root.dev());
        let mut unpacked = Self { left_out, boot, device, bytes: 0, entries };
        // A file system that keeps whole seconds has none between them.
        let is_fine = unpacked.add(tree, "")?
            && unpacked.entries.values().filter_map(Entry::changed).all(|(_, nanos)| nanos != 0);
        Ok((is_fine && unpacked.entries.len() >= WORTH_KEEPING).then_some(unpacked))
    }

    fn add(&mut self, folder: &Path, name: &str) -> io::Result<bool> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let Some(name) = below(name, &entry) else { return Ok(false) };
            let found = entry.metadata()?;
            if found.dev() != self.device || (found.is_dir() && !self.add(&entry.path(), &name)?) {
                return Ok(false);
            }
            self.bytes += found.blocks() * 512;
            self.entries.insert(name, Entry::of(&found));
        }
        Ok(true)
    }

    /// Waits until whatever is changed from now on has a time of change that differs. `run` is the
    /// folder of the run.
    pub(crate) fn settle(&self, run: &Path) -> io::Result<()> {
        let newest = self.entries.values().filter_map(Entry::changed).max().unwrap_or_default();
        let (probe, pause) = (run.join("probe"), Duration::from_millis(1));
        for _ in 0..LONGEST_TICK.as_millis() / pause.as_millis() {
            fs::write(&probe, "")?;
            let now = fs::metadata(&probe)?;
            fs::remove_file(&probe)?;
            if (now.ctime(), now.ctime_nsec()) > newest {
                return Ok(());
            }
            std::thread::sleep(pause);
        }
        Err(io::Error::other("the clock of the file system stands still"))
    }

    /// Removes what was added to the folder `tree`; false when anything else is not as it was.
    fn restore(&self, tree: &Path) -> io::Result<bool> {
        let root = fs::symlink_metadata(tree)?;
        if root.dev() != self.device || self.entries.get("") != Some(&Entry::of(&root)) {
            return Ok(false);
        }
        Ok(self.restore_in(tree, "")? == Some(self.entries.len() - 1))
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
            if found.dev() != self.device || *known != Entry::of(&found) {
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

/// The path of something in the folder `name`; none where it is no text.
fn below(name: &str, entry: &fs::DirEntry) -> Option<String> {
    let file_name = entry.file_name();
    let own = file_name.to_str()?;
    Some(match name {
        "" => own.to_owned(),
        name => format!("{name}/{own}"),
    })
}

/// Removes what was used least recently until the rest is few and small enough. `aside` is where only
/// this run reaches.
fn prune(all: &Path, aside: &Path, largest: u64, most: usize) -> io::Result<()> {
    let mut copies = Vec::new();
    for place in fs::read_dir(all)?.flatten() {
        // Others take and remove meanwhile: what is gone needs no room.
        let Ok(found) = fs::read_dir(place.path()) else { continue };
        let mut is_empty = true;
        for copy in found.flatten() {
            is_empty = false;
            let name = copy.file_name();
            let bytes = name.to_str().and_then(|name| name.split_once('-')?.0.parse().ok());
            let Ok(given) = copy.metadata().and_then(|found| found.modified()) else { continue };
            copies.push((given, bytes.unwrap_or(0u64), copy.path()));
        }
        if is_empty {
            // A run that is about to put a copy there does not keep it.
            let _as_far_as_it_goes = fs::remove_dir(place.path());
        }
    }
    copies.sort();
    let (mut bytes, mut count) = (copies.iter().map(|copy| copy.1).sum::<u64>(), copies.len());
    for (_, size, path) in copies {
        if bytes <= largest && count <= most {
            break;
        }
        // Nobody takes what is being removed.
        match fs::rename(&path, aside) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            moved => moved.and_then(|()| files::remove_folder(aside))?,
        }
        (bytes, count) = (bytes - size, count - 1);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs::File,
        os::unix::fs::{PermissionsExt, symlink},
        time::SystemTime,
    };

    /// What somebody does to a folder.
    type Change = fn(&Path);

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
        unpacked.settle(run).unwrap();
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
        let taken = machine.sources().take(&second, &into).unwrap();
        assert_eq!(taken.left_out, ["out -> ../.."]);
        assert!(into.join("folder-1/1.tf").is_file() && into.join("link").is_symlink());
        for added in ["folder-1/.terraform", "folder-2/.terraform.lock.hcl", "folder-3/elsewhere"] {
            assert!(into.join(added).symlink_metadata().is_err(), "{added}");
        }
        assert!(outside.join("kept").exists(), "no link is followed");
        assert_eq!(machine.kept(), 0, "one run at a time");
        let third = machine.run("run-3");
        assert!(machine.sources().take(&third, &third.join("job/workspace")).is_none());
    }

    #[test]
    fn nobody_gets_files_that_a_run_has_changed() {
        let changes: [(&str, Change); 8] = [
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
            ("a link in place of all of it", |tree| {
                let elsewhere = tree.with_file_name("elsewhere");
                fs::rename(tree, &elsewhere).unwrap();
                fs::write(elsewhere.join("somebody's"), "").unwrap();
                symlink(elsewhere, tree).unwrap();
            }),
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
            let elsewhere = run.join("job/elsewhere");
            assert!(!elsewhere.exists() || elsewhere.join("somebody's").exists(), "{what}");

            // And where somebody got to what is kept.
            let machine = Machine::new();
            let run = machine.run("run-1");
            let (tree, unpacked) = unpack(&run);
            machine.sources().give_back(&run, &tree, &unpacked).unwrap();
            let copy = fs::read_dir(machine.sources().place).unwrap().next().unwrap().unwrap();
            change(&copy.path().join(TREE));
            let run = machine.run("run-2");
            let taken = machine.sources().take(&run, &run.join("job/workspace"));
            assert!(taken.is_none(), "{what}");
            assert_eq!(machine.kept(), 0, "{what}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_removed_and_unpacked_again() {
        let breaks: [(&str, Change); 4] = [
            ("an empty record", |copy| fs::write(copy.join(AS_UNPACKED), "").unwrap()),
            ("no record", |copy| fs::remove_file(copy.join(AS_UNPACKED)).unwrap()),
            ("no files", |copy| fs::remove_dir_all(copy.join(TREE)).unwrap()),
            ("of before the machine started", |copy| {
                let kept = fs::read(copy.join(AS_UNPACKED)).unwrap();
                let kept: Unpacked = serde_json::from_slice(&kept).unwrap();
                let before = Unpacked { boot: "another".to_owned(), ..kept };
                fs::write(copy.join(AS_UNPACKED), serde_json::to_vec(&before).unwrap()).unwrap();
            }),
        ];
        for (what, break_it) in breaks {
            let machine = Machine::new();
            let run = machine.run("run-1");
            let (tree, unpacked) = unpack(&run);
            machine.sources().give_back(&run, &tree, &unpacked).unwrap();
            let copy = fs::read_dir(machine.sources().place).unwrap().next().unwrap().unwrap();
            break_it(&copy.path());
            let run = machine.run("run-2");
            assert!(machine.sources().take(&run, &run.join("job/workspace")).is_none(), "{what}");
            assert!(!run.join(IN_RUN).exists() && machine.kept() == 0, "{what}");
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
        let run = tempfile::tempdir().unwrap();
        let aside = run.path().join(IN_RUN);
        for (name, used) in [("a/100-run-1", 10), ("b/100-run-2", 30), ("b/100-run-3", 20)] {
            let path = folder.path().join(name);
            fs::create_dir_all(&path).unwrap();
            let used = SystemTime::UNIX_EPOCH + Duration::from_secs(used);
            File::open(path).unwrap().set_modified(used).unwrap();
        }
        prune(folder.path(), &aside, 300, 3).unwrap();
        assert!(folder.path().join("a/100-run-1").exists());
        prune(folder.path(), &aside, 299, 3).unwrap();
        assert!(!folder.path().join("a/100-run-1").exists());
        prune(folder.path(), &aside, 300, 1).unwrap();
        assert!(!folder.path().join("a").exists() && !aside.exists(), "empty");
        assert!(!folder.path().join("b/100-run-3").exists());
        assert!(folder.path().join("b/100-run-2").exists());
    }
}
