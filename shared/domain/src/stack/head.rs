//! What is known of a stack as a whole, and how each move of a run changes it.

use crate::{
    CommitSha, RunId,
    drift::{self, Drift},
    run::{Position, Run, RunState, RunType},
    text,
};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the scheduler knows of a stack as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackHead {
    /// The number of the newest run.
    #[serde(default)]
    pub last_number: u64,
    /// The newest tracked run, whatever became of it.
    #[serde(default)]
    pub latest: Option<RunId>,
    /// The tracked run that holds the stack: from *preparing* to its end.
    pub tracked: Option<RunId>,
    /// That run is applying: proposed runs wait.
    pub applying: bool,
    /// Why no tracked run may start, until a person unblocks the stack.
    pub blocked: Option<Blocked>,
    /// The last run whose plan was applied.
    pub last_applied: Option<LastApplied>,
    /// The last run that may have applied a part of its plan: it failed, was stopped or was lost
    /// meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_applied_in_part: Option<LastApplied>,
    /// The last run that applied a plan of the whole code: values that were replaced before it was
    /// made are not in the state any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_whole: Option<RunId>,
    /// What is known of what was changed elsewhere; none where nobody has looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
    /// The run that destroyed everything of it, until something is applied again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destroyed: Option<LastApplied>,
}

/// Why a stack is blocked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Blocked {
    /// The run whose result is unknown.
    pub run: RunId,
    /// In words.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

/// The last apply of a stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LastApplied {
    /// The run.
    pub run: RunId,
    /// Its commit.
    pub commit: CommitSha,
    /// When it ended.
    pub at: Timestamp,
}

/// How a stack was applied after a plan was made, which makes that plan old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppliedSince {
    /// As planned.
    Done,
    /// Perhaps, and then only in part.
    InPart,
}

impl StackHead {
    /// Whether the stack was applied after this moment, when a plan began. Of several applies the
    /// last one tells.
    pub fn applied_since(&self, planned_at: Timestamp) -> Option<AppliedSince> {
        let after =
            |last: Option<&LastApplied>| last.map(|last| last.at).filter(|at| *at > planned_at);
        match (after(self.last_applied.as_ref()), after(self.last_applied_in_part.as_ref())) {
            (None, None) => None,
            (done, in_part) if done >= in_part => Some(AppliedSince::Done),
            _ => Some(AppliedSince::InPart),
        }
    }

