//! Dead letters in SQS: looking at them, and sending them again. SQS's own redrive only takes what
//! SQS itself gave up, and most dead letters are the driver's.

use super::{ERROR, Sqs, describe};
use crate::{
    Envelope, QueueName,
    transport::{Backlog, DeadLetter, DeadLetters},
};
use async_trait::async_trait;
use aws_sdk_sqs::types::{Message as SqsMessage, MessageSystemAttributeName, QueueAttributeName};
use jiff::Timestamp;

/// Seconds that dead letters stay invisible while they are looked at.
const LOOKING: i32 = 60;
/// How many are sent again by one call.
const AT_ONCE: usize = 500;

#[async_trait]
impl DeadLetters for Sqs {
    async fn backlog(&self, queue: QueueName) -> anyhow::Result<Backlog> {
        let [waiting, handled, delayed] = self.numbers(self.urls.get(queue)?).await?;
        Ok(Backlog { waiting, in_flight: handled + delayed, failing: None, oldest: None })
    }

    async fn count_dead_letters(&self, queue: QueueName) -> anyhow::Result<u64> {
        let url = self.urls.dead_letters(queue)?;
        // Those that somebody looks at are not visible for a moment.
        Ok(self.numbers(&url).await?.iter().sum())
    }

    async fn dead_letters(&self, queue: QueueName) -> anyhow::Result<Vec<DeadLetter>> {
        let url = self.urls.dead_letters(queue)?;
        let mut seen = Vec::new();
        while seen.len() < 100 {
            let messages = self.take_dead(&url).await?;
            if messages.is_empty() {
                break;
            }
            seen.extend(messages);
        }
        for message in &seen {
            let receipt = message.receipt_handle().unwrap_or_default();
            self.client
                .change_message_visibility()
                .queue_url(&url)
                .receipt_handle(receipt)
                .visibility_timeout(0)
                .send()
                .await
                .map_err(|error| anyhow::anyhow!(describe(&error)))?;
        }
        Ok(seen.iter().map(dead_letter).collect())
    }

    async fn redrive(&self, queue: QueueName) -> anyhow::Result<usize> {
        let url = self.urls.dead_letters(queue)?;
        let mut count = 0;
        // Who takes letters sends them: what is only looked at holds back its group for a while.
        while count < AT_ONCE {
            let messages = self.take_dead(&url).await?;
            if messages.is_empty() {
                break;
            }
            for message in messages {
                self.send_again(queue, &url, &message).await?;
                count += 1;
            }
        }
        Ok(count)
    }
}

impl Sqs {
    /// How many messages are in the queue at an address: visible, received, delayed.
    async fn numbers(&self, url: &str) -> anyhow::Result<[u64; 3]> {
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        ];
        let asked = self.client.get_queue_attributes().queue_url(url);
        let asked = names.iter().fold(asked, |asked, name| asked.attribute_names(name.clone()));
        let answer = asked.send().await.map_err(|error| anyhow::anyhow!(describe(&error)))?;
        let number = |name: QueueAttributeName| -> u64 {
            let found = answer.attributes().and_then(|all| all.get(&name));
            found.and_then(|number| number.parse().ok()).unwrap_or_default()
        };
        Ok(names.map(number))
    }

    /// Some dead letters, invisible to others for a while. None is none.
    async fn take_dead(&self, url: &str) -> anyhow::Result<Vec<SqsMessage>> {
        let answer = self
            .client
            .receive_message()
            .queue_url(url)
            .max_number_of_messages(10)
            .visibility_timeout(LOOKING)
            .wait_time_seconds(1)
            .message_attribute_names("All")
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .send()
            .await
            .map_err(|error| anyhow::anyhow!(describe(&error)))?;
        Ok(answer.messages.unwrap_or_default())
    }

    async fn send_again(
        &self,
        queue: QueueName,
        dead_url: &str,
        message: &SqsMessage,
    ) -> anyhow::Result<()> {
        let mut again = self
            .client
            .send_message()
            .queue_url(self.urls.get(queue)?)
            .message_body(message.body().unwrap_or_default());
        if queue.is_fifo() {
            let id = message.message_id().unwrap_or_default();
            again = again
                .message_group_id(group(message).unwrap_or("none"))
                .message_deduplication_id(format!("redrive.{id}"));
        }
        again.send().await.map_err(|error| anyhow::anyhow!(describe(&error)))?;
        self.client
            .delete_message()
            .queue_url(dead_url)
            .receipt_handle(message.receipt_handle().unwrap_or_default())
            .send()
            .await
            .map_err(|error| anyhow::anyhow!(describe(&error)))?;
        Ok(())
    }
}

fn group(message: &SqsMessage) -> Option<&str> {
    message.attributes()?.get(&MessageSystemAttributeName::MessageGroupId).map(String::as_str)
}

fn dead_letter(message: &SqsMessage) -> DeadLetter {
    let sent_at = message
        .attributes()
        .and_then(|all| all.get(&MessageSystemAttributeName::SentTimestamp))
        .and_then(|millis| millis.parse().ok())
        .and_then(|millis| Timestamp::from_millisecond(millis).ok());
    let envelope = Envelope::from_body(message.body().unwrap_or_default()).ok();
    let ids = envelope.as_ref().map(|envelope| envelope.message.ids()).unwrap_or_default();
    DeadLetter {
        id: message.message_id().unwrap_or_default().to_owned(),
        group: group(message).map(str::to_owned),
        kind: envelope.as_ref().map(|envelope| envelope.message.kind()),
        stack: ids.stack.cloned(),
        run: ids.run.cloned(),
        error: message
            .message_attributes()
            .and_then(|all| all.get(ERROR)?.string_value())
            .map(str::to_owned),
        sent_at: envelope.and_then(|envelope| envelope.sent_at).or(sent_at),
    }
}
