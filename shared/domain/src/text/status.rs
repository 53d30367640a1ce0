//! Statuses: GitLab's states and their descriptions.

use super::{and_failed_checks, clean_line, counted, cut, grouped};
use crate::{
    RunId,
    approval::{LastVerdict, VerdictState},
    plan::{Delta, Warning, failed_checks, warned},
    run::{Run, RunState, RunType},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// GitLab's limit for a description, in characters.
pub const DESCRIPTION_CHARS: usize = 255;

/// The states that GitLab takes for a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "GitLab's own words")]
pub enum CommitState {
    Pending,
    Running,
    Success,
    Failed,
    Canceled,
}

impl CommitState {
    /// GitLab's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }

    /// Whatever is posted after it makes a new record.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Success | Self::Failed | Self::Canceled)
    }
}

impl fmt::Display for CommitState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a status says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// GitLab's state.
    pub state: CommitState,
    /// One clean line of at most [`DESCRIPTION_CHARS`] characters.
    pub description: String,
}

impl Status {
    fn new(state: CommitState, description: impl AsRef<str>) -> Self {
        Self { state, description: clean_line(description.as_ref(), DESCRIPTION_CHARS) }
    }
}

/// What texts need to know of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunView {
    /// The run.
    pub id: RunId,
    /// What its status is called after the prefix: the slug, or `<module>/<test>`.
    pub name: String,
    /// What it is for.
    pub run_type: RunType,
    /// Where it is.
    pub state: RunState,
    /// What the plan found.
    pub delta: Option<Delta>,
    /// An apply was done.
    pub applied: bool,
    /// One line: the first error's summary, or who ended it.
    pub summary: Option<String>,
    /// The tool itself said no.
    pub in_terraform: bool,
    /// The state in which it failed, was stopped or discarded.
    pub ended_in: Option<RunState>,
    /// See [`Run::may_be_applied_in_part`].
    pub applied_in_part: bool,
    /// Who caused the last step, when a person did.
    pub by: Option<String>,
    /// Its number within its stack: the newest run of a name is shown.
    pub number: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it came to its state.
    pub since: Timestamp,
    /// The run's page, with whatever key a link in GitLab carries.
    pub url: String,
    /// A module's run, which is carried out by test runs.
    pub module: bool,
    /// For a test run: the module's run that it belongs to.
    pub suite: Option<RunId>,
    /// How a module's run ended well, in one line.
    pub verdict: Option<String>,
    /// What a test made could not be destroyed.
    pub left_behind: bool,
    /// What the tool warned of that the change does not tell.
    pub warnings: Vec<Warning>,
    /// How many checks failed when they were last looked at: see [`Run::last_failed_checks`].
    pub checks: u32,
    /// What the rules about who confirms came to, while somebody must.
    pub approval: Option<LastVerdict>,
    /// It goes on by itself once the rules let it.
    pub held: bool,
}

impl RunView {
    /// What texts need of `run`; `url` is the address of its page.
    pub fn of(run: &Run, url: String) -> Self {
        let last = run.history.last().filter(|step| step.state == run.state);
        let before = run.history.iter().rev().map(|step| step.state).find(|s| *s != run.state);
        Self {
            id: run.id.clone(),
            name: run.status_name(),
            run_type: run.run_type,
            state: run.state,
            delta: run.delta,
            applied: run.applied,
            summary: run.ending.as_ref().map(|e| e.summary.clone()).filter(|s| !s.is_empty()),
            in_terraform: run.ending.as_ref().is_some_and(|e| e.in_terraform),
            ended_in: before.filter(|_| run.state.is_final()),
            applied_in_part: run.may_be_applied_in_part(),
            by: last.and_then(|step| step.by.clone()),
            number: run.number,
            created_at: run.created_at,
            since: run.since,
            url,
            module: run.module,
            suite: run.test.as_ref().map(|test| test.suite.clone()),
            verdict: run.verdict.clone(),
            left_behind: run.left_behind,
            warnings: run.warnings.clone(),
            checks: run.last_failed_checks(),
            approval: run.approval.clone().filter(|_| run.state == RunState::Unconfirmed),
            held: run.waits_for_rules_alone(),
        }
    }

