//! The sweep: what no message brought forward. It asks the index which items *might* be due, reads
//! each of them, and nudges whoever owns it. It changes nothing itself but due times that say
//! nothing any more, and what it counts for the pages.

use crate::{
    deps::Deps,
    notifying::Notifying,
    nudges::distinct,
    projects::Projects,
    runs::{Runs, queue_key},
    slots::{Slots, count_own},
};
use futures::{StreamExt as _, TryStreamExt as _, future::try_join_all};
use gantry_domain::{
    ProjectId, RunId, StackId,
    integration::days_left,
    run::{Position, Run, RunState},
    stack::Stack,
    timer::{StackTimer, Times},
};
use gantry_queue::{
    Failure, FeedbackMessage, LaterMessage, Message, QueueName, SlotsMessage, StackMessage,
};
use gantry_setup::metrics;
use gantry_store::{
    Expect, Key, Store, Stored, Write,
    config::{DriftDefaults, SlugEntry},
    health::Health,
    keys,
    scheduler::{
        BlockedStack, DriftedStack, GivenUp, Heard, QueueEntry, RunEntry, SlotEntry, TimersLook,
    },
    table::ATTENTION_SHARDS,
};
use jiff::{SignedDuration, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    slice,
};

/// Items of one shard that one sweep looks at; the rest is left to the next.
const AT_ONCE: i32 = 1000;
/// How many shards are looked at side by side, and how many items of each are read, and nudged,
/// together: the sweep has 30 s on AWS.
const SHARDS_AT_ONCE: usize = 4;
const TOGETHER: usize = 50;
/// How many due times of one shard are taken away side by side.
const TAKEN_AWAY_AT_ONCE: usize = 10;
/// How many stacks one sweep asks whether their timers are what their settings say, and how often all
/// of them are asked.
const TIMERS_AT_ONCE: i32 = 500;
const TIMERS_EVERY: SignedDuration = SignedDuration::from_mins(10);

fn waits_for_runner(state: &RunState) -> bool {
    matches!(state, RunState::Preparing | RunState::Confirmed)
}

/// What the timer does.
pub(crate) struct Sweep<'a> {
    pub(crate) deps: &'a Deps,
    pub(crate) slots: Slots<'a>,
    pub(crate) runs: Runs<'a>,
    pub(crate) projects: Projects<'a>,
}

