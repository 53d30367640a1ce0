//! What a run leaves on its machine for whoever looks after it when its runner has died: whose it
//! is, how far it came, and what was to be reported. A lock says whether the runner is there.

use gantry_domain::protocol::Report;
use gantry_engine::files;
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};
use url::Url;

const LOCK: &str = "lock";
const RECORD: &str = "record.json";
/// Between two tries to get a folder that somebody else cleans up.
const TRY_EVERY: Duration = Duration::from_millis(50);
/// Whoever cleans up waits for the runner API once.
const TRIES: u32 = 20 * 120;

/// How far a run came, as far as it matters to whoever finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    /// Nothing was applied.
    #[default]
    Before,
    /// Something may have been applied.
    Applying,
}

/// What is written down of a run. It holds the run's token: for the runner's user alone.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The runner API's address.
    pub(crate) api: Url,
    /// Speaks for the run.
    pub(crate) token: String,
    /// The run.
    pub(crate) run: String,
    /// How far it came.
    pub(crate) stage: Stage,
    /// The project root within the workspace, where Terraform leaves what it cannot deliver.
    #[serde(default)]
    pub(crate) root: String,
    /// The sequence of the last report.
    #[serde(default)]
    pub(crate) sequence: u32,
    /// The end that is to be reported, once it is known. The same report again says nothing new.
    #[serde(default)]
    pub(crate) end: Option<Report>,
}

/// A run's folder, held: nobody else touches it as long as this is there.
pub(crate) struct Held {
    folder: PathBuf,
    _lock: File,
}

/// Whose a folder is.
pub(crate) enum Taken {
    /// Ours from now on.
    Ours(Held),
    /// Somebody else's, who lives.
    Others,
    /// It is not a run's.
    NoRuns,
}

impl Held {
    /// Makes the folder, and takes it.
    ///
    /// # Errors
    /// When it cannot be made, or another process keeps it.
    pub(crate) async fn make(folder: &Path, mode: u32) -> io::Result<Self> {
        for _ in 0..TRIES {
            files::make_folder(folder, mode)?;
            match Self::lock(folder, true) {
                Ok(Some(held)) => return Ok(held),
                // Cleaned away just now.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
                Ok(None) => {}
            }
            tokio::time::sleep(TRY_EVERY).await;
        }
        Err(io::Error::other(format!("{} is in use by another runner", folder.display())))
    }

    /// Takes the folder if it is a run's and nobody has it.
    pub(crate) fn take(folder: &Path) -> io::Result<Taken> {
        match Self::lock(folder, false) {
            Ok(Some(held)) => Ok(Taken::Ours(held)),
            Ok(None) => Ok(Taken::Others),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Taken::NoRuns),
            Err(error) => Err(error),
        }
    }

    fn lock(folder: &Path, create: bool) -> io::Result<Option<Self>> {
        let path = folder.join(LOCK);
        let mut options = OpenOptions::new();
        let lock = options.write(true).create(create).mode(0o600).open(&path)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Whoever had it before may have removed it.
        let (mine, there) = (lock.metadata()?, fs::metadata(&path)?);
        let is_there = mine.ino() == there.ino() && mine.dev() == there.dev();
        Ok(is_there.then(|| Self { folder: folder.to_owned(), _lock: lock }))
    }

    /// What is written down; none when nothing is.
    pub(crate) fn read(&self) -> io::Result<Option<Record>> {
        match fs::read(self.folder.join(RECORD)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => Ok(Some(serde_json::from_slice(&other?)?)),
        }
    }

    /// Writes it down, whole or not at all.
    pub(crate) fn write(&self, record: &Record) -> io::Result<()> {
        let (next, path) = (self.folder.join("record.next"), self.folder.join(RECORD));
        files::write_private(&next, &serde_json::to_vec(record)?)?;
        fs::rename(next, path)
    }

    /// Removes the folder. The record goes last but the lock, so that who dies in between leaves
    /// something that is found.
    pub(crate) fn remove(self) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if [LOCK, RECORD].iter().any(|kept| entry.file_name() == *kept) {
                continue;
            }
            match entry.file_type()?.is_dir() {
                true => files::remove_folder(&entry.path())?,
                false => fs::remove_file(entry.path())?,
            }
        }
        for name in [RECORD, LOCK] {
            match fs::remove_file(self.folder.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::remove_dir(&self.folder)
    }
}
