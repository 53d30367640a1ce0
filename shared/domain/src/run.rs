//! A run's life as one table: `(state, event) -> (state, effects)`.
//!
//! Conditions are settled before the lookup by choosing the event ([`RunEvent::PlanClean`],
//! [`RunEvent::PlanChanged`], …), so that a transition is a lookup and nothing else.

use crate::{
    CommitSha, EventId, MergeRequestIid, ProjectId, Repository, RunId, StackId, StackSlug,
    module::TestCase,
    plan::{Delta, Warning},
    protocol::StateDoubt,
    stack::Pool,
};
use jiff::Timestamp;
use semver::Version;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt};

/// What a run is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunType {
    /// A preview, never applied.
    Proposed,
    /// Plan, confirm, apply.
    Tracked,
    /// One module test case.
    Test,
}

impl fmt::Display for RunType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Proposed => "proposed",
            Self::Tracked => "tracked",
            Self::Test => "test",
        })
    }
}

/// The part of a run that one runner process executes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Init and plan; with autodeploy also the apply that follows.
    Plan,
    /// Apply of a confirmed plan.
    Apply,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plan => "plan",
            Self::Apply => "apply",
        })
    }
}

/// Where a run is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(
    missing_docs,
    reason = "the table below says what each state means by what leads out of it"
)]
pub enum RunState {
    Queued,
    Preparing,
    Initializing,
    Planning,
    Unconfirmed,
    Confirmed,
    Applying,
    Destroying,
    Testing,
    Finished,
    Failed,
    Stopped,
    Canceled,
    Discarded,
}

impl RunState {
    /// Every state, in the order of a run's life.
    pub const ALL: [Self; 14] = [
        Self::Queued,
        Self::Preparing,
        Self::Initializing,
        Self::Planning,
        Self::Unconfirmed,
        Self::Confirmed,
        Self::Applying,
        Self::Destroying,
        Self::Testing,
        Self::Finished,
        Self::Failed,
        Self::Stopped,
        Self::Canceled,
        Self::Discarded,
    ];

    /// Nothing leads out of a final state.
    pub fn is_final(self) -> bool {
        matches!(
            self,
            Self::Finished | Self::Failed | Self::Stopped | Self::Canceled | Self::Discarded
        )
    }

    /// A runner holds the run and sends heartbeats.
    pub fn is_executing(self) -> bool {
        matches!(self, Self::Initializing | Self::Planning | Self::Applying | Self::Destroying)
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queued => "queued",
            Self::Preparing => "preparing",
            Self::Initializing => "initializing",
            Self::Planning => "planning",
            Self::Unconfirmed => "unconfirmed",
            Self::Confirmed => "confirmed",
            Self::Applying => "applying",
            Self::Destroying => "destroying",
            Self::Testing => "testing",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::Canceled => "canceled",
            Self::Discarded => "discarded",
        })
    }
}

/// What can happen to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunEvent {
    /// It got a place and is handed to a runner.
    Granted,
    /// No runner claimed it in time: back to the line.
    HandedBack,
    /// A runner took the phase.
    Claimed,
    /// Init is done.
    Initialized,
    /// The plan has no changes.
    PlanClean,
    /// A proposed run's plan has changes: that is all it is for.
    PlanPreviewed,
    /// A tracked run's plan has changes and waits for a person.
    PlanChanged,
    /// A tracked run's plan has changes and the stack applies by itself.
    PlanAutodeployed,
    /// A person said yes.
    Confirmed,
    /// A person, a newer run or a time limit said no.
    Discarded,
    /// The apply is done.
    Applied,
    /// A test run's apply is done; what it made is destroyed.
    TestApplied,
    /// A test run's resources are gone.
    Destroyed,
    /// Something went wrong.
    Failed,
    /// A test run's apply went wrong or was stopped: destroy what it made.
    TestFailed,
    /// A module's run: its configuration was read, its tests may run.
    TestsBegun,
    /// A module's run: all its tests have passed.
    TestsPassed,
    /// A runner ended it on request, before anything was applied.
    Stopped,
    /// Nobody wants it any more, and no runner has it.
    Canceled,
}

impl RunEvent {
    /// Every event.
    pub const ALL: [Self; 19] = [
        Self::Granted,
        Self::HandedBack,
        Self::Claimed,
        Self::Initialized,
        Self::PlanClean,
        Self::PlanPreviewed,
        Self::PlanChanged,
        Self::PlanAutodeployed,
        Self::Confirmed,
        Self::Discarded,
        Self::Applied,
        Self::TestApplied,
        Self::Destroyed,
        Self::Failed,
        Self::TestFailed,
        Self::TestsBegun,
        Self::TestsPassed,
        Self::Stopped,
        Self::Canceled,
    ];
}

