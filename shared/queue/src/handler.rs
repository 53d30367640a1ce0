//! What a function brings: how to handle one message.

use crate::{Message, QueueName};
use async_trait::async_trait;
use jiff::Timestamp;
use std::{fmt, time::Duration};
use tokio::time::Instant;

/// Handles one message at a time. The driver owns batches, retries and spans.
///
/// A message can come twice, late, or out of order: read what is true now, and converge.
/// A plain `async` closure over `(Context, Message)` is a handler too.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Handles a message. Any error means that it is delivered again.
    async fn handle(&self, context: Context, message: Message) -> Result<(), Failure>;
}

#[async_trait]
impl<F, Fut> Handler for F
where
    F: Fn(Context, Message) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), Failure>> + Send + 'static,
{
    async fn handle(&self, context: Context, message: Message) -> Result<(), Failure> {
        self(context, message).await
    }
}

/// What is known about a message besides its content.
#[derive(Debug, Clone)]
pub struct Context {
    /// The queue that it came through.
    pub queue: QueueName,
    /// The queue's id of it: the same each time it is delivered.
    pub message_id: String,
    /// How often it was delivered, this time included.
    pub receive_count: u32,
    /// How many messages led to it: what it leads to is sent with [`crate::Sender::following`].
    pub hops: u32,
    /// When it was sent.
    pub sent_at: Option<Timestamp>,
    /// When the handler is interrupted, and the message delivered again.
    pub deadline: Instant,
}

/// A message was not handled: it is delivered again.
pub struct Failure {
    /// What went wrong.
    pub error: anyhow::Error,
    /// Set when the trouble lies elsewhere and the message is not to blame: the time to wait.
    /// Such a failure does not count towards the dead-letter queue.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// Trouble elsewhere (throttled, not reachable): the message waits `retry_after` and keeps its
    /// good name.
    pub fn wait(error: impl Into<anyhow::Error>, retry_after: Duration) -> Self {
        Self { error: error.into(), retry_after: Some(retry_after) }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { error: error.into(), retry_after: None }
    }
}

/// The whole chain, on one line.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.error)
    }
}
