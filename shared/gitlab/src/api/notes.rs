//! Comments on merge requests.

use crate::{Client, Error, absent::Thing, call::Call};
use gantry_domain::{MergeRequestIid, ProjectId, UserId};
use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

/// A comment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Note {
    /// GitLab's id.
    pub id: u64,
    /// The text as it was written, HTML comments included.
    #[serde(default, deserialize_with = "crate::reading::or_default")]
    pub body: String,
    /// Who wrote it; none when the user is gone.
    pub author: Option<Author>,
    /// True for GitLab's own remarks ("added 2 commits").
    #[serde(default, deserialize_with = "crate::reading::or_default")]
    pub system: bool,
    /// Only members from Reporter on read it.
    #[serde(default, deserialize_with = "crate::reading::or_default")]
    pub internal: bool,
    /// When it was written.
    #[serde(default, deserialize_with = "crate::reading::time")]
    pub created_at: Option<Timestamp>,
    /// When it was edited, awarded or resolved last: GitLab does not tell these apart.
    #[serde(default, deserialize_with = "crate::reading::time")]
    pub updated_at: Option<Timestamp>,
}

/// A user, such as the one who wrote a comment or opened a merge request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Author {
    /// GitLab's id.
    pub id: UserId,
    /// The user name, without `@`.
    #[serde(default)]
    pub username: String,
}

/// An emoji that somebody gave a comment.
#[derive(Deserialize)]
struct Award {
    #[serde(rename = "id")]
    _id: u64,
}

#[derive(Deserialize)]
struct MaybeNote {
    id: Option<u64>,
    body: Option<String>,
    author: Option<Author>,
}

fn path<'a>(iid: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    [&["merge_requests", iid, "notes"], rest].concat()
}

impl Client {
    /// Every comment of a merge request, the oldest first.
    pub async fn notes(
        &self,
        project: ProjectId,
        iid: MergeRequestIid,
    ) -> Result<Vec<Note>, Error> {
        self.notes_until(project, iid, |_| false).await
    }

    /// The oldest comment that `is_it` takes, reading no further than needed.
    pub async fn find_note(
        &self,
        project: ProjectId,
        iid: MergeRequestIid,
        is_it: impl Fn(&Note) -> bool,
    ) -> Result<Option<Note>, Error> {
        let mut read = self.notes_until(project, iid, &is_it).await?;
        Ok(read.pop().filter(is_it))
    }

    async fn notes_until(
        &self,
        project: ProjectId,
        iid: MergeRequestIid,
        is_last: impl Fn(&Note) -> bool,
    ) -> Result<Vec<Note>, Error> {
        let call = Call::project(Method::GET, project, &path(&iid.to_string(), &[]))
            .query("order_by", "created_at")
            .query("sort", "asc");
        self.list_until(call, usize::MAX, is_last).await
    }

    /// A comment, or none.
    pub async fn note(
        &self,
        project: ProjectId,
        iid: MergeRequestIid,
        note: u64,
    ) -> Result<Option<Note>, Error> {
        let (iid, note) = (iid.to_string(), note.to_string());
        let call = Call::project(Method::GET, project, &path(&iid, &[&note]));
        self.find(Thing::Note.of(project), call).await
    }

    /// The comments of a merge request that were written then or later, the newest first, reading no
    /// further than needed.
    pub async fn notes_since(
        &self,
        project: ProjectId,
        iid: MergeRequestIid,
        since: Timestamp,
    ) -> Result<Vec<Note>, Error> {
        let is_before = |note: &Note| note.created_at.is_some_and(|at| at < since);
        let call = Call::project(Method::GET, project, &path(&iid.to_string(), &[]))
            .query("order_by", "created_at")
            .query("sort", "desc");
        let mut notes = self.list_until(call, usize::MAX, is_before).await?;
        notes.retain(|note| !is_before(note));
        Ok(notes)
    }

    /// Gives a comment an emoji. One that the user has given before is no error, and neither is a
    /// comment that is gone.
    pub async fn award(
        &self,
        project: ProjectId,
        iid: MergeRequestIid,
        note: u64,
        emoji: &str,
    ) -> Result<(), Error> {
        let (iid, note) = (iid.to_string(), note.to_string());
        let call = Call::project(Method::POST, project, &path(&iid, &[&note, "award_emoji"]));
        // "404 Award Emoji Name has already been taken Not Found"
        match self.json::<Award>(call.body(json!({ "name": emoji }))).await {
            Ok(_) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Writes a comment. GitLab *executes* lines that begin with `/` and a quick action's name:
    /// `body` must have been made inert.
    pub async fn create_note(
        &self,
        project: ProjectId,
        iid: MergeRequestIid,
        body: &str,
    ) -> Result<Note, Error> {
        let call = Call::project(Method::POST, project, &path(&iid.to_string(), &[]));
        self.write_note(call, body).await
    }

    /// Replaces a comment's text; [`Error::NotFound`] when it was deleted. Of a text that is
    /// nothing but quick actions GitLab *deletes* the comment: `body` must have been made inert.
    pub async fn update_note(
        &self,
        project: ProjectId,
        iid: MergeRequestIid,
        note: u64,
        body: &str,
    ) -> Result<Note, Error> {
        let (iid, note) = (iid.to_string(), note.to_string());
        let call = Call::project(Method::PUT, project, &path(&iid, &[&note]));
        self.write_note(call, body).await
    }

    pub(super) async fn write_note(&self, call: Call, body: &str) -> Result<Note, Error> {
        let written: MaybeNote = self.json(call.body(json!({ "body": body }))).await?;
        let MaybeNote { id, body, author } = written;
        match id {
            Some(id) => Ok(Note { id, body: body.unwrap_or_default(), author, ..Note::default() }),
            None => Err(Error::Refused {
                status: 202,
                message: "GitLab interpreted the comment as commands and did not keep it"
                    .to_owned(),
            }),
        }
    }
}
