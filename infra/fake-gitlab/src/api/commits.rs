//! Commits: reading them, what contains them, making them.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::answer::{Answer, ApiResult, Refusal};
use super::{Call, paging};
use crate::git::repo::FileChanges;
use crate::git::{Commit, diff, history, tree};
use crate::model::{MergeRequest, ProjectId, State};
use crate::service::commits::NewCommit;

pub(crate) fn route(
    state: &mut State,
    call: &Call,
    project: ProjectId,
    path: &[&str],
) -> Option<ApiResult> {
    let ["repository", "commits", rest @ ..] = path else { return None };
    match (call.method.as_str(), rest) {
        ("GET", []) => Some(list(state, call, project)),
        ("POST", []) => Some(create(state, call, project)),
        ("GET", [sha]) => Some(get(state, call, project, sha)),
        ("GET", [sha, "refs"]) => Some(refs(state, call, project, sha)),
        ("GET", [sha, "diff"]) => Some(changes(state, call, project, sha)),
        ("GET", [sha, "merge_requests"]) => Some(merge_requests(state, call, project, sha)),
        _ => None,
    }
}

/// The commit of a name or id that a caller may read.
pub(crate) fn find(
    state: &State,
    call: &Call,
    project: ProjectId,
    name: &str,
) -> Result<std::sync::Arc<Commit>, Refusal> {
    state.require_code(call, project)?;
    let found = state.project(project);
    let commit = found.repo.resolve(name, found.default_branch());
    commit.ok_or_else(|| Refusal::not_found("Commit"))
}

fn list(state: &State, call: &Call, project: ProjectId) -> ApiResult {
    state.require_code(call, project)?;
    let found = state.project(project);
    let name = call.params.filled("ref_name").unwrap_or_else(|| found.default_branch().to_owned());
    let (from, to) = name.split_once("..").map_or((None, name.as_str()), |(a, b)| (Some(a), b));
    let resolve = |name: &str| found.repo.resolve(name, found.default_branch());
    let Some(tip) = resolve(to) else { return Err(Refusal::not_found("Commit")) };
    let hidden: Vec<_> = from.and_then(resolve).into_iter().map(|commit| commit.id).collect();
    let (since, until) = (call.params.time("since")?, call.params.time("until")?);
    let path = call.params.filled("path");
    let at = |commit: &Commit| {
        path.as_deref()
            .and_then(|path| tree::find(&found.repo.objects, commit.tree, path))
            .map(|entry| entry.id)
    };
    let commits: Vec<_> = history::log(&found.repo.objects, tip.id, &hidden)
        .into_iter()
        .filter(|commit| since.is_none_or(|since| commit.committer.time >= since))
        .filter(|commit| until.is_none_or(|until| commit.committer.time <= until))
        .filter(|commit| {
            let parent = commit.parents.first().and_then(|id| found.repo.objects.commit(*id));
            path.is_none() || at(commit) != parent.and_then(|parent| at(&parent))
        })
        .collect();
    paging::uncounted(call, commits, |commit| state.commit_json(found, &commit))
}

fn get(state: &State, call: &Call, project: ProjectId, name: &str) -> ApiResult {
    let commit = find(state, call, project, name)?;
    let found = state.project(project);
    let mut body = state.commit_json(found, &commit);
    let newest = found.pipelines.iter().rev().find(|pipeline| pipeline.sha == commit.id);
    body["last_pipeline"] = json!(newest.map(|pipeline| state.pipeline_json(found, pipeline)));
    body["status"] = json!(newest.map(crate::model::Pipeline::status));
    body["stats"] = json!({ "additions": 0, "deletions": 0, "total": 0 });
    body["project_id"] = json!(project);
    Ok(Answer::ok(body))
}

fn refs(state: &State, call: &Call, project: ProjectId, name: &str) -> ApiResult {
    let commit = find(state, call, project, name)?;
    let wanted = call.params.choice("type", &["branch", "tag", "all"])?.unwrap_or("all");
    let repo = &state.project(project).repo;
    let below = |prefix: &'static str, kind: &'static str| {
        repo.refs_below(prefix)
            .filter(|(_, id)| wanted == "all" || (wanted == kind && *id != crate::git::Oid::ZERO))
            .filter(|(_, id)| {
                let tip = repo.peel(*id);
                tip.is_some_and(|tip| history::is_ancestor(&repo.objects, commit.id, tip))
            })
            .map(|(name, _)| json!({ "type": kind, "name": name }))
            .collect::<Vec<Value>>()
    };
    let mut all = Vec::new();
    if wanted != "tag" {
        all.extend(below("refs/heads/", "branch"));
    }
    if wanted != "branch" {
        all.extend(below("refs/tags/", "tag"));
    }
    paging::page(call, all, |body| body)
}

fn changes(state: &State, call: &Call, project: ProjectId, name: &str) -> ApiResult {
    let commit = find(state, call, project, name)?;
    let found = state.project(project);
    let parent = commit.parents.first().and_then(|id| found.repo.objects.commit(*id));
    let before = parent.map(|parent| parent.tree);
    let all = diff::with_renames(&found.repo.objects, before, Some(commit.tree));
    paging::page(call, all, |change| state.change_json(found, &change))
}

