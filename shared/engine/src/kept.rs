//! The output of a process that must go on when whoever started it dies.
//!
//! A pipe whose reader is gone ends a Go program at its next line. So the process writes into a
//! file, which is followed while it grows. The process also inherits the lock on that file: as long
//! as the lock is held, the process is there, whoever asks, and whatever became of its parent.

use crate::lines::{Piece, Splitter};
use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
    time::Duration,
};

/// Between two looks whether there is more.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// Read at once.
const CHUNK: usize = 64 * 1024;
/// What was read is given back to the disk in parts of this many bytes.
const GIVE_BACK: u64 = 4 << 20;

/// The file that a process writes its output into.
#[derive(Debug)]
pub struct KeptOutput {
    writer: File,
    reader: File,
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
        Ok(Self { writer, reader })
    }

    pub(crate) fn into_parts(self) -> (File, Follower) {
        let follower =
            Follower { file: self.reader, at: 0, given_back: 0, lines: Splitter::default() };
        (self.writer, follower)
    }
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
    lines: Splitter,
}

impl Follower {
    /// Passes on what is there by now.
    pub(crate) async fn catch_up(&mut self, sink: &(dyn Fn(Piece<'_>) + Send + Sync)) {
        let mut buffer = vec![0; CHUNK];
        while let Ok(read @ 1..) = self.file.read_at(&mut buffer, self.at) {
            self.lines.feed(&buffer[..read], sink);
            self.at += read as u64;
            if self.at - self.given_back >= GIVE_BACK {
                give_back(&self.file, self.given_back, self.at - self.given_back);
                self.given_back = self.at;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Passes on whatever comes, for ever.
    pub(crate) async fn follow(&mut self, sink: &(dyn Fn(Piece<'_>) + Send + Sync)) -> ! {
        loop {
            self.catch_up(sink).await;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The process has ended: passes on the rest, at most for `limit`. What outlives the process may
    /// write without end.
    pub(crate) async fn finish(
        mut self,
        sink: &(dyn Fn(Piece<'_>) + Send + Sync),
        limit: Duration,
    ) {
        let _took_too_long = tokio::time::timeout(limit, self.catch_up(sink)).await;
        self.lines.finish(sink);
    }
}

/// What was read needs no room on the disk. Where the file system cannot do this, it stays.
fn give_back(file: &File, from: u64, length: u64) {
    #[cfg(target_os = "linux")]
    {
        use nix::fcntl::{FallocateFlags, fallocate};
        let how = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        if let (Ok(from), Ok(length)) = (i64::try_from(from), i64::try_from(length))
            && let Err(error) = fallocate(file, how, from, length)
        {
            tracing::debug!(%error, "read output stays on the disk");
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (file, from, length);
}
