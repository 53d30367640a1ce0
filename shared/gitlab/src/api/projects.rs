//! Projects and who may do what in them.

use crate::{Client, Error, absent::Thing, call::Call};
use gantry_domain::{ProjectId, UserId};
use http::Method;
use serde::Deserialize;

/// A project, as far as the token may see it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Project {
    /// GitLab's id: stable when the project is renamed or moved.
    pub id: ProjectId,
    /// The name without its groups.
    #[serde(default)]
    pub name: String,
    /// Groups and project: `group/sub/app`.
    pub path_with_namespace: String,
    /// The page of the project.
    pub web_url: Option<String>,
    /// `private`, `internal` or `public`.
    pub visibility: Option<String>,
    /// None for an empty repository.
    pub default_branch: Option<String>,
    /// The user or group that it belongs to.
    pub namespace: Option<Namespace>,
    permissions: Option<Permissions>,
    builds_access_level: Option<String>,
    jobs_enabled: Option<bool>,
    ci_config_path: Option<String>,
    /// *Pipelines must succeed* before a merge.
    #[serde(default, deserialize_with = "crate::reading::or_default")]
    pub only_allow_merge_if_pipeline_succeeds: bool,
    /// *All threads must be resolved* before a merge.
    #[serde(default, deserialize_with = "crate::reading::or_default")]
    pub only_allow_merge_if_all_discussions_are_resolved: bool,
    /// Skipped pipelines count as success there.
    #[serde(default, deserialize_with = "crate::reading::or_default")]
    pub allow_merge_on_skipped_pipeline: bool,
    /// *Merged results pipelines*: their commit is a merge that is in no branch.
    #[serde(default, deserialize_with = "crate::reading::or_default")]
    pub merge_pipelines_enabled: bool,
    /// *Merge trains*.
    #[serde(default, deserialize_with = "crate::reading::or_default")]
    pub merge_trains_enabled: bool,
    /// Read-only.
    #[serde(default, deserialize_with = "crate::reading::or_default")]
    pub archived: bool,
    /// *Allow pipeline triggerer to approve deployment*. GitLab says it since 15.8, and only where
    /// its edition has protected environments (Premium).
    pub allow_pipeline_trigger_approve_deployment: Option<bool>,
    /// The project that this one is a fork of.
    #[serde(rename = "forked_from_project")]
    pub forked_from: Option<ForkedFrom>,
}

/// The user or group that a project belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Namespace {
    /// All its groups: `group/sub`.
    pub full_path: String,
    /// `group` or `user`.
    pub kind: Option<String>,
}

/// Where a fork came from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ForkedFrom {
    /// GitLab's id.
    pub id: ProjectId,
    /// Groups and project; hidden where the token may not see it.
    pub path_with_namespace: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
struct Permissions {
    project_access: Option<Access>,
    group_access: Option<Access>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
struct Access {
    access_level: Option<u32>,
}

impl Project {
    /// The token's role as GitLab counts it (30 Developer, 40 Maintainer, 50 Owner); none when
    /// the answer does not say. [`Client::member_access_level`] is exact.
    pub fn own_access_level(&self) -> Option<u32> {
        let Permissions { project_access, group_access } = self.permissions?;
        [project_access, group_access].into_iter().flatten().filter_map(|a| a.access_level).max()
    }

    /// False when CI/CD is switched off: statuses can be stored then, but nobody sees them.
    pub fn has_ci(&self) -> bool {
        match &self.builds_access_level {
            Some(level) => level != "disabled",
            None => self.jobs_enabled.unwrap_or(true),
        }
    }

    /// The file that describes the project's CI, unless the project says that it lies elsewhere:
    /// in another project (`path@group/project`) or at an address.
    pub fn ci_file(&self) -> Option<&str> {
        match self.ci_config_path.as_deref() {
            None | Some("") => Some(".gitlab-ci.yml"),
            Some(path) if path.contains('@') || path.contains("://") => None,
            Some(path) => Some(path),
        }
    }

    /// True when everybody on the internet may read it.
    pub fn is_public(&self) -> bool {
        self.visibility.as_deref() == Some("public")
    }
}

#[derive(Deserialize)]
struct Member {
    access_level: u32,
}

impl Client {
    /// A project by its id.
    pub async fn project(&self, project: ProjectId) -> Result<Project, Error> {
        let found: Project = self.json(Call::project(Method::GET, project, &[])).await?;
        self.recent().projects.keep(project, self.now(), found.clone());
        Ok(found)
    }

    /// The same, which may be some seconds old: for what is shown, never for what is decided.
    pub async fn project_lately(&self, project: ProjectId) -> Result<Project, Error> {
        match self.recent().projects.find(&project, self.now()) {
            Some(found) => Ok(found),
            None => self.project(project).await,
        }
    }

    /// A project by its path (`group/sub/app`). Keep the id: paths change.
    pub async fn project_by_path(&self, path: &str) -> Result<Project, Error> {
        self.json(Call::get(&["projects", path])).await
    }

    /// Projects that the token is a member of and whose name or path has `text`, those with the
    /// latest activity first.
    pub async fn search_projects(&self, text: &str, limit: usize) -> Result<Vec<Project>, Error> {
        let mut call = Call::get(&["projects"])
            .query("membership", true)
            .query("archived", false)
            .query("order_by", "last_activity_at")
            .query("sort", "desc");
        if !text.trim().is_empty() {
            call = call.query("search", text.trim()).query("search_namespaces", true);
        }
        self.list_until(call, limit, |_| false).await
    }

    /// The user's role in the project, inherited ones included (10 Guest, 20 Reporter,
    /// 30 Developer, 40 Maintainer, 50 Owner); none for somebody who is no member.
    pub async fn member_access_level(
        &self,
        project: ProjectId,
        user: UserId,
    ) -> Result<Option<u32>, Error> {
        let call = Call::project(Method::GET, project, &["members", "all", &user.to_string()]);
        let found = self.find::<Member>(Thing::Member.of(project), call).await?;
        Ok(found.map(|member| member.access_level))
    }
}
