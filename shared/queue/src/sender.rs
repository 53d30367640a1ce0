//! Sending messages.

use crate::{
    Envelope, LaterMessage, Message, QueueName, VERSION,
    transport::{MAX_DELAY, Now, Outgoing, SendError, Transport},
};
use std::{fmt, sync::Arc, time::Duration};

/// A chain of messages longer than this goes in a circle, and is cut.
pub const MAX_HOPS: u32 = 100;

/// Sends messages. Cheap to clone.
///
/// A handler sends with [`Sender::following`] its own message, so that chains are counted.
#[derive(Clone)]
pub struct Sender {
    transport: Arc<dyn Transport>,
    now: Now,
    hops: u32,
}

/// Some messages of a batch were not accepted; the others were.
#[derive(Debug)]
pub struct PartialSend {
    /// How many were accepted.
    pub accepted: usize,
    /// What was not, and why. Never empty.
    pub refused: Vec<(Message, SendError)>,
}

impl fmt::Display for PartialSend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.accepted + self.refused.len();
        write!(f, "{} of {all} messages were not accepted", self.refused.len())
    }
}

impl std::error::Error for PartialSend {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.refused.first().map(|(_, error)| error as _)
    }
}

impl Sender {
    /// A sender of messages that nothing but the outside world led to.
    pub fn new(transport: Arc<dyn Transport>, now: Now) -> Self {
        Self { transport, now, hops: 0 }
    }

    /// A sender of what a message with `hops` leads to.
    pub fn following(&self, hops: u32) -> Self {
        Self { hops: hops + 1, ..self.clone() }
    }

    /// Sends one message.
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        self.send_delayed(message.into(), None).await
    }

    /// Sends any number of messages, in the batches that the queues take.
    pub async fn send_all<M: Into<Message>>(&self, messages: Vec<M>) -> Result<(), PartialSend> {
        let messages = messages.into_iter().map(Into::into);
        let messages: Vec<Message> = messages.filter(|message| self.may_send(message)).collect();
        let outgoing = messages.iter().map(|message| self.outgoing(message.clone(), None));
        let results = self.transport.send(outgoing.collect()).await;
        let all = messages.len();
        let refused: Vec<_> = messages
            .into_iter()
            .zip(results)
            .filter_map(|(message, result)| Some((message, result.err()?)))
            .collect();
        if refused.is_empty() {
            Ok(())
        } else {
            Err(PartialSend { accepted: all - refused.len(), refused })
        }
    }

    /// Sends a nudge that arrives after `delay`, at most 15 minutes: through `later`, because
    /// FIFO queues know no delay.
    pub async fn send_later(
        &self,
        message: impl Into<Message>,
        delay: Duration,
    ) -> Result<(), SendError> {
        let message = message.into();
        let delay = delay.min(MAX_DELAY);
        if !message.queue().is_fifo() {
            return self.send_delayed(message, Some(delay)).await;
        }
        let due = (self.now)().as_millisecond() + delay.as_millis() as i64;
        let cause = format!("{due}.{}", self.hops);
        let resend = LaterMessage::Resend { message: Box::new(message), cause };
        self.send_delayed(resend.into(), Some(delay)).await
    }

    /// Sends again what `send_later` put aside, under a deduplication id of its own.
    pub(crate) async fn resend(&self, message: Message, cause: &str) -> Result<(), SendError> {
        if !self.may_send(&message) {
            return Ok(());
        }
        let mut outgoing = self.outgoing(message, None);
        outgoing.dedup =
            outgoing.dedup.map(|id| crate::message::at_most_128(format!("again.{cause}.{id}")));
        self.send_one(outgoing).await
    }

    async fn send_delayed(
        &self,
        message: Message,
        delay: Option<Duration>,
    ) -> Result<(), SendError> {
        if !self.may_send(&message) {
            return Ok(());
        }
        self.send_one(self.outgoing(message, delay)).await
    }

    async fn send_one(&self, outgoing: Outgoing) -> Result<(), SendError> {
        let queue = outgoing.queue;
        self.transport.send(vec![outgoing]).await.pop().unwrap_or_else(|| {
            Err(SendError::Unavailable { queue, message: "there was no response".to_owned() })
        })
    }

    /// A message is a nudge: cutting a circle loses nothing that the sweep would not find.
    fn may_send(&self, message: &Message) -> bool {
        let may = self.hops <= MAX_HOPS;
        if !may {
            let ids = message.ids();
            tracing::error!(
                hops = self.hops,
                kind = message.kind(),
                stack = ids.stack.map(tracing::field::display),
                run.id = ids.run.map(tracing::field::display),
                "{MAX_HOPS} messages led to this {}; this looks like a loop, so it is not sent",
                message.kind(),
            );
        }
        may
    }

    fn outgoing(&self, message: Message, delay: Option<Duration>) -> Outgoing {
        let queue: QueueName = message.queue();
        let (group, dedup) = (message.group(), message.dedup_id());
        let envelope =
            Envelope { v: VERSION, hops: self.hops, sent_at: Some((self.now)()), message };
        Outgoing { queue, group, dedup, delay, body: envelope.to_body() }
    }
}