    /// What it says once a run of the stack has moved.
    pub fn after(&self, before: &Run, after: &Run, now: Timestamp) -> Self {
        let mut head = self.clone();
        if !self.says_nothing_of_drift(after) {
            head.drift = drift::after(self.drift.as_ref(), before, after, now);
        }
        if let Some(test) = after.test.as_ref().filter(|_| leaves_behind(before, after)) {
            head.blocked = Some(Blocked {
                run: after.id.clone(),
                reason: format!("resources created by the test {} may still exist", test.case.name),
                since: now,
            });
        }
        if after.run_type != RunType::Tracked {
            return head;
        }
        let goes = |run: &Run| {
            matches!(run.position, Position::Source | Position::Queue | Position::Tests)
        };
        if goes(after) && !goes(before) {
            head.tracked = Some(after.id.clone());
        }
        let last = |commit: &CommitSha| LastApplied {
            run: after.id.clone(),
            commit: commit.clone(),
            at: now,
        };
        let is_plan = after.task().is_none();
        if is_plan && after.may_be_applied_in_part() && !before.may_be_applied_in_part() {
            head.last_applied_in_part = Some(last(&after.commit));
        }
        // A lost runner can say so when the run holds the stack no more.
        if is_plan && after.applied && !before.applied {
            head.applied(after, last);
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
}

impl StackHead {
    /// The run is none that tells what differs now: a task applies nothing, and what was looked at
    /// before an apply came to its end is old.
    fn says_nothing_of_drift(&self, run: &Run) -> bool {
        let is_old = || run.planned_at().and_then(|at| self.applied_since(at)).is_some();
        run.task().is_some() || (run.is_drift() && is_old())
    }

    /// A plan was applied.
    fn applied(&mut self, run: &Run, last: impl Fn(&CommitSha) -> LastApplied) {
        if !run.applies_code() {
            // What there is was taken over: the code is the one of before.
            let code = self.last_applied.as_ref().map(|before| before.commit.clone());
            self.last_applied = code.map(|code| last(&code));
            return;
        }
        self.last_applied = Some(last(&run.commit));
        self.destroyed = run.destroys_all().then(|| last(&run.commit));
        if !run.partial {
            self.last_whole = Some(run.id.clone());
        }
    }
}

/// The test run ends now, and what it made is not known to be gone.
fn leaves_behind(before: &Run, after: &Run) -> bool {
    (after.lost && !before.lost) || (after.left_behind && !before.left_behind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        plan::Delta,
        protocol::StateDoubt,
        run::{Ending, PlanMode, PlanOptions, Step, Unpushed},
    };
    use strum::VariantArray as _;

    fn run() -> Run {
        let golden = include_str!("../../../store/golden/v1/run.json");
        let run: Run = serde_json::from_str(golden).unwrap();
        Run {
            run_type: RunType::Tracked,
            test: None,
            applied: false,
            lost: false,
            doubt: None,
            ..run
        }
    }

    fn after(head: &StackHead, before: &Run, after: &Run) -> StackHead {
        head.after(before, after, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn only_an_apply_of_the_whole_takes_what_was_before_out_of_the_state() {
        let before = run();
        let whole = |partial| {
            let applied = Run { applied: true, partial, ..before.clone() };
            let head = after(&StackHead::default(), &before, &applied);
            assert!(head.last_applied.is_some());
            head.last_whole
        };
        assert_eq!(whole(false), Some(before.id.clone()));
        assert_eq!(whole(true), None);
    }

    #[test]
    fn what_was_accepted_is_no_apply_of_the_code_and_a_task_is_none_at_all() {
        let before = run();
        let code = LastApplied {
            run: "earlier".parse().unwrap(),
            commit: "f".repeat(40).parse().unwrap(),
            at: Timestamp::UNIX_EPOCH,
        };
        let known = StackHead { last_applied: Some(code.clone()), ..StackHead::default() };
        let options = PlanOptions { mode: PlanMode::RefreshOnly, ..PlanOptions::default() };
        let refreshing = Run { options, ..before.clone() };
        let accepted = Run { applied: true, ..refreshing.clone() };
        let head = after(&known, &refreshing, &accepted);
        let last = head.last_applied.unwrap();
        assert_eq!((last.run, last.commit), (accepted.id, code.commit.clone()));
        assert_eq!(head.last_whole, None, "what the code replaced may still be in the state");

        let command = "true".to_owned();
        let task = Some(Unpushed::Task { command, schedule: None });
        let begun = Run { unpushed: task, state: RunState::Applying, ..before };
        let step = Step { state: RunState::Applying, at: code.at, by: None, comment: None };
        for state in [RunState::Finished, RunState::Failed] {
            let ended = Run { state, history: vec![step.clone()], ..begun.clone() };
            let head = after(&known, &begun, &ended);
            assert_eq!(head.last_applied.as_ref(), Some(&code), "{state}");
            assert_eq!((head.last_applied_in_part, head.last_whole), (None, None), "{state}");
        }
    }

    #[test]
    fn an_apply_that_began_makes_older_plans_old_however_it_ended() {
        use RunState::{Applying, Failed, Finished, Planning};
        let at = |second| Timestamp::from_second(second).unwrap();
        let through = |states: [RunState; 2], said: &str| {
            let step = |state| Step { state, at: at(10), by: None, comment: None };
            Run {
                state: states[1],
                history: states.map(step).into(),
                ending: Some(Ending::new(said)),
                ..run()
            }
        };
        let failed = through([Applying, Failed], "no quota");
        let nothing = "Nothing was applied: Stopped by ada";
        let stopped = Ending { errors: vec![nothing.into()], ..Ending::new("Interrupted by ada") };
        let lost = Run { lost: true, ..failed.clone() };
        let cases = [
            (Run { applied: true, ..through([Applying, Finished], "") }, Some(AppliedSince::Done)),
            (failed.clone(), Some(AppliedSince::InPart)),
            (through([Applying, Failed], "Interrupted by ada"), Some(AppliedSince::InPart)),
            (lost.clone(), Some(AppliedSince::InPart)),
            (
                Run { doubt: Some(StateDoubt::KeptAside), ..failed.clone() },
                Some(AppliedSince::InPart),
            ),
            (through([Planning, Failed], "no such zone"), None),
            (through([Planning, Finished], ""), None),
            (through([Applying, Failed], nothing), None),
            (Run { ending: Some(stopped), ..failed.clone() }, None),
            (Run { run_type: RunType::Test, ..failed.clone() }, None),
        ];
        for (ended, expected) in cases {
            let before = through([Planning, ended.history[0].state], "");
            let head = StackHead::default().after(&before, &ended, at(20));
            assert_eq!(head.applied_since(at(10)), expected, "{ended:?}");
            assert_eq!(head.applied_since(at(20)), None, "it was planned with what that left");
        }
        // What a lost runner says later is the news.
        let before = through([Planning, Applying], "");
        let head = StackHead::default().after(&before, &lost, at(20));
        let late = Run { applied: true, ..lost.clone() };
        assert_eq!(
            head.after(&lost, &late, at(30)).applied_since(at(10)),
            Some(AppliedSince::Done)
        );
        // And an apply that fails after one that was done.
        let head = head.after(&lost, &late, at(30)).after(&before, &failed, at(40));
        assert_eq!(head.applied_since(at(10)), Some(AppliedSince::InPart));
        assert_eq!(head.last_applied.unwrap().at, at(30), "that is what was applied");
    }

    fn with(mode: PlanMode) -> PlanOptions {
        PlanOptions { mode, ..PlanOptions::default() }
    }

    #[test]
    fn a_destroy_is_known_until_something_is_applied_and_what_only_takes_over_is_of_no_commit() {
        let commit = |digit: &str| digit.repeat(40).parse::<CommitSha>().unwrap();
        let apply = |head: &StackHead, id: &str, run: Run| {
            let before = Run { id: id.parse().unwrap(), ..run };
            let applied = Run { applied: true, ..before.clone() };
            after(head, &before, &applied)
        };
        let of = |digit, mode| Run { commit: commit(digit), options: with(mode), ..run() };
        let accepted = apply(&StackHead::default(), "a", of("1", PlanMode::RefreshOnly));
        assert_eq!(accepted, StackHead::default(), "no code was ever applied");

        let head = apply(&StackHead::default(), "b", of("2", PlanMode::Normal));
        let accepted = apply(&head, "c", of("3", PlanMode::RefreshOnly));
        let last = accepted.last_applied.as_ref().unwrap();
        assert_eq!((last.run.as_str(), &last.commit), ("c", &commit("2")));
        assert_eq!(accepted.last_whole, head.last_whole, "old values may be in the state still");

        let destroyed = apply(&accepted, "d", of("2", PlanMode::Destroy));
        assert_eq!(destroyed.destroyed, destroyed.last_applied);
        assert_eq!(destroyed.destroyed.as_ref().unwrap().run.as_str(), "d");
        let in_part = Run { partial: true, ..of("2", PlanMode::Destroy) };
        assert_eq!(apply(&accepted, "e", in_part).destroyed, None);
        let again = apply(&destroyed, "f", of("4", PlanMode::RefreshOnly));
        assert!(again.destroyed.is_some(), "nothing is there that could be taken over");
        assert_eq!(apply(&again, "g", of("4", PlanMode::Normal)).destroyed, None);
    }

    #[test]
    fn a_task_applies_nothing_however_it_ends() {
        let task = Unpushed::Task { command: "true".to_owned(), schedule: None };
        let before = Run {
            unpushed: Some(task),
            state: RunState::Applying,
            history: vec![Step {
                state: RunState::Applying,
                at: Timestamp::UNIX_EPOCH,
                by: None,
                comment: None,
            }],
            ..run()
        };
        let drifted = StackHead { drift: Some(drift(3)), ..StackHead::default() };
        let done = Run { applied: true, state: RunState::Finished, ..before.clone() };
        let failed = Run { state: RunState::Failed, ..before.clone() };
        for ended in [done, failed] {
            assert_eq!(after(&drifted, &before, &ended), drifted);
        }
    }

    fn drift(found: u32) -> Drift {
        let (run, at) = ("look".parse().unwrap(), Timestamp::UNIX_EPOCH);
        Drift { run, at, found, tolerated: 0, since: Some(at), failed: None }
    }

    #[test]
    fn what_was_looked_at_before_an_apply_ended_tells_nothing() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let applied = LastApplied { run: run().id, commit: run().commit, at: at(20) };
        let known = StackHead { last_applied: Some(applied), ..StackHead::default() };
        let looked = |second| {
            let step = Step { state: RunState::Planning, at: at(second), by: None, comment: None };
            let looks = Run {
                run_type: RunType::Proposed,
                module: false,
                unpushed: Some(Unpushed::Drift),
                state: RunState::Planning,
                history: vec![step],
                ..run()
            };
            let delta = Some(Delta { change: 1, ..Delta::default() });
            let ended = Run { state: RunState::Finished, delta, ..looks.clone() };
            known.after(&looks, &ended, at(30)).drift.map(|drift| drift.found)
        };
        assert_eq!(looked(19), None);
        assert_eq!(looked(20), Some(1));
    }

    #[test]
    fn a_tracked_run_holds_its_stack_from_the_line_to_its_end() {
        let at = |state, position| Run { state, position, ..run() };
        let queued = at(RunState::Queued, Position::StackQueue);
        for goes in [Position::Source, Position::Queue, Position::Tests] {
            let line = at(RunState::Queued, goes);
            let held = after(&StackHead::default(), &queued, &line);
            assert_eq!(held.tracked, Some(line.id.clone()), "{goes:?}");
            let applying = at(RunState::Applying, Position::Slot);
            let held = after(&held, &line, &applying);
            assert!(held.applying && held.tracked.is_some());
            let ended = at(RunState::Finished, Position::Nowhere);
            let free = after(&held, &applying, &ended);
            assert_eq!((free.tracked, free.applying, free.blocked), (None, false, None));
        }
        let proposed = Run { run_type: RunType::Proposed, ..at(RunState::Queued, Position::Queue) };
        assert_eq!(after(&StackHead::default(), &queued, &proposed), StackHead::default());
    }

    #[test]
    fn a_preview_changes_nothing_whatever_becomes_of_it() {
        let known = StackHead {
            tracked: Some(run().id),
            applying: true,
            last_number: 7,
            ..StackHead::default()
        };
        let preview = |state, position| {
            let ending = Some(Ending::new("no"));
            let doubt = Some(StateDoubt::KeptAside);
            let proposed = Run { run_type: RunType::Proposed, module: false, ..run() };
            Run { state, position, ending, doubt, lost: true, applied: true, ..proposed }
        };
        let begun = Run {
            doubt: None,
            lost: false,
            applied: false,
            ..preview(RunState::Queued, Position::Source)
        };
        assert!(begun.only_plans());
        for state in RunState::VARIANTS.iter().copied() {
            for position in [Position::Waiting, Position::Queue, Position::Slot, Position::Nowhere]
            {
                assert_eq!(after(&known, &begun, &preview(state, position)), known, "{state:?}");
            }
        }
    }

    #[test]
    fn what_is_not_known_of_the_state_blocks_the_stack() {
        let applying = Run { state: RunState::Applying, position: Position::Slot, ..run() };
        let head = StackHead { tracked: Some(applying.id.clone()), ..StackHead::default() };
        let failed =
            Run { state: RunState::Failed, position: Position::Nowhere, ..applying.clone() };
        let reason = |ended: &Run| after(&head, &applying, ended).blocked.map(|b| b.reason);
        assert_eq!(reason(&failed), None);
        let lost = Run { lost: true, ..failed.clone() };
        assert_eq!(reason(&lost).unwrap(), text::LOST_WHILE_APPLYING);
        let aside = Run { doubt: Some(StateDoubt::KeptAside), ..failed };
        let words = text::why_blocked(StateDoubt::KeptAside);
        assert_eq!(reason(&aside).unwrap(), words);
        // Where its state is may become known when it has ended.
        let blocked = after(&head, &applying, &lost);
        let known = Run { doubt: Some(StateDoubt::KeptAside), ..lost.clone() };
        assert_eq!(after(&blocked, &lost, &known).blocked.unwrap().reason, words);
    }
}
