//! A commit's files that previews on this machine see, many of them at the same time, each as if it
//! had a copy ([`gantry_engine::overlay`]).
//!
//! Files are kept by the digest of their archive, where no process of a run reaches them, and nothing
//! that one does in its folder changes them. So nobody looks whether they are as they were unpacked,
//! and a preview beside ten thousand files takes as long as one beside ten. Runs that may apply, and
//! machines that have no such folders, have what [sources](crate::sources) keep: what an apply leaves
//! in its folder must be found by whoever looks there when the runner has died.

use crate::{failure::Failure, sources::boot};
use gantry_engine::{Unprivileged, files, overlay::Overlay};
use gantry_setup::Clock;
use nix::unistd::{getegid, geteuid};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

/// The folder of what is kept, among those of the runs.
const KEPT: &str = "layers";
/// The files, in a folder of what is kept.
const TREE: &str = "tree";
/// What is known of them, beside them.
const RECORD: &str = "layer.json";
/// Beside all of them: the start of the machine since which it is known to have no such folders.
const IMPOSSIBLE: &str = "impossible";
/// Where a run unpacks what is to be kept, and removes what is not kept any more, in its folder.
const IN_RUN: &str = "layer";
/// Where the changes of a run lie, in its folder.
const CHANGES: &str = "changes";
/// Fewer files are unpacked as fast.
const WORTH_KEEPING: usize = 100;
/// At most this much is kept on a machine, in bytes and in commits, besides what is in use; what was
/// used least recently goes first.
const LARGEST: u64 = 4 << 30;
const MOST: usize = 16;
/// How long another run is waited for that unpacks the same files, and how often it is looked at.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Where a machine keeps the files of one archive.
pub(crate) struct Layers {
    all: PathBuf,
    name: String,
    user: Option<Unprivileged>,
}

/// The files as a run sees them, as long as this is there.
pub(crate) struct Layer {
    // In this order: what is shown is in use.
    _shown: Overlay,
    _used: File,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    /// The links that were left out of the archive because they lead outside.
    left_out: Vec<String>,
    /// The kernel that saw them: what another one finds was on a disk that may have lost something.
    boot: String,
    bytes: u64,
}

/// What was found of an archive's files.
enum Held {
    /// They are kept, and nobody removes them as long as the file is open.
    Kept(Kept, File),
    /// They are not worth it, or cannot be kept, and the run has them for itself.
    Own(Vec<String>),
    /// Another run unpacks them for ever.
    Nowhere,
}

impl Layers {
    /// For the archive with that digest, among the runs of a machine, as files of `user`. None where
    /// the machine is known to have no such folders.
    pub(crate) fn new(work: &Path, digest: &str, user: Option<Unprivileged>) -> Option<Self> {
        let all = work.join(KEPT);
        let known = fs::read_to_string(all.join(IMPOSSIBLE)).ok();
        if known.is_some_and(|known| boot().is_ok_and(|boot| boot == known)) {
            return None;
        }
        let of_user = user.map(|user| format!("-{}-{}", user.uid, user.gid)).unwrap_or_default();
        Some(Self { all, name: format!("{digest}{of_user}"), user })
    }

    /// Shows the files in the empty folder `into`, or puts them there; with the links that were left
    /// out. None where neither can be done. Where nobody has unpacked them yet, `unpack` does, into an
    /// empty folder. `run` is the folder of the run.
    pub(crate) fn show(
        &self,
        run: &Path,
        into: &Path,
        unpack: impl Fn(&Path) -> Result<Vec<String>, Failure>,
    ) -> Result<Option<(Vec<String>, Option<Layer>)>, Failure> {
        let (kept, used) = match self.hold(run, into, unpack)? {
            Held::Kept(kept, used) => (kept, used),
            Held::Own(left_out) => return Ok(Some((left_out, None))),
            Held::Nowhere => return Ok(None),
        };
        match self.show_in(run, into) {
            Ok(shown) => Ok(Some((kept.left_out, Some(Layer { _shown: shown, _used: used })))),
            Err(error) => {
                tracing::info!(%error, "runs do not share the files of a commit");
                fs::write(self.all.join(IMPOSSIBLE), boot()?)?;
                files::remove_folder(&run.join(CHANGES))?;
                Ok(None)
            }
        }
    }

    fn hold(
        &self,
        run: &Path,
        into: &Path,
        unpack: impl Fn(&Path) -> Result<Vec<String>, Failure>,
    ) -> Result<Held, Failure> {
        files::make_folder(&self.all, 0o700)?;
        loop {
            let used = open_lock(&self.lock())?;
            if !waits(|| used.try_lock_shared())? {
                return Ok(Held::Nowhere);
            }
            if is_at(&used, &self.lock())?
                && let Some(kept) = self.kept()
            {
                let now = Clock::system().now().into();
                let _touched = File::open(self.place()).and_then(|place| place.set_modified(now));
                return Ok(Held::Kept(kept, used));
            }
            drop(used);
            // One at a time: all others wait for what it makes.
            let making = open_lock(&self.lock())?;
            if !waits(|| making.try_lock())? {
                return Ok(Held::Nowhere);
            }
            if is_at(&making, &self.lock())?
                && self.kept().is_none()
                && let Some(left_out) = self.make(run, into, &unpack)?
            {
                return Ok(Held::Own(left_out));
            }
        }
    }

