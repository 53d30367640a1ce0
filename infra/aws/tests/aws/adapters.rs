//! Each adapter to AWS against moto alone: queues, secrets, objects.

use aws_sdk_sqs::types::QueueAttributeName;
use bytes::Bytes;
use gantry_aws::{cloud::start_moto, functions::Process, wire::REGION};
use gantry_objects::Objects;
use gantry_queue::{
    DeadLetters as _, Outgoing, QueueName, QueueUrls, Received, SendError, Sqs, Transport as _,
};
use gantry_secrets::{ManagedSecrets, SecretName, Secrets as _};
use gantry_setup::aws;
use object_store::aws::AmazonS3Builder;
use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};
use std::time::Duration;
use tempfile::TempDir;

/// moto, with what keeps it running.
struct Moto {
    address: String,
    _process: Process,
    _folder: TempDir,
}

async fn moto() -> Moto {
    // Fails only when somebody else was first, which is as good.
    let _first = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let (process, address) = start_moto(folder.path()).await.unwrap();
    Moto { address, _process: process, _folder: folder }
}

/// The SDK's settings with moto's region.
fn queues(moto: &Moto) -> aws_sdk_sqs::Client {
    let config = aws_sdk_sqs::config::Builder::from(&aws::for_loopback(&moto.address));
    let region = aws_sdk_sqs::config::Region::new(REGION);
    aws_sdk_sqs::Client::from_conf(config.region(region).build())
}

fn outgoing(queue: QueueName, group: &str, dedup: &str, body: &str) -> Outgoing {
    let fifo = queue.is_fifo();
    Outgoing {
        queue,
        group: fifo.then(|| group.to_owned()),
        dedup: fifo.then(|| dedup.to_owned()),
        delay: None,
        body: body.to_owned(),
    }
}

async fn receive(client: &aws_sdk_sqs::Client, url: &str) -> Vec<Received> {
    let answer = client
        .receive_message()
        .queue_url(url)
        .max_number_of_messages(10)
        .message_system_attribute_names("All".into())
        .send()
        .await
        .unwrap();
    let messages = answer.messages.unwrap_or_default().into_iter();
    messages
        .map(|message| {
            let attribute = |name: &str| {
                let attributes = message.attributes.as_ref().unwrap();
                attributes.iter().find(|(n, _)| n.as_str() == name).map(|(_, v)| v.clone())
            };
            Received {
                group: attribute("MessageGroupId"),
                dedup: attribute("MessageDeduplicationId"),
                receive_count: attribute("ApproximateReceiveCount").unwrap().parse().unwrap(),
                sent_at: None,
                message_id: message.message_id.clone().unwrap(),
                receipt: message.receipt_handle.clone().unwrap(),
                body: message.body.clone().unwrap(),
            }
        })
        .collect()
}

#[tokio::test]
async fn queues_take_order_refuse_and_give_back() {
    let moto = moto().await;
    let client = queues(&moto);
    let (mut urls, mut events) = (QueueUrls::default(), String::new());
    for queue in [QueueName::Events, QueueName::Later] {
        for name in [queue.as_str(), queue.dead_letters()] {
            let create = client.create_queue().queue_name(format!("gantry-{name}"));
            let create = match queue.is_fifo() {
                true => create.attributes(QueueAttributeName::FifoQueue, "true"),
                false => create,
            };
            let url = create.send().await.unwrap().queue_url.unwrap();
            if name == queue.as_str() {
                urls = urls.with(queue, url.clone()).unwrap();
            }
            if name == QueueName::Events.as_str() {
                events = url;
            }
        }
    }
    let sqs = Sqs::new(client.clone(), urls);

    // More than one batch; the same deduplication id is one message; what SQS would refuse is named.
    let mut messages: Vec<Outgoing> =
        (0..12).map(|n| outgoing(QueueName::Events, "g", &format!("d{n}"), "{}")).collect();
    messages.push(outgoing(QueueName::Events, "g", "d0", "{}"));
    messages.push(outgoing(QueueName::Later, "", "", "{}"));
    messages.push(Outgoing { group: None, ..outgoing(QueueName::Events, "g", "d13", "{}") });
    let answers = sqs.send(messages).await;
    assert_eq!(answers.len(), 15);
    assert!(answers[..14].iter().all(Result::is_ok), "{answers:?}");
    assert!(matches!(answers[14], Err(SendError::Refused { .. })), "{answers:?}");

    let first = receive(&client, &events).await;
    assert_eq!((first.len(), first[0].group.as_deref()), (10, Some("g")));
    assert_eq!(first[0].dedup.as_deref(), Some("d0"));
    for message in &first {
        let visible = sqs.change_visibility(QueueName::Events, &message.receipt, Duration::ZERO);
        visible.await.unwrap();
    }
    sqs.change_visibility(QueueName::Events, "an old receipt", Duration::ZERO).await.unwrap();

    let backlog = sqs.backlog(QueueName::Events).await.unwrap();
    assert_eq!((backlog.waiting, backlog.in_flight, backlog.oldest), (12, 0, None));

    // One is given up, and sent again.
    let again = receive(&client, &events).await;
    assert_eq!(again[0].receive_count, 2);
    sqs.move_to_dead_letters(QueueName::Events, &again[0], "it always fails").await.unwrap();
    let dead = sqs.dead_letters(QueueName::Events).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(sqs.count_dead_letters(QueueName::Events).await.unwrap(), 1);
    assert_eq!(dead[0].error.as_deref(), Some("it always fails"));
    assert_eq!(sqs.redrive(QueueName::Events).await.unwrap(), 1);
    assert_eq!(sqs.redrive(QueueName::Events).await.unwrap(), 0);
    assert_eq!(sqs.dead_letters(QueueName::Later).await.unwrap().len(), 0);
}

