//! Queues in SQS.

mod dead;

use super::{MAX_BODY, Outgoing, Received, SendError, Transport, check, is_taken};
use crate::QueueName;
use async_trait::async_trait;
use aws_sdk_sqs::{
    Client,
    error::DisplayErrorContext,
    error::{ProvideErrorMetadata, SdkError},
    operation::send_message::SendMessageError,
    types::{MessageAttributeValue, SendMessageBatchRequestEntry},
};
use futures::StreamExt;
use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

/// The most entries of one batch.
const MAX_ENTRIES: usize = 10;
/// Batches to one queue that are on their way at the same time.
const LANES: usize = 8;
/// How often entries that failed for no fault of theirs are sent.
const ATTEMPTS: u32 = 4;
/// The attribute of a dead letter that holds its error.
const ERROR: &str = "error";

/// The addresses of the queues that a program uses.
#[derive(Debug, Clone, Default)]
pub struct QueueUrls(HashMap<QueueName, String>);

/// An address that does not end in its queue's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{url:?} is not the address of a queue whose name ends in {queue}")]
pub struct WrongUrl {
    /// The queue it was given for.
    pub queue: QueueName,
    /// The address.
    pub url: String,
}

impl QueueUrls {
    /// Adds a queue. Its dead-letter queue is beside it: `…/gantry-events.fifo` has
    /// `…/gantry-events-dead.fifo`.
    pub fn with(mut self, queue: QueueName, url: impl Into<String>) -> Result<Self, WrongUrl> {
        let url = url.into();
        if QueueName::from_real_name(&url) != Some(queue) {
            return Err(WrongUrl { queue, url });
        }
        self.0.insert(queue, url);
        Ok(self)
    }

    fn get(&self, queue: QueueName) -> anyhow::Result<&str> {
        self.0
            .get(&queue)
            .map(String::as_str)
            .ok_or_else(|| anyhow::anyhow!("no address of {queue} is configured"))
    }

    fn dead_letters(&self, queue: QueueName) -> anyhow::Result<String> {
        let url = self.get(queue)?;
        let before = url.strip_suffix(queue.as_str()).unwrap_or(url);
        Ok(format!("{before}{}", queue.dead_letters()))
    }
}

/// Queues in SQS.
#[derive(Clone)]
pub struct Sqs {
    client: Client,
    urls: QueueUrls,
}

impl Sqs {
    /// Queues at these addresses.
    pub fn new(client: Client, urls: QueueUrls) -> Self {
        Self { client, urls }
    }

    /// Connects, so that the first message need not wait for that. It costs one call, and what goes
    /// wrong with it goes wrong again, and is told, with the first message.
    pub async fn connect(&self, queue: QueueName) {
        let Ok(url) = self.urls.get(queue) else { return };
        if let Err(error) = self.client.get_queue_attributes().queue_url(url).send().await {
            tracing::debug!(%queue, error = %DisplayErrorContext(&error), "not connected yet");
        }
    }

    /// Sends a lane's batches one after the other, so that its groups keep their order.
    async fn send_lane(
        &self,
        queue: QueueName,
        lane: Vec<(usize, Outgoing)>,
    ) -> Vec<(usize, Result<(), SendError>)> {
        let url = match self.urls.get(queue) {
            Ok(url) => url,
            Err(error) => {
                let refused = SendError::Refused { queue, message: error.to_string() };
                return lane.into_iter().map(|(at, _)| (at, Err(refused.clone()))).collect();
            }
        };
        let mut results = Vec::with_capacity(lane.len());
        for batch in batches(lane) {
            match <[_; 1]>::try_from(batch) {
                Ok([(at, one)]) => results.push((at, self.send_one(queue, url, one).await)),
                Err(batch) => results.extend(self.send_batch(queue, url, batch).await),
            }
        }
        results
    }

    /// A single message needs no batch, whose answer would have to be read entry by entry.
    async fn send_one(
        &self,
        queue: QueueName,
        url: &str,
        message: Outgoing,
    ) -> Result<(), SendError> {
        let delay = delay_seconds(&message);
        let sent = self
            .client
            .send_message()
            .queue_url(url)
            .message_body(message.body)
            .set_message_group_id(message.group)
            .set_message_deduplication_id(message.dedup)
            .set_delay_seconds(delay)
            .send();
        match sent.await {
            Ok(_) => Ok(()),
            Err(error) => Err(refused_or_unavailable(queue, &error)),
        }
    }

    async fn send_batch(
        &self,
        queue: QueueName,
        url: &str,
        mut batch: Vec<(usize, Outgoing)>,
    ) -> Vec<(usize, Result<(), SendError>)> {
        let mut results = Vec::with_capacity(batch.len());
        let mut message = String::new();
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(Duration::from_millis(50 << attempt)).await;
            }
            let entries = match batch.iter().map(entry).collect::<Result<Vec<_>, _>>() {
                Ok(entries) => entries,
                Err(error) => {
                    message = error.to_string();
                    break;
                }
            };
            let sent =
                self.client.send_message_batch().queue_url(url).set_entries(Some(entries)).send();
            let answer = match sent.await {
                Ok(answer) => answer,
                Err(error) => {
                    // The SDK has tried several times already.
                    message = describe(&error);
                    break;
                }
            };
            let failed: HashMap<&str, _> =
                answer.failed().iter().map(|entry| (entry.id(), entry)).collect();
            let accepted: Vec<&str> = answer.successful().iter().map(|e| e.id()).collect();
            batch.retain(|(at, _)| {
                let id = at.to_string();
                if let Some(entry) = failed.get(id.as_str()) {
                    message = format!("{}: {}", entry.code(), entry.message().unwrap_or_default());
                    if entry.sender_fault() {
                        let message = message.clone();
                        results.push((*at, Err(SendError::Refused { queue, message })));
                    }
                    return !entry.sender_fault();
                }
                let is_accepted = accepted.contains(&id.as_str());
                if is_accepted {
                    results.push((*at, Ok(())));
                }
                !is_accepted
            });
            if batch.is_empty() {
                return results;
            }
        }
        let unavailable = SendError::Unavailable { queue, message };
        results.extend(batch.into_iter().map(|(at, _)| (at, Err(unavailable.clone()))));
        results
    }
}

