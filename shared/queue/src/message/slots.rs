//! Messages about the slots for runners, and of the timer.

use super::{MessageIds, Routing};
use crate::QueueName;
use serde::{Deserialize, Serialize};

/// A message of `events.fifo` that concerns the installation as a whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum SlotsMessage {
    /// A run entered the queue or a slot became free.
    Dispatch {
        /// What made it necessary.
        cause: String,
    },
    /// The timer: find what was lost.
    Sweep {
        /// The tick.
        cause: String,
    },
}

impl Routing for SlotsMessage {
    fn queue(&self) -> QueueName {
        QueueName::Events
    }

    fn kind(&self) -> &'static str {
        self.into()
    }

    fn group(&self) -> Option<String> {
        let group = match self {
            Self::Dispatch { .. } => "room",
            Self::Sweep { .. } => "sweep",
        };
        Some(group.to_owned())
    }

    fn occasion(&self) -> String {
        let (Self::Dispatch { cause } | Self::Sweep { cause }) = self;
        format!("{}.{cause}", self.kind())
    }

    fn ids(&self) -> MessageIds<'_> {
        MessageIds::default()
    }
}
