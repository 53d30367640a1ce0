//! Issues of a project.

use crate::{Client, Error, absent::Thing, api::notes::Author, call::Call};
use gantry_domain::{ProjectId, UserId};
use http::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// An issue.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Issue {
    /// Its number in the project.
    pub iid: u64,
    /// `opened` or `closed`.
    #[serde(default)]
    pub state: String,
    /// Its title.
    #[serde(default, deserialize_with = "crate::reading::or_default")]
    pub title: String,
    /// The text as it was written, HTML comments included.
    #[serde(default, deserialize_with = "crate::reading::or_default")]
    pub description: String,
    /// The names of its labels.
    #[serde(default, deserialize_with = "crate::reading::or_default")]
    pub labels: Vec<String>,
    /// Who opened it; none when the user is gone.
    pub author: Option<Author>,
    /// Only members of the project see it.
    #[serde(default, deserialize_with = "crate::reading::or_default")]
    pub confidential: bool,
    /// The issue of another project that it became, which only an administrator finds by this id.
    pub moved_to_id: Option<u64>,
    /// Its page.
    pub web_url: Option<String>,
}

impl Issue {
    /// Somebody may still work on it.
    pub fn is_open(&self) -> bool {
        self.state == "opened"
    }

    /// It goes on in another project.
    pub fn is_moved(&self) -> bool {
        self.moved_to_id.is_some()
    }
}

/// An issue to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewIssue {
    /// The title.
    pub title: String,
    /// The text. GitLab *executes* lines that begin with `/` and a quick action's name: it must have
    /// been made inert.
    pub description: String,
    /// Labels; GitLab makes those that are missing.
    pub labels: Vec<String>,
    /// Whom it is assigned to. Without a paid plan GitLab takes the first.
    pub assignees: Vec<UserId>,
    /// Only members of the project see it.
    pub confidential: bool,
}

/// What becomes another of an issue; what is none stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IssueEdit {
    /// The text, with the same caution as that of a new one.
    pub description: Option<String>,
    /// All of its labels.
    pub labels: Option<Vec<String>>,
    /// Whom it is assigned to.
    pub assignees: Option<Vec<UserId>>,
    /// Only members of the project see it.
    pub confidential: Option<bool>,
    /// It is open, or closed.
    pub is_open: Option<bool>,
}

impl IssueEdit {
    /// Nothing becomes another.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn body(&self) -> Value {
        let mut body = Map::new();
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                body.insert(name.to_owned(), value);
            }
        };
        set("description", self.description.as_ref().map(|text| json!(text)));
        set("labels", self.labels.as_ref().map(|labels| json!(labels.join(","))));
        set("assignee_ids", self.assignees.as_ref().map(|ids| json!(ids)));
        set("confidential", self.confidential.map(|is_so| json!(is_so)));
        let event = |is_open| json!(if is_open { "reopen" } else { "close" });
        set("state_event", self.is_open.map(event));
        Value::Object(body)
    }
}

impl Client {
    /// An issue, or none when somebody deleted it.
    pub async fn issue(&self, project: ProjectId, iid: u64) -> Result<Option<Issue>, Error> {
        let call = Call::project(Method::GET, project, &["issues", &iid.to_string()]);
        self.find(Thing::Issue.of(project), call).await
    }

    /// Opens an issue.
    pub async fn create_issue(&self, project: ProjectId, issue: &NewIssue) -> Result<Issue, Error> {
        let mut body = json!({ "title": issue.title, "description": issue.description });
        if !issue.labels.is_empty() {
            body["labels"] = json!(issue.labels.join(","));
        }
        if !issue.assignees.is_empty() {
            body["assignee_ids"] = json!(issue.assignees);
        }
        if issue.confidential {
            body["confidential"] = json!(true);
        }
        self.json(Call::project(Method::POST, project, &["issues"]).body(body)).await
    }

    /// Changes an issue; [`Error::NotFound`] when it was deleted.
    pub async fn edit_issue(
        &self,
        project: ProjectId,
        iid: u64,
        edit: &IssueEdit,
    ) -> Result<Issue, Error> {
        let call = Call::project(Method::PUT, project, &["issues", &iid.to_string()]);
        self.json(call.body(edit.body())).await
    }

    /// The newest issue that the user opened in the project, and that `is_it` takes. GitLab's own
    /// search is not asked: it finds words, and no comment of HTML.
    pub async fn issues_by(
        &self,
        project: ProjectId,
        author: UserId,
        is_it: impl Fn(&Issue) -> bool,
    ) -> Result<Option<Issue>, Error> {
        let call = Call::project(Method::GET, project, &["issues"])
            .query("author_id", author)
            .query("state", "all")
            .query("order_by", "created_at")
            .query("sort", "desc");
        let mut read = self.list_until(call, usize::MAX, &is_it).await?;
        Ok(read.pop().filter(is_it))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_becomes_another_is_sent() {
        assert_eq!(IssueEdit::default().body(), json!({}));
        assert!(IssueEdit::default().is_empty());
        let edit = IssueEdit {
            description: Some("text".to_owned()),
            labels: Some(vec!["drift".to_owned(), "eu".to_owned()]),
            assignees: Some(vec![UserId(7)]),
            confidential: Some(true),
            is_open: Some(false),
        };
        assert_eq!(
            edit.body(),
            json!({
                "description": "text",
                "labels": "drift,eu",
                "assignee_ids": [7],
                "confidential": true,
                "state_event": "close",
            })
        );
        let opened = IssueEdit { is_open: Some(true), ..IssueEdit::default() };
        assert_eq!(opened.body(), json!({ "state_event": "reopen" }));
    }
}
