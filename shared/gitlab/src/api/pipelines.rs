//! Pipelines, to which statuses belong.

use crate::{Client, Error, call::Call};
use gantry_domain::{CommitSha, PipelineId, ProjectId};
use http::Method;
use serde::Deserialize;

/// A pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Pipeline {
    /// GitLab's id.
    pub id: PipelineId,
    /// Its commit.
    pub sha: CommitSha,
    /// A branch, a tag, or `refs/merge-requests/<iid>/head` or `/merge`.
    #[serde(rename = "ref")]
    pub git_ref: Option<String>,
    /// `running`, `success`, …
    #[serde(default)]
    pub status: String,
    /// `push`, `merge_request_event`, `external` (made by a status), …
    pub source: Option<String>,
    /// The project that it belongs to.
    pub project_id: Option<ProjectId>,
    /// Its page.
    pub web_url: Option<String>,
}

impl Client {
    /// The pipelines of a commit, the newest first; those of one branch or tag with `git_ref`.
    pub async fn pipelines(
        &self,
        project: ProjectId,
        sha: &CommitSha,
        git_ref: Option<&str>,
    ) -> Result<Vec<Pipeline>, Error> {
        let call = Call::project(Method::GET, project, &["pipelines"])
            .query("sha", sha)
            .maybe("ref", git_ref)
            .query("order_by", "id")
            .query("sort", "desc");
        self.list(call).await
    }
}
