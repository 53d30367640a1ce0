//! A run: one execution of a stack for one commit.
//!
//! [`table`] says how it moves, [`position`] where it stands on its way to a runner, [`recheck`] when
//! somebody must look at it again, [`report`] what a runner's report makes of it, [`confirmation`]
//! what is decided about its plan.

use crate::{
    CommitLine, CommitSha, EventId, MergeRequestIid, ProjectId, Repository, RunId, StackId,
    StackSlug, UserId,
    approval::{LastVerdict, Review},
    module::TestCase,
    plan::{Delta, Warning, failed_checks, is_zero},
    protocol::StateDoubt,
    stack::Pool,
    text,
};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use semver::Version;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

mod confirmation;
mod new;
mod options;
mod position;
pub mod recheck;
mod report;
mod table;
mod trigger;

pub use new::NewRun;
pub use options::{Address, OneOff, PlanMode, PlanOptions, Purpose, Unpushed};
pub use position::Position;
pub use table::{Effect, Refused, Row, RunEvent, RunState, TABLE, next};
pub use trigger::Trigger;

/// What a run is for.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum RunType {
    /// A preview, never applied.
    Proposed,
    /// Plan, confirm, apply.
    Tracked,
    /// One module test case.
    Test,
}

impl RunType {
    /// What people call it. The API's value is what it displays.
    pub fn label(self) -> &'static str {
        match self {
            Self::Proposed => "Preview",
            Self::Tracked => "Deploy",
            Self::Test => "Test",
        }
    }
}

/// The part of a run that one runner process executes.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Phase {
    /// Init and plan; with autodeploy also the apply that follows.
    Plan,
    /// Apply of a confirmed plan.
    Apply,
}

/// Something that keeps a preview alive.
#[derive(
    Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(tag = "kind", content = "of", rename_all = "snake_case")]
#[schemars(rename = "RunInterest")]
pub enum Interest {
    /// A branch whose head is the run's commit.
    Branch(String),
    /// An open merge request whose head is the run's commit.
    MergeRequest(MergeRequestIid),
    /// A tag on the run's commit.
    Tag(String),
    /// A person asked for it.
    Person,
}

