//! The SQS transport, against answers as SQS gives them.

use aws_credential_types::Credentials;
use aws_sdk_sqs::{
    Client, Config,
    config::{BehaviorVersion, Region},
};
use aws_smithy_http_client::test_util::infallible_client_fn;
use gantry_queue::{
    DeadLetters as _, Outgoing, QueueName, QueueUrls, Received, SendError, Sqs, Transport,
};
use http::{Request, Response};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

const URL: &str = "http://sqs.test/123456789012/gantry-events.fifo";
type Requests = Arc<Mutex<Vec<(String, Value)>>>;

/// SQS that answers with status and body, and the requests it gets.
fn sqs(answer: impl Fn(&str, &Value) -> (u16, Value) + Send + Sync + 'static) -> (Sqs, Requests) {
    let requests = Requests::default();
    let seen = requests.clone();
    let http = infallible_client_fn(move |request: Request<_>| {
        let target = request.headers()["x-amz-target"].to_str().unwrap().to_owned();
        let operation = target.rsplit('.').next().unwrap().to_owned();
        let body = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
        let (status, answer) = answer(&operation, &body);
        seen.lock().unwrap().push((operation, body));
        Response::builder().status(status).body(answer.to_string()).unwrap()
    });
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::new("id", "secret", None, None, "test"))
        .http_client(http)
        .build();
    let urls = QueueUrls::default().with(QueueName::Events, URL).unwrap();
    (Sqs::new(Client::from_conf(config), urls), requests)
}

fn outgoing(group: &str, number: usize) -> Outgoing {
    Outgoing {
        queue: QueueName::Events,
        group: Some(group.to_owned()),
        dedup: Some(format!("{group}.{number}")),
        delay: None,
        body: format!("{group}-{number}"),
    }
}

fn received() -> Received {
    Received {
        message_id: "m-1".into(),
        receipt: "r-1".into(),
        group: Some("g".into()),
        dedup: None,
        receive_count: 5,
        sent_at: None,
        body: "{}".into(),
    }
}

fn entries(body: &Value) -> &Vec<Value> {
    body["Entries"].as_array().unwrap()
}

fn sent() -> Value {
    json!({ "MessageId": "m", "MD5OfMessageBody": "d41d8cd98f00b204e9800998ecf8427e" })
}

/// Accepts every entry but those that `verdict` refuses: true when it is the sender's fault.
fn batch(body: &Value, verdict: impl Fn(&str) -> Option<bool>) -> (u16, Value) {
    let (mut good, mut bad) = (vec![], vec![]);
    for entry in entries(body) {
        let (id, text) = (&entry["Id"], entry["MessageBody"].as_str().unwrap());
        match verdict(text) {
            // The SDK does not check the digest.
            None => good.push(json!({
                "Id": id, "MessageId": text, "MD5OfMessageBody": "d41d8cd98f00b204e9800998ecf8427e",
            })),
            Some(fault) => bad.push(json!({
                "Id": id, "SenderFault": fault, "Code": "Oops", "Message": "no",
            })),
        }
    }
    (200, json!({ "Successful": good, "Failed": bad }))
}

#[tokio::test]
async fn many_messages_go_in_batches_of_ten_and_groups_keep_their_order() {
    let (sqs, requests) = sqs(|_, body| batch(body, |_| None));
    let all = (0..205).map(|n| outgoing(&format!("g{}", n % 7), n)).collect();
    assert!(sqs.send(all).await.iter().all(Result::is_ok));

    let mut groups: HashMap<String, Vec<usize>> = HashMap::new();
    let requests = requests.lock().unwrap();
    for (_, body) in requests.iter() {
        assert!(entries(body).len() <= 10);
        for entry in entries(body) {
            let (group, number) = entry["MessageBody"].as_str().unwrap().split_once('-').unwrap();
            assert_eq!(entry["MessageGroupId"], group);
            groups.entry(group.to_owned()).or_default().push(number.parse().unwrap());
        }
    }
    assert_eq!(groups.values().map(Vec::len).sum::<usize>(), 205);
    assert!(groups.values().all(|numbers| numbers.is_sorted()));
    assert!(requests.len() < 35, "{} requests", requests.len());
}

#[tokio::test]
async fn a_batch_is_cut_by_its_size_too() {
    let (sqs, requests) = sqs(|operation, body| match operation {
        "SendMessage" => (200, sent()),
        _ => batch(body, |_| None),
    });
    let large = |n| Outgoing { body: "x".repeat(100_000), ..outgoing("g", n) };
    let mut all: Vec<Outgoing> = (0..5).map(large).collect();
    all.push(Outgoing { body: "x".repeat(300_000), ..outgoing("g", 9) });
    let results = sqs.send(all).await;
    assert!(results[..5].iter().all(Result::is_ok));
    assert!(matches!(results[5], Err(SendError::Refused { .. })), "{:?}", results[5]);
    let requests = requests.lock().unwrap();
    let sizes: Vec<_> = requests
        .iter()
        .map(|(operation, body)| (operation.as_str(), body["Entries"].as_array().map(Vec::len)))
        .collect();
    let (batch, single) = ("SendMessageBatch", "SendMessage");
    assert_eq!(sizes, [(batch, Some(2)), (batch, Some(2)), (single, None)]);
}

