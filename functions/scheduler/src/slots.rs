//! Slots for runners: who gets the next one.
//!
//! Whoever brings a run to the queue gives the slots that are free, and so does the dispatcher, which
//! looks again where two did so at once. Nobody here writes a run: its slot is granted by a message to
//! its stack's group, which takes it in one transaction with the run, or gives it back. Only where a
//! message of that run is being handled there, whoever handles it goes on with the grant.

use crate::{deps::Deps, nudges::distinct};
use gantry_domain::RunId;
use gantry_queue::{Failure, SlotsMessage, StackMessage};
use gantry_store::{
    Expect, Outcome, Stored, Write,
    config::{DriftDefaults, Pause},
    keys,
    scheduler::{QueueEntry, SlotEntry, SlotLimit},
};
use jiff::SignedDuration;
use std::time::Duration;

/// A granted slot that nobody took by then is looked at.
const TAKEN_WITHIN: SignedDuration = SignedDuration::from_secs(60);

/// How often the queue is looked at where others give slots meanwhile.
const LOOKS: usize = 5;

/// How many of the slots are for the installation's own runners, not for workers of pools.
pub(crate) fn count_own(slots: &[Stored<SlotEntry>]) -> usize {
    slots.iter().filter(|slot| slot.value.pool.is_none()).count()
}

/// How many of these look for drift.
fn count_looks(slots: &[Stored<SlotEntry>]) -> usize {
    slots.iter().filter(|slot| slot.value.pool.is_none() && slot.value.drift).count()
}

/// A slot that was given, and as what it is to be found.
struct Granted {
    slot: SlotEntry,
    expect: Expect,
    /// How often the run was handed out before.
    attempt: u32,
}

/// The slots for runners.
#[derive(Clone, Copy)]
pub(crate) struct Slots<'a> {
    pub(crate) deps: &'a Deps,
}

