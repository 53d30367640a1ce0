//! The queues there are.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, time::Duration};

/// A queue. Each has a dead-letter queue of the same kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueueName {
    /// Everything the scheduler decides about: hooks, triggers, commands, reports.
    Events,
    /// Commits whose archive is to be fetched.
    Source,
    /// What to bring up to date at GitLab.
    Feedback,
    /// Phases to hand to a runner.
    Starts,
    /// Nudges that wait a while before they are sent again.
    Later,
}

impl QueueName {
    /// Every queue.
    pub const ALL: [Self; 5] =
        [Self::Events, Self::Source, Self::Feedback, Self::Starts, Self::Later];

    /// The name, as it ends the real queue's name (`gantry-events.fifo`).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events.fifo",
            Self::Source => "source.fifo",
            Self::Feedback => "feedback.fifo",
            Self::Starts => "starts",
            Self::Later => "later",
        }
    }

    /// The name of its dead-letter queue.
    pub fn dead_letters(self) -> &'static str {
        match self {
            Self::Events => "events-dead.fifo",
            Self::Source => "source-dead.fifo",
            Self::Feedback => "feedback-dead.fifo",
            Self::Starts => "starts-dead",
            Self::Later => "later-dead",
        }
    }

    /// How long the handling of a batch may take: the time of the queue's function on AWS, and as
    /// long on one machine. An archive of a large repository takes minutes to fetch.
    pub fn handling_time(self) -> Duration {
        Duration::from_secs(match self {
            Self::Events | Self::Starts | Self::Later => 30,
            Self::Feedback => 60,
            Self::Source => 900,
        })
    }

    /// First in, first out within a group, with deduplication; the others are standard queues.
    pub fn is_fifo(self) -> bool {
        matches!(self, Self::Events | Self::Source | Self::Feedback)
    }

    /// The queue that an ARN, an address or a real queue's name ends in (`…:gantry-events.fifo`).
    pub fn from_real_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|queue| {
            name.strip_suffix(queue.as_str())
                .is_some_and(|before| before.is_empty() || before.ends_with(['-', ':', '/', '_']))
        })
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no queue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a queue; use events.fifo, source.fifo, feedback.fifo, starts or later")]
pub struct UnknownQueue(String);

impl FromStr for QueueName {
    type Err = UnknownQueue;

    fn from_str(name: &str) -> Result<Self, UnknownQueue> {
        Self::ALL
            .into_iter()
            .find(|queue| queue.as_str() == name)
            .ok_or_else(|| UnknownQueue(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_found_by_the_end_of_its_real_name() {
        for (name, queue) in [
            ("arn:aws:sqs:eu-west-1:123456789012:gantry-events.fifo", Some(QueueName::Events)),
            ("http://127.0.0.1:5000/123456789012/gantry-later", Some(QueueName::Later)),
            ("starts", Some(QueueName::Starts)),
            ("gantry-events-dead.fifo", None),
            ("restarts", None),
        ] {
            assert_eq!(QueueName::from_real_name(name), queue, "{name}");
        }
    }

    #[test]
    fn names_are_read_back() {
        for queue in QueueName::ALL {
            assert_eq!(queue.as_str().parse(), Ok(queue));
            assert_eq!(queue.is_fifo(), queue.as_str().ends_with(".fifo"));
            assert_eq!(queue.is_fifo(), queue.dead_letters().ends_with(".fifo"));
        }
    }
}
