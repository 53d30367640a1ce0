//! What a webhook costs, and what it answers when its queue is in trouble.

use crate::world::eventually;
use gantry_aws::{Cloud, wire::Trouble};
use reqwest::{Client, StatusCode};
use std::time::{Duration, Instant};

const PUSH: &str = r#"{"object_kind":"push","ref":"refs/heads/main","project_id":7,
    "before":"0123456789abcdef0123456789abcdef01234567",
    "after":"89abcdef0123456789abcdef0123456789abcdef"}"#;

async fn deliver(cloud: &Cloud, id: &str) -> StatusCode {
    let delivery = Client::builder().no_proxy().build().unwrap();
    let delivery = delivery
        .post(format!("{}/webhooks/gitlab", cloud.address))
        .header("X-Gitlab-Token", "sample-secret")
        .header("X-Gitlab-Event", "Push Hook")
        .header("Idempotency-Key", id)
        .header("Content-Type", "application/json")
        .body(PUSH);
    delivery.send().await.unwrap().status()
}

async fn waiting(cloud: &Cloud) -> usize {
    let queue = cloud.queue("events.fifo").unwrap();
    let name = aws_sdk_sqs::types::QueueAttributeName::ApproximateNumberOfMessages;
    let asked = cloud.sqs().get_queue_attributes().queue_url(queue).attribute_names(name.clone());
    let answer = asked.send().await.unwrap();
    answer.attributes.unwrap()[&name].parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_is_one_call_and_its_queue_may_be_in_trouble() {
    let cloud = Cloud::deploy("webhook").await.unwrap();
    cloud.set_secret("webhook-secrets", r#"{"token":"sample-secret"}"#).await.unwrap();
    cloud.lambda.spawn("Webhook").unwrap();
    let mut first = Vec::new();
    eventually("the calls before the first event", async || {
        first.extend(cloud.wire.take("Webhook"));
        (first.len() == 2).then_some(())
    })
    .await;
    first.sort();
    assert_eq!(first, ["secretsmanager:GetSecretValue", "sqs:GetQueueAttributes"]);
    assert_eq!(deliver(&cloud, "first").await, StatusCode::OK);
    assert_eq!(cloud.wire.take("Webhook"), ["sqs:SendMessage"], "three in all for a cold one");
    assert_eq!(deliver(&cloud, "second").await, StatusCode::OK);
    assert_eq!(cloud.wire.take("Webhook"), ["sqs:SendMessage"], "a warm one");
    assert_eq!(waiting(&cloud).await, 2);

    // A queue that refuses: whatever the SDK tries again is refused too.
    cloud.wire.trouble("Webhook", "sqs:SendMessage", Trouble::Refuse, 0, 3);
    assert_eq!(deliver(&cloud, "refused").await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(deliver(&cloud, "after-refused").await, StatusCode::OK);
    assert_eq!(waiting(&cloud).await, 3);

    // A slow one still answers in time: GitLab waits for ten seconds.
    let slow = Trouble::Slow(Duration::from_secs(4));
    cloud.wire.trouble("Webhook", "sqs:SendMessage", slow, 0, 1);
    assert_eq!(deliver(&cloud, "slow").await, StatusCode::OK);
    assert_eq!(waiting(&cloud).await, 4);
    // A call that has no answer is made once more, and the queue has the event once.
    cloud.wire.trouble("Webhook", "sqs:SendMessage", Trouble::Hang, 0, 1);
    assert_eq!(deliver(&cloud, "hung-once").await, StatusCode::OK);
    cloud.wire.hung().await;
    assert_eq!(waiting(&cloud).await, 5);
    // One that never answers fails while GitLab still waits, and the next delivery finds a working
    // function.
    cloud.wire.trouble("Webhook", "sqs:SendMessage", Trouble::Hang, 0, 2);
    let begun = Instant::now();
    assert_eq!(deliver(&cloud, "hung").await, StatusCode::SERVICE_UNAVAILABLE);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    cloud.wire.hung().await;
    assert_eq!(deliver(&cloud, "after-hung").await, StatusCode::OK);
    // What the queue took before it hung is there, whatever GitLab was told.
    assert_eq!(waiting(&cloud).await, 7);

    // The process dies while it sends: API Gateway says so, and a new one answers the next.
    cloud.wire.trouble("Webhook", "sqs:SendMessage", Trouble::Hang, 0, 1);
    let (status, ()) = tokio::join!(deliver(&cloud, "killed"), async {
        cloud.wire.hung().await;
        cloud.lambda.kill("Webhook");
    });
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(deliver(&cloud, "after-killed").await, StatusCode::OK);
    let forbidden = cloud.forbidden_calls().unwrap();
    assert!(forbidden.is_empty(), "{forbidden:?}");
}
