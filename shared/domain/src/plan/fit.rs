//! A change that can be sent: on AWS a request has at most 6 MB.

use super::{Change, ResourceChange};

/// The bytes of JSON that a change may have. A request wraps it once more, which makes it longer.
pub const LARGEST_CHANGE: usize = 4_000_000;

impl Change {
    /// Leaves out resources until it is no larger than `bytes` of JSON. They are counted. What is
    /// destroyed or replaced is left out last, and nothing else when even that is not enough.
    pub fn fit(&mut self, bytes: usize) {
        let length = |resource: &ResourceChange| {
            // The comma too.
            serde_json::to_vec(resource).map_or(0, |json| json.len() + 1)
        };
        let resources = std::mem::take(&mut self.resources);
        let rest = serde_json::to_vec(self).map_or(0, |json| json.len());
        let mut left = bytes.saturating_sub(rest);
        let destroys = |resource: &ResourceChange| resource.action.rank() == 0;
        let lengths: Vec<usize> = resources.iter().map(length).collect();
        let mut kept = vec![false; lengths.len()];
        for first in [true, false] {
            for (index, resource) in resources.iter().enumerate() {
                if destroys(resource) == first && lengths[index] <= left {
                    left -= lengths[index];
                    kept[index] = true;
                }
            }
        }
        let cut = kept.iter().filter(|kept| !**kept).count();
        let cut = u32::try_from(cut).unwrap_or(u32::MAX);
        let kept =
            resources.into_iter().zip(kept).filter_map(|(resource, kept)| kept.then_some(resource));
        self.resources = kept.collect();
        self.resources_cut = self.resources_cut.saturating_add(cut);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Action, *};

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
}
