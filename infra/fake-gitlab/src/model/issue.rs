//! Issues.

use jiff::Timestamp;

use super::UserId;

/// Where an issue is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IssueState {
    Opened,
    Closed,
}

impl IssueState {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Closed => "closed",
        }
    }
}

/// An issue.
#[derive(Clone, Debug)]
pub(crate) struct Issue {
    pub(crate) id: u64,
    pub(crate) iid: u64,
    pub(crate) state: IssueState,
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) author: UserId,
    pub(crate) labels: Vec<String>,
    pub(crate) assignees: Vec<UserId>,
    pub(crate) confidential: bool,
    /// The id of the copy in another project.
    pub(crate) moved_to: Option<u64>,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    pub(crate) closed_at: Option<Timestamp>,
}
