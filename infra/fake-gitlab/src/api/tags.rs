//! Tags.

use serde_json::{Value, json};

use super::access::DEVELOPER;
use super::answer::{Answer, ApiResult, Refusal};
use super::{Call, paging};
use crate::git::{NOTHING, Oid};
use crate::model::{Project, ProjectId, State};

fn tag_json(state: &State, project: &Project, name: &str, id: Oid) -> Value {
    let commit = project.repo.peel(id).and_then(|id| project.repo.commit(id));
    json!({
        "name": name,
        "message": project.repo.tag_message(id).unwrap_or_default(),
        "target": id.to_string(),
        "commit": commit.map(|commit| state.commit_json(project, &commit)),
        "protected": false,
    })
}

pub(crate) fn list(state: &State, call: &Call, project: ProjectId) -> ApiResult {
    let found = state.require_code(call, project)?;
    let search = call.params.filled("search").unwrap_or_default();
    let wanted = |name: &str| match search.strip_prefix('^') {
        Some(start) => name.starts_with(start),
        None => name.contains(&search),
    };
    let repo = &found.repo;
    let mut tags: Vec<(&str, Oid)> =
        repo.refs_below("refs/tags/").filter(|(name, _)| wanted(name)).collect();
    let order = call.params.choice("order_by", &["name", "updated", "version"])?;
    if order != Some("name") {
        // Git's `creatordate`: an annotated tag has a date of its own.
        tags.sort_by_key(|(_, id)| {
            let commit = || repo.peel(*id).and_then(|id| repo.commit(id));
            repo.tagged_at(*id).or_else(|| commit().map(|commit| commit.time))
        });
    }
    paging::sort(call, &mut tags, "desc")?;
    paging::page(call, tags, |(name, id)| tag_json(state, found, name, id))
}

pub(crate) fn get(state: &State, call: &Call, project: ProjectId, name: &str) -> ApiResult {
    let found = state.require_code(call, project)?;
    let id = found.repo.refs().get(&format!("refs/tags/{name}"));
    let id = *id.ok_or_else(|| Refusal::not_found("Tag"))?;
    Ok(Answer::ok(tag_json(state, found, name, id)))
}

pub(crate) fn create(state: &mut State, call: &Call, project: ProjectId) -> ApiResult {
    let user = state.require(call, project, DEVELOPER)?;
    let (name, from) = (call.params.required("tag_name")?, call.params.required("ref")?);
    let message = call.params.filled("message");
    let id = state.create_tag(project, user, &name, &from, message.as_deref())?;
    let body = tag_json(state, state.project(project), &name, id);
    Ok(Answer::created(body).wrote(format!("tag {name}")))
}

pub(crate) fn delete(state: &mut State, call: &Call, project: ProjectId, name: &str) -> ApiResult {
    let user = state.require(call, project, DEVELOPER)?;
    let full = format!("refs/tags/{name}");
    if !state.project(project).repo.refs().contains_key(&full) {
        return Err(Refusal::not_found("Tag"));
    }
    state.push_refs(project, user, &[(full, NOTHING)])?;
    Ok(Answer::no_content().wrote(format!("deleted tag {name}")))
}
