//! The repository's tree and its archives.

use serde_json::{Value, json};

use super::answer::{Answer, ApiResult, Body, Refusal};
use super::params::encode;
use super::{Call, paging};
use crate::git::archive;
use crate::git::tree::{Entry, EntryKind};
use crate::model::{ProjectId, State};

pub(crate) fn tree(state: &State, call: &Call, project: ProjectId) -> ApiResult {
    let found = state.require_code(call, project)?;
    let name = call.params.filled("ref").unwrap_or_else(|| found.default_branch().to_owned());
    let path = call.params.filled("path").unwrap_or_default();
    let recursive = call.params.flag("recursive")?.unwrap_or(false);
    let commit = found.resolve(&name).ok_or_else(|| Refusal::not_found("Tree"))?;
    let path = path.trim_matches('/');
    let folder = found.repo.find(commit.tree, path).filter(|entry| entry.kind == EntryKind::Tree);
    let entries = match folder {
        Some(folder) => found.repo.list(&folder, recursive),
        None if state.config.version.at_least(17, 7) => {
            return Err(Refusal::message(404, "404 invalid revision or path Not Found"));
        }
        None => Vec::new(),
    };
    if call.params.text("pagination").as_deref() == Some("keyset") {
        return paging::keyset(call, entries, |entry| page_token(&entry.path), entry_json);
    }
    paging::page(call, entries, entry_json)
}

fn entry_json(entry: Entry) -> Value {
    let kind = match entry.kind {
        EntryKind::Tree => "tree",
        EntryKind::Commit => "commit",
        _ => "blob",
    };
    json!({
        "id": entry.id.to_string(),
        "name": entry.path.rsplit('/').next(),
        "type": kind,
        "path": entry.path,
        "mode": format!("{:06o}", entry.kind as u16),
    })
}

/// Opaque to clients: a digest of where the page ended.
fn page_token(path: &str) -> String {
    use sha2::Digest;
    hex::encode(sha2::Sha256::digest(path.as_bytes()))
}

pub(crate) fn archive(state: &mut State, call: &Call, project: ProjectId) -> ApiResult {
    state.require_code(call, project)?;
    let who = call.caller().map_or(0, u64::from);
    let limit = state.config.limits.archives_per_minute;
    state.take(format!("archive {project} {who}"), limit)?;
    let found = state.project(project);
    let asked = call.params.filled("sha").unwrap_or_else(|| found.default_branch().to_owned());
    let commit = found.resolve(&asked).ok_or_else(|| Refusal::not_found("File"))?;
    let top = format!("{}-{}-{}", found.name(), asked.replace('/', "-"), commit.id);
    let bytes = archive::tar_gz(&found.repo, commit.id, &top)
        .expect("git is there, and the repository is whole");
    let answer = Answer::new(200, Body::Bytes("application/octet-stream", bytes))
        .header("etag", format!("W/\"{}\"", commit.id))
        .header("content-disposition", format!("attachment; filename=\"{}.tar.gz\"", encode(&top)));
    Ok(answer)
}