#[tokio::test]
async fn one_message_needs_no_batch() {
    let (sqs, requests) = sqs(|_, body| match body["MessageBody"].as_str() {
        Some("g-1") => (200, sent()),
        _ => {
            (400, json!({ "__type": "com.amazonaws.sqs#InvalidMessageContents", "message": "no" }))
        }
    });
    assert_eq!(sqs.send(vec![outgoing("g", 1)]).await, [Ok(())]);
    let refused = sqs.send(vec![outgoing("g", 2)]).await;
    assert!(matches!(refused[..], [Err(SendError::Refused { .. })]), "{refused:?}");
    let requests = requests.lock().unwrap();
    let (operation, body) = &requests[0];
    assert_eq!((operation.as_str(), &body["MessageGroupId"]), ("SendMessage", &json!("g")));
    assert_eq!(body["MessageDeduplicationId"], "g.1");
}

#[tokio::test(start_paused = true)]
async fn what_failed_in_a_batch_is_sent_again_unless_it_is_our_fault() {
    let tries = Arc::new(Mutex::new(HashMap::<String, u32>::new()));
    let (sqs, _) = sqs(move |_, body| {
        batch(body, |text| {
            let mut tries = tries.lock().unwrap();
            let count = tries.entry(text.to_owned()).or_default();
            *count += 1;
            match text {
                "g-1" if *count < 3 => Some(false),
                "g-2" => Some(true),
                "g-3" => Some(false),
                _ => {
                    assert!(*count == 1 || text == "g-1", "{text} was accepted before");
                    None
                }
            }
        })
    });
    let results = sqs.send((0..5).map(|n| outgoing("g", n)).collect()).await;
    let queue = QueueName::Events;
    let message = "Oops: no".to_owned();
    assert_eq!(results[..2], [Ok(()), Ok(())]);
    assert_eq!(results[2], Err(SendError::Refused { queue, message: message.clone() }));
    assert_eq!(results[3], Err(SendError::Unavailable { queue, message }));
    assert_eq!(results[4], Ok(()));
}

#[tokio::test]
async fn a_refusal_says_why() {
    let (sqs, _) = sqs(|_, _| {
        let kind = "com.amazonaws.sqs#QueueDoesNotExist";
        (400, json!({"__type": kind, "message": "The specified queue does not exist."}))
    });
    let results = sqs.send(vec![outgoing("g", 1)]).await;
    let text = results[0].as_ref().unwrap_err().to_string();
    assert!(text.contains("QueueDoesNotExist: The specified queue does not exist."), "{text}");
    let other = Outgoing { queue: QueueName::Starts, group: None, dedup: None, ..outgoing("g", 1) };
    let text = sqs.send(vec![other]).await[0].as_ref().unwrap_err().to_string();
    assert!(text.contains("no address of starts is configured"), "{text}");
}

#[tokio::test]
async fn visibility_is_in_whole_seconds_and_old_receipts_are_no_error() {
    let (sqs, requests) = sqs(|_, body| match body["ReceiptHandle"].as_str() {
        Some("good") => (200, json!({})),
        _ => {
            let kind = "com.amazonaws.sqs#ReceiptHandleIsInvalid";
            (400, json!({"__type": kind, "message": "The receipt handle has expired"}))
        }
    });
    let delay = Duration::from_millis(1500);
    sqs.change_visibility(QueueName::Events, "good", delay).await.unwrap();
    sqs.change_visibility(QueueName::Events, "old", delay).await.unwrap();
    assert_eq!(requests.lock().unwrap()[0].1["VisibilityTimeout"], 2);
}

#[tokio::test]
async fn a_dead_letter_has_its_error_with_it() {
    let (sqs, requests) = sqs(|_, _| (200, json!({"MessageId": "d-1"})));
    let error = format!("line one\nline two\u{ffff}{}", "x".repeat(2000));
    sqs.move_to_dead_letters(QueueName::Events, &received(), &error).await.unwrap();
    let (_, body) = &requests.lock().unwrap()[0];
    assert_eq!(body["QueueUrl"], "http://sqs.test/123456789012/gantry-events-dead.fifo");
    assert_eq!(body["MessageGroupId"], "g");
    assert_eq!(body["MessageDeduplicationId"], "m-1");
    let text = body["MessageAttributes"]["error"]["StringValue"].as_str().unwrap();
    assert!(text.starts_with("line one line two x") && text.len() == 1000, "{text}");
}

#[tokio::test]
async fn dead_letters_are_counted_with_those_that_somebody_looks_at() {
    let (sqs, requests) = sqs(|_, _| {
        let counts = json!({
            "ApproximateNumberOfMessages": "4",
            "ApproximateNumberOfMessagesNotVisible": "3",
            "ApproximateNumberOfMessagesDelayed": "0",
        });
        (200, json!({ "Attributes": counts }))
    });
    assert_eq!(sqs.count_dead_letters(QueueName::Events).await.unwrap(), 7);
    let requests = requests.lock().unwrap();
    let [(operation, body)] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!(operation, "GetQueueAttributes");
    assert_eq!(body["QueueUrl"], "http://sqs.test/123456789012/gantry-events-dead.fifo");
}

#[test]
fn an_address_must_be_the_queues() {
    let wrong = QueueUrls::default().with(QueueName::Source, URL).unwrap_err();
    assert_eq!(
        wrong.to_string(),
        format!("{URL:?} is not the address of a queue whose name ends in source.fifo")
    );
}
