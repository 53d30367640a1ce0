//! Runs on their way to a runner, and back: what they say, and whom they ask.

use crate::queue::Queue;
use gantry_connection::Connection;
use gantry_domain::{
    StackId,
    integration::Integration,
    protocol::{Report, ReportKind},
    run::{Phase, Position, Run, RunState, RunType},
    stack::Stack,
};
use gantry_local_table::LocalTable;
use gantry_queue::{
    ClaimToken, Context, Envelope, Handler, Message, NotStarted as Why, QueueName, Sender,
    SlotsMessage, StackMessage, StartMessage,
};
use gantry_scheduler::{Deps, Limits, RunnerApi, Scheduler, Starter};
use gantry_secrets::{FileSecrets, Signer, random_secret};
use gantry_setup::{
    Clock,
    builds::{BuildStart, Builds, NotStarted},
};
use gantry_store::{
    Expect, Outcome, Store, Stored, Write, keys,
    scheduler::{FetchedSource, QueueEntry, RunEntry, SlotEntry},
};
use jiff::{SignedDuration, Timestamp};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};
use tempfile::TempDir;

/// Nobody answers for CodeBuild, in these words.
#[derive(Default)]
struct Away(Mutex<String>);

#[async_trait::async_trait]
impl Builds for Away {
    async fn start(&self, _: &BuildStart) -> Result<String, NotStarted> {
        Err(NotStarted::Unavailable(self.0.lock().unwrap().clone()))
    }

    async fn stop(&self, _: &str) -> Result<(), NotStarted> {
        Ok(())
    }
}

struct World {
    table: LocalTable,
    store: Store,
    queue: Arc<Queue>,
    away: Arc<Away>,
    scheduler: Scheduler,
    starter: Starter,
    run: Run,
    _folder: TempDir,
}

impl World {
    /// A run that was handed out, and whose runner is to be started.
    async fn new() -> Self {
        Self::with(handed_out).await
    }

    /// With this run.
    async fn with(run: fn(Timestamp) -> Run) -> Self {
        let table = LocalTable::in_memory().unwrap();
        let client = aws_sdk_dynamodb::Client::new(&table.config());
        let store = Store::new(client, "gantry".to_owned());
        store.create_table_if_missing().await.unwrap();
        let (clock, _hand) = Clock::stopped_at("2026-03-02T09:00:00Z".parse().unwrap());
        let at = clock.now();
        let now = {
            let clock = clock.clone();
            Arc::new(move || clock.now())
        };
        let folder = tempfile::tempdir().unwrap();
        let secrets = Arc::new(FileSecrets::new(folder.path().join("secrets.json")));
        let (queue, away) = (Arc::new(Queue::default()), Arc::new(Away::default()));
        let sender = Sender::new(Arc::clone(&queue) as _, now.clone());
        let scheduler = Scheduler::new(Deps {
            store: store.clone(),
            sender: sender.clone(),
            dead_letters: Arc::clone(&queue) as _,
            gitlab: Arc::new(Connection::new(store.clone(), secrets, now)),
            signer: Signer::new(&random_secret()),
            clock: clock.clone(),
            limits: Limits::default(),
            roles: None,
            runner_api: RunnerApi::at("http://127.0.0.1:1").unwrap(),
            starter: None,
        });
        let starter = Starter {
            store: store.clone(),
            sender,
            builds: Arc::clone(&away) as _,
            clock,
            api: "http://127.0.0.1:1".to_owned(),
        };
        let run = run(at);
        let slot = SlotEntry {
            run: run.id.clone(),
            stack: run.stack.clone(),
            pool: None,
            taken: true,
            started: 0,
            at,
            drift: false,
        };
        let mut writes = vec![Write::put(keys::run(&run.id), Expect::Absent, &run).unwrap()];
        if run.position == Position::Slot {
            writes.push(Write::put(keys::slot(&run.id), Expect::Absent, &slot).unwrap());
        }
        assert_eq!(store.write(writes).await.unwrap(), Outcome::Written);
        Self { table, store, queue, away, scheduler, starter, run, _folder: folder }
    }

