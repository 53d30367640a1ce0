//! Tags.

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
    let ["repository", "tags", rest @ ..] = path else { return None };
    match (call.method.as_str(), rest) {
        ("GET", []) => Some(list(state, call, project)),
        ("GET", [name]) => Some(get(state, call, project, name)),
        ("POST", []) => Some(create(state, call, project)),
        ("DELETE", [name]) => Some(delete(state, call, project, name)),
        _ => None,
    }
}

fn tag_json(state: &State, project: ProjectId, name: &str, id: Oid) -> Value {
    let found = state.project(project);
    let commit = found.repo.peel(id).and_then(|id| found.repo.objects.commit(id));
    json!({
        "name": name,
        "message": found.repo.objects.tag(id).map_or_else(String::new, |tag| tag.message),
        "target": id,
        "commit": commit.as_ref().map(|commit| state.commit_json(found, commit)),
        "release": null,
        "protected": found.is_protected_tag(name),
        "created_at": null,
    })
}

fn list(state: &State, call: &Call, project: ProjectId) -> ApiResult {
    state.require_code(call, project)?;
    let search = call.params.filled("search").unwrap_or_default();
    let wanted = |name: &str| match search.strip_prefix('^') {
        Some(start) => name.starts_with(start),
        None => name.contains(&search),
    };
    let repo = &state.project(project).repo;
    let mut tags: Vec<(String, Oid)> = repo
        .refs_below("refs/tags/")
        .filter(|(name, _)| wanted(name))
        .map(|(name, id)| (name.to_owned(), id))
        .collect();
    let order = call.params.choice("order_by", &["name", "updated", "version"])?;
    if order != Some("name") {
        // Git's `creatordate`: an annotated tag has a date of its own.
        tags.sort_by_key(|(_, id)| {
            let tagged = repo.objects.tag(*id).and_then(|tag| tag.tagger).map(|tagger| tagger.time);
            let commit = || repo.peel(*id).and_then(|id| repo.objects.commit(id));
            tagged.or_else(|| commit().map(|commit| commit.committer.time))
        });
    }
    if call.params.choice("sort", &["asc", "desc"])? != Some("asc") {
        tags.reverse();
    }
    paging::page(call, tags, |(name, id)| tag_json(state, project, &name, id))
}

fn get(state: &State, call: &Call, project: ProjectId, name: &str) -> ApiResult {
    state.require_code(call, project)?;
    let id = state.project(project).repo.refs().get(&format!("refs/tags/{name}")).copied();
    let id = id.ok_or_else(|| Refusal::not_found("Tag"))?;
    Ok(Answer::ok(tag_json(state, project, name, id)))
}

fn create(state: &mut State, call: &Call, project: ProjectId) -> ApiResult {
    let user = state.require(call, project, super::access::DEVELOPER)?;
    let name = call.params.required("tag_name")?;
    let from = call.params.required("ref")?;
    let message = call.params.filled("message");
    let found = state.project(project);
    if !found.may_write_tag(state.user(user), &name) {
        return Err(Refusal::forbidden());
    }
    let id = state.create_tag(project, user, &name, &from, message.as_deref())?;
    Ok(Answer::created(tag_json(state, project, &name, id)).wrote(format!("tag {name}")))
}

impl State {
    /// Makes a tag: annotated when it has a message.
    pub(crate) fn create_tag(
        &mut self,
        project: ProjectId,
        user: crate::model::UserId,
        name: &str,
        from: &str,
        message: Option<&str>,
    ) -> Result<Oid, Refusal> {
        let tagger = self.signature(user);
        let found = self.project(project);
        if found.repo.refs().contains_key(&format!("refs/tags/{name}")) {
            return Err(Refusal::message(400, format!("Tag {name} already exists")));
        }
        let commit = found.repo.resolve(from, found.default_branch());
        let commit =
            commit.ok_or_else(|| Refusal::message(400, format!("Target {from} is invalid")))?;
        let id = match message {
            Some(message) => found.repo.objects.write_tag(name, commit.id, &tagger, message),
            None => commit.id,
        };
        self.push_refs(project, user, &[(format!("refs/tags/{name}"), id)])?;
        Ok(id)
    }
}

fn delete(state: &mut State, call: &Call, project: ProjectId, name: &str) -> ApiResult {
    let user = state.require(call, project, super::access::DEVELOPER)?;
    let found = state.project(project);
    if !found.repo.refs().contains_key(&format!("refs/tags/{name}")) {
        return Err(Refusal::not_found("Tag"));
    }
    if !found.may_write_tag(state.user(user), name) {
        return Err(Refusal::forbidden());
    }
    state.push_refs(project, user, &[(format!("refs/tags/{name}"), Oid::ZERO)])?;
    Ok(Answer::no_content().wrote(format!("deleted tag {name}")))
}
