//! The repository tree and archives.

use serde_json::{Value, json};

use super::answer::{Answer, ApiResult, Body, Refusal};
use super::params::encode;
use super::{Call, paging};
use crate::git::tree::Listed;
use crate::git::{archive, tree};
use crate::model::{ProjectId, State};

pub(crate) fn route(
    state: &mut State,
    call: &Call,
    project: ProjectId,
    path: &[&str],
) -> Option<ApiResult> {
    match (call.method.as_str(), path) {
        ("GET", ["repository", "tree"]) => Some(list(state, call, project)),
        ("GET" | "HEAD", ["repository", "archive" | "archive.tar.gz"]) => {
            Some(download(state, call, project))
        }
        _ => None,
    }
}

fn entry_json(entry: Listed) -> Value {
    let kind = match entry.mode {
        0o040_000 => "tree",
        0o160_000 => "commit",
        _ => "blob",
    };
    json!({
        "id": entry.id,
        "name": entry.name(),
        "type": kind,
        "path": entry.path,
        "mode": format!("{:06o}", entry.mode),
    })
}

fn list(state: &State, call: &Call, project: ProjectId) -> ApiResult {
    state.require_code(call, project)?;
    let found = state.project(project);
    let name = call.params.filled("ref").unwrap_or_else(|| found.default_branch().to_owned());
    let path = call.params.filled("path").unwrap_or_default();
    let recursive = call.params.flag("recursive")?.unwrap_or(false);
    let commit = found.repo.resolve(&name, found.default_branch());
    let commit = commit.ok_or_else(|| Refusal::not_found("Tree"))?;
    let path = path.trim_matches('/');
    let folder = tree::find(&found.repo.objects, commit.tree, path).filter(|entry| entry.is_tree());
    let entries = match folder {
        Some(folder) => tree::list(&found.repo.objects, folder.id, path, recursive),
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

/// Opaque to clients: a digest of where the page ended.
fn page_token(path: &str) -> String {
    use sha1::Digest;
    hex::encode(sha1::Sha1::digest(path.as_bytes()))
}

fn download(state: &mut State, call: &Call, project: ProjectId) -> ApiResult {
    state.require_code(call, project)?;
    let who = call.auth.user.map_or(0, u64::from);
    let limit = state.config.limits.archives_per_minute;
    state.take(format!("archive {project} {who}"), limit)?;
    let found = state.project(project);
    let asked = call.params.filled("sha").unwrap_or_else(|| found.default_branch().to_owned());
    let commit = found.repo.resolve(&asked, found.default_branch());
    let commit = commit.ok_or_else(|| Refusal::not_found("File"))?;
    let path = call.params.filled("path");
    if let Some(path) = &path {
        let entry = tree::find(&found.repo.objects, commit.tree, path);
        entry.filter(|entry| entry.is_tree()).ok_or_else(|| Refusal::not_found("File"))?;
    }
    let mut top = format!("{}-{}-{}", found.name(), asked.replace('/', "-"), commit.id);
    if let Some(path) = &path {
        top = format!("{top}-{}", path.replace('/', "-"));
    }
    let folder = path.as_deref().map(|path| path.trim_matches('/'));
    let bytes = archive::tar_gz(&found.repo, commit.id, &top, folder)
        .expect("git is there, and the repository is whole");
    let answer = Answer::new(200, Body::Bytes("application/octet-stream", bytes))
        .header("etag", format!("W/\"{}\"", commit.id))
        .header("content-disposition", format!("attachment; filename=\"{}.tar.gz\"", encode(&top)));
    Ok(answer)
}
