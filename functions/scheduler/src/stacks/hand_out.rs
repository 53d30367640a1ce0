//! Handing runs out to runners, and taking them back where no runner takes them.

use super::Stacks;
use crate::runs::Loaded;
use gantry_domain::{
    RunId,
    run::{
        Effect, Ending, Phase, Position, Run, RunEvent, RunState, RunType, recheck::CLAIM_TIMEOUT,
    },
    stack::Stack,
    text,
};
use gantry_queue::{Failure, NotStarted};
use gantry_setup::metrics;
use gantry_store::{Expect, Write, keys, runner::Claim, scheduler::SlotEntry};
use jiff::Timestamp;

/// A phase that was handed out this often and never claimed is given up: runners do not start.
const HANDED_OUT_AT_MOST: u32 = 3;

impl Stacks<'_> {
    /// The run takes the slot that it was granted, or gives it back. One of a pool takes none: it is
    /// handed out where it stands.
    pub(crate) async fn on_grant(&self, run: &RunId) -> Result<(), Failure> {
        let loaded = self.runs.load(run).await?;
        let loaded = match loaded {
            Some(loaded) if loaded.run().pool.is_some() => {
                let run = loaded.run();
                return match run.position == Position::Queue && !run.waits_for_worker() {
                    true => Box::pin(self.hand_out(loaded, Position::Queue)).await,
                    false => Ok(()),
                };
            }
            loaded => loaded,
        };
        let room = keys::slot(run);
        let Some(granted) = self.deps.store.get::<SlotEntry>(&room).await? else {
            return Ok(());
        };
        let Some(loaded) = loaded else {
            return self.runs.slots.give_back(run, granted.unchanged()).await;
        };
        match loaded.run().position {
            Position::Slot => Ok(()),
            Position::Queue => Box::pin(self.hand_out(loaded, Position::Slot)).await,
            _ => self.runs.slots.give_back(run, granted.unchanged()).await,
        }
    }

    /// Hands a run of the queue out to who takes it at `position`.
    async fn hand_out(&self, mut loaded: Loaded, position: Position) -> Result<(), Failure> {
        let mut run = loaded.run().clone();
        let stack = self.deps.store.stack(&run.stack).await?.map(|found| found.value);
        if let Some(why) = self.outdated_for(&run, stack.as_ref()).await? {
            return self.end_unclaimed(loaded, &why, Vec::new()).await;
        }
        let role = self.role_for(&run, stack.as_ref());
        if let Some(stack) = stack.as_ref().filter(|_| run.asks_rules_first()) {
            run.held = self.holds(stack).await?;
        }
        let now = self.deps.now();
        let head = match loaded.head.take() {
            Some(head) => head,
            None => self.runs.head(&run.stack).await?,
        };
        let waits = run.run_type == RunType::Proposed && head.value.applying;
        // That the apply does not end meanwhile is part of the transaction: a preview that waits is
        // woken by that end. One that does not wait is as one that was handed out before an apply began.
        loaded.head = Some(head).filter(|_| waits || !run.only_plans());
        if waits {
            run.position = Position::Waiting;
            run.outstanding.insert(Effect::Dispatch);
            return self.runs.commit(loaded, run, Vec::new()).await;
        }
        match run.state {
            RunState::Queued => run.apply(RunEvent::Granted, now, None)?,
            RunState::Confirmed => {
                run.phase = Phase::Apply;
                run.outstanding.insert(Effect::Start);
            }
            _ => return Ok(()),
        }
        run.position = position;
        run.attempt += 1;
        run.last_report = 0;
        run.runner = None;
        run.handed_out_at = Some(now);
        run.role = role;
        // Where one is free that may take it, whoever is first says so in the slot.
        loaded.is_started = position == Position::Slot && !self.runs.is_runner_free(&run).await?;
        self.runs.commit(loaded, run, Vec::new()).await
    }

    /// Ends a run that no runner has: canceled, or discarded where it was to be applied.
    async fn end_unclaimed(
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
        run.apply(end, self.deps.now(), None)?;
        run.ending = Some(Ending::new(why));
        self.runs.commit(loaded, run, checks).await
    }

    /// The cloud role that the run's runner gets, where runners have any.
    fn role_for(&self, run: &Run, stack: Option<&Stack>) -> Option<String> {
        // A worker is what its machine is.
        let roles = self.deps.roles.as_ref().filter(|_| run.pool.is_none())?;
        let own = stack.and_then(|stack| stack.settings.roles.of(run.run_type).cloned());
        own.or_else(|| roles.of(run.run_type).cloned())
    }

    /// A runner was not started, or ended before it claimed the phase. Where the cloud has no room
    /// the run goes back to the queue, and fewer runs get a runner for a while; what ended goes back
    /// too, but not for ever. What the cloud refuses, or what ended again and again, fails the run with
    /// the cloud's own words. Where it is tried again, the run says why it waits, which is written when
    /// that changes. A runner that has claimed it wins.
    pub(crate) async fn on_not_started(
        &self,
        run: &RunId,
        attempt: u32,
        why: NotStarted,
        words: &str,
    ) -> Result<(), Failure> {
        let Some(loaded) = self.runs.load(run).await? else { return Ok(()) };
        let waits = matches!(loaded.run().state, RunState::Preparing | RunState::Confirmed);
        if loaded.run().attempt != attempt || !waits || loaded.run().position != Position::Slot {
            return Ok(());
        }
        let claim = keys::claim(run, attempt);
        if let Some(found) = self.deps.store.get::<Claim>(&claim).await? {
            return self.take_claim(loaded, &found.value.runner, false).await;
        }
        if why == NotStarted::NoCapacity {
            metrics::count("StartsRefused", 1);
        }
        let now = self.deps.now();
        let mut run = loaded.run().clone();
        run.not_started = Some(text::not_started(
            match why {
                NotStarted::NoCapacity => "The cloud has no capacity for another runner",
                NotStarted::Ended => "The last runner ended before starting the run",
                NotStarted::Refused | NotStarted::Delayed => "A runner could not be started",
            },
            words,
        ));
        let mut writes = vec![Write::Check { key: claim, expect: Expect::Absent }];
        if why == NotStarted::Delayed {
            return match run == *loaded.run() {
                true => Ok(()),
                false => self.runs.commit(loaded, run, writes).await,
            };
        }
        run.unclaimed += u32::from(why == NotStarted::Ended);
        let again = match why {
            NotStarted::NoCapacity => true,
            // It may have been the cloud's own trouble.
            NotStarted::Ended => run.unclaimed < HANDED_OUT_AT_MOST,
            NotStarted::Refused | NotStarted::Delayed => false,
        };
        if why == NotStarted::NoCapacity {
            writes.push(self.runs.slots.limited(words).await?);
        }
        if again {
            if run.state == RunState::Preparing {
                run.apply(RunEvent::HandedBack, now, None)?;
            }
            run.outstanding.insert(Effect::Dispatch);
            run.position = Position::Queue;
            run.handed_out_at = None;
            tracing::warn!(run.id = %run.id, ?why, words, "a run did not start and goes back to \
                                                           the queue");
        } else {
            run.apply(RunEvent::Failed, now, None)?;
            run.ending = Some(Ending::new(match why {
                NotStarted::Ended => {
                    let times = run.unclaimed;
                    format!("The runner ended before starting the run, {times} times: {words}")
                }
                _ => format!("The runner could not be started: {words}"),
            }));
        }
        self.runs.commit(loaded, run, writes).await
    }

    /// A run that was handed out and not claimed in time goes back to the queue. That no claim
    /// exists is part of the transaction: a runner that claims meanwhile wins.
    pub(super) async fn hand_out_again(
        &self,
        loaded: Loaded,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let run = loaded.run();
        let outdated = self.outdated(run).await?;
        let since = run.handed_out_at.unwrap_or(run.since);
        let ends = since + CLAIM_TIMEOUT;
        if outdated.is_none() && run.pool.is_none() && now < ends {
            return Ok(());
        }
        let claim = keys::claim(&run.id, run.attempt);
        if let Some(found) = self.deps.store.get::<Claim>(&claim).await? {
            // The runner has it; only the message that says so is missing.
            return self.take_claim(loaded, &found.value.runner, false).await;
        }
        let unclaimed = Write::Check { key: claim, expect: Expect::Absent };
        if let Some(why) = outdated {
            return self.end_unclaimed(loaded, &why, vec![unclaimed]).await;
        }
        let mut run = run.clone();
        if run.pool.is_some() {
            if run.position == Position::Slot {
                // In the version before it waited there for its worker.
                run.position = Position::Queue;
                return self.runs.commit(loaded, run, vec![unclaimed]).await;
            }
            return Ok(());
        }
        run.unclaimed += 1;
        if run.unclaimed >= HANDED_OUT_AT_MOST {
            let why = run.not_started.take();
            run.apply(RunEvent::Failed, now, None)?;
            let (times, minutes) = (run.unclaimed, CLAIM_TIMEOUT.as_mins());
            run.ending = Some(Ending {
                errors: why.into_iter().collect(),
                ..Ending::new(format!(
                    "No runner picked it up (offered {times} times, {minutes} minutes each)"
                ))
            });
            tracing::error!(run.id = %run.id, stack = %run.slug, "no runner ever claimed the run");
            return self.runs.commit(loaded, run, vec![unclaimed]).await;
        }
        if run.state == RunState::Preparing {
            run.apply(RunEvent::HandedBack, now, None)?;
        } else {
            run.outstanding.insert(Effect::Dispatch);
        }
        run.position = Position::Queue;
        run.handed_out_at = None;
        tracing::warn!(run.id = %run.id, stack = %run.slug, "no runner claimed the run; it is \
                                                             handed out again");
        self.runs.commit(loaded, run, vec![unclaimed]).await
    }

    /// Records that a runner has the phase, and whether it was told to go on from its plan. A preview
    /// whose runner tells so again, if it lasts longer than a moment, is shown then.
    pub(super) async fn take_claim(
        &self,
        loaded: Loaded,
        runner: &str,
        tells_again: bool,
    ) -> Result<(), Failure> {
        let mut run = loaded.run().clone();
        if run.run_type == RunType::Tracked {
            let claim = keys::claim(&run.id, run.attempt);
            let claim = self.deps.store.get::<Claim>(&claim).await?.map(|found| found.value);
            // What its plan's runner says late is not said of its apply, which nobody has yet.
            if claim.as_ref().is_some_and(|claim| claim.phase != run.phase) {
                return Ok(());
            }
            run.held |= claim.is_some_and(|claim| claim.held);
        }
        run.apply(RunEvent::Claimed, self.deps.now(), None)?;
        if tells_again && run.only_plans() {
            run.outstanding.remove(&Effect::Feedback);
        }
        run.runner = Some(runner.to_owned());
        run.unclaimed = 0;
        if run.phase == Phase::Apply || run.pool.is_some() {
            run.position = Position::Slot;
        }
        self.runs.commit(loaded, run, Vec::new()).await
    }
}
