//! Pipelines, to which statuses belong.

use crate::{Client, Error, call::Call, client::missing};
use gantry_domain::{CommitSha, MergeRequestIid, PipelineId, ProjectId};
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

    /// One pipeline, or none.
    pub async fn pipeline(
        &self,
        project: ProjectId,
        pipeline: PipelineId,
    ) -> Result<Option<Pipeline>, Error> {
        self.find(Call::project(Method::GET, project, &["pipelines", &pipeline.to_string()])).await
    }

    /// The pipelines of a merge request, the newest first, merged-results ones included.
    pub async fn merge_request_pipelines(
        &self,
        project: ProjectId,
        iid: MergeRequestIid,
    ) -> Result<Vec<Pipeline>, Error> {
        let path = ["merge_requests", &iid.to_string(), "pipelines"];
        let found = self.list(Call::project(Method::GET, project, &path)).await;
        let mut pipelines: Vec<Pipeline> = missing(found)?.unwrap_or_default();
        pipelines.sort_by_key(|pipeline| std::cmp::Reverse(pipeline.id));
        Ok(pipelines)
    }
}
