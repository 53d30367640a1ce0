//! Room for runners: who gets the next place.
//!
//! The dispatcher writes no run. It grants a place by a message to the stack's group, which takes
//! it in one transaction with the run, or gives it back.

use crate::{
    Work,
    due::HANDED_OUT_AT_MOST,
    effects::{distinct, ending},
    moves::{Loaded, waits_for_worker},
};
use gantry_domain::{
    RunId,
    run::{Effect, Phase, Place, Run, RunEvent, RunState, RunType},
};
use gantry_queue::{Failure, Message, NotStarted};
use gantry_setup::metrics;
use gantry_store::{
    Expect, Outcome, Stored, Write,
    config::Pause,
    keys,
    runner::Claim,
    scheduler::{LineEntry, RoomEntry, RoomLimit},
};
use jiff::SignedDuration;

/// A granted place that nobody took by then is looked at.
const TAKEN_WITHIN: SignedDuration = SignedDuration::from_secs(60);

/// How many of the places are for the installation's own runners, not for workers of pools.
pub(crate) fn count_own(places: &[Stored<RoomEntry>]) -> usize {
    places.iter().filter(|place| place.value.pool.is_none()).count()
}

impl Work {
    /// Gives free places to the first of the line.
    pub(crate) async fn on_dispatch(&self) -> Result<(), Failure> {
        if self.deps.store.get::<Pause>(&keys::pause()).await?.is_some() {
            return Ok(());
        }
        let limit = self.room().await? as usize;
        let in_room = self.deps.store.query_all::<RoomEntry>(keys::ROOM, "").await?;
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
        let now = self.now();
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
        self.deps.sender.send(Message::Grant { stack, run, grant }).await?;
        Ok(true)
    }

    /// The run takes the place that it was granted, or gives it back. One of a pool takes none: it is
    /// handed out where it stands.
    pub(crate) async fn on_grant(&self, run: &RunId) -> Result<(), Failure> {
        let loaded = self.load(run).await?;
        let loaded = match loaded {
            Some(loaded) if loaded.run().pool.is_some() => {
                let run = loaded.run();
                return match run.place == Place::Line && !waits_for_worker(run) {
                    true => self.hand_out(loaded, Place::Line).await,
                    false => Ok(()),
                };
            }
            loaded => loaded,
        };
        let room = keys::room(run);
        let Some(granted) = self.deps.store.get::<RoomEntry>(&room).await? else {
            return Ok(());
        };
        let Some(loaded) = loaded else {
            return self.give_back(run, granted.unchanged()).await;
        };
        match loaded.run().place {
            Place::Room => Ok(()),
            Place::Line => self.hand_out(loaded, Place::Room).await,
            _ => self.give_back(run, granted.unchanged()).await,
        }
    }

    /// Hands a run of the line out to who takes it at `place`.
    async fn hand_out(&self, loaded: Loaded, place: Place) -> Result<(), Failure> {
        let mut run = loaded.run().clone();
        if let Some(why) = self.outdated(&run).await? {
            return self.end_unclaimed(loaded, &why, Vec::new()).await;
        }
        let now = self.now();
        if run.run_type == RunType::Proposed && loaded.head.value.applying {
            run.place = Place::Waiting;
            run.outstanding.insert(Effect::Dispatch);
            return self.commit(loaded, run, Vec::new()).await;
        }
        match run.state {
            RunState::Queued => run.apply(RunEvent::Granted, now, None)?,
            RunState::Confirmed => {
                run.phase = Phase::Apply;
                run.outstanding.insert(Effect::Start);
            }
            _ => return Ok(()),
        }
        run.place = place;
        run.attempt += 1;
        run.last_report = 0;
        run.runner = None;
        run.handed_out_at = Some(now);
        run.role = self.role_of(&run).await?;
        self.commit(loaded, run, Vec::new()).await
    }

    /// Ends a run that no runner has: canceled, or discarded where it was to be applied.
    pub(crate) async fn end_unclaimed(
        &self,
        loaded: Loaded,
        why: &str,
        checks: Vec<Write>,
    ) -> Result<(), Failure> {
        let mut run = loaded.run().clone();
        let end = match run.state {
            RunState::Confirmed => RunEvent::Discarded,
            _ => RunEvent::Canceled,
        };
        run.apply(end, self.now(), None)?;
        run.ending = Some(ending(why));
        self.commit(loaded, run, checks).await
    }