    /// True while it goes on by itself: it neither has ended nor waits for a person.
    pub fn goes_on(&self) -> bool {
        !self.state.is_final() && self.state != RunState::Unconfirmed
    }

    /// Approvals are missing before it may be confirmed.
    pub fn needs_approvals(&self) -> bool {
        self.approval.as_ref().is_some_and(|last| last.state == VerdictState::NeedsApprovals)
    }

    /// It cannot be confirmed as things are: somebody has rejected it, or the rules do not let it, or
    /// could not be read.
    pub fn is_kept_back(&self) -> bool {
        let state = self.approval.as_ref().map(|last| last.state);
        matches!(
            state,
            Some(VerdictState::Rejected | VerdictState::NotAllowed | VerdictState::NotYet)
        )
    }

    /// The one-line reason of a failed run: `Plan failed: …`.
    pub fn failure(&self) -> String {
        let what = match self.ended_in {
            Some(RunState::Initializing | RunState::Planning) => "Plan failed",
            Some(RunState::Applying | RunState::Confirmed) => "Apply failed",
            Some(RunState::Destroying) if self.left_behind => "Destroy failed",
            // What the apply made is gone; that it failed is still the news.
            Some(RunState::Destroying) => "Apply failed",
            _ => "Failed",
        };
        match &self.summary {
            // What Gantry itself says ("Interrupted by …", "result unknown: …") stands alone.
            Some(summary) if !self.in_terraform || self.module => {
                clean_line(summary, DESCRIPTION_CHARS)
            }
            Some(summary) => clean_line(&format!("{what}: {summary}"), DESCRIPTION_CHARS),
            None => what.to_owned(),
        }
    }

    /// How often the tool warned of something else than a check that failed.
    fn other_warnings(&self) -> usize {
        warned(&self.warnings).saturating_sub(failed_checks(&self.warnings)) as usize
    }

    /// How often the tool warned, in words, where it did: `1 failed check, 2 warnings`.
    pub fn warned(&self) -> Option<String> {
        let checks = failed_checks(&self.warnings) as usize;
        let counts = [(checks, "failed check"), (self.other_warnings(), "warning")];
        let said = counts.into_iter().filter(|(count, _)| *count > 0);
        let said: Vec<String> = said.map(|(count, word)| counted(count, word)).collect();
        (!said.is_empty()).then(|| said.join(", "))
    }

    /// How a run ended that was stopped, canceled or discarded: `Stopped by …`.
    pub fn cancellation(&self) -> String {
        let what = match self.state {
            RunState::Stopped => "Stopped",
            RunState::Discarded => "Discarded",
            _ => "Canceled",
        };
        match (&self.summary, &self.by) {
            (Some(summary), _) => clean_line(summary, DESCRIPTION_CHARS),
            (None, Some(by)) => clean_line(&format!("{what} by {by}"), DESCRIPTION_CHARS),
            (None, None) => what.to_owned(),
        }
    }
}

