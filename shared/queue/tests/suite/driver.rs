//! The driver: one message at a time for the handler, and nobody harmed by another's failure.

use crate::support::{Hand, compare, name_of, nudge, queues};
use async_trait::async_trait;
use gantry_local_queues::LocalQueues;
use gantry_queue::{
    BatchOutcome, Context, DeadLetters, Driver, DriverOptions, Failure, Handler, MAX_HOPS, Message,
    Outgoing, QueueName, Received, Resender, Sender, Transport,
};
use gantry_setup::failures::{FailureCounts, MemoryFailures};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::Instant;

const Q: QueueName = QueueName::Events;
const MINUTE: Duration = Duration::from_secs(60);

/// Writes down what it handles, and does with each message what it was told.
#[derive(Default)]
struct Scribe {
    done: Mutex<Vec<String>>,
    told: Mutex<HashMap<String, Told>>,
}

#[derive(Clone, Copy)]
enum Told {
    Fail,
    Wait(u64),
    Panic,
    Sleep(u64),
}

impl Scribe {
    fn tell(&self, name: &str, told: Told) {
        self.told.lock().unwrap().insert(name.to_owned(), told);
    }

    fn forgive(&self, name: &str) {
        self.told.lock().unwrap().remove(name);
    }

    fn take_done(&self) -> Vec<String> {
        let mut done = std::mem::take(&mut *self.done.lock().unwrap());
        done.sort();
        done
    }
}

#[async_trait]
impl Handler for Scribe {
    async fn handle(&self, _: Context, message: Message) -> Result<(), Failure> {
        let name = name_of(&message);
        let told = self.told.lock().unwrap().get(&name).copied();
        match told {
            Some(Told::Fail) => {
                return Err(anyhow::anyhow!("no").context(format!("{name} is broken")).into());
            }
            Some(Told::Wait(seconds)) => {
                let error = anyhow::anyhow!("GitLab is down");
                return Err(Failure::wait(error, Duration::from_secs(seconds)));
            }
            Some(Told::Panic) => panic!("{name} is unthinkable"),
            Some(Told::Sleep(seconds)) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            None => {}
        }
        self.done.lock().unwrap().push(name);
        Ok(())
    }
}

struct World {
    queues: Arc<LocalQueues>,
    hand: Hand,
    driver: Driver,
    scribe: Arc<Scribe>,
}

impl World {
    fn new() -> Self {
        Self::with_failures(Arc::new(MemoryFailures::default()))
    }

    fn with_failures(failures: Arc<dyn FailureCounts>) -> Self {
        let (queues, hand) = queues();
        let driver = Driver::new(queues.clone(), failures);
        Self { queues, hand, driver, scribe: Arc::default() }
    }

    async fn send(&self, messages: Vec<Message>) {
        Sender::new(self.queues.clone(), self.hand.now()).send_all(messages).await.unwrap();
    }

    fn receive(&self) -> Vec<Received> {
        self.queues.receive(Q, 10, MINUTE).unwrap()
    }

    async fn run(&self, batch: Vec<Received>) -> BatchOutcome {
        self.run_until(batch, Instant::now() + MINUTE).await
    }

    async fn run_until(&self, batch: Vec<Received>, deadline: Instant) -> BatchOutcome {
        let handler: Arc<dyn Handler> = self.scribe.clone();
        let outcome = self.driver.run_batch(Q, batch.clone(), deadline, &handler).await;
        let done = batch.iter().filter(|m| !outcome.failed.contains(&m.message_id));
        let receipts: Vec<&str> = done.map(|m| m.receipt.as_str()).collect();
        self.queues.delete(Q, &receipts).unwrap();
        outcome
    }

    /// Receives and runs what there is, and says what was done, sorted.
    async fn pump(&self) -> Vec<String> {
        self.run(self.receive()).await;
        self.scribe.take_done()
    }
}

