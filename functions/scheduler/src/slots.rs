//! Slots for runners: who gets the next one.
//!
//! The dispatcher writes no run. It grants a slot by a message to the stack's group, which takes
//! it in one transaction with the run, or gives it back.

use crate::{deps::Deps, nudges::distinct};
use gantry_domain::RunId;
use gantry_queue::{Failure, SlotsMessage, StackMessage};
use gantry_store::{
    Expect, Outcome, Stored, Write,
    config::Pause,
    keys,
    scheduler::{QueueEntry, SlotEntry, SlotLimit},
};
use jiff::SignedDuration;
use std::time::Duration;

/// A granted slot that nobody took by then is looked at.
const TAKEN_WITHIN: SignedDuration = SignedDuration::from_secs(60);

/// How often the queue is looked at where others write its entries meanwhile.
const LOOKS: usize = 5;

/// How many of the slots are for the installation's own runners, not for workers of pools.
pub(crate) fn count_own(slots: &[Stored<SlotEntry>]) -> usize {
    slots.iter().filter(|slot| slot.value.pool.is_none()).count()
}

/// The slots for runners.
#[derive(Clone, Copy)]
pub(crate) struct Slots<'a> {
    pub(crate) deps: &'a Deps,
}

impl Slots<'_> {
    /// Gives free slots to the first of the queue. Where somebody else writes an entry just then, it is
    /// looked again: the run may still wait.
    pub(crate) async fn on_dispatch(&self) -> Result<(), Failure> {
        for _ in 0..LOOKS {
            if self.give_free().await? {
                return Ok(());
            }
        }
        let why = anyhow::anyhow!("others write the entries of the queue right now");
        Err(Failure::wait(why, Duration::from_secs(1)))
    }

    /// False where it met another write.
    async fn give_free(&self) -> Result<bool, Failure> {
        if self.deps.store.get::<Pause>(&keys::pause()).await?.is_some() {
            return Ok(true);
        }
        let limit = self.limit().await? as usize;
        let taken_slots = self.all().await?;
        let is_granted = |entry: &Stored<QueueEntry>| {
            taken_slots.iter().any(|slot| slot.value.run == entry.value.run)
        };
        let taken = count_own(&taken_slots);
        let mut free = limit.saturating_sub(taken);
        if free == 0 {
            return Ok(true);
        }
        // Runs that were granted a slot are still in the queue until they take it.
        let look_at = i32::try_from(free + taken).unwrap_or(i32::MAX);
        let queue =
            self.deps.store.query::<QueueEntry>(keys::QUEUE, "", None, false, look_at).await?;
        for entry in queue.items.into_iter().filter(|entry| !is_granted(entry)) {
            if free == 0 || entry.key.sk.starts_with(keys::POOLS_BEFORE) {
                break;
            }
            if !self.grant(entry).await? {
                return Ok(false);
            }
            free -= 1;
        }
        Ok(true)
    }

    /// Gives the run a slot, unless it left the queue meanwhile.
    async fn grant(&self, entry: Stored<QueueEntry>) -> Result<bool, Failure> {
        let QueueEntry { run, stack, attempt, pool, .. } = entry.value;
        let now = self.deps.now();
        let slot = SlotEntry {
            run: run.clone(),
            stack: stack.clone(),
            pool,
            taken: false,
            started: 0,
            at: now,
        };
        let granted = vec![
            Write::put(keys::slot(&run), Expect::Absent, &slot)?.due(Some(now + TAKEN_WITHIN)),
            Write::Check { key: entry.key, expect: Expect::Present },
        ];
        if self.deps.store.write(granted).await? != Outcome::Written {
            return Ok(false);
        }
        let grant = distinct(&(&run, attempt, now.as_millisecond()));
        self.deps.sender.send(StackMessage::Grant { stack, run, grant }).await?;
        Ok(true)
    }

    /// How many runs may have a runner now.
    async fn limit(&self) -> Result<u32, Failure> {
        let set = self.deps.limits.runners;
        let limit = self.deps.store.get::<SlotLimit>(&keys::slot_limit()).await?;
        Ok(limit.map_or(set, |limit| limit.value.allows(set, self.deps.now())))
    }

    /// Every slot that is taken, or granted.
    pub(crate) async fn all(&self) -> Result<Vec<Stored<SlotEntry>>, Failure> {
        Ok(self.deps.store.query_all::<SlotEntry>(keys::SLOTS, "").await?)
    }

    /// True when every slot is taken.
    pub(crate) async fn are_full(&self) -> Result<bool, Failure> {
        Ok(count_own(&self.all().await?) >= self.deps.limits.runners as usize)
    }

    /// True when a run stands in the queue.
    pub(crate) async fn are_wanted(&self) -> Result<bool, Failure> {
        let first = self.deps.store.query::<QueueEntry>(keys::QUEUE, "", None, false, 1).await?;
        Ok(!first.items.is_empty())
    }

    /// That the cloud, in its own `words`, takes no more runners than it has now.
    pub(crate) async fn limited(&self, words: &str) -> Result<Write, Failure> {
        let taken = count_own(&self.all().await?);
        let runners = u32::try_from(taken.saturating_sub(1)).unwrap_or(0);
        let (set, since) = (self.deps.limits.runners, self.deps.now());
        let limit = SlotLimit { runners, set, since, words: words.to_owned() };
        Ok(Write::put(keys::slot_limit(), Expect::Any, &limit)?)
    }

    /// Frees a slot that was granted to a run which does not need it any more.
    pub(crate) async fn give_back(&self, run: &RunId, expect: Expect) -> Result<(), Failure> {
        let key = keys::slot(run);
        if self.deps.store.write(vec![Write::Delete { key, expect }]).await? == Outcome::Written {
            let cause = format!("{run}.back.{}", self.deps.now().as_millisecond());
            self.deps.sender.send(SlotsMessage::Dispatch { cause }).await?;
        }
        Ok(())
    }
}
