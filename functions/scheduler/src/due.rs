//! What a stack or a run does when its time has come, or when a nudge says that it may go on.

use crate::{
    Work,
    effects::{distinct, ending},
    moves::{
        APPLY_LOST_AFTER, LOST_AFTER, LOST_ANYWAY_AFTER, Loaded, phase_began, waits_for_worker,
    },
};
use gantry_domain::{
    RunId, StackId, outdated,
    run::{Effect, Phase, Place, Run, RunEvent, RunState},
    stack::{Timeouts, TrackedQueue},
};
use gantry_queue::{Failure, Message};
use gantry_store::{
    Expect, Key, Write, keys,
    runner::{Beat, Claim},
    scheduler::{Heard, RunEntry},
};
use jiff::{SignedDuration, Timestamp};

/// A phase that was handed out this often and never claimed is given up: runners do not start.
pub(crate) const HANDED_OUT_AT_MOST: u32 = 3;
/// Waiting runs that one message brings to the line; the rest is left to the next.
const WOKEN_AT_ONCE: i32 = 50;

impl Work {
    /// Lets the stack's next runs go: the first of the tracked queue when nothing holds the stack,
    /// and the proposed runs that waited for an apply.
    pub(crate) async fn on_stack_due(&self, stack: &StackId) -> Result<(), Failure> {
        self.cancel_outdated(stack).await?;
        self.advance_tracked(stack).await?;
        self.advance_tests(stack).await?;
        if self.head(stack).await?.value.applying {
            return Ok(());
        }
        let partition = keys::stack_partition(stack);
        let waiting = self
            .deps
            .store
            .query::<RunEntry>(&partition, "waiting#", None, false, WOKEN_AT_ONCE)
            .await?;
        for entry in &waiting.items {
            self.enter_line(&entry.value.run).await?;
        }
        if let Some(next) = waiting.next {
            let version = distinct(&(next, self.now().as_millisecond()));
            self.deps.sender.send(Message::StackDue { stack: stack.clone(), version }).await?;
        }
        Ok(())
    }

    /// Cancels tracked runs that queue for a stack which is not what they were made for any more.
    async fn cancel_outdated(&self, stack: &StackId) -> Result<(), Failure> {
        let partition = keys::stack_partition(stack);
        let queue = self.deps.store.query_all::<RunEntry>(&partition, "queue#").await?;
        if queue.is_empty() {
            return Ok(());
        }
        let stack = self.deps.store.stack(stack).await?.map(|found| found.value);
        let integration = self.deps.store.integration().await?.map(|found| found.value);
        let runs: Vec<Key> = queue.iter().map(|entry| keys::run(&entry.value.run)).collect();
        for runs in runs.chunks(100) {
            for run in self.deps.store.get_many::<Run>(runs).await? {
                if let Some(why) = outdated(&run.value, stack.as_ref(), integration.as_ref()) {
                    self.cancel_queued(&run.value.id, &why).await?;
                }
            }
        }
        Ok(())
    }

    async fn advance_tracked(&self, stack: &StackId) -> Result<(), Failure> {
        let partition = keys::stack_partition(stack);
        let queue = self.deps.store.query_all::<RunEntry>(&partition, "queue#").await?;
        let Some((newest, older)) = queue.split_last() else { return Ok(()) };
        let definition = self.deps.store.stack(stack).await?;
        let only_latest = definition.is_some_and(|s| s.value.tracked_queue == TrackedQueue::Latest);
        if only_latest {
            let newest = self.deps.store.get::<Run>(&keys::run(&newest.value.run)).await?;
            let commit = newest.map(|r| r.value.commit.short().to_owned()).unwrap_or_default();
            for entry in older {
                self.cancel_queued(&entry.value.run, &format!("Superseded by {commit}")).await?;
            }
        }
        let head = self.head(stack).await?.value;
        if head.tracked.is_some() || head.blocked.is_some() {
            return Ok(());
        }
        let first = if only_latest { newest } else { &queue[0] };
        self.enter_line(&first.value.run).await
    }

