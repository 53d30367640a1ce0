//! A change that can be sent: on AWS a request has at most 6 MB.

use super::{Change, ResourceChange};
use serde::Serialize;

/// The bytes of JSON that a change may have. A request wraps it once more, which makes it longer.
pub const LARGEST_CHANGE: usize = 4_000_000;

impl Change {
    /// Leaves out resources, actions to invoke, outputs and failing checks until it is no larger than
    /// `bytes` of JSON. They are counted. What is destroyed or replaced is left out last, and nothing
    /// else when even that is not enough.
    pub fn fit(&mut self, bytes: usize) {
        let resources = std::mem::take(&mut self.resources);
        let invocations = std::mem::take(&mut self.invocations);
        let outputs = std::mem::take(&mut self.outputs);
        let checks = std::mem::take(&mut self.checks);
        let mut room = Room(bytes.saturating_sub(length(self)));
        let goes = |resource: &ResourceChange| resource.action.rank() == 0;
        let mut kept = room.keep(&resources, goes);
        let fitting = [
            room.keep(&checks, |_| true),
            room.keep(&outputs, |_| true),
            room.keep(&invocations, |_| true),
        ];
        let others = room.keep(&resources, |resource| !goes(resource));
        kept.iter_mut().zip(others).for_each(|(kept, other)| *kept |= other);
        let [fitting_checks, fitting_outputs, fitting_invocations] = fitting;
        (self.resources, self.resources_cut) = chosen(resources, kept, self.resources_cut);
        (self.checks, self.checks_cut) = chosen(checks, fitting_checks, self.checks_cut);
        (self.outputs, self.outputs_cut) = chosen(outputs, fitting_outputs, self.outputs_cut);
        (self.invocations, self.invocations_cut) =
            chosen(invocations, fitting_invocations, self.invocations_cut);
    }
}

/// Bytes that are left.
struct Room(usize);

impl Room {
    /// Which of those that are wanted fit.
    fn keep<T: Serialize>(&mut self, list: &[T], wanted: impl Fn(&T) -> bool) -> Vec<bool> {
        let fits = list.iter().map(|one| {
            // The comma too.
            let left = wanted(one).then(|| self.0.checked_sub(length(one) + 1)).flatten();
            self.0 = left.unwrap_or(self.0);
            left.is_some()
        });
        fits.collect()
    }
}

fn length(of: &impl Serialize) -> usize {
    serde_json::to_vec(of).map_or(0, |json| json.len())
}

/// Those that are kept, and how many are cut with the others.
fn chosen<T>(list: Vec<T>, kept: Vec<bool>, cut: u32) -> (Vec<T>, u32) {
    let all = list.len();
    let list: Vec<T> =
        list.into_iter().zip(kept).filter_map(|(one, kept)| kept.then_some(one)).collect();
    let cut = cut.saturating_add(u32::try_from(all - list.len()).unwrap_or(u32::MAX));
    (list, cut)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Action, AttributeChange, CheckFailure, Invocation, Value},
        *,
    };

    fn resource(number: usize, action: Action) -> ResourceChange {
        ResourceChange::of(action, &format!("terraform_data.{}[{number}]", "long".repeat(20)))
    }

    #[test]
    fn a_change_that_is_too_large_keeps_what_is_destroyed_and_counts_the_rest() {
        let action = |number: usize| match number {
            99 => Action::Delete,
            98 => Action::Replace { create_before_destroy: false },
            _ => Action::Create,
        };
        let resources: Vec<_> = (0..100).map(|number| resource(number, action(number))).collect();
        let whole = Change { resources, resources_cut: 1, ..Change::default() };
        let mut change = whole.clone();
        change.fit(1_000_000);
        assert_eq!(change, whole);

        change.fit(5_000);
        assert!(serde_json::to_vec(&change).unwrap().len() <= 5_000);
        let kept = change.resources.len();
        assert!((10..100).contains(&kept), "{kept}");
        assert_eq!(change.resources_cut as usize, 1 + 100 - kept);
        assert_eq!(change.resources[0], whole.resources[0]);
        assert_eq!(change.resources[kept - 2..], whole.resources[98..]);
    }

    #[test]
    fn whatever_makes_it_too_large_is_left_out_and_counted() {
        let long = "long".repeat(20);
        let output = |_| AttributeChange {
            path: long.clone(),
            before: Value::Unknown,
            after: Value::Unknown,
            forces_replacement: false,
            mark: None,
            lines: Vec::new(),
        };
        let check = |_| CheckFailure { address: long.clone(), problems: vec![long.clone()] };
        let invocation = |_| Invocation {
            address: long.clone(),
            resource: None,
            event: None,
            config: Vec::new(),
            config_cut: 0,
        };
        let mut change = Change {
            resources: vec![resource(0, Action::Create), resource(1, Action::Delete)],
            checks: (0..100).map(check).collect(),
            outputs: (0..100).map(output).collect(),
            invocations: (0..100).map(invocation).collect(),
            ..Change::default()
        };
        change.fit(30_000);
        assert!(serde_json::to_vec(&change).unwrap().len() <= 30_000);
        assert_eq!(change.resources, [resource(1, Action::Delete)]);
        assert_eq!((change.resources_cut, change.checks_cut, change.outputs_cut), (1, 0, 20));
        assert_eq!(change.invocations_cut, 100);
    }
}
