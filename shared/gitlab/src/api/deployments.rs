//! Deployments.

use crate::{Client, Error, absent::Thing, call::Call};
use gantry_domain::{CommitSha, ProjectId};
use http::Method;
use serde::Deserialize;
use serde_json::json;

/// What a deployment can be told to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeploymentState {
    /// Going on.
    Running,
    /// The good end.
    Success,
    /// The bad end.
    Failed,
    /// Ended without a result.
    Canceled,
}

impl DeploymentState {
    /// GitLab's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }
}

/// A deployment to record. Commit and ref must be in the project now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDeployment {
    /// The environment's name; GitLab makes it when it is missing.
    pub environment: String,
    /// The deployed commit.
    pub sha: CommitSha,
    /// The branch or tag that has it.
    pub git_ref: String,
    /// True when `git_ref` is a tag.
    pub is_tag: bool,
    /// How it stands.
    pub state: DeploymentState,
}

/// A deployment that GitLab has.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Deployment {
    /// GitLab's id.
    pub id: u64,
    /// Its number in the project.
    pub iid: Option<u64>,
    /// `running`, `success`, `failed`, `canceled`, `created`, `blocked`, …
    #[serde(default)]
    pub status: String,
    /// The deployed commit.
    #[serde(default, deserialize_with = "crate::reading::sha")]
    pub sha: Option<CommitSha>,
    /// The branch or tag.
    #[serde(rename = "ref")]
    pub git_ref: Option<String>,
}

impl Client {
    /// Records a deployment.
    pub async fn create_deployment(
        &self,
        project: ProjectId,
        deployment: &NewDeployment,
    ) -> Result<Deployment, Error> {
        let body = json!({
            "environment": deployment.environment,
            "sha": deployment.sha,
            "ref": deployment.git_ref,
            "tag": deployment.is_tag,
            "status": deployment.state.as_str(),
        });
        self.json(Call::project(Method::POST, project, &["deployments"]).body(body)).await
    }

    /// Brings a deployment to its end. GitLab refuses the state that it is in already: read it
    /// with [`Client::deployment`] and compare.
    pub async fn update_deployment(
        &self,
        project: ProjectId,
        deployment: u64,
        state: DeploymentState,
    ) -> Result<Deployment, Error> {
        let path = ["deployments", &deployment.to_string()];
        let body = json!({ "status": state.as_str() });
        self.json(Call::project(Method::PUT, project, &path).body(body)).await
    }

    /// One deployment; none when somebody deleted it.
    pub async fn deployment(
        &self,
        project: ProjectId,
        deployment: u64,
    ) -> Result<Option<Deployment>, Error> {
        let call = Call::project(Method::GET, project, &["deployments", &deployment.to_string()]);
        self.find(Thing::Deployment.of(project), call).await
    }

    /// The deployments of one commit to an environment, among its newest hundred, newest first.
    pub async fn deployments(
        &self,
        project: ProjectId,
        environment: &str,
        sha: &CommitSha,
    ) -> Result<Vec<Deployment>, Error> {
        let call = Call::project(Method::GET, project, &["deployments"])
            .query("environment", environment)
            .query("order_by", "id")
            .query("sort", "desc");
        let mut found: Vec<Deployment> = self.list_until(call, 100, |_| false).await?;
        found.retain(|deployment| deployment.sha.as_ref() == Some(sha));
        Ok(found)
    }
}
