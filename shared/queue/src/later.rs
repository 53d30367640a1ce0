//! The consumer of `later`: sends each nudge again, now that its time has come.

use crate::{Context, Failure, Handler, LaterMessage, Message, Sender};
use async_trait::async_trait;

/// Sends nudges again.
pub struct Resender {
    sender: Sender,
}

impl Resender {
    /// A consumer that sends through `sender`.
    pub fn new(sender: Sender) -> Self {
        Self { sender }
    }
}

#[async_trait]
impl Handler for Resender {
    async fn handle(&self, context: Context, message: Message) -> Result<(), Failure> {
        let LaterMessage::Resend { message, cause } = message.try_into()?;
        Ok(self.sender.following(context.hops).resend(*message, &cause).await?)
    }
}
