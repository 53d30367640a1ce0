//! What people, and the rules about who confirms, decide about a plan that was shown.

use super::{
    Effect, Phase, Position, Refused, Run, RunEvent, RunState, RunType, recheck::CLAIM_TIMEOUT,
};
use crate::{
    UserId,
    approval::{Decision, LastVerdict, Review, Verdict},
};
use jiff::Timestamp;

/// So many people review a run: all of it is one record.
const MOST_REVIEWS: usize = 50;

impl Run {
    /// A deploy of a stack that applies by itself: before its plan is begun, the rules are asked
    /// whether it may be followed by the apply at once.
    pub fn asks_rules_first(&self) -> bool {
        self.run_type == RunType::Tracked
            && self.autodeploy
            && !self.module
            && self.task().is_none()
            && self.state == RunState::Queued
    }

    /// Whoever takes it at this moment takes it so long after the rules were asked that they may be
    /// others by now: a worker of a pool comes when it comes. Then its plan is not followed by its apply
    /// at once, and the rules are asked again.
    pub fn is_taken_late(&self, at: Timestamp) -> bool {
        let is_late = |handed_out: Timestamp| at.duration_since(handed_out) > CLAIM_TIMEOUT;
        self.run_type == RunType::Tracked
            && self.phase == Phase::Plan
            && self.task().is_none()
            && self.applies_at_once()
            && self.handed_out_at.is_some_and(is_late)
    }

    /// Only the rules keep it from its apply: its stack applies by itself, and nobody has asked to stop
    /// it while it was planned.
    pub fn waits_for_rules_alone(&self) -> bool {
        self.held && self.state == RunState::Unconfirmed && self.stop_asked.is_none()
    }

    /// Nobody has to confirm it: nothing but the rules keeps it, and they let whoever started it.
    pub fn goes_on_by_itself(&self, verdict: &Verdict) -> bool {
        matches!(verdict, Verdict::MayConfirm { .. }) && self.waits_for_rules_alone()
    }

    /// Moves it on to its apply, with what is said about that.
    ///
    /// # Errors
    /// When it does not need confirmation.
    pub fn confirm(
        &mut self,
        now: Timestamp,
        by: Option<&str>,
        comment: Option<String>,
    ) -> Result<(), Refused> {
        self.apply(RunEvent::Confirmed, now, by)?;
        self.comment(comment);
        // Where it waited, if only for this moment: it goes to the queue from there.
        self.position = Position::Person;
        // A stop, or a time limit, that the plan outran is not meant for its apply.
        self.stop_asked = None;
        self.over_time = false;
        self.phase = Phase::Apply;
        self.handed_out_at = None;
        self.runner = None;
        Ok(())
    }

    /// Keeps what the rules came to. GitLab is told where people read something else now.
    pub fn keep_verdict(&mut self, last: Option<LastVerdict>) {
        let is_same = match (&self.approval, &last) {
            (Some(before), Some(last)) => before.says(last),
            (before, last) => before.is_none() && last.is_none(),
        };
        if !is_same {
            self.outstanding.insert(Effect::Feedback);
        }
        self.approval = last;
    }

    /// There is room for what this person decides about it.
    pub fn takes_review_of(&self, person: UserId) -> bool {
        self.reviews.len() < MOST_REVIEWS || self.reviews.iter().any(|kept| kept.by.id == person)
    }

    /// The person has rejected it, which stands.
    pub fn is_rejected_by(&self, person: UserId) -> bool {
        let is_it = |kept: &Review| kept.by.id == person && kept.decision == Decision::Reject;
        self.reviews.iter().any(is_it)
    }

    /// Keeps nothing of what the person decided about it.
    pub fn drop_review(&mut self, person: UserId) {
        self.reviews.retain(|kept| kept.by.id != person);
    }

