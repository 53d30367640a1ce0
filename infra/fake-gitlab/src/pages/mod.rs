//! Pages for people who have no GitLab: enough to look, open, comment and merge.
//!
//! There is no signing in: whoever can reach the server acts as `Config::anonymous_user`, and says
//! on the page that signs in elsewhere who they are.

mod code;
mod home;
mod html;
mod issue;
mod markdown;
mod merge_request;
pub(crate) mod oauth;
mod pipeline;
mod project;

use crate::api::answer::Refusal;
use crate::api::params::{Params, decode};
use crate::model::{ProjectId, State, UserId};

/// What a page request is answered with.
pub(crate) enum Page {
    Html(String),
    /// After a form: go there.
    Redirect(String),
    /// A form that GitLab would refuse.
    Refused(String),
    Missing,
}

/// The page of an address below the relative root; paths are still encoded.
pub(crate) fn get(state: &State, path: &str, query: &str) -> Page {
    let mut params = Params::default();
    params.add_form(query);
    let path = path.trim_matches('/');
    if path.is_empty() {
        return Page::Html(home::page(state));
    }
    let (project, rest) = split(path);
    let Some(project) = state.project_once_at(&project) else { return Page::Missing };
    let parts: Vec<&str> = rest.iter().map(String::as_str).collect();
    let page = match parts.as_slice() {
        [] => Some(project::page(state, project)),
        ["merge_requests", "new"] => {
            let source = params.get("merge_request").and_then(|map| map["source_branch"].as_str());
            Some(merge_request::form(state, project, source.unwrap_or_default(), None))
        }
        ["merge_requests", iid] => merge_request::page(state, project, iid, None),
        ["issues"] => Some(issue::list(state, project, None)),
        ["issues", iid] => issue::page(state, project, iid, None),
        ["environments", ..] => Some(project::page(state, project)),
        ["pipelines", id] => pipeline::page(state, project, id),
        ["commit", sha] => code::commit(state, project, sha),
        ["tree" | "blob", name @ ..] if !name.is_empty() => {
            code::tree(state, project, &name.join("/"))
        }
        _ => None,
    };
    page.map_or(Page::Missing, Page::Html)
}

/// What a form does.
pub(crate) fn post(state: &mut State, path: &str, body: &str) -> Page {
    let mut params = Params::default();
    params.add_form(body);
    let (project, rest) = split(path.trim_matches('/'));
    let Some(project) = state.project_at(&project).map(|project| project.id) else {
        return Page::Missing;
    };
    let user = acting(state);
    let parts: Vec<&str> = rest.iter().map(String::as_str).collect();
    match parts.as_slice() {
        ["merge_requests"] => match merge_request::open(state, project, user, &params) {
            Ok(iid) => back(state, project, &format!("merge_requests/{iid}")),
            Err(refusal) => {
                let branch = params.text("source_branch").unwrap_or_default();
                let found = state.project(project);
                let problem = Some(said(&refusal));
                Page::Refused(merge_request::form(state, found, &branch, problem.as_deref()))
            }
        },
        ["issues"] => match issue::open(state, project, user, &params) {
            Ok(iid) => back(state, project, &format!("issues/{iid}")),
            Err(refusal) => {
                let found = state.project(project);
                Page::Refused(issue::list(state, found, Some(&said(&refusal))))
            }
        },
        ["issues", iid, action] => match issue::act(state, project, iid, action, &params) {
            Some(Ok((project, place))) => back(state, project, &place),
            Some(Err(refusal)) => {
                let problem = said(&refusal);
                issue::page(state, state.project(project), iid, Some(&problem))
                    .map_or(Page::Missing, Page::Refused)
            }
            None => Page::Missing,
        },
        ["merge_requests", iid, action] => {
            match merge_request::act(state, project, user, iid, action, &params) {
                Some(Ok(())) => back(state, project, &format!("merge_requests/{iid}")),
                Some(Err(refusal)) => {
                    let problem = said(&refusal);
                    let found = state.project(project);
                    merge_request::page(state, found, iid, Some(&problem))
                        .map_or(Page::Missing, Page::Refused)
                }
                None => Page::Missing,
            }
        }
        _ => Page::Missing,
    }
}

/// The user that pages act as.
fn acting(state: &mut State) -> UserId {
    let name = state.config.anonymous_user.clone().unwrap_or_else(|| "root".to_owned());
    state.create_user(&name, false)
}

fn back(state: &State, project: ProjectId, rest: &str) -> Page {
    Page::Redirect(format!("{}/-/{rest}", state.project_url(state.project(project))))
}

/// The project and the parts after `/-/`.
fn split(path: &str) -> (String, Vec<String>) {
    let (project, rest) = path.split_once("/-/").unwrap_or((path, ""));
    let parts = rest.split('/').filter(|part| !part.is_empty()).map(decode).collect();
    (decode(project), parts)
}

/// The words of a refusal without their JSON.
fn said(refusal: &Refusal) -> String {
    let body: serde_json::Value = serde_json::from_str(&refusal.body).unwrap_or_default();
    match &body["message"] {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Null => refusal.body.clone(),
        other => other.to_string(),
    }
}
