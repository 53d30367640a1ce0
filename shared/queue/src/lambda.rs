//! A function behind queues: from Lambda's SQS event to received messages, and the answer back.

use crate::{
    BatchOutcome, Driver, Handler, Message, QueueName, Sender,
    transport::{Now, Received},
};
use aws_lambda_events::event::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use jiff::Timestamp;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// What an event that brings no messages means: it, and the id of the invocation, which is the same
/// when Lambda calls again.
pub type FromEvent = fn(event: &serde_json::Value, request: &str) -> Message;

/// Handles what Lambda calls with until it ends the process: messages of each queue by its handler,
/// and anything else by sending the message that `other_events` makes of it.
pub async fn serve(
    driver: Driver,
    now: Now,
    handlers: &[(QueueName, Arc<dyn Handler>)],
    other_events: Option<(Sender, FromEvent)>,
) -> Result<(), Error> {
    lambda_runtime::run(service_fn(|event: LambdaEvent<serde_json::Value>| {
        let remaining = remaining(event.context.deadline, now());
        let (driver, other_events) = (driver.clone(), other_events.clone());
        async move {
            match (Call::try_from(event.payload)?, other_events) {
                (Call::Batch(batch), _) => {
                    let from = queue(&batch);
                    let handler = handlers.iter().find(|(queue, _)| Some(*queue) == from);
                    // An event from elsewhere fails as a whole, and says so.
                    let handler = handler.or(handlers.first()).map(|(_, handler)| handler);
                    let handler = handler.ok_or("no queue has a handler")?;
                    Ok::<_, Error>(run(&driver, batch, remaining, handler).await)
                }
                (Call::Other(other), Some((sender, message_of))) => {
                    sender.send(message_of(&other, &event.context.request_id)).await?;
                    Ok(SqsBatchResponse::default())
                }
                (Call::Other(_), None) => Err("an event without messages".into()),
            }
        }
    }))
    .await
}

/// Runs an event's messages within the `remaining` time of the invocation. The event source
/// mapping must report batch item failures.
pub async fn run(
    driver: &Driver,
    event: SqsEvent,
    remaining: Duration,
    handler: &Arc<dyn Handler>,
) -> SqsBatchResponse {
    let deadline = Instant::now() + remaining;
    let source = queue(&event);
    let batch = received(event);
    response(match source {
        Some(queue) => driver.run_batch(queue, batch, deadline, handler).await,
        None => {
            tracing::error!(messages = batch.len(), "an event from an unknown queue");
            let failed = batch.into_iter().map(|message| message.message_id).collect();
            BatchOutcome { failed, ..BatchOutcome::default() }
        }
    })
}

/// What a function that also has a timer is called with.
#[derive(Debug)]
pub enum Call {
    /// Messages.
    Batch(SqsEvent),
    /// Anything else: what EventBridge tells.
    Other(serde_json::Value),
}

impl TryFrom<serde_json::Value> for Call {
    type Error = serde_json::Error;

    fn try_from(event: serde_json::Value) -> Result<Self, serde_json::Error> {
        if event.get("Records").is_some() {
            serde_json::from_value(event).map(Self::Batch)
        } else {
            Ok(Self::Other(event))
        }
    }
}

/// The time that an invocation has left: its deadline is in milliseconds since 1970.
///
/// `cargo lambda watch` always says 600000, which is over since 1970: it is taken as the time left.
pub fn remaining(deadline: u64, now: Timestamp) -> Duration {
    let now = u64::try_from(now.as_millisecond()).unwrap_or_default();
    let left = if deadline <= LONGEST_INVOCATION { deadline } else { deadline.saturating_sub(now) };
    Duration::from_millis(left)
}

/// 15 minutes in milliseconds.
const LONGEST_INVOCATION: u64 = 900_000;

/// The queue that an event comes from; none when it is empty or from a queue that is not ours.
/// An event holds messages of one queue.
pub fn queue(event: &SqsEvent) -> Option<QueueName> {
    let arn = event.records.first()?.event_source_arn.as_deref()?;
    QueueName::from_real_name(arn)
}

/// The event's messages, in its order.
pub fn received(event: SqsEvent) -> Vec<Received> {
    event.records.into_iter().map(message).collect()
}

/// Tells Lambda which messages to keep.
pub fn response(outcome: BatchOutcome) -> SqsBatchResponse {
    let mut response = SqsBatchResponse::default();
    response.batch_item_failures = outcome
        .failed
        .into_iter()
        .map(|id| {
            let mut failure = BatchItemFailure::default();
            failure.item_identifier = id;
            failure
        })
        .collect();
    response
}

fn message(record: SqsMessage) -> Received {
    let attribute = |name: &str| record.attributes.get(name).cloned();
    Received {
        group: attribute("MessageGroupId"),
        dedup: attribute("MessageDeduplicationId"),
        receive_count: attribute("ApproximateReceiveCount")
            .and_then(|count| count.parse().ok())
            .unwrap_or(1),
        sent_at: attribute("SentTimestamp")
            .and_then(|millis| millis.parse().ok())
            .and_then(|millis| Timestamp::from_millisecond(millis).ok()),
        message_id: record.message_id.unwrap_or_default(),
        receipt: record.receipt_handle.unwrap_or_default(),
        body: record.body.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_brings_no_records_is_told_as_it_is() {
        let call = |event| Call::try_from(event);
        let timer = serde_json::json!({"source": "aws.events", "detail": {}});
        assert!(matches!(call(timer), Ok(Call::Other(event)) if event["source"] == "aws.events"));
        assert!(matches!(call(serde_json::json!({})), Ok(Call::Other(_))));
        assert!(matches!(call(serde_json::json!({"Records": []})), Ok(Call::Batch(_))));
        assert!(call(serde_json::json!({"Records": 1})).is_err());
    }

    #[test]
    fn a_deadline_that_has_passed_leaves_nothing() {
        let now = Timestamp::from_millisecond(1_767_323_045_000).unwrap();
        assert_eq!(remaining(1_767_323_045_250, now), Duration::from_millis(250));
        assert_eq!(remaining(600_000, now), Duration::from_secs(600));
        assert_eq!(remaining(1_767_323_044_000, now), Duration::ZERO);
    }

    #[test]
    fn an_event_becomes_messages_and_failures_become_an_answer() {
        let event: SqsEvent = serde_json::from_str(
            r#"{"Records": [{
                "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
                "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
                "body": "{}",
                "attributes": {
                    "ApproximateReceiveCount": "3",
                    "SentTimestamp": "1767323045000",
                    "SequenceNumber": "18849496460467696128",
                    "MessageGroupId": "proj:7",
                    "SenderId": "AIDAIENQZJOLO23YVJ4VO",
                    "MessageDeduplicationId": "hook.abc",
                    "ApproximateFirstReceiveTimestamp": "1767323045012"
                },
                "messageAttributes": {},
                "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:gantry-events.fifo",
                "awsRegion": "eu-west-1"
            }]}"#,
        )
        .unwrap();
        assert_eq!(queue(&event), Some(QueueName::Events));
        let messages = received(event);
        assert_eq!(messages[0].receive_count, 3);
        assert_eq!(messages[0].group.as_deref(), Some("proj:7"));
        assert_eq!(messages[0].sent_at.unwrap().to_string(), "2026-01-02T03:04:05Z");

        let outcome = BatchOutcome { failed: vec!["059f36b4".into()], dead: vec![] };
        assert_eq!(
            serde_json::to_string(&response(outcome)).unwrap(),
            r#"{"batchItemFailures":[{"itemIdentifier":"059f36b4"}]}"#
        );
    }
}
