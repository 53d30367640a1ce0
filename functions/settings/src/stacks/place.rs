//! Finding where a stack's code lies, and keeping the list of projects.

use super::form::ProjectRef;
use crate::{
    access::Caller,
    app::App,
    form::Errors,
    gitlab::Linked,
    refusal::{Answer, Refusal},
};
use gantry_domain::{CommitSha, GitUrl, Repository, feedback::Statuses, stack::Stack};
use gantry_git::Branches;
use gantry_gitlab::{Error, Project};
use gantry_store::{Expect, Write, config::ProjectEntry, keys};

/// Where a stack's code lies, as it was found there just now.
pub(super) struct Place {
    pub(super) repository: Repository,
    /// The project's path or the repository's address.
    pub(super) path: String,
    /// See [`gantry_domain::stack::Stack::generation`].
    pub(super) generation: u32,
    pub(super) is_public: bool,
    pub(super) default_branch: Option<String>,
    pub(super) seen: Seen,
}

/// What was seen there.
pub(super) enum Seen {
    Project(Box<Project>, Linked),
    Repository(Branches),
}

impl Place {
    /// A branch's head as it is now; none when it is not there, or GitLab does not say.
    pub(super) async fn head(&self, branch: &str) -> Option<CommitSha> {
        match &self.seen {
            Seen::Project(project, linked) => {
                let found = linked.client.branch(project.id, branch).await;
                found.ok().flatten().map(|branch| branch.sha)
            }
            Seen::Repository(branches) => branches.head(branch).cloned(),
        }
    }
}

/// The place that a person named. What is wrong with the name goes to the other errors.
pub(super) async fn find(
    app: &App,
    wanted: Option<ProjectRef>,
    errors: &mut Errors,
) -> Answer<Option<Place>> {
    let found = match wanted {
        None => Err("Enter a project's path (group/project) or ID.".to_owned()),
        Some(ProjectRef::Git(url)) => repository(app, url).await,
        Some(wanted) => project(app.gitlab.linked().await?, &wanted).await?,
    };
    match found {
        Ok(place) => Ok(Some(place)),
        Err(problem) => {
            errors.entry("project".to_owned()).or_insert(problem);
            Ok(None)
        }
    }
}

async fn repository(app: &App, url: GitUrl) -> Result<Place, String> {
    let branches = app.git.branches(&url).await.map_err(|error| error.to_string())?;
    Ok(Place {
        path: url.to_string(),
        repository: Repository::Git(url),
        generation: 0,
        is_public: true,
        default_branch: branches.default.clone(),
        seen: Seen::Repository(branches),
    })
}

async fn project(linked: Linked, wanted: &ProjectRef) -> Answer<Result<Place, String>> {
    let found = match wanted {
        ProjectRef::Id(id) => linked.client.project(*id).await,
        ProjectRef::Path(path) => {
            let path = strip_host(path, &linked.integration.api_host);
            linked.client.project_by_path(path).await
        }
        ProjectRef::Git(url) => return Ok(Err(format!("{url} is not a GitLab project"))),
    };
    match found {
        Ok(project) => Ok(Ok(Place {
            repository: Repository::Gitlab(project.id),
            path: project.path_with_namespace.clone(),
            generation: linked.integration.generation,
            is_public: project.is_public(),
            default_branch: project.default_branch.clone(),
            seen: Seen::Project(Box::new(project), linked),
        })),
        Err(Error::NotFound { .. }) => Ok(Err(format!(
            "Not found at {}, or not visible to the user {}. Make it a member of the project.",
            linked.integration.api_host, linked.integration.bot.username
        ))),
        Err(Error::Forbidden { message }) => Ok(Err(format!("GitLab does not show it: {message}"))),
        Err(error) => Err(error.into()),
    }
}

/// The place of a stack as it is now; a refusal when it cannot be seen.
pub(super) async fn of(app: &App, stack: &Stack) -> Answer<Place> {
    let wanted = match &stack.repository {
        Repository::Gitlab(project) => ProjectRef::Id(*project),
        Repository::Git(url) => ProjectRef::Git(url.clone()),
    };
    let mut errors = Errors::new();
    let found = find(app, Some(wanted), &mut errors).await?;
    found.ok_or_else(|| {
        let why = errors.into_values().next().unwrap_or_default();
        Refusal::conflict("The code is not accessible", format!("{}: {why}", stack.project_path))
    })
}

/// The head of the branch of a stack whose code is not at GitLab: what a run by hand is of.
pub(crate) async fn head_of(app: &App, url: &GitUrl, branch: &str) -> Answer<CommitSha> {
    let branches = app.git.branches(url).await.map_err(|error| {
        Refusal::conflict("The code is not accessible", format!("{url}: {error}."))
    })?;
    branches.head(branch).cloned().ok_or_else(|| {
        Refusal::conflict("Not possible right now", format!("The branch {branch} does not exist."))
    })
}

/// A path may be pasted as an address.
fn strip_host<'a>(path: &'a str, api_host: &str) -> &'a str {
    let path = path.strip_prefix(api_host).unwrap_or(path).trim_start_matches('/');
    path.split("/-/").next().unwrap_or(path)
}

/// The projects that have, or had, stacks and that the caller may see, each with its path as it is
/// now.
pub(crate) async fn projects(app: &App, caller: &Caller) -> Answer<Vec<ProjectEntry>> {
    let mut all = all_projects(app).await?;
    all.retain(|entry| caller.sees(Some(entry.project)));
    Ok(all)
}

/// All projects that have, or had, stacks.
pub(crate) async fn all_projects(app: &App) -> Answer<Vec<ProjectEntry>> {
    let (known, paths, integration) = tokio::try_join!(
        app.store.query_all::<ProjectEntry>(keys::PROJECTS, ""),
        app.store.project_paths(),
        app.store.integration()
    )?;
    let generation = integration.map_or(0, |known| known.value.generation);
    let now = |entry: ProjectEntry| match paths.of(entry.project, generation) {
        Some(path) => ProjectEntry { path: path.to_owned(), ..entry },
        None => entry,
    };
    Ok(known.into_iter().map(|entry| now(entry.value)).collect())
}

/// The parts of a transaction that keep a project in the list of projects; none when it is there
/// as it should be.
pub(super) async fn listed(app: &App, stack: &Stack) -> Answer<Option<Write>> {
    let Some(project) = stack.project() else { return Ok(None) };
    let (key, path) = (keys::project(project), stack.project_path.clone());
    let write = match app.store.get::<ProjectEntry>(&key).await? {
        None => {
            let entry = ProjectEntry { project, path, hook: None, statuses: Statuses::default() };
            Write::put(key, Expect::Absent, &entry)?
        }
        Some(known) if known.value.path != path => {
            let expect = known.unchanged();
            Write::put(key, expect, &ProjectEntry { path, ..known.value })?
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