    async fn enter_line(&self, run: &RunId) -> Result<(), Failure> {
        let Some(loaded) = self.peek(run).await? else { return Ok(()) };
        let mut run = loaded.run().clone();
        if run.state != RunState::Queued || !matches!(run.place, Place::Queue | Place::Waiting) {
            return Ok(());
        }
        if run.module {
            run.place = Place::Tests;
            run.outstanding.insert(Effect::Advance);
        } else {
            run.place = Place::Line;
            run.outstanding.insert(Effect::Dispatch);
        }
        self.commit(loaded, run, Vec::new()).await
    }

    /// Nudges the module again, after what was just written.
    pub(crate) async fn nudge_soon(&self, run: &Run) -> Result<(), Failure> {
        let version = distinct(&(&run.id, self.now().as_millisecond()));
        Ok(self.deps.sender.send(Message::StackDue { stack: run.stack.clone(), version }).await?)
    }

    /// Cancels a run that no runner has; any other is left as it is.
    pub(crate) async fn cancel_queued(&self, run: &RunId, because: &str) -> Result<(), Failure> {
        let Some(loaded) = self.peek(run).await? else { return Ok(()) };
        let mut run = loaded.run().clone();
        if run.state != RunState::Queued || run.apply(RunEvent::Canceled, self.now(), None).is_err()
        {
            return Ok(());
        }
        run.ending = Some(ending(because));
        self.commit(loaded, run, Vec::new()).await
    }

    /// Looks at a run whose time has come. What happened meanwhile counts, not the message.
    pub(crate) async fn on_run_due(&self, run: &RunId) -> Result<(), Failure> {
        let Some(loaded) = self.load(run).await? else { return Ok(()) };
        let timeouts = self
            .deps
            .store
            .stack(&loaded.run().stack)
            .await?
            .map(|s| s.value.timeouts)
            .unwrap_or_default();
        let now = self.now();
        match loaded.run().state {
            RunState::Queued | RunState::Confirmed
                if loaded.run().place != Place::Room && !waits_for_worker(loaded.run()) =>
            {
                self.remind(loaded).await
            }
            RunState::Testing => self.remind(loaded).await,
            RunState::Preparing | RunState::Confirmed => {
                self.hand_out_again(loaded, &timeouts, now).await
            }
            RunState::Initializing
            | RunState::Planning
            | RunState::Applying
            | RunState::Destroying => self.check_alive(loaded, &timeouts, now).await,
            RunState::Unconfirmed => self.discard_when_old(loaded, &timeouts, now).await,
            _ => Ok(()),
        }
    }

    /// A run that waits is brought to mind again: its nudges may have been lost.
    async fn remind(&self, loaded: Loaded) -> Result<(), Failure> {
        let mut run = loaded.run().clone();
        let effect = match run.place {
            Place::Line => Some(Effect::Dispatch),
            Place::Source => Some(Effect::Fetch),
            // One look at the stack is for all that wait for it.
            Place::Queue | Place::Waiting => {
                let version = distinct(&(self.now().as_second() / 60));
                let stack = run.stack.clone();
                self.deps.sender.send(Message::StackDue { stack, version }).await?;
                None
            }
            _ => Some(Effect::Advance),
        };
        run.outstanding.extend(effect);
        // Written also when nothing changed: that sets the time of the next look.
        self.commit(loaded, run, Vec::new()).await
    }

