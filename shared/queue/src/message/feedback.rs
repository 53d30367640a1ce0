//! Messages about what GitLab shows.

use super::{MessageIds, Routing};
use crate::QueueName;
use gantry_domain::{CommitSha, MergeRequestIid, ProjectId, StackId};
use serde::{Deserialize, Serialize};

/// A message of `feedback.fifo`. Its group names what to bring up to date.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum FeedbackMessage {
    /// Bring a commit's statuses and gate up to date.
    Status {
        /// The project.
        project: ProjectId,
        /// The commit.
        commit: CommitSha,
        /// The record's counter when this was sent.
        want: u64,
    },
    /// Bring a merge request's note up to date.
    Note {
        /// The target project.
        project: ProjectId,
        /// The merge request.
        iid: MergeRequestIid,
        /// The record's counter when this was sent.
        want: u64,
    },
    /// Bring a stack's environment and deployments up to date.
    Environment {
        /// The stack.
        stack: StackId,
        /// The record's counter when this was sent.
        want: u64,
    },
    /// Bring the issue of a stack's drift up to date.
    Issue {
        /// The stack.
        stack: StackId,
        /// The record's counter when this was sent.
        want: u64,
    },
}

impl FeedbackMessage {
    /// What to bring up to date: the group, and the key of its counters.
    pub fn target(&self) -> String {
        match self {
            Self::Status { project, commit, .. } => format!("status:{project}:{commit}"),
            Self::Note { project, iid, .. } => format!("note:{project}:{iid}"),
            Self::Environment { stack, .. } => format!("env:{stack}"),
            Self::Issue { stack, .. } => format!("issue:{stack}"),
        }
    }

    /// The message for a target, with no number yet; none for what is no target.
    pub fn for_target(target: &str) -> Option<Self> {
        match target.split(':').collect::<Vec<_>>().as_slice() {
            ["status", project, commit] => Some(Self::Status {
                project: ProjectId(project.parse().ok()?),
                commit: commit.parse().ok()?,
                want: 0,
            }),
            ["note", project, iid] => Some(Self::Note {
                project: ProjectId(project.parse().ok()?),
                iid: MergeRequestIid(iid.parse().ok()?),
                want: 0,
            }),
            ["env", stack] => Some(Self::Environment { stack: stack.parse().ok()?, want: 0 }),
            ["issue", stack] => Some(Self::Issue { stack: stack.parse().ok()?, want: 0 }),
            _ => None,
        }
    }

    /// The number of the counter that made it necessary; none where GitLab is to be looked at whatever
    /// was shown.
    pub fn number(&self) -> Option<i64> {
        let (Self::Status { want, .. }
        | Self::Note { want, .. }
        | Self::Environment { want, .. }
        | Self::Issue { want, .. }) = self;
        i64::try_from(*want).ok().filter(|want| *want > 0)
    }

    /// The same with the number of the counter that made it necessary.
    #[must_use]
    pub fn numbered(mut self, number: i64) -> Self {
        let (Self::Status { want, .. }
        | Self::Note { want, .. }
        | Self::Environment { want, .. }
        | Self::Issue { want, .. }) = &mut self;
        *want = number.unsigned_abs();
        self
    }
}

impl Routing for FeedbackMessage {
    fn queue(&self) -> QueueName {
        QueueName::Feedback
    }

    fn kind(&self) -> &'static str {
        self.into()
    }

    fn group(&self) -> Option<String> {
        Some(self.target())
    }

    fn occasion(&self) -> String {
        match self {
            Self::Status { project, commit, want } => format!("status.{project}.{commit}.{want}"),
            Self::Note { project, iid, want } => format!("note.{project}.{iid}.{want}"),
            Self::Environment { stack, want } => format!("env.{stack}.{want}"),
            Self::Issue { stack, want } => format!("issue.{stack}.{want}"),
        }
    }

    fn ids(&self) -> MessageIds<'_> {
        let none = MessageIds::default();
        match self {
            Self::Status { project, commit, .. } => {
                MessageIds { project: Some(*project), commit: Some(commit), ..none }
            }
            Self::Note { project, .. } => MessageIds { project: Some(*project), ..none },
            Self::Environment { stack, .. } | Self::Issue { stack, .. } => {
                MessageIds { stack: Some(stack), ..none }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_names_its_message() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let of_stack = ["note:7:12", "env:network", "issue:network"].map(str::to_owned);
        for target in of_stack.into_iter().chain([format!("status:7:{commit}")]) {
            let message = FeedbackMessage::for_target(&target).unwrap().numbered(3);
            assert_eq!(message.target(), target);
            assert!(message.occasion().ends_with(".3"));
        }
        for other in ["", "status:7", "status:x:1", "note:7:x", "stack:network"] {
            assert_eq!(FeedbackMessage::for_target(other), None, "{other}");
        }
    }
}
