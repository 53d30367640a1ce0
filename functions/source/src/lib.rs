//! Fetches a commit's archive from GitLab into object storage, once.
//!
//! GitLab allows five archive downloads a minute, and every run of a commit needs the same one.

use gantry_domain::{CommitSha, ProjectId};
use gantry_gitlab::{Connection, Error};
use gantry_queue::{Context, Failure, Handler, Message};
use gantry_setup::{Clock, Objects, objects};
use std::{sync::Arc, time::Duration};

/// What the function works with.
pub struct Deps {
    /// GitLab.
    pub gitlab: Arc<Connection>,
    /// Where archives go.
    pub objects: Objects,
    /// The time.
    pub clock: Clock,
}

/// Handles the messages of `source.fifo`.
pub struct Source {
    deps: Deps,
}

impl Source {
    /// A fetcher.
    pub fn new(deps: Deps) -> Self {
        Self { deps }
    }

    async fn fetch(&self, project: ProjectId, commit: &CommitSha) -> Result<(), Failure> {
        let key = objects::keys::source(project, commit);
        if self.deps.objects.exists(&key).await? {
            return Ok(());
        }
        let client = self
            .deps
            .gitlab
            .current()
            .await
            .map_err(|error| Failure::wait(error, Duration::from_secs(30)))?;
        let mut download = client.archive(project, commit).await.map_err(wait_for_gitlab)?;
        let mut writing = self.deps.objects.begin(&key).await?;
        loop {
            match download.chunk().await {
                Ok(Some(piece)) => writing.write(&piece).await?,
                Ok(None) => break,
                Err(error) => {
                    writing.abort().await?;
                    return Err(wait_for_gitlab(error));
                }
            }
        }
        writing.finish().await?;
        tracing::info!(project.id = project.0, %commit, "the source is here");
        Ok(())
    }
}

fn wait_for_gitlab(error: Error) -> Failure {
    let wait = error.retry_after().unwrap_or(Duration::from_secs(15));
    if error.is_trouble() { Failure::wait(error, wait) } else { Failure::from(error) }
}

#[async_trait::async_trait]
impl Handler for Source {
    async fn handle(&self, _context: Context, message: Message) -> Result<(), Failure> {
        match message {
            Message::Fetch { project, commit, .. } => self.fetch(project, &commit).await,
            other => {
                tracing::error!(kind = other.kind(), "a message that is not for the source");
                Ok(())
            }
        }
    }
}
