//! Room for runners: who gets the next place.
//!
//! The dispatcher writes no run. It grants a place by a message to the stack's group, which takes
//! it in one transaction with the run, or gives it back.

use crate::{deps::Deps, nudges::distinct};
use gantry_domain::RunId;
use gantry_queue::{Failure, SlotsMessage, StackMessage};
use gantry_store::{
    Expect, Outcome, Stored, Write,
    config::Pause,
    keys,
    scheduler::{LineEntry, RoomEntry, RoomLimit},
};
use jiff::SignedDuration;

/// A granted place that nobody took by then is looked at.
const TAKEN_WITHIN: SignedDuration = SignedDuration::from_secs(60);

/// How many of the places are for the installation's own runners, not for workers of pools.
pub(crate) fn count_own(places: &[Stored<RoomEntry>]) -> usize {
    places.iter().filter(|place| place.value.pool.is_none()).count()
}

/// The slots for runners. Writes no run.
#[derive(Clone, Copy)]
pub(crate) struct Slots<'a> {
    pub(crate) deps: &'a Deps,
}

impl Slots<'_> {
    /// Gives free places to the first of the line.
    pub(crate) async fn on_dispatch(&self) -> Result<(), Failure> {
        if self.deps.store.get::<Pause>(&keys::pause()).await?.is_some() {
            return Ok(());
        }
        let limit = self.room().await? as usize;
        let in_room = self.places().await?;
        let is_granted = |entry: &Stored<LineEntry>| {
            in_room.iter().any(|room| room.value.run == entry.value.run)
        };
        let taken = count_own(&in_room);
        let mut free = limit.saturating_sub(taken);
        if free == 0 {
            return Ok(());
        }
        // Runs that were granted a place still stand in the line until they take it.
        let look_at = i32::try_from(free + taken).unwrap_or(i32::MAX);
        let line = self.deps.store.query::<LineEntry>(keys::LINE, "", None, false, look_at).await?;
        for entry in line.items.into_iter().filter(|entry| !is_granted(entry)) {
            if free == 0 || entry.key.sk.starts_with(keys::POOLS_BEFORE) {
                break;
            }
            if self.grant(entry).await? {
                free -= 1;
            }
        }
        Ok(())
    }

    /// Gives the run a place, unless it left the line meanwhile.
    async fn grant(&self, entry: Stored<LineEntry>) -> Result<bool, Failure> {
        let LineEntry { run, stack, attempt, pool, .. } = entry.value;
        let now = self.deps.now();
        let place = RoomEntry {
            run: run.clone(),
            stack: stack.clone(),
            pool,
            taken: false,
            started: 0,
            at: now,
        };
        let granted = vec![
            Write::put(keys::room(&run), Expect::Absent, &place)?.due(Some(now + TAKEN_WITHIN)),
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
    async fn room(&self) -> Result<u32, Failure> {
        let set = self.deps.limits.room;
        let limit = self.deps.store.get::<RoomLimit>(&keys::room_limit()).await?;
        Ok(limit.map_or(set, |limit| limit.value.allows(set, self.deps.now())))
    }

    /// Every run that has a place, or was granted one.
    pub(crate) async fn places(&self) -> Result<Vec<Stored<RoomEntry>>, Failure> {
        Ok(self.deps.store.query_all::<RoomEntry>(keys::ROOM, "").await?)
    }

    /// True when every place is taken.
    pub(crate) async fn are_full(&self) -> Result<bool, Failure> {
        Ok(count_own(&self.places().await?) >= self.deps.limits.room as usize)
    }

    /// That the cloud, in its own `words`, takes no more runners than it has now.
    pub(crate) async fn limited(&self, words: &str) -> Result<Write, Failure> {
        let taken = count_own(&self.places().await?);
        let runners = u32::try_from(taken.saturating_sub(1)).unwrap_or(0);
        let (set, since) = (self.deps.limits.room, self.deps.now());
        let limit = RoomLimit { runners, set, since, words: words.to_owned() };
        Ok(Write::put(keys::room_limit(), Expect::Any, &limit)?)
    }

    /// Frees a place that was granted to a run which does not need it any more.
    pub(crate) async fn give_back(&self, run: &RunId, expect: Expect) -> Result<(), Failure> {
        let key = keys::room(run);
        if self.deps.store.write(vec![Write::Delete { key, expect }]).await? == Outcome::Written {
            let cause = format!("{run}.back.{}", self.deps.now().as_millisecond());
            self.deps.sender.send(SlotsMessage::Dispatch { cause }).await?;
        }
        Ok(())
    }
}
