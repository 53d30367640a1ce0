//! Event source mappings in small: messages are received, handed to the function as an event, and
//! deleted unless it says that they failed.
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>

use crate::{
    deployed::Mapping,
    functions::Lambda,
    wire::{ACCOUNT, REGION},
};
use aws_sdk_sqs::{
    Client,
    types::{Message, MessageSystemAttributeName},
};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Feeds the function until the process ends.
pub fn start(client: Client, mapping: Mapping, lambda: Arc<Lambda>) {
    tokio::spawn(async move {
        loop {
            if feed(&client, &mapping, &lambda).await.is_none() {
                // moto is gone, or starts: it is asked again.
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
        }
    });
}

/// One batch. None when the queue could not be asked.
async fn feed(client: &Client, mapping: &Mapping, lambda: &Lambda) -> Option<()> {
    let received = client
        .receive_message()
        .queue_url(&mapping.queue)
        .max_number_of_messages(mapping.batch)
        .wait_time_seconds(1)
        .message_system_attribute_names(MessageSystemAttributeName::All)
        .send()
        .await
        .ok()?;
    let messages = received.messages.unwrap_or_default();
    if messages.is_empty() {
        return Some(());
    }
    let answer = lambda.invoke(&mapping.function, &event(mapping, &messages)).await;
    let failed: Vec<String> = match &answer {
        // Without the setting nobody reads it.
        Ok(_) if !mapping.reports_failures => Vec::new(),
        Ok(answer) => {
            let failures = answer["batchItemFailures"].as_array();
            let ids = failures.into_iter().flatten().map(|f| f["itemIdentifier"].as_str());
            ids.flatten().map(str::to_owned).collect()
        }
        // All of them: the visibility timeout is let pass at once.
        Err(_) => messages.iter().filter_map(|message| message.message_id.clone()).collect(),
    };
    for message in &messages {
        let request = (mapping.queue.as_str(), message.receipt_handle.as_deref());
        if message.message_id.as_ref().is_none_or(|id| !failed.contains(id)) {
            let delete = client.delete_message().queue_url(request.0);
            // One that was not deleted comes again, which is what happens on AWS.
            let _again = delete.set_receipt_handle(request.1.map(str::to_owned)).send().await;
        } else if answer.is_err() {
            let change = client.change_message_visibility().queue_url(request.0);
            let change = change.set_receipt_handle(request.1.map(str::to_owned));
            let _later = change.visibility_timeout(0).send().await;
        }
    }
    Some(())
}

fn event(mapping: &Mapping, messages: &[Message]) -> Value {
    let queue = mapping.queue.rsplit('/').next().unwrap_or_default();
    let records = messages.iter().map(|message| {
        let attributes = message.attributes.iter().flatten();
        let attributes: Map<String, Value> = attributes
            .map(|(name, value)| (name.as_str().to_owned(), value.clone().into()))
            .collect();
        json!({
            "messageId": message.message_id,
            "receiptHandle": message.receipt_handle,
            "body": message.body,
            "attributes": attributes,
            "messageAttributes": {},
            "md5OfBody": message.md5_of_body,
            "eventSource": "aws:sqs",
            "eventSourceARN": format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}"),
            "awsRegion": REGION,
        })
    });
    json!({ "Records": records.collect::<Vec<_>>() })
}
