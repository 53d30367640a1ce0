//! Branches.

use serde_json::{Value, json};

use super::access::DEVELOPER;
use super::answer::{Answer, ApiResult, Refusal};
use super::{Call, paging};
use crate::git::{NOTHING, Oid};
use crate::model::{Project, ProjectId, State};

fn branch_json(state: &State, call: &Call, project: &Project, name: &str, head: Oid) -> Value {
    let commit = project.repo.commit(head);
    let user = call.caller().map(|user| state.user(user));
    json!({
        "name": name,
        "commit": commit.map(|commit| state.commit_json(project, &commit)),
        "protected": project.is_protected(name),
        "can_push": user.is_some_and(|user| state.branch_rights(project, user, name).push),
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

pub(crate) fn create(state: &mut State, call: &Call, project: ProjectId) -> ApiResult {
    state.require(call, project, DEVELOPER)?;
    let (name, from) = (call.params.required("branch")?, call.params.required("ref")?);
    let user = state.require_push(call, project, &name)?;
    let found = state.project(project);
    if found.repo.branch(&name).is_some() {
        return Err(Refusal::message(400, "Branch already exists"));
    }
    let start = found.resolve(&from);
    let start =
        start.ok_or_else(|| Refusal::message(400, format!("Invalid reference name: {from}")))?;
    state.push_refs(project, user, &[(format!("refs/heads/{name}"), start.id)])?;
    let body = branch_json(state, call, state.project(project), &name, start.id);
    Ok(Answer::created(body).wrote(format!("branch {name}")))
}

pub(crate) fn delete(state: &mut State, call: &Call, project: ProjectId, name: &str) -> ApiResult {
    let user = state.require(call, project, DEVELOPER)?;
    let found = state.project(project);
    found.repo.branch(name).ok_or_else(|| Refusal::not_found("Branch"))?;
    if name == found.default_branch() {
        return Err(Refusal::message(405, "Cannot remove HEAD branch"));
    }
    if found.is_protected(name) {
        return Err(Refusal::message(403, "Protected branch can't be removed"));
    }
    state.push_refs(project, user, &[(format!("refs/heads/{name}"), NOTHING)])?;
    Ok(Answer::no_content().wrote(format!("deleted branch {name}")))
}