#[async_trait]
impl Transport for Sqs {
    async fn send(&self, messages: Vec<Outgoing>) -> Vec<Result<(), SendError>> {
        let mut lanes: HashMap<(QueueName, usize), Vec<(usize, Outgoing)>> = HashMap::new();
        let spread = messages.len() > MAX_ENTRIES;
        let mut results: Vec<Option<Result<(), SendError>>> = vec![None; messages.len()];
        for (at, message) in messages.into_iter().enumerate() {
            if let Err(refused) = check(&message) {
                results[at] = Some(Err(refused));
                continue;
            }
            let lane = if spread { lane(&message, at) } else { 0 };
            lanes.entry((message.queue, lane)).or_default().push((at, message));
        }
        let lanes = futures::stream::iter(lanes)
            .map(|((queue, _), lane)| self.send_lane(queue, lane))
            .buffer_unordered(LANES);
        for (at, result) in lanes.concat().await {
            results[at] = Some(result);
        }
        results.into_iter().flatten().collect()
    }

    async fn change_visibility(
        &self,
        queue: QueueName,
        receipt: &str,
        delay: Duration,
    ) -> anyhow::Result<()> {
        let seconds = delay.as_millis().div_ceil(1000);
        let changed = self
            .client
            .change_message_visibility()
            .queue_url(self.urls.get(queue)?)
            .receipt_handle(receipt)
            .visibility_timeout(i32::try_from(seconds).unwrap_or(43_200).min(43_200))
            .send()
            .await;
        match changed {
            Ok(_) => Ok(()),
            Err(error)
                if error.as_service_error().is_some_and(|error| {
                    error.is_message_not_inflight() || error.is_receipt_handle_is_invalid()
                }) =>
            {
                Ok(())
            }
            Err(error) => Err(anyhow::anyhow!(describe(&error))),
        }
    }

    async fn move_to_dead_letters(
        &self,
        queue: QueueName,
        message: &Received,
        error: &str,
    ) -> anyhow::Result<()> {
        let attribute = MessageAttributeValue::builder()
            .data_type("String")
            .string_value(attribute_text(error))
            .build()?;
        let mut letter = self
            .client
            .send_message()
            .queue_url(self.urls.dead_letters(queue)?)
            .message_body(&message.body)
            .message_attributes(ERROR, attribute);
        if queue.is_fifo() {
            letter = letter
                .message_group_id(message.group.as_deref().unwrap_or("none"))
                .message_deduplication_id(&message.message_id);
        }
        letter.send().await.map_err(|error| anyhow::anyhow!(describe(&error)))?;
        Ok(())
    }
}

/// Messages of one group go through one lane.
fn lane(message: &Outgoing, at: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    match &message.group {
        Some(group) => group.hash(&mut hasher),
        None => (at / MAX_ENTRIES).hash(&mut hasher),
    }
    (hasher.finish() % LANES as u64) as usize
}

/// Cuts a lane into what one request takes.
fn batches(lane: Vec<(usize, Outgoing)>) -> Vec<Vec<(usize, Outgoing)>> {
    let mut batches: Vec<Vec<(usize, Outgoing)>> = Vec::new();
    let mut bytes = 0;
    for (at, message) in lane {
        bytes += message.body.len();
        match batches.last_mut() {
            Some(batch) if batch.len() < MAX_ENTRIES && bytes <= MAX_BODY => {
                batch.push((at, message));
            }
            _ => {
                bytes = message.body.len();
                batches.push(vec![(at, message)]);
            }
        }
    }
    batches
}

fn entry(
    (at, message): &(usize, Outgoing),
) -> Result<SendMessageBatchRequestEntry, aws_sdk_sqs::error::BuildError> {
    SendMessageBatchRequestEntry::builder()
        .id(at.to_string())
        .message_body(&message.body)
        .set_message_group_id(message.group.clone())
        .set_message_deduplication_id(message.dedup.clone())
        .set_delay_seconds(delay_seconds(message))
        .build()
}

fn delay_seconds(message: &Outgoing) -> Option<i32> {
    let seconds = message.delay?.as_millis().div_ceil(1000);
    Some(i32::try_from(seconds).unwrap_or(900).min(900))
}

/// What is wrong with the message stays wrong; everything else may pass.
fn refused_or_unavailable(queue: QueueName, error: &SdkError<SendMessageError>) -> SendError {
    let message = describe(error);
    match error.as_service_error() {
        Some(
            SendMessageError::InvalidMessageContents(_)
            | SendMessageError::UnsupportedOperation(_)
            | SendMessageError::InvalidAddress(_),
        ) => SendError::Refused { queue, message },
        _ => SendError::Unavailable { queue, message },
    }
}

/// An attribute takes XML characters only, and counts towards the message's size.
fn attribute_text(error: &str) -> String {
    let text: String = error
        .chars()
        .map(|c| if c.is_control() || !is_taken(c) { ' ' } else { c })
        .take(1000)
        .collect();
    if text.is_empty() { "no text".to_owned() } else { text }
}

/// One line: the service's own words, or how it could not be reached.
fn describe<E, R>(error: &SdkError<E, R>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
{
    if let (Some(code), message) = (error.code(), error.message()) {
        return format!("{code}: {}", message.unwrap_or_default());
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
