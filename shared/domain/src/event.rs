//! What can happen in GitLab, as a closed set.
//!
//! A webhook is a hint, never a fact: these types carry just enough to know *where to look*.
//! Which commit a branch is at, and what it changes, is read from GitLab before anything runs.

use crate::{EventId, MergeRequestIid, ProjectId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A webhook body, translated at the door.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Hook {
    /// A branch was made, moved or deleted.
    Push {
        /// The project that was pushed to.
        project: ProjectId,
        /// The branch's bare name (`main`).
        branch: String,
        /// The head that the body names. Shown to people, never acted upon.
        claimed_head: Option<String>,
    },
    /// A tag was made, moved or deleted.
    Tag {
        /// The project that was pushed to.
        project: ProjectId,
        /// The tag's bare name (`v1.2.0`).
        tag: String,
        /// The commit that the body names. Shown to people, never acted upon.
        claimed_commit: Option<String>,
    },
    /// Something about a merge request changed.
    MergeRequest {
        /// The target project.
        project: ProjectId,
        /// The merge request's number there.
        iid: MergeRequestIid,
        /// GitLab's word for what happened (`open`, `update`, …). Shown to people.
        action: Option<String>,
    },
    /// Somebody wrote a comment.
    Note {
        /// The project of the commented object.
        project: ProjectId,
        /// Where to look, when it may hold a command.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<NoteHint>,
    },
    /// An authentic request that Gantry has no use for.
    Other {
        /// The project, when the body names one.
        project: Option<ProjectId>,
        /// What it was, for people: GitLab's event name, or why it could not be read.
        what: String,
    },
}

impl Hook {
    /// The project that the event is about.
    pub fn project(&self) -> Option<ProjectId> {
        match self {
            Self::Push { project, .. }
            | Self::Tag { project, .. }
            | Self::MergeRequest { project, .. }
            | Self::Note { project, .. } => Some(*project),
            Self::Other { project, .. } => *project,
        }
    }

    /// One line for the list of events.
    pub fn describe(&self) -> String {
        match self {
            Self::Push { branch, claimed_head: Some(head), .. } => {
                format!("push to {branch} ({})", head.get(..8).unwrap_or(head))
            }
            Self::Push { branch, claimed_head: None, .. } => format!("branch {branch} deleted"),
            Self::Tag { tag, claimed_commit: Some(_), .. } => format!("tag {tag} pushed"),
            Self::Tag { tag, claimed_commit: None, .. } => format!("tag {tag} deleted"),
            Self::MergeRequest { iid, action, .. } => {
                format!("merge request !{iid}: {}", action.as_deref().unwrap_or("changed"))
            }
            Self::Note { note: Some(hint), .. } => {
                format!("comment on merge request !{}", hint.iid)
            }
            Self::Note { note: None, .. } => "comment".to_owned(),
            Self::Other { what, .. } => what.clone(),
        }
    }
}

/// A new comment on a merge request that may hold a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoteHint {
    /// The merge request.
    pub iid: MergeRequestIid,
    /// GitLab's id of the comment.
    pub note: u64,
    /// The discussion that it is in, where the body says that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discussion: Option<String>,
    /// A digest of the text in the body ([`crate::comment::digest`]): a comment that has another text
    /// now was edited since, perhaps by somebody else than its author.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// Where an event came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventSource {
    /// GitLab called.
    Webhook,
    /// Gantry compared what it knows with what GitLab has.
    Comparing,
    /// A person asked through the pages or the API.
    Person,
}

/// One event as it is kept, for "why did, or didn't, this run?".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRecord {
    /// The delivery's id, or one derived from what was found.
    pub id: EventId,
    /// Where it came from.
    pub source: EventSource,
    /// The project, when known.
    pub project: Option<ProjectId>,
    /// One line that says what happened.
    pub what: String,
    /// When Gantry took it in.
    pub received_at: jiff::Timestamp,
    /// What became of it as a whole, when that is not said stack by stack.
    pub outcome: Option<String>,
}