impl Sweep<'_> {
    pub(crate) async fn on_sweep(&self) -> Result<(), Failure> {
        let now = self.deps.now();
        // First, because what messages are given up for may end the sweep too.
        if let Err(failure) = self.note_given_up().await {
            tracing::error!("the sweep could not count dead letters: {:#}", failure.error);
        }
        let taken = self.slots.all().await?;
        if !taken.is_empty() {
            self.note_heard().await?;
        }
        // Another shard is the first each time: where the time does not suffice for all, each gets
        // its turn.
        let minute = now.as_second() / 60;
        let first = u16::try_from(minute.rem_euclid(ATTENTION_SHARDS.into())).unwrap_or_default();
        let shards = (0..ATTENTION_SHARDS).map(|shard| (first + shard) % ATTENTION_SHARDS);
        futures::stream::iter(shards)
            .map(|shard| self.sweep_shard(shard, now))
            .buffered(SHARDS_AT_ONCE)
            .try_collect::<()>()
            .await?;
        let queue = self.deps.store.query::<QueueEntry>(keys::QUEUE, "", None, false, 1000).await?;
        if !queue.items.is_empty() {
            let cause = format!("sweep.{}", now.as_millisecond());
            self.deps.sender.send(SlotsMessage::Dispatch { cause }).await?;
        }
        self.projects.call_in_turn(now).await?;
        if let Err(failure) = Box::pin(self.look_at_timers(now)).await {
            tracing::error!("the sweep could not look at timers: {:#}", failure.error);
        }
        let runs = self.runs_of(&taken).await?;
        self.move_pools_over(&taken, &runs).await?;
        if let Err(failure) = self.measure(&queue.items, &taken, &runs).await {
            tracing::error!("the sweep could not measure: {:#}", failure.error);
        }
        if let Err(failure) = Box::pin(Notifying::of_what_lasts(self.deps)).await {
            tracing::error!("the sweep could not have anybody notified: {:#}", failure.error);
        }
        Ok(())
    }

    /// Writes down how many messages were given up, where that has changed.
    async fn note_given_up(&self) -> Result<(), Failure> {
        let counts = QueueName::ALL.map(|queue| self.deps.dead_letters.count_dead_letters(queue));
        let count: u64 = try_join_all(counts).await?.into_iter().sum();
        let key = keys::given_up();
        let found = self.deps.store.get::<GivenUp>(&key).await?;
        if found.as_ref().map_or(0, |found| found.value.count) == count {
            return Ok(());
        }
        let expect = found.as_ref().map_or(Expect::Absent, Stored::unchanged);
        let since = found.map_or_else(|| self.deps.now(), |found| found.value.since);
        let write = match count {
            0 => Write::Delete { key, expect },
            count => Write::put(key, expect, &GivenUp { count, since })?,
        };
        let _or_another_sweep_did = self.deps.store.write(vec![write]).await?;
        Ok(())
    }

    /// Writes down since when runners can be heard.
    async fn note_heard(&self) -> Result<(), Failure> {
        let key = keys::heard();
        let answers = self.deps.runner_api.answers().await;
        let found = self.deps.store.get::<Heard>(&key).await?;
        let expect = found.as_ref().map_or(Expect::Absent, Stored::unchanged);
        let write = match answers {
            Ok(()) => {
                let longest = self.deps.limits.sweep_every * 2;
                let heard = Heard::after(found.map(|found| found.value), self.deps.now(), longest);
                Write::put(key, expect, &heard)?
            }
            Err(error) => {
                tracing::warn!(
                    "runner-api does not answer, so no run is considered lost: {error:#}"
                );
                if found.is_none() {
                    return Ok(());
                }
                Write::Delete { key, expect }
            }
        };
        let _or_another_sweep_did = self.deps.store.write(vec![write]).await?;
        Ok(())
    }

    async fn sweep_shard(&self, shard: u16, now: Timestamp) -> Result<(), Failure> {
        let due = self.deps.store.maybe_due(shard, now, AT_ONCE).await?;
        for together in due.chunks(TOGETHER) {
            if self.bring_forward(together).await.is_ok() {
                continue;
            }
            for key in together {
                if let Err(failure) = self.bring_forward(slice::from_ref(key)).await {
                    // One item must not hide the others.
                    tracing::error!(item = %key, "the sweep skipped an item: {:#}", failure.error);
                }
            }
        }
        Ok(())
    }

    /// In the version before, runs of pools waited behind all others in the queue, and then in a slot.
    /// They go to the queues of their pools.
    async fn move_pools_over(
        &self,
        slots: &[Stored<SlotEntry>],
        runs: &BTreeMap<RunId, RunState>,
    ) -> Result<(), Failure> {
        let now = self.deps.now().as_millisecond();
        let waits = |slot: &&Stored<SlotEntry>| {
            let state = runs.get(&slot.value.run);
            slot.value.pool.is_some() && slot.value.taken && state.is_some_and(waits_for_runner)
        };
        for slot in slots.iter().filter(waits) {
            let SlotEntry { run, stack, .. } = slot.value.clone();
            let version = distinct(&(&run, now));
            self.deps.sender.send(StackMessage::RunDue { stack, run, version }).await?;
        }
        for entry in
            self.deps.store.query_all::<QueueEntry>(keys::QUEUE, keys::POOLS_BEFORE).await?
        {
            let QueueEntry { run, stack, .. } = entry.value.clone();
            let mut writes =
                vec![Write::Delete { key: entry.key.clone(), expect: entry.unchanged() }];
            let found = self.deps.store.get::<Run>(&keys::run(&run)).await?;
            if let Some(found) = found.filter(|found| found.value.position == Position::Queue) {
                writes.push(Write::Check { key: found.key.clone(), expect: found.unchanged() });
                writes.push(Write::put(queue_key(&found.value), Expect::Any, &entry.value)?);
                writes.push(Write::Delete { key: keys::slot(&run), expect: Expect::Any });
            }
            let _or_the_next_sweep = self.deps.store.write(writes).await?;
            let grant = distinct(&(&run, now));
            self.deps.sender.send(StackMessage::Grant { stack, run, grant }).await?;
        }
        Ok(())
    }

    /// How things stand, for graphs and alarms.
    async fn measure(
        &self,
        queue: &[Stored<QueueEntry>],
        slots: &[Stored<SlotEntry>],
        runs: &BTreeMap<RunId, RunState>,
    ) -> Result<(), Failure> {
        let now = self.deps.now();
        let taken_slots = count_own(slots);
        let of_pools =
            self.deps.store.query::<QueueEntry>(keys::POOL_QUEUES, "", None, false, 1000);
        let of_pools = of_pools.await?.items;
        let waiting = || queue.iter().chain(&of_pools);
        // Looks for drift wait behind all others, and may do so for hours.
        let others = waiting().filter(|entry| !entry.value.drift);
        let oldest = others.filter_map(|entry| entry.value.since).min();
        let waits = oldest.map_or(0, |oldest| now.duration_since(oldest).as_secs());
        metrics::level("InRoom", i64::try_from(taken_slots).unwrap_or(i64::MAX));
        metrics::level("InLine", i64::try_from(queue.len()).unwrap_or(i64::MAX));
        metrics::level("OldestInLine", waits);
        let mut states = BTreeMap::from([("waiting".to_owned(), waiting().count())]);
        let unconfirmed =
            self.deps.store.query::<RunEntry>(keys::WAITING, "", None, false, 1000).await?;
        states.insert(RunState::Unconfirmed.to_string(), unconfirmed.items.len());
        for state in runs.values() {
            *states.entry(state.to_string()).or_default() += 1;
        }
        for (state, how_many) in states {
            metrics::level_of("RunsNow", "State", &state, how_many);
        }
        metrics::level("BlockedStacks", self.count_blocked().await?);
        self.forget_deleted(keys::FAILED).await?;
        let drifted = self.forget_deleted(keys::DRIFTED).await?;
        metrics::level("DriftedStacks", i64::try_from(drifted).unwrap_or(i64::MAX));
        let mut broken = 0;
        for function in ["scheduler", "publisher"] {
            let health = self.deps.store.get::<Health>(&keys::health(function)).await?;
            broken |= i64::from(health.is_some_and(|health| health.value.broken.is_some()));
        }
        metrics::level("IntegrationBroken", broken);
        let integration = self.deps.store.integration().await?;
        let expires = integration.and_then(|found| found.value.token_expires_on);
        if let Some(days) = expires.and_then(|day| days_left(&day, now)) {
            metrics::level("TokenDaysLeft", days.into());
        }
        Ok(())
    }

    /// How many stacks are blocked. Those that are not any more leave the list.
    async fn count_blocked(&self) -> Result<i64, Failure> {
        let mut blocked = 0;
        for listed in self.deps.store.query_all::<BlockedStack>(keys::BLOCKED, "").await? {
            let stack = &listed.value.stack;
            let is_there = self.deps.store.stack(stack).await?.is_some();
            if is_there && self.runs.head(stack).await?.value.blocked.is_some() {
                blocked += 1;
            } else {
                let gone = Write::Delete { key: listed.key.clone(), expect: listed.unchanged() };
                let _or_blocked_again = self.deps.store.write(vec![gone]).await?;
            }
        }
        Ok(blocked)
    }

    /// Takes stacks that were deleted from a list of stacks. How many are left.
    async fn forget_deleted(&self, list: &str) -> Result<usize, Failure> {
        // An entry of any of the lists names its stack.
        let listed = self.deps.store.query_all::<DriftedStack>(list, "").await?;
        let mut left = 0;
        for listed in listed.chunks(100) {
            let wanted: Vec<Key> =
                listed.iter().map(|listed| keys::stack_config(&listed.value.stack)).collect();
            let mut stacks = self.deps.store.get_many::<Stack>(&wanted).await?;
            stacks.retain(|stack| stack.value.deleted_at.is_none());
            left += stacks.len();
            let there: BTreeSet<&StackId> = stacks.iter().map(|stack| &stack.value.id).collect();
            for listed in listed.iter().filter(|listed| !there.contains(&listed.value.stack)) {
                let gone = Write::Delete { key: listed.key.clone(), expect: listed.unchanged() };
                let _or_written_again = self.deps.store.write(vec![gone]).await?;
            }
        }
        Ok(left)
    }

    /// Nudges stacks whose timers are not what they ask for, some with each sweep: a message that
    /// should have set one may have been lost, and what the installation asks of all stacks may have
    /// become another. Then it begins anew at once.
    async fn look_at_timers(&self, now: Timestamp) -> Result<(), Failure> {
        let store = &self.deps.store;
        let (place, settings) = (keys::timers_look(), keys::drift_defaults());
        let (look, defaults) = futures::try_join!(
            store.get::<TimersLook>(&place),
            store.get::<DriftDefaults>(&settings)
        )?;
        let version = defaults.as_ref().map_or(0, |found| found.version);
        let known = look.as_ref().map(|look| &look.value).filter(|look| look.defaults == version);
        let after = known.and_then(|look| look.after.clone());
        // A clock may be set back.
        let rests = |look: &TimersLook| now < look.next_at && look.next_at <= now + TIMERS_EVERY;
        if after.is_none() && known.is_some_and(rests) {
            return Ok(());
        }
        let page = store
            .query::<SlugEntry>(keys::SLUGS, "", after.as_deref(), false, TIMERS_AT_ONCE)
            .await?;
        let asked = page.items.iter().filter(|entry| !entry.value.deleted && !entry.value.module);
        let asked: Vec<&StackId> = asked.map(|entry| &entry.value.stack).collect();
        let stacks: Vec<Key> = asked.iter().map(|stack| keys::stack_config(stack)).collect();
        let timers: Vec<Key> = asked.iter().map(|stack| keys::stack_timer(stack)).collect();
        let stacks = store.get_many::<Stack>(&stacks).await?;
        let timers = store.get_many::<StackTimer>(&timers).await?;
        let timers: HashMap<StackId, StackTimer> =
            timers.into_iter().map(|timer| (timer.value.stack.clone(), timer.value)).collect();
        let installation = defaults.and_then(|defaults| defaults.value.schedule);
        let is_another = |stack: &Stack| {
            let known = timers.get(&stack.id);
            Times::of(stack, installation.as_ref()).timer(known, now).as_ref() != known
        };
        let nudge = |stack: StackId| {
            let version = distinct(&(&stack, now.as_millisecond()));
            StackMessage::TimerDue { stack, version }
        };
        let stacks = stacks.into_iter().map(|stack| stack.value).filter(is_another);
        let nudges: Vec<StackMessage> = stacks.map(|stack| nudge(stack.id)).collect();
        if !nudges.is_empty() {
            self.deps.sender.send_all(nudges).await?;
        }
        let next_at = now + TIMERS_EVERY;
        let expect = look.as_ref().map_or(Expect::Absent, Stored::unchanged);
        let look = TimersLook { defaults: version, after: page.next, next_at };
        let _or_another_sweep_did = store.write(vec![Write::put(place, expect, &look)?]).await?;
        Ok(())
    }

    /// The states of the runs that have a slot.
    async fn runs_of(
        &self,
        slots: &[Stored<SlotEntry>],
    ) -> Result<BTreeMap<RunId, RunState>, Failure> {
        let mut states = BTreeMap::new();
        let keys: Vec<Key> = slots.iter().map(|slot| keys::run(&slot.value.run)).collect();
        for keys in keys.chunks(100) {
            let runs = self.deps.store.get_many::<Run>(keys).await?;
            states.extend(runs.into_iter().map(|run| (run.value.id, run.value.state)));
        }
        Ok(states)
    }

    /// Reads these items, and nudges whoever owns them.
    async fn bring_forward(&self, keys: &[Key]) -> Result<(), Failure> {
        let store = &self.deps.store;
        let cause = self.deps.now().as_millisecond();
        let (mut targets, mut runs, mut slots) = (Vec::new(), Vec::new(), Vec::new());
        let mut timers = Vec::new();
        for key in keys {
            if let Some(target) = Store::feedback_target(key) {
                targets.push(target);
                continue;
            }
            match key.pk.split('/').collect::<Vec<_>>().as_slice() {
                ["run", _] => runs.push(key.clone()),
                ["room", _] => slots.push(key.clone()),
                ["stack", _] if key.sk == keys::TIMER => timers.push(key.clone()),
                // A comparison is due so only where a version before wrote it.
                ["event", "project", project] | ["decision", "project", project] => {
                    if let Ok(project) = project.parse() {
                        let project = ProjectId(project);
                        self.projects.compare_soon(project, cause.to_string()).await?;
                    }
                }
                _ => {}
            }
        }
        let mut messages: Vec<Message> = Vec::new();
        for run in store.get_many::<Run>(&runs).await? {
            let version = distinct(&(run.version, cause / 60_000));
            let (stack, run) = (run.value.stack, run.value.id);
            messages.push(StackMessage::RunDue { stack, run, version }.into());
        }
        for slot in store.get_many::<SlotEntry>(&slots).await? {
            if !slot.value.taken {
                let grant = distinct(&cause);
                let SlotEntry { stack, run, .. } = slot.value;
                messages.push(StackMessage::Grant { stack, run, grant }.into());
            }
        }
        for timer in store.get_many::<StackTimer>(&timers).await? {
            // What the index said may be over.
            if timer.value.next_at().is_some_and(|at| at <= self.deps.now()) {
                let version = distinct(&(timer.version, cause / 60_000));
                let stack = timer.value.stack;
                messages.push(StackMessage::TimerDue { stack, version }.into());
            }
        }
        let mut done = Vec::new();
        for (target, counters) in store.counters_of(&targets).await? {
            if counters.want <= counters.done {
                done.push((target.to_owned(), counters));
            } else if let Some(nudge) = FeedbackMessage::for_target(target) {
                // The same number may have been sent within the queue's five minutes: `later` gives
                // the nudge an id of its own, a new one each minute. Sweeps that come by more often
                // than what they nudge is done do not pile it up.
                let message = Box::new(nudge.numbered(counters.want).into());
                let cause = format!("sweep.{}", cause / 60_000);
                messages.push(LaterMessage::Resend { message, cause }.into());
            }
        }
        // Left by nudges that were done before they were noted as sent. Items that need nothing must
        // not stand before those that do. Each is written on condition that nobody has raised its want
        // meanwhile, which no batch of DynamoDB can ask item by item: so they are many at a time.
        futures::stream::iter(done)
            .map(|(target, counters)| async move { store.no_longer_due(&target, counters).await })
            .buffer_unordered(TAKEN_AWAY_AT_ONCE)
            .try_collect::<()>()
            .await?;
        match messages.is_empty() {
            true => Ok(()),
            false => Ok(self.deps.sender.send_all(messages).await?),
        }
    }
}
