//! Commits: reading them, what contains them, making them.

use std::sync::Arc;

use serde_json::{Value, json};

use super::access::DEVELOPER;
use super::answer::{Answer, ApiResult, Refusal};
use super::{Call, files, paging};
use crate::git::repo::FileChanges;
use crate::git::{Commit, NOTHING, Oid, Repo};
use crate::model::{MergeRequest, ProjectId, State};
use crate::service::commits::NewCommit;
use crate::service::merge_requests::commits as commits_of;

/// The commit of a name or id that a caller may read.
pub(crate) fn find(
    state: &State,
    call: &Call,
    project: ProjectId,
    name: &str,
) -> Result<Arc<Commit>, Refusal> {
    let commit = state.require_code(call, project)?.resolve(name);
    commit.ok_or_else(|| Refusal::not_found("Commit"))
}

pub(crate) fn list(state: &State, call: &Call, project: ProjectId) -> ApiResult {
    let found = state.require_code(call, project)?;
    let params = &call.params;
    let name = params.filled("ref_name").unwrap_or_else(|| found.default_branch().to_owned());
    let (from, to) = name.split_once("..").map_or((None, name.as_str()), |(a, b)| (Some(a), b));
    let tip = found.resolve(to).ok_or_else(|| Refusal::not_found("Commit"))?;
    let hidden = from.and_then(|from| found.resolve(from)).map(|commit| commit.id);
    let (since, until) = (params.time("since")?, params.time("until")?);
    let path = params.filled("path");
    let mut commits = found.repo.log(tip.id, hidden.as_slice());
    if params.flag("first_parent")?.unwrap_or(false) {
        let chain = found.repo.first_parents(tip.id);
        commits.retain(|commit| chain.contains(&commit.id));
    }
    commits.retain(|commit| {
        since.is_none_or(|since| commit.time >= since)
            && until.is_none_or(|until| commit.time <= until)
            && path.as_deref().is_none_or(|path| found.repo.touches(commit, path))
    });
    paging::uncounted(call, commits, |commit| state.commit_json(found, &commit))
}

pub(crate) fn get(state: &State, call: &Call, project: ProjectId, name: &str) -> ApiResult {
    let commit = find(state, call, project, name)?;
    let found = state.project(project);
    let mut body = state.commit_json(found, &commit);
    let last = found.pipelines.iter().rev().find(|pipeline| pipeline.sha == commit.id);
    body["last_pipeline"] = json!(last.map(|pipeline| state.pipeline_json(found, pipeline)));
    Ok(Answer::ok(body))
}

pub(crate) fn refs(state: &State, call: &Call, project: ProjectId, name: &str) -> ApiResult {
    let commit = find(state, call, project, name)?;
    let wanted = call.params.choice("type", &["branch", "tag", "all"])?.unwrap_or("all");
    let repo = &state.project(project).repo;
    let kinds = [("branch", "refs/heads/"), ("tag", "refs/tags/")];
    let kinds = kinds.into_iter().filter(|(kind, _)| wanted == "all" || wanted == *kind);
    let all = kinds
        .flat_map(|(kind, prefix)| repo.refs_below(prefix).map(move |(name, id)| (kind, name, id)));
    let containing = all.filter(|(.., id)| {
        let tip = repo.peel(*id);
        tip.is_some_and(|tip| repo.is_ancestor(commit.id, tip))
    });
    paging::page(
        call,
        containing.collect(),
        |(kind, name, _)| json!({ "type": kind, "name": name }),
    )
}

/// What a commit changed, compared to its first parent.
pub(crate) fn diff(state: &State, call: &Call, project: ProjectId, name: &str) -> ApiResult {
    let commit = find(state, call, project, name)?;
    let repo = &state.project(project).repo;
    let parent = commit.parents.first().and_then(|id| repo.commit(*id));
    let before = parent.map_or(NOTHING, |parent| parent.tree);
    paging::page(call, repo.changes(before, commit.tree), |change| repo.change_json(&change))
}

/// The merge requests that have a commit, merged and closed ones too.
pub(crate) fn merge_requests(
    state: &State,
    call: &Call,
    project: ProjectId,
    name: &str,
) -> ApiResult {
    let commit = find(state, call, project, name)?;
    let found = state.project(project);
    let contains = |mr: &&MergeRequest| {
        [mr.merge_commit, mr.squash_commit].contains(&Some(commit.id))
            || mr.heads.contains(&commit.id)
            || commits_of(found, mr).iter().any(|known| known.id == commit.id)
    };
    let all: Vec<&MergeRequest> = found.merge_requests.iter().rev().filter(contains).collect();
    paging::page(call, all, |mr| state.merge_request_json(mr))
}

