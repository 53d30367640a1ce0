//! Files of the repository: reading them, and commits of one file.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sha2::Digest;

use super::access::DEVELOPER;
use super::answer::{Answer, ApiResult, Body, Refusal};
use super::{Call, commits};
use crate::git::Commit;
use crate::git::repo::FileChanges;
use crate::git::tree::{Entry, EntryKind};
use crate::model::{ProjectId, State};
use crate::service::commits::NewCommit;

/// Refuses paths out of the repository, as GitLab's `lib/api/validations/validators/file_path.rb`.
fn check_path(path: &str) -> Result<(), Refusal> {
    if path.starts_with('/') || path.split('/').any(|part| part == "..") {
        return Err(Refusal::error(400, "file_path should be a valid file path"));
    }
    Ok(())
}

/// A file of a commit.
struct File {
    commit: Arc<Commit>,
    entry: Entry,
    content: Vec<u8>,
}

fn find(state: &State, call: &Call, project: ProjectId, path: &str) -> Result<File, Refusal> {
    check_path(path)?;
    let name = call.params.filled("ref").unwrap_or_else(|| "HEAD".to_owned());
    let commit = commits::find(state, call, project, &name)?;
    let repo = &state.project(project).repo;
    let missing = || Refusal::not_found("File");
    let entry = repo.find(commit.tree, path).ok_or_else(missing)?;
    let content = repo.blob(entry.id).ok_or_else(missing)?;
    Ok(File { commit, entry, content })
}

pub(crate) fn get(state: &State, call: &Call, project: ProjectId, path: &str) -> ApiResult {
    let File { commit, entry, content } = find(state, call, project, path)?;
    let repo = &state.project(project).repo;
    let log = repo.log(commit.id, &[]);
    let last = log.iter().find(|known| repo.touches(known, path)).unwrap_or(&commit);
    Ok(Answer::ok(json!({
        "file_name": path.rsplit('/').next(),
        "file_path": path,
        "size": content.len(),
        "encoding": "base64",
        "content_sha256": hex::encode(sha2::Sha256::digest(&content)),
        "ref": call.params.filled("ref").unwrap_or_else(|| "HEAD".to_owned()),
        "blob_id": entry.id.to_string(),
        "commit_id": commit.id.to_string(),
        "last_commit_id": last.id.to_string(),
        "execute_filemode": entry.kind == EntryKind::BlobExecutable,
        "content": STANDARD.encode(&content),
    })))
}

pub(crate) fn raw(state: &State, call: &Call, project: ProjectId, path: &str) -> ApiResult {
    let file = find(state, call, project, path)?;
    let answer = Answer::new(200, Body::Bytes("text/plain; charset=utf-8", file.content));
    Ok(answer
        .header("x-gitlab-file-path", super::params::encode(path))
        .header("x-gitlab-blob-id", file.entry.id)
        .header("x-gitlab-commit-id", file.commit.id))
}

/// What a file is to hold, as text or in base64.
pub(crate) fn decoded(text: String, encoding: Option<&str>) -> Result<Vec<u8>, Refusal> {
    match encoding {
        None | Some("text") => Ok(text.into_bytes()),
        Some("base64") => STANDARD.decode(text).map_err(|_| Refusal::invalid("content")),
        Some(_) => Err(Refusal::bad_value("encoding")),
    }
}

/// Makes, changes or deletes a file by a commit of its own.
pub(crate) fn write(state: &mut State, call: &Call, project: ProjectId, path: &str) -> ApiResult {
    check_path(path)?;
    state.require(call, project, DEVELOPER)?;
    let params = &call.params;
    let (branch, message) = (params.required("branch")?, params.required("commit_message")?);
    let content = match call.method.as_str() {
        "DELETE" => None,
        _ => Some(decoded(params.required("content")?, params.text("encoding").as_deref())?),
    };
    let user = state.require_push(call, project, &branch)?;
    let parent = commits::parent(state, call, project, &branch)?;
    let repo = &state.project(project).repo;
    let exists = parent.as_ref().is_some_and(|parent| repo.find(parent.tree, path).is_some());
    match call.method.as_str() {
        "POST" if exists => {
            return Err(Refusal::message(400, "A file with this name already exists"));
        }
        "PUT" | "DELETE" if !exists => {
            return Err(Refusal::message(400, "A file with this name doesn't exist"));
        }
        _ => {}
    }
    let new = NewCommit {
        branch: branch.clone(),
        parent: parent.map(|parent| parent.id),
        message,
        changes: FileChanges::from([(path.to_owned(), content)]),
    };
    state.commit(project, user, &new)?;
    let body = json!({ "file_path": path, "branch": branch });
    let answer = match call.method.as_str() {
        "POST" => Answer::created(body),
        "PUT" => Answer::ok(body),
        _ => Answer::no_content(),
    };
    Ok(answer.wrote(format!("file {branch}:{path}")))
}