/// From the diffs of prepared merge requests, merged and closed ones too.
fn merge_requests(state: &State, call: &Call, project: ProjectId, name: &str) -> ApiResult {
    let commit = find(state, call, project, name)?;
    let found = state.project(project);
    let wanted = call.params.filled("state").filter(|_| state.config.version.at_least(18, 2));
    let contains = |mr: &MergeRequest| {
        mr.heads.contains(&commit.id)
            || mr.merge_commit == Some(commit.id)
            || mr.squash_commit == Some(commit.id)
            || state.merge_request_commits(mr).iter().any(|known| known.id == commit.id)
    };
    let all: Vec<&MergeRequest> = found
        .merge_requests
        .iter()
        .rev()
        .filter(|mr| mr.prepared_at.is_some() && contains(mr))
        .filter(|mr| {
            wanted.as_deref().is_none_or(|state| state == "all" || state == mr.state.name())
        })
        .collect();
    paging::page(call, all, |mr| state.merge_request_json(mr, call, false))
}

fn create(state: &mut State, call: &Call, project: ProjectId) -> ApiResult {
    let user = state.require(call, project, super::access::DEVELOPER)?;
    let branch = call.params.required("branch")?;
    let message = call.params.required("commit_message")?;
    if !state.project(project).branch_rights(state.user(user), &branch).push {
        return Err(Refusal::message(403, "You are not allowed to push into this branch"));
    }
    let (from_branch, from_commit) =
        (call.params.filled("start_branch"), call.params.filled("start_sha"));
    if from_branch.is_some() && from_commit.is_some() {
        return Err(Refusal::message(400, "You can't pass both start_branch and start_sha"));
    }
    if from_commit.is_none() {
        state.require_branch(project, &branch, from_branch.as_deref())?;
    }
    let changes = actions(state, project, call, &branch)?;
    let start = from_branch.or(from_commit);
    let force = call.params.flag("force")?.unwrap_or(false);
    let new = NewCommit { branch: branch.clone(), start, message, changes, force };
    let id = state.commit(project, user, new)?;
    let found = state.project(project);
    let commit = found.repo.objects.commit(id).ok_or_else(|| Refusal::not_found("Commit"))?;
    let body = state.commit_json(found, &commit);
    Ok(Answer::created(body).wrote(format!("commit {branch}@{}", id.short())))
}

fn actions(
    state: &State,
    project: ProjectId,
    call: &Call,
    branch: &str,
) -> Result<FileChanges, Refusal> {
    let found = state.project(project);
    let start = call.params.filled("start_branch").or_else(|| call.params.filled("start_sha"));
    let base = found
        .repo
        .resolve(start.as_deref().unwrap_or(branch), found.default_branch())
        .or_else(|| found.repo.resolve("HEAD", found.default_branch()));
    let present: BTreeSet<String> = base
        .map(|commit| tree::files(&found.repo.objects, commit.tree).into_keys().collect())
        .unwrap_or_default();
    let read = |path: &str| {
        let commit =
            found.repo.resolve(start.as_deref().unwrap_or(branch), found.default_branch())?;
        let entry = tree::find(&found.repo.objects, commit.tree, path)?;
        found.repo.objects.blob(entry.id)
    };
    let Some(Value::Array(list)) = call.params.get("actions") else {
        return Err(Refusal::missing("actions"));
    };
    let mut changes = FileChanges::new();
    for action in list {
        let text = |key: &str| action[key].as_str().map(str::to_owned);
        let known = ["action", "file_path", "previous_path", "content", "encoding"];
        let keys = action.as_object().into_iter().flat_map(|action| action.keys());
        if let Some(key) = keys.into_iter().find(|key| !known.contains(&key.as_str())) {
            return Err(Refusal::error(400, format!("the fake GitLab does nothing with: {key}")));
        }
        let path = text("file_path").ok_or_else(|| Refusal::missing("actions[0][file_path]"))?;
        let content = match (text("content"), text("encoding").as_deref()) {
            (Some(content), Some("base64")) => {
                Some(STANDARD.decode(content).map_err(|_| Refusal::invalid("content"))?)
            }
            (content, _) => content.map(String::into_bytes),
        };
        match text("action").as_deref() {
            Some("create") if present.contains(&path) => {
                return Err(Refusal::message(400, "A file with this name already exists"));
            }
            Some("update" | "delete") if !present.contains(&path) => {
                return Err(Refusal::message(400, "A file with this name doesn't exist"));
            }
            Some("create" | "update") => {
                changes.insert(path, Some(content.unwrap_or_default()));
            }
            Some("delete") => {
                changes.insert(path, None);
            }
            Some("move") => {
                let old = text("previous_path").ok_or_else(|| Refusal::missing("previous_path"))?;
                let old_content = read(&old);
                if old_content.is_none() {
                    return Err(Refusal::message(400, "A file with this name doesn't exist"));
                }
                changes.insert(old, None);
                changes.insert(path, content.or(old_content));
            }
            Some("chmod") => {
                return Err(Refusal::error(400, "the fake GitLab does nothing with: chmod"));
            }
            _ => return Err(Refusal::bad_value("actions[0][action]")),
        }
    }
    Ok(changes)
}