/// What must be done after a transition was written, however often it is started over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Bring GitLab up to date: status, gate, note, environment.
    Feedback,
    /// Ask the dispatcher to look: a run entered the line or a place became free.
    Dispatch,
    /// Have the commit's source fetched.
    Fetch,
    /// Hand the phase to a runner.
    Start,
    /// Look whether the stack's next runs may go: the tracked queue, proposed runs that wait.
    Advance,
    /// End the machine of a runner that was lost before it applied anything.
    EndRunner,
}

use Effect::{Advance, Dispatch, Feedback, Start};
use RunEvent as E;
use RunState as S;

/// A row of the table.
pub type Row = (RunState, RunEvent, RunState, &'static [Effect]);

/// Every transition there is.
pub const TABLE: &[Row] = &[
    (S::Queued, E::Granted, S::Preparing, &[Start]),
    (S::Queued, E::Canceled, S::Canceled, &[Feedback, Dispatch, Advance]),
    (S::Queued, E::TestsBegun, S::Testing, &[Feedback, Advance]),
    (S::Queued, E::Failed, S::Failed, &[Feedback, Dispatch, Advance]),
    (S::Preparing, E::Claimed, S::Initializing, &[Feedback]),
    (S::Preparing, E::HandedBack, S::Queued, &[Dispatch]),
    (S::Preparing, E::Failed, S::Failed, &[Feedback, Dispatch, Advance]),
    (S::Preparing, E::Stopped, S::Stopped, &[Feedback, Dispatch, Advance]),
    (S::Preparing, E::Canceled, S::Canceled, &[Feedback, Dispatch, Advance]),
    (S::Initializing, E::Initialized, S::Planning, &[]),
    (S::Initializing, E::Failed, S::Failed, &[Feedback, Dispatch, Advance]),
    (S::Initializing, E::Stopped, S::Stopped, &[Feedback, Dispatch, Advance]),
    (S::Planning, E::PlanClean, S::Finished, &[Feedback, Dispatch, Advance]),
    (S::Planning, E::PlanPreviewed, S::Finished, &[Feedback, Dispatch, Advance]),
    (S::Planning, E::PlanChanged, S::Unconfirmed, &[Feedback, Dispatch]),
    (S::Planning, E::PlanAutodeployed, S::Applying, &[Feedback]),
    (S::Planning, E::Failed, S::Failed, &[Feedback, Dispatch, Advance]),
    (S::Planning, E::Stopped, S::Stopped, &[Feedback, Dispatch, Advance]),
    (S::Unconfirmed, E::Confirmed, S::Confirmed, &[Feedback, Dispatch]),
    (S::Unconfirmed, E::Discarded, S::Discarded, &[Feedback, Advance]),
    (S::Confirmed, E::Claimed, S::Applying, &[Feedback]),
    (S::Confirmed, E::Discarded, S::Discarded, &[Feedback, Dispatch, Advance]),
    (S::Confirmed, E::Failed, S::Failed, &[Feedback, Dispatch, Advance]),
    (S::Applying, E::Applied, S::Finished, &[Feedback, Dispatch, Advance]),
    (S::Applying, E::Failed, S::Failed, &[Feedback, Dispatch, Advance]),
    (S::Applying, E::TestApplied, S::Destroying, &[]),
    (S::Applying, E::TestFailed, S::Destroying, &[]),
    (S::Testing, E::TestsPassed, S::Finished, &[Feedback, Advance]),
    (S::Testing, E::Failed, S::Failed, &[Feedback, Advance]),
    (S::Testing, E::Stopped, S::Stopped, &[Feedback, Advance]),
    (S::Destroying, E::Destroyed, S::Finished, &[Feedback, Dispatch, Advance]),
    (S::Destroying, E::Failed, S::Failed, &[Feedback, Dispatch, Advance]),
];

/// A pair that the table does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a {state} run cannot take {event:?}")]
pub struct Refused {
    /// Where the run is.
    pub state: RunState,
    /// What was asked of it.
    pub event: RunEvent,
}

/// Where `event` leads from `state`, and what must be done then.
pub fn next(state: RunState, event: RunEvent) -> Result<(RunState, &'static [Effect]), Refused> {
    TABLE
        .iter()
        .find(|(from, on, ..)| *from == state && *on == event)
        .map(|(_, _, to, effects)| (*to, *effects))
        .ok_or(Refused { state, event })
}

/// Something that keeps a proposed run alive.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", content = "of", rename_all = "snake_case")]
pub enum Want {
    /// A branch whose head is the run's commit.
    Branch(String),
    /// An open merge request whose head is the run's commit.
    MergeRequest(MergeRequestIid),
    /// A tag on the run's commit.
    Tag(String),
    /// A person asked for it.
    Person,
}

/// Where a run stands on its way to a runner. Each place but `Nowhere` is an entry of a list, and
/// the entry changes in the same transaction as the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// It needs no runner now.
    Nowhere,
    /// A tracked run behind another one of its stack.
    Queue,
    /// A proposed run whose stack is being applied.
    Waiting,
    /// Its commit's source is being fetched. The queue of fetches is its list.
    Source,
    /// In the line for a runner, or in the one for a worker of its pool.
    Line,
    /// It has a runner, or is being handed to one.
    Room,
    /// It waits for a person to confirm it.
    Person,
    /// A module's run whose tests are under way.
    Tests,
}

