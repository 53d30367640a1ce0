//! Making runs, and ending those that nobody wants any more.

use super::{Stacks, may_run};
use crate::runs::{Head, Loaded, written};
use gantry_domain::{
    CommitSha, EventId, RunId, StackId,
    integration::Integration,
    run::{Effect, Interest, NewRun, Position, Run, RunType, Trigger},
    stack::{Stack, StackHead},
};
use gantry_queue::Failure;
use gantry_store::{
    Expect, Key, StoreError, Stored, Write, keys,
    scheduler::{Once, RunEntry},
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;

/// What a trigger depends on, in one read.
struct Known {
    stack: Stack,
    head: Head,
    /// Where the run is named that the trigger asks for, and what is there.
    once: Key,
    made: Option<Stored<Once>>,
}

impl Stacks<'_> {
    /// Makes the run that the trigger names, or adds what the trigger knows to the run that is
    /// there already; nothing when the stack takes no runs.
    pub(crate) async fn on_trigger(
        &self,
        stack: &StackId,
        event: Option<&EventId>,
        trigger: Trigger,
    ) -> Result<(), Failure> {
        let once = match trigger.run_type {
            RunType::Proposed => keys::once(stack, &format!("proposed#{}", trigger.commit)),
            RunType::Tracked | RunType::Test => keys::once(stack, &trigger.key),
        };
        let Some(known) = self.known(stack, once).await? else { return Ok(()) };
        match trigger.run_type {
            RunType::Proposed => Box::pin(self.propose(known, event, trigger)).await,
            RunType::Tracked | RunType::Test => Box::pin(self.track(known, event, trigger)).await,
        }
    }

    /// None where the stack takes no runs.
    async fn known(&self, stack: &StackId, once: Key) -> Result<Option<Known>, Failure> {
        let (definition, server) = (keys::stack_config(stack), keys::integration());
        let head = keys::stack_head(stack);
        let wanted = [definition.clone(), server.clone(), head.clone(), once.clone()];
        let found = self.deps.store.get_many::<Value>(&wanted).await?;
        let mut found: Found = found.into_iter().map(|item| (item.key.clone(), item)).collect();
        let Some(stack) = taken::<Stack>(&mut found, &definition)? else { return Ok(None) };
        let integration = taken::<Integration>(&mut found, &server)?;
        if !may_run(&stack.value, integration.map(|found| found.value).as_ref()) {
            return Ok(None);
        }
        let head = Head::of(taken::<StackHead>(&mut found, &head)?);
        let made = taken::<Once>(&mut found, &once)?;
        Ok(Some(Known { stack: stack.value, head, once, made }))
    }

    async fn track(
        &self,
        known: Known,
        event: Option<&EventId>,
        trigger: Trigger,
    ) -> Result<(), Failure> {
        let Known { stack, head, once, made } = known;
        if let Some(made) = made {
            return match self.runs.load(&made.value.run).await? {
                Some(loaded) => self.begin_again(&loaded, event).await,
                None => Ok(()),
            };
        }
        let position = self.tracked_position(&stack.id, &head).await?;
        let (key, now) = (trigger.key.clone(), self.deps.now());
        let run = NewRun { stack: &stack, trigger, event, key, position, now }.build();
        let mark = Once { run: run.id.clone(), generation: 0 };
        let mark = Write::put(once, Expect::Absent, &mark)?;
        written(self.runs.create_triggered(head, run, vec![mark]).await?, &stack.slug)
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
        // Nothing queues where nothing ever ran.
        if head.expect == Expect::Absent {
            return Ok(Position::Queue);
        }
        let partition = keys::stack_partition(stack);
        let queue = self.deps.store.query::<RunEntry>(&partition, "queue#", None, false, 1).await?;
        Ok(if queue.items.is_empty() { Position::Queue } else { Position::StackQueue })
    }

    async fn propose(
        &self,
        known: Known,
        event: Option<&EventId>,
        trigger: Trigger,
    ) -> Result<(), Failure> {
        let Known { stack, head, once, made } = known;
        let (expect, generation) = match &made {
            None => (Expect::Absent, 0),
            Some(Stored { value, .. }) => {
                let loaded = self.runs.load(&value.run).await?;
                // A fork's run had no secrets: it does not answer for the project's own code.
                if let Some(loaded) = loaded
                    && loaded.run().answers_for_its_commit()
                    && (loaded.run().fork_of.is_none() || trigger.fork_of.is_some())
                {
                    return self.enrich(loaded, event, &trigger).await;
                }
                (made.as_ref().map_or(Expect::Absent, Stored::unchanged), value.generation + 1)
            }
        };
        let position = if head.value.applying { Position::Waiting } else { Position::Queue };
        let (key, now) = (proposed_key(&trigger.commit, generation), self.deps.now());
        let run = NewRun { stack: &stack, trigger, event, key, position, now }.build();
        let mark = Write::put(once, expect, &Once { run: run.id.clone(), generation })?;
        written(self.runs.create_triggered(head, run, vec![mark]).await?, &stack.slug)
    }

    /// The same commit came another way: that is interested in the run too, and shown there.
    async fn enrich(
        &self,
        loaded: Loaded,
        event: Option<&EventId>,
        trigger: &Trigger,
    ) -> Result<(), Failure> {
        let mut run: Run = loaded.run().clone();
        let is_new =
            trigger.interest.clone().is_some_and(|interest| run.interests.insert(interest));
        run.stacks_touched = run.stacks_touched.max(trigger.stacks_touched);
        if !is_new && run == *loaded.run() {
            return self.begin_again(&loaded, event).await;
        }
        run.outstanding.insert(Effect::Feedback);
        self.runs.commit(loaded, run, Vec::new()).await
    }

    /// The trigger has come again that made the run: whoever handled it before may have ended then.
    async fn begin_again(&self, loaded: &Loaded, event: Option<&EventId>) -> Result<(), Failure> {
        match loaded.run().event.as_ref() == event {
            true => Box::pin(self.runs.begin(&loaded.stored)).await,
            false => Ok(()),
        }
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

/// Items of several kinds, by their keys.
pub(super) type Found = BTreeMap<Key, Stored<Value>>;

/// One of them.
pub(super) fn taken<T: DeserializeOwned>(
    found: &mut Found,
    key: &Key,
) -> Result<Option<Stored<T>>, StoreError> {
    found.remove(key).map(|item| item.parsed::<T>()).transpose()
}

/// The key of the `generation`th proposed run of a commit.
fn proposed_key(commit: &CommitSha, generation: u32) -> String {
    format!("proposed#{commit}#{generation}")
}

/// The first proposed run of a commit, whether it is there yet or not.
pub(crate) fn first_proposed(stack: &StackId, commit: &CommitSha) -> RunId {
    RunId::derive(stack, &proposed_key(commit, 0))
}
