//! A commit's files that previews on this machine see, many of them at the same time, each as if it
//! had a copy ([`gantry_engine::overlay`]).
//!
//! Files are kept by the digest of their archive, where no process of a run reaches them, and nothing
//! that one does in its folder changes them. So nobody looks whether they are as they were unpacked,
//! and a preview beside ten thousand files takes as long as one beside ten. Runs that may apply, and
//! machines that have no such folders, have what [sources](crate::sources) keep: what an apply leaves
//! in its folder must be found by whoever looks there when the runner has died.

use crate::{failure::Failure, sources::boot};
use gantry_engine::{
    StopSignal, Unprivileged, files,
    overlay::{self, Overlay},
};
use gantry_setup::Clock;
use nix::unistd::{getegid, geteuid};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File, FileType, Permissions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// The folder of what is kept, among those of the runs.
const KEPT: &str = "layers";
/// The files, in a folder of what is kept.
const TREE: &str = "tree";
/// What is known of them, beside them.
const RECORD: &str = "layer.json";
/// Beside all of them: the start of the machine since which it is known to have no such folders.
const IMPOSSIBLE: &str = "impossible";
/// The end of a lock's name, beside what it is for.
const LOCK: &str = "lock";
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
    stop: StopSignal,
}

/// What a run has of a commit's files.
pub(crate) struct Shown {
    /// The links that were left out of the archive because they lead outside.
    pub(crate) left_out: Vec<String>,
    /// None where the files are the run's own.
    pub(crate) layer: Option<Layer>,
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
    /// They are not worth it, and the run has them for itself.
    Own(Vec<String>),
    /// The run has none: another one unpacks them for ever, or they would be somebody's whom the
    /// kernel may not know.
    Nowhere,
}

/// Why a run has none of them.
enum Trouble {
    /// Its own: it ends with that.
    Ending(Failure),
    /// They are not shown as they should be.
    Showing(io::Error),
    /// They cannot be kept.
    Keeping(io::Error),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Keeping(error)
    }
}

impl Layers {
    /// For the archive with that digest, among the runs of a machine, as files of `user`. None where
    /// the machine is known to have no such folders. What waits for another run ends with `stop`.
    pub(crate) fn new(
        work: &Path,
        digest: &str,
        user: Option<Unprivileged>,
        stop: StopSignal,
    ) -> Option<Self> {
        let all = work.join(KEPT);
        let known = fs::read_to_string(all.join(IMPOSSIBLE)).ok();
        if known.is_some_and(|known| boot().is_ok_and(|boot| boot == known)) {
            tracing::info!("runs do not share the files of a commit, as an earlier one has found");
            return None;
        }
        let of_user = user.map(|user| format!("-{}-{}", user.uid, user.gid)).unwrap_or_default();
        Some(Self { all, name: format!("{digest}{of_user}"), user, stop })
    }

    /// Shows the files in the empty folder `into`, or puts them there. None where neither can be done:
    /// then `into` is empty still. Where nobody has unpacked them yet, `unpack` does, into an empty
    /// folder; nothing but its errors, and the wish to stop, is a failure of the run. `run` is the
    /// folder of the run.
    pub(crate) fn show(
        &self,
        run: &Path,
        into: &Path,
        unpack: impl Fn(&Path) -> Result<Vec<String>, Failure>,
    ) -> Result<Option<Shown>, Failure> {
        let trouble = match self.try_to_show(run, into, unpack) {
            Ok(Some(shown)) => return Ok(Some(shown)),
            Ok(None) => None,
            Err(Trouble::Ending(failure)) => return Err(failure),
            Err(trouble) => Some(trouble),
        };
        if let Err(error) = clear(run) {
            tracing::warn!(%error, "a part of the files of a commit is left in the run's folder");
        }
        files::make_fresh_folder(into, 0o700)?;
        match trouble {
            Some(Trouble::Showing(error)) => self.give_up(run, &error),
            Some(Trouble::Keeping(error)) => {
                tracing::warn!(%error, "the files of a commit are not kept for other runs");
            }
            _ => {}
        }
        Ok(None)
    }