/// A step of a run's life, kept for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "RunStep")]
pub struct Step {
    /// The state that was entered.
    pub state: RunState,
    /// When.
    pub at: Timestamp,
    /// Who caused it, when a person did.
    pub by: Option<String>,
    /// What they said about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// Why a run ended other than well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "RunEnding")]
pub struct Ending {
    /// One line, masked: the first error's summary, or who stopped it.
    pub summary: String,
    /// The tool's diagnostics, masked.
    #[serde(default)]
    pub errors: Vec<String>,
    /// The last lines of the log, masked.
    #[serde(default)]
    pub log_tail: Vec<String>,
    /// The tool itself said no. A run that failed otherwise does not count as an answer for its
    /// commit and may be planned again.
    #[serde(default)]
    pub in_terraform: bool,
    /// Somebody stopped its apply, so there may be nothing to fix.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub interrupted: bool,
}

/// One execution of a stack for one commit, as the scheduler keeps it. What is not set is left out: it
/// is written some ten times, and each KB is paid for.
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
    /// The commit's title and author.
    #[serde(default, skip_serializing_if = "CommitLine::is_empty")]
    pub commit_line: CommitLine,
    /// The branch or tag it was started for, a bare name: the `ref` of its statuses.
    pub git_ref: String,
    /// The stack's tracked branch when the run was made.
    pub tracked_branch: String,
    /// Set when the code comes from another project than the stack's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fork_of: Option<ProjectId>,
    /// How many stacks the event touched: above 50 only the gate is shown.
    pub stacks_touched: u32,
    /// What happened that it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<EventId>,
    /// Why it was made, in one line.
    pub reason: String,
    /// Who asked for it, when a person did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Where it is.
    pub state: RunState,
    /// The steps so far.
    pub history: Vec<Step>,
    /// Who is interested in it; only proposed runs end when this becomes empty.
    #[serde(rename = "wants")]
    pub interests: BTreeSet<Interest>,
    /// The phase that is, or will be, executed.
    pub phase: Phase,
    /// Rises each time a phase is handed out; older runners are told to stop.
    pub attempt: u32,
    /// The last report taken from this attempt.
    pub last_report: u32,
    /// The runner that claimed the current attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner: Option<String>,
    /// Set while somebody wants a running phase to end: who or what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_asked: Option<String>,
    /// Its time limit is what wants that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub over_time: bool,
    /// What the plan found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delta: Option<Delta>,
    /// Its plan covers only a part of the stack.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// How many checks failed in its plan. Those that failed in its apply are among the warnings.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed_checks: u32,
    /// Set once an apply was done.
    pub applied: bool,
    /// SHA-256 of the saved plan and workspace: what may be applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_digest: Option<String>,
    /// Why it ended other than well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<Pool>,
    /// When the webhook came that asked for it, or whatever else did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_at: Option<Timestamp>,
    /// When it entered the present state.
    pub since: Timestamp,
    /// When the present attempt was handed to a runner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handed_out_at: Option<Timestamp>,
    /// The cloud role that its runner has to prove (an ARN); none where runners have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// How often the phase was handed out and nobody claimed it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unclaimed: u32,
    /// Why no runner could be started for it, in words, until one has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_started: Option<String>,
    /// Where it stands on its way to a runner.
    #[serde(rename = "place")]
    pub position: Position,
    /// A run of a module: it is carried out by test runs, and no runner takes it itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub module: bool,
    /// For a test run: which test of which run of the module it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<TestOf>,
    /// The version that a tag or a person asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// How a module's run, or a test run, ended well, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    /// A test run's resources are still there: what it made could not be destroyed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub left_behind: bool,
    /// What the tool warned of that its change does not tell: before its plan failed, and in the
    /// apply.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// Set when it executes what somebody uploaded: its commit is the one that is based on, which
    /// GitLab may not have, and nothing of it is shown there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<Uploaded>,
    /// The person who started it, where one did: their own approval may not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_by: Option<UserId>,
    /// What people decided about it, the earliest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reviews: Vec<Review>,
    /// What the rules about who confirms came to when they were last read; none where nothing asks
    /// for anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<LastVerdict>,
    /// Its stack applies by itself, but rules may ask for people first: its plan is not followed by
    /// its apply at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
    /// What it is for, where nobody pushed anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpushed: Option<Unpushed>,
    /// How it plans, where that is not the usual way.
    #[serde(default, skip_serializing_if = "PlanOptions::is_usual")]
    pub options: PlanOptions,
    /// Of a look for drift: resources that differ and may.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tolerated: u32,
}

/// Code that somebody uploaded, in place of a commit's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uploaded {
    /// SHA-256 of the archive, hex.
    pub digest: String,
    /// The name of the key that it came with.
    pub by: String,
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

impl Ending {
    /// One sentence.
    pub fn new(summary: impl Into<String>) -> Self {
        Self {
            summary: summary.into(),
            errors: Vec::new(),
            log_tail: Vec::new(),
            in_terraform: false,
            interrupted: false,
        }
    }

    /// Its runner said that the tool was never told to apply. Where a person stopped it, that stands
    /// behind who did.
    pub fn says_nothing_was_applied(&self) -> bool {
        let mut said = std::iter::once(&self.summary).chain(&self.errors);
        !self.in_terraform && said.any(|line| line.starts_with(text::NOTHING_APPLIED))
    }
}

impl Run {
    /// Its runner may have begun to change things, also where its last report has not come yet:
    /// nothing may end that runner.
    pub fn may_be_applying(&self) -> bool {
        let goes_on_after_plan = match self.run_type {
            RunType::Proposed => false,
            RunType::Tracked => self.applies_at_once(),
            RunType::Test => true,
        };
        match self.state {
            RunState::Applying | RunState::Destroying => true,
            RunState::Initializing | RunState::Planning => goes_on_after_plan,
            _ => false,
        }
    }

