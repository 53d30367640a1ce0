//! Branches and tags.

use crate::{Client, Error, call::Call};
use gantry_domain::{CommitSha, ProjectId};
use http::Method;
use serde::Deserialize;

/// A branch as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "RawBranch")]
pub struct Branch {
    /// The bare name.
    pub name: String,
    /// Its head.
    pub sha: CommitSha,
    /// Covered by a protection rule.
    pub protected: bool,
    /// Whether the token's user may push; where false, and merging is not allowed either, GitLab
    /// refuses statuses.
    pub can_push: Option<bool>,
    /// The project's default branch.
    pub default: bool,
}

/// A tag as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// The bare name.
    pub name: String,
    /// The commit; for an annotated tag not the tag object.
    pub sha: CommitSha,
    /// Covered by a protection rule.
    pub protected: bool,
}

#[derive(Deserialize)]
struct RawBranch {
    name: String,
    commit: RawCommit,
    #[serde(default, deserialize_with = "crate::reading::or_default")]
    protected: bool,
    can_push: Option<bool>,
    #[serde(default, deserialize_with = "crate::reading::or_default")]
    default: bool,
}

#[derive(Deserialize)]
struct RawTag {
    name: String,
    commit: Option<RawCommit>,
    #[serde(default, deserialize_with = "crate::reading::or_default")]
    protected: bool,
}

#[derive(Deserialize)]
struct RawCommit {
    id: CommitSha,
}

impl From<RawBranch> for Branch {
    fn from(raw: RawBranch) -> Self {
        let RawBranch { name, commit, protected, can_push, default } = raw;
        Self { name, sha: commit.id, protected, can_push, default }
    }
}

impl RawTag {
    /// None for a tag of something else than a commit, which Git allows.
    fn of_commit(self) -> Option<Tag> {
        Some(Tag { name: self.name, sha: self.commit?.id, protected: self.protected })
    }
}

impl Client {
    /// A branch, or none when the project has none of that name.
    pub async fn branch(&self, project: ProjectId, name: &str) -> Result<Option<Branch>, Error> {
        self.find(Call::project(Method::GET, project, &["repository", "branches", name])).await
    }

    /// Branches whose name has `search`, at most `limit`.
    pub async fn branches(
        &self,
        project: ProjectId,
        search: &str,
        limit: usize,
    ) -> Result<Vec<Branch>, Error> {
        let call = Call::project(Method::GET, project, &["repository", "branches"])
            .maybe("search", Some(search).filter(|text| !text.is_empty()));
        self.list_until(call, limit, |_| false).await
    }

    /// A tag, or none when the project has none of that name.
    pub async fn tag(&self, project: ProjectId, name: &str) -> Result<Option<Tag>, Error> {
        let call = Call::project(Method::GET, project, &["repository", "tags", name]);
        Ok(self.find::<RawTag>(call).await?.and_then(RawTag::of_commit))
    }

    /// The project's tags, the newest first, at most `limit`.
    pub async fn tags(
        &self,
        project: ProjectId,
        search: &str,
        limit: usize,
    ) -> Result<Vec<Tag>, Error> {
        let call = Call::project(Method::GET, project, &["repository", "tags"])
            .query("order_by", "updated")
            .query("sort", "desc")
            .maybe("search", Some(search).filter(|text| !text.is_empty()));
        let tags: Vec<RawTag> = self.list_until(call, limit, |_| false).await?;
        Ok(tags.into_iter().filter_map(RawTag::of_commit).collect())
    }
}
