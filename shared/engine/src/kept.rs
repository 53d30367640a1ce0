//! The output of a process that must go on when whoever started it dies.
//!
//! A pipe whose reader is gone ends a Go program at its next line. So the process writes into a
//! file, which is followed while it grows. The process also inherits the lock on that file: as long
//! as the lock is held, the process is there, whoever asks, and whatever became of its parent.
//!
//! What somebody has taken for good is given back to the disk. So the file itself says what nobody
//! has taken yet: what is in it after its empty beginning.

use crate::lines::{Piece, Splitter};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _},
    os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Between two looks whether there is more.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// Read at once.
const CHUNK: usize = 64 * 1024;
/// No more than this is kept for somebody who does not take it.
const MOST_KEPT: u64 = 64 << 20;

/// The file that a process writes its output into.
#[derive(Debug)]
pub struct KeptOutput {
    writer: File,
    reader: File,
    process: ProcessFile,
    taken: Arc<AtomicU64>,
}

impl KeptOutput {
    /// Makes the file anew, for its owner alone, and locks it.
    ///
    /// # Errors
    /// When it cannot be made, or another process still writes into it.
    pub fn create(path: &Path) -> io::Result<Self> {
        let writer = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        writer.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => {
                io::Error::new(io::ErrorKind::WouldBlock, "its output is still being written")
            }
            TryLockError::Error(error) => error,
        })?;
        writer.set_len(0)?;
        let reader = OpenOptions::new().read(true).write(true).open(path)?;
        let process = ProcessFile::of(path);
        process.take();
        Ok(Self { writer, reader, process, taken: Arc::default() })
    }

    /// How many bytes of the output nobody needs to find here any more. Whoever takes the output
    /// sets it.
    pub fn taken(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.taken)
    }

    pub(crate) fn into_parts(self) -> (File, Follower, ProcessFile) {
        let Self { writer, reader, process, taken } = self;
        let follower =
            Follower { file: reader, at: 0, given_back: 0, taken, lines: Splitter::default() };
        (writer, follower, process)
    }
}

/// The file beside the output that names the process. Whoever removes it may ask the process to
/// end, so that it is asked once: a second interrupt would lose what is in flight.
#[derive(Debug)]
pub(crate) struct ProcessFile(PathBuf);

impl ProcessFile {
    fn of(output: &Path) -> Self {
        Self(output.with_extension("process"))
    }

    /// That it cannot be written costs only that nobody else can ask the process to end, or its whole
    /// group, which has a minus as in `kill`.
    pub(crate) fn write(&self, process: Option<u32>, is_group: bool) {
        let Some(process) = process else { return };
        let next = self.0.with_extension("process.next");
        let sign = if is_group { "-" } else { "" };
        let written = fs::write(&next, format!("{sign}{process}"));
        if let Err(error) = written.and_then(|()| fs::rename(&next, &self.0)) {
            tracing::warn!(%error, "there is no record of which process applies");
        }
    }

    pub(crate) fn take(&self) -> Option<Pid> {
        let process = fs::read_to_string(&self.0).ok().and_then(|text| text.parse().ok());
        fs::remove_file(&self.0).ok()?;
        process.map(Pid::from_raw)
    }
}

/// Asks the process that writes the file at `path` to end, unless somebody has asked it before.
/// True when it was asked now.
///
/// # Errors
/// When the file cannot be looked at, or the process cannot be asked.
pub fn interrupt(path: &Path) -> io::Result<bool> {
    if !is_being_written(path)? {
        return Ok(false);
    }
    let Some(process) = ProcessFile::of(path).take() else { return Ok(false) };
    if !writes(process, path)? {
        return Ok(false);
    }
    kill(process, Signal::SIGINT)?;
    Ok(true)
}