    /// The cloud role that the run's runner gets.
    async fn role_of(&self, run: &Run) -> Result<Option<String>, Failure> {
        // A worker is what its machine is.
        let Some(roles) = self.deps.roles.as_ref().filter(|_| run.pool.is_none()) else {
            return Ok(None);
        };
        let stack = self.deps.store.stack(&run.stack).await?;
        let own = stack.and_then(|stack| stack.value.roles.of(run.run_type).cloned());
        Ok(own.or_else(|| roles.of(run.run_type).cloned()))
    }

    /// How many runs may have a runner now.
    async fn room(&self) -> Result<u32, Failure> {
        let set = self.deps.limits.room;
        let limit = self.deps.store.get::<RoomLimit>(&keys::room_limit()).await?;
        Ok(limit.map_or(set, |limit| limit.value.allows(set, self.now())))
    }

    /// A runner was not started, or ended before it claimed the phase. Where the cloud has no room
    /// the run goes back to the line, and fewer runs get a runner for a while; what ended goes back
    /// too, but not for ever. What the cloud refuses, or what ended again and again, fails the run with
    /// the cloud's own words. A runner that has claimed it wins.
    pub(crate) async fn on_not_started(
        &self,
        run: &RunId,
        attempt: u32,
        why: NotStarted,
        words: &str,
    ) -> Result<(), Failure> {
        let Some(loaded) = self.load(run).await? else { return Ok(()) };
        let waits = matches!(loaded.run().state, RunState::Preparing | RunState::Confirmed);
        if loaded.run().attempt != attempt || !waits || loaded.run().place != Place::Room {
            return Ok(());
        }
        let claim = keys::claim(run, attempt);
        if let Some(found) = self.deps.store.get::<Claim>(&claim).await? {
            return self.take_claim(loaded, &found.value.runner).await;
        }
        if why == NotStarted::NoRoom {
            metrics::count("StartsRefused", 1);
        }
        let now = self.now();
        let mut run = loaded.run().clone();
        let mut writes = vec![Write::Check { key: claim, expect: Expect::Absent }];
        run.unclaimed += u32::from(why == NotStarted::Ended);
        let again = match why {
            NotStarted::NoRoom => true,
            // It may have been the cloud's own trouble.
            NotStarted::Ended => run.unclaimed < HANDED_OUT_AT_MOST,
            NotStarted::Refused => false,
        };
        if why == NotStarted::NoRoom {
            let places = self.deps.store.query_all::<RoomEntry>(keys::ROOM, "").await?;
            let runners = u32::try_from(count_own(&places).saturating_sub(1)).unwrap_or(0);
            let set = self.deps.limits.room;
            let limit = RoomLimit { runners, set, since: now, words: words.to_owned() };
            writes.push(Write::put(keys::room_limit(), Expect::Any, &limit)?);
        }
        if again {
            if run.state == RunState::Preparing {
                run.apply(RunEvent::HandedBack, now, None)?;
            }
            run.outstanding.insert(Effect::Dispatch);
            run.place = Place::Line;
            run.handed_out_at = None;
            tracing::warn!(run.id = %run.id, ?why, words, "it did not start: back to the line");
        } else {
            run.apply(RunEvent::Failed, now, None)?;
            run.ending = Some(ending(match why {
                NotStarted::Ended => {
                    let times = run.unclaimed;
                    format!("The runner ended before it began, {times} times: {words}")
                }
                _ => format!("The runner could not be started: {words}"),
            }));
        }
        self.commit(loaded, run, writes).await
    }

    async fn give_back(&self, run: &RunId, expect: Expect) -> Result<(), Failure> {
        let key = keys::room(run);
        if self.deps.store.write(vec![Write::Delete { key, expect }]).await? == Outcome::Written {
            let cause = format!("{run}.back.{}", self.now().as_millisecond());
            self.deps.sender.send(Message::Dispatch { cause }).await?;
        }
        Ok(())
    }
}
