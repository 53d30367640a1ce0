//! Writing runs.

use super::{Head, Loaded, Runs, lists::list_writes};
use gantry_domain::{
    run::{Effect, Position, Run, RunState, RunType, recheck::recheck_at},
    stack::{StackHead, Timeouts},
};
use gantry_queue::Failure;
use gantry_setup::metrics;
use gantry_store::{
    Expect, Outcome, StoreError, Stored, Write, keys,
    scheduler::{BlockedStack, DriftedStack, FailedStack, ListedRun, RunEntry},
};
use jiff::Timestamp;
use std::time::Duration;

impl Runs<'_> {
    /// Writes a changed run in one transaction with its position, its stack's head, where that was
    /// read, and `extra`, and then performs its effects. Stale means that somebody was first and
    /// nothing was written: the message is delivered again, and reads again.
    pub(crate) async fn commit(
        &self,
        loaded: Loaded,
        mut run: Run,
        extra: Vec<Write>,
    ) -> Result<(), Failure> {
        run.settle_position();
        self.settle_source(loaded.run().position, &mut run).await?;
        // No runner has claimed it, and none shall.
        let before = loaded.run();
        if before.is_unclaimed() && run.state.is_final() && run.role.is_some() {
            run.outstanding.insert(Effect::EndRunner);
        }
        let timeouts = match loaded.timeouts {
            Some(known) => known,
            None => self.timeouts(&run).await?,
        };
        let mut writes =
            vec![Write::put(keys::run(&run.id), loaded.stored.unchanged(), &run)?.due(recheck_at(
                &run,
                &timeouts,
                loaded.alive_at,
                self.deps.now(),
            ))];
        writes.extend(list_writes(before, &run, loaded.is_started, self.deps.now())?);
        if run.state.is_final() && !before.state.is_final() {
            writes.extend(end_writes(&run)?);
        }
        if let Some(head) = &loaded.head {
            writes.extend(head_writes(head, before, &run, self.deps.now())?);
        }
        writes.extend(extra);
        written(self.deps.store.write(writes).await?, &run.id)?;
        if run.state.is_final() && !loaded.run().state.is_final() {
            metrics::count_of("RunsEnded", "State", &run.state.to_string(), 1);
        }
        tracing::info!(
            run.id = %run.id, stack = %run.slug, commit = %run.commit, state = %run.state,
            "run is {}", run.state
        );
        let stored =
            Stored { key: keys::run(&run.id), version: loaded.stored.version + 1, value: run };
        Box::pin(self.perform(stored, loaded.is_started)).await
    }

    /// Writes a run that does not exist yet, with its entries in the lists, and performs its
    /// effects. Stale means that it exists.
    pub(crate) async fn create(
        &self,
        head: Head,
        mut run: Run,
        extra: Vec<Write>,
    ) -> Result<Outcome, Failure> {
        run.settle_position();
        self.settle_source(Position::Nowhere, &mut run).await?;
        match self.record(head, run, extra).await? {
            None => Ok(Outcome::Stale),
            Some(stored) => {
                Box::pin(self.perform(stored, false)).await?;
                Ok(Outcome::Written)
            }
        }
    }

    /// The same for a trigger, which is delivered until it is done, and finds the run then: that is
    /// enough to have its effects performed. So they are not written down as outstanding, nor as done
    /// after that.
    pub(crate) async fn create_triggered(
        &self,
        head: Head,
        mut run: Run,
        extra: Vec<Write>,
    ) -> Result<Outcome, Failure> {
        run.settle_position();
        self.settle_source(Position::Nowhere, &mut run).await?;
        run.outstanding.clear();
        match self.record(head, run, extra).await? {
            None => Ok(Outcome::Stale),
            Some(stored) => {
                Box::pin(self.begin(&stored)).await?;
                Ok(Outcome::Written)
            }
        }
    }

    /// None where the run exists.
    async fn record(
        &self,
        head: Head,
        mut run: Run,
        extra: Vec<Write>,
    ) -> Result<Option<Stored<Run>>, Failure> {
        run.number = head.value.last_number + 1;
        let entry = RunEntry::from(&run);
        let now = self.deps.now();
        let in_stack = keys::stack_run(&run.stack, run.number);
        let made = Write::put(keys::run(&run.id), Expect::Absent, &run)?;
        let version = made.version().unwrap_or_default();
        let due = recheck_at(&run, &Timeouts::default(), None, now);
        let mut writes = vec![made.due(due), Write::put(in_stack, Expect::Any, &entry)?];
        writes.push(listed(&run)?);
        if let Some(project) = run.project().filter(|_| run.is_of_commit()) {
            let in_commit = keys::commit_run(project, &run.commit, &run.id);
            writes.push(Write::put(in_commit, Expect::Any, &entry)?);
        }
        let nowhere = Run { position: Position::Nowhere, ..run.clone() };
        writes.extend(list_writes(&nowhere, &run, false, now)?);
        let mut after = head.value.after(&nowhere, &run, now);
        after.last_number = run.number;
        if run.run_type == RunType::Tracked {
            after.latest = Some(run.id.clone());
        }
        writes.push(Write::put(keys::stack_head(&run.stack), head.expect, &after)?);
        writes.extend(extra);
        Ok(match self.deps.store.write(writes).await? {
            Outcome::Stale => None,
            Outcome::Written => Some(Stored { key: keys::run(&run.id), version, value: run }),
        })
    }
}

