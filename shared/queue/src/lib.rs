//! Queues: what travels through them, how it is sent, and how a batch becomes single messages.
//!
//! - [`message`]: every message of the system, with its queue, group and deduplication id.

pub mod message;
mod queues;

pub use message::{
    ClaimToken, Command, Envelope, Message, MessageIds, ParseError, Trigger, VERSION,
};
pub use queues::{QueueName, UnknownQueue};
