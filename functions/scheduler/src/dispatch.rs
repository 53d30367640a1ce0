//! Room for runners: who gets the next place.
//!
//! The dispatcher writes no run. It grants a place by a message to the stack's group, which takes
//! it in one transaction with the run, or gives it back.

use crate::{Work, effects::distinct};
use gantry_domain::{
    RunId,
    run::{Effect, Phase, Place, RunEvent, RunState, RunType},
};
use gantry_queue::{Failure, Message};
use gantry_store::{
    Expect, Outcome, Write, keys,
    scheduler::{LineEntry, RoomEntry},
};
use jiff::SignedDuration;

/// A granted place that nobody took by then is looked at.
const TAKEN_WITHIN: SignedDuration = SignedDuration::from_secs(60);

impl Work {
    /// Gives free places to the first of the line.
    pub(crate) async fn on_dispatch(&self) -> Result<(), Failure> {
        let limit = self.deps.limits.room as usize;
        let in_room = self.deps.store.query_all::<RoomEntry>(keys::ROOM, "").await?;
        let mut free = limit.saturating_sub(in_room.len());
        if free == 0 {
            return Ok(());
        }
        // Runs that were granted a place still stand in the line until they take it.
        let look_at = i32::try_from(free + in_room.len()).unwrap_or(i32::MAX);
        let line = self.deps.store.query::<LineEntry>(keys::LINE, "", None, false, look_at).await?;
        for entry in line.items {
            if free == 0 {
                break;
            }
            if in_room.iter().any(|r| r.value.run == entry.value.run) {
                continue;
            }
            let LineEntry { run, stack, attempt, .. } = entry.value;
            let now = self.now();
            let place = RoomEntry { run: run.clone(), stack: stack.clone(), taken: false, at: now };
            let granted = vec![
                Write::put(keys::room(&run), Expect::Absent, &place)?.due(Some(now + TAKEN_WITHIN)),
                Write::Check { key: entry.key, expect: Expect::Present },
            ];
            if self.deps.store.write(granted).await? == Outcome::Written {
                free -= 1;
                let grant = distinct(&(&run, attempt, now.as_millisecond()));
                self.deps.sender.send(Message::Grant { stack, run, grant }).await?;
            }
        }
        Ok(())
    }

    /// The run takes the place that it was granted, or gives it back.
    pub(crate) async fn on_grant(&self, run: &RunId) -> Result<(), Failure> {
        let loaded = self.load(run).await?;
        let room = keys::room(run);
        let Some(granted) = self.deps.store.get::<RoomEntry>(&room).await? else {
            return Ok(());
        };
        let Some(loaded) = loaded else {
            return self.give_back(run, granted.unchanged()).await;
        };
        let mut run = loaded.run().clone();
        match run.place {
            Place::Room => return Ok(()),
            Place::Line => {}
            _ => return self.give_back(&run.id, granted.unchanged()).await,
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
            _ => return self.give_back(&run.id, granted.unchanged()).await,
        }
        run.place = Place::Room;
        run.attempt += 1;
        run.last_report = 0;
        run.runner = None;
        run.handed_out_at = Some(now);
        self.commit(loaded, run, Vec::new()).await
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
