//! Finding a stack's project at GitLab, and keeping the list of projects.

use super::form::ProjectRef;
use crate::{
    app::App,
    gitlab::Linked,
    refusal::{Answer, Refusal},
};
use gantry_domain::{CommitSha, ProjectId, feedback::Statuses};
use gantry_gitlab::{Error, Project};
use gantry_store::{Expect, Write, config::ProjectEntry, keys};

/// The project that a person named. What is wrong with the name is said of the field.
pub(super) async fn resolve(
    linked: &Linked,
    wanted: &ProjectRef,
) -> Result<Result<Project, String>, Refusal> {
    let found = match wanted {
        ProjectRef::Id(id) => linked.client.project(*id).await,
        ProjectRef::Path(path) => {
            let path = strip_host(path, &linked.integration.api_host);
            linked.client.project_by_path(path).await
        }
    };
    match found {
        Ok(project) => Ok(Ok(project)),
        Err(Error::NotFound { .. }) => Ok(Err(format!(
            "is not at {}, or the user {} may not see it: make it a member of the project",
            linked.integration.api_host, linked.integration.bot.username
        ))),
        Err(Error::Forbidden { message }) => Ok(Err(format!("GitLab does not show it: {message}"))),
        Err(error) => Err(error.into()),
    }
}

/// The branch's head as it is now; none when it is not there, or GitLab does not say.
pub(super) async fn head(linked: &Linked, project: ProjectId, branch: &str) -> Option<CommitSha> {
    linked.client.branch(project, branch).await.ok().flatten().map(|branch| branch.sha)
}

/// A path may be pasted as an address.
fn strip_host<'a>(path: &'a str, api_host: &str) -> &'a str {
    let path = path.strip_prefix(api_host).unwrap_or(path).trim_start_matches('/');
    path.split("/-/").next().unwrap_or(path)
}

/// The part of a transaction that keeps a project in the list of projects; none when it is there
/// as it should be.
pub(super) async fn listed(app: &App, project: ProjectId, path: &str) -> Answer<Option<Write>> {
    let key = keys::project(project);
    let write = match app.store.get::<ProjectEntry>(&key).await? {
        None => {
            let path = path.to_owned();
            let entry = ProjectEntry { project, path, hook: None, statuses: Statuses::default() };
            Write::put(key, Expect::Absent, &entry)?
        }
        Some(known) if known.value.path != path => {
            let expect = known.unchanged();
            Write::put(key, expect, &ProjectEntry { path: path.to_owned(), ..known.value })?
        }
        Some(_) => return Ok(None),
    };
    Ok(Some(write))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pasted_address_is_a_path() {
        let host = "https://h.example/gitlab";
        assert_eq!(strip_host("https://h.example/gitlab/a/b/-/tree/main", host), "a/b");
        assert_eq!(strip_host("a/b/c", host), "a/b/c");
    }
}
