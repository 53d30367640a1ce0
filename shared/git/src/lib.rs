//! Reading repositories that everybody can read, over Git's smart HTTP protocol.
//!
//! There is no `git` on Lambda: [gix](https://docs.rs/gix) speaks the protocol. It is given
//! nothing of the machine's own Git settings, credentials least of all.

mod error;
mod transport;

pub use error::GitError;

use gantry_domain::{CommitSha, GitUrl};
use gix::{
    bstr::BStr,
    credentials::{helper::Action, protocol::Outcome as Account},
    progress::Discard,
    protocol::handshake::Ref,
    remote::Direction,
};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// How long looking at the branches may take.
const LOOK: Duration = Duration::from_secs(20);
/// How long one archive may take.
const FETCH: Duration = Duration::from_secs(10 * 60);
/// How often the size of what has arrived is looked at.
const MEASURE_EVERY: Duration = Duration::from_millis(200);
/// The folder that everything in an archive is below, as in GitLab's archives.
const TOP: &str = "repository/";

/// Reads repositories.
#[derive(Debug, Clone, Default)]
pub struct Git {
    ca_pem: Option<String>,
}

/// A branch, as the repository has it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// Its bare name.
    pub name: String,
    /// Its newest commit.
    pub head: CommitSha,
}

/// The branches of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branches {
    /// The one that a clone checks out, where the repository says so.
    pub default: Option<String>,
    /// All of them, by name.
    pub all: Vec<Branch>,
}

impl Branches {
    /// The head of a branch.
    pub fn head(&self, name: &str) -> Option<&CommitSha> {
        self.all.iter().find(|branch| branch.name == name).map(|branch| &branch.head)
    }
}

impl Git {
    /// Reads repositories, and also trusts these certificates (PEM) of authorities.
    pub fn trusting(ca_pem: Option<String>) -> Self {
        Self { ca_pem }
    }

    /// The branches as they are now.
    pub async fn branches(&self, url: &GitUrl) -> Result<Branches, GitError> {
        let (git, url) = (self.clone(), url.clone());
        let look = tokio::task::spawn_blocking(move || git.look(&url));
        match tokio::time::timeout(LOOK, look).await {
            Ok(looked) => looked?,
            Err(_) => Err(GitError::Unavailable("it did not answer in time".to_owned())),
        }
    }

    /// Writes the archive (`tar.gz`) of a commit to a file: everything below one folder, without
    /// history and submodules, as GitLab's archives are. Whatever would take more than `largest`
    /// bytes is given up.
    pub async fn archive(
        &self,
        url: &GitUrl,
        commit: &CommitSha,
        largest: u64,
        file: PathBuf,
    ) -> Result<(), GitError> {
        let folder = tempfile::tempdir()?;
        let stop = Arc::new(AtomicBool::new(false));
        let mut fetch = {
            let (git, url, commit) = (self.clone(), url.clone(), commit.clone());
            let (folder, stop) = (folder.path().to_owned(), Arc::clone(&stop));
            tokio::task::spawn_blocking(move || git.fetch(&url, &commit, &folder, &file, &stop))
        };
        let objects = folder.path().join("objects");
        let too_large = || size(&objects) > largest;
        let deadline = tokio::time::Instant::now() + FETCH;
        let mut given_up = None;
        loop {
            tokio::select! {
                fetched = &mut fetch => {
                    let fetched = fetched?;
                    // A quick one can be over before it was measured at all.
                    if fetched.is_ok() && too_large() {
                        return Err(GitError::TooLarge);
                    }
                    // What was interrupted says no more than that.
                    return given_up.map_or(fetched, Err);
                }
                () = tokio::time::sleep(MEASURE_EVERY) => {
                    if too_large() {
                        given_up = Some(GitError::TooLarge);
                    } else if tokio::time::Instant::now() > deadline {
                        let why = "its commit did not arrive within 10 minutes";
                        given_up = Some(GitError::Unavailable(why.to_owned()));
                    }
                    stop.store(given_up.is_some(), Ordering::Relaxed);
                }
            }
        }
    }

