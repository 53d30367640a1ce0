//! Merge requests and their notes.

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

/// A merge request; it belongs to its target project.
#[derive(Clone, Debug)]
pub(crate) struct MergeRequest {
    pub(crate) id: u64,
    pub(crate) iid: u64,
    pub(crate) state: MrState,
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) author: UserId,
    pub(crate) source_project: ProjectId,
    pub(crate) target_project: ProjectId,
    pub(crate) source_branch: String,
    pub(crate) target_branch: String,
    /// The newest diff.
    pub(crate) diff: DiffRefs,
    /// Every head it ever had, oldest first.
    pub(crate) heads: Vec<Oid>,
    /// Who asked for "merge when the pipeline succeeds".
    pub(crate) auto_merge: Option<UserId>,
    /// Whether its commits become one by merging.
    pub(crate) squash: bool,
    /// Whether its source branch goes by merging.
    pub(crate) remove_source_branch: bool,
    /// Who approved it, and when.
    pub(crate) approvals: Vec<(UserId, Timestamp)>,
    /// Who merged it, and when.
    pub(crate) merged: Option<(UserId, Timestamp)>,
    pub(crate) merge_commit: Option<Oid>,
    pub(crate) squash_commit: Option<Oid>,
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