    /// A deploy or a test whose plan is followed by its apply at once, by the same runner: also a
    /// task, which has no plan. What destroys everything is always shown first.
    pub fn applies_at_once(&self) -> bool {
        let is_destroy = self.options.mode == PlanMode::Destroy;
        self.task().is_some() || self.autodeploy && !self.held && !is_destroy
    }

    /// A deploy whose apply began and is not known to have come to its end: a part of the change may
    /// be done. A task applies nothing that was planned.
    pub fn may_be_applied_in_part(&self) -> bool {
        let begun = self.lost
            || self.doubt.is_some()
            || self.history.iter().any(|step| step.state == RunState::Applying);
        self.run_type == RunType::Tracked
            && self.task().is_none()
            && self.state.is_final()
            && !self.applied
            && begun
            && !self.ending.as_ref().is_some_and(Ending::says_nothing_was_applied)
    }

    /// How many checks failed when they were last looked at: in its apply once that is done, before
    /// in its plan.
    pub fn last_failed_checks(&self) -> u32 {
        if self.applied { failed_checks(&self.warnings) } else { self.failed_checks }
    }

    /// It may have blocked its stack. Whether it still does, the stack's head says.
    pub fn may_block(&self) -> bool {
        self.lost || self.left_behind || self.doubt.is_some()
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
        if !matches!(state, RunState::Queued | RunState::Preparing | RunState::Confirmed) {
            self.not_started = None;
        }
        self.since = now;
        self.outstanding.extend(effects);
        self.history.push(Step { state, at: now, by: by.map(str::to_owned), comment: None });
        Ok(())
    }

    /// What it executes, for people: a commit, or what somebody uploaded.
    pub fn code(&self) -> String {
        let commit = self.commit.short();
        match &self.upload {
            Some(upload) => format!("Uploaded by {}, based on {commit}", upload.by),
            None => commit.to_owned(),
        }
    }

    /// How long it took: from the first state in which something was done for it to its end. None
    /// before that, and where nothing was done.
    pub fn took(&self) -> Option<SignedDuration> {
        let end = self.history.last().filter(|step| step.state.is_final())?;
        let is_active = |step: &&Step| step.state != RunState::Queued && !step.state.is_final();
        let begin = self.history.iter().find(is_active)?;
        Some(end.at.duration_since(begin.at))
    }

    /// Keeps what somebody said about the step that was made last.
    pub fn comment(&mut self, comment: Option<String>) {
        if let Some(step) = self.history.last_mut() {
            step.comment = comment;
        }
    }

    /// It plans a stack, and nothing else: no other run waits for it, and what is known of its stack
    /// as a whole does not change with it.
    pub fn only_plans(&self) -> bool {
        self.run_type == RunType::Proposed && !self.module && !self.is_drift()
    }

    /// It looks for drift.
    pub fn is_drift(&self) -> bool {
        matches!(self.unpushed, Some(Unpushed::Drift))
    }

    /// The one command that it executes instead of a plan.
    pub fn task(&self) -> Option<&str> {
        match &self.unpushed {
            Some(Unpushed::Task { command, .. }) => Some(command),
            _ => None,
        }
    }

    /// GitLab shows it at its commit. What was uploaded, looks for drift or executes a task is of no
    /// commit, and neither is a preview that was not planned as usual, nor a deploy that does not
    /// bring the stack to what the commit says.
    pub fn is_of_commit(&self) -> bool {
        let is_planned_so = match self.run_type {
            RunType::Proposed => self.options.is_usual(),
            RunType::Tracked | RunType::Test => self.options.mode.is_normal(),
        };
        is_planned_so && self.upload.is_none() && !self.is_drift() && self.task().is_none()
    }

    /// A deploy of what its commit says, or of its end: no task, and nothing that only takes over
    /// what there is.
    pub fn applies_code(&self) -> bool {
        self.run_type == RunType::Tracked
            && self.task().is_none()
            && self.options.mode != PlanMode::RefreshOnly
    }

