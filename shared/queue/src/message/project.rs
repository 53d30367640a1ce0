//! Messages of a project: what happened there is looked up and decided by the scheduler.

use super::{MessageIds, Routing};
use crate::QueueName;
use gantry_domain::{
    EventId, ProjectId, StackId,
    event::{EventSource, Hook},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A message of `events.fifo` that is ordered with the others of its project.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ProjectMessage {
    /// GitLab called, or comparing found what a call would have said.
    Hook {
        /// The delivery.
        event: EventId,
        /// When it was taken in.
        received_at: Timestamp,
        /// Where it came from.
        source: EventSource,
        /// What it says.
        hook: Hook,
    },
    /// Compare what Gantry knows of a project with what GitLab has.
    Compare {
        /// The project.
        project: ProjectId,
        /// What made it necessary.
        cause: String,
    },
    /// A stack was made, edited or deleted.
    StackChanged {
        /// The stack's project.
        project: ProjectId,
        /// The stack.
        stack: StackId,
        /// What made it necessary: the request's id.
        cause: String,
    },
}

impl Routing for ProjectMessage {
    fn queue(&self) -> QueueName {
        QueueName::Events
    }

    fn kind(&self) -> &'static str {
        self.into()
    }

    fn group(&self) -> Option<String> {
        Some(match self {
            Self::Hook { hook, .. } => match hook.project() {
                Some(project) => format!("proj:{project}"),
                None => "proj:none".to_owned(),
            },
            Self::Compare { project, .. } | Self::StackChanged { project, .. } => {
                format!("proj:{project}")
            }
        })
    }

    fn occasion(&self) -> String {
        match self {
            Self::Hook { event, .. } => format!("hook.{event}"),
            Self::Compare { project, cause } => format!("compare.{project}.{cause}"),
            Self::StackChanged { stack, cause, .. } => format!("changed.{stack}.{cause}"),
        }
    }

    fn ids(&self) -> MessageIds<'_> {
        let none = MessageIds::default();
        match self {
            Self::Hook { event, hook, .. } => {
                MessageIds { event: Some(event), project: hook.project(), ..none }
            }
            Self::Compare { project, .. } => MessageIds { project: Some(*project), ..none },
            Self::StackChanged { project, stack, .. } => {
                MessageIds { project: Some(*project), stack: Some(stack), ..none }
            }
        }
    }
}
