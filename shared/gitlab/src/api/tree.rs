//! Trees: whether a folder is the same at two commits, when the list of changes was cut, and which
//! files it has.

use crate::{Client, Error, absent::Thing, call::Call};
use gantry_domain::{CommitSha, ProjectId};
use http::Method;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Entry {
    id: String,
    name: String,
    #[serde(default)]
    path: String,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    mode: String,
}

/// What a path is in a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TreeKind {
    /// A folder.
    Folder,
    /// A file.
    File,
    /// A symbolic link, whatever it leads to.
    Link,
    /// A submodule: another repository's commit.
    Submodule,
}

impl Entry {
    fn kind(&self) -> TreeKind {
        match (self.kind.as_str(), self.mode.as_str()) {
            ("tree", _) => TreeKind::Folder,
            ("commit", _) => TreeKind::Submodule,
            (_, "120000") => TreeKind::Link,
            _ => TreeKind::File,
        }
    }
}

impl Client {
    /// The id of the folder (or file) at `path` in a commit; none when the commit has none.
    /// Equal ids mean equal content. GitLab tells no id for the root, so the commit's id stands
    /// for it: equal only for the same commit. An unknown commit is an error, never "no folder".
    pub async fn tree_id(
        &self,
        project: ProjectId,
        sha: &CommitSha,
        path: &str,
    ) -> Result<Option<String>, Error> {
        let path = path.trim_matches('/');
        if path.is_empty() {
            return Ok(Some(sha.to_string()));
        }
        if let Some(found) = self.entry(project, sha, path).await? {
            return Ok(Some(found.id));
        }
        match self.commit(project, sha.as_str()).await? {
            Some(_) => Ok(None),
            None => Err(Error::NotFound { message: format!("commit {sha}") }),
        }
    }

    /// What is at `path` in a commit; none when the commit is not there, or has nothing there.
    pub async fn tree_kind(
        &self,
        project: ProjectId,
        sha: &CommitSha,
        path: &str,
    ) -> Result<Option<TreeKind>, Error> {
        Ok(self.entry(project, sha, path).await?.map(|entry| entry.kind()))
    }

    /// Whether one of the files, links and submodules below a folder is the one that is looked
    /// for, by its path in the repository. None when there are more than `most`, and it is none of
    /// these.
    pub async fn has_file(
        &self,
        project: ProjectId,
        sha: &CommitSha,
        folder: &str,
        most: usize,
        is_it: impl Fn(&str) -> bool,
    ) -> Result<Option<bool>, Error> {
        let call = tree(project, sha, folder).query("recursive", true);
        let is_file = |entry: &Entry| entry.kind() != TreeKind::Folder && is_it(&entry.path);
        let list = |call| self.list_until(call, most, &is_file);
        let what = Thing::Folder.of(project);
        let found = self.unless_absent(what, list(call.clone()), list(call)).await?;
        let found = found.unwrap_or_default();
        Ok(match found.last() {
            Some(last) if is_file(last) => Some(true),
            _ if found.len() >= most => None,
            _ => Some(false),
        })
    }

    /// What lies directly in the folder `path`, empty for the repository itself, in a commit: ids
    /// by name; equal ids mean equal content. None when the commit, or the folder in it, is not
    /// there.
    pub async fn entries(
        &self,
        project: ProjectId,
        sha: &CommitSha,
        path: &str,
    ) -> Result<Option<BTreeMap<String, String>>, Error> {
        let entries = self.folder(project, sha, path, |_| false).await?;
        Ok(entries.map(|entries| entries.into_iter().map(|e| (e.name, e.id)).collect()))
    }

    /// The names of the files that lie directly in the folder `path`, empty for the repository
    /// itself, in a commit.
    pub async fn files_in(
        &self,
        project: ProjectId,
        sha: &CommitSha,
        path: &str,
    ) -> Result<Vec<String>, Error> {
        let entries = self.folder(project, sha, path, |_| false).await?.unwrap_or_default();
        Ok(entries.into_iter().filter(|entry| entry.kind == "blob").map(|e| e.name).collect())
    }

    /// The names of the folders that lie directly in the folder `path`, empty for the repository
    /// itself, in a commit. GitLab lists folders first: of a very large one these are not all.
    pub async fn folders_in(
        &self,
        project: ProjectId,
        sha: &CommitSha,
        path: &str,
    ) -> Result<Vec<String>, Error> {
        // Somebody is typing, and each pause asks.
        let entries = self.folder(project, sha, path, |entry| entry.kind() != TreeKind::Folder);
        let entries = entries.await?.unwrap_or_default();
        let is_folder = |entry: &Entry| entry.kind() == TreeKind::Folder;
        Ok(entries.into_iter().filter(is_folder).map(|entry| entry.name).collect())
    }

    /// What lies directly in a folder, up to and with the first that `is_last`.
    async fn folder(
        &self,
        project: ProjectId,
        sha: &CommitSha,
        path: &str,
        is_last: impl Fn(&Entry) -> bool,
    ) -> Result<Option<Vec<Entry>>, Error> {
        let call = tree(project, sha, path);
        let list = |call| self.list_until(call, usize::MAX, &is_last);
        let what = Thing::Folder.of(project);
        self.unless_absent(what, list(call.clone()), list(call)).await
    }

    async fn entry(
        &self,
        project: ProjectId,
        sha: &CommitSha,
        path: &str,
    ) -> Result<Option<Entry>, Error> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let here = |entry: &Entry| entry.name == name;
        let all = self.folder(project, sha, parent, here).await?;
        Ok(all.and_then(|mut all| all.pop()).filter(here))
    }
}

fn tree(project: ProjectId, sha: &CommitSha, path: &str) -> Call {
    Call::project(Method::GET, project, &["repository", "tree"])
        .query("ref", sha)
        .maybe("path", Some(path).filter(|path| !path.is_empty()))
}