/// A step of a run's life, kept for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The state that was entered.
    pub state: RunState,
    /// When.
    pub at: Timestamp,
    /// Who caused it, when a person did.
    pub by: Option<String>,
}

/// Why a run ended other than well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// One line, masked: the first error's summary, or who stopped it.
    pub summary: String,
    /// Terraform's diagnostics, masked.
    #[serde(default)]
    pub errors: Vec<String>,
    /// The last lines of the log, masked.
    #[serde(default)]
    pub log_tail: Vec<String>,
    /// Terraform itself said no. A run that failed otherwise does not count as an answer for its
    /// commit and may be planned again.
    #[serde(default)]
    pub in_terraform: bool,
}

/// One execution of a stack for one commit, as the scheduler keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Derived from stack and key.
    pub id: RunId,
    /// The stack.
    pub stack: StackId,
    /// The stack's slug when the run was made.
    pub slug: StackSlug,
    /// Where the stack's code lay when the run was made.
    pub repository: Repository,
    /// What it is for.
    pub run_type: RunType,
    /// Its number within its stack: 1 for the first, one more for each. What is newer has a higher
    /// one, whatever the clock says.
    pub number: u64,
    /// What makes it the same run when asked for again.
    pub key: String,
    /// The commit.
    pub commit: CommitSha,
    /// The branch or tag it was started for, a bare name: the `ref` of its statuses.
    pub git_ref: String,
    /// The stack's tracked branch when the run was made.
    pub tracked_branch: String,
    /// Set when the code comes from another project than the stack's.
    pub fork_of: Option<ProjectId>,
    /// How many stacks the event touched: above 50 only the gate is shown.
    pub stacks_touched: u32,
    /// What happened that it was made.
    pub event: Option<EventId>,
    /// Why it was made, in one line.
    pub reason: String,
    /// Who asked for it, when a person did.
    pub by: Option<String>,
    /// Where it is.
    pub state: RunState,
    /// The steps so far.
    pub history: Vec<Step>,
    /// Who wants it; only proposed runs end when this becomes empty.
    pub wants: BTreeSet<Want>,
    /// The phase that is, or will be, executed.
    pub phase: Phase,
    /// Rises each time a phase is handed out; older runners are told to stop.
    pub attempt: u32,
    /// The last report taken from this attempt.
    pub last_report: u32,
    /// The runner that claimed the current attempt.
    pub runner: Option<String>,
    /// Set while somebody wants a running phase to end: who or what.
    pub stop_asked: Option<String>,
    /// What the plan found.
    pub delta: Option<Delta>,
    /// Its plan covers only a part of the stack.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// Set once an apply was done.
    pub applied: bool,
    /// SHA-256 of the saved plan and workspace: what may be applied.
    pub plan_digest: Option<String>,
    /// Why it ended other than well.
    pub ending: Option<Ending>,
    /// Set when an apply was lost: late writes are still taken until a person unblocks the stack.
    pub lost: bool,
    /// Set when it ended and the current state may not be what there is: the stack is blocked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doubt: Option<StateDoubt>,
    /// What is still to be done for the last transition.
    pub outstanding: BTreeSet<Effect>,
    /// The stack's autodeploy setting when the run was made.
    pub autodeploy: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// The pool whose workers take it; the installation's own runners when none.
    #[serde(default)]
    pub pool: Option<Pool>,
    /// When the webhook came that asked for it, or whatever else did.
    #[serde(default)]
    pub asked_at: Option<Timestamp>,
    /// When it entered the present state.
    pub since: Timestamp,
    /// When the present attempt was handed to a runner.
    pub handed_out_at: Option<Timestamp>,
    /// The cloud role that its runner has to prove (an ARN); none where runners have none.
    #[serde(default)]
    pub role: Option<String>,
    /// How often the phase was handed out and nobody claimed it.
    #[serde(default)]
    pub unclaimed: u32,
    /// Where it stands on its way to a runner.
    pub place: Place,
    /// A run of a module: it is carried out by test runs, and no runner takes it itself.
    #[serde(default)]
    pub module: bool,
    /// For a test run: which test of which run of the module it is.
    #[serde(default)]
    pub test: Option<TestOf>,
    /// The version that a tag or a person asked for.
    #[serde(default)]
    pub version: Option<Version>,
    /// How a module's run, or a test run, ended well, in one line.
    #[serde(default)]
    pub verdict: Option<String>,
    /// A test run's resources are still there: what it made could not be destroyed.
    #[serde(default)]
    pub left_behind: bool,
    /// What the tool warned of that its change does not tell: before its plan failed, and in the
    /// apply.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
}