/// What a new commit on a branch comes after; `None` in an empty repository. Only a push makes a
/// branch where none is named to start from (`validate_on_branch!` in GitLab's
/// `app/services/commits/create_service.rb`).
pub(crate) fn parent(
    state: &State,
    call: &Call,
    project: ProjectId,
    branch: &str,
) -> Result<Option<Arc<Commit>>, Refusal> {
    let found = state.project(project);
    let repo = &found.repo;
    let head = repo.branch(branch);
    let start = (call.params.filled("start_branch"), call.params.filled("start_sha"));
    let elsewhere = start.1.is_some() || start.0.as_ref().is_some_and(|start| start != branch);
    let start = match start {
        (Some(_), Some(_)) => {
            return Err(Refusal::message(400, "You can't pass both start_branch and start_sha"));
        }
        (None, None) if repo.refs_below("refs/heads/").next().is_none() => return Ok(None),
        (None, None) => head,
        (Some(start), None) => repo.branch(&start),
        (None, Some(start)) => {
            let commit = found.resolve(&start);
            let commit = commit.ok_or_else(|| Refusal::message(400, "Invalid reference name"))?;
            Some(commit.id)
        }
    };
    let text = "You can only create or edit files when you are on a branch";
    let start = start.ok_or_else(|| Refusal::message(400, text))?;
    let forced = call.params.flag("force")?.unwrap_or(false);
    if elsewhere && head.is_some() && !forced {
        let text = format!(
            "A branch called '{branch}' already exists. Switch to that branch in order to make \
             changes"
        );
        return Err(Refusal::message(400, text));
    }
    Ok(repo.commit(start))
}

pub(crate) fn create(state: &mut State, call: &Call, project: ProjectId) -> ApiResult {
    state.require(call, project, DEVELOPER)?;
    let params = &call.params;
    let (branch, message) = (params.required("branch")?, params.required("commit_message")?);
    let Some(Value::Array(list)) = params.get("actions") else {
        return Err(Refusal::missing("actions"));
    };
    let user = state.require_push(call, project, &branch)?;
    let parent = parent(state, call, project, &branch)?;
    let base = parent.as_ref().map_or(NOTHING, |parent| parent.tree);
    let changes = actions(&state.project(project).repo, base, list)?;
    let parent = parent.map(|parent| parent.id);
    let id = state.commit(project, user, &NewCommit { branch, parent, message, changes })?;
    let found = state.project(project);
    let commit = found.repo.commit(id).ok_or_else(|| Refusal::not_found("Commit"))?;
    let body = state.commit_json(found, &commit);
    Ok(Answer::created(body).wrote(format!("commit {id}")))
}

/// What the actions of a commit change, one after the other.
fn actions(repo: &Repo, base: Oid, list: &[Value]) -> Result<FileChanges, Refusal> {
    let mut changes = FileChanges::new();
    for (at, action) in list.iter().enumerate() {
        let name = |key: &str| format!("actions[{at}][{key}]");
        let text = |key: &str| action[key].as_str();
        let required = |key: &str| text(key).ok_or_else(|| Refusal::missing(&name(key)));
        let present = |path: &str| match changes.get(path) {
            Some(content) => content.clone(),
            None => repo.find(base, path).and_then(|entry| repo.blob(entry.id)),
        };
        let (what, path) = (required("action")?, required("file_path")?);
        let content = text("content").map(str::to_owned);
        let content = content.map(|content| files::decoded(content, text("encoding")));
        let content = content.transpose()?;
        let old = if what == "move" { required("previous_path")? } else { path };
        let before = present(old);
        match what {
            "create" | "move" if present(path).is_some() => {
                return Err(Refusal::message(400, "A file with this name already exists"));
            }
            "update" | "delete" | "move" if before.is_none() => {
                return Err(Refusal::message(400, "A file with this name doesn't exist"));
            }
            "create" => changes.insert(path.to_owned(), Some(content.unwrap_or_default())),
            "update" => {
                let content = content.ok_or_else(|| Refusal::missing(&name("content")))?;
                changes.insert(path.to_owned(), Some(content))
            }
            "delete" => changes.insert(path.to_owned(), None),
            "move" => {
                changes.insert(old.to_owned(), None);
                changes.insert(path.to_owned(), content.or(before))
            }
            "chmod" => {
                return Err(Refusal::error(400, "the fake GitLab does not support chmod"));
            }
            _ => return Err(Refusal::bad_value(&name("action"))),
        };
    }
    Ok(changes)
}