    fn look(&self, url: &GitUrl) -> Result<Branches, GitError> {
        let folder = tempfile::tempdir()?;
        let repository = empty(folder.path())?;
        let remote = repository
            .remote_at(url.as_str())?
            .with_refspecs(["+refs/heads/*:refs/heads/*", "+HEAD:refs/gantry/default"], FETCH_ONLY)?
            .with_fetch_tags(gix::remote::fetch::Tags::None);
        let connection = remote
            .to_connection_with_transport(transport::new(self, url)?)
            .with_credentials(nobody);
        let (map, _) = connection.ref_map(Discard, Default::default())?;
        let mut branches = Branches { default: None, all: Vec::new() };
        for known in &map.remote_refs {
            match known {
                Ref::Symbolic { full_ref_name, target, .. } if full_ref_name == "HEAD" => {
                    branches.default = bare(target.as_ref());
                }
                Ref::Direct { full_ref_name, object } => {
                    let head = object.to_string().parse();
                    if let (Some(name), Ok(head)) = (bare(full_ref_name.as_ref()), head) {
                        branches.all.push(Branch { name, head });
                    }
                }
                _ => {}
            }
        }
        branches.all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(branches)
    }

    fn fetch(
        &self,
        url: &GitUrl,
        commit: &CommitSha,
        folder: &Path,
        file: &Path,
        stop: &AtomicBool,
    ) -> Result<(), GitError> {
        let repository = empty(folder)?;
        let wanted = format!("+{commit}:refs/gantry/wanted");
        let remote = repository
            .remote_at(url.as_str())?
            .with_refspecs([wanted.as_str()], FETCH_ONLY)?
            .with_fetch_tags(gix::remote::fetch::Tags::None);
        let one = std::num::NonZeroU32::MIN;
        remote
            .to_connection_with_transport(transport::new(self, url)?)
            .with_credentials(nobody)
            .prepare_fetch(Discard, Default::default())?
            .with_shallow(gix::remote::fetch::Shallow::DepthAtRemote(one))
            .receive(Discard, stop)?;
        let id = gix::ObjectId::from_hex(commit.as_str().as_bytes())?;
        let commit = repository.find_commit(id)?;
        let time = commit.time().map(|time| time.seconds).unwrap_or_default();
        let (stream, _) = repository.worktree_stream(commit.tree_id()?)?;
        let options = gix::worktree::archive::Options {
            format: gix::worktree::archive::Format::TarGz { compression_level: None },
            tree_prefix: Some(TOP.into()),
            modification_time: time,
        };
        let file = std::io::BufWriter::new(std::fs::File::create(file)?);
        repository.worktree_archive(stream, file, Discard, stop, options)?;
        Ok(())
    }
}

const FETCH_ONLY: Direction = Direction::Fetch;

/// Whoever asks for an account is told that there is none: no helper runs, no terminal is asked.
fn nobody(_: Action) -> gix::Result<Option<Account>> {
    Ok(None)
}

/// The bare name of a branch.
fn bare(name: &BStr) -> Option<String> {
    let name = name.strip_prefix(b"refs/heads/")?;
    Some(String::from_utf8_lossy(name).into_owned())
}

/// A repository that knows nothing of this machine's settings.
fn empty(folder: &Path) -> Result<gix::Repository, GitError> {
    let repository = gix::ThreadSafeRepository::init_opts(
        folder,
        gix::create::Kind::Bare,
        gix::create::Options::default(),
        gix::open::Options::isolated(),
    )?;
    Ok(repository.to_thread_local())
}

/// The bytes in a folder, as far as they can be seen.
fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(known) if known.is_dir() => size(&entry.path()),
            Ok(known) => known.len(),
            Err(_) => 0,
        })
        .sum()
}