    /// It is tried to start the runner, and the scheduler hears of it, twice. The run then.
    async fn try_to_start(&self, words: &str) -> Stored<Run> {
        *self.away.0.lock().unwrap() = words.to_owned();
        let start = StartMessage::Start {
            run: self.run.id.clone(),
            stack: self.run.stack.clone(),
            phase: self.run.phase,
            attempt: self.run.attempt,
            claim_token: ClaimToken::from("secret-token".to_owned()),
            expires_at: self.run.since + SignedDuration::from_mins(10),
            role: None,
        };
        let failed = self.starter.handle(context(QueueName::Starts), start.into()).await;
        assert!(failed.unwrap_err().retry_after.is_some(), "it is tried again");
        let sent = self.queue.take_sent();
        assert_eq!(sent.len(), 1, "{sent:?}");
        for message in [&sent[0], &sent[0]] {
            self.scheduler.handle(context(QueueName::Events), message.clone()).await.unwrap();
        }
        assert!(self.queue.take_sent().is_empty(), "nobody else needs to know");
        self.now().await
    }

    /// Every slot is taken, by other runs.
    async fn fill_slots(&self) {
        for number in 0..Limits::default().runners {
            let slot = SlotEntry {
                run: format!("other-{number}").parse().unwrap(),
                stack: self.run.stack.clone(),
                pool: None,
                taken: true,
                started: 0,
                at: self.run.since,
                drift: false,
            };
            let write = Write::put(keys::slot(&slot.run), Expect::Absent, &slot).unwrap();
            assert_eq!(self.store.write(vec![write]).await.unwrap(), Outcome::Written);
        }
    }

    /// The run as it is now.
    async fn now(&self) -> Stored<Run> {
        self.store.get::<Run>(&keys::run(&self.run.id)).await.unwrap().unwrap()
    }

    /// The run's stack, which may run.
    async fn add_stack(&self) {
        let stack = include_str!("../../../../shared/store/golden/v1/stack.json");
        let stack: Stack = serde_json::from_str(stack).unwrap();
        let stack = Stack { deleted_at: None, ..stack };
        let integration = include_str!("../../../../shared/store/golden/v1/integration.json");
        let integration: Integration = serde_json::from_str(integration).unwrap();
        let settings = vec![
            Write::put(keys::stack_config(&self.run.stack), Expect::Absent, &stack).unwrap(),
            Write::put(keys::integration(), Expect::Absent, &integration).unwrap(),
        ];
        assert_eq!(self.store.write(settings).await.unwrap(), Outcome::Written);
    }

    /// The run hears that its source is there. What is sent then.
    async fn fetched(&self) -> Vec<Message> {
        let fetched = StackMessage::Fetched {
            stack: self.run.stack.clone(),
            run: self.run.id.clone(),
            is_there: true,
            is_new: true,
            commit: None,
            cause: "c".to_owned(),
        };
        self.scheduler.handle(context(QueueName::Events), fetched.into()).await.unwrap();
        self.queue.take_sent()
    }

    /// The runner says this. What is sent then.
    async fn report(&self, report: Report) -> Vec<Message> {
        let (stack, run, attempt) = (self.run.stack.clone(), self.run.id.clone(), self.run.attempt);
        let said = StackMessage::Report { stack, run, attempt, report };
        self.scheduler.handle(context(QueueName::Events), said.into()).await.unwrap();
        self.queue.take_sent()
    }

    /// The run ends, because its runner is refused. What is said to the dispatcher and to stacks.
    async fn end(&self) -> Vec<Message> {
        let refused = StackMessage::NotStarted {
            stack: self.run.stack.clone(),
            run: self.run.id.clone(),
            attempt: self.run.attempt,
            why: Why::Refused,
            words: "no".to_owned(),
        };
        self.scheduler.handle(context(QueueName::Events), refused.into()).await.unwrap();
        let found = self.now().await;
        assert_eq!(found.value.state, RunState::Failed);
        assert!(found.value.outstanding.is_empty(), "{:?}", found.value.outstanding);
        let mut sent = self.queue.take_sent();
        sent.retain(|message| matches!(message, Message::Slots(_) | Message::Stack(_)));
        sent
    }
}

fn context(queue: QueueName) -> Context {
    Context {
        queue,
        message_id: "m".to_owned(),
        receive_count: 1,
        hops: 0,
        sent_at: None,
        deadline: tokio::time::Instant::now() + Duration::from_secs(60),
    }
}

fn handed_out(at: Timestamp) -> Run {
    let golden = include_str!("../../../../shared/store/golden/v1/run.json");
    let run: Run = serde_json::from_str(golden).unwrap();
    Run {
        run_type: RunType::Proposed,
        state: RunState::Preparing,
        position: Position::Slot,
        phase: Phase::Plan,
        attempt: 1,
        unclaimed: 0,
        runner: None,
        stop_asked: None,
        ending: None,
        applied: false,
        lost: false,
        left_behind: false,
        outstanding: BTreeSet::new(),
        pool: None,
        module: false,
        test: None,
        since: at,
        handed_out_at: Some(at),
        ..run
    }
}

