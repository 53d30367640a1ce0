//! Merge requests and their notes.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{ProjectId, UserId};
use crate::git::Oid;

/// Where a merge request is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MrState {
    Opened,
    Closed,
    Merged,
}

impl MrState {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Closed => "closed",
            Self::Merged => "merged",
        }
    }

    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Opened => 1,
            Self::Closed => 2,
            Self::Merged => 3,
        }
    }
}

/// The three commits that a merge request's diff is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DiffRefs {
    pub(crate) base: Oid,
    pub(crate) start: Oid,
    pub(crate) head: Oid,
}

/// A comment, or a line that GitLab writes itself (`system`).
#[derive(Clone, Debug)]
pub(crate) struct Note {
    pub(crate) id: u64,
    pub(crate) author: UserId,
    pub(crate) body: String,
    pub(crate) system: bool,
    pub(crate) internal: bool,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// "Merge when the pipeline succeeds", set by somebody.
#[derive(Clone, Debug)]
pub(crate) struct AutoMerge {
    pub(crate) user: UserId,
    pub(crate) squash: bool,
    pub(crate) remove_source_branch: bool,
}

/// A merge request; it belongs to its target project.
#[derive(Clone, Debug)]
pub(crate) struct MergeRequest {
    pub(crate) id: u64,
    pub(crate) iid: u64,
    pub(crate) state: MrState,
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) labels: Vec<String>,
    pub(crate) author: UserId,
    pub(crate) source_project: ProjectId,
    pub(crate) target_project: ProjectId,
    pub(crate) source_branch: String,
    pub(crate) target_branch: String,
    /// The newest diff; `None` while GitLab prepares it.
    pub(crate) diff: Option<DiffRefs>,
    /// Every head it ever had, oldest first.
    pub(crate) heads: Vec<Oid>,
    pub(crate) prepared_at: Option<Timestamp>,
    pub(crate) prepare_due: Timestamp,
    pub(crate) squash: bool,
    pub(crate) remove_source_branch: bool,
    pub(crate) auto_merge: Option<AutoMerge>,
    pub(crate) approvals: BTreeSet<UserId>,
    pub(crate) merge_commit: Option<Oid>,
    pub(crate) squash_commit: Option<Oid>,
    pub(crate) merged_by: Option<UserId>,
    pub(crate) merged_at: Option<Timestamp>,
    pub(crate) closed_at: Option<Timestamp>,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    pub(crate) notes: Vec<Note>,
}

impl MergeRequest {
    pub(crate) fn is_open(&self) -> bool {
        self.state == MrState::Opened
    }

    pub(crate) fn is_draft(&self) -> bool {
        let title = self.title.to_ascii_lowercase();
        ["draft:", "[draft]", "(draft)"].iter().any(|prefix| title.starts_with(prefix))
    }

    /// The head of the newest diff.
    pub(crate) fn head(&self) -> Option<Oid> {
        self.diff.map(|diff| diff.head)
    }

    /// The ref of the head in the target project.
    pub(crate) fn head_ref(&self) -> String {
        format!("refs/merge-requests/{}/head", self.iid)
    }

    /// The ref of merged results pipelines.
    pub(crate) fn merge_ref(&self) -> String {
        format!("refs/merge-requests/{}/merge", self.iid)
    }

    pub(crate) fn is_from_fork(&self) -> bool {
        self.source_project != self.target_project
    }
}
