//! Branches.

use serde_json::{Value, json};

use super::answer::{Answer, ApiResult, Refusal};
use super::{Call, paging};
use crate::git::Oid;
use crate::model::{Project, ProjectId, State};

fn branch_json(state: &State, call: &Call, project: &Project, name: &str, head: Oid) -> Value {
    let commit = project.repo.commit(head);
    let user = call.caller().map(|user| state.user(user));
    json!({
        "name": name,
        "commit": commit.map(|commit| state.commit_json(project, &commit)),
        "protected": project.is_protected(name),
        "can_push": user.is_some_and(|user| project.branch_rights(user, name).push),
        "default": name == project.default_branch(),
        "web_url": format!("{}/-/tree/{name}", state.project_url(project)),
    })
}

pub(crate) fn list(state: &State, call: &Call, project: ProjectId) -> ApiResult {
    let found = state.require_code(call, project)?;
    let search = call.params.filled("search").unwrap_or_default();
    let wanted = |name: &str| match (search.strip_prefix('^'), search.strip_suffix('$')) {
        (Some(start), _) => name.starts_with(start),
        (_, Some(end)) => name.ends_with(end),
        _ => name.to_lowercase().contains(&search.to_lowercase()),
    };
    let branches = found.repo.refs_below("refs/heads/");
    let mut branches: Vec<(&str, Oid)> = branches.filter(|(name, _)| wanted(name)).collect();
    let sort = call.params.choice("sort", &["name_asc", "updated_asc", "updated_desc"])?;
    if sort.is_some_and(|sort| sort != "name_asc") {
        let commit = |head: Oid| found.repo.commit(head);
        branches.sort_by_key(|(_, head)| commit(*head).map(|commit| commit.time));
    }
    if sort == Some("updated_desc") {
        branches.reverse();
    }
    paging::page(call, branches, |(name, head)| branch_json(state, call, found, name, head))
}

pub(crate) fn get(state: &State, call: &Call, project: ProjectId, name: &str) -> ApiResult {
    let found = state.require_code(call, project)?;
    let head = found.repo.branch(name).ok_or_else(|| Refusal::not_found("Branch"))?;
    Ok(Answer::ok(branch_json(state, call, found, name, head)))
}
