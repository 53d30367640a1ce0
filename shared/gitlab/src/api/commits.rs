//! Commits: do they exist, what are their parents, which branches have them.

use crate::{Client, Download, Error, absent::Thing, call::Call};
use bytes::Bytes;
use gantry_domain::{CommitLine, CommitSha, ProjectId};
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
    /// Its title and author.
    #[serde(flatten, deserialize_with = "line")]
    pub line: CommitLine,
    /// Its page.
    pub web_url: Option<String>,
}

/// A commit's title and author, as GitLab's answers have them.
#[derive(Deserialize)]
pub(crate) struct RawLine {
    #[serde(default, deserialize_with = "crate::reading::or_default")]
    title: String,
    #[serde(default, deserialize_with = "crate::reading::or_default")]
    author_name: String,
}

impl From<RawLine> for CommitLine {
    fn from(raw: RawLine) -> Self {
        Self::new(&raw.title, &raw.author_name)
    }
}

fn line<'de, D: serde::Deserializer<'de>>(from: D) -> Result<CommitLine, D::Error> {
    RawLine::deserialize(from).map(CommitLine::from)
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
        let call = Call::project(Method::GET, project, &["repository", "commits", sha]);
        self.find(Thing::Commit.of(project), call).await
    }

    /// The commits up to `head` that `since` does not have, the newest first, at most `most`; with
    /// `first_parents` without what merges brought in. GitLab lists nothing where it does not have
    /// `since`, as where nothing came.
    pub async fn commits_since(
        &self,
        project: ProjectId,
        since: Option<&CommitSha>,
        head: &CommitSha,
        first_parents: bool,
        most: usize,
    ) -> Result<Vec<Commit>, Error> {
        let commits = match since {
            Some(since) => format!("{since}..{head}"),
            None => head.to_string(),
        };
        let call = Call::project(Method::GET, project, &["repository", "commits"])
            .query("ref_name", commits)
            .query("first_parent", first_parents);
        self.list_until(call, most, |_| false).await
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
        let found = self.branch_of_commit(project, sha, branch).await?;
        Ok(found.is_some_and(|found| found == branch))
    }

    /// A branch of the project that has the commit in its history: `preferred` if that has it; none
    /// when no branch has it, as with a fork's commits, which GitLab shows in the project too.
    pub async fn branch_of_commit(
        &self,
        project: ProjectId,
        sha: &CommitSha,
        preferred: &str,
    ) -> Result<Option<String>, Error> {
        let call =
            Call::project(Method::GET, project, &["repository", "commits", sha.as_str(), "refs"])
                .query("type", "branch");
        let is_branch =
            |found: &RefWithCommit| found.kind.as_deref().is_none_or(|kind| kind == "branch");
        let here = |found: &RefWithCommit| found.name == preferred && is_branch(found);
        let list = |call| self.list_until(call, usize::MAX, here);
        let what = Thing::Commit.of(project);
        let refs = self.unless_absent(what, list(call.clone()), list(call)).await?;
        let mut branches = refs.unwrap_or_default().into_iter().filter(is_branch).map(|r| r.name);
        let first = branches.next();
        Ok(branches.find(|branch| branch == preferred).or(first))
    }

    /// The repository at a commit as `tar.gz`, without submodules; none when the commit is gone.
    /// GitLab allows five a minute.
    pub async fn archive(
        &self,
        project: ProjectId,
        sha: &CommitSha,
    ) -> Result<Option<Download>, Error> {
        let call = Call::project(Method::GET, project, &["repository", "archive.tar.gz"])
            .query("sha", sha);
        let what = Thing::Archive.of(project);
        self.unless_absent(what, self.download(call.clone()), self.download(call)).await
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
        let what = Thing::File.of(project);
        match self.unless_absent(what, self.content(call.clone()), self.content(call)).await? {
            Some(None) => Err(Error::Refused {
                status: 413,
                message: format!("the file {path} is too large to read"),
            }),
            found => Ok(found.flatten()),
        }
    }
}
