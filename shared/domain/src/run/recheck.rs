//! When somebody must look at a run again even if no message comes.

use super::{Position, Run, RunState};
use crate::stack::{TimeLimit, Timeouts};
use jiff::{SignedDuration, Timestamp};

/// An executing run without a sign of life for this long is lost, before it applies.
pub const LOST_AFTER: SignedDuration = SignedDuration::from_secs(60);
/// And while it applies.
pub const APPLY_LOST_AFTER: SignedDuration = SignedDuration::from_mins(5);
/// And however little is known of whether it could be heard.
pub const LOST_ANYWAY_AFTER: SignedDuration = SignedDuration::from_hours(1);
/// A run that was handed out and that no runner has claimed for this long is handed out again.
pub const CLAIM_TIMEOUT: SignedDuration = SignedDuration::from_mins(10);
/// Effects that nobody performed by then are found by the sweep.
const EFFECTS_LOST_AFTER: SignedDuration = SignedDuration::from_secs(30);

/// A run that waits is looked at this often.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_mins(10);

/// One that looks for drift waits behind all others, and there may be thousands of it: that it stands
/// in the queue is seen at each sweep.
const DRIFT_FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_hours(6);

/// The shortest limit that a stack can have.
const SHORTEST_LIMIT: TimeLimit = TimeLimit::of_minutes(1);
/// A phase that has lasted so long may be near to the limit of its stack.
const JUST_BEGUN: SignedDuration = SignedDuration::from_secs(30);

/// A module's run whose configuration is not read yet is looked at this often.
const SOON: SignedDuration = SignedDuration::from_secs(30);

/// When somebody must look at the run again even if no message comes.
pub fn recheck_at(
    run: &Run,
    timeouts: &Timeouts,
    alive_at: Option<Timestamp>,
    now: Timestamp,
) -> Option<Timestamp> {
    if !run.outstanding.is_empty() {
        return Some(now + EFFECTS_LOST_AFTER);
    }
    let soon = now + SignedDuration::from_secs(1);
    match run.state {
        RunState::Preparing | RunState::Confirmed if run.waits_for_worker() => None,
        RunState::Preparing | RunState::Confirmed => Some(match run.handed_out_at {
            Some(at) if run.position == Position::Slot => at + CLAIM_TIMEOUT,
            _ => now + FORGOTTEN_AFTER,
        }),
        RunState::Initializing | RunState::Planning => {
            let ends = phase_began(run) + timeouts.plan.duration();
            Some(ends.min(alive_at.unwrap_or(now) + LOST_AFTER).max(soon))
        }
        RunState::Applying | RunState::Destroying => {
            let ends = phase_began(run) + timeouts.apply.duration();
            Some(ends.min(alive_at.unwrap_or(now) + APPLY_LOST_AFTER).max(soon))
        }
        RunState::Unconfirmed => Some(run.since + timeouts.unconfirmed.duration()),
        // GitLab may have been in trouble when its configuration was to be read.
        RunState::Queued if run.position == Position::Tests => Some(now + SOON),
        // Should every nudge be lost, the sweep still comes by.
        RunState::Testing => Some(now + FORGOTTEN_AFTER),
        RunState::Queued if run.is_drift() && run.position == Position::Queue => {
            Some(now + DRIFT_FORGOTTEN_AFTER)
        }
        RunState::Queued => Some(now + FORGOTTEN_AFTER),
        _ => None,
    }
}

/// Time limits that do as well as the stack's own for [`recheck_at`], to be spared reading them: none
/// counts now, or the phase has just begun and is looked at when the shortest that a stack can have is
/// over. None where it takes the stack's own.
pub fn timeouts_unread(run: &Run, now: Timestamp) -> Option<Timeouts> {
    if !run.outstanding.is_empty() {
        return Some(Timeouts::default());
    }
    match run.state {
        RunState::Unconfirmed | RunState::Applying | RunState::Destroying => None,
        RunState::Initializing | RunState::Planning => {
            let shortest = Timeouts { plan: SHORTEST_LIMIT, ..Timeouts::default() };
            (now < phase_began(run) + JUST_BEGUN).then_some(shortest)
        }
        _ => Some(Timeouts::default()),
    }
}