/// The status of one run.
pub fn of_run(run: &RunView) -> Status {
    let delta = run.delta.unwrap_or_default();
    let checks = and_failed_checks(run.checks);
    let tracked = run.run_type == RunType::Tracked && !run.module;
    match run.state {
        RunState::Testing => Status::new(CommitState::Running, "Testing"),
        RunState::Finished if run.module => {
            Status::new(CommitState::Success, run.verdict.as_deref().unwrap_or("Passed"))
        }
        RunState::Queued | RunState::Preparing if !tracked => {
            Status::new(CommitState::Pending, "Queued")
        }
        RunState::Initializing | RunState::Planning if !tracked => {
            let text = if run.run_type == RunType::Test { "Testing" } else { "Planning" };
            Status::new(CommitState::Running, text)
        }
        RunState::Queued | RunState::Preparing | RunState::Initializing | RunState::Planning => {
            Status::new(CommitState::Pending, "Queued or planning")
        }
        RunState::Unconfirmed => {
            let rules = run.approval.as_ref().map(|last| format!(" · {}", last.message));
            let rules = rules.unwrap_or_default();
            let description = format!("Needs confirmation: {delta}{checks}{rules}");
            Status::new(CommitState::Running, description)
        }
        RunState::Confirmed | RunState::Applying | RunState::Destroying if !tracked => {
            Status::new(CommitState::Running, "Testing")
        }
        RunState::Confirmed | RunState::Applying | RunState::Destroying => {
            Status::new(CommitState::Running, format!("Applying: {delta}"))
        }
        RunState::Finished if run.run_type == RunType::Test => {
            Status::new(CommitState::Success, run.verdict.as_deref().unwrap_or("Passed"))
        }
        RunState::Finished if run.applied => {
            let warned = match run.other_warnings() {
                0 => String::new(),
                count => format!(", with {}", counted(count, "warning")),
            };
            Status::new(CommitState::Success, format!("Applied: {}{checks}{warned}", delta.done()))
        }
        RunState::Finished => Status::new(CommitState::Success, format!("{delta}{checks}")),
        RunState::Failed => Status::new(CommitState::Failed, run.failure()),
        RunState::Stopped | RunState::Canceled | RunState::Discarded => {
            Status::new(CommitState::Canceled, run.cancellation())
        }
    }
}

/// The status of one run as GitLab is told. GitLab lets nobody change the text of a status that runs:
/// what waits for a person says what is true until the end of the apply. Who has approved it by now
/// is said elsewhere.
pub fn of_run_to_its_end(run: &RunView) -> Status {
    match run.state {
        RunState::Unconfirmed => {
            let delta = run.delta.unwrap_or_default();
            let is_unread =
                run.approval.as_ref().is_some_and(|last| last.state == VerdictState::NotYet);
            let once = match run.held {
                true if run.needs_approvals() => "approved",
                true if is_unread => "GitLab's rules allow it",
                false if run.needs_approvals() => "approved and confirmed",
                _ => "confirmed",
            };
            Status::new(CommitState::Running, format!("{delta}, applied once {once}"))
        }
        _ => of_run(run),
    }
}

/// The runs that the gate counts: a module's run is told of by its tests, where it has any.
fn told<'a>(runs: &[&'a RunView]) -> Vec<&'a RunView> {
    let has_tests = |run: &RunView| runs.iter().any(|other| other.suite.as_ref() == Some(&run.id));
    runs.iter().filter(|run| !(run.module && has_tests(run))).copied().collect()
}

fn noun(runs: &[&RunView]) -> &'static str {
    let all = |is: fn(&RunView) -> bool| !runs.is_empty() && runs.iter().all(|run| is(run));
    match () {
        () if all(|run| run.run_type == RunType::Test) => "test",
        () if all(|run| run.module) => "module",
        () if runs.iter().any(|run| run.module || run.run_type == RunType::Test) => "run",
        () => "stack",
    }
}

/// The runs that the gate counts as failed.
pub fn failed_of_gate<'a>(runs: &[&'a RunView]) -> Vec<&'a RunView> {
    let mut failed = told(runs);
    failed.retain(|run| run.state == RunState::Failed);
    failed
}

/// The gate while it waits for these runs, and for those of the other stacks that the event touched.
pub fn of_waiting_gate(runs: &[&RunView], stacks_touched: usize) -> Status {
    let runs = told(runs);
    let count = match noun(&runs) {
        "stack" => runs.len().max(stacks_touched),
        _ => runs.len(),
    };
    let description = format!("Waiting for {}", counted(count, noun(&runs)));
    Status::new(CommitState::Pending, description)
}

/// What is still waited for among these runs, where the text may change on the way.
pub fn still_waiting(runs: &[&RunView]) -> String {
    let runs = told(runs);
    let all = counted(runs.len(), noun(&runs));
    match runs.iter().filter(|run| !run.state.is_final()).count() {
        // A module's run may end after its tests.
        open if open == 0 || open == runs.len() => format!("Waiting for {all}"),
        open => format!("Waiting for {} of {all}", grouped(open)),
    }
}

