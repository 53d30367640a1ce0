//! Looking things up at GitLab while somebody fills in a form. Each answers a part of a page.

use super::page;
use crate::{app::App, form::Params, refusal::Answer};
use askama::Template;
use axum::{extract::State, response::Response};
use gantry_domain::{GitUrl, InvalidId, ProjectId, stack::normalize_root};
use gantry_gitlab::Client;
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
    source = "<span class=\"{% if ok %}good{% else %}warn{% endif %}\">{{ text }}</span>",
    ext = "html"
)]
struct Hint {
    ok: bool,
    text: String,
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
    let options = match project_id(&linked.client, &query.project).await {
        Some(project) => {
            let found = linked.client.branches(project, query.branch.trim(), OFFERED).await?;
            found.into_iter().map(|branch| branch.name).collect()
        }
        None => Vec::new(),
    };
    Ok(page(&Options { options }))
}

/// `GET /pick/root?project=&branch=&project_root=`: whether the folder is there.
pub(crate) async fn root(State(app): State<App>, Params(query): Params<Query>) -> Answer<Response> {
    let hint = |ok, text: String| page(&Hint { ok, text });
    let Ok(root) = normalize_root(&query.project_root) else {
        return Ok(hint(false, "Not a folder inside a repository.".to_owned()));
    };
    if root.is_empty() {
        return Ok(hint(true, "The whole repository.".to_owned()));
    }
    if query.repository().is_some() {
        return Ok(hint(true, format!("{root} is checked when a run starts.")));
    }
    let linked = app.gitlab.linked().await?;
    let Some(project) = project_id(&linked.client, &query.project).await else {
        return Ok(hint(false, "Select the project first.".to_owned()));
    };
    let branch = linked.client.branch(project, query.branch.trim()).await?;
    let Some(branch) = branch else {
        return Ok(hint(false, format!("The branch {} does not exist.", query.branch.trim())));
    };
    Ok(match linked.client.tree_id(project, &branch.sha, &root).await? {
        Some(_) => hint(true, format!("{root} exists.")),
        None => hint(false, format!("{root} does not exist in {}.", query.branch.trim())),
    })
}

async fn project_id(client: &Client, path: &str) -> Option<ProjectId> {
    let path = path.trim().trim_matches('/');
    if let Ok(id) = path.parse() {
        return Some(ProjectId(id));
    }
    client.project_by_path(path).await.ok().map(|project| project.id)
}