/// When the runner took the phase that is being executed.
pub fn phase_began(run: &Run) -> Timestamp {
    let first = match run.state {
        // A test has as long again for destroying what it made.
        state @ (RunState::Applying | RunState::Destroying) => state,
        _ => RunState::Initializing,
    };
    run.history.iter().rev().find(|step| step.state == first).map_or(run.since, |step| step.at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{Effect, Step};
    use strum::VariantArray as _;

    /// A run in this state since 100 s, with nothing outstanding.
    fn run_in(state: RunState) -> Run {
        let golden = include_str!("../../../store/golden/v1/run.json");
        let run: Run = serde_json::from_str(golden).unwrap();
        let since = Timestamp::from_second(100).unwrap();
        Run {
            state,
            history: vec![Step { state, at: since, by: None, comment: None }],
            since,
            outstanding: Default::default(),
            ..run
        }
    }

    #[test]
    fn whoever_has_not_read_the_limits_looks_in_time_all_the_same() {
        let limit = TimeLimit::of_minutes;
        let all = [(1, 1, 60), (2, 5, 90), (60, 120, 7 * 24 * 60)]
            .map(|(plan, apply, wait)| (limit(plan), limit(apply), limit(wait)))
            .map(|(plan, apply, unconfirmed)| Timeouts { plan, apply, unconfirmed });
        for state in RunState::VARIANTS.iter().copied() {
            let run = run_in(state);
            for second in [100, 110, 129, 130, 155, 200] {
                let now = Timestamp::from_second(second).unwrap();
                let Some(unread) = timeouts_unread(&run, now) else { continue };
                let look = recheck_at(&run, &unread, None, now);
                for own in &all {
                    let in_time = recheck_at(&run, own, None, now);
                    let is_plan = matches!(state, RunState::Initializing | RunState::Planning);
                    match (look, in_time) {
                        (Some(look), Some(in_time)) if is_plan => {
                            // Not at once either: that would be one look more.
                            assert!(look <= in_time && look > now + JUST_BEGUN, "{state} {second}");
                        }
                        _ => assert_eq!(look, in_time, "{state} {second}"),
                    }
                }
            }
        }
        let near = Timestamp::from_second(155).unwrap();
        for state in [RunState::Planning, RunState::Applying, RunState::Unconfirmed] {
            let mut run = run_in(state);
            assert_eq!(timeouts_unread(&run, near), None, "{state}");
            run.outstanding.insert(Effect::Feedback);
            assert!(timeouts_unread(&run, near).is_some(), "what is outstanding comes first");
        }
    }

    #[test]
    fn thousands_that_look_for_drift_are_not_brought_to_mind_again_and_again() {
        let now = Timestamp::from_second(100).unwrap();
        let look = |position, unpushed| {
            let run = Run { position, unpushed, ..run_in(RunState::Queued) };
            recheck_at(&run, &Timeouts::default(), None, now).unwrap().duration_since(now)
        };
        let drift = Some(crate::run::Unpushed::Drift);
        assert_eq!(look(Position::Queue, drift.clone()), DRIFT_FORGOTTEN_AFTER);
        // Its source's message, or the end of an apply, may have been lost.
        assert_eq!(look(Position::Source, drift.clone()), FORGOTTEN_AFTER);
        assert_eq!(look(Position::Waiting, drift), FORGOTTEN_AFTER);
        assert_eq!(look(Position::Queue, None), FORGOTTEN_AFTER);
    }

    #[test]
    fn each_phase_has_its_own_time() {
        let golden = include_str!("../../../store/golden/v1/run.json");
        let mut run: Run = serde_json::from_str(golden).unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        let steps = [
            (RunState::Preparing, 1),
            (RunState::Initializing, 2),
            (RunState::Planning, 3),
            (RunState::Applying, 4),
            (RunState::Destroying, 5),
        ];
        let step = |(state, second)| Step { state, at: at(second), by: None, comment: None };
        run.history = steps.map(step).into();
        for (state, began) in [
            (RunState::Initializing, 2),
            (RunState::Planning, 2),
            (RunState::Applying, 4),
            (RunState::Destroying, 5),
        ] {
            run.state = state;
            assert_eq!(phase_began(&run), at(began), "{state:?}");
        }
    }
}
