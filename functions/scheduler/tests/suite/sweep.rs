//! A sweep that has more to bring forward than it can at once, and never all the time that it needs.

use crate::queue::Queue;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use gantry_connection::Connection;
use gantry_domain::{
    ProjectId, UserId,
    integration::{BotUser, Integration},
};
use gantry_local_table::LocalTable;
use gantry_queue::{
    Context, Handler as _, LaterMessage, Message, ProjectMessage, QueueName, Sender, SlotsMessage,
};
use gantry_scheduler::{Deps, Limits, RunnerApi, Scheduler};
use gantry_secrets::{FileSecrets, Signer, random_secret};
use gantry_setup::{Clock, clock::ClockHand};
use gantry_store::{
    Expect, Key, Outcome, Store, Write,
    config::ProjectEntry,
    feedback::Published,
    keys,
    scheduler::{Comparing, GivenUp},
    table::ATTENTION_SHARDS,
};
use jiff::{SignedDuration, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;

/// More than a sweep brings forward that ends early.
const DUE: usize = 2400;
const MINUTE: Duration = Duration::from_secs(60);

/// A scheduler, with its table and what it sends.
pub(crate) struct World {
    table: LocalTable,
    pub(crate) store: Store,
    pub(crate) queue: Arc<Queue>,
    pub(crate) clock: Clock,
    hand: ClockHand,
    pub(crate) scheduler: Scheduler,
    _folder: TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Limits::default()).await
    }

    pub(crate) async fn with(limits: Limits) -> Self {
        let table = LocalTable::in_memory().unwrap();
        let client = aws_sdk_dynamodb::Client::new(&table.config());
        let store = Store::new(client, "gantry".to_owned());
        store.create_table_if_missing().await.unwrap();

        let (clock, hand) = Clock::stopped_at("2026-03-02T09:00:00Z".parse().unwrap());
        let now = {
            let clock = clock.clone();
            Arc::new(move || clock.now())
        };
        let folder = tempfile::tempdir().unwrap();
        let secrets = Arc::new(FileSecrets::new(folder.path().join("secrets.json")));
        let queue = Arc::new(Queue::default());
        let scheduler = Scheduler::new(Deps {
            store: store.clone(),
            sender: Sender::new(Arc::clone(&queue) as _, now.clone()),
            dead_letters: Arc::clone(&queue) as _,
            gitlab: Arc::new(Connection::new(store.clone(), secrets, now)),
            signer: Signer::new(&random_secret()),
            clock: clock.clone(),
            limits,
            roles: None,
            runner_api: RunnerApi::at("http://127.0.0.1:1").unwrap(),
            starter: None,
        });
        Self { table, store, queue, clock, hand, scheduler, _folder: folder }
    }

    /// A minute later a sweep, whose time is over after so many messages. What it sent.
    pub(crate) async fn sweep(&self, messages: usize) -> Vec<Message> {
        self.hand.advance(MINUTE);
        *self.queue.takes.lock().unwrap() = messages;
        // Several messages may have met the end of the sweep before.
        let _of_before = self.queue.is_over.notified().now_or_never();
        let context = context();
        let sweep = SlotsMessage::Sweep { cause: "test".to_owned() };
        tokio::select! {
            () = self.queue.is_over.notified() => {}
            done = self.scheduler.handle(context, sweep.into()) => done.unwrap(),
        }
        self.queue.take_sent()
    }

    pub(crate) async fn write(&self, write: Write) {
        assert_eq!(self.store.write(vec![write]).await.unwrap(), Outcome::Written);
    }

    /// What is due now, by its shard.
    async fn due(&self) -> BTreeMap<String, u16> {
        let mut due = BTreeMap::new();
        for shard in 0..ATTENTION_SHARDS {
            let keys = self.store.maybe_due(shard, self.clock.now(), 1000).await.unwrap();
            let targets = keys.iter().filter_map(Store::feedback_target);
            due.extend(targets.map(|target| (target.to_owned(), shard)));
        }
        due
    }

    /// So many targets that are due.
    async fn are_due(&self, targets: usize) {
        let targets = (1..=targets).map(|n| format!("status:1:{n:040x}"));
        futures::stream::iter(targets.map(Ok))
            .try_for_each_concurrent(16, |target| {
                let (store, now) = (self.store.clone(), self.clock.now());
                async move { store.raise_want(&target, now).await.map(drop) }
            })
            .await
            .unwrap();
        self.hand.advance(2 * MINUTE);
    }

    /// As the publisher does.
    async fn publish(&self, target: &str) {
        let counters = self.store.counters(target).await.unwrap();
        let published = self.store.published(target, counters.want, self.clock.now()).await;
        assert_eq!(published.unwrap(), Published::UpToDate);
    }
}

