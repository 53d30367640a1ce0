//! Moving runs: every change of a run, of its place and of its stack's head is one transaction,
//! followed by the effects that the transaction recorded.

use crate::{Work, suites::test_key};
use gantry_domain::{
    RunId, StackId,
    run::{Effect, Phase, Place, Run, RunState, RunType, TestOf},
    stack::{Stack, Timeouts},
    text,
};
use gantry_queue::Failure;
use gantry_setup::metrics;
use gantry_store::{
    Expect, Key, Outcome, StoreError, Stored, Write, keys,
    scheduler::{Blocked, BlockedStack, LastApplied, LineEntry, RoomEntry, RunEntry, StackHead},
};
use jiff::{SignedDuration, Timestamp};

/// An executing run without a sign of life for this long is lost, before it applies.
pub(crate) const LOST_AFTER: SignedDuration = SignedDuration::from_secs(60);
/// And while it applies.
pub(crate) const APPLY_LOST_AFTER: SignedDuration = SignedDuration::from_mins(5);
/// And however little is known of whether it could be heard.
pub(crate) const LOST_ANYWAY_AFTER: SignedDuration = SignedDuration::from_hours(1);
/// Effects that nobody performed by then are found by the sweep.
const EFFECTS_LOST_AFTER: SignedDuration = SignedDuration::from_secs(30);

/// A run that waits is looked at this often.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_mins(10);

/// A module's run whose configuration is not read yet is looked at this often.
const SOON: SignedDuration = SignedDuration::from_secs(30);

/// A stack's head as it was read; a stack that never ran has none.
pub(crate) struct Head {
    pub(crate) expect: Expect,
    pub(crate) value: StackHead,
}

/// A run with its stack's head: what a transition is based on.
pub(crate) struct Loaded {
    pub(crate) stored: Stored<Run>,
    pub(crate) head: Head,
    /// The last sign of life of the run's runner, where that was looked for.
    pub(crate) alive_at: Option<Timestamp>,
}

impl Loaded {
    pub(crate) fn run(&self) -> &Run {
        &self.stored.value
    }
}

impl Work {
    pub(crate) async fn head(&self, stack: &StackId) -> Result<Head, StoreError> {
        let found = self.deps.store.get::<StackHead>(&keys::stack_head(stack)).await?;
        Ok(match found {
            Some(stored) => Head { expect: stored.unchanged(), value: stored.value },
            None => Head { expect: Expect::Absent, value: StackHead::default() },
        })
    }

    /// Loads a run, having done what was left to do for its last transition.
    pub(crate) async fn load(&self, run: &RunId) -> Result<Option<Loaded>, Failure> {
        let mut stored = match self.deps.store.get::<Run>(&keys::run(run)).await? {
            Some(stored) => stored,
            None => return Ok(None),
        };
        if !stored.value.outstanding.is_empty() {
            self.perform(stored).await?;
            stored = match self.deps.store.get::<Run>(&keys::run(run)).await? {
                Some(stored) => stored,
                None => return Ok(None),
            };
        }
        let head = self.head(&stored.value.stack).await?;
        Ok(Some(Loaded { stored, head, alive_at: None }))
    }

    /// Reads a run as it is, also when something is still outstanding.
    pub(crate) async fn peek(&self, run: &RunId) -> Result<Option<Loaded>, Failure> {
        let Some(stored) = self.deps.store.get::<Run>(&keys::run(run)).await? else {
            return Ok(None);
        };
        let head = self.head(&stored.value.stack).await?;
        Ok(Some(Loaded { stored, head, alive_at: None }))
    }

