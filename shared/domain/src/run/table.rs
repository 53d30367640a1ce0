//! A run's life as one table: `(state, event) -> (state, effects)`.
//!
//! Conditions are settled before the lookup by choosing the event ([`RunEvent::PlanClean`],
//! [`RunEvent::PlanChanged`], …), so that a transition is a lookup and nothing else.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a run is in its life, in the order of that life.
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
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
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

/// What can happen to a run.
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
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
pub enum RunEvent {
    /// It got a position and is handed to a runner.
    Granted,
    /// No runner claimed it in time: back to the queue.
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

/// What must be done after a transition was written, however often it is started over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Bring GitLab up to date: status, gate, note, environment.
    Feedback,
    /// Ask the dispatcher to look: a run entered the queue or a slot became free.
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, HashSet};
    use strum::VariantArray as _;

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
            RunState::VARIANTS.iter().copied().filter(|s| s.is_final()).collect();
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
        assert_eq!(reaches.len(), RunState::VARIANTS.len());
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
        for state in RunState::VARIANTS.iter().copied() {
            let row: Vec<String> = RunEvent::VARIANTS
                .iter()
                .copied()
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