/// What changes in a stack's head when one of its runs moves. Where a run stands may depend on what the
/// head says, also where nothing changes there.
fn head_writes(
    head: &Head,
    before: &Run,
    run: &Run,
    now: Timestamp,
) -> Result<Vec<Write>, StoreError> {
    let (mut writes, key) = (Vec::new(), keys::stack_head(&run.stack));
    let after = head.value.after(before, run, now);
    if after != head.value {
        writes.push(Write::put(key, head.expect, &after)?);
    } else if run.position != before.position {
        writes.push(Write::Check { key, expect: head.expect });
    }
    if after.blocked.is_some() && after.blocked != head.value.blocked {
        let blocked = BlockedStack { stack: run.stack.clone() };
        writes.push(Write::put(keys::blocked(&run.stack), Expect::Any, &blocked)?);
    }
    match (differs(&head.value), differs(&after)) {
        (false, true) => {
            let drifted = DriftedStack { stack: run.stack.clone() };
            writes.push(Write::put(keys::drifted(&run.stack), Expect::Any, &drifted)?);
        }
        (true, false) => {
            let key = keys::drifted(&run.stack);
            writes.push(Write::Delete { key, expect: Expect::Any });
        }
        _ => {}
    }
    Ok(writes)
}

/// Something of the stack is known to differ from what was applied.
fn differs(head: &StackHead) -> bool {
    head.drift.as_ref().is_some_and(|drift| drift.found > 0)
}

/// The run's entry in the list of all.
fn listed(run: &Run) -> Result<Write, StoreError> {
    Write::put(keys::listed(run.created_at, &run.id), Expect::Any, &ListedRun::from(run))
}

/// What is written when a run ends: how, in the list of all runs, and whether its stack is one whose
/// last deploy that succeeded or failed has failed.
fn end_writes(run: &Run) -> Result<Vec<Write>, StoreError> {
    let mut writes = vec![listed(run)?];
    let key = keys::failed(&run.stack);
    match run.state {
        _ if !run.applies_code() => {}
        RunState::Failed => {
            let failed = FailedStack { stack: run.stack.clone(), run: run.id.clone() };
            writes.push(Write::put(key, Expect::Any, &failed)?);
        }
        RunState::Finished => {
            writes.push(Write::Delete { key, expect: Expect::Any });
        }
        _ => {}
    }
    Ok(writes)
}

/// Turns "somebody was first" into another delivery of the message.
pub(crate) fn written(outcome: Outcome, what: &impl std::fmt::Display) -> Result<(), Failure> {
    match outcome {
        Outcome::Written => Ok(()),
        Outcome::Stale => Err(Failure::wait(
            anyhow::anyhow!("{what} was changed by someone else in the meantime"),
            Duration::from_millis(200),
        )),
    }
}