    /// A run that was handed out and not claimed in time goes back to the line. That no claim
    /// exists is part of the transaction: a runner that claims meanwhile wins.
    async fn hand_out_again(
        &self,
        loaded: Loaded,
        timeouts: &Timeouts,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let run = loaded.run();
        let outdated = self.outdated(run).await?;
        let since = run.handed_out_at.unwrap_or(run.since);
        let ends = since + SignedDuration::from_secs(timeouts.claim.into());
        if outdated.is_none() && run.pool.is_none() && now < ends {
            return Ok(());
        }
        let claim = keys::claim(&run.id, run.attempt);
        if let Some(found) = self.deps.store.get::<Claim>(&claim).await? {
            // The runner has it; only the message that says so is missing.
            return self.take_claim(loaded, &found.value.runner).await;
        }
        let unclaimed = Write::Check { key: claim, expect: Expect::Absent };
        if let Some(why) = outdated {
            return self.end_unclaimed(loaded, &why, vec![unclaimed]).await;
        }
        let mut run = run.clone();
        if run.pool.is_some() {
            if run.place == Place::Room {
                // In the version before it waited there for its worker.
                run.place = Place::Line;
                return self.commit(loaded, run, vec![unclaimed]).await;
            }
            return Ok(());
        }
        run.unclaimed += 1;
        if run.unclaimed >= HANDED_OUT_AT_MOST {
            run.apply(RunEvent::Failed, now, None)?;
            let (times, minutes) = (run.unclaimed, timeouts.claim / 60);
            run.ending = Some(ending(format!(
                "No runner took it: it was handed out {times} times, {minutes} minutes each"
            )));
            tracing::error!(run.id = %run.id, stack = %run.slug, "no runner ever claimed the run");
            return self.commit(loaded, run, vec![unclaimed]).await;
        }
        if run.state == RunState::Preparing {
            run.apply(RunEvent::HandedBack, now, None)?;
        } else {
            run.outstanding.insert(Effect::Dispatch);
        }
        run.place = Place::Line;
        run.handed_out_at = None;
        tracing::warn!(run.id = %run.id, stack = %run.slug, "no runner claimed the run: handed out again");
        self.commit(loaded, run, vec![unclaimed]).await
    }

    async fn check_alive(
        &self,
        loaded: Loaded,
        timeouts: &Timeouts,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let mut loaded = loaded;
        let run = loaded.run();
        let beat = self.deps.store.get::<Beat>(&keys::beat(&run.id)).await?;
        let last_sign = beat
            .filter(|b| b.value.attempt == run.attempt)
            .map_or(run.since, |b| b.value.at.max(run.since));
        let is_applying = matches!(run.state, RunState::Applying | RunState::Destroying);
        let patience = if is_applying { APPLY_LOST_AFTER } else { LOST_AFTER };
        let heard = self.deps.store.get::<Heard>(&keys::heard()).await?;
        let silence = heard.map(|heard| heard.value.silence_since(last_sign)).unwrap_or_default();
        let is_lost = silence >= patience || now.duration_since(last_sign) >= LOST_ANYWAY_AFTER;
        let mut run = run.clone();
        loaded.alive_at = Some(last_sign);
        if is_lost {
            let minutes = patience.as_secs() / 60;
            run.ending = Some(ending(if is_applying {
                format!("Result unknown: check the state (no sign of life for {minutes} minutes)")
            } else {
                "The runner was lost: no sign of life for 60 seconds".to_owned()
            }));
            run.lost = is_applying;
            run.apply(RunEvent::Failed, now, None)?;
            if !loaded.run().may_be_applying() {
                run.outstanding.insert(Effect::EndRunner);
            }
            tracing::error!(run.id = %run.id, stack = %run.slug, "the runner was lost");
            return self.commit(loaded, run, Vec::new()).await;
        }
        let limit = if is_applying { timeouts.apply } else { timeouts.plan };
        if now >= phase_began(&run) + SignedDuration::from_secs(limit.into())
            && run.stop_asked.is_none()
        {
            run.stop_asked = Some(format!("the time limit of {} minutes", limit / 60));
        }
        // Written also when nothing changed: that sets the time of the next look.
        self.commit(loaded, run, Vec::new()).await
    }

    async fn discard_when_old(
        &self,
        loaded: Loaded,
        timeouts: &Timeouts,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let mut run = loaded.run().clone();
        if now < run.since + SignedDuration::from_secs(timeouts.unconfirmed.into()) {
            return Ok(());
        }
        run.apply(RunEvent::Discarded, now, None)?;
        let days = timeouts.unconfirmed / (24 * 60 * 60);
        run.ending = Some(ending(format!("Discarded: nobody confirmed it in {days} days")));
        self.commit(loaded, run, Vec::new()).await
    }

    /// Records that a runner has the phase.
    pub(crate) async fn take_claim(&self, loaded: Loaded, runner: &str) -> Result<(), Failure> {
        let mut run = loaded.run().clone();
        run.apply(RunEvent::Claimed, self.now(), None)?;
        run.runner = Some(runner.to_owned());
        run.unclaimed = 0;
        if run.phase == Phase::Apply || run.pool.is_some() {
            run.place = Place::Room;
        }
        self.commit(loaded, run, Vec::new()).await
    }
}
