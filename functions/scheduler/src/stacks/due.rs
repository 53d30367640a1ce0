//! What a stack or a run does when its time has come, or when a nudge says that it may go on.

use super::Stacks;
use crate::{nudges::distinct, runs::Loaded};
use gantry_domain::{
    RunId, StackId, outdated,
    run::{
        Effect, Ending, Position, Run, RunEvent, RunState,
        recheck::{APPLY_LOST_AFTER, LOST_AFTER, LOST_ANYWAY_AFTER, phase_began},
    },
    stack::{Timeouts, TrackedQueue},
};
use gantry_queue::{Failure, StackMessage};
use gantry_store::{
    Key, keys,
    runner::Beat,
    scheduler::{Heard, RunEntry},
};
use jiff::{SignedDuration, Timestamp};

/// Waiting runs that one message brings to the queue; the rest is left to the next.
const WOKEN_AT_ONCE: i32 = 50;
/// A run that is brought to mind for the first time is younger.
const NEW: SignedDuration = SignedDuration::from_mins(15);

impl Stacks<'_> {
    /// Lets the stack's next runs go: the first of the tracked queue when nothing holds the stack,
    /// and the proposed runs that waited for an apply.
    pub(crate) async fn on_stack_due(&self, stack: &StackId) -> Result<(), Failure> {
        self.cancel_outdated(stack).await?;
        self.advance_tracked(stack).await?;
        Box::pin(self.advance_tests(stack)).await?;
        if self.runs.head(stack).await?.value.applying {
            return Ok(());
        }
        let partition = keys::stack_partition(stack);
        let waiting = self
            .deps
            .store
            .query::<RunEntry>(&partition, "waiting#", None, false, WOKEN_AT_ONCE)
            .await?;
        for entry in &waiting.items {
            self.enter_queue(&entry.value.run).await?;
        }
        if let Some(next) = waiting.next {
            let version = distinct(&(next, self.deps.now().as_millisecond()));
            self.deps.sender.send(StackMessage::StackDue { stack: stack.clone(), version }).await?;
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
        let only_latest =
            definition.is_some_and(|s| s.value.settings.tracked_queue == TrackedQueue::Latest);
        if only_latest {
            let newest = self.deps.store.get::<Run>(&keys::run(&newest.value.run)).await?;
            let commit = newest.map(|r| r.value.commit.short().to_owned()).unwrap_or_default();
            for entry in older {
                self.cancel_queued(&entry.value.run, &format!("Superseded by {commit}")).await?;
            }
        }
        let head = self.runs.head(stack).await?.value;
        if head.tracked.is_some() || head.blocked.is_some() {
            return Ok(());
        }
        let first = if only_latest { newest } else { &queue[0] };
        self.enter_queue(&first.value.run).await
    }

    async fn enter_queue(&self, run: &RunId) -> Result<(), Failure> {
        let Some(loaded) = self.runs.peek(run).await? else { return Ok(()) };
        let mut run = loaded.run().clone();
        if run.state != RunState::Queued
            || !matches!(run.position, Position::StackQueue | Position::Waiting)
        {
            return Ok(());
        }
        if run.module {
            run.position = Position::Tests;
            run.outstanding.insert(Effect::Advance);
        } else {
            run.position = Position::Queue;
            run.outstanding.insert(Effect::Dispatch);
        }
        self.runs.commit(loaded, run, Vec::new()).await
    }

    /// Looks at a run whose time has come. What happened meanwhile counts, not the message.
    pub(crate) async fn on_run_due(&self, run: &RunId) -> Result<(), Failure> {
        let Some(mut loaded) = self.runs.load(run).await? else { return Ok(()) };
        let timeouts = self
            .deps
            .store
            .stack(&loaded.run().stack)
            .await?
            .map(|s| s.value.settings.timeouts)
            .unwrap_or_default();
        loaded.timeouts = Some(timeouts);
        let now = self.deps.now();
        match loaded.run().state {
            RunState::Queued | RunState::Confirmed
                if loaded.run().position != Position::Slot && !loaded.run().waits_for_worker() =>
            {
                self.remind(loaded).await
            }
            RunState::Testing => self.remind(loaded).await,
            RunState::Preparing | RunState::Confirmed => {
                Box::pin(self.hand_out_again(loaded, now)).await
            }
            RunState::Initializing
            | RunState::Planning
            | RunState::Applying
            | RunState::Destroying => self.check_alive(loaded, &timeouts, now).await,
            RunState::Unconfirmed => Box::pin(self.look_at_plan(loaded, &timeouts, now)).await,
            _ => Ok(()),
        }
    }

    /// A run that waits is brought to mind again: its nudges may have been lost.
    async fn remind(&self, loaded: Loaded) -> Result<(), Failure> {
        let mut run = loaded.run().clone();
        let effect = match run.position {
            Position::Queue => Some(Effect::Dispatch),
            Position::Source => Some(Effect::Fetch),
            // One look at the stack is for all that wait for it.
            Position::StackQueue | Position::Waiting => {
                let version = distinct(&(self.deps.now().as_second() / 60));
                let stack = run.stack.clone();
                self.deps.sender.send(StackMessage::StackDue { stack, version }).await?;
                None
            }
            _ => Some(Effect::Advance),
        };
        run.outstanding.extend(effect);
        // What should show its begin may have been given up.
        let is_new = self.deps.now().duration_since(run.created_at) < NEW;
        if is_new && run.state == RunState::Queued {
            run.outstanding.insert(Effect::Feedback);
        }
        // Written also when nothing changed: that sets the time of the next look.
        self.runs.commit(loaded, run, Vec::new()).await
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
            let seconds = patience.as_secs();
            run.ending = Some(Ending::new(if is_applying {
                let minutes = seconds / 60;
                format!("Result unknown, check the state (no sign of life for {minutes} minutes)")
            } else {
                format!("The runner was lost (no sign of life for {seconds} seconds)")
            }));
            run.lost = is_applying;
            run.apply(RunEvent::Failed, now, None)?;
            if !loaded.run().may_be_applying() {
                run.outstanding.insert(Effect::EndRunner);
            }
            tracing::error!(run.id = %run.id, stack = %run.slug, "the runner was lost");
            return self.runs.commit(loaded, run, Vec::new()).await;
        }
        let limit = if is_applying { timeouts.apply } else { timeouts.plan };
        if now >= phase_began(&run) + limit.duration() && run.stop_asked.is_none() {
            run.stop_asked = Some(format!("the time limit of {limit}"));
            run.over_time = true;
        }
        // Written also when nothing changed: that sets the time of the next look.
        self.runs.commit(loaded, run, Vec::new()).await
    }

    /// A plan that nobody confirms is discarded when its time is over. Until then the rules about who
    /// confirms it are read again, where they ask for something: people change things at GitLab.
    async fn look_at_plan(
        &self,
        mut loaded: Loaded,
        timeouts: &Timeouts,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let mut run = loaded.run().clone();
        if now < run.since + timeouts.unconfirmed.duration() {
            if run.held || run.approval.is_some() {
                self.ask_rules(&mut loaded, &mut run).await?;
            }
            // Written also when nothing changed: that sets the next look, also where the limit was
            // raised meanwhile.
            return self.runs.commit(loaded, run, Vec::new()).await;
        }
        run.apply(RunEvent::Discarded, now, None)?;
        let time = timeouts.unconfirmed;
        run.ending =
            Some(Ending::new(format!("Discarded because nobody confirmed it within {time}")));
        self.runs.commit(loaded, run, Vec::new()).await
    }
}