impl Slots<'_> {
    /// Gives free slots to the first of the queue. Where somebody else does just then, it is looked
    /// again: a run may still wait.
    pub(crate) async fn on_dispatch(&self) -> Result<(), Failure> {
        for _ in 0..LOOKS {
            if self.give_free(None).await? {
                return Ok(());
            }
        }
        let why = anyhow::anyhow!("others give slots to runs of the queue right now");
        Err(Failure::wait(why, Duration::from_secs(1)))
    }

    /// Gives free slots to the first of the queue, once. False where somebody else does just then:
    /// the dispatcher must look again. Nobody is told of the slot of a run that is the caller's `own`,
    /// who takes it next; should the caller end before, the sweep finds it.
    pub(crate) async fn give_free(&self, own: Option<&RunId>) -> Result<bool, Failure> {
        let taken_slots = self.all().await?;
        let taken = count_own(&taken_slots);
        if taken >= self.deps.limits.runners as usize
            || self.deps.store.get::<Pause>(&keys::pause()).await?.is_some()
        {
            return Ok(true);
        }
        let limit = self.limit().await? as usize;
        let free = limit.saturating_sub(taken);
        if free == 0 {
            return Ok(true);
        }
        // Runs that were granted a slot are still in the queue until they take it.
        let look_at = i32::try_from(free + taken).unwrap_or(i32::MAX);
        let queue =
            self.deps.store.query::<QueueEntry>(keys::QUEUE, "", None, false, look_at).await?;
        let waits = |entry: &Stored<QueueEntry>| {
            !taken_slots.iter().any(|slot| slot.value.run == entry.value.run)
        };
        let waiting: Vec<QueueEntry> = queue
            .items
            .into_iter()
            .filter(waits)
            .take_while(|entry| !entry.key.sk.starts_with(keys::POOLS_BEFORE))
            .map(|entry| entry.value)
            .collect();
        // They are the last of the queue: whoever comes after one of them is another.
        let most_looks = match waiting.iter().any(|entry| entry.drift) {
            true => self.most_looks().await?,
            false => 0,
        };
        let mut looks = most_looks.saturating_sub(count_looks(&taken_slots));
        let may_go = |entry: &QueueEntry| {
            let may = !entry.drift || looks > 0;
            looks = looks.saturating_sub(usize::from(entry.drift));
            may
        };
        let first: Vec<QueueEntry> = waiting.into_iter().filter(may_go).take(free).collect();
        let (mut granted, mut is_alone) = (Vec::new(), true);
        for entry in first {
            match self.grant(entry).await? {
                Some(grant) => granted.push(grant),
                None => {
                    is_alone = false;
                    break;
                }
            }
        }
        // Of those who give the last slots at the same moment each has written its own before it
        // looks here, so that one of them sees both.
        if !granted.is_empty() {
            let taken = self.all().await?;
            let gave_looks = granted.iter().any(|granted| granted.slot.drift);
            if count_own(&taken) > limit || (gave_looks && count_looks(&taken) > most_looks) {
                self.take_back(&granted).await?;
                return Ok(false);
            }
        }
        for Granted { slot, attempt, .. } in granted {
            let SlotEntry { run, stack, at, .. } = slot;
            if own == Some(&run) {
                continue;
            }
            let grant = distinct(&(&run, attempt, at.as_millisecond()));
            self.deps.sender.send(StackMessage::Grant { stack, run, grant }).await?;
        }
        Ok(is_alone)
    }

    /// Gives the run a slot; none where it has one already. A run that left the queue meanwhile gives
    /// it back.
    async fn grant(&self, entry: QueueEntry) -> Result<Option<Granted>, Failure> {
        let QueueEntry { run, stack, attempt, pool, drift, .. } = entry;
        let now = self.deps.now();
        let slot = SlotEntry { run, stack, pool, taken: false, started: 0, at: now, drift };
        let write = Write::put(keys::slot(&slot.run), Expect::Absent, &slot)?;
        let expect = write.version().map_or(Expect::Any, Expect::Version);
        match self.deps.store.write(vec![write.due(Some(now + TAKEN_WITHIN))]).await? {
            Outcome::Written => Ok(Some(Granted { slot, expect, attempt })),
            // An answer that was lost makes a second try find the first.
            Outcome::Stale => {
                let found = self.deps.store.get::<SlotEntry>(&keys::slot(&slot.run)).await?;
                let is_ours = found.is_some_and(|found| found.unchanged() == expect);
                Ok(is_ours.then_some(Granted { slot, expect, attempt }))
            }
        }
    }

    /// Frees slots of which nobody was told. Who does this must look again, or have it looked: others
    /// may have seen no slot free.
    async fn take_back(&self, granted: &[Granted]) -> Result<(), Failure> {
        for Granted { slot, expect, .. } in granted {
            let delete = Write::Delete { key: keys::slot(&slot.run), expect: *expect };
            let _or_it_was_taken = self.deps.store.write(vec![delete]).await?;
        }
        Ok(())
    }

    /// How many runs may have a runner now.
    async fn limit(&self) -> Result<u32, Failure> {
        let set = self.deps.limits.runners;
        let limit = self.deps.store.get::<SlotLimit>(&keys::slot_limit()).await?;
        Ok(limit.map_or(set, |limit| limit.value.allows(set, self.deps.now())))
    }

    /// How many runs may look for drift at once.
    async fn most_looks(&self) -> Result<usize, Failure> {
        let set = self.deps.store.get::<DriftDefaults>(&keys::drift_defaults()).await?;
        Ok(set.map(|set| set.value).unwrap_or_default().at_most as usize)
    }

    /// Every slot that is taken, or granted.
    pub(crate) async fn all(&self) -> Result<Vec<Stored<SlotEntry>>, Failure> {
        Ok(self.deps.store.query_all::<SlotEntry>(keys::SLOTS, "").await?)
    }

    /// True when no slot is free, whatever the cloud allows now. A run of a pool takes none.
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
