//! Branches and tags.

use crate::{Client, Error, absent::Thing, api::commits::RawLine, call::Call, client::PAGE};
use gantry_domain::{CommitLine, CommitSha, ProjectId};
use http::Method;
use jiff::Timestamp;
use serde::Deserialize;

/// A branch as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "RawBranch")]
pub struct Branch {
    /// The bare name.
    pub name: String,
    /// Its head.
    pub sha: CommitSha,
    /// Its head's title and author.
    pub line: CommitLine,
    /// Covered by a protection rule.
    pub protected: bool,
    /// Whether the token's user may push; where false, and merging is not allowed either, GitLab
    /// refuses statuses.
    pub can_push: Option<bool>,
    /// The project's default branch.
    pub default: bool,
    /// When its head was made, by the committer's clock.
    pub committed_at: Option<Timestamp>,
    /// Its page.
    pub web_url: Option<String>,
}

/// A tag as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// The bare name.
    pub name: String,
    /// The commit; for an annotated tag not the tag object.
    pub sha: CommitSha,
    /// The commit's title and author.
    pub line: CommitLine,
    /// Covered by a protection rule.
    pub protected: bool,
    /// When the commit was made, by its committer's clock.
    pub committed_at: Option<Timestamp>,
}

/// In which order tags are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagOrder {
    /// By name: a page is where it was when the next one is read.
    Name,
    /// The newest first: of an annotated tag its own date counts, of others their commit's.
    Newest,
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
    web_url: Option<String>,
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
    #[serde(default, deserialize_with = "crate::reading::time")]
    committed_date: Option<Timestamp>,
    #[serde(flatten)]
    line: RawLine,
}

impl From<RawBranch> for Branch {
    fn from(raw: RawBranch) -> Self {
        let RawBranch { name, commit, protected, can_push, default, web_url } = raw;
        let RawCommit { id, committed_date: committed_at, line } = commit;
        let line = line.into();
        Self { name, sha: id, line, protected, can_push, default, committed_at, web_url }
    }
}

impl RawTag {
    /// None for a tag of something else than a commit, which Git allows.
    fn of_commit(self) -> Option<Tag> {
        let RawCommit { id, committed_date: committed_at, line } = self.commit?;
        let Self { name, protected, .. } = self;
        Some(Tag { name, sha: id, line: line.into(), protected, committed_at })
    }
}

impl Client {
    /// A branch, or none when the project has none of that name.
    pub async fn branch(&self, project: ProjectId, name: &str) -> Result<Option<Branch>, Error> {
        let call = Call::project(Method::GET, project, &["repository", "branches", name]);
        self.find(Thing::Branch.named(project, name), call).await
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

    /// A page of the project's branches, counted from 1, those with the newest commits first, and
    /// whether more follow. Servers that do not know the order give them by name.
    pub async fn newest_branches(
        &self,
        project: ProjectId,
        page: u32,
    ) -> Result<(Vec<Branch>, bool), Error> {
        let mut call = Call::project(Method::GET, project, &["repository", "branches"])
            .query("sort", "updated_desc")
            .query("per_page", PAGE)
            .query("page", page);
        self.list_page(&mut call, page.into()).await
    }

    /// A tag, or none when the project has none of that name.
    pub async fn tag(&self, project: ProjectId, name: &str) -> Result<Option<Tag>, Error> {
        let call = Call::project(Method::GET, project, &["repository", "tags", name]);
        let found = self.find::<RawTag>(Thing::Tag.named(project, name), call).await?;
        Ok(found.and_then(RawTag::of_commit))
    }

    /// A page of the project's tags, counted from 1, and whether more follow.
    pub async fn tags(
        &self,
        project: ProjectId,
        order: TagOrder,
        page: u32,
    ) -> Result<(Vec<Tag>, bool), Error> {
        let (order, sort) = match order {
            TagOrder::Name => ("name", "asc"),
            TagOrder::Newest => ("updated", "desc"),
        };
        let mut call = Call::project(Method::GET, project, &["repository", "tags"])
            .query("order_by", order)
            .query("sort", sort)
            .query("per_page", PAGE)
            .query("page", page);
        let (tags, more) = self.list_page::<RawTag>(&mut call, page.into()).await?;
        Ok((tags.into_iter().filter_map(RawTag::of_commit).collect(), more))
    }
}
