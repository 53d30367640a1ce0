//! Branches.

use serde_json::{Value, json};

use super::answer::{Answer, ApiResult, Refusal};
use super::{Call, paging};
use crate::git::Oid;
use crate::model::{ProjectId, State};

pub(crate) fn route(
    state: &mut State,
    call: &Call,
    project: ProjectId,
    path: &[&str],
) -> Option<ApiResult> {
    let ["repository", "branches", rest @ ..] = path else { return None };
    match (call.method.as_str(), rest) {
        ("GET", []) => Some(list(state, call, project)),
        ("GET", [name]) => Some(get(state, call, project, name)),
        ("POST", []) => Some(create(state, call, project)),
        ("DELETE", [name]) => Some(delete(state, call, project, name)),
        _ => None,
    }
}

fn branch_json(state: &State, call: &Call, project: ProjectId, name: &str, head: Oid) -> Value {
    let found = state.project(project);
    let commit = found.repo.objects.commit(head);
    let user = call.auth.user.map(|user| state.user(user));
    let rights = user.map(|user| found.branch_rights(user, name));
    let rule = found.options.protected_branches.iter().find(|rule| rule.covers(name));
    json!({
        "name": name,
        "commit": commit.map(|commit| state.commit_json(found, &commit)),
        "merged": false,
        "protected": rule.is_some(),
        "developers_can_push": rule.is_some_and(|rule| rule.push.is_some_and(|level| level <= 30)),
        "developers_can_merge": rule.is_some_and(|rule| rule.merge.is_some_and(|level| level <= 30)),
        "can_push": rights.is_some_and(|rights| rights.push),
        "default": name == found.default_branch(),
        "web_url": format!("{}/-/tree/{}", state.project_url(found), name),
    })
}

fn list(state: &State, call: &Call, project: ProjectId) -> ApiResult {
    state.require_code(call, project)?;
    let search = call.params.filled("search").unwrap_or_default();
    let wanted = |name: &str| match (search.strip_prefix('^'), search.strip_suffix('$')) {
        (Some(start), _) => name.starts_with(start),
        (_, Some(end)) => name.ends_with(end),
        _ => name.to_lowercase().contains(&search.to_lowercase()),
    };
    let repo = &state.project(project).repo;
    let mut branches: Vec<(String, Oid)> = repo
        .refs_below("refs/heads/")
        .filter(|(name, _)| wanted(name))
        .map(|(name, head)| (name.to_owned(), head))
        .collect();
    let sort = call.params.choice("sort", &["name_asc", "updated_asc", "updated_desc"])?;
    if sort.is_some_and(|sort| sort != "name_asc") {
        let made = |head: Oid| repo.objects.commit(head).map(|commit| commit.committer.time);
        branches.sort_by_key(|(_, head)| made(*head));
    }
    if sort == Some("updated_desc") {
        branches.reverse();
    }
    paging::page(call, branches, |(name, head)| branch_json(state, call, project, &name, head))
}

fn get(state: &State, call: &Call, project: ProjectId, name: &str) -> ApiResult {
    state.require_code(call, project)?;
    let head = state.project(project).repo.branch(name);
    let head = head.ok_or_else(|| Refusal::not_found("Branch"))?;
    Ok(Answer::ok(branch_json(state, call, project, name, head)))
}

fn create(state: &mut State, call: &Call, project: ProjectId) -> ApiResult {
    let user = state.require(call, project, super::access::DEVELOPER)?;
    let name = call.params.required("branch")?;
    let from = call.params.required("ref")?;
    let found = state.project(project);
    if found.repo.branch(&name).is_some() {
        return Err(Refusal::message(400, "Branch already exists"));
    }
    let start = found.repo.resolve(&from, found.default_branch());
    let start =
        start.ok_or_else(|| Refusal::message(400, format!("Invalid reference name: {from}")))?;
    if !found.branch_rights(state.user(user), &name).push {
        return Err(Refusal::forbidden());
    }
    state.push_refs(project, user, &[(format!("refs/heads/{name}"), start.id)])?;
    let body = branch_json(state, call, project, &name, start.id);
    Ok(Answer::created(body).wrote(format!("branch {name}")))
}

fn delete(state: &mut State, call: &Call, project: ProjectId, name: &str) -> ApiResult {
    let user = state.require(call, project, super::access::DEVELOPER)?;
    let found = state.project(project);
    found.repo.branch(name).ok_or_else(|| Refusal::not_found("Branch"))?;
    if name == found.default_branch() {
        return Err(Refusal::message(405, "Cannot remove HEAD branch"));
    }
    if found.branch_rights(state.user(user), name).protected {
        return Err(Refusal::message(403, "Protected branch can't be removed"));
    }
    state.push_refs(project, user, &[(format!("refs/heads/{name}"), Oid::ZERO)])?;
    Ok(Answer::no_content().wrote(format!("deleted branch {name}")))
}
