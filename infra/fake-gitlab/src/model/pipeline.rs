//! Pipelines and their jobs; an external status is a job of its own kind.

use jiff::Timestamp;

use super::{ProjectId, UserId};
use crate::git::Oid;

/// What made a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Push,
    MergeRequest,
    External,
}

impl Source {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::MergeRequest => "merge_request_event",
            Self::External => "external",
        }
    }
}

/// Who runs a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JobKind {
    /// GitLab's own CI.
    Ci,
    /// Somebody outside, who posts its status.
    Status,
}

/// A job, or what GitLab calls a generic commit status.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) id: u64,
    pub(crate) kind: JobKind,
    pub(crate) name: String,
    pub(crate) ref_name: String,
    pub(crate) user: UserId,
    pub(crate) status: String,
    pub(crate) description: Option<String>,
    pub(crate) target_url: Option<String>,
    /// Hidden behind a newer job of the same name.
    pub(crate) retried: bool,
}

impl Job {
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.status.as_str(), "pending" | "running")
    }
}

/// A pipeline of one commit and ref.
#[derive(Clone, Debug)]
pub(crate) struct Pipeline {
    pub(crate) id: u64,
    pub(crate) sha: Oid,
    pub(crate) ref_name: String,
    pub(crate) source: Source,
    pub(crate) tag: bool,
    /// The merge request of a merge request pipeline: its target project and number.
    pub(crate) merge_request: Option<(ProjectId, u64)>,
    /// The source head that a merged results pipeline merges.
    pub(crate) source_sha: Option<Oid>,
    pub(crate) jobs: Vec<Job>,
    pub(crate) created_at: Timestamp,
}

impl Pipeline {
    /// The jobs that are not hidden by newer ones.
    pub(crate) fn latest_jobs(&self) -> impl Iterator<Item = &Job> {
        self.jobs.iter().filter(|job| !job.retried)
    }

    /// Whether it is of one of these heads, or of a merge of it into the target.
    pub(crate) fn is_of(&self, heads: &[Oid]) -> bool {
        heads.contains(&self.sha) || self.source_sha.is_some_and(|sha| heads.contains(&sha))
    }

    /// GitLab's composite status of the latest jobs.
    pub(crate) fn status(&self) -> &'static str {
        let statuses: Vec<&str> = self.latest_jobs().map(|job| job.status.as_str()).collect();
        let only = |allowed: &[&str]| statuses.iter().all(|status| allowed.contains(status));
        let any = |wanted: &[&str]| statuses.iter().any(|status| wanted.contains(status));
        match () {
            () if statuses.is_empty() => "created",
            () if only(&["skipped"]) => "skipped",
            () if only(&["success", "skipped"]) => "success",
            () if only(&["created"]) => "created",
            () if only(&["canceled", "success", "skipped"]) => "canceled",
            () if only(&["pending", "created", "skipped"]) => "pending",
            () if any(&["running", "pending", "created"]) => "running",
            () => "failed",
        }
    }

    /// Whether nothing in it will move by itself.
    pub(crate) fn is_finished(&self) -> bool {
        matches!(self.status(), "success" | "failed" | "canceled" | "skipped")
    }
}
