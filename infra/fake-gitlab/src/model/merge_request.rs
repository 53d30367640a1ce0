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
    /// Edits, emoji and resolving change it alike.
    pub(crate) updated_at: Timestamp,
    /// The discussion that it is in; a comment that nobody has replied to is alone in one.
    pub(crate) discussion: String,
    /// Part of a thread, which can be resolved.
    pub(crate) threaded: bool,
    pub(crate) resolved_by: Option<UserId>,
    pub(crate) awards: Vec<Award>,
}

/// An emoji that somebody gave a comment.
#[derive(Clone, Debug)]
pub(crate) struct Award {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) user: UserId,
}

impl Note {
    /// One in a discussion of its own.
    pub(crate) fn new(id: u64, author: UserId, body: String, at: Timestamp) -> Self {
        Self {
            id,
            author,
            body,
            system: false,
            internal: false,
            created_at: at,
            updated_at: at,
            discussion: hex::encode(rand::random::<[u8; 20]>()),
            threaded: false,
            resolved_by: None,
            awards: Vec::new(),
        }
    }
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

    /// The comments of a discussion, oldest first.
    pub(crate) fn discussion<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a Note> {
        self.notes.iter().filter(move |note| note.discussion == id)
    }

    /// Every thread is resolved.
    pub(crate) fn is_resolved(&self) -> bool {
        self.notes.iter().all(|note| !note.threaded || note.resolved_by.is_some())
    }

    pub(crate) fn is_from_fork(&self) -> bool {
        self.source_project != self.target_project
    }
}