    /// Keeps what somebody decided about it, in place of what they decided before.
    pub fn keep_review(&mut self, review: Review) {
        self.drop_review(review.by.id);
        self.reviews.push(review);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::approval::{Person, VerdictState};
    use jiff::SignedDuration;
    use strum::VariantArray as _;

    fn run() -> Run {
        let golden = include_str!("../../../store/golden/v1/run.json");
        let run: Run = serde_json::from_str(golden).unwrap();
        Run { module: false, outstanding: Default::default(), ..run }
    }

    fn last(message: &str, second: i64) -> Option<LastVerdict> {
        let at = Timestamp::from_second(second).unwrap();
        Some(LastVerdict { state: VerdictState::NotYet, message: message.to_owned(), at })
    }

    #[test]
    fn only_a_plan_that_was_shown_is_confirmed_and_a_stop_that_it_outran_is_over() {
        for state in RunState::VARIANTS.iter().copied() {
            let before = Run {
                state,
                phase: Phase::Plan,
                stop_asked: Some("ada".to_owned()),
                over_time: true,
                ..run()
            };
            let mut run = before.clone();
            let said = run.confirm(Timestamp::UNIX_EPOCH, None, Some("by itself".to_owned()));
            if state != RunState::Unconfirmed {
                assert!(said.is_err() && run == before, "{state}");
                continue;
            }
            assert_eq!((run.state, run.phase), (RunState::Confirmed, Phase::Apply));
            // Also one that its runner has just planned.
            assert_eq!(before.position, Position::Slot);
            run.settle_position();
            assert_eq!(run.position, Position::Queue);
            assert_eq!((run.stop_asked, run.over_time, run.runner), (None, false, None));
            let step = run.history.last().unwrap();
            assert_eq!((&step.by, step.comment.as_deref()), (&None, Some("by itself")));
        }
    }

    #[test]
    fn the_rules_are_asked_first_of_deploys_that_apply_by_themselves() {
        let queued =
            Run { run_type: RunType::Tracked, autodeploy: true, state: RunState::Queued, ..run() };
        assert!(queued.asks_rules_first());
        for other in [
            Run { autodeploy: false, ..queued.clone() },
            Run { module: true, ..queued.clone() },
            Run { run_type: RunType::Test, ..queued.clone() },
            Run { run_type: RunType::Proposed, ..queued.clone() },
            Run { state: RunState::Confirmed, ..queued },
        ] {
            assert!(!other.asks_rules_first(), "{} {}", other.run_type, other.state);
        }
    }

    #[test]
    fn what_somebody_asked_to_stop_or_the_rules_forbid_waits_for_a_person() {
        let may = Verdict::MayConfirm { approvals: vec![], merge_request: None };
        let waits = Run { held: true, state: RunState::Unconfirmed, stop_asked: None, ..run() };
        assert!(waits.goes_on_by_itself(&may));
        let away = Verdict::NotYet { why: "503".to_owned() };
        assert!(!waits.goes_on_by_itself(&away));
        for other in [
            Run { stop_asked: Some("ada".to_owned()), ..waits.clone() },
            Run { held: false, ..waits.clone() },
            Run { state: RunState::Confirmed, ..waits },
        ] {
            assert!(!other.goes_on_by_itself(&may), "{} {:?}", other.state, other.stop_asked);
        }
    }

    #[test]
    fn gitlab_is_told_only_of_what_people_read() {
        let mut run = run();
        let told = |run: &mut Run| std::mem::take(&mut run.outstanding).contains(&Effect::Feedback);
        run.keep_verdict(None);
        assert!(!told(&mut run), "nothing was asked for, nor is");
        run.keep_verdict(last("503", 1));
        assert!(told(&mut run));
        run.keep_verdict(last("503", 2));
        assert!(!told(&mut run), "it was read again, and says the same");
        assert_eq!(run.approval, last("503", 2));
        run.keep_verdict(last("502", 3));
        assert!(told(&mut run));
        run.keep_verdict(None);
        assert!(told(&mut run) && run.approval.is_none());
    }

    #[test]
    fn a_deploy_that_is_taken_late_asks_the_rules_again() {
        let taken = |minutes: i64, run: Run| {
            let since = run.handed_out_at.unwrap_or(Timestamp::UNIX_EPOCH);
            run.is_taken_late(since + SignedDuration::from_mins(minutes))
        };
        let at_once = || Run {
            run_type: RunType::Tracked,
            phase: Phase::Plan,
            autodeploy: true,
            held: false,
            handed_out_at: Timestamp::from_second(100).ok(),
            ..run()
        };
        assert!(!taken(10, at_once()), "as late as one that a runner was started for");
        assert!(taken(11, at_once()));
        for other in [
            Run { held: true, ..at_once() },
            Run { autodeploy: false, ..at_once() },
            Run { phase: Phase::Apply, ..at_once() },
            Run { run_type: RunType::Test, ..at_once() },
            Run { handed_out_at: None, ..at_once() },
        ] {
            assert!(!taken(11, other.clone()), "{} {} {}", other.run_type, other.phase, other.held);
        }
    }

    fn review(id: u64, decision: Decision) -> Review {
        Review {
            by: Person { id: UserId(id), username: format!("user{id}"), name: String::new() },
            decision,
            comment: None,
            at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn the_last_decision_of_a_person_is_kept() {
        let mut run = run();
        for (id, decision) in
            [(1, Decision::Approve), (2, Decision::Approve), (1, Decision::Reject)]
        {
            run.keep_review(review(id, decision));
        }
        let kept: Vec<_> = run.reviews.iter().map(|kept| (kept.by.id.0, kept.decision)).collect();
        assert_eq!(kept, [(2, Decision::Approve), (1, Decision::Reject)]);
        assert!(run.is_rejected_by(UserId(1)) && !run.is_rejected_by(UserId(2)));
        run.drop_review(UserId(1));
        assert!(!run.is_rejected_by(UserId(1)) && run.reviews.len() == 1);
    }

    #[test]
    fn a_run_has_so_many_reviews_that_its_record_can_be_written() {
        let mut run = run();
        for id in 0..MOST_REVIEWS as u64 {
            assert!(run.takes_review_of(UserId(id)));
            run.keep_review(review(id, Decision::Approve));
        }
        assert!(run.takes_review_of(UserId(7)), "who has decided may decide otherwise");
        assert!(!run.takes_review_of(UserId(1_000)));
    }
}
