//! What asks a stack for a run.

use super::{Interest, RunType};
use crate::{CommitLine, CommitSha, ProjectId};
use jiff::Timestamp;
use semver::Version;
use serde::{Deserialize, Serialize};

/// What an event asks a stack to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trigger {
    /// The type.
    pub run_type: RunType,
    /// What makes it the same run when asked for again.
    pub key: String,
    /// The commit.
    pub commit: CommitSha,
    /// Its title and author.
    #[serde(default, skip_serializing_if = "CommitLine::is_empty")]
    pub commit_line: CommitLine,
    /// The branch or tag, a bare name.
    pub git_ref: String,
    /// The stack's tracked branch when it was decided.
    pub tracked_branch: String,
    /// The source project, when it is not the stack's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fork_of: Option<ProjectId>,
    /// What is interested in a proposed run.
    #[serde(rename = "want", default, skip_serializing_if = "Option::is_none")]
    pub interest: Option<Interest>,
    /// How many stacks the event touches.
    pub stacks_touched: u32,
    /// Why, in one line for people.
    pub reason: String,
    /// Who asked, when a person did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When the webhook came, or whatever else asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_at: Option<Timestamp>,
    /// The version of a module that is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
}
