//! Messages about runners that are started for a run.

use super::{ClaimToken, MessageIds, Routing};
use crate::QueueName;
use gantry_domain::{RunId, StackId, run::Phase};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A message of `starts`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum StartMessage {
    /// Start a runner for a phase.
    Start {
        /// The run.
        run: RunId,
        /// Its stack.
        stack: StackId,
        /// What to execute.
        phase: Phase,
        /// The attempt.
        attempt: u32,
        /// What the runner shows to take the phase, once.
        claim_token: ClaimToken,
        /// When the token dies.
        expires_at: Timestamp,
        /// The cloud role that the runner gets, where runners have one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        role: Option<String>,
    },
    /// End the machine of a runner that was lost, or that has not begun and is not needed any more.
    EndRunner {
        /// The run that it was lost with, or started for.
        run: RunId,
        /// The runner's name: the build's id. None when it has not said it.
        runner: Option<String>,
    },
}

impl Routing for StartMessage {
    fn queue(&self) -> QueueName {
        QueueName::Starts
    }

    fn kind(&self) -> &'static str {
        self.into()
    }

    fn group(&self) -> Option<String> {
        None
    }

    fn occasion(&self) -> String {
        match self {
            Self::Start { run, attempt, .. } => format!("start.{run}.{attempt}"),
            Self::EndRunner { run, .. } => format!("end-runner.{run}"),
        }
    }

    fn ids(&self) -> MessageIds<'_> {
        let none = MessageIds::default();
        match self {
            Self::Start { stack, run, .. } => {
                MessageIds { stack: Some(stack), run: Some(run), ..none }
            }
            Self::EndRunner { run, .. } => MessageIds { run: Some(run), ..none },
        }
    }
}