    /// Writes a changed run in one transaction with its place, its stack's head and `extra`, and
    /// then performs its effects. Stale means that somebody was first and nothing was written:
    /// the message is delivered again, and reads again.
    pub(crate) async fn commit(
        &self,
        loaded: Loaded,
        mut run: Run,
        extra: Vec<Write>,
    ) -> Result<(), Failure> {
        settle_place(&mut run);
        self.settle_source(loaded.run().place, &mut run).await?;
        // No runner has claimed it, and none shall.
        let before = loaded.run();
        let was_handed_out = before.place == Place::Room && before.runner.is_none();
        if was_handed_out && run.state.is_final() && run.role.is_some() {
            run.outstanding.insert(Effect::EndRunner);
        }
        let timeouts = self.timeouts(&run).await?;
        let mut writes =
            vec![Write::put(keys::run(&run.id), loaded.stored.unchanged(), &run)?.due(next_look(
                &run,
                &timeouts,
                loaded.alive_at,
                self.now(),
            ))];
        writes.extend(place_writes(loaded.run(), &run, self.now())?);
        let head = head_after(&loaded.head.value, loaded.run(), &run, self.now());
        if head != loaded.head.value {
            let key = keys::stack_head(&run.stack);
            writes.push(Write::put(key, loaded.head.expect, &head)?);
        } else if run.place != loaded.run().place {
            writes.push(Write::Check {
                key: keys::stack_head(&run.stack),
                expect: loaded.head.expect,
            });
        }
        if head.blocked.is_some() && head.blocked != loaded.head.value.blocked {
            writes.push(Write::put(
                keys::blocked(&run.stack),
                Expect::Any,
                &BlockedStack { stack: run.stack.clone() },
            )?);
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
        self.perform(stored).await
    }

    /// Writes a run that does not exist yet, with its entries in the lists, and performs its
    /// effects. Stale means that it exists.
    pub(crate) async fn create(
        &self,
        head: Head,
        mut run: Run,
        extra: Vec<Write>,
    ) -> Result<Outcome, Failure> {
        settle_place(&mut run);
        self.settle_source(Place::Nowhere, &mut run).await?;
        run.number = head.value.last_number + 1;
        let entry = RunEntry {
            run: run.id.clone(),
            stack: run.stack.clone(),
            run_type: run.run_type,
            created_at: run.created_at,
        };
        let now = self.now();
        let in_stack = keys::stack_run(&run.stack, run.number);
        let made = Write::put(keys::run(&run.id), Expect::Absent, &run)?;
        let version = made.version().unwrap_or_default();
        let due = next_look(&run, &Timeouts::default(), None, now);
        let mut writes = vec![made.due(due), Write::put(in_stack, Expect::Any, &entry)?];
        if let Some(project) = run.project() {
            let in_commit = keys::commit_run(project, &run.commit, &run.id);
            writes.push(Write::put(in_commit, Expect::Any, &entry)?);
        }
        let nowhere = Run { place: Place::Nowhere, ..run.clone() };
        writes.extend(place_writes(&nowhere, &run, now)?);
        let mut after = head_after(&head.value, &nowhere, &run, now);
        after.last_number = run.number;
        if run.run_type == RunType::Tracked {
            after.latest = Some(run.id.clone());
        }
        writes.push(Write::put(keys::stack_head(&run.stack), head.expect, &after)?);
        writes.extend(extra);
        match self.deps.store.write(writes).await? {
            Outcome::Stale => Ok(Outcome::Stale),
            Outcome::Written => {
                let stored = Stored { key: keys::run(&run.id), version, value: run };
                self.perform(stored).await?;
                Ok(Outcome::Written)
            }
        }
    }

    pub(crate) async fn timeouts(&self, run: &Run) -> Result<Timeouts, StoreError> {
        // No time limit of the stack's own counts then.
        if run.state.is_final() || run.state == RunState::Queued {
            return Ok(Timeouts::default());
        }
        let stack = self.deps.store.stack(&run.stack).await?;
        Ok(stack.map(|s: Stored<Stack>| s.value.timeouts).unwrap_or_default())
    }
}

/// Turns "somebody was first" into another delivery of the message.
pub(crate) fn written(outcome: Outcome, what: &impl std::fmt::Display) -> Result<(), Failure> {
    match outcome {
        Outcome::Written => Ok(()),
        Outcome::Stale => Err(Failure::wait(
            anyhow::anyhow!("{what} was changed by somebody else meanwhile"),
            std::time::Duration::from_millis(200),
        )),
    }
}

/// A run that has ended stands nowhere; one that was confirmed goes to the line.
fn settle_place(run: &mut Run) {
    run.place = match run.state {
        state if state.is_final() => Place::Nowhere,
        RunState::Unconfirmed => Place::Person,
        RunState::Confirmed if run.place == Place::Person => Place::Line,
        _ => run.place,
    };
}

/// The list entries that change when a run goes from one place to another.
fn place_writes(before: &Run, after: &Run, now: Timestamp) -> Result<Vec<Write>, StoreError> {
    if before.place == after.place {
        return Ok(Vec::new());
    }
    let mut writes = Vec::with_capacity(2);
    let entry = RunEntry {
        run: after.id.clone(),
        stack: after.stack.clone(),
        run_type: after.run_type,
        created_at: after.created_at,
    };
    let key = |place, run: &Run| match place {
        Place::Nowhere | Place::Source => None,
        Place::Queue => Some(keys::stack_queue(&run.stack, run.number)),
        Place::Waiting => Some(keys::stack_waiting(&run.stack, &run.id)),
        Place::Line => Some(line_key(run)),
        Place::Room => Some(keys::room(&run.id)),
        Place::Person => Some(keys::waiting(run.created_at, &run.id)),
        Place::Tests => Some(keys::stack_tests(&run.stack, run.number)),
    };
    if let Some(key) = key(before.place, before) {
        writes.push(Write::Delete { key, expect: Expect::Any });
    }
    // A granted place is an entry of the room while the run still stands in the line.
    if before.place == Place::Line && after.place != Place::Room {
        writes.push(Write::Delete { key: keys::room(&before.id), expect: Expect::Any });
    }
    if let Some(key) = key(after.place, after) {
        writes.push(match after.place {
            Place::Line => {
                let line = LineEntry {
                    run: after.id.clone(),
                    stack: after.stack.clone(),
                    phase: after.phase,
                    attempt: after.attempt,
                    since: Some(now),
                    pool: after.pool.clone(),
                };
                Write::put(key, Expect::Any, &line)?
            }
            Place::Room => {
                let room = RoomEntry {
                    run: after.id.clone(),
                    stack: after.stack.clone(),
                    pool: after.pool.clone(),
                    taken: true,
                    started: 0,
                    at: now,
                };
                Write::put(key, Expect::Any, &room)?
            }
            _ => Write::put(key, Expect::Any, &entry)?,
        });
    }
    Ok(writes)
}

/// A run's place in the line, or in that of its pool.
pub(crate) fn line_key(run: &Run) -> Key {
    let (class, at, number) = (run.line_class(), run.created_at, run.number);
    match &run.pool {
        Some(pool) => keys::pool_line(pool, class, at, number, &run.id),
        None => keys::line(class, at, number, &run.id),
    }
}

/// It waits for a worker of its pool, who takes it whenever there is one.
pub(crate) fn waits_for_worker(run: &Run) -> bool {
    run.pool.is_some()
        && run.handed_out_at.is_some()
        && matches!(run.state, RunState::Preparing | RunState::Confirmed)
}

/// What the stack's head says once the run has moved.
fn head_after(head: &StackHead, before: &Run, after: &Run, now: Timestamp) -> StackHead {
    let mut head = head.clone();
    if let Some(test) = after.test.as_ref().filter(|_| leaves_behind(before, after)) {
        head.blocked = Some(Blocked {
            run: after.id.clone(),
            reason: format!("what the test {} made may still be there", test.case.name),
            since: now,
        });
    }
    if after.run_type != RunType::Tracked {
        return head;
    }
    let goes = |run: &Run| matches!(run.place, Place::Source | Place::Line | Place::Tests);
    if goes(after) && !goes(before) {
        head.tracked = Some(after.id.clone());
    }
    // A lost runner can say so when the run holds the stack no more.
    if after.applied && !before.applied {
        head.last_applied =
            Some(LastApplied { run: after.id.clone(), commit: after.commit.clone(), at: now });
        if !after.partial {
            head.last_whole = Some(after.id.clone());
        }
    }
    // Where its state is may become known when it has ended.
    if let (Some(blocked), Some(doubt)) = (&mut head.blocked, after.doubt)
        && blocked.run == after.id
    {
        blocked.reason = text::why_blocked(doubt).to_owned();
    }
    let holds = head.tracked.as_ref() == Some(&after.id);
    if !holds {
        return head;
    }
    head.applying = after.state == RunState::Applying;
    if after.state.is_final() {
        head.tracked = None;
        head.applying = false;
        let reason = match after.doubt {
            Some(doubt) => Some(text::why_blocked(doubt)),
            None => after.lost.then_some(text::LOST_WHILE_APPLYING),
        };
        if let Some(reason) = reason {
            let (run, reason) = (after.id.clone(), reason.to_owned());
            head.blocked = Some(Blocked { run, reason, since: now });
        }
    }
    head
}

/// The test run ends now, and what it made is not known to be gone.
fn leaves_behind(before: &Run, after: &Run) -> bool {
    (after.lost && !before.lost) || (after.left_behind && !before.left_behind)
}

/// When somebody must look at the run again even if no message comes.
pub(crate) fn next_look(
    run: &Run,
    timeouts: &Timeouts,
    alive_at: Option<Timestamp>,
    now: Timestamp,
) -> Option<Timestamp> {
    if !run.outstanding.is_empty() {
        return Some(now + EFFECTS_LOST_AFTER);
    }
    let seconds = |n: u32| SignedDuration::from_secs(n.into());
    let soon = now + SignedDuration::from_secs(1);
    match run.state {
        RunState::Preparing | RunState::Confirmed if waits_for_worker(run) => None,
        RunState::Preparing | RunState::Confirmed => Some(match run.handed_out_at {
            Some(at) if run.place == Place::Room => at + seconds(timeouts.claim),
            _ => now + FORGOTTEN_AFTER,
        }),
        RunState::Initializing | RunState::Planning => {
            let ends = phase_began(run) + seconds(timeouts.plan);
            Some(ends.min(alive_at.unwrap_or(now) + LOST_AFTER).max(soon))
        }
        RunState::Applying | RunState::Destroying => {
            let ends = phase_began(run) + seconds(timeouts.apply);
            Some(ends.min(alive_at.unwrap_or(now) + APPLY_LOST_AFTER).max(soon))
        }
        RunState::Unconfirmed => Some(run.since + seconds(timeouts.unconfirmed)),
        // GitLab may have been in trouble when its configuration was to be read.
        RunState::Queued if run.place == Place::Tests => Some(now + SOON),
        // Should every nudge be lost, the sweep still comes by.
        RunState::Testing => Some(now + FORGOTTEN_AFTER),
        RunState::Queued => Some(now + FORGOTTEN_AFTER),
        _ => None,
    }
}

/// When the runner took the phase that is being executed.
pub(crate) fn phase_began(run: &Run) -> Timestamp {
    let first = match run.state {
        RunState::Applying | RunState::Destroying => RunState::Applying,
        _ => RunState::Initializing,
    };
    run.history.iter().rev().find(|step| step.state == first).map_or(run.since, |step| step.at)
}

/// A run as it is first written; its number comes with the write.
pub(crate) struct NewRun<'a> {
    pub(crate) stack: &'a Stack,
    pub(crate) trigger: gantry_queue::Trigger,
    pub(crate) event: Option<&'a gantry_domain::EventId>,
    pub(crate) key: String,
    pub(crate) place: Place,
    pub(crate) now: Timestamp,
}