    /// Unpacks the files, and keeps them; else they are in `into`, with the links that were left out.
    fn make(
        &self,
        run: &Path,
        into: &Path,
        unpack: impl Fn(&Path) -> Result<Vec<String>, Failure>,
    ) -> Result<Option<Vec<String>>, Failure> {
        let made = run.join(IN_RUN);
        let tree = made.join(TREE);
        files::make_fresh_folder(&made, 0o700)?;
        files::make_folder(&tree, 0o700)?;
        let left_out = unpack(&tree)?;
        let (count, bytes) = size_of(&tree)?;
        // The kernel makes copies of what is changed for whoever owns it, and in a user namespace it
        // knows nobody but us: a folder may hand down another group.
        let found = fs::metadata(&tree)?;
        let us = (geteuid().as_raw(), getegid().as_raw());
        let owner = self.user.map_or(us, |user| (user.uid, user.gid));
        let is_owners = (found.uid(), found.gid()) == owner;
        if count < WORTH_KEEPING || bytes > LARGEST || !is_owners {
            fs::rename(&tree, into)?;
            files::remove_folder(&made)?;
            fs::remove_file(self.lock())?;
            return Ok(Some(left_out));
        }
        let kept = Kept { left_out, boot: boot()?, bytes };
        fs::write(made.join(RECORD), serde_json::to_vec(&kept).map_err(io::Error::from)?)?;
        // Of before the machine started.
        files::remove_folder(&self.place())?;
        fs::rename(&made, self.place())?;
        if let Err(error) = prune(&self.all, &made, LARGEST, MOST) {
            tracing::warn!(%error, "files of earlier commits cannot be removed");
        }
        Ok(None)
    }

    fn show_in(&self, run: &Path, into: &Path) -> io::Result<Overlay> {
        let changes = run.join(CHANGES);
        let (changed, own) = (changes.join("changed"), changes.join("own"));
        files::make_fresh_folder(&changes, 0o700)?;
        files::make_folder(&changed, 0o700)?;
        files::make_folder(&own, 0o700)?;
        self.user.map_or(Ok(()), |user| files::give_to(&changed, user))?;
        Overlay::new(&self.place().join(TREE), &changed, &own, into)
    }

    fn kept(&self) -> Option<Kept> {
        let kept = read(&self.place())?;
        boot().is_ok_and(|boot| boot == kept.boot).then_some(kept)
    }

    fn place(&self) -> PathBuf {
        self.all.join(&self.name)
    }

    /// Who uses the files has a share of this lock, who makes or removes them all of it.
    fn lock(&self) -> PathBuf {
        lock_of(&self.place())
    }
}

fn lock_of(place: &Path) -> PathBuf {
    place.with_extension("lock")
}

fn open_lock(path: &Path) -> io::Result<File> {
    File::options().write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Whether the file is still there: whoever had its lock before may have removed it.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let (mine, there) = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        there => (file.metadata()?, there?),
    };
    Ok((mine.dev(), mine.ino()) == (there.dev(), there.ino()))
}

/// Tries it until it has the lock; false where that takes too long.
fn waits(lock: impl Fn() -> Result<(), TryLockError>) -> io::Result<bool> {
    for _ in 0..LONGEST_WAIT.as_millis() / LOOK_EVERY.as_millis() {
        match lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOOK_EVERY),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(false)
}

fn read(place: &Path) -> Option<Kept> {
    serde_json::from_slice(&fs::read(place.join(RECORD)).ok()?).ok()
}

/// How many files, folders and links there are, and what they take of the disk.
fn size_of(folder: &Path) -> io::Result<(usize, u64)> {
    let (mut count, mut bytes) = (0, 0);
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let found = entry.metadata()?;
        (count, bytes) = (count + 1, bytes + found.blocks() * 512);
        if found.is_dir() {
            let below = size_of(&entry.path())?;
            (count, bytes) = (count + below.0, bytes + below.1);
        }
    }
    Ok((count, bytes))
}