    fn try_to_show(
        &self,
        run: &Path,
        into: &Path,
        unpack: impl Fn(&Path) -> Result<Vec<String>, Failure>,
    ) -> Result<Option<Shown>, Trouble> {
        let try_out = |tree: &Path| self.try_out(run, tree, into);
        Ok(match self.hold(run, into, unpack, try_out)? {
            Held::Kept(Kept { left_out, .. }, used) => {
                let shown = self.overlay(run, &self.place().join(TREE), into)?;
                Some(Shown { left_out, layer: Some(Layer { _shown: shown, _used: used }) })
            }
            Held::Own(left_out) => Some(Shown { left_out, layer: None }),
            Held::Nowhere => None,
        })
    }

    /// `try_out` tells whether unpacked files can be shown.
    fn hold(
        &self,
        run: &Path,
        into: &Path,
        unpack: impl Fn(&Path) -> Result<Vec<String>, Failure>,
        try_out: impl Fn(&Path) -> Result<(), Trouble>,
    ) -> Result<Held, Trouble> {
        files::make_folder(&self.all, 0o700)?;
        let until = Instant::now() + LONGEST_WAIT;
        loop {
            let lock = open_lock(&self.lock())?;
            let is_there = self.kept().is_some();
            let locked = match is_there {
                true => lock.try_lock_shared(),
                // One at a time: all others wait for what it makes.
                false => lock.try_lock(),
            };
            match locked {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) if Instant::now() < until => {
                    self.pause()?;
                    continue;
                }
                Err(TryLockError::WouldBlock) => return Ok(Held::Nowhere),
                Err(TryLockError::Error(error)) => return Err(error.into()),
            }
            if !is_at(&lock, &self.lock())? {
                continue;
            }
            match (is_there, self.kept()) {
                (true, Some(kept)) => {
                    let now = Clock::system().now().into();
                    let _touched =
                        File::open(self.place()).and_then(|place| place.set_modified(now));
                    return Ok(Held::Kept(kept, lock));
                }
                (false, None) => {
                    let made = self.make(run, into, &unpack, &try_out).transpose();
                    if let Some(not_kept) = made {
                        self.remove_lock();
                        return not_kept;
                    }
                }
                // It was made, or removed, just now.
                _ => {}
            }
        }
    }

    fn pause(&self) -> Result<(), Trouble> {
        if let Some(reason) = self.stop.asked() {
            return Err(Trouble::Ending(Failure::Stopped(reason)));
        }
        thread::sleep(LOOK_EVERY);
        Ok(())
    }

    /// Unpacks the files, and keeps them; else what became of them.
    fn make(
        &self,
        run: &Path,
        into: &Path,
        unpack: impl Fn(&Path) -> Result<Vec<String>, Failure>,
        try_out: impl Fn(&Path) -> Result<(), Trouble>,
    ) -> Result<Option<Held>, Trouble> {
        let made = run.join(IN_RUN);
        let tree = made.join(TREE);
        files::make_fresh_folder(&made, 0o700)?;
        files::make_folder(&tree, 0o700)?;
        if !self.will_own(&tree)? {
            return Ok(Some(Held::Nowhere));
        }
        let left_out = unpack(&tree).map_err(Trouble::Ending)?;
        let (count, bytes) = size_of(&tree)?;
        if count < WORTH_KEEPING || bytes > LARGEST {
            fs::rename(&tree, into)?;
            // The run has them: what else goes wrong does not matter to it.
            if let Err(error) = files::remove_folder(&made) {
                tracing::warn!(%error, "an empty folder is left in the run's folder");
            }
            return Ok(Some(Held::Own(left_out)));
        }
        try_out(&tree)?;
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

    /// Whether what is unpacked into that folder is the run's user's: the kernel makes copies of what
    /// is changed for whoever owns it, and in a user namespace it knows nobody but us. A file system
    /// may hand down the group of a folder. To another user, `unpack` gives all of it.
    fn will_own(&self, tree: &Path) -> io::Result<bool> {
        let found = fs::metadata(tree)?;
        let us = (geteuid().as_raw(), getegid().as_raw());
        Ok(self.user.is_some() || (found.uid(), found.gid()) == us)
    }

    /// Shows unpacked files in the empty folder `into` for a moment, and does with them what a run
    /// may do: that they can be mounted says nothing of that.
    fn try_out(&self, run: &Path, tree: &Path, into: &Path) -> Result<(), Trouble> {
        let _shown = self.overlay(run, tree, into)?;
        change_some(into).map_err(Trouble::Showing)
    }

    fn overlay(&self, run: &Path, tree: &Path, into: &Path) -> Result<Overlay, Trouble> {
        let changes = run.join(CHANGES);
        let (changed, own) = (changes.join("changed"), changes.join("own"));
        files::make_fresh_folder(&changes, 0o700)?;
        files::make_folder(&changed, 0o700)?;
        files::make_folder(&own, 0o700)?;
        self.user.map_or(Ok(()), |user| files::give_to(&changed, user))?;
        Overlay::new(tree, &changed, &own, into).map_err(Trouble::Showing)
    }

    /// The run has a copy. If the machine answers so each time, nobody asks it again before it starts
    /// anew, and what is kept is of use to nobody.
    fn give_up(&self, run: &Path, error: &io::Error) {
        tracing::info!(%error, "runs do not share the files of a commit");
        if !overlay::is_lasting(error) {
            return;
        }
        let noted = boot().and_then(|boot| fs::write(self.all.join(IMPOSSIBLE), boot));
        let removed = noted.and_then(|()| prune(&self.all, &run.join(IN_RUN), 0, 0));
        if let Err(error) = removed {
            tracing::warn!(%error, "files that no run can share are left on this machine");
        }
    }

    /// By whoever has all of it, where nothing is there that it would be for.
    fn remove_lock(&self) {
        if let Err(error) = fs::remove_file(self.lock()) {
            tracing::warn!(%error, "the lock of files that are not kept is left");
        }
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
    place.with_extension(LOCK)
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

fn read(place: &Path) -> Option<Kept> {
    serde_json::from_slice(&fs::read(place.join(RECORD)).ok()?).ok()
}

/// Removes what a run has left of its own beside what it was shown. Nothing may be shown any more.
pub(crate) fn clear(run: &Path) -> io::Result<()> {
    files::remove_folder(&run.join(IN_RUN)).and(files::remove_folder(&run.join(CHANGES)))
}

/// Changes a folder and a file, and removes the file.
fn change_some(at: &Path) -> io::Result<()> {
    if let Some(folder) = find(at, FileType::is_dir)? {
        fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    }
    let Some(file) = find(at, FileType::is_file)? else { return Ok(()) };
    File::options().append(true).open(&file)?.write_all(b"\n")?;
    fs::remove_file(&file)?;
    match fs::symlink_metadata(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "a file that was removed is still there",
        )),
    }
}