/// What a message comes with.
pub(crate) fn context() -> Context {
    Context {
        queue: QueueName::Events,
        message_id: "m".to_owned(),
        receive_count: 1,
        hops: 0,
        sent_at: None,
        deadline: tokio::time::Instant::now() + MINUTE,
    }
}

/// The targets of what was brought forward.
fn brought(sent: Vec<Message>) -> Vec<String> {
    let target = |message| match message {
        Message::Later(LaterMessage::Resend { message, .. }) => message.group().unwrap(),
        other => panic!("not brought forward: {}", other.kind()),
    };
    sent.into_iter().map(target).collect()
}

#[tokio::test]
async fn all_that_is_due_is_brought_forward_however_much_it_is_and_however_often_a_sweep_ends_early()
 {
    let w = World::new().await;
    // The oldest of all, and nothing that anybody can read.
    let unreadable = (0..50).map(|n| {
        let key = Key::new(format!("run/unreadable-{n}"), keys::HEAD);
        Write::put(key, Expect::Any, &"no run").unwrap().due(Some(Timestamp::UNIX_EPOCH))
    });
    w.store.put_all(&unreadable.collect::<Vec<_>>()).await.unwrap();
    w.are_due(DUE).await;
    let due = w.due().await;
    assert_eq!(due.len(), DUE);

    // Nobody does what is nudged. Even so each shard has its turn.
    let mut turns = BTreeSet::new();
    for _ in 0..ATTENTION_SHARDS {
        turns.extend(brought(w.sweep(100).await).iter().map(|target| due[target]));
    }
    assert_eq!(turns.len(), usize::from(ATTENTION_SHARDS), "{turns:?} had their turns");

    // What is nudged is done, and the rest goes on in the next sweep.
    let mut sweeps = 0;
    let mut left: BTreeSet<String> = due.into_keys().collect();
    while !left.is_empty() {
        sweeps += 1;
        assert!(sweeps <= DUE / 800 + 2, "{} are left after {sweeps} sweeps", left.len());
        let brought = brought(w.sweep(800).await);
        left.retain(|target| !brought.contains(target));
        futures::stream::iter(&brought).for_each_concurrent(16, |target| w.publish(target)).await;
    }
    // The end of a sweep with all the time that it needs.
    assert!(w.sweep(usize::MAX).await.is_empty());
}

#[tokio::test]
async fn one_sweep_with_time_enough_brings_10000_items_forward_in_few_requests() {
    const ITEMS: usize = 10_000;
    let w = World::new().await;
    w.are_due(ITEMS).await;
    let before = w.table.requests();
    let brought: BTreeSet<String> = brought(w.sweep(usize::MAX).await).into_iter().collect();
    assert_eq!(brought.len(), ITEMS);
    // Items are read together, and nothing else of the sweep goes by how many they are.
    let requests = w.table.requests() - before;
    assert!(requests < 400, "{requests} requests of the table");
}

#[tokio::test]
async fn what_needs_nothing_is_not_looked_at_again_and_what_was_raised_meanwhile_is() {
    const ITEMS: usize = 120;
    let w = World::new().await;
    w.are_due(ITEMS).await;
    let (now, due) = (w.clock.now(), w.due().await);
    for (number, target) in due.keys().enumerate() {
        w.publish(target).await;
        // Noted as sent after it was done: due, and nothing is to be done.
        let want = w.store.counters(target).await.unwrap().want;
        w.store.nudge_sent(target, want, now - SignedDuration::from_mins(5)).await.unwrap();
        if number % 3 == 0 {
            let before = w.store.counters(target).await.unwrap();
            w.store.raise_want(target, now - SignedDuration::from_mins(5)).await.unwrap();
            // As a sweep that has read it before.
            w.store.no_longer_due(target, before).await.unwrap();
        }
    }
    assert_eq!(w.due().await.len(), ITEMS);
    let brought = brought(w.sweep(usize::MAX).await);
    assert_eq!(brought.len(), ITEMS / 3);
    assert_eq!(w.due().await.len(), ITEMS / 3, "the others are not due any more");
}

