//! Commits: do they exist, what are their parents, which branches have them.

use crate::{Client, Download, Error, call::Call, client::missing};
use bytes::Bytes;
use gantry_domain::{CommitSha, ProjectId};
use http::Method;
use serde::Deserialize;

/// A commit.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Commit {
    /// Its full id.
    pub id: CommitSha,
    /// The commits that it follows; a merge has two.
    #[serde(default, deserialize_with = "crate::reading::or_default")]
    pub parent_ids: Vec<CommitSha>,
    /// The first line of its message.
    #[serde(default, deserialize_with = "crate::reading::or_default")]
    pub title: String,
    /// Who wrote it.
    pub author_name: Option<String>,
    /// Its page.
    pub web_url: Option<String>,
}

#[derive(Deserialize)]
struct RefWithCommit {
    #[serde(rename = "type")]
    kind: Option<String>,
    name: String,
}

impl Client {
    /// A commit, or none when the repository does not have it. `sha` may be a branch or tag too.
    pub async fn commit(&self, project: ProjectId, sha: &str) -> Result<Option<Commit>, Error> {
        self.find(Call::project(Method::GET, project, &["repository", "commits", sha])).await
    }

    /// True when `sha` is a parent of `merge`: then a merged-results pipeline's commit is the
    /// merge of `sha` into the target.
    pub async fn is_parent(
        &self,
        project: ProjectId,
        sha: &CommitSha,
        merge: &CommitSha,
    ) -> Result<bool, Error> {
        let merge = self.commit(project, merge.as_str()).await?;
        Ok(merge.is_some_and(|merge| merge.parent_ids.contains(sha)))
    }

    /// True when the commit is in the branch's history.
    pub async fn is_commit_in_branch(
        &self,
        project: ProjectId,
        sha: &CommitSha,
        branch: &str,
    ) -> Result<bool, Error> {
        let call =
            Call::project(Method::GET, project, &["repository", "commits", sha.as_str(), "refs"])
                .query("type", "branch");
        let here = |found: &RefWithCommit| {
            found.name == branch && found.kind.as_deref().is_none_or(|kind| kind == "branch")
        };
        let refs = missing(self.list_until(call, usize::MAX, here).await)?.unwrap_or_default();
        Ok(refs.last().is_some_and(here))
    }

    /// The repository at a commit as `tar.gz`, without submodules. GitLab allows five a minute.
    pub async fn archive(&self, project: ProjectId, sha: &CommitSha) -> Result<Download, Error> {
        let call = Call::project(Method::GET, project, &["repository", "archive.tar.gz"])
            .query("sha", sha);
        self.download(call).await
    }

    /// A file's content at a commit, branch or tag; none when there is none.
    pub async fn file(
        &self,
        project: ProjectId,
        at: &str,
        path: &str,
    ) -> Result<Option<Bytes>, Error> {
        let call = Call::project(Method::GET, project, &["repository", "files", path, "raw"])
            .query("ref", at);
        match missing(self.bytes(call).await)? {
            Some(None) => Err(Error::Refused {
                status: 413,
                message: format!("the file {path} is too large to read"),
            }),
            found => Ok(found.flatten()),
        }
    }
}