/// Removes what was used least recently, and is not in use, until the rest is few and small enough.
/// `aside` is where only this run reaches.
fn prune(all: &Path, aside: &Path, largest: u64, most: usize) -> io::Result<()> {
    let mut kept = Vec::new();
    for entry in fs::read_dir(all)? {
        let place = entry?.path();
        // Others remove too.
        let Ok(found) = fs::metadata(&place) else { continue };
        if found.is_dir() {
            let bytes = read(&place).map_or(0, |kept| kept.bytes);
            kept.push((found.modified()?, bytes, place));
        }
    }
    kept.sort();
    let (mut bytes, mut count) = (kept.iter().map(|kept| kept.1).sum::<u64>(), kept.len());
    for (_, size, place) in kept {
        if bytes <= largest && count <= most {
            break;
        }
        let path = lock_of(&place);
        let lock = open_lock(&path)?;
        if lock.try_lock().is_err() || !is_at(&lock, &path)? || !place.exists() {
            continue;
        }
        fs::rename(&place, aside)?;
        fs::remove_file(&path)?;
        drop(lock);
        files::remove_folder(aside)?;
        (bytes, count) = (bytes - size, count - 1);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{cell::Cell, time::SystemTime};

    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn run(&self, name: &str) -> PathBuf {
            let run = self.0.path().join(name);
            files::make_folder(&run.join("job/workspace"), 0o700).unwrap();
            run
        }

        fn layers(&self) -> Layers {
            Layers::new(self.0.path(), "abc", None).unwrap()
        }
    }

    /// Unpacks so many files, and counts how often.
    fn unpack(files: usize, times: &Cell<u32>) -> impl Fn(&Path) -> Result<Vec<String>, Failure> {
        move |into| {
            times.set(times.get() + 1);
            for n in 0..files {
                fs::write(into.join(format!("{n}.tf")), "as it was")?;
            }
            Ok(vec!["out -> ../..".to_owned()])
        }
    }

    fn hold(layers: &Layers, run: &Path, files: usize, times: &Cell<u32>) -> Held {
        let held = layers.hold(run, &run.join("job/workspace"), unpack(files, times));
        held.unwrap_or_else(|_| panic!("it was not unpacked"))
    }

    #[test]
    fn files_are_unpacked_once_for_all_runs() {
        let (machine, times) = (Machine::new(), Cell::new(0));
        let layers = machine.layers();
        let runs = ["run-1", "run-2", "run-3"].map(|name| machine.run(name));
        let held = runs.each_ref().map(|run| hold(&layers, run, 120, &times));
        assert_eq!(times.get(), 1);
        for (run, held) in runs.iter().zip(held) {
            let Held::Kept(kept, _used) = held else { panic!("nothing is kept") };
            assert_eq!(kept.left_out, ["out -> ../.."]);
            assert!(!run.join(IN_RUN).exists());
            assert!(!run.join("job/workspace/1.tf").exists(), "the overlay shows it");
        }
        assert!(layers.place().join("tree/119.tf").exists());
        assert!(Layers::new(machine.0.path(), "abc", None).unwrap().kept().is_some());

        // What was there before the machine started may lack something.
        let kept = Kept { boot: "another".to_owned(), ..read(&layers.place()).unwrap() };
        fs::write(layers.place().join(RECORD), serde_json::to_vec(&kept).unwrap()).unwrap();
        assert!(matches!(hold(&layers, &runs[0], 120, &times), Held::Kept(..)));
        assert_eq!(times.get(), 2);
    }

    #[test]
    fn few_files_are_a_runs_own() {
        let (machine, times) = (Machine::new(), Cell::new(0));
        let layers = machine.layers();
        for name in ["run-1", "run-2"] {
            let run = machine.run(name);
            let Held::Own(left_out) = hold(&layers, &run, 3, &times) else { panic!("it is kept") };
            assert_eq!(left_out, ["out -> ../.."]);
            assert!(run.join("job/workspace/2.tf").exists() && !run.join(IN_RUN).exists());
        }
        assert_eq!(times.get(), 2);
        assert!(fs::read_dir(&layers.all).unwrap().next().is_none(), "nothing is left");
    }

    #[test]
    fn a_machine_that_cannot_show_them_is_not_asked_again() {
        let machine = Machine::new();
        let layers = machine.layers();
        fs::create_dir(&layers.all).unwrap();
        fs::write(layers.all.join(IMPOSSIBLE), "another start").unwrap();
        assert!(Layers::new(machine.0.path(), "abc", None).is_some());
        fs::write(layers.all.join(IMPOSSIBLE), boot().unwrap()).unwrap();
        assert!(Layers::new(machine.0.path(), "abc", None).is_none());
    }

    #[test]
    fn what_was_used_least_recently_goes_first_unless_it_is_in_use() {
        let machine = Machine::new();
        let all = machine.0.path().join(KEPT);
        let aside = machine.run("run-1").join(IN_RUN);
        for (name, used) in [("a", 10), ("b", 20), ("c", 30)] {
            let place = all.join(name);
            fs::create_dir_all(&place).unwrap();
            let kept = Kept { left_out: Vec::new(), boot: boot().unwrap(), bytes: 100 };
            fs::write(place.join(RECORD), serde_json::to_vec(&kept).unwrap()).unwrap();
            let used = SystemTime::UNIX_EPOCH + Duration::from_secs(used);
            File::open(place).unwrap().set_modified(used).unwrap();
        }
        let left = || ["a", "b", "c"].map(|name| all.join(name).exists());
        prune(&all, &aside, 300, 3).unwrap();
        assert_eq!(left(), [true, true, true]);
        let in_use = open_lock(&lock_of(&all.join("a"))).unwrap();
        in_use.lock_shared().unwrap();
        prune(&all, &aside, 299, 3).unwrap();
        assert_eq!(left(), [true, false, true]);
        drop(in_use);
        prune(&all, &aside, 300, 1).unwrap();
        assert_eq!(left(), [false, false, true]);
        assert!(!aside.exists() && !lock_of(&all.join("a")).exists());
    }
}
