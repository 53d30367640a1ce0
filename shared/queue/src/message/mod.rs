//! What travels through the queues.
//!
//! Messages are nudges: they carry ids, and the handler reads what is true now. Each knows its
//! own queue, group and deduplication id, so that no sender can get them wrong.
//!
//! A body is an [`Envelope`] in JSON. Readers ignore fields they do not know, and new fields get
//! a default, so that a rolling deployment never meets a message that it cannot read; what that
//! cannot express raises [`VERSION`], and the reader of version N also reads N−1. The files in
//! `golden/` are bodies as earlier builds wrote them.
//!
//! There is one enum for each group of messages, so that a function names those alone that it
//! sends or takes.

mod feedback;
mod parts;
mod project;
mod routing;
mod slots;
mod source;
mod stack;
mod start;

pub use feedback::FeedbackMessage;
pub use parts::{ClaimToken, Command, NotStarted};
pub use project::ProjectMessage;
pub use routing::MessageIds;
pub use slots::SlotsMessage;
pub use source::SourceMessage;
pub use stack::StackMessage;
pub use start::StartMessage;

pub(crate) use routing::at_most_128;
use routing::{Routing, json};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The version that this code writes.
pub const VERSION: u32 = 1;

/// A message with what every message has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope<M = Message> {
    /// The version of the message's form.
    pub v: u32,
    /// How many messages led to this one.
    #[serde(default)]
    pub hops: u32,
    /// When it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
    /// The message.
    pub message: M,
}

/// A body that is no message. The text names the place, never the content.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// It is not JSON, or not of a known form.
    #[error("the message cannot be read: {0}")]
    Malformed(String),
    /// It was written by a build that is newer, or older than the last one.
    #[error("the message has version {0}, this build reads {VERSION}")]
    Version(u32),
}

impl Envelope {
    /// The body as it is sent.
    pub fn to_body(&self) -> String {
        // Serializing can only fail for maps without string keys, and there is no map in here.
        let json = serde_json::to_string(self).unwrap_or_default();
        // All that a text in JSON can hold as it is and a queue does not take.
        json.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff")
    }

    /// Reads a body of this version or the one before.
    pub fn from_body(body: &str) -> Result<Self, ParseError> {
        #[derive(Deserialize)]
        struct Version {
            v: u32,
        }
        let malformed = |error: serde_json::Error| {
            // Its own text may quote the body.
            ParseError::Malformed(format!(
                "{:?} error at column {}",
                error.classify(),
                error.column()
            ))
        };
        let Version { v } = serde_json::from_str(body).map_err(malformed)?;
        match v {
            VERSION => serde_json::from_str(body).map_err(malformed),
            other => Err(ParseError::Version(other)),
        }
    }
}

/// Every message of every queue.
///
/// `cause` fields name what made the message necessary (`<run>.<state>`, a tick of the timer):
/// the same cause twice within five minutes is one message, a new cause is a new message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Message {
    /// For the scheduler, about a project.
    Project(ProjectMessage),
    /// For the scheduler, about a stack or one of its runs.
    Stack(StackMessage),
    /// For the scheduler, about slots and time.
    Slots(SlotsMessage),
    /// For `source`.
    Source(SourceMessage),
    /// For the publisher.
    Feedback(FeedbackMessage),
    /// For who starts runners.
    Start(StartMessage),
    /// For `later`.
    Later(LaterMessage),
}

/// A message of `later`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum LaterMessage {
    /// Sends a nudge again, after the delay that this message was sent with.
    Resend {
        /// The nudge.
        message: Box<Message>,
        /// Makes its deduplication id another one than the first time's.
        cause: String,
    },
}

/// A message came to a function that takes others.
#[derive(Debug, thiserror::Error)]
#[error("a message of the kind {0} does not belong here")]
pub struct Misplaced(&'static str);

macro_rules! from_parts {
    ($($part:ident: $message:ty),* $(,)?) => {
        $(impl From<$message> for Message {
            fn from(message: $message) -> Self {
                Self::$part(message)
            }
        }

        impl TryFrom<Message> for $message {
            type Error = Misplaced;

            fn try_from(message: Message) -> Result<Self, Misplaced> {
                match message {
                    Message::$part(message) => Ok(message),
                    other => Err(Misplaced(other.kind())),
                }
            }
        })*

        impl Message {
            fn part(&self) -> &dyn Routing {
                match self {
                    $(Self::$part(message) => message,)*
                }
            }
        }
    };
}

from_parts! {
    Project: ProjectMessage,
    Stack: StackMessage,
    Slots: SlotsMessage,
    Source: SourceMessage,
    Feedback: FeedbackMessage,
    Start: StartMessage,
    Later: LaterMessage,
}