#[tokio::test]
async fn a_failure_holds_back_its_own_group_only() {
    let w = World::new();
    w.scribe.tell("a-2", Told::Fail);
    w.send(vec![nudge("a", 1), nudge("a", 2), nudge("b", 1), nudge("a", 3), nudge("b", 2)]).await;
    let batch = w.receive();
    let failed: Vec<String> = [&batch[1], &batch[3]].map(|m| m.message_id.clone()).into();
    let outcome = w.run(batch).await;
    assert_eq!(outcome, BatchOutcome { failed, dead: vec![] });
    assert_eq!(w.scribe.take_done(), ["a-1", "b-1", "b-2"]);

    w.scribe.forgive("a-2");
    assert!(w.pump().await.is_empty(), "they wait a second");
    w.hand.advance(Duration::from_secs(1));
    assert_eq!(w.pump().await, ["a-2", "a-3"]);
    assert_eq!(w.queues.counts(Q).unwrap(), Default::default());
}

#[tokio::test]
async fn waits_grow_and_poison_leaves_without_its_followers() {
    let w = World::new();
    w.scribe.tell("a-1", Told::Fail);
    w.send(vec![nudge("a", 1), nudge("a", 2)]).await;
    for wait in [1, 2, 5, 15] {
        assert!(w.pump().await.is_empty());
        w.hand.advance(Duration::from_secs(wait) - Duration::from_millis(1));
        assert!(w.receive().is_empty(), "{wait} s are not over");
        w.hand.advance(Duration::from_millis(1));
    }
    let batch = w.receive();
    let dead = vec![batch[0].message_id.clone()];
    assert_eq!(w.run(batch).await, BatchOutcome { failed: vec![], dead });
    assert_eq!(w.scribe.take_done(), ["a-2"], "in the same batch that gave a-1 up");
    let dead = w.queues.dead_letters(Q).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].error.as_deref(), Some("a-1 is broken: no"));

    // Sent again, it has its five attempts again.
    assert_eq!(w.queues.redrive(Q).await.unwrap(), 1);
    assert!(w.pump().await.is_empty());
    assert_eq!(w.queues.counts(Q).unwrap().dead, 0);
    w.scribe.forgive("a-1");
    w.hand.advance(Duration::from_secs(1));
    assert_eq!(w.pump().await, ["a-1"]);
}

#[tokio::test]
async fn a_panic_is_a_failure() {
    let w = World::new();
    w.scribe.tell("a-1", Told::Panic);
    w.send(vec![nudge("a", 1), nudge("b", 1)]).await;
    for _ in 0..5 {
        w.pump().await;
        w.hand.advance(MINUTE);
    }
    let dead = w.queues.dead_letters(Q).await.unwrap();
    assert_eq!(dead[0].error.as_deref(), Some("the handler panicked: a-1 is unthinkable"));
}

