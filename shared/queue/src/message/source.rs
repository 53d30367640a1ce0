//! Messages about the code of commits.

use super::{MessageIds, Routing};
use crate::QueueName;
use gantry_domain::{CommitSha, Repository, RunId, StackId};
use serde::{Deserialize, Serialize};

/// A message of `source.fifo`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum SourceMessage {
    /// Fetch a commit's archive, unless it is there.
    Fetch {
        /// Where the commit is.
        repository: Repository,
        /// The commit.
        commit: CommitSha,
        /// What made it necessary: an archive that expired is asked for again.
        cause: String,
        /// The run that waits for it, or will, with its stack, and is told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        waits: Option<(StackId, RunId)>,
    },
    /// Pack a module's code for the registry.
    Package {
        /// The module.
        stack: StackId,
        /// The module's run that tested it.
        run: RunId,
        /// Where the commit is.
        repository: Repository,
        /// The commit.
        commit: CommitSha,
        /// The module's folder.
        root: String,
    },
}

impl Routing for SourceMessage {
    fn queue(&self) -> QueueName {
        QueueName::Source
    }

    fn kind(&self) -> &'static str {
        self.into()
    }

    fn group(&self) -> Option<String> {
        let (Self::Fetch { repository, .. } | Self::Package { repository, .. }) = self;
        Some(format!("src:{}", repository.key()))
    }

    fn occasion(&self) -> String {
        match self {
            Self::Fetch { repository, commit, cause, .. } => {
                format!("fetch.{}.{commit}.{cause}", repository.key())
            }
            Self::Package { run, .. } => format!("package.{run}"),
        }
    }

    fn ids(&self) -> MessageIds<'_> {
        let none = MessageIds::default();
        match self {
            Self::Fetch { repository, commit, .. } => {
                MessageIds { project: repository.project(), commit: Some(commit), ..none }
            }
            Self::Package { stack, run, .. } => {
                MessageIds { stack: Some(stack), run: Some(run), ..none }
            }
        }
    }
}
