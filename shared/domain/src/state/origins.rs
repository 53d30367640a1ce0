//! Which version of a state an instance came with, and which one changed it last: found by
//! comparing with the versions before, the newest first.

use super::Instance;
use std::collections::HashMap;

/// Where an instance comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Origin {
    /// The number of the version that it came with; none if it is in the oldest that was compared.
    pub created: Option<u64>,
    /// The number of the version that has its present attributes first; none if they are the same
    /// in the oldest that was compared.
    pub changed: Option<u64>,
}

/// The origins of instances, as far as they are known.
#[derive(Debug)]
pub struct Origins {
    instances: Vec<Instance>,
    found: Vec<Origin>,
    /// The oldest version that was compared.
    oldest: u64,
}

impl Origins {
    /// Instances of a version.
    pub fn of(version: u64, instances: Vec<Instance>) -> Self {
        let found = vec![Origin::default(); instances.len()];
        Self { instances, found, oldest: version }
    }

    /// Compares with the version before the oldest that was compared.
    pub fn compare(&mut self, version: u64, before: &[Instance]) {
        let before: HashMap<_, _> = before.iter().map(|one| (one.identity(), one)).collect();
        for (instance, origin) in self.instances.iter().zip(&mut self.found) {
            if origin.created.is_some() {
                continue;
            }
            let was = before.get(&instance.identity());
            if !was.is_some_and(|was| was.is_like(instance)) {
                origin.changed.get_or_insert(self.oldest);
            }
            if was.is_none() {
                origin.created = Some(self.oldest);
            }
        }
        self.oldest = version;
    }

    /// Nothing was before the oldest version that was compared.
    pub fn end(&mut self) {
        self.compare(self.oldest, &[]);
    }

    /// No older version would tell more.
    pub fn are_known(&self) -> bool {
        self.found.iter().all(|origin| origin.created.is_some())
    }

    /// The oldest version that was compared.
    pub fn oldest(&self) -> u64 {
        self.oldest
    }

    /// What was found, in the order of the instances.
    pub fn found(&self) -> &[Origin] {
        &self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::instances;
    use serde_json::json;

    /// A version whose instances have these names and values.
    fn version(all: &[(&str, u32)]) -> Vec<Instance> {
        let resource = |(name, value): &(&str, u32)| {
            json!({
                "mode": "managed", "type": "x", "name": name,
                "instances": [{ "attributes": { "value": value } }],
            })
        };
        let resources: Vec<_> = all.iter().map(resource).collect();
        instances(json!({ "resources": resources }).to_string().as_bytes()).unwrap()
    }

    fn told(origins: &Origins) -> Vec<(Option<u64>, Option<u64>)> {
        origins.found().iter().map(|origin| (origin.created, origin.changed)).collect()
    }

    #[test]
    fn an_instance_comes_with_the_first_version_that_has_it() {
        // `back` was destroyed and made again, `to_and_fro` has the value that it had once.
        let five =
            version(&[("back", 1), ("new", 1), ("old", 1), ("renewed", 2), ("to_and_fro", 1)]);
        let four = version(&[("back", 1), ("old", 1), ("renewed", 2), ("to_and_fro", 2)]);
        let three = version(&[("old", 1), ("renewed", 1), ("to_and_fro", 1)]);
        let one = version(&[("back", 1), ("gone", 1), ("old", 1), ("renewed", 1)]);
        let mut origins = Origins::of(5, five);
        assert!(!origins.are_known());
        origins.compare(4, &four);
        origins.compare(3, &three);
        origins.compare(1, &one);
        let so_far = [
            (Some(4), Some(4)),
            (Some(5), Some(5)),
            (None, None),
            (None, Some(4)),
            (Some(3), Some(5)),
        ];
        assert_eq!(told(&origins), so_far);
        assert_eq!((origins.oldest(), origins.are_known()), (1, false));
        origins.end();
        assert!(origins.are_known());
        assert_eq!(told(&origins)[2..4], [(Some(1), Some(1)), (Some(1), Some(4))]);
    }

    #[test]
    fn the_only_version_brought_everything() {
        let mut origins = Origins::of(7, version(&[("a", 1)]));
        origins.end();
        assert_eq!(told(&origins), [(Some(7), Some(7))]);
    }
}