#[tokio::test]
async fn what_cannot_be_read_goes_the_same_way() {
    let w = World::new();
    let body = |body: &str, dedup: &str| Outgoing {
        queue: Q,
        group: Some("g".into()),
        dedup: Some(dedup.into()),
        delay: None,
        body: body.into(),
    };
    w.queues.send(vec![body("{}", "1"), body(r#"{"v": 9}"#, "2")]).await;
    for _ in 0..10 {
        w.pump().await;
        w.hand.advance(MINUTE);
    }
    let dead = w.queues.dead_letters(Q).await.unwrap();
    assert_eq!(dead[1].error.as_deref(), Some("the message has version 9, this build reads 1"));
    assert_eq!(w.queues.counts(Q).unwrap().visible, 0);
}

#[tokio::test]
async fn trouble_elsewhere_is_no_poison() {
    let w = World::new();
    w.scribe.tell("a-1", Told::Wait(30));
    w.send(vec![nudge("a", 1)]).await;
    for _ in 0..20 {
        assert!(w.pump().await.is_empty());
        assert!(w.receive().is_empty());
        w.hand.advance(Duration::from_secs(30));
    }
    w.scribe.forgive("a-1");
    assert_eq!(w.pump().await, ["a-1"]);
}

struct Unreachable;

#[async_trait]
impl FailureCounts for Unreachable {
    async fn failed(&self, _: &str, _: &str) -> anyhow::Result<u32> {
        anyhow::bail!("the table cannot be reached")
    }

    async fn clear(&self, _: &str, _: &str) -> anyhow::Result<()> {
        anyhow::bail!("the table cannot be reached")
    }
}

#[tokio::test]
async fn nothing_is_given_up_while_failures_cannot_be_counted() {
    let w = World::with_failures(Arc::new(Unreachable));
    w.scribe.tell("a-1", Told::Fail);
    w.send(vec![nudge("a", 1)]).await;
    for _ in 0..10 {
        assert!(w.pump().await.is_empty());
        w.hand.advance(MINUTE);
    }
    // The queue itself gives a message up at its 50th delivery: an outage of hours is no reason.
    for _ in 0..6 * 60 {
        assert!(w.pump().await.is_empty());
        w.hand.advance(MINUTE);
    }
    w.scribe.forgive("a-1");
    let batch = loop {
        match w.receive() {
            none if none.is_empty() => w.hand.advance(MINUTE),
            batch => break batch,
        }
    };
    assert!(batch[0].receive_count < 50, "{}", batch[0].receive_count);
    w.run(batch).await;
    assert_eq!(w.scribe.take_done(), ["a-1"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_starts_that_the_time_cannot_hold() {
    let w = World::new();
    w.scribe.tell("a-1", Told::Sleep(6));
    w.send(vec![nudge("a", 1), nudge("a", 2), nudge("b", 1)]).await;
    let outcome = w.run_until(w.receive(), Instant::now() + Duration::from_secs(10)).await;
    assert_eq!(outcome.failed.len(), 1);
    assert_eq!(w.scribe.take_done(), ["a-1", "b-1"]);
    assert_eq!(w.pump().await, ["a-2"], "visible at once");
}

#[tokio::test(start_paused = true)]
async fn a_handler_is_interrupted_before_the_time_is_over() {
    let w = World::new();
    w.scribe.tell("a-1", Told::Sleep(1000));
    w.send(vec![nudge("a", 1)]).await;
    let start = Instant::now();
    let outcome = w.run_until(w.receive(), start + Duration::from_secs(10)).await;
    assert_eq!(start.elapsed().as_secs(), 9);
    assert_eq!(outcome.failed.len(), 1);
    assert!(w.scribe.take_done().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_message_is_not_to_blame_for_what_takes_too_long() {
    let w = World::new();
    w.scribe.tell("a-1", Told::Sleep(1000));
    w.send(vec![nudge("a", 1)]).await;
    for _ in 0..10 {
        w.run_until(w.receive(), Instant::now() + Duration::from_secs(10)).await;
        w.hand.advance(MINUTE);
    }
    assert!(w.queues.dead_letters(Q).await.unwrap().is_empty());
    w.scribe.forgive("a-1");
    assert_eq!(w.pump().await, ["a-1"]);
}

#[tokio::test(start_paused = true)]
async fn groups_run_side_by_side() {
    let w = World::new();
    for name in ["a-1", "b-1", "c-1"] {
        w.scribe.tell(name, Told::Sleep(3));
    }
    w.send(vec![nudge("a", 1), nudge("b", 1), nudge("c", 1), compare(1, "x")]).await;
    let start = Instant::now();
    assert_eq!(w.pump().await, ["1-x", "a-1", "b-1", "c-1"]);
    assert_eq!(start.elapsed().as_secs(), 3);
}

#[tokio::test]
async fn a_message_delivered_twice_is_handled_twice_and_harms_nothing() {
    let w = World::new();
    w.send(vec![nudge("a", 1), nudge("a", 2)]).await;
    let batch = w.receive();
    w.run(batch.clone()).await;
    w.run(batch).await;
    assert_eq!(w.scribe.take_done(), ["a-1", "a-1", "a-2", "a-2"]);
    assert_eq!(w.queues.counts(Q).unwrap(), Default::default());
}

#[tokio::test]
async fn a_nudge_comes_back_when_its_time_has_come() {
    let w = World::new();
    let sender = Sender::new(w.queues.clone(), w.hand.now());
    w.send(vec![nudge("a", 1)]).await;
    assert_eq!(w.pump().await, ["a-1"]);
    // Well within the five minutes in which a-1 itself would be swallowed.
    sender.following(3).send_later(nudge("a", 1), Duration::from_secs(20)).await.unwrap();
    w.hand.advance(Duration::from_secs(20));

    let resender: Arc<dyn Handler> = Arc::new(Resender::new(sender));
    let batch = w.queues.receive(QueueName::Later, 10, MINUTE).unwrap();
    let later = QueueName::Later;
    for _ in 0..2 {
        let deadline = Instant::now() + MINUTE;
        let outcome = w.driver.run_batch(later, batch.clone(), deadline, &resender).await;
        assert!(outcome.failed.is_empty());
    }
    let again = w.receive();
    assert_eq!(again.len(), 1, "however often the later message was delivered");
    let envelope = gantry_queue::Envelope::from_body(&again[0].body).unwrap();
    assert_eq!(envelope.hops, 5);
}

#[tokio::test]
async fn a_circle_is_cut() {
    let w = World::new();
    let sender = Sender::new(w.queues.clone(), w.hand.now());
    sender.following(MAX_HOPS - 1).send(nudge("a", 1)).await.unwrap();
    sender.following(MAX_HOPS).send(nudge("a", 2)).await.unwrap();
    sender.following(MAX_HOPS).send_all(vec![nudge("a", 3)]).await.unwrap();
    assert_eq!(w.pump().await, ["a-1"]);
}

#[tokio::test]
async fn a_closure_is_a_handler() {
    let w = World::new();
    w.send(vec![nudge("a", 1)]).await;
    let handler: Arc<dyn Handler> = Arc::new(|context: Context, message: Message| async move {
        assert_eq!((context.receive_count, name_of(&message).as_str()), (1, "a-1"));
        Ok(())
    });
    let options = DriverOptions { limit: 1, ..DriverOptions::default() };
    let driver =
        Driver::with_options(w.queues.clone(), Arc::new(MemoryFailures::default()), options);
    let outcome = driver.run_batch(Q, w.receive(), Instant::now() + MINUTE, &handler).await;
    assert_eq!(outcome, BatchOutcome::default());
}

#[tokio::test]
async fn an_event_of_lambda_is_run_and_answered() {
    let w = World::new();
    w.scribe.tell("b-1", Told::Fail);
    w.send(vec![nudge("a", 1), nudge("b", 1)]).await;
    let records: Vec<serde_json::Value> = w
        .receive()
        .into_iter()
        .map(|message| {
            serde_json::json!({
                "messageId": message.message_id,
                "receiptHandle": message.receipt,
                "body": message.body,
                "attributes": {"MessageGroupId": message.group},
                "messageAttributes": {},
                "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:gantry-events.fifo",
            })
        })
        .collect();
    let event = |arn: &str| {
        let mut records = records.clone();
        records[0]["eventSourceARN"] = arn.into();
        serde_json::from_value(serde_json::json!({ "Records": records })).unwrap()
    };
    let handler: Arc<dyn Handler> = w.scribe.clone();
    let ours = event("arn:aws:sqs:eu-west-1:123456789012:gantry-events.fifo");
    let answer = gantry_queue::lambda::run(&w.driver, ours, MINUTE, &handler).await;
    let failed: Vec<_> = answer.batch_item_failures.iter().map(|f| &f.item_identifier).collect();
    assert_eq!(failed, [records[1]["messageId"].as_str().unwrap()]);
    assert_eq!(w.scribe.take_done(), ["a-1"]);

    let strange = event("arn:aws:sqs:eu-west-1:123456789012:others");
    let answer = gantry_queue::lambda::run(&w.driver, strange, MINUTE, &handler).await;
    assert_eq!(answer.batch_item_failures.len(), 2, "nothing is dropped");
}