/// Whether the process writes its output there: its id may be another one's by now.
fn writes(process: Pid, path: &Path) -> io::Result<bool> {
    if !cfg!(target_os = "linux") {
        return Ok(true);
    }
    let leader = process.as_raw().unsigned_abs();
    let (its, file) = (fs::metadata(format!("/proc/{leader}/fd/1")), fs::metadata(path)?);
    Ok(its.is_ok_and(|its| (its.dev(), its.ino()) == (file.dev(), file.ino())))
}

/// Passes on what is in the file at `path` and was never taken.
///
/// # Errors
/// When it cannot be read. That it is not there is none.
pub fn pass_rest(path: &Path, mut sink: impl FnMut(Piece<'_>)) -> io::Result<()> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    skip_given_back(&file);
    let mut lines = Splitter::default();
    let mut buffer = vec![0; CHUNK];
    let mut begun = false;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            lines.finish(sink);
            return Ok(());
        }
        let empty = buffer[..read].iter().take_while(|byte| !begun && **byte == 0).count();
        begun |= empty < read;
        lines.feed(&buffer[empty..read], &mut sink);
    }
}

/// Whole blocks of nothing are not read. Where the file system cannot say where they end, they are.
fn skip_given_back(file: &File) {
    #[cfg(target_os = "linux")]
    let _not_there = nix::unistd::lseek(file, 0, nix::unistd::Whence::SeekData);
    #[cfg(not(target_os = "linux"))]
    let _ = file;
}

/// True while a process writes its output into the file at `path`.
///
/// # Errors
/// When the file is there and cannot be looked at.
pub fn is_being_written(path: &Path) -> io::Result<bool> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Reads the file while it grows.
pub(crate) struct Follower {
    file: File,
    at: u64,
    given_back: u64,
    taken: Arc<AtomicU64>,
    lines: Splitter,
}

/// Takes the output of a process, and is told how far it came.
pub(crate) struct Taker<'a> {
    pub(crate) sink: &'a (dyn Fn(Piece<'_>) + Send + Sync),
    /// So many bytes of the output were passed on by now.
    pub(crate) passed: &'a (dyn Fn(u64) + Send + Sync),
}

impl Follower {
    /// Passes on what is there by now.
    pub(crate) async fn catch_up(&mut self, to: &Taker<'_>) {
        let mut buffer = vec![0; CHUNK];
        while let Ok(read @ 1..) = self.file.read_at(&mut buffer, self.at) {
            self.lines.feed(&buffer[..read], to.sink);
            self.at += read as u64;
            (to.passed)(self.at - self.lines.pending());
            self.give_back();
            tokio::task::yield_now().await;
        }
        self.give_back();
    }

    fn give_back(&mut self) {
        let wanted_from = self.at.saturating_sub(MOST_KEPT);
        let until = self.taken.load(Ordering::Relaxed).max(wanted_from);
        if until > self.given_back {
            give_back(&self.file, self.given_back, until - self.given_back);
            self.given_back = until;
        }
    }

    /// Passes on whatever comes, for ever.
    pub(crate) async fn follow(&mut self, to: &Taker<'_>) -> ! {
        loop {
            self.catch_up(to).await;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The process has ended: passes on the rest, at most for `limit`. What outlives the process may
    /// write without end.
    pub(crate) async fn finish(mut self, to: &Taker<'_>, limit: Duration) {
        let _took_too_long = tokio::time::timeout(limit, self.catch_up(to)).await;
        self.lines.finish(to.sink);
        (to.passed)(self.at);
    }
}

/// What was taken needs no room on the disk. Where the file system cannot do this, it stays, and
/// is taken for what nobody has.
fn give_back(file: &File, from: u64, length: u64) {
    #[cfg(target_os = "linux")]
    {
        use nix::fcntl::{FallocateFlags, fallocate};
        let how = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        if let (Ok(from), Ok(length)) = (i64::try_from(from), i64::try_from(length))
            && let Err(error) = fallocate(file, how, from, length)
        {
            tracing::debug!(%error, "output that was sent stays on the disk");
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (file, from, length);
}