fn sum(runs: &[&RunView]) -> Delta {
    runs.iter().filter_map(|run| run.delta).fold(Delta::default(), Delta::plus)
}

/// The gate over the newest runs of a commit. It stays pending until the last of them has ended,
/// with a text that is true all the time: GitLab does not let it change on the way.
pub fn of_gate(runs: &[&RunView]) -> Status {
    if runs.iter().any(|r| !r.state.is_final()) {
        return of_waiting_gate(runs, 0);
    }
    let runs = told(runs);
    let noun = noun(&runs);
    let all = counted(runs.len(), noun);
    if runs.is_empty() {
        return Status::new(CommitState::Success, "No stacks affected");
    }
    // What tests make, they destroy.
    let stays = || runs.iter().copied().filter(|run| run.run_type != RunType::Test);
    let is_applied = |run: &&RunView| run.applied && run.state == RunState::Finished;
    let applied: Vec<&RunView> = stays().filter(is_applied).collect();
    let ended = stays().filter(|run| run.state == RunState::Finished);
    let checks = match ended.map(|run| run.checks as usize).sum::<usize>() {
        0 => String::new(),
        count => format!(" · {} failed", counted(count, "check")),
    };
    let with = |state: CommitState| {
        let mut names: Vec<&str> =
            runs.iter().filter(|r| of_run(r).state == state).map(|r| r.name.as_str()).collect();
        names.sort_unstable();
        names
    };
    for (state, word) in [(CommitState::Failed, "failed"), (CommitState::Canceled, "canceled")] {
        let names = with(state);
        if !names.is_empty() {
            let list = names.join(", ");
            if runs.len() == 1 {
                return Status::new(state, format!("{list} {word}"));
            }
            let begin = format!("{} of {all} {word}: ", names.len());
            let end = match applied.len() {
                0 => checks,
                count => {
                    format!("; {} applied: {}{checks}", grouped(count), sum(&applied).short_done())
                }
            };
            let room = DESCRIPTION_CHARS
                .saturating_sub(begin.chars().count())
                .saturating_sub(end.chars().count());
            return Status::new(state, format!("{begin}{}{end}", cut(&list, room)));
        }
    }
    let changing: Vec<&RunView> =
        stays().filter(|run| run.delta.is_some_and(|delta| !delta.is_empty())).collect();
    let total = sum(&changing);
    let text = match () {
        () if matches!(noun, "test" | "module") => format!("{all} passed"),
        () if changing.is_empty() => format!("{all}: no changes"),
        () if noun == "stack" && changing.iter().all(is_applied) => {
            let rest = match runs.len() - changing.len() {
                0 => String::new(),
                count => format!("; {} without changes", grouped(count)),
            };
            let those = counted(changing.len(), noun);
            format!("{those} applied: {}{rest}", total.short_done())
        }
        () if !applied.is_empty() => format!("{all}: {}", total.short_done()),
        () => format!("{all}: {}", total.short()),
    };
    Status::new(CommitState::Success, text + &checks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::FAILED_CHECK;
    use proptest::prelude::*;
    use strum::VariantArray as _;

    fn view(run_type: RunType, state: RunState) -> RunView {
        RunView {
            id: "r1".parse().unwrap(),
            name: "network".to_owned(),
            run_type,
            state,
            delta: Some(Delta { add: 1, ..Delta::default() }),
            applied: false,
            summary: None,
            in_terraform: true,
            ended_in: Some(RunState::Planning),
            applied_in_part: false,
            by: None,
            number: 1,
            created_at: Timestamp::UNIX_EPOCH,
            since: Timestamp::UNIX_EPOCH,
            url: "https://gantry.example/runs/r1".to_owned(),
            module: false,
            suite: None,
            verdict: None,
            left_behind: false,
            warnings: Vec::new(),
            checks: 0,
            approval: None,
            held: false,
        }
    }

    /// A deploy of which the rules say this.
    fn waits(state: VerdictState, message: &str) -> RunView {
        let at = Timestamp::UNIX_EPOCH;
        let approval = Some(LastVerdict { state, message: message.to_owned(), at });
        RunView { approval, ..view(RunType::Tracked, RunState::Unconfirmed) }
    }

    fn said(run: &RunView) -> String {
        let status = of_run(run);
        format!("{} {}", status.state, status.description)
    }

    #[test]
    fn every_state_of_every_type() {
        let mut all = String::new();
        for run_type in [RunType::Proposed, RunType::Tracked, RunType::Test] {
            for state in RunState::VARIANTS.iter().copied() {
                all += &format!("{run_type} {state}: {}\n", said(&view(run_type, state)));
            }
        }
        insta::assert_snapshot!(all, @"
        proposed queued: pending Queued
        proposed preparing: pending Queued
        proposed initializing: running Planning
        proposed planning: running Planning
        proposed unconfirmed: running Needs confirmation: 1 to add, 0 to change, 0 to destroy
        proposed confirmed: running Testing
        proposed applying: running Testing
        proposed destroying: running Testing
        proposed testing: running Testing
        proposed finished: success 1 to add, 0 to change, 0 to destroy
        proposed failed: failed Plan failed
        proposed stopped: canceled Stopped
        proposed canceled: canceled Canceled
        proposed discarded: canceled Discarded
        tracked queued: pending Queued or planning
        tracked preparing: pending Queued or planning
        tracked initializing: pending Queued or planning
        tracked planning: pending Queued or planning
        tracked unconfirmed: running Needs confirmation: 1 to add, 0 to change, 0 to destroy
        tracked confirmed: running Applying: 1 to add, 0 to change, 0 to destroy
        tracked applying: running Applying: 1 to add, 0 to change, 0 to destroy
        tracked destroying: running Applying: 1 to add, 0 to change, 0 to destroy
        tracked testing: running Testing
        tracked finished: success 1 to add, 0 to change, 0 to destroy
        tracked failed: failed Plan failed
        tracked stopped: canceled Stopped
        tracked canceled: canceled Canceled
        tracked discarded: canceled Discarded
        test queued: pending Queued
        test preparing: pending Queued
        test initializing: running Testing
        test planning: running Testing
        test unconfirmed: running Needs confirmation: 1 to add, 0 to change, 0 to destroy
        test confirmed: running Testing
        test applying: running Testing
        test destroying: running Testing
        test testing: running Testing
        test finished: success Passed
        test failed: failed Plan failed
        test stopped: canceled Stopped
        test canceled: canceled Canceled
        test discarded: canceled Discarded
        ");
    }

    #[test]
    fn ends_say_why() {
        let tracked = |state| view(RunType::Tracked, state);
        let summary = Some("Invalid reference\nline 2".to_owned());
        let all = [
            RunView { applied: true, ..tracked(RunState::Finished) },
            RunView {
                applied: true,
                warnings: vec![Warning { summary: "Old".to_owned(), place: None, count: 2 }],
                ..tracked(RunState::Finished)
            },
            RunView {
                applied: true,
                warnings: vec![
                    Warning { summary: "Old".to_owned(), place: None, count: 2 },
                    Warning { summary: format!("{FAILED_CHECK}: Down."), place: None, count: 1 },
                ],
                checks: 1,
                ..tracked(RunState::Finished)
            },
            RunView { delta: None, ..tracked(RunState::Finished) },
            RunView { checks: 1, ..tracked(RunState::Unconfirmed) },
            RunView { delta: None, checks: 1, ..tracked(RunState::Finished) },
            RunView { checks: 1, ..view(RunType::Proposed, RunState::Finished) },
            RunView { delta: None, checks: 2, ..view(RunType::Proposed, RunState::Finished) },
            RunView { checks: 1, ..view(RunType::Test, RunState::Finished) },
            RunView { summary: summary.clone(), ..tracked(RunState::Failed) },
            RunView { summary, ended_in: Some(RunState::Applying), ..tracked(RunState::Failed) },
            RunView {
                summary: Some("Result unknown, check the state".to_owned()),
                in_terraform: false,
                ended_in: Some(RunState::Applying),
                ..tracked(RunState::Failed)
            },
            RunView { by: Some("alice".to_owned()), ..tracked(RunState::Discarded) },
            RunView {
                summary: Some("Superseded by 0123abcd".to_owned()),
                ..tracked(RunState::Canceled)
            },
        ];
        insta::assert_snapshot!(all.iter().map(said).collect::<Vec<_>>().join("\n"), @"
        success Applied: 1 added, 0 changed, 0 destroyed
        success Applied: 1 added, 0 changed, 0 destroyed, with 2 warnings
        success Applied: 1 added, 0 changed, 0 destroyed, 1 check failed, with 2 warnings
        success No changes
        running Needs confirmation: 1 to add, 0 to change, 0 to destroy, 1 check failed
        success No changes, 1 check failed
        success 1 to add, 0 to change, 0 to destroy, 1 check failed
        success No changes, 2 checks failed
        success Passed
        failed Plan failed: Invalid reference line 2
        failed Apply failed: Invalid reference line 2
        failed Result unknown, check the state
        canceled Discarded by alice
        canceled Superseded by 0123abcd
        ");
    }

    #[test]
    fn what_a_deploy_waits_for_is_said_and_what_stays_is_what_gitlab_keeps() {
        let (needs, away) = (VerdictState::NeedsApprovals, VerdictState::NotYet);
        let waits_for = "waits for 1 of 2 approvals, by @ops";
        let all = [
            waits(needs, waits_for),
            RunView { held: true, ..waits(needs, waits_for) },
            RunView { checks: 1, ..waits(VerdictState::MayConfirm, "2 of 2 approvals by @ops") },
            RunView { held: true, ..waits(away, "GitLab could not be asked") },
            waits(away, "GitLab could not be asked"),
            waits(VerdictState::Rejected, "rejected by Ada Lovelace @ada: not\nnow"),
        ];
        let both =
            |run: &RunView| format!("{}\n  {}", said(run), of_run_to_its_end(run).description);
        insta::assert_snapshot!(all.iter().map(both).collect::<Vec<_>>().join("\n"), @"
        running Needs confirmation: 1 to add, 0 to change, 0 to destroy · waits for 1 of 2 approvals, by @ops
          1 to add, 0 to change, 0 to destroy, applied once approved and confirmed
        running Needs confirmation: 1 to add, 0 to change, 0 to destroy · waits for 1 of 2 approvals, by @ops
          1 to add, 0 to change, 0 to destroy, applied once approved
        running Needs confirmation: 1 to add, 0 to change, 0 to destroy, 1 check failed · 2 of 2 approvals by @ops
          1 to add, 0 to change, 0 to destroy, applied once confirmed
        running Needs confirmation: 1 to add, 0 to change, 0 to destroy · GitLab could not be asked
          1 to add, 0 to change, 0 to destroy, applied once GitLab's rules allow it
        running Needs confirmation: 1 to add, 0 to change, 0 to destroy · GitLab could not be asked
          1 to add, 0 to change, 0 to destroy, applied once confirmed
        running Needs confirmation: 1 to add, 0 to change, 0 to destroy · rejected by Ada Lovelace @ada: not now
          1 to add, 0 to change, 0 to destroy, applied once confirmed
        ");
        let long = waits(needs, &"x".repeat(400));
        assert_eq!(of_run(&long).description.chars().count(), DESCRIPTION_CHARS);
        assert_eq!(of_run(&RunView { state: RunState::Applying, ..long }).description.len(), 45);
    }

    #[test]
    fn rules_are_told_of_only_while_somebody_must_confirm() {
        let golden = include_str!("../../../store/golden/v1/run-reviewed.json");
        let run: Run = serde_json::from_str(golden).unwrap();
        let shown = |state| RunView::of(&Run { state, ..run.clone() }, String::new()).approval;
        assert_eq!(shown(RunState::Unconfirmed), run.approval);
        assert!(run.approval.is_some());
        assert_eq!(shown(RunState::Finished), None);
        // Nor does it go on by itself where somebody wanted it to stop.
        let held = |stop_asked| {
            let state = RunState::Unconfirmed;
            let run = Run { state, stop_asked, held: true, ..run.clone() };
            RunView::of(&run, String::new()).held
        };
        assert!(held(None) && !held(Some("ada".to_owned())));
    }

    #[test]
    fn the_gate_tells_all_that_would_change() {
        let gate = |delta: Delta| {
            let run = view(RunType::Proposed, RunState::Finished);
            of_gate(&[&RunView { delta: Some(delta), ..run }]).description
        };
        let all = [
            gate(Delta { import: 1, ..Delta::default() }),
            gate(Delta { forget: 2, ..Delta::default() }),
            gate(Delta { moved: 1, outputs: 3, ..Delta::default() }),
            gate(Delta { add: 1, import: 1, invoke: 1, ..Delta::default() }),
            gate(Delta::default()),
        ];
        insta::assert_snapshot!(all.join("\n"), @"
        1 stack: 1 to import
        1 stack: 2 to forget
        1 stack: 1 to move, 3 outputs
        1 stack: +1 ~0 −0, 1 to import, 1 to invoke
        1 stack: no changes
        ");
    }

    #[test]
    fn the_gate_waits_for_the_last_and_says_the_worst() {
        let gate = |states: &[RunState]| {
            let runs: Vec<RunView> = states
                .iter()
                .enumerate()
                .map(|(i, s)| RunView { name: format!("s{i}"), ..view(RunType::Proposed, *s) })
                .collect();
            let status = of_gate(&runs.iter().collect::<Vec<_>>());
            format!("{} {}", status.state, status.description)
        };
        use RunState::{Canceled, Failed, Finished, Planning};
        let all = [
            gate(&[]),
            gate(&[Planning]),
            gate(&[Finished, Failed, Planning]),
            gate(&[Finished, Finished, Finished]),
            gate(&[Finished, Failed, Canceled]),
            gate(&[Failed, Failed, Finished]),
            gate(&[Finished, Canceled]),
            gate(&[Canceled]),
            gate(&[Failed; 200]),
        ];
        insta::assert_snapshot!(all.join("\n"), @"
        success No stacks affected
        pending Waiting for 1 stack
        pending Waiting for 3 stacks
        success 3 stacks: +3 ~0 −0
        failed 1 of 3 stacks failed: s1
        failed 2 of 3 stacks failed: s0, s1
        canceled 1 of 2 stacks canceled: s1
        canceled s0 canceled
        failed 200 of 200 stacks failed: s0, s1, s10, s100, s101, s102, s103, s104, s105, s106, s107, s108, s109, s11, s110, s111, s112, s113, s114, s115, s116, s117, s118, s119, s12, s120, s121, s122, s123, s124, s125, s126, s127, s128, s129, s13, s130, s131, s132, s1…
        ");
    }

    #[test]
    fn the_gate_says_what_was_applied() {
        use RunState::{Discarded, Failed, Finished};
        let deploy = |name: &str, state: RunState, add: u32| RunView {
            name: name.to_owned(),
            delta: Some(Delta { add, ..Delta::default() }),
            applied: state == Finished && add > 0,
            ..view(RunType::Tracked, state)
        };
        let gate = |runs: &[RunView]| {
            let status = of_gate(&runs.iter().collect::<Vec<_>>());
            format!("{} {}", status.state, status.description)
        };
        let (data, shop) = (deploy("data", Finished, 3), deploy("shop", Finished, 2));
        let clean = deploy("clean", Finished, 0);
        let down = Warning { summary: format!("{FAILED_CHECK}: Down."), place: None, count: 1 };
        let checked = RunView { warnings: vec![down], checks: 1, ..shop.clone() };
        let preview = RunView { run_type: RunType::Proposed, applied: false, ..shop.clone() };
        let many = |at: usize| deploy(&format!("a-stack-with-a-long-name-{at}"), Discarded, 1);
        let mut discarded: Vec<RunView> = (0..60).map(many).collect();
        discarded.push(data.clone());
        let all = [
            gate(std::slice::from_ref(&data)),
            gate(&[data.clone(), shop.clone()]),
            gate(&[data.clone(), clean]),
            gate(&[data.clone(), checked.clone()]),
            gate(&[data.clone(), preview]),
            gate(&[data.clone(), deploy("edge", Discarded, 1), shop]),
            gate(&[data, deploy("edge", Failed, 1), checked]),
        ];
        insta::assert_snapshot!(all.join("\n"), @"
        success 1 stack applied: +3 ~0 −0
        success 2 stacks applied: +5 ~0 −0
        success 1 stack applied: +3 ~0 −0; 1 without changes
        success 2 stacks applied: +5 ~0 −0 · 1 check failed
        success 2 stacks: +5 ~0 −0
        canceled 1 of 3 stacks canceled: edge; 2 applied: +5 ~0 −0
        failed 1 of 3 stacks failed: edge; 2 applied: +5 ~0 −0 · 1 check failed
        ");
        let said = gate(&discarded);
        assert!(said.ends_with("…; 1 applied: +3 ~0 −0"), "{said}");
        assert!(said.chars().count() <= "canceled ".len() + DESCRIPTION_CHARS, "{said}");
    }

    #[test]
    fn the_gate_of_previews_says_how_many_checks_failed() {
        use RunState::{Canceled, Failed, Finished, Planning};
        let preview = |name: &str, state: RunState, add: u32, checks: u32| RunView {
            name: name.to_owned(),
            delta: Some(Delta { add, ..Delta::default() }),
            checks,
            ..view(RunType::Proposed, state)
        };
        let gate = |runs: &[RunView]| {
            let status = of_gate(&runs.iter().collect::<Vec<_>>());
            format!("{} {}", status.state, status.description)
        };
        let (data, shop) = (preview("data", Finished, 3, 1), preview("shop", Finished, 2, 2));
        let test = RunView { checks: 4, ..view(RunType::Test, Finished) };
        let all = [
            gate(std::slice::from_ref(&data)),
            gate(&[data.clone(), shop]),
            gate(&[preview("clean", Finished, 0, 1)]),
            gate(&[data.clone(), preview("edge", Failed, 0, 0)]),
            gate(&[data.clone(), preview("edge", Canceled, 0, 1)]),
            gate(&[data, preview("edge", Planning, 0, 0)]),
            gate(&[test]),
        ];
        insta::assert_snapshot!(all.join("\n"), @"
        success 1 stack: +3 ~0 −0 · 1 check failed
        success 2 stacks: +5 ~0 −0 · 3 checks failed
        success 1 stack: no changes · 1 check failed
        failed 1 of 2 stacks failed: edge · 1 check failed
        canceled 1 of 2 stacks canceled: edge · 1 check failed
        pending Waiting for 2 stacks
        success 1 test passed
        ");
    }

    #[test]
    fn the_gate_waits_for_what_has_no_run_yet() {
        let preview = view(RunType::Proposed, RunState::Queued);
        assert_eq!(of_waiting_gate(&[&preview], 3).description, "Waiting for 3 stacks");
        assert_eq!(of_waiting_gate(&[&preview], 0).description, "Waiting for 1 stack");
        let test = view(RunType::Test, RunState::Queued);
        assert_eq!(of_waiting_gate(&[&test], 3).description, "Waiting for 1 test");
    }

    #[test]
    fn what_has_ended_is_waited_for_no_more() {
        let (ended, open) =
            (view(RunType::Proposed, RunState::Failed), view(RunType::Proposed, RunState::Queued));
        assert_eq!(still_waiting(&[&open, &open]), "Waiting for 2 stacks");
        assert_eq!(still_waiting(&[&open, &ended, &open]), "Waiting for 2 of 3 stacks");
    }

    proptest! {
        #[test]
        fn a_description_always_fits(summary in any::<String>(), state in 0..RunState::VARIANTS.len()) {
            let run = RunView {
                summary: Some(summary),
                ..view(RunType::Tracked, RunState::VARIANTS[state])
            };
            let text = of_run(&run).description;
            prop_assert!(text.chars().count() <= DESCRIPTION_CHARS);
            prop_assert!(!text.chars().any(char::is_control));
        }
    }
}
