//! Fetches a commit's archive into object storage, once: from GitLab, or from a repository that
//! everybody can read.
//!
//! GitLab allows five archives a minute, so every run of a commit shares one. An archive appears
//! when it is whole; where it cannot be had, a [`SourceFailed`] lies beside its place and says why.
//! Trouble at GitLab, or on the way, is neither: the message waits.
//!
//! It also packs the code of a module's version for the registry, which is made of such an archive.

mod package;

use async_trait::async_trait;
use gantry_connection::{Connection, NotConnected};
use gantry_domain::{
    CommitSha, GitUrl, ProjectId, Repository,
    source::{SourceFailed, SourceWaits},
};
use gantry_git::{Git, GitError};
use gantry_gitlab::{Download, Error};
use gantry_objects::{Objects, Writing, keys};
use gantry_queue::{Context, Failure, Handler, Message, Sender, SourceMessage, StackMessage};
use gantry_setup::Clock;
use jiff::{SignedDuration, Timestamp};
use std::{sync::Arc, time::Duration};
use tokio::io::AsyncReadExt as _;

/// The largest archive that is kept, where nothing else is set: 500 MB.
pub const LARGEST_ARCHIVE: u64 = 500_000_000;

/// The wait where GitLab does not say how long.
const UNSAID_WAIT: Duration = Duration::from_secs(20);
/// How long GitLab may refuse the whole project, or something else come in place of an archive,
/// before the runs that need the archive fail.
const REFUSALS_WAIT: SignedDuration = SignedDuration::from_hours(1);
/// The wait for a person.
const PERSON_WAIT: Duration = Duration::from_secs(60);
/// How much of an archive is passed on at once.
const PIECE: usize = 1 << 20;

/// What the function works with.
#[derive(Clone)]
pub struct Deps {
    /// Gives the client for the linked GitLab server.
    pub connection: Arc<Connection>,
    /// Reads repositories that are not at GitLab.
    pub git: Git,
    /// Where archives go.
    pub objects: Objects,
    /// Tells what became of a module's packing.
    pub sender: Sender,
    /// The time.
    pub clock: Clock,
    /// The largest archive that is kept, in bytes.
    pub largest: u64,
}

/// The handler of [`SourceMessage::Fetch`] and [`SourceMessage::Package`].
pub fn handler(deps: Deps) -> impl Handler {
    Fetcher(deps)
}

struct Fetcher(Deps);

#[async_trait]
impl Handler for Fetcher {
    async fn handle(&self, context: Context, message: Message) -> Result<(), Failure> {
        let asked_at = context.sent_at;
        match message.try_into()? {
            SourceMessage::Fetch { repository, commit, cause, waits } => {
                let archive = self.fetch(&repository, &commit, asked_at).await?;
                let Some((stack, run)) = waits else { return Ok(()) };
                let (is_there, is_new) = (archive != Archive::Never, archive == Archive::New);
                let commit = Some(commit);
                let fetched = StackMessage::Fetched { stack, run, is_there, is_new, commit, cause };
                Ok(self.0.sender.send(fetched).await?)
            }
            SourceMessage::Package { stack, run, repository, commit, root } => {
                self.fetch(&repository, &commit, asked_at).await?;
                let packed = package::pack(&self.0, &stack, &repository, &commit, &root).await?;
                Ok(self.0.sender.send(StackMessage::Packaged { stack, run, packed }).await?)
            }
        }
    }
}

/// What there is of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Archive {
    /// It was fetched just now.
    New,
    /// It was there.
    Kept,
    /// It cannot be had.
    Never,
}

/// How a download ended.
enum Fetched {
    /// It is there.
    Whole(u64),
    /// It will not be there, for this reason.
    Never(SourceFailed),
}

impl Fetcher {
    /// Has the archive there, if it can be had.
    async fn fetch(
        &self,
        repository: &Repository,
        commit: &CommitSha,
        asked_at: Option<Timestamp>,
    ) -> Result<Archive, Failure> {
        let Deps { objects, clock, .. } = &self.0;
        let (archive, marker) =
            (keys::source(repository.key(), commit), keys::source_failed(repository.key(), commit));
        if objects.exists(&archive).await? {
            return Ok(Archive::Kept);
        }
        let failed = objects.get(&marker).await?.and_then(|kept| SourceFailed::from_json(&kept));
        if failed.is_some_and(|failed| failed.counts_at(clock.now())) {
            return Ok(Archive::Never);
        }
        let fetched = match repository {
            Repository::Gitlab(project) => {
                self.fetch_from_gitlab(*project, commit, &archive, asked_at).await
            }
            Repository::Git(url) => self.fetch_from_git(url, commit, &archive).await,
        };
        match fetched {
            Ok(Fetched::Whole(size)) => {
                tracing::info!(size, "fetched an archive");
                objects.delete(&marker).await?;
                Ok(Archive::New)
            }
            Ok(Fetched::Never(failed)) => {
                tracing::warn!(reason = failed.reason, "an archive cannot be downloaded");
                objects.put(&marker, failed.to_json().into()).await?;
                Ok(Archive::Never)
            }
            Err(failure) => {
                self.say_why_it_waits(repository, &failure).await;
                Err(failure)
            }
        }
    }

