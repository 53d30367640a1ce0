//! Fetches a commit's archive from GitLab into object storage, once.
//!
//! GitLab allows five archives a minute, so every run of a commit shares one. An archive appears
//! when it is whole; where it cannot be had, a [`SourceFailed`] lies beside its place and says why.
//! Trouble at GitLab is neither: the message waits.

use anyhow::anyhow;
use async_trait::async_trait;
use gantry_domain::{CommitSha, ProjectId, source::SourceFailed};
use gantry_gitlab::{Connection, Download, Error, NotConnected};
use gantry_queue::{Context, Failure, Handler, Message};
use gantry_setup::{Clock, Objects, objects::keys};
use std::{sync::Arc, time::Duration};

/// The largest archive that is kept, where nothing else is set: 500 MB.
pub const LARGEST_ARCHIVE: u64 = 500_000_000;

/// The wait where GitLab does not say how long.
const UNSAID_WAIT: Duration = Duration::from_secs(20);
/// The wait for a person.
const PERSON_WAIT: Duration = Duration::from_secs(60);
/// What every gzip file begins with (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// What the function works with.
#[derive(Clone)]
pub struct Deps {
    /// Gives the client for the linked GitLab server.
    pub connection: Arc<Connection>,
    /// Where archives go.
    pub objects: Objects,
    /// The time.
    pub clock: Clock,
    /// The largest archive that is kept, in bytes.
    pub largest: u64,
}

/// The handler of [`Message::Fetch`].
pub fn handler(deps: Deps) -> impl Handler {
    Fetcher(deps)
}

struct Fetcher(Deps);

#[async_trait]
impl Handler for Fetcher {
    async fn handle(&self, _: Context, message: Message) -> Result<(), Failure> {
        match message {
            Message::Fetch { project, commit, .. } => self.fetch(project, &commit).await,
            other => Err(anyhow!("{} does not belong into source", other.kind()).into()),
        }
    }
}

/// How a download ended.
enum Fetched {
    /// It is there.
    Whole(u64),
    /// It will not be there, for this reason.
    Never(SourceFailed),
}

impl Fetcher {
    async fn fetch(&self, project: ProjectId, commit: &CommitSha) -> Result<(), Failure> {
        let Deps { objects, clock, connection, .. } = &self.0;
        let marker = keys::source_failed(project, commit);
        if objects.exists(&keys::source(project, commit)).await? {
            return Ok(());
        }
        let failed = objects.get(&marker).await?.and_then(|kept| SourceFailed::from_json(&kept));
        if failed.is_some_and(|failed| failed.counts_at(clock.now())) {
            return Ok(());
        }
        let client = connection.current().await.map_err(not_connected)?;
        let fetched = match client.archive(project, commit).await {
            Ok(download) => self.save(project, commit, download).await?,
            Err(error) => Fetched::Never(self.reason(error)?),
        };
        match fetched {
            Fetched::Whole(size) => {
                tracing::info!(size, "fetched an archive");
                objects.delete(&marker).await?;
            }
            Fetched::Never(failed) => {
                tracing::warn!(reason = failed.reason, "an archive cannot be had");
                objects.put(&marker, failed.to_json().into()).await?;
            }
        }
        Ok(())
    }

    async fn save(
        &self,
        project: ProjectId,
        commit: &CommitSha,
        mut download: Download,
    ) -> Result<Fetched, Failure> {
        let Deps { objects, clock, largest, .. } = &self.0;
        let too_large = || Fetched::Never(SourceFailed::too_large(*largest, clock.now()));
        if download.length().is_some_and(|length| length > *largest) {
            return Ok(too_large());
        }
        let mut writing = objects.begin(&keys::source(project, commit)).await?;
        let mut size = 0u64;
        let mut head: Vec<u8> = Vec::with_capacity(GZIP.len());
        let end = loop {
            match download.chunk().await {
                Ok(Some(piece)) => {
                    size += piece.len() as u64;
                    head.extend(piece.iter().take(GZIP.len() - head.len()));
                    if size > *largest {
                        break Ok(Some(too_large()));
                    }
                    if let Err(error) = writing.write(&piece).await {
                        break Err(Failure::from(error));
                    }
                }
                Ok(None) if head == GZIP => break Ok(None),
                Ok(None) => {
                    let failed = SourceFailed::no_archive(clock.now());
                    break Ok(Some(Fetched::Never(failed)));
                }
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
                if let Err(error) = writing.abort().await {
                    tracing::warn!(%error, "a broken download was not cleaned up");
                }
                Err(failure)
            }
        }
    }

    /// Why GitLab will not give it, or the wait until it may.
    fn reason(&self, error: Error) -> Result<SourceFailed, Failure> {
        let now = self.0.clock.now();
        match error {
            Error::NotFound { message } => Ok(SourceFailed::not_found(&message, now)),
            Error::Forbidden { .. }
            | Error::ScopeMissing { .. }
            | Error::Refused { .. }
            | Error::Unexpected { .. } => Ok(SourceFailed::refused(&error.to_string(), now)),
            Error::TokenRejected { .. }
            | Error::RateLimited { .. }
            | Error::Conflict { .. }
            | Error::Unavailable { .. } => Err(wait(error)),
        }
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