/// Something of a kind, anywhere in that folder.
fn find(at: &Path, is_wanted: fn(&FileType) -> bool) -> io::Result<Option<PathBuf>> {
    let mut folders = vec![at.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if is_wanted(&kind) {
                return Ok(Some(entry.path()));
            }
            if kind.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(None)
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

/// Removes what was used least recently, and is not in use, until the rest is few and small enough,
/// and locks of nothing. `aside` is where only this run reaches.
fn prune(all: &Path, aside: &Path, largest: u64, most: usize) -> io::Result<()> {
    let (mut kept, mut locks) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(all)? {
        let place = entry?.path();
        // Others remove too.
        let Ok(found) = fs::metadata(&place) else { continue };
        if found.is_dir() {
            let bytes = read(&place).map_or(0, |kept| kept.bytes);
            kept.push((found.modified()?, bytes, place));
        } else if place.extension().is_some_and(|extension| extension == LOCK) {
            locks.push(place);
        }
    }
    for path in locks {
        let place = path.with_extension("");
        if place.exists() {
            continue;
        }
        let lock = open_lock(&path)?;
        if lock.try_lock().is_ok() && is_at(&lock, &path)? && !place.exists() {
            fs::remove_file(&path)?;
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
    use gantry_engine::{StopKind, stop::stop_channel};
    use nix::errno::Errno;
    use std::{
        cell::Cell,
        sync::{
            Barrier,
            atomic::{AtomicU32, Ordering},
        },
        time::SystemTime,
    };

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
            self.known().unwrap()
        }

        /// None where it is known to have none.
        fn known(&self) -> Option<Layers> {
            Layers::new(self.0.path(), "abc", None, stop_channel().1)
        }
    }

    fn write_files(into: &Path, files: usize) -> Result<Vec<String>, Failure> {
        for n in 0..files {
            fs::write(into.join(format!("{n}.tf")), "as it was")?;
        }
        Ok(vec!["out -> ../..".to_owned()])
    }

    /// Unpacks so many files, and counts how often.
    fn unpack(files: usize, times: &Cell<u32>) -> impl Fn(&Path) -> Result<Vec<String>, Failure> {
        move |into| {
            times.set(times.get() + 1);
            write_files(into, files)
        }
    }

    fn workspace(run: &Path) -> PathBuf {
        run.join("job/workspace")
    }

    fn is_empty(folder: &Path) -> bool {
        fs::read_dir(folder).unwrap().next().is_none()
    }

    /// On a machine that shows whatever it is asked to.
    fn hold(layers: &Layers, run: &Path, files: usize, times: &Cell<u32>) -> Held {
        let held = layers.hold(run, &workspace(run), unpack(files, times), |_| Ok(()));
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
        assert!(machine.layers().kept().is_some());

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
        assert!(machine.known().is_some());
        fs::write(layers.all.join(IMPOSSIBLE), boot().unwrap()).unwrap();
        assert!(machine.known().is_none());
    }

    #[test]
    fn who_waits_has_the_files_as_soon_as_they_are_there() {
        const RUNS: usize = 8;
        let (machine, times) = (Machine::new(), AtomicU32::new(0));
        let (all_begin, all_have) = (Barrier::new(RUNS), Barrier::new(RUNS));
        let runs: Vec<_> = (1..=RUNS).map(|n| machine.run(&format!("run-{n}"))).collect();
        let began = Instant::now();
        let one = |run: &Path| {
            let slow = |into: &Path| {
                times.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(100));
                write_files(into, 120)
            };
            let layers = machine.layers();
            all_begin.wait();
            let held = layers.hold(run, &workspace(run), slow, |_| Ok(()));
            // Nobody lets go of them before all have them.
            all_have.wait();
            assert!(matches!(held, Ok(Held::Kept(..))), "{}", run.display());
        };
        thread::scope(|scope| {
            for run in &runs {
                scope.spawn(move || one(run));
            }
        });
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        assert_eq!(times.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn who_waits_ends_when_it_is_asked_to() {
        let (machine, (stopper, stop)) = (Machine::new(), stop_channel());
        let layers = Layers::new(machine.0.path(), "abc", None, stop).unwrap();
        let run = machine.run("run-1");
        fs::create_dir(&layers.all).unwrap();
        let in_the_making = open_lock(&layers.lock()).unwrap();
        in_the_making.lock().unwrap();
        stopper.stop(StopKind::Asked, "nobody needs it");
        let shown = layers.show(&run, &workspace(&run), |_| panic!("another run has the lock"));
        let Err(Failure::Stopped(reason)) = shown else { panic!("it goes on") };
        assert_eq!(reason.text, "nobody needs it");
    }

    #[test]
    fn trouble_with_keeping_files_is_no_trouble_of_a_run() {
        // Something else lies where their folder would be, their lock, and what the run unpacks.
        let spoils: [fn(&Layers, &Path); 3] = [
            |layers, _| fs::write(&layers.all, "").unwrap(),
            |layers, _| fs::create_dir_all(layers.lock()).unwrap(),
            |_, run| fs::write(run.join(IN_RUN), "").unwrap(),
        ];
        for spoil in spoils {
            let (machine, times) = (Machine::new(), Cell::new(0));
            let (layers, run) = (machine.layers(), machine.run("run-1"));
            spoil(&layers, &run);
            let shown = layers.show(&run, &workspace(&run), unpack(120, &times));
            assert!(matches!(shown, Ok(None)));
            assert_eq!(times.get(), 0);
            assert!(is_empty(&workspace(&run)) && !run.join(CHANGES).exists());
            assert!(machine.known().is_some(), "that says nothing of the next one");
        }

        // They are unpacked, and cannot be put in their place.
        let (machine, times) = (Machine::new(), Cell::new(0));
        let (layers, run) = (machine.layers(), machine.run("run-1"));
        fs::create_dir(&layers.all).unwrap();
        fs::write(layers.place(), "").unwrap();
        let held = layers.hold(&run, &workspace(&run), unpack(120, &times), |_| Ok(()));
        assert!(matches!(held, Err(Trouble::Keeping(_))));
        assert!(run.join(IN_RUN).exists() && !layers.lock().exists());
        clear(&run).unwrap();
        assert!(!run.join(IN_RUN).exists() && is_empty(&workspace(&run)));

        let refused = |_: &Path| Err(Failure::other("it is too large"));
        let shown = layers.show(&run, &workspace(&run), refused);
        assert!(matches!(shown, Err(Failure::Other(text)) if text == "it is too large"));
    }

    #[test]
    fn what_a_machine_never_shows_is_not_kept() {
        let (machine, times) = (Machine::new(), Cell::new(0));
        let (layers, run) = (machine.layers(), machine.run("run-1"));
        let held = layers.hold(&run, &workspace(&run), unpack(120, &times), |_| {
            Err(Trouble::Showing(Errno::EINVAL.into()))
        });
        assert!(matches!(held, Err(Trouble::Showing(_))));
        assert!(is_empty(&layers.all), "what cannot be shown is not kept");
        clear(&run).unwrap();

        let used = hold(&layers, &run, 120, &times);
        layers.give_up(&run, &Errno::ENOMEM.into());
        assert!(machine.known().is_some(), "it may be able to next time");
        layers.give_up(&run, &Errno::EINVAL.into());
        assert!(machine.known().is_none());
        assert!(layers.kept().is_some(), "somebody uses it");
        drop(used);
        layers.give_up(&run, &Errno::EINVAL.into());
        let left: Vec<_> =
            fs::read_dir(&layers.all).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, [IMPOSSIBLE]);
        assert!(!run.join(IN_RUN).exists());
    }

    #[test]
    fn a_run_sees_them_through_an_overlay_or_has_nothing_of_them() {
        if gantry_terraform::is_root("mounts of a thread") {
            // A thread can have mounts of its own, and the other tests of this process see none of them.
            thread::spawn(shows).join().unwrap();
        }
    }

    fn shows() {
        if overlay::gain_mounts().is_err() {
            return;
        }
        let (machine, times) = (Machine::new(), Cell::new(0));
        let (layers, run) = (machine.layers(), machine.run("run-1"));
        let into = workspace(&run);
        let unpack = |into: &Path| {
            times.set(times.get() + 1);
            fs::create_dir(into.join("deep"))?;
            write_files(&into.join("deep"), 120)
        };
        for is_kept in [false, true] {
            let Ok(shown) = layers.show(&run, &into, unpack) else { panic!("it was not unpacked") };
            let Some(shown) = shown else {
                // Not every file system can: that of a container is an overlay itself.
                assert!(!is_kept && machine.known().is_none());
                assert!(
                    is_empty(&into) && !run.join(IN_RUN).exists() && !run.join(CHANGES).exists()
                );
                return;
            };
            assert!(shown.layer.is_some());
            assert_eq!(fs::read_dir(into.join("deep")).unwrap().count(), 120, "as it was unpacked");
            assert_eq!(fs::read(into.join("deep/1.tf")).unwrap(), b"as it was");
            assert!(is_empty(&run.join("changes/changed")), "what was tried out is gone");
            fs::write(into.join("deep/1.tf"), "changed").unwrap();
            fs::remove_file(into.join("deep/2.tf")).unwrap();
            drop(shown);
            assert!(is_empty(&into), "nothing is shown any more");
            clear(&run).unwrap();
        }
        assert_eq!(times.get(), 1);
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
        let of_nothing = ["d", "e"].map(|name| lock_of(&all.join(name)));
        let [mine, _others] = of_nothing.each_ref().map(|path| open_lock(path).unwrap());
        mine.try_lock().unwrap();
        prune(&all, &aside, 300, 3).unwrap();
        assert_eq!(left(), [true, true, true]);
        assert_eq!(of_nothing.each_ref().map(|path| path.exists()), [true, false]);
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