/// A run whose commit's archive is being fetched.
fn waits_for_source(at: Timestamp) -> Run {
    Run {
        state: RunState::Queued,
        position: Position::Source,
        attempt: 0,
        handed_out_at: None,
        ..handed_out(at)
    }
}

#[tokio::test]
async fn a_run_says_why_its_runner_cannot_be_started_and_is_written_when_that_changes() {
    let w = World::new().await;
    let first = w.try_to_start("dispatch failure:\nno route").await;
    let said =
        "A runner could not be started: CodeBuild cannot be reached: dispatch failure: no route";
    assert_eq!(first.value.not_started.as_deref(), Some(said));
    assert_eq!((first.value.state, first.value.position), (RunState::Preparing, Position::Slot));
    let again = w.try_to_start("dispatch failure:\nno route").await;
    assert_eq!(again.version, first.version, "nothing is written for the same words");
    let other = w.try_to_start(&"x".repeat(2_000)).await;
    assert_eq!(other.version, first.version + 1);
    assert!(other.value.not_started.unwrap().chars().count() <= 300);
}

#[tokio::test]
async fn a_preview_that_ends_asks_for_nobody_but_those_who_stand_in_the_queue() {
    let w = World::new().await;
    let sent = w.end().await;
    assert!(sent.is_empty(), "{sent:?}");

    let w = World::new().await;
    let entry = QueueEntry {
        run: "run-2".parse().unwrap(),
        stack: "other".parse().unwrap(),
        phase: Phase::Plan,
        attempt: 0,
        since: None,
        pool: None,
        drift: false,
    };
    let key = keys::queued(1, w.run.created_at, 1, &entry.run);
    let waits = Write::put(key, Expect::Absent, &entry).unwrap();
    assert_eq!(w.store.write(vec![waits]).await.unwrap(), Outcome::Written);
    let sent = w.end().await;
    assert!(matches!(sent[..], [Message::Slots(SlotsMessage::Dispatch { .. })]), "{sent:?}");
}

#[tokio::test]
async fn a_run_whose_source_is_there_takes_a_free_slot_at_once() {
    let w = World::with(waits_for_source).await;
    w.add_stack().await;
    let before = w.now().await;
    for starts in [1, 0] {
        let sent = w.fetched().await;
        let is_start =
            |message: &Message| matches!(message, Message::Start(StartMessage::Start { .. }));
        assert!(sent.len() == starts && sent.iter().all(is_start), "{sent:?}");
    }
    let run = w.now().await;
    assert_eq!(run.version, before.version + 3, "in the queue, handed out, started");
    assert_eq!((run.value.position, run.value.outstanding), (Position::Slot, BTreeSet::new()));
    let slot = w.store.get::<SlotEntry>(&keys::slot(&w.run.id)).await.unwrap().unwrap();
    assert_eq!((slot.value.taken, slot.value.started), (true, 1), "for no other runner");
}

#[tokio::test]
async fn a_slot_that_was_given_and_not_taken_is_taken_by_who_comes_again() {
    let w = World::with(|at| Run { position: Position::Queue, ..waits_for_source(at) }).await;
    w.add_stack().await;
    let entry = QueueEntry {
        run: w.run.id.clone(),
        stack: w.run.stack.clone(),
        phase: w.run.phase,
        attempt: 0,
        since: None,
        pool: None,
        drift: false,
    };
    let slot = SlotEntry {
        run: w.run.id.clone(),
        stack: w.run.stack.clone(),
        pool: None,
        taken: false,
        started: 0,
        at: w.run.since,
        drift: false,
    };
    let key = keys::queued(w.run.queue_class(), w.run.created_at, w.run.number, &w.run.id);
    let there = vec![
        Write::put(key, Expect::Absent, &entry).unwrap(),
        Write::put(keys::slot(&w.run.id), Expect::Absent, &slot).unwrap(),
    ];
    assert_eq!(w.store.write(there).await.unwrap(), Outcome::Written);
    let sent = w.fetched().await;
    assert!(matches!(sent[..], [Message::Start(StartMessage::Start { .. })]), "{sent:?}");
    assert_eq!(w.now().await.value.position, Position::Slot);
}

