//! What runners say, turned into moves of the run.

use super::{Effect, Ending, Refused, Run, RunEvent, RunState, RunType};
use crate::{
    plan::Delta,
    protocol::{LeftBehind, Report, ReportKind, StateDoubt},
    text,
};
use jiff::{SignedDuration, Timestamp};

/// How long a report may take from its runner to the queue.
const ON_THE_WAY: SignedDuration = SignedDuration::from_secs(1);

impl Run {
    /// Takes a report of its present attempt, which was sent at `sent_at`. False when it says nothing
    /// that matters any more.
    ///
    /// # Errors
    /// When the run cannot be where the report says it is.
    pub fn take_report(
        &mut self,
        report: Report,
        sent_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, Refused> {
        let run = self;
        run.last_report = report.sequence;
        doubt(run, report.doubt);
        run.warnings.extend(report.warnings.iter().cloned());
        if run.state.is_final() {
            if run.lost {
                note_late_report(run, &report);
                run.outstanding.insert(Effect::Feedback);
            }
            return Ok(run.lost);
        }
        let is_planned = matches!(report.what, ReportKind::Planning | ReportKind::Planned { .. })
            || report.planning_for.is_some();
        if is_planned && run.state == RunState::Initializing {
            // What is applied meanwhile makes a plan old from its beginning on, however late this is
            // handled. A second too early makes it old too soon at most.
            let began = match report.planning_for {
                Some(lasted) => {
                    sent_at.min(now) - SignedDuration::from_millis(lasted.into()) - ON_THE_WAY
                }
                None => now,
            };
            run.apply(RunEvent::Initialized, began.max(run.since), None)?;
        }
        match report.what {
            // It lasts: GitLab shows that.
            ReportKind::Claimed { .. } => {
                run.outstanding.insert(Effect::Feedback);
            }
            // So does this, and what said so before may have been overtaken.
            ReportKind::Planning if report.planning_for.is_some() => {
                run.outstanding.insert(Effect::Feedback);
            }
            ReportKind::Planning => {}
            ReportKind::Planned { delta, plan_digest, partial, failed_checks, tolerated } => {
                run.delta = Some(delta);
                run.partial = partial;
                run.failed_checks = failed_checks;
                run.tolerated = tolerated;
                run.plan_digest = plan_digest;
                // With autodeploy the same runner goes on: its token stays good for its phase.
                run.apply(planned(run, delta), now, None)?;
            }
            ReportKind::Applied { delta } => {
                run.delta = run.delta.or(Some(delta));
                run.applied = run.task().is_none();
                let event = match run.run_type {
                    RunType::Test => RunEvent::TestApplied,
                    _ => RunEvent::Applied,
                };
                run.apply(event, now, None)?;
            }
            ReportKind::Failed { summary, errors, log_tail, in_terraform } => {
                let end = Ending { errors, log_tail, in_terraform, ..Ending::new(summary) };
                fail(run, end, now)?;
            }
            ReportKind::ApplyFailed { summary, errors, log_tail, in_terraform } => {
                run.ending = Some(match &run.stop_asked {
                    Some(by) => Ending { errors, ..interrupted(run, by) },
                    None => Ending { errors, log_tail, in_terraform, ..Ending::new(summary) },
                });
                run.apply(RunEvent::TestFailed, now, None)?;
            }
            ReportKind::Destroyed { left } if left.is_empty() => end_test(run, now)?,
            ReportKind::Destroyed { left } => left_behind(run, &left, now)?,
            ReportKind::Stopped => {
                let by = run.stop_asked.clone().unwrap_or_else(|| "the runner".to_owned());
                run.ending = Some(Ending::new(text::stopped_by(&by)));
                run.apply(RunEvent::Stopped, now, None)?;
            }
            ReportKind::Interrupted { summary } => {
                run.ending = Some(match run.stop_asked.clone() {
                    Some(by) => {
                        let mut end = interrupted(run, &by);
                        end.errors.extend(Some(summary).filter(|s| !s.is_empty()));
                        end
                    }
                    None if summary.is_empty() => Ending::new("Interrupted"),
                    None => Ending::new(summary),
                });
                // A stop between an autodeploy's plan and its apply leaves the run unconfirmed.
                let event = match run.state {
                    RunState::Unconfirmed => RunEvent::Discarded,
                    _ => RunEvent::Failed,
                };
                run.apply(event, now, None)?;
            }
        }
        Ok(true)
    }
}

/// The end of an apply that was asked to stop.
fn interrupted(run: &Run, by: &str) -> Ending {
    Ending { interrupted: !run.over_time, ..Ending::new(format!("Interrupted by {by}")) }
}

/// A phase went wrong. A test that was to fail in its plan has passed by that; one whose resources
/// are still there has left them behind.
fn fail(run: &mut Run, end: Ending, now: Timestamp) -> Result<(), Refused> {
    // A runner tells of a test's apply before it tells of the destroy, and of a test that did not
    // come to its apply that it has nothing to destroy.
    let is_applying = run.state == RunState::Applying && run.run_type == RunType::Test;
    if is_applying || run.state == RunState::Destroying {
        run.left_behind = true;
    }
    if run.state == RunState::Planning && is_negative(run) && end.in_terraform {
        run.verdict = Some(text::module::failed_as_expected(&end.summary));
        return run.apply(RunEvent::PlanPreviewed, now, None);
    }
    run.ending = Some(end);
    run.apply(RunEvent::Failed, now, None)
}

/// What a test made is gone: it has passed if it ended as it should.
fn end_test(run: &mut Run, now: Timestamp) -> Result<(), Refused> {
    let stopped = run.stop_asked.is_some();
    match (run.ending.take(), is_negative(run)) {
        (Some(end), true) if !stopped && end.in_terraform => {
            run.verdict = Some(text::module::failed_as_expected(&end.summary));
            run.apply(RunEvent::Destroyed, now, None)
        }
        (None, false) => run.apply(RunEvent::Destroyed, now, None),
        (end, _) => {
            run.ending = Some(end.unwrap_or_else(|| Ending::new(text::module::DID_NOT_FAIL)));
            run.apply(RunEvent::Failed, now, None)
        }
    }
}

/// The destroy was done, and something is still there: a person has to look at it.
fn left_behind(run: &mut Run, left: &[LeftBehind], now: Timestamp) -> Result<(), Refused> {
    let summary = text::module::left_behind(left);
    let before = run.ending.take();
    let mut errors: Vec<_> = left.iter().map(LeftBehind::to_string).collect();
    errors.extend(before.map(|end| end.summary));
    run.ending = Some(Ending { errors, ..Ending::new(summary) });
    run.left_behind = true;
    run.apply(RunEvent::Failed, now, None)
}

fn is_negative(run: &Run) -> bool {
    run.test.as_ref().is_some_and(|test| test.case.negative)
}

fn planned(run: &Run, delta: Delta) -> RunEvent {
    if run.run_type == RunType::Test || run.task().is_some() {
        // Also without changes: what it checks may be checked in apply.
        RunEvent::PlanAutodeployed
    } else if delta == Delta::default() {
        RunEvent::PlanClean
    } else if run.run_type != RunType::Tracked {
        RunEvent::PlanPreviewed
    } else if run.applies_at_once() {
        // Also when a stop was asked: its runner, which may not have heard of it, goes on, and
        // what it applies must find a run that may write its state. It hears of the stop itself.
        RunEvent::PlanAutodeployed
    } else {
        RunEvent::PlanChanged
    }
}

/// What the runner does not know, the scheduler cannot know: the run blocks its stack, and while a
/// state is on its way late writes are taken.
fn doubt(run: &mut Run, doubt: Option<StateDoubt>) {
    let Some(doubt) = doubt else { return };
    run.doubt = Some(doubt);
    if doubt == StateDoubt::NotDelivered {
        run.lost = true;
    }
    if run.run_type == RunType::Test {
        run.left_behind = true;
    }
}

fn note_late_report(run: &mut Run, report: &Report) {
    if let (Some(StateDoubt::KeptAside), Some(end)) = (report.doubt, &mut run.ending) {
        end.errors.push("The state that the lost runner could not deliver was set aside.".into());
    }
    let what = &report.what;
    let said = match what {
        ReportKind::Applied { .. } if run.task().is_some() => "the command succeeded",
        ReportKind::Applied { .. } => "the apply succeeded",
        ReportKind::Failed { .. } | ReportKind::Interrupted { .. } if run.task().is_some() => {
            "the command failed"
        }
        ReportKind::Failed { .. } | ReportKind::Interrupted { .. } => "the apply failed",
        _ => return,
    };
    if let ReportKind::Applied { delta } = what {
        run.delta = run.delta.or(Some(*delta));
        run.applied = run.task().is_none();
    }
    if let Some(end) = &mut run.ending {
        end.errors.push(format!("The lost runner reported later: {said}."));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{PlanMode, PlanOptions, Unpushed};

    /// A test of a module, while it is in `state`.
    fn test(state: RunState, negative: bool) -> Run {
        let golden = include_str!("../../../store/golden/v1/run.json");
        let mut run: Run = serde_json::from_str(golden).unwrap();
        (run.state, run.run_type) = (state, RunType::Test);
        (run.left_behind, run.lost, run.ending, run.verdict) = (false, false, None, None);
        run.stop_asked = None;
        run.test.as_mut().unwrap().case.negative = negative;
        run
    }

    #[test]
    fn what_checks_failed_is_of_the_apply_once_that_is_done() {
        let now = Timestamp::UNIX_EPOCH;
        let mut run = Run { run_type: RunType::Tracked, ..test(RunState::Planning, false) };
        (run.applied, run.autodeploy, run.failed_checks) = (false, true, 0);
        run.warnings.clear();
        let report = |text: &str| serde_json::from_str::<Report>(text).unwrap();
        let planned = report(
            r#"{"sequence": 1, "what": {"kind": "planned", "delta": {"add": 1}, "failed_checks": 2}}"#,
        );
        assert!(run.take_report(planned, now, now).unwrap());
        assert_eq!((run.state, run.last_failed_checks()), (RunState::Applying, 2));
        let applied = report(
            r#"{"sequence": 2, "what": {"kind": "applied", "delta": {"add": 1}}, "warnings": [
                {"summary": "Check block assertion failed: Down.", "count": 1},
                {"summary": "Argument is deprecated", "count": 3}
            ]}"#,
        );
        assert!(run.take_report(applied, now, now).unwrap());
        assert_eq!((run.state, run.last_failed_checks()), (RunState::Finished, 1));
        assert_eq!(run.failed_checks, 2, "that of the plan stays");
    }