impl NewRun<'_> {
    pub(crate) fn build(self) -> Run {
        let Self { stack, trigger, event, key, mut place, now } = self;
        if stack.module.is_some() && place == Place::Line {
            place = Place::Tests;
        }
        Run {
            id: RunId::derive(&stack.id, &key),
            stack: stack.id.clone(),
            slug: stack.slug.clone(),
            repository: stack.repository.clone(),
            run_type: trigger.run_type,
            number: 0,
            key,
            commit: trigger.commit,
            git_ref: trigger.git_ref,
            tracked_branch: trigger.tracked_branch,
            fork_of: trigger.fork_of,
            stacks_touched: trigger.stacks_touched,
            event: event.cloned(),
            reason: trigger.reason,
            by: trigger.by,
            state: RunState::Queued,
            history: vec![gantry_domain::run::Step { state: RunState::Queued, at: now, by: None }],
            wants: trigger.want.into_iter().collect(),
            phase: Phase::Plan,
            attempt: 0,
            last_report: 0,
            runner: None,
            stop_asked: None,
            delta: None,
            partial: false,
            applied: false,
            plan_digest: None,
            ending: None,
            lost: false,
            doubt: None,
            outstanding: match place {
                Place::Line => [Effect::Feedback, Effect::Dispatch].into(),
                Place::Queue | Place::Tests => [Effect::Feedback, Effect::Advance].into(),
                _ => [Effect::Feedback].into(),
            },
            autodeploy: stack.autodeploy,
            created_at: now,
            pool: stack.pool.clone(),
            asked_at: trigger.asked_at,
            since: now,
            handed_out_at: None,
            unclaimed: 0,
            role: None,
            place,
            module: stack.module.is_some(),
            test: None,
            version: trigger.version,
            verdict: None,
            left_behind: false,
            warnings: Vec::new(),
        }
    }

    /// One test of a module's run.
    pub(crate) fn test(
        stack: &Stack,
        suite: &Run,
        test: TestOf,
        place: Place,
        now: Timestamp,
    ) -> Run {
        let key = test_key(&suite.id, &test.case.name);
        Run {
            id: RunId::derive(&stack.id, &key),
            run_type: RunType::Test,
            number: 0,
            key,
            reason: format!("test {} of run #{}", test.case.name, suite.number),
            state: RunState::Queued,
            history: vec![gantry_domain::run::Step { state: RunState::Queued, at: now, by: None }],
            wants: Default::default(),
            stop_asked: None,
            ending: None,
            doubt: None,
            outstanding: match place {
                Place::Line => [Effect::Feedback, Effect::Dispatch].into(),
                _ => [Effect::Feedback].into(),
            },
            autodeploy: true,
            created_at: now,
            since: now,
            place,
            module: false,
            test: Some(test),
            version: None,
            verdict: None,
            ..suite.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_apply_of_the_whole_takes_what_was_before_out_of_the_state() {
        let golden = include_str!("../../../shared/store/golden/v1/run.json");
        let before: Run = serde_json::from_str(golden).unwrap();
        let before = Run { run_type: RunType::Tracked, applied: false, ..before };
        let whole = |partial| {
            let after = Run { applied: true, partial, ..before.clone() };
            let head = head_after(&StackHead::default(), &before, &after, Timestamp::UNIX_EPOCH);
            assert!(head.last_applied.is_some());
            head.last_whole
        };
        assert_eq!(whole(false), Some(before.id.clone()));
        assert_eq!(whole(true), None);
    }
}
