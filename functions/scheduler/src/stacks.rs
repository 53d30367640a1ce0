//! Stacks: what moves their runs. One message of a stack is handled at a time.

mod approvals;
mod brought_in;
mod commands;
mod decisions;
mod due;
mod hand_out;
mod replan;
mod reports;
mod rights;
mod suites;
mod timers;
mod triggers;
mod unpushed;

pub(crate) use triggers::first_proposed;

use crate::{deps::Deps, nudges::distinct, runs::Runs};
use gantry_domain::{
    RunId, StackId,
    integration::Integration,
    outdated,
    run::{Effect, Ending, Run, RunEvent, RunState},
    stack::Stack,
    text,
};
use gantry_queue::{Failure, StackMessage};
use gantry_store::{Expect, Write, keys, runner::Claim};
use jiff::Timestamp;

/// True for a stack that is not deleted, of the GitLab server that is linked.
fn may_run(stack: &Stack, integration: Option<&Integration>) -> bool {
    stack.is_attached(integration) && stack.deleted_at.is_none()
}

/// The stacks.
#[derive(Clone, Copy)]
pub(crate) struct Stacks<'a> {
    pub(crate) deps: &'a Deps,
    pub(crate) runs: Runs<'a>,
}

impl Stacks<'_> {
    /// Handles a message that was sent then, if that is known.
    pub(crate) async fn handle(
        &self,
        message: StackMessage,
        sent_at: Option<Timestamp>,
    ) -> Result<(), Failure> {
        match message {
            StackMessage::Trigger { stack, event, trigger } => {
                Box::pin(self.on_trigger(&stack, Some(&event), *trigger)).await
            }
            StackMessage::Release { run, interest, because, .. } => {
                Box::pin(self.on_release(&run, &interest, &because)).await
            }
            StackMessage::Command { stack, request, actor, person, command } => {
                Box::pin(self.on_command(&stack, &request, &actor, person.as_ref(), command)).await
            }
            StackMessage::Report { run, attempt, report, .. } => {
                Box::pin(self.on_report(&run, attempt, report, sent_at)).await
            }
            StackMessage::NotStarted { run, attempt, why, words, .. } => {
                Box::pin(self.on_not_started(&run, attempt, why, &words)).await
            }
            StackMessage::Packaged { run, packed, .. } => {
                Box::pin(self.on_packaged(&run, packed)).await
            }
            StackMessage::Fetched { stack, run, is_there, is_new, commit, .. } => {
                let ahead = commit.as_ref().map(|commit| (&stack, commit));
                Box::pin(self.runs.on_fetched(&run, is_there, is_new, ahead)).await?;
                // It may have got a slot, of which nobody else was told.
                Box::pin(self.on_grant(&run)).await
            }
            StackMessage::Grant { run, .. } => Box::pin(self.on_grant(&run)).await,
            StackMessage::RunDue { run, .. } => Box::pin(self.on_run_due(&run)).await,
            StackMessage::StackDue { stack, .. } => Box::pin(self.on_stack_due(&stack)).await,
            StackMessage::TimerDue { stack, .. } => Box::pin(self.on_timer_due(&stack)).await,
            StackMessage::Replan { run, after, round, .. } => {
                Box::pin(self.on_replan(&run, after, round)).await
            }
        }
    }

    /// The stack, if it may run at all.
    pub(crate) async fn runnable(&self, stack: &StackId) -> Result<Option<Stack>, Failure> {
        let Some(found) = self.deps.store.stack(stack).await? else { return Ok(None) };
        let stack = found.value;
        let integration = self.deps.store.integration().await?.map(|found| found.value);
        Ok(may_run(&stack, integration.as_ref()).then_some(stack))
    }

    /// Why the run gets no runner any more, if its stack is not what it was made for.
    pub(super) async fn outdated(&self, run: &Run) -> Result<Option<String>, Failure> {
        let stack = self.deps.store.stack(&run.stack).await?.map(|found| found.value);
        self.outdated_for(run, stack.as_ref()).await
    }

    /// The same for a stack that was just read.
    pub(super) async fn outdated_for(
        &self,
        run: &Run,
        stack: Option<&Stack>,
    ) -> Result<Option<String>, Failure> {
        let integration = self.deps.store.integration().await?.map(|found| found.value);
        Ok(outdated(run, stack, integration.as_ref()))
    }

    /// Ends a run as far as that can be done now: canceled while no runner has it, otherwise its
    /// runner is asked to stop. Answers what the transaction must check.
    pub(super) async fn end(&self, run: &mut Run, because: &str) -> Result<Vec<Write>, Failure> {
        let now = self.deps.now();
        match run.state {
            RunState::Queued => {
                run.apply(RunEvent::Canceled, now, None)?;
                run.ending = Some(Ending::new(text::stopped_by(because)));
                Ok(Vec::new())
            }
            RunState::Preparing => {
                let claim = keys::claim(&run.id, run.attempt);
                if self.deps.store.get::<Claim>(&claim).await?.is_some() {
                    run.stop_asked = Some(because.to_owned());
                    return Ok(Vec::new());
                }
                run.apply(RunEvent::Canceled, now, None)?;
                run.ending = Some(Ending::new(text::stopped_by(because)));
                Ok(vec![Write::Check { key: claim, expect: Expect::Absent }])
            }
            RunState::Testing => {
                run.stop_asked = Some(because.to_owned());
                run.outstanding.insert(Effect::Advance);
                Ok(Vec::new())
            }
            _ => {
                run.stop_asked = Some(because.to_owned());
                Ok(Vec::new())
            }
        }
    }

    /// Cancels a run that no runner has; any other is left as it is.
    pub(super) async fn cancel_queued(&self, run: &RunId, because: &str) -> Result<(), Failure> {
        let Some(loaded) = self.runs.peek(run).await? else { return Ok(()) };
        let mut run = loaded.run().clone();
        if run.state != RunState::Queued
            || run.apply(RunEvent::Canceled, self.deps.now(), None).is_err()
        {
            return Ok(());
        }
        run.ending = Some(Ending::new(because));
        self.runs.commit(loaded, run, Vec::new()).await
    }

    /// Nudges the module again, after what was just written.
    pub(super) async fn nudge_soon(&self, run: &Run) -> Result<(), Failure> {
        let version = distinct(&(&run.id, self.deps.now().as_millisecond()));
        Ok(self
            .deps
            .sender
            .send(StackMessage::StackDue { stack: run.stack.clone(), version })
            .await?)
    }
}