    fn of_task() -> Run {
        let command = "terraform state list".to_owned();
        let task = Unpushed::Task { command, schedule: None };
        let run = Run { run_type: RunType::Tracked, ..test(RunState::Initializing, false) };
        Run {
            unpushed: Some(task),
            test: None,
            applied: false,
            autodeploy: false,
            held: true,
            history: Vec::new(),
            ..run
        }
    }

    #[test]
    fn a_task_goes_on_without_a_plan_and_applies_nothing_whatever_it_comes_to() {
        let now = Timestamp::UNIX_EPOCH;
        let applied = r#"{"kind": "applied", "delta": {}}"#;
        let failed = r#"{"kind": "failed", "summary": "The command ended with exit code 3",
            "errors": [], "log_tail": [], "in_terraform": false}"#;
        for (end, state) in [(applied, RunState::Finished), (failed, RunState::Failed)] {
            let mut run = of_task();
            assert!(run.may_be_applying(), "nothing may end its runner");
            let mut say = |sequence: u32, what: &str| {
                let report = format!(r#"{{"sequence": {sequence}, "what": {what}}}"#);
                let report = serde_json::from_str(&report).unwrap();
                assert!(run.take_report(report, now, now).unwrap());
                run.state
            };
            let planned = r#"{"kind": "planned", "delta": {}, "plan_digest": null}"#;
            assert_eq!(say(1, planned), RunState::Applying);
            assert_eq!(say(2, end), state);
            assert!(!run.applied && !run.may_be_applied_in_part());
        }
        let mut lost = Run { lost: true, state: RunState::Failed, ..of_task() };
        lost.ending = Some(Ending::new("lost"));
        let late = format!(r#"{{"sequence": 9, "what": {applied}}}"#);
        assert!(lost.take_report(serde_json::from_str(&late).unwrap(), now, now).unwrap());
        let said = lost.ending.unwrap().errors;
        assert_eq!(said, ["The lost runner reported later: the command succeeded."]);
        assert!(!lost.applied);
    }

    #[test]
    fn what_destroys_everything_waits_for_a_person_also_where_the_stack_applies_by_itself() {
        let now = Timestamp::UNIX_EPOCH;
        for (mode, state) in [
            (PlanMode::Normal, RunState::Applying),
            (PlanMode::RefreshOnly, RunState::Applying),
            (PlanMode::Destroy, RunState::Unconfirmed),
        ] {
            let run = Run { run_type: RunType::Tracked, ..test(RunState::Planning, false) };
            let options = PlanOptions { mode, ..PlanOptions::default() };
            let mut run = Run { options, autodeploy: true, held: false, ..run };
            let planned = r#"{"sequence": 1, "what": {
                "kind": "planned", "delta": {"destroy": 1}, "plan_digest": "d"
            }}"#;
            let report = serde_json::from_str(planned).unwrap();
            assert!(run.take_report(report, now, now).unwrap());
            assert_eq!(run.state, state, "{mode}");
        }
    }

    #[test]
    fn a_plan_that_is_told_with_its_end_began_when_it_began() {
        use RunState::{Failed, Finished, Initializing, Planning};
        let at = |second| Timestamp::from_second(second).unwrap();
        let ends = [
            (r#"{"kind": "planned", "delta": {"add": 1}}"#, Finished),
            (
                r#"{"kind": "failed", "summary": "no", "errors": [], "log_tail": [], "in_terraform": true}"#,
                Failed,
            ),
        ];
        for (what, end) in ends {
            // Not before the runner had it, whatever the clocks say.
            for (planning_for, sent, began) in [(2_000, 99, 96), (9_000, 99, 95), (0, 200, 99)] {
                let mut run = Run { run_type: RunType::Proposed, ..test(Initializing, false) };
                (run.since, run.history) = (at(95), Vec::new());
                let text =
                    format!(r#"{{"sequence": 2, "what": {what}, "planning_for": {planning_for}}}"#);
                let report = serde_json::from_str(&text).unwrap();
                assert!(run.take_report(report, at(sent), at(100)).unwrap());
                let steps: Vec<_> = run.history.iter().map(|step| (step.state, step.at)).collect();
                assert_eq!(steps, [(Planning, at(began)), (end, at(100))]);
            }
        }
    }

    fn said(in_terraform: bool) -> Ending {
        Ending { in_terraform, ..Ending::new("no") }
    }

    #[test]
    fn an_apply_that_somebody_stopped_is_told_from_one_that_took_too_long() {
        for over_time in [false, true] {
            let mut run = Run { run_type: RunType::Tracked, ..test(RunState::Applying, false) };
            (run.applied, run.stop_asked, run.over_time) = (false, Some("ada".into()), over_time);
            let report = r#"{"sequence": 9, "what": {"kind": "interrupted", "summary": ""}}"#;
            let report = serde_json::from_str(report).unwrap();
            assert!(run.take_report(report, Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH).unwrap());
            let end = run.ending.unwrap();
            assert_eq!((run.state, end.interrupted), (RunState::Failed, !over_time));
        }
    }

    #[test]
    fn a_test_that_failed_while_applying_has_left_behind_what_it_created() {
        let now = Timestamp::UNIX_EPOCH;
        for (state, is_left) in
            [(RunState::Planning, false), (RunState::Applying, true), (RunState::Destroying, true)]
        {
            let mut run = test(state, false);
            fail(&mut run, said(true), now).unwrap();
            assert_eq!((run.state, run.left_behind), (RunState::Failed, is_left));
        }
        let mut run = Run { run_type: RunType::Tracked, ..test(RunState::Applying, false) };
        fail(&mut run, said(true), now).unwrap();
        assert!(!run.left_behind, "its state is the stack's");
    }

    #[test]
    fn what_a_destroy_leaves_fails_the_test_and_is_named() {
        let left = [LeftBehind { address: "a.b".into(), id: Some("i-1".into()) }];
        for negative in [false, true] {
            let mut run = test(RunState::Destroying, negative);
            run.ending = negative.then(|| said(true));
            left_behind(&mut run, &left, Timestamp::UNIX_EPOCH).unwrap();
            assert_eq!((run.state, run.left_behind), (RunState::Failed, true));
            let end = run.ending.unwrap();
            assert_eq!(end.summary, "Left behind 1 object: a.b (i-1)");
            assert_eq!(end.errors.len(), 1 + usize::from(negative));
        }
    }

    #[test]
    fn only_terraform_fails_a_test_as_expected() {
        for (in_terraform, state) in [(true, RunState::Finished), (false, RunState::Failed)] {
            let mut run = test(RunState::Destroying, true);
            run.ending = Some(said(in_terraform));
            end_test(&mut run, Timestamp::UNIX_EPOCH).unwrap();
            assert_eq!((run.state, run.left_behind), (state, false));
        }
    }
}