#[tokio::test]
async fn secrets_are_missing_empty_or_there() {
    let moto = moto().await;
    let config = aws_sdk_secretsmanager::config::Builder::from(&aws::for_loopback(&moto.address));
    let region = aws_sdk_secretsmanager::config::Region::new(REGION);
    let client = aws_sdk_secretsmanager::Client::from_conf(config.region(region).build());
    let secrets = ManagedSecrets::new(client.clone(), "gantry/".to_owned());
    let secrets = secrets.fresh_for(Duration::ZERO);
    assert!(secrets.get(SecretName::ApiToken).await.unwrap().is_none());
    // As CloudFormation makes one that has no value yet.
    client.create_secret().name("gantry/gitlab-api-token").send().await.unwrap();
    assert!(secrets.get(SecretName::ApiToken).await.unwrap().is_none());
    let refused = secrets.required(SecretName::ApiToken).await.unwrap_err().to_string();
    assert!(refused.contains("gitlab-api-token"), "{refused}");
    for value in ["first", "second"] {
        secrets.put(SecretName::ApiToken, &value.into()).await.unwrap();
        let found = secrets.get(SecretName::ApiToken).await.unwrap().unwrap();
        assert_eq!(found.expose_secret(), value);
    }
}

#[tokio::test]
async fn objects_are_written_once_listed_signed_and_removed() {
    let moto = moto().await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let store = AmazonS3Builder::new()
        .with_endpoint(&moto.address)
        .with_allow_http(true)
        .with_region(REGION)
        .with_access_key_id("test")
        .with_secret_access_key("test")
        .with_bucket_name("gantry")
        .build()
        .unwrap();
    let configuration = "<CreateBucketConfiguration><LocationConstraint>eu-west-1\
                         </LocationConstraint></CreateBucketConfiguration>";
    let made = http.put(format!("{}/gantry", moto.address)).body(configuration).send();
    assert!(made.await.unwrap().status().is_success());
    let objects = Objects::in_s3(store);

    assert!(objects.get("state/a/1").await.unwrap().is_none());
    assert!(objects.put_new("state/a/1", Bytes::from("one")).await.unwrap());
    assert!(!objects.put_new("state/a/1", Bytes::from("two")).await.unwrap());
    objects.put("state/b/2", Bytes::from("two")).await.unwrap();
    assert_eq!(objects.get("state/a/1").await.unwrap().unwrap(), "one");
    assert_eq!(objects.folders("state").await.unwrap(), ["a", "b"]);
    assert_eq!(objects.list("state/a").await.unwrap(), ["state/a/1"]);
    let listed = objects.list_by_age("state").await.unwrap();
    let mut sizes: Vec<_> = listed.iter().map(|one| (one.key.as_str(), one.size)).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [("state/a/1", 3), ("state/b/2", 3)]);

    // Larger than one part of an upload.
    let mut writing = objects.begin("source/large").await.unwrap();
    for _ in 0..12 {
        writing.write(&[7; 1 << 20]).await.unwrap();
    }
    assert!(!objects.exists("source/large").await.unwrap());
    writing.finish().await.unwrap();
    assert_eq!(objects.read("source/large").await.unwrap().unwrap().size, 12 << 20);

    // What others write and read without credentials.
    let body = "signed";
    let digest: [u8; 32] = Sha256::digest(body).into();
    let minutes = Duration::from_secs(900);
    let write = objects.sign_write("plans/r/p", digest, minutes).await.unwrap().unwrap();
    assert!(write.headers.contains_key("x-amz-checksum-sha256"));
    let mut put = http.put(&write.url).body(body);
    for (name, value) in &write.headers {
        put = put.header(name, value);
    }
    assert!(put.send().await.unwrap().status().is_success());
    let read = objects.sign_read("plans/r/p", minutes).await.unwrap().unwrap();
    assert!(read.contains("X-Amz-Expires=900"));
    assert_eq!(http.get(read).send().await.unwrap().text().await.unwrap(), body);

    objects.delete("plans/r/p").await.unwrap();
    objects.delete("plans/r/p").await.unwrap();
    assert!(!objects.exists("plans/r/p").await.unwrap());
}
