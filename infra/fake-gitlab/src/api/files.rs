//! Files of the repository.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sha2::Digest;

use super::Call;
use super::answer::{Answer, ApiResult, Body, Refusal};
use crate::git::repo::FileChanges;
use crate::git::{Commit, Oid, history, tree};
use crate::model::{ProjectId, State};
use crate::service::commits::NewCommit;

pub(crate) fn route(
    state: &mut State,
    call: &Call,
    project: ProjectId,
    path: &[&str],
) -> Option<ApiResult> {
    if let ["repository", "files", path, ..] = path
        && (path.starts_with('/') || path.split('/').any(|part| part == ".."))
    {
        // GitLab's `lib/api/validations/validators/file_path.rb`.
        return Some(Err(Refusal::error(400, "file_path should be a valid file path")));
    }
    match (call.method.as_str(), path) {
        ("GET" | "HEAD", ["repository", "files", path]) => Some(get(state, call, project, path)),
        ("GET" | "HEAD", ["repository", "files", path, "raw"]) => {
            Some(raw(state, call, project, path))
        }
        ("POST" | "PUT" | "DELETE", ["repository", "files", path]) => {
            Some(write(state, call, project, path))
        }
        ("GET", ["repository", "blobs", id, "raw"]) => Some(blob(state, call, project, id)),
        _ => None,
    }
}

struct Found {
    commit: std::sync::Arc<Commit>,
    id: Oid,
    content: Vec<u8>,
    executable: bool,
}

fn find(state: &State, call: &Call, project: ProjectId, path: &str) -> Result<Found, Refusal> {
    state.require_code(call, project)?;
    let found = state.project(project);
    let name = call.params.filled("ref").unwrap_or_else(|| "HEAD".to_owned());
    let commit = found.repo.resolve(&name, found.default_branch());
    let commit = commit.ok_or_else(|| Refusal::not_found("Commit"))?;
    let entry = tree::find(&found.repo.objects, commit.tree, path);
    let entry = entry.filter(|entry| !entry.is_tree()).ok_or_else(|| Refusal::not_found("File"))?;
    let content = found.repo.objects.blob(entry.id).ok_or_else(|| Refusal::not_found("File"))?;
    Ok(Found { commit, id: entry.id, content, executable: entry.mode == 0o100_755 })
}

fn last_change(state: &State, project: ProjectId, file: &Found, path: &str) -> Oid {
    let objects = &state.project(project).repo.objects;
    let at = |commit: &Commit| tree::find(objects, commit.tree, path).map(|entry| entry.id);
    let log = history::log(objects, file.commit.id, &[]);
    let last = log.iter().find(|commit| {
        let parent = commit.parents.first().and_then(|id| objects.commit(*id));
        at(commit) != parent.and_then(|parent| at(&parent))
    });
    last.map_or(file.commit.id, |commit| commit.id)
}

fn get(state: &State, call: &Call, project: ProjectId, path: &str) -> ApiResult {
    if !call.params.has("ref") && !state.config.version.at_least(17, 0) {
        return Err(Refusal::missing("ref"));
    }
    let file = find(state, call, project, path)?;
    Ok(Answer::ok(json!({
        "file_name": path.rsplit('/').next(),
        "file_path": path,
        "size": file.content.len(),
        "encoding": "base64",
        "content_sha256": hex::encode(sha2::Sha256::digest(&file.content)),
        "ref": call.params.filled("ref").unwrap_or_else(|| "HEAD".to_owned()),
        "blob_id": file.id,
        "commit_id": file.commit.id,
        "last_commit_id": last_change(state, project, &file, path),
        "execute_filemode": file.executable,
        "content": STANDARD.encode(&file.content),
    })))
}

fn raw(state: &State, call: &Call, project: ProjectId, path: &str) -> ApiResult {
    let file = find(state, call, project, path)?;
    let answer = Answer::new(200, Body::Bytes("text/plain; charset=utf-8", file.content));
    Ok(answer
        .header("x-gitlab-file-path", super::params::encode(path))
        .header("x-gitlab-blob-id", file.id)
        .header("x-gitlab-commit-id", file.commit.id))
}

fn blob(state: &State, call: &Call, project: ProjectId, id: &str) -> ApiResult {
    state.require_code(call, project)?;
    let objects = &state.project(project).repo.objects;
    let content = Oid::parse(id).and_then(|id| objects.blob(id));
    let content = content.ok_or_else(|| Refusal::not_found("Blob"))?;
    Ok(Answer::new(200, Body::Bytes("text/plain; charset=utf-8", content)))
}

fn write(state: &mut State, call: &Call, project: ProjectId, path: &str) -> ApiResult {
    let user = state.require(call, project, super::access::DEVELOPER)?;
    let branch = call.params.required("branch")?;
    let message = call.params.required("commit_message")?;
    let found = state.project(project);
    if !found.branch_rights(state.user(user), &branch).push {
        return Err(Refusal::forbidden());
    }
    let start = call.params.filled("start_branch");
    state.require_branch(project, &branch, start.as_deref())?;
    let commit = found.repo.resolve(start.as_deref().unwrap_or(&branch), found.default_branch());
    let exists =
        commit.is_some_and(|commit| tree::find(&found.repo.objects, commit.tree, path).is_some());
    let content = match call.method.as_str() {
        "POST" if exists => {
            return Err(Refusal::message(400, "A file with this name already exists"));
        }
        "PUT" | "DELETE" if !exists => {
            return Err(Refusal::message(400, "A file with this name doesn't exist"));
        }
        "DELETE" => None,
        _ => {
            let text = call.params.required("content")?;
            Some(match call.params.text("encoding").as_deref() {
                Some("base64") => STANDARD.decode(text).map_err(|_| Refusal::invalid("content"))?,
                _ => text.into_bytes(),
            })
        }
    };
    let new = NewCommit {
        branch: branch.clone(),
        start,
        message,
        changes: FileChanges::from([(path.to_owned(), content)]),
        force: false,
    };
    state.commit(project, user, new)?;
    let line = format!("file {branch}:{path}");
    if call.method == "DELETE" {
        return Ok(Answer::no_content().wrote(line));
    }
    let body = json!({ "file_path": path, "branch": branch });
    let answer = if call.method == "POST" { Answer::created(body) } else { Answer::ok(body) };
    Ok(answer.wrote(line))
}