    /// For the runs that need an archive of the repository: they are fetched one after the other.
    async fn say_why_it_waits(&self, repository: &Repository, failure: &Failure) {
        let Deps { objects, clock, .. } = &self.0;
        let Some(until) = failure.retry_after.and_then(|wait| clock.now().checked_add(wait).ok())
        else {
            return;
        };
        let waits = match failure.error.downcast_ref::<Error>() {
            Some(Error::RateLimited { .. }) => SourceWaits::for_limit(until),
            _ => SourceWaits::for_trouble(&format!("{:#}", failure.error), until),
        };
        let key = keys::source_waits(repository.key());
        if let Err(error) = objects.put(&key, waits.to_json().into()).await {
            tracing::warn!(%error, "the reason why an archive is not available yet could not be \
                                    stored");
        }
    }

    async fn fetch_from_gitlab(
        &self,
        project: ProjectId,
        commit: &CommitSha,
        key: &str,
        asked_at: Option<Timestamp>,
    ) -> Result<Fetched, Failure> {
        let client = self.0.connection.current().await.map_err(not_connected)?;
        let now = self.0.clock.now();
        let error = match client.archive(project, commit).await {
            Ok(Some(download)) => return self.save(key, download).await,
            Ok(None) => {
                return Ok(Fetched::Never(SourceFailed::not_found("it answered 404", now)));
            }
            Err(error) => error,
        };
        let is_new = asked_at.is_some_and(|at| now.duration_since(at) < REFUSALS_WAIT);
        if let Error::NoArchive { came, .. } = &error {
            // Trouble, which ends: but what lies between here and GitLab may keep archives back for
            // good, and nothing else.
            if !is_new && !client.project(project).await.is_err_and(|error| error.is_trouble()) {
                return Ok(Fetched::Never(SourceFailed::no_archive(came, now)));
            }
            return Err(wait(error));
        }
        if !error.is_refusal() {
            return Err(wait(error));
        }
        // Where GitLab refuses the project too, it may be in trouble, which ends.
        if is_new && client.project(project).await.is_err() {
            return Err(wait(error));
        }
        Ok(Fetched::Never(match error {
            Error::NotFound { message } => SourceFailed::not_found(&message, now),
            error => SourceFailed::refused(&error.to_string(), now),
        }))
    }

    async fn fetch_from_git(
        &self,
        url: &GitUrl,
        commit: &CommitSha,
        key: &str,
    ) -> Result<Fetched, Failure> {
        let Deps { objects, clock, git, largest, .. } = &self.0;
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("archive.tar.gz");
        match git.archive(url, commit, *largest, file.clone()).await {
            Ok(()) => {}
            Err(GitError::TooLarge) => {
                return Ok(Fetched::Never(SourceFailed::too_large(*largest, clock.now())));
            }
            Err(error) if error.is_temporary() => return Err(Failure::wait(error, UNSAID_WAIT)),
            Err(error) => {
                let said = format!("{url}: {error}");
                return Ok(Fetched::Never(SourceFailed::refused(&said, clock.now())));
            }
        }
        let mut archive = tokio::fs::File::open(&file).await?;
        let size = archive.metadata().await?.len();
        let mut writing = objects.begin(key).await?;
        let mut piece = vec![0; PIECE];
        loop {
            let read = match archive.read(&mut piece).await {
                Ok(0) => break,
                Ok(read) => writing.write(&piece[..read]).await.map_err(Failure::from),
                Err(error) => Err(error.into()),
            };
            if let Err(failure) = read {
                discard(writing).await;
                return Err(failure);
            }
        }
        writing.finish().await?;
        Ok(Fetched::Whole(size))
    }

    async fn save(&self, key: &str, mut download: Download) -> Result<Fetched, Failure> {
        let Deps { objects, clock, largest, .. } = &self.0;
        let too_large = || Fetched::Never(SourceFailed::too_large(*largest, clock.now()));
        if download.length().is_some_and(|length| length > *largest) {
            return Ok(too_large());
        }
        let mut writing = objects.begin(key).await?;
        let mut size = 0u64;
        let end = loop {
            match download.chunk().await {
                Ok(Some(piece)) => {
                    size += piece.len() as u64;
                    if size > *largest {
                        break Ok(Some(too_large()));
                    }
                    if let Err(error) = writing.write(&piece).await {
                        break Err(Failure::from(error));
                    }
                }
                Ok(None) => break Ok(None),
                Err(error) => break Err(wait(error)),
            }
        };
        match end {
            Ok(None) => {
                writing.finish().await?;
                Ok(Fetched::Whole(size))
            }
            Ok(Some(never)) => {
                writing.abort().await?;
                Ok(never)
            }
            Err(failure) => {
                discard(writing).await;
                Err(failure)
            }
        }
    }
}

async fn discard(writing: Writing) {
    if let Err(error) = writing.abort().await {
        tracing::warn!(%error, "a broken download was not cleaned up");
    }
}

fn wait(error: Error) -> Failure {
    let usual = match error {
        Error::TokenRejected { .. } => PERSON_WAIT,
        _ => UNSAID_WAIT,
    };
    let time = error.retry_after().unwrap_or(usual);
    Failure::wait(error, time)
}

fn not_connected(error: NotConnected) -> Failure {
    match error {
        NotConnected::Store(_) | NotConnected::Secrets(_) => Failure::wait(error, UNSAID_WAIT),
        _ => Failure::wait(error, PERSON_WAIT),
    }
}