    /// An apply of it leaves nothing of its stack.
    pub fn destroys_all(&self) -> bool {
        self.run_type == RunType::Tracked
            && self.options.mode == PlanMode::Destroy
            && self.options.targets.is_empty()
            && !self.partial
    }

    /// When its plan began, which is how old what it found is; none before that.
    pub fn planned_at(&self) -> Option<Timestamp> {
        let planning = |step: &&Step| step.state == RunState::Planning;
        self.history.iter().rev().find(planning).map(|step| step.at)
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

    /// The order in the queue: tracked and confirmed runs first, then proposed ones, then tests and
    /// what is planned again after an apply, and what looks for drift last.
    pub fn queue_class(&self) -> u8 {
        match self.run_type {
            RunType::Tracked => 0,
            RunType::Proposed if self.is_drift() => 3,
            RunType::Proposed if matches!(self.unpushed, Some(Unpushed::Replan)) => 2,
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

    #[test]
    fn only_what_brings_the_stack_to_its_commit_is_shown_there() {
        let golden = include_str!("../../store/golden/v1/run.json");
        let run: Run = serde_json::from_str(golden).unwrap();
        let run = Run { unpushed: None, options: PlanOptions::default(), upload: None, ..run };
        let planned = |run_type, options: serde_json::Value| {
            let options = serde_json::from_value(options).unwrap();
            let run = Run { run_type, options, ..run.clone() };
            (run.is_of_commit(), run.applies_code(), run.destroys_all())
        };
        let target = serde_json::json!({ "targets": ["a.b"] });
        let destroy = serde_json::json!({ "mode": "destroy" });
        let accept = serde_json::json!({ "mode": "refresh_only" });
        let usual = || serde_json::json!({});
        assert_eq!(planned(RunType::Tracked, usual()), (true, true, false));
        assert_eq!(planned(RunType::Tracked, target.clone()), (true, true, false));
        assert_eq!(planned(RunType::Tracked, destroy.clone()), (false, true, true));
        assert_eq!(planned(RunType::Tracked, accept), (false, false, false));
        assert_eq!(planned(RunType::Proposed, usual()), (true, false, false));
        assert_eq!(planned(RunType::Proposed, target), (false, false, false));
        assert_eq!(planned(RunType::Proposed, destroy), (false, false, false));
        let task = Unpushed::Task { command: "terraform state list".to_owned(), schedule: None };
        let nightly = Unpushed::Schedule { name: "nightly".to_owned() };
        for (unpushed, is_shown) in
            [(task, false), (nightly, true), (Unpushed::Drift, false), (Unpushed::Replan, true)]
        {
            let run = Run { run_type: RunType::Tracked, unpushed: Some(unpushed), ..run.clone() };
            assert_eq!(run.is_of_commit(), is_shown, "{:?}", run.unpushed);
        }
    }

    #[test]
    fn why_no_runner_has_it_is_said_until_one_has_or_it_ends() {
        let golden = include_str!("../../store/golden/v1/run-not-started.json");
        let waits: Run = serde_json::from_str(golden).unwrap();
        let said = |from: RunState, event: RunEvent| {
            let mut run = Run { state: from, ..waits.clone() };
            run.apply(event, Timestamp::UNIX_EPOCH, None).unwrap();
            run.not_started
        };
        assert!(waits.not_started.is_some());
        assert_eq!(said(RunState::Preparing, RunEvent::HandedBack), waits.not_started);
        assert_eq!(said(RunState::Queued, RunEvent::Granted), waits.not_started);
        for (from, event) in [
            (RunState::Preparing, RunEvent::Claimed),
            (RunState::Confirmed, RunEvent::Claimed),
            (RunState::Preparing, RunEvent::Failed),
            (RunState::Preparing, RunEvent::Canceled),
        ] {
            assert_eq!(said(from, event), None, "{from} {event:?}");
        }
    }
}
