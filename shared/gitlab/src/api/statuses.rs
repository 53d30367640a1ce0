//! Commit statuses.

use crate::{Client, Error, call::Call};
use gantry_domain::{CommitSha, PipelineId, ProjectId};
use http::Method;
use serde::Deserialize;
use serde_json::json;
use std::fmt;

/// GitLab's limit for descriptions and addresses, in characters.
const LONGEST: usize = 255;

/// What a status can say. (`skipped` exists on newer servers only, and blocks merging.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StatusState {
    /// Waiting.
    Pending,
    /// Working.
    Running,
    /// The good end.
    Success,
    /// The bad end.
    Failed,
    /// Ended without a result.
    Canceled,
}

impl StatusState {
    /// GitLab's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }

    /// True for an end: GitLab then makes a new status for whatever is posted next.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }
}

impl fmt::Display for StatusState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A status to post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewStatus {
    /// What it says.
    pub state: StatusState,
    /// Its identity in the pipeline, at most 255 characters, not the name of a CI job.
    pub name: String,
    /// Where *Details* leads. Left out when longer than the 255 characters that GitLab takes.
    pub target_url: Option<String>,
    /// One line, cut at 255 characters.
    pub description: Option<String>,
    /// The branch or tag. Picks the pipeline, or makes an external one.
    pub git_ref: Option<String>,
    /// The pipeline. Must be of the commit (and of the ref).
    pub pipeline: Option<PipelineId>,
}

/// A status that GitLab has.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PostedStatus {
    /// GitLab's id of it.
    pub id: u64,
    /// The pipeline that it landed in; told by newer servers only. Send it with later updates.
    pub pipeline_id: Option<PipelineId>,
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Its state, in GitLab's word.
    #[serde(default)]
    pub status: String,
    /// The branch or tag.
    #[serde(rename = "ref")]
    pub git_ref: Option<String>,
    /// Its line.
    pub description: Option<String>,
    /// Where it leads.
    pub target_url: Option<String>,
}

impl Client {
    /// Posts a status. May take 20 s, because GitLab holds a lock per commit; a lock that stays
    /// held is [`Error::Conflict`]. [`Error::already_there`] tells the refusal that is success.
    pub async fn post_status(
        &self,
        project: ProjectId,
        sha: &CommitSha,
        status: &NewStatus,
    ) -> Result<PostedStatus, Error> {
        let mut body = json!({ "state": status.state.as_str(), "name": status.name });
        if let Some(url) = &status.target_url
            && url.chars().count() <= LONGEST
        {
            body["target_url"] = json!(url);
        }
        if let Some(text) = &status.description {
            body["description"] = json!(text.chars().take(LONGEST).collect::<String>());
        }
        if let Some(git_ref) = &status.git_ref {
            body["ref"] = json!(git_ref);
        }
        if let Some(pipeline) = status.pipeline {
            body["pipeline_id"] = json!(pipeline);
        }
        let call = Call::project(Method::POST, project, &["statuses", sha.as_str()]);
        self.json(call.body(body)).await
    }

    /// The latest statuses of a commit, by anybody, the newest first.
    pub async fn statuses(
        &self,
        project: ProjectId,
        sha: &CommitSha,
    ) -> Result<Vec<PostedStatus>, Error> {
        let path = ["repository", "commits", sha.as_str(), "statuses"];
        let mut statuses: Vec<PostedStatus> =
            self.list(Call::project(Method::GET, project, &path)).await?;
        statuses.sort_by_key(|status| std::cmp::Reverse(status.id));
        Ok(statuses)
    }
}
