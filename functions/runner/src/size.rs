//! How large a state may become, told from its plan: what Gantry will not take is not applied.

use crate::{failure::Failure, job::Job};
use gantry_domain::text::NOTHING_APPLIED;
use serde::Deserialize;
use serde_json::value::RawValue;

/// How much more a state takes than what a plan says of it: Terraform indents, and adds what it
/// needs itself.
const FORM: u64 = 2;

#[derive(Deserialize)]
struct Plan<'a> {
    #[serde(borrow)]
    planned_values: Option<&'a RawValue>,
    #[serde(borrow)]
    prior_state: Option<&'a RawValue>,
}

/// Refuses a plan, as JSON, whose state would be larger than Gantry takes.
pub(crate) fn check(job: &Job, plan: &[u8]) -> Result<(), Failure> {
    let Some(state) = &job.state else { return Ok(()) };
    let (estimate, largest) = (estimate(plan, state.last_read()), job.claim.largest_state);
    if estimate <= largest {
        return Ok(());
    }
    Err(Failure::other(format!(
        "{NOTHING_APPLIED}: the state would be about {}, but Gantry's limit is {}. Split the \
         stack, or store its state in your own backend",
        shown(estimate),
        shown(largest)
    )))
}

fn shown(bytes: u64) -> String {
    match bytes >> 20 {
        0 => format!("{} KiB", bytes >> 10),
        mib => format!("{mib} MiB"),
    }
}

/// About how many bytes the state will have, given how many it has. What is not known before the
/// apply counts as nothing; outputs are in the prior state already.
fn estimate(plan: &[u8], read: u64) -> u64 {
    let Ok(plan) = serde_json::from_slice::<Plan<'_>>(plan) else { return 0 };
    let length = |value: Option<&RawValue>| value.map_or(0, |value| value.get().len() as u64);
    let (planned, prior) = (length(plan.planned_values), length(plan.prior_state));
    match (read, planned.saturating_sub(prior)) {
        (0, _) => FORM * planned,
        // What does not grow is taken, as it was before.
        (_, 0) => planned,
        (read, grows) => planned.max(read + FORM * grows),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_is_judged_by_what_is_there() {
        let plan = |planned: usize, prior: usize| {
            let text = |length| "x".repeat(length - 2);
            let (planned, prior) = (text(planned), text(prior));
            format!(r#"{{"planned_values":"{planned}","prior_state":"{prior}"}}"#)
        };
        assert_eq!(estimate(plan(1000, 500).as_bytes(), 0), 2000);
        assert_eq!(estimate(plan(1000, 500).as_bytes(), 1500), 2500);
        assert_eq!(estimate(plan(500, 500).as_bytes(), 1500), 500);
        assert_eq!(estimate(br#"{"format_version":"1.2"}"#, 100), 0);
    }
}
