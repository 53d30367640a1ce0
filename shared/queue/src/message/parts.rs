//! What messages are made of.

use gantry_domain::{
    CommitSha, RunId,
    approval::Decision,
    run::{PlanOptions, RunType},
};
use secrecy::{ExposeSecret, SecretString};
use semver::Version;
use serde::{Deserialize, Serialize};

/// What a person can ask of a stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Command {
    /// Apply the plan that was shown.
    Confirm {
        /// The run.
        run: RunId,
        /// What the person said about it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        comment: Option<String>,
        /// The reason with which an admin's key goes past the rules about who confirms.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        override_reason: Option<String>,
    },
    /// Approve the plan that was shown, or reject it.
    Review {
        /// The run.
        run: RunId,
        /// What the person decided.
        decision: Decision,
        /// What they said about it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        comment: Option<String>,
    },
    /// Do not apply the plan.
    Discard {
        /// The run.
        run: RunId,
        /// What the person said about it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        comment: Option<String>,
    },
    /// End the run.
    Stop {
        /// The run.
        run: RunId,
    },
    /// Run the same again, as a new run.
    Retry {
        /// The run.
        run: RunId,
        /// Also when its commit already has an answer.
        force: bool,
    },
    /// Discard the unconfirmed run and all queued ones but the newest.
    CatchUp,
    /// Let the stack run again after a lost apply.
    Unblock {
        /// What the person found.
        reason: String,
    },
    /// Start a run.
    Trigger {
        /// The type.
        run_type: RunType,
        /// A commit; the tracked branch's live head when empty.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        commit: Option<CommitSha>,
        /// What the person named, where that may be a branch that has the commit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        branch: Option<String>,
        /// How it plans, where that is not the usual way.
        #[serde(default, skip_serializing_if = "PlanOptions::is_usual")]
        options: PlanOptions,
    },
    /// Look for what was changed elsewhere.
    LookForDrift,
    /// Execute one command in the stack's workspace.
    Task {
        /// What the shell is given.
        command: String,
    },
    /// Start a preview of an archive that was uploaded.
    Preview {
        /// SHA-256 of the archive, hex.
        digest: String,
        /// The commit that it is based on; the tracked branch's head when empty.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        commit: Option<CommitSha>,
    },
    /// Have nobody use a version of a module any more, or take that back.
    Yank {
        /// The number.
        version: Version,
        /// Why; none takes it back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// Test a module's commit, and make a version of it when its tests pass.
    MakeVersion {
        /// The number.
        version: Version,
        /// A commit of the tracked branch; its live head when empty.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        commit: Option<CommitSha>,
    },
}

/// How it came that no runner took a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum NotStarted {
    /// The cloud has no room for it now.
    #[serde(rename = "no_room")]
    #[strum(serialize = "no_room")]
    NoCapacity,
    /// The cloud will not start it.
    Refused,
    /// It was started and ended before it claimed the phase.
    Ended,
    /// It did not start this time. The run keeps its slot, and it is tried again.
    Delayed,
}

/// The secret with which a runner takes a phase. `Debug` shows nothing of it.
#[derive(Debug, Clone)]
pub struct ClaimToken(SecretString);

impl ClaimToken {
    /// The token itself.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl From<String> for ClaimToken {
    fn from(token: String) -> Self {
        Self(token.into())
    }
}

impl PartialEq for ClaimToken {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Serialize for ClaimToken {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.expose())
    }
}

impl<'de> Deserialize<'de> for ClaimToken {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}
