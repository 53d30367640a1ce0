//! Queues: what travels through them, how it is sent, and how a batch becomes single messages.
//!
//! - [`message`]: every message of the system, with its queue, group and deduplication id.
//! - [`Sender`]: sends them.
//! - [`transport`]: the queue service, SQS or a file.
//! - [`Driver`]: runs a [`Handler`] on each message of a batch; [`lambda`] gives it batches.

mod driver;
mod handler;
pub mod lambda;
mod later;
pub mod message;
mod queues;
mod sender;
pub mod transport;

pub use driver::{BatchOutcome, Driver, DriverOptions, by_group};
pub use handler::{Context, Failure, Handler};
pub use later::Resender;
pub use message::{
    ClaimToken, Command, Envelope, FeedbackMessage, LaterMessage, Message, MessageIds, Misplaced,
    NotStarted, ParseError, ProjectMessage, SlotsMessage, SourceMessage, StackMessage,
    StartMessage, VERSION,
};
pub use queues::{QueueName, UnknownQueue};
pub use sender::{MAX_HOPS, PartialSend, Sender};
pub use transport::{
    Backlog, DeadLetter, DeadLetters, Now, Outgoing, Received, SendError, Transport,
    sqs::{QueueUrls, Sqs},
};