/// A project with its comparison, which is due or comes much later.
async fn add_project(w: &World, project: u64, is_due: bool) {
    let project = ProjectId(project);
    let entry = ProjectEntry {
        project,
        path: format!("acme/network-{project}"),
        hook: None,
        statuses: Default::default(),
    };
    w.write(Write::put(keys::project(project), Expect::Absent, &entry).unwrap()).await;
    let now = w.clock.now();
    let next_at = Some(if is_due { now } else { now + SignedDuration::from_hours(99) });
    let comparing = Comparing { last_at: Some(now), next_at, calls: 4, ..Comparing::default() };
    w.write(Write::put(keys::comparing(project), Expect::Absent, &comparing).unwrap()).await;
}

#[tokio::test]
async fn what_gitlab_refused_is_asked_again_within_the_budget_of_comparing() {
    let w = World::new().await;
    let integration = Integration {
        api_host: "https://gitlab.example".to_owned(),
        generation: 1,
        linked: true,
        server_version: None,
        bot: BotUser { id: UserId(1), username: "gantry".to_owned() },
        previous_bot: None,
        token_scopes: vec![],
        token_expires_on: None,
        saved_at: Timestamp::UNIX_EPOCH,
        installation: "i".to_owned(),
    };
    w.write(Write::put(keys::integration(), Expect::Absent, &integration).unwrap()).await;
    let refuse = async |target: &str| {
        w.store.raise_want(target, w.clock.now()).await.unwrap();
        let (counters, now) = (w.store.counters(target).await.unwrap(), w.clock.now());
        let words = Some("403 Forbidden".to_owned());
        w.store.note_refusal(target, counters, words, now).await.unwrap();
        w.publish(target).await;
    };
    let mut unasked = BTreeSet::new();
    for project in 1..=10 {
        // The last one has no stack any more.
        if project < 10 {
            add_project(&w, project, false).await;
        }
        for number in 1..=20 {
            let target = format!("status:{project}:{number:040x}");
            refuse(&target).await;
            unasked.insert(target);
        }
    }
    add_project(&w, 11, true).await;

    let mut compared = false;
    let mut repeats = Vec::new();
    while !unasked.is_empty() {
        let mut asked = 0;
        for message in w.sweep(usize::MAX).await {
            if let Message::Project(ProjectMessage::Compare { project, .. }) = message {
                compared |= project == ProjectId(11);
                continue;
            }
            let target = message.group().unwrap();
            refuse(&target).await;
            unasked.remove(&target);
            asked += 1;
        }
        repeats.push(asked);
        assert!(repeats.len() < 12, "after {repeats:?} others, {} are left", unasked.len());
    }
    assert!(compared, "nobody waits for ever");
    // Each takes two calls. What is left of the minute before is not lost, and what is begun may take
    // more than is left.
    let most = |minutes: usize| 30 * (minutes + 1) + 10;
    let mut all = 0;
    for (minutes, asked) in repeats.iter().enumerate() {
        all += asked;
        assert!(all <= most(minutes), "{repeats:?} repeats in a minute each");
    }
}

#[tokio::test]
async fn how_many_messages_were_given_up_is_written_down_when_it_changes() {
    let w = World::new().await;
    let sweep = async |dead: Option<[u64; 2]>| {
        *w.queue.dead.lock().unwrap() = dead;
        w.sweep(usize::MAX).await;
        w.store.get::<GivenUp>(&keys::given_up()).await.unwrap()
    };
    assert_eq!(sweep(Some([0, 0])).await, None);
    let first = sweep(Some([2, 0])).await.unwrap();
    let noticed = w.clock.now();
    assert_eq!(first.value, GivenUp { count: 2, since: noticed });
    assert_eq!(sweep(Some([2, 0])).await.as_ref(), Some(&first), "the same is not written again");
    // What is not known changes nothing, and ends no sweep.
    assert_eq!(sweep(None).await.as_ref(), Some(&first));
    let more = sweep(Some([1, 2])).await.unwrap();
    assert_eq!(more.value, GivenUp { count: 3, since: noticed });
    assert_eq!(sweep(Some([0, 0])).await, None, "all were sent again");
    let again = sweep(Some([0, 1])).await.unwrap();
    assert_eq!(again.value, GivenUp { count: 1, since: w.clock.now() });
}
