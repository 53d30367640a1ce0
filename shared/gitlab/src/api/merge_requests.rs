//! Merge requests as they are now.

use crate::{Client, Error, absent::Thing, api::notes::Author, call::Call};
use gantry_domain::{CommitSha, MergeRequestIid, PipelineId, ProjectId};
use http::Method;
use jiff::Timestamp;
use serde::Deserialize;

/// A merge request. Lists leave out `head_pipeline`, `diff_refs` and `diverged_commits_count`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct MergeRequest {
    /// Its number in the target project.
    pub iid: MergeRequestIid,
    /// Its title.
    #[serde(default, deserialize_with = "crate::reading::or_default")]
    pub title: String,
    /// `opened`, `closed`, `merged` or `locked` (being merged).
    #[serde(default)]
    pub state: String,
    /// The head of the source branch; none for seconds after it was opened.
    #[serde(default, deserialize_with = "crate::reading::sha")]
    pub sha: Option<CommitSha>,
    /// Where the branch is; none when the fork was deleted.
    pub source_project_id: Option<ProjectId>,
    /// Where it is to be merged.
    pub target_project_id: ProjectId,
    /// The bare name.
    pub source_branch: String,
    /// The bare name.
    pub target_branch: String,
    draft: Option<bool>,
    work_in_progress: Option<bool>,
    /// The merge, once merged with one.
    #[serde(default, deserialize_with = "crate::reading::sha")]
    pub merge_commit_sha: Option<CommitSha>,
    /// The squashed commit, once merged by squashing.
    #[serde(default, deserialize_with = "crate::reading::sha")]
    pub squash_commit_sha: Option<CommitSha>,
    /// The pipeline that gates the merge.
    pub head_pipeline: Option<HeadPipeline>,
    /// The commits of its diff; none while GitLab prepares it.
    pub diff_refs: Option<DiffRefs>,
    /// How many commits of the target the source lacks; only when asked for.
    pub diverged_commits_count: Option<u64>,
    /// How many comments it has, GitLab's own not counted.
    pub user_notes_count: Option<u64>,
    /// Its page.
    pub web_url: Option<String>,
    /// Who opened it; none when the user is gone.
    pub author: Option<Author>,
    prepared_at: Option<String>,
    merge_status: Option<String>,
    detailed_merge_status: Option<String>,
    has_conflicts: Option<bool>,
    /// When it last changed.
    #[serde(default, deserialize_with = "crate::reading::time")]
    pub updated_at: Option<Timestamp>,
}

/// The pipeline that gates a merge request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct HeadPipeline {
    /// GitLab's id.
    pub id: PipelineId,
    /// Its commit: the head, or (merged results) a merge of it that is in no branch.
    pub sha: CommitSha,
    /// A branch, or `refs/merge-requests/<iid>/head` or `/merge`.
    #[serde(rename = "ref")]
    pub git_ref: Option<String>,
    /// The project that it belongs to; for forks often the source.
    pub project_id: Option<ProjectId>,
    /// `running`, `success`, …
    pub status: Option<String>,
    /// `push`, `merge_request_event`, `external`, …
    pub source: Option<String>,
}

/// The commits of a merge request's diff.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DiffRefs {
    /// The merge base.
    #[serde(default, deserialize_with = "crate::reading::sha")]
    pub base_sha: Option<CommitSha>,
    /// The head.
    #[serde(default, deserialize_with = "crate::reading::sha")]
    pub head_sha: Option<CommitSha>,
    /// The target branch's head when the diff was made.
    #[serde(default, deserialize_with = "crate::reading::sha")]
    pub start_sha: Option<CommitSha>,
}

impl MergeRequest {
    /// True while it can still be merged or closed.
    pub fn is_open(&self) -> bool {
        self.state == "opened" || self.state == "locked"
    }

    /// Marked as a draft; older servers say "work in progress".
    pub fn is_draft(&self) -> bool {
        self.draft.or(self.work_in_progress).unwrap_or(false)
    }

    /// False for seconds after it was opened, while GitLab works out head and diff: ask again.
    pub fn is_prepared(&self) -> bool {
        let status = self.detailed_merge_status.as_deref().or(self.merge_status.as_deref());
        self.sha.is_some() && (self.prepared_at.is_some() || status != Some("preparing"))
    }

    /// Whether it could be merged, once all that people and pipelines have to say about it is said:
    /// it is open and no draft, and its branches fit together. None while GitLab works that out, which
    /// it begins when it is asked.
    pub fn could_be_merged(&self) -> Option<bool> {
        if !self.is_open() || self.is_draft() {
            return Some(false);
        }
        let status = self.detailed_merge_status.as_deref().or(self.merge_status.as_deref());
        match status {
            Some(
                "conflict"
                | "broken_status"
                | "need_rebase"
                | "commits_status"
                | "draft_status"
                | "not_open"
                | "merge_request_blocked"
                | "blocked_status"
                | "cannot_be_merged",
            ) => Some(false),
            Some("checking" | "unchecked" | "preparing" | "cannot_be_merged_recheck") | None => {
                None
            }
            // Anything else is what people or pipelines still have to say.
            Some(_) => Some(self.has_conflicts != Some(true)),
        }
    }

    /// True when the source branch is in another project: untrusted code. A deleted source counts.
    pub fn is_from_fork(&self) -> bool {
        self.source_project_id != Some(self.target_project_id)
    }
}

/// Which merge requests of a project to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MergeRequestFilter {
    /// Closed and merged ones too; otherwise open ones only.
    pub with_closed: bool,
    /// Changed at or after that time.
    pub updated_after: Option<Timestamp>,
    /// With this source branch, in whichever project it is: forks may have the same name.
    pub source_branch: Option<String>,
    /// With this target branch.
    pub target_branch: Option<String>,
}

impl Client {
    /// A merge request of the target project, or none.
    pub async fn merge_request(
        &self,
        project: ProjectId,
        iid: MergeRequestIid,
    ) -> Result<Option<MergeRequest>, Error> {
        let call = Call::project(Method::GET, project, &["merge_requests", &iid.to_string()])
            .query("include_diverged_commits_count", true);
        let found: Option<MergeRequest> =
            self.find(Thing::MergeRequest.named(project, &iid.to_string()), call).await?;
        if let Some(found) = &found {
            self.recent().merge_requests.keep((project, iid), self.now(), found.clone());
        }
        Ok(found)
    }

    /// The same, which may be some seconds old: for what is shown, never for what is decided.
    pub async fn merge_request_lately(
        &self,
        project: ProjectId,
        iid: MergeRequestIid,
    ) -> Result<Option<MergeRequest>, Error> {
        match self.recent().merge_requests.find(&(project, iid), self.now()) {
            Some(found) => Ok(Some(found)),
            None => self.merge_request(project, iid).await,
        }
    }

    /// Merge requests whose target is this project, the last changed first.
    pub async fn merge_requests(
        &self,
        project: ProjectId,
        filter: &MergeRequestFilter,
    ) -> Result<Vec<MergeRequest>, Error> {
        let call = Call::project(Method::GET, project, &["merge_requests"])
            .query("state", if filter.with_closed { "all" } else { "opened" })
            .query("order_by", "updated_at")
            .query("sort", "desc")
            .maybe("updated_after", filter.updated_after)
            .maybe("source_branch", filter.source_branch.as_ref())
            .maybe("target_branch", filter.target_branch.as_ref());
        self.list(call).await
    }
}
