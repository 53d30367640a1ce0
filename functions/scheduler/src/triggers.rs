//! Making runs, and ending those that nobody wants any more.

use crate::{
    Work,
    effects::ending,
    moves::{Head, NewRun, written},
};
use gantry_domain::{
    CommitSha, EventId, RunId, StackId, outdated,
    run::{Effect, Place, Run, RunEvent, RunState, RunType, Want},
    stack::Stack,
};
use gantry_queue::{Failure, Trigger};
use gantry_store::{
    Expect, Stored, Write, keys,
    runner::Claim,
    scheduler::{Once, RunEntry},
};

impl Work {
    /// Makes the run that the trigger names, or adds what the trigger knows to the run that is
    /// there already. Answers the run; none when the stack takes no runs.
    pub(crate) async fn on_trigger(
        &self,
        stack: &StackId,
        event: Option<&EventId>,
        trigger: Trigger,
    ) -> Result<Option<RunId>, Failure> {
        let Some(stack) = self.runnable(stack).await? else { return Ok(None) };
        match trigger.run_type {
            RunType::Proposed => self.propose(&stack, event, trigger).await,
            RunType::Tracked | RunType::Test => self.track(&stack, event, trigger).await,
        }
    }

    /// The stack, if it may run at all.
    pub(crate) async fn runnable(&self, stack: &StackId) -> Result<Option<Stack>, Failure> {
        let Some(found) = self.deps.store.stack(stack).await? else { return Ok(None) };
        let stack = found.value;
        let integration = self.deps.store.integration().await?.map(|found| found.value);
        let runs = stack.is_attached(integration.as_ref()) && stack.deleted_at.is_none();
        Ok(runs.then_some(stack))
    }

    /// Why the run gets no runner any more, if its stack is not what it was made for.
    pub(crate) async fn outdated(&self, run: &Run) -> Result<Option<String>, Failure> {
        let stack = self.deps.store.stack(&run.stack).await?.map(|found| found.value);
        let integration = self.deps.store.integration().await?.map(|found| found.value);
        Ok(outdated(run, stack.as_ref(), integration.as_ref()))
    }

    async fn track(
        &self,
        stack: &Stack,
        event: Option<&EventId>,
        trigger: Trigger,
    ) -> Result<Option<RunId>, Failure> {
        let once = keys::once(&stack.id, &trigger.key);
        if let Some(found) = self.deps.store.get::<Once>(&once).await? {
            self.load(&found.value.run).await?;
            return Ok(Some(found.value.run));
        }
        let head = self.head(&stack.id).await?;
        let place = self.tracked_place(&stack.id, &head).await?;
        let key = trigger.key.clone();
        let run = NewRun { stack, trigger, event, key, place, now: self.now() }.build();
        let (id, mark) = (run.id.clone(), Once { run: run.id.clone(), generation: 0 });
        let mark = Write::put(once, Expect::Absent, &mark)?;
        written(self.create(head, run, vec![mark]).await?, &stack.slug)?;
        Ok(Some(id))
    }

    /// Where a new tracked run begins. A stack that is free while older runs still queue is about
    /// to take the first of them: a newer one must not go before it.
    pub(crate) async fn tracked_place(
        &self,
        stack: &StackId,
        head: &Head,
    ) -> Result<Place, Failure> {
        if head.value.tracked.is_some() || head.value.blocked.is_some() {
            return Ok(Place::Queue);
        }
        let partition = keys::stack_partition(stack);
        let queue = self.deps.store.query::<RunEntry>(&partition, "queue#", None, false, 1).await?;
        Ok(if queue.items.is_empty() { Place::Line } else { Place::Queue })
    }

    async fn propose(
        &self,
        stack: &Stack,
        event: Option<&EventId>,
        trigger: Trigger,
    ) -> Result<Option<RunId>, Failure> {
        let once = keys::once(&stack.id, &format!("proposed#{}", trigger.commit));
        let found = self.deps.store.get::<Once>(&once).await?;
        let (expect, generation) = match &found {
            None => (Expect::Absent, 0),
            Some(Stored { value, .. }) => {
                let loaded = self.load(&value.run).await?;
                // A fork's run had no secrets: it does not answer for the project's own code.
                if let Some(loaded) = loaded
                    && loaded.run().answers_for_its_commit()
                    && (loaded.run().fork_of.is_none() || trigger.fork_of.is_some())
                {
                    let id = value.run.clone();
                    return self.enrich(loaded, &trigger).await.map(|()| Some(id));
                }
                (found.as_ref().map_or(Expect::Absent, Stored::unchanged), value.generation + 1)
            }
        };
        let head = self.head(&stack.id).await?;
        let place = if head.value.applying { Place::Waiting } else { Place::Line };
        let key = proposed_key(&trigger.commit, generation);
        let run = NewRun { stack, trigger, event, key, place, now: self.now() }.build();
        let (id, mark) = (run.id.clone(), Once { run: run.id.clone(), generation });
        let mark = Write::put(once, expect, &mark)?;
        written(self.create(head, run, vec![mark]).await?, &stack.slug)?;
        Ok(Some(id))
    }

    /// The same commit came another way: the run is wanted by that too, and shown there.
    async fn enrich(&self, loaded: crate::moves::Loaded, trigger: &Trigger) -> Result<(), Failure> {
        let mut run: Run = loaded.run().clone();
        let is_new = trigger.want.clone().is_some_and(|want| run.wants.insert(want));
        run.stacks_touched = run.stacks_touched.max(trigger.stacks_touched);
        if !is_new && run == *loaded.run() {
            return Ok(());
        }
        run.outstanding.insert(Effect::Feedback);
        self.commit(loaded, run, Vec::new()).await
    }

    /// Takes a want away from a run. When it was the last one, a queued run is canceled and a
    /// running one stopped; what is finished stays as it is.
    pub(crate) async fn on_unwant(
        &self,
        run: &RunId,
        want: &Want,
        because: &str,
    ) -> Result<(), Failure> {
        let Some(loaded) = self.load(run).await? else { return Ok(()) };
        let mut run = loaded.run().clone();
        if run.run_type != RunType::Proposed || !run.wants.remove(want) {
            return Ok(());
        }
        let mut extra = Vec::new();
        if run.wants.is_empty() && !run.state.is_final() {
            extra = self.end(&mut run, because).await?;
        }
        self.commit(loaded, run, extra).await
    }

    /// Ends a run as far as that can be done now: canceled while no runner has it, otherwise its
    /// runner is asked to stop. Answers what the transaction must check.
    pub(crate) async fn end(&self, run: &mut Run, because: &str) -> Result<Vec<Write>, Failure> {
        let now = self.now();
        match run.state {
            RunState::Queued => {
                run.apply(RunEvent::Canceled, now, None)?;
                run.ending = Some(ending(because));
                Ok(Vec::new())
            }
            RunState::Preparing => {
                let claim = keys::claim(&run.id, run.attempt);
                if self.deps.store.get::<Claim>(&claim).await?.is_some() {
                    run.stop_asked = Some(because.to_owned());
                    return Ok(Vec::new());
                }
                run.apply(RunEvent::Canceled, now, None)?;
                run.ending = Some(ending(because));
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
}

/// The key of the `generation`th proposed run of a commit.
fn proposed_key(commit: &CommitSha, generation: u32) -> String {
    format!("proposed#{commit}#{generation}")
}

/// The first proposed run of a commit, whether it is there yet or not.
pub(crate) fn first_proposed(stack: &StackId, commit: &CommitSha) -> RunId {
    RunId::derive(stack, &proposed_key(commit, 0))
}
