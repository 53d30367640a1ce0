//! When somebody must look at a run again even if no message comes.

use super::{Position, Run, RunState};
use crate::stack::Timeouts;
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
        RunState::Queued => Some(now + FORGOTTEN_AFTER),
        _ => None,
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
    use crate::run::Step;

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
