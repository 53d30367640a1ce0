//! Where each message goes, what it is ordered with, and what it is recognised by.

use super::{LaterMessage, Message};
use crate::QueueName;
use gantry_domain::{CommitSha, EventId, ProjectId, RunId, StackId, ids::short_digest};

/// The ids that a message names, to search logs by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the id that it is named for")]
pub struct MessageIds<'a> {
    pub event: Option<&'a EventId>,
    pub project: Option<ProjectId>,
    pub stack: Option<&'a StackId>,
    pub run: Option<&'a RunId>,
    pub commit: Option<&'a CommitSha>,
}

/// What a group of messages knows of its own way.
pub(super) trait Routing {
    /// The queue it belongs to.
    fn queue(&self) -> QueueName;
    /// The message's name.
    fn kind(&self) -> &'static str;
    /// What it is ordered with; none on standard queues.
    fn group(&self) -> Option<String>;
    /// What made it necessary.
    fn occasion(&self) -> String;
    /// The ids it names.
    fn ids(&self) -> MessageIds<'_>;
}

impl Message {
    /// The queue it belongs to.
    pub fn queue(&self) -> QueueName {
        self.part().queue()
    }

    /// The message's name, for logs.
    pub fn kind(&self) -> &'static str {
        self.part().kind()
    }

    /// What it is ordered with; none on standard queues. At most 128 ASCII characters.
    pub fn group(&self) -> Option<String> {
        self.part().group().map(at_most_128)
    }

    /// What made it necessary: a second message with the same id within five minutes is not
    /// delivered. None on standard queues. At most 128 ASCII characters.
    pub fn dedup_id(&self) -> Option<String> {
        self.queue().is_fifo().then(|| at_most_128(self.part().occasion()))
    }

    /// The ids it names.
    pub fn ids(&self) -> MessageIds<'_> {
        self.part().ids()
    }
}

impl Routing for LaterMessage {
    fn queue(&self) -> QueueName {
        QueueName::Later
    }

    fn kind(&self) -> &'static str {
        self.into()
    }

    fn group(&self) -> Option<String> {
        None
    }

    fn occasion(&self) -> String {
        let Self::Resend { message, cause } = self;
        format!("again.{cause}.{}", message.part().occasion())
    }

    fn ids(&self) -> MessageIds<'_> {
        let Self::Resend { message, .. } = self;
        message.ids()
    }
}

/// SQS takes 1 to 128 characters of ASCII letters, digits and punctuation; anything else is
/// replaced by its digest.
pub(crate) fn at_most_128(id: String) -> String {
    if id.len() <= 128 && !id.is_empty() && id.bytes().all(|b| b.is_ascii_graphic()) {
        id
    } else {
        format!("digest.{}", short_digest(&[&id]))
    }
}

pub(super) fn json(interest: &impl serde::Serialize) -> String {
    serde_json::to_string(interest).unwrap_or_default()
}