#[tokio::test]
async fn a_run_that_finds_every_slot_taken_waits_in_the_queue() {
    let w = World::with(waits_for_source).await;
    w.fill_slots().await;
    let sent = w.fetched().await;
    assert!(sent.is_empty(), "{sent:?}");
    assert_eq!(w.now().await.value.position, Position::Queue);
    assert!(w.store.get::<SlotEntry>(&keys::slot(&w.run.id)).await.unwrap().is_none());
}

/// A preview that a runner has claimed, and of which GitLab shows nothing yet.
fn handed_out_of_a_commit(at: Timestamp) -> Run {
    Run { upload: None, last_report: 0, ..handed_out(at) }
}

#[tokio::test]
async fn a_preview_whose_runner_tells_again_is_shown_once_it_does() {
    for tells_again in [true, false] {
        let w = World::with(handed_out_of_a_commit).await;
        let said = |tells_again| ReportKind::Claimed { runner: "local-1".to_owned(), tells_again };
        let sent = w.report(Report::new(0, said(tells_again))).await;
        assert_eq!(sent.is_empty(), tells_again, "{sent:?}");
        let run = w.now().await.value;
        assert_eq!((run.state, run.outstanding), (RunState::Initializing, BTreeSet::new()));
        assert_eq!(run.runner.as_deref(), Some("local-1"));
        if tells_again {
            let again = Report::new(1, said(false));
            assert!(!w.report(again.clone()).await.is_empty());
            assert!(w.report(again).await.is_empty(), "it was told");
        }
    }
}

/// Each takes one read and one write, and all of them together what they have in common. Whoever is
/// interrupted before a run is shown does that when the trigger comes again, and writes no run.
#[tokio::test]
async fn runs_that_are_made_at_the_same_moment_ask_the_table_little() {
    const RUNS: u64 = 8;
    let w = World::new().await;
    let trigger = include_str!("../../../../shared/queue/golden/v1/trigger-tracked.json");
    let message = Envelope::from_body(trigger).unwrap().message;
    let Message::Stack(StackMessage::Trigger { event, trigger, .. }) = message else {
        panic!("it is another message");
    };
    let stack = include_str!("../../../../shared/store/golden/v1/stack.json");
    let mut stack: Stack = serde_json::from_str(stack).unwrap();
    (stack.deleted_at, stack.module, stack.settings.pool) = (None, None, None);
    let gitlab = include_str!("../../../../shared/store/golden/v1/integration.json");
    let gitlab: Integration = serde_json::from_str(gitlab).unwrap();
    let source = keys::fetched_source(&stack.repository, &trigger.commit);
    let there = FetchedSource { at: w.run.since };
    let mut writes = vec![
        Write::put(keys::integration(), Expect::Any, &gitlab).unwrap(),
        Write::put(source, Expect::Any, &there).unwrap(),
    ];
    let stacks: Vec<StackId> = (0..RUNS).map(|n| format!("s{n}").parse().unwrap()).collect();
    for id in &stacks {
        let stack = Stack { id: id.clone(), ..stack.clone() };
        writes.push(Write::put(keys::stack_config(id), Expect::Any, &stack).unwrap());
    }
    w.store.put_all(&writes).await.unwrap();

    let made = async |id: &StackId| -> Stored<Run> {
        let partition = keys::stack_partition(id);
        let entries = w.store.query_all::<RunEntry>(&partition, "run#").await.unwrap();
        assert_eq!(entries.len(), 1, "one run each");
        w.store.get::<Run>(&keys::run(&entries[0].value.run)).await.unwrap().unwrap()
    };
    w.fill_slots().await;
    let triggers = || {
        let handled = stacks.iter().map(|stack| {
            let (stack, event, trigger) = (stack.clone(), event.clone(), trigger.clone());
            let message = StackMessage::Trigger { stack, event, trigger };
            w.scheduler.handle(context(QueueName::Events), message.into())
        });
        futures::future::try_join_all(handled)
    };
    let before = w.table.requests();
    triggers().await.unwrap();
    let asked = w.table.requests() - before;
    assert!(asked <= 4 * RUNS, "{asked} requests for {RUNS} runs");
    let mut versions = Vec::new();
    for id in &stacks {
        let run = made(id).await;
        assert_eq!((run.value.position, run.value.outstanding), (Position::Queue, BTreeSet::new()));
        versions.push(run.version);
    }

    let _made = w.queue.take_sent();
    triggers().await.unwrap();
    let again = w.queue.take_sent();
    let shown = |sent: &Message| matches!(sent, Message::Feedback(_));
    assert!(again.iter().all(shown), "they wait for a slot: {again:?}");
    for (id, version) in stacks.iter().zip(versions) {
        assert_eq!(made(id).await.version, version);
    }
}
