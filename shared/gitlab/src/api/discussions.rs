//! Discussions of merge requests: a comment and the replies to it.

use super::Note;
use crate::{Client, Error, absent::Thing, call::Call};
use gantry_domain::{MergeRequestIid, ProjectId};
use http::Method;
use serde::Deserialize;
use serde_json::json;

/// A discussion.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Discussion {
    /// GitLab's id.
    pub id: String,
    /// A comment that nobody has replied to. The first reply makes it a thread, which may have to be
    /// resolved before a merge.
    #[serde(default, deserialize_with = "crate::reading::or_default")]
    pub individual_note: bool,
    /// Its comments, the oldest first.
    #[serde(default, deserialize_with = "crate::reading::or_default")]
    pub notes: Vec<Note>,
}

impl Discussion {
    /// Whether a comment is in it.
    pub fn has(&self, note: u64) -> bool {
        self.notes.iter().any(|found| found.id == note)
    }
}

fn path<'a>(iid: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    [&["merge_requests", iid, "discussions"], rest].concat()
}

impl Client {
    /// A discussion, or none: it goes with its last comment.
    pub async fn discussion(
        &self,
        project: ProjectId,
        iid: MergeRequestIid,
        discussion: &str,
    ) -> Result<Option<Discussion>, Error> {
        let iid = iid.to_string();
        let call = Call::project(Method::GET, project, &path(&iid, &[discussion]));
        self.find(Thing::Discussion.of(project), call).await
    }

    /// The discussion that a comment is in, or none. GitLab's comments do not name it: discussions
    /// are read until one has the comment.
    pub async fn discussion_of(
        &self,
        project: ProjectId,
        iid: MergeRequestIid,
        note: u64,
    ) -> Result<Option<Discussion>, Error> {
        let call = Call::project(Method::GET, project, &path(&iid.to_string(), &[]));
        let has = |discussion: &Discussion| discussion.has(note);
        let mut read = self.list_until(call, usize::MAX, has).await?;
        Ok(read.pop().filter(has))
    }

    /// Writes a comment into a discussion; [`Error::NotFound`] when it is gone. GitLab *executes* lines
    /// that begin with `/` and a quick action's name: `body` must have been made inert.
    pub async fn reply(
        &self,
        project: ProjectId,
        iid: MergeRequestIid,
        discussion: &str,
        body: &str,
    ) -> Result<Note, Error> {
        let iid = iid.to_string();
        let call = Call::project(Method::POST, project, &path(&iid, &[discussion, "notes"]));
        self.write_note(call, body).await
    }

    /// Marks a thread as resolved.
    pub async fn resolve_discussion(
        &self,
        project: ProjectId,
        iid: MergeRequestIid,
        discussion: &str,
    ) -> Result<Discussion, Error> {
        let iid = iid.to_string();
        let call = Call::project(Method::PUT, project, &path(&iid, &[discussion]));
        self.json(call.body(json!({ "resolved": true }))).await
    }
}
