//! What a queue service does for us, with no SDK type in sight.

pub mod sqs;

use crate::QueueName;
use async_trait::async_trait;
use gantry_domain::{RunId, StackId};
use jiff::Timestamp;
use std::{fmt, sync::Arc, time::Duration};

/// Where the time comes from: the system's clock, or one that a test sets.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The longest delay that a standard queue takes.
pub const MAX_DELAY: Duration = Duration::from_secs(900);

/// The longest body. SQS takes 1 MiB where a queue is set so; every queue takes this.
pub const MAX_BODY: usize = 256 * 1024;

/// A message on its way into a queue.
#[derive(Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The queue.
    pub queue: QueueName,
    /// What it is ordered with; required on FIFO queues, absent on others.
    pub group: Option<String>,
    /// What it is recognised by; required on FIFO queues, absent on others.
    pub dedup: Option<String>,
    /// How long it waits before it can be received; standard queues only.
    pub delay: Option<Duration>,
    /// An [`crate::Envelope`] in JSON.
    pub body: String,
}

/// A message as it was received. Clone it to deliver it twice.
#[derive(Clone, PartialEq, Eq)]
pub struct Received {
    /// The message's id: the same each time it is received.
    pub message_id: String,
    /// The handle of this one receipt.
    pub receipt: String,
    /// What it is ordered with.
    pub group: Option<String>,
    /// The deduplication id that it was sent with.
    pub dedup: Option<String>,
    /// How often it was received, this time included.
    pub receive_count: u32,
    /// When it was sent.
    pub sent_at: Option<Timestamp>,
    /// An [`crate::Envelope`] in JSON.
    pub body: String,
}

/// Bodies can hold a claim token, so they are not shown.
impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing")
            .field("queue", &self.queue)
            .field("group", &self.group)
            .field("dedup", &self.dedup)
            .field("delay", &self.delay)
            .finish_non_exhaustive()
    }
}

/// Bodies can hold a claim token, so they are not shown.
impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received")
            .field("message_id", &self.message_id)
            .field("group", &self.group)
            .field("dedup", &self.dedup)
            .field("receive_count", &self.receive_count)
            .finish_non_exhaustive()
    }
}

/// Why a message was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The queue will never take it like this.
    #[error("{queue} refuses the message: {message}")]
    Refused {
        /// The queue.
        queue: QueueName,
        /// Its own words.
        message: String,
    },
    /// The queue may take it later.
    #[error("{queue} cannot be reached: {message}")]
    Unavailable {
        /// The queue.
        queue: QueueName,
        /// What happened.
        message: String,
    },
}

/// A queue service.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Sends messages, any number, to any queues. Answers in the order given, one by one: a batch
    /// can fail in part. Messages of one group keep their order, except that one which had to be
    /// sent again can come after those that were sent with it.
    async fn send(&self, messages: Vec<Outgoing>) -> Vec<Result<(), SendError>>;

    /// Lets a received message become visible again after `delay` from now, instead of after the
    /// queue's own time. A receipt that is no longer good is no error.
    async fn change_visibility(
        &self,
        queue: QueueName,
        receipt: &str,
        delay: Duration,
    ) -> anyhow::Result<()>;

    /// Puts a copy of a received message into the dead-letter queue, with its error. The message
    /// itself ends when its receipt is deleted, as for one that was handled.
    async fn move_to_dead_letters(
        &self,
        queue: QueueName,
        message: &Received,
        error: &str,
    ) -> anyhow::Result<()>;
}

/// A message that was given up, as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its id in the dead-letter queue.
    pub id: String,
    /// The group that it belonged to.
    pub group: Option<String>,
    /// The message's kind, where its body can be read.
    pub kind: Option<&'static str>,
    /// The stack that it names.
    pub stack: Option<StackId>,
    /// The run that it names.
    pub run: Option<RunId>,
    /// Why it was given up, when the driver did.
    pub error: Option<String>,
    /// When it was sent first.
    pub sent_at: Option<Timestamp>,
}

/// How much a queue holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Messages that nobody handles yet.
    pub waiting: u64,
    /// Those that are handled now, or wait for their time: a delay, or another attempt.
    pub in_flight: u64,
    /// Those that were handled without success. SQS does not tell.
    pub failing: Option<u64>,
    /// When the oldest of them all was sent. SQS does not tell: CloudWatch has it.
    pub oldest: Option<Timestamp>,
}

/// Looking at queues and their dead letters, and sending these again.
#[async_trait]
pub trait DeadLetters: Send + Sync {
    /// How much the queue holds, about.
    async fn backlog(&self, queue: QueueName) -> anyhow::Result<Backlog>;

    /// How many dead letters the queue has, about. Much cheaper than looking at them.
    async fn count_dead_letters(&self, queue: QueueName) -> anyhow::Result<u64>;

    /// Some of the queue's dead letters, the oldest first as far as the service can tell.
    async fn dead_letters(&self, queue: QueueName) -> anyhow::Result<Vec<DeadLetter>>;

    /// Sends a queue's dead letters again, each as a new message, and says how many: all, or some
    /// hundreds when there are more.
    async fn redrive(&self, queue: QueueName) -> anyhow::Result<usize>;
}

impl Outgoing {
    /// What a queue would refuse is refused in its words.
    pub fn check(&self) -> Result<(), SendError> {
        check(self)
    }
}

fn check(message: &Outgoing) -> Result<(), SendError> {
    let fifo = message.queue.is_fifo();
    let wrong = if message.body.len() > MAX_BODY {
        "it is too long"
    } else if message.body.is_empty() || !message.body.chars().all(is_taken) {
        "a body has one character at least, and none that XML has not"
    } else if fifo != message.group.is_some() || fifo != message.dedup.is_some() {
        "a FIFO queue needs a group and a deduplication id, a standard queue takes neither"
    } else if message.delay.is_some_and(|delay| fifo || delay > MAX_DELAY) {
        "a delay is for standard queues, and at most 15 minutes"
    } else if [&message.group, &message.dedup].into_iter().flatten().any(|id| !is_id(id)) {
        "group and deduplication id have 1 to 128 characters of printable ASCII"
    } else {
        return Ok(());
    };
    Err(SendError::Refused { queue: message.queue, message: wrong.to_owned() })
}

/// What SQS takes in bodies and attributes: XML's characters.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>
fn is_taken(character: char) -> bool {
    match character {
        '\t' | '\n' | '\r' => true,
        '\u{fffe}' | '\u{ffff}' => false,
        other => other >= ' ',
    }
}

fn is_id(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic())
}