/// Which test a test run is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestOf {
    /// The module's run that it belongs to.
    pub suite: RunId,
    /// The test, as the module's configuration has it.
    pub case: TestCase,
    /// The module's run is of its tracked branch, or of a tag on it.
    pub tracked: bool,
}

impl Run {
    /// Its runner may have begun to change things, also where its last report has not come yet:
    /// nothing may end that runner.
    pub fn may_be_applying(&self) -> bool {
        let goes_on_after_plan = match self.run_type {
            RunType::Proposed => false,
            RunType::Tracked => self.autodeploy,
            RunType::Test => true,
        };
        match self.state {
            RunState::Applying | RunState::Destroying => true,
            RunState::Initializing | RunState::Planning => goes_on_after_plan,
            _ => false,
        }
    }

    /// Moves the run by one event: state, history and outstanding effects change together.
    pub fn apply(
        &mut self,
        event: RunEvent,
        now: Timestamp,
        by: Option<&str>,
    ) -> Result<(), Refused> {
        let (state, effects) = next(self.state, event)?;
        self.state = state;
        self.since = now;
        self.outstanding.extend(effects);
        self.history.push(Step { state, at: now, by: by.map(str::to_owned) });
        Ok(())
    }

    /// The GitLab project; none where the code lies elsewhere.
    pub fn project(&self) -> Option<ProjectId> {
        self.repository.project()
    }

    /// The name of its status after the prefix: the slug, or `<module>/<test>`.
    pub fn status_name(&self) -> String {
        match &self.test {
            Some(test) => format!("{}/{}", self.slug, test.case.name),
            None => self.slug.to_string(),
        }
    }

    /// Whose Terraform state it works on: its stack's, or one that is a test run's own.
    pub fn state_owner(&self) -> StackId {
        match self.run_type {
            RunType::Test => StackId::of_test(&self.id),
            RunType::Proposed | RunType::Tracked => self.stack.clone(),
        }
    }

    /// The order in the line: tracked and confirmed runs first, then proposed ones, then tests.
    pub fn line_class(&self) -> u8 {
        match self.run_type {
            RunType::Tracked => 0,
            RunType::Proposed => 1,
            RunType::Test => 2,
        }
    }

    /// Counts as the one proposed run of its (stack, commit): live, finished, or failed in
    /// Terraform itself. Canceled, stopped and lost ones do not, and are planned again.
    pub fn answers_for_its_commit(&self) -> bool {
        match self.state {
            RunState::Canceled | RunState::Stopped | RunState::Discarded => false,
            RunState::Failed => self.ending.as_ref().is_some_and(|e| e.in_terraform),
            RunState::Finished => true,
            _ => self.stop_asked.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, HashSet};

    #[test]
    fn no_pair_stands_twice() {
        let mut seen = HashSet::new();
        for (from, on, ..) in TABLE {
            assert!(seen.insert((from, on)), "{from} × {on:?} stands twice");
        }
    }

    #[test]
    fn final_states_have_no_way_out_and_all_others_lead_to_one() {
        let mut reaches: HashSet<RunState> =
            RunState::ALL.into_iter().filter(|s| s.is_final()).collect();
        loop {
            let before = reaches.len();
            for (from, _, to, _) in TABLE {
                assert!(!from.is_final(), "{from} is final");
                if reaches.contains(to) {
                    reaches.insert(*from);
                }
            }
            if reaches.len() == before {
                break;
            }
        }
        assert_eq!(reaches.len(), RunState::ALL.len());
    }

    #[test]
    fn every_end_frees_the_stack_and_is_shown() {
        for (from, on, to, effects) in TABLE {
            if to.is_final() {
                assert!(effects.contains(&Effect::Feedback), "{from} × {on:?}");
                assert!(effects.contains(&Effect::Advance), "{from} × {on:?}");
            }
        }
    }

    #[test]
    fn the_whole_grid() {
        let mut lines = BTreeMap::new();
        for state in RunState::ALL {
            let row: Vec<String> = RunEvent::ALL
                .into_iter()
                .filter_map(|event| {
                    let (to, effects) = next(state, event).ok()?;
                    Some(format!("  {event:?} -> {to} {effects:?}"))
                })
                .collect();
            lines.insert(state, format!("{state}\n{}", row.join("\n")));
        }
        insta::assert_snapshot!(lines.into_values().collect::<Vec<_>>().join("\n"));
    }
}
