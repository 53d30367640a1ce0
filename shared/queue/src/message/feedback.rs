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
    /// Bring the reply to a comment with commands up to date.
    Answer {
        /// The merge request's project.
        project: ProjectId,
        /// The merge request.
        iid: MergeRequestIid,
        /// GitLab's id of the comment.
        note: u64,
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
            Self::Answer { project, iid, note, .. } => format!("answer:{project}:{iid}:{note}"),
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
            ["answer", project, iid, note] => Some(Self::Answer {
                project: ProjectId(project.parse().ok()?),
                iid: MergeRequestIid(iid.parse().ok()?),
                note: note.parse().ok()?,
                want: 0,
            }),
            _ => None,
        }
    }

    /// The number of the counter that made it necessary; none where GitLab is to be looked at whatever
    /// was shown.
    pub fn number(&self) -> Option<i64> {
        let (Self::Status { want, .. }
        | Self::Note { want, .. }
        | Self::Environment { want, .. }
        | Self::Answer { want, .. }) = self;
        i64::try_from(*want).ok().filter(|want| *want > 0)
    }

    /// The same with the number of the counter that made it necessary.
    #[must_use]
    pub fn numbered(mut self, number: i64) -> Self {
        let (Self::Status { want, .. }
        | Self::Note { want, .. }
        | Self::Environment { want, .. }
        | Self::Answer { want, .. }) = &mut self;
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
            Self::Answer { project, iid, note, want } => {
                format!("answer.{project}.{iid}.{note}.{want}")
            }
        }
    }

    fn ids(&self) -> MessageIds<'_> {
        let none = MessageIds::default();
        match self {
            Self::Status { project, commit, .. } => {
                MessageIds { project: Some(*project), commit: Some(commit), ..none }
            }
            Self::Note { project, .. } | Self::Answer { project, .. } => {
                MessageIds { project: Some(*project), ..none }
            }
            Self::Environment { stack, .. } => MessageIds { stack: Some(stack), ..none },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_names_its_message() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let others = ["note:7:12", "env:network", "answer:7:12:345"].map(str::to_owned);
        for target in others.into_iter().chain([format!("status:7:{commit}")]) {
            let message = FeedbackMessage::for_target(&target).unwrap().numbered(3);
            assert_eq!(message.target(), target);
            assert!(message.occasion().ends_with(".3"));
        }
        for other in ["", "status:7", "status:x:1", "note:7:x", "answer:7:12", "stack:network"] {
            assert_eq!(FeedbackMessage::for_target(other), None, "{other}");
        }
    }
}
