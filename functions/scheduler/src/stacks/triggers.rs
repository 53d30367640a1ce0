//! Making runs, and ending those that nobody wants any more.

use super::Stacks;
use crate::runs::{Head, Loaded, written};
use gantry_domain::{
    CommitSha, EventId, RunId, StackId,
    run::{Effect, Interest, NewRun, Position, Run, RunType, Trigger},
    stack::Stack,
};
use gantry_queue::Failure;
use gantry_store::{
    Expect, Stored, Write, keys,
    scheduler::{Once, RunEntry},
};

impl Stacks<'_> {
    /// Makes the run that the trigger names, or adds what the trigger knows to the run that is
    /// there already; nothing when the stack takes no runs.
    pub(crate) async fn on_trigger(
        &self,
        stack: &StackId,
        event: Option<&EventId>,
        trigger: Trigger,
    ) -> Result<(), Failure> {
        let Some(stack) = self.runnable(stack).await? else { return Ok(()) };
        match trigger.run_type {
            RunType::Proposed => self.propose(&stack, event, trigger).await,
            RunType::Tracked | RunType::Test => self.track(&stack, event, trigger).await,
        }
    }

    async fn track(
        &self,
        stack: &Stack,
        event: Option<&EventId>,
        trigger: Trigger,
    ) -> Result<(), Failure> {
        let once = keys::once(&stack.id, &trigger.key);
        if let Some(found) = self.deps.store.get::<Once>(&once).await? {
            self.runs.load(&found.value.run).await?;
            return Ok(());
        }
        let head = self.runs.head(&stack.id).await?;
        let position = self.tracked_position(&stack.id, &head).await?;
        let key = trigger.key.clone();
        let run = NewRun { stack, trigger, event, key, position, now: self.deps.now() }.build();
        let mark = Once { run: run.id.clone(), generation: 0 };
        let mark = Write::put(once, Expect::Absent, &mark)?;
        written(self.runs.create(head, run, vec![mark]).await?, &stack.slug)
    }

    /// Where a new tracked run begins. A stack that is free while older runs still queue is about
    /// to take the first of them: a newer one must not go before it.
    pub(super) async fn tracked_position(
        &self,
        stack: &StackId,
        head: &Head,
    ) -> Result<Position, Failure> {
        if head.value.tracked.is_some() || head.value.blocked.is_some() {
            return Ok(Position::StackQueue);
        }
        let partition = keys::stack_partition(stack);
        let queue = self.deps.store.query::<RunEntry>(&partition, "queue#", None, false, 1).await?;
        Ok(if queue.items.is_empty() { Position::Queue } else { Position::StackQueue })
    }

    async fn propose(
        &self,
        stack: &Stack,
        event: Option<&EventId>,
        trigger: Trigger,
    ) -> Result<(), Failure> {
        let once = keys::once(&stack.id, &format!("proposed#{}", trigger.commit));
        let found = self.deps.store.get::<Once>(&once).await?;
        let (expect, generation) = match &found {
            None => (Expect::Absent, 0),
            Some(Stored { value, .. }) => {
                let loaded = self.runs.load(&value.run).await?;
                // A fork's run had no secrets: it does not answer for the project's own code.
                if let Some(loaded) = loaded
                    && loaded.run().answers_for_its_commit()
                    && (loaded.run().fork_of.is_none() || trigger.fork_of.is_some())
                {
                    return self.enrich(loaded, &trigger).await;
                }
                (found.as_ref().map_or(Expect::Absent, Stored::unchanged), value.generation + 1)
            }
        };
        let head = self.runs.head(&stack.id).await?;
        let position = if head.value.applying { Position::Waiting } else { Position::Queue };
        let key = proposed_key(&trigger.commit, generation);
        let run = NewRun { stack, trigger, event, key, position, now: self.deps.now() }.build();
        let mark = Write::put(once, expect, &Once { run: run.id.clone(), generation })?;
        written(self.runs.create(head, run, vec![mark]).await?, &stack.slug)
    }

    /// The same commit came another way: that is interested in the run too, and shown there.
    async fn enrich(&self, loaded: Loaded, trigger: &Trigger) -> Result<(), Failure> {
        let mut run: Run = loaded.run().clone();
        let is_new =
            trigger.interest.clone().is_some_and(|interest| run.interests.insert(interest));
        run.stacks_touched = run.stacks_touched.max(trigger.stacks_touched);
        if !is_new && run == *loaded.run() {
            return Ok(());
        }
        run.outstanding.insert(Effect::Feedback);
        self.runs.commit(loaded, run, Vec::new()).await
    }

    /// Takes an interest away from a run. When it was the last one, a queued run is canceled and a
    /// running one stopped; what is finished stays as it is.
    pub(crate) async fn on_release(
        &self,
        run: &RunId,
        interest: &Interest,
        because: &str,
    ) -> Result<(), Failure> {
        let Some(loaded) = self.runs.load(run).await? else { return Ok(()) };
        let mut run = loaded.run().clone();
        if run.run_type != RunType::Proposed || !run.interests.remove(interest) {
            return Ok(());
        }
        let mut extra = Vec::new();
        if run.interests.is_empty() && !run.state.is_final() {
            extra = self.end(&mut run, because).await?;
        }
        self.runs.commit(loaded, run, extra).await
    }
}

/// The key of the `generation`th proposed run of a commit.
fn proposed_key(commit: &CommitSha, generation: u32) -> String {
    format!("proposed#{commit}#{generation}")
}

/// The first proposed run of a commit, whether it is there yet or not.
pub(crate) fn first_proposed(stack: &StackId, commit: &CommitSha) -> RunId {
    RunId::derive(stack, &proposed_key(commit, 0))
}
