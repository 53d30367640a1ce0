//! Looking things up at GitLab while somebody fills in a form. Each answers a part of a page.

use super::page;
use crate::{app::App, form::Params, refusal::Answer};
use askama::Template;
use axum::{extract::State, response::Response};
use gantry_domain::{GitUrl, InvalidId, ProjectId, stack::normalize_root};
use gantry_gitlab::{Branch, Client, Error, Project};
use serde::Deserialize;

/// How many things are offered.
const OFFERED: usize = 20;

#[derive(Deserialize)]
pub(crate) struct Query {
    #[serde(default)]
    provider: String,
    #[serde(default)]
    project: String,
    #[serde(default)]
    branch: String,
    #[serde(default)]
    project_root: String,
}

impl Query {
    /// The repository, where it is not at GitLab.
    fn repository(&self) -> Option<Result<GitUrl, InvalidId>> {
        (self.provider == "git").then(|| self.project.parse())
    }
}

#[derive(Template)]
#[template(
    source = "{% for option in options %}<option value=\"{{ option }}\"></option>{% endfor %}",
    ext = "html"
)]
struct Options {
    options: Vec<String>,
}

#[derive(Template)]
#[template(
    source = "<span class=\"{% if ok %}good{% else %}warn{% endif %}\">{{ text }}</span>\
              {% for (field, value) in fills %}\
              <data hidden data-fill=\"{{ field }}\" data-value=\"{{ value }}\"></data>\
              {% endfor %}",
    ext = "html"
)]
struct Hint {
    ok: bool,
    text: String,
    /// What is suggested for other fields of the form: name, value.
    fills: Vec<(&'static str, String)>,
}

impl Hint {
    fn new(ok: bool, text: impl Into<String>) -> Self {
        Self { ok, text: text.into(), fills: Vec::new() }
    }
}

/// What is said; trouble on the way to it as well: whoever fills in a form sees no status.
fn said(hint: Answer<Hint>) -> Response {
    page(&hint.unwrap_or_else(|refusal| Hint::new(false, refusal.words())))
}

/// `GET /pick/projects?project=`: projects whose name or path has the text.
pub(crate) async fn projects(
    State(app): State<App>,
    Params(query): Params<Query>,
) -> Answer<Response> {
    if query.repository().is_some() {
        return Ok(page(&Options { options: Vec::new() }));
    }
    let linked = app.gitlab.linked().await?;
    let text = query.project.rsplit('/').next().unwrap_or_default();
    let found = linked.client.search_projects(text, OFFERED).await?;
    let options = found.into_iter().map(|project| project.path_with_namespace).collect();
    Ok(page(&Options { options }))
}

/// `GET /pick/project?project=`: whether there is such a project, and what it suggests.
pub(crate) async fn project(State(app): State<App>, Params(query): Params<Query>) -> Response {
    let hint = async {
        if let Some(repository) = query.repository() {
            return Ok(match repository {
                Ok(_) => Hint::new(true, "Read without a token, whenever a run starts."),
                Err(wrong) => Hint::new(false, wrong.to_string()),
            });
        }
        if query.project.trim().is_empty() {
            return Ok(Hint::new(false, CHOOSE));
        }
        let linked = app.gitlab.linked().await?;
        let Some(project) = find(&linked.client, &query.project).await? else {
            return Ok(Hint::new(false, NOT_SEEN));
        };
        let Some(branch) = project.default_branch else {
            return Ok(Hint::new(false, "Its repository is empty. Push a branch first."));
        };
        let text = format!("Found. Its default branch is {branch}.");
        let fills = vec![("branch", branch), ("name", project.name)];
        Ok(Hint { fills, ..Hint::new(true, text) })
    };
    said(hint.await)
}

/// `GET /pick/branches?project=&branch=`: branches that begin with the text.
pub(crate) async fn branches(
    State(app): State<App>,
    Params(query): Params<Query>,
) -> Answer<Response> {
    if let Some(repository) = query.repository() {
        let seen = match repository {
            Ok(url) => app.git.branches(&url).await.ok(),
            Err(_) => None,
        };
        let begins = |name: &String| name.starts_with(query.branch.trim());
        let names = seen.into_iter().flat_map(|seen| seen.all).map(|branch| branch.name);
        let options = names.filter(begins).take(OFFERED).collect();
        return Ok(page(&Options { options }));
    }
    let linked = app.gitlab.linked().await?;
    let options = match find(&linked.client, &query.project).await? {
        Some(project) => {
            let found = linked.client.branches(project.id, query.branch.trim(), OFFERED).await?;
            found.into_iter().map(|branch| branch.name).collect()
        }
        None => Vec::new(),
    };
    Ok(page(&Options { options }))
}

/// `GET /pick/folders?project=&branch=&project_root=`: folders beside, or in, the one that is typed.
pub(crate) async fn folders(
    State(app): State<App>,
    Params(query): Params<Query>,
) -> Answer<Response> {
    let typed = query.project_root.trim().trim_start_matches('/');
    let (parent, begin) = typed.rsplit_once('/').unwrap_or(("", typed));
    if query.repository().is_some() || normalize_root(parent).is_err() {
        return Ok(page(&Options { options: Vec::new() }));
    }
    let linked = app.gitlab.linked().await?;
    let options = match place(&linked.client, &query).await? {
        Ok((project, branch)) => {
            let found = linked.client.folders_in(project, &branch.sha, parent).await?;
            let within = |name: String| match parent {
                "" => name,
                parent => format!("{parent}/{name}"),
            };
            found.into_iter().filter(|n| n.starts_with(begin)).take(OFFERED).map(within).collect()
        }
        Err(_) => Vec::new(),
    };
    Ok(page(&Options { options }))
}

/// `GET /pick/root?project=&branch=&project_root=`: whether the folder is there.
pub(crate) async fn root(State(app): State<App>, Params(query): Params<Query>) -> Response {
    let hint = async {
        let Ok(root) = normalize_root(&query.project_root) else {
            return Ok(Hint::new(false, "Not a folder inside a repository."));
        };
        if root.is_empty() {
            return Ok(Hint::new(true, "The whole repository."));
        }
        if query.repository().is_some() {
            return Ok(Hint::new(true, format!("{root} is checked when a run starts.")));
        }
        let linked = app.gitlab.linked().await?;
        let (project, branch) = match place(&linked.client, &query).await? {
            Ok(found) => found,
            Err(said) => return Ok(Hint::new(false, said)),
        };
        Ok(match linked.client.tree_id(project, &branch.sha, &root).await? {
            Some(_) => Hint::new(true, format!("{root} exists.")),
            None => Hint::new(false, format!("{root} does not exist in {}.", branch.name)),
        })
    };
    said(hint.await)
}

const CHOOSE: &str = "Select a project first.";
const NOT_SEEN: &str = "No such project, or Gantry's user cannot see it.";

/// The project and the branch that a form names, its default branch where it names none; or what
/// is missing.
async fn place(
    client: &Client,
    query: &Query,
) -> Result<Result<(ProjectId, Branch), String>, Error> {
    if query.project.trim().is_empty() {
        return Ok(Err(CHOOSE.to_owned()));
    }
    let Some(project) = find(client, &query.project).await? else {
        return Ok(Err(NOT_SEEN.to_owned()));
    };
    let typed = Some(query.branch.trim()).filter(|name| !name.is_empty());
    let Some(name) = typed.or(project.default_branch.as_deref()) else {
        return Ok(Err("Its repository is empty. Push a branch first.".to_owned()));
    };
    let branch = client.branch(project.id, name).await?;
    Ok(branch
        .map(|branch| (project.id, branch))
        .ok_or_else(|| format!("The branch {name} does not exist.")))
}

/// The project with this path or id.
async fn find(client: &Client, path: &str) -> Result<Option<Project>, Error> {
    let path = path.trim().trim_matches('/');
    if path.is_empty() {
        return Ok(None);
    }
    match client.project_by_path(path).await {
        Ok(project) => Ok(Some(project)),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
