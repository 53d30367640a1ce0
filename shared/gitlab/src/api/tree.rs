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
    #[serde(rename = "type", default)]
    kind: String,
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
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        if name.is_empty() {
            return Ok(Some(sha.to_string()));
        }
        let here = |entry: &Entry| entry.name == name;
        let last = self.folder(project, sha, parent, here).await?.and_then(|mut all| all.pop());
        if let Some(found) = last.filter(here) {
            return Ok(Some(found.id));
        }
        match self.commit(project, sha.as_str()).await? {
            Some(_) => Ok(None),
            None => Err(Error::NotFound { message: format!("commit {sha}") }),
        }
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

    /// What lies directly in a folder, up to and with the first that `is_last`.
    async fn folder(
        &self,
        project: ProjectId,
        sha: &CommitSha,
        path: &str,
        is_last: impl Fn(&Entry) -> bool,
    ) -> Result<Option<Vec<Entry>>, Error> {
        let call = Call::project(Method::GET, project, &["repository", "tree"])
            .query("ref", sha)
            .maybe("path", Some(path).filter(|path| !path.is_empty()));
        let list = |call| self.list_until(call, usize::MAX, &is_last);
        let what = Thing::Folder.of(project);
        self.unless_absent(what, list(call.clone()), list(call)).await
    }
}
