//! Finding states again after the records were restored to an earlier time: object storage has
//! bodies that the records do not know.

use super::{StateBody, StateError, States, TRIES};
use crate::objects::BodyDigest;
use gantry_domain::StackId;
use gantry_setup::objects::keys::STATES;
use gantry_store::{Expect, Outcome, Stored, Write, keys, runner::StateVersion};
use serde::Serialize;
use std::collections::BTreeSet;

/// What was found for one stack, or test run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Restored {
    /// Its slug, or its id where the records do not know it.
    pub(crate) stack: String,
    /// The serial that was current.
    pub(crate) before: Option<u64>,
    /// The serial that is current now.
    pub(crate) current: Option<u64>,
    /// States that the records did not know.
    pub(crate) found: usize,
    /// What a person must decide.
    pub(crate) conflict: Option<String>,
}

impl States {
    /// Those that have a state in storage, by id, after this one.
    pub(crate) async fn in_storage(&self, after: &str) -> Result<Vec<StackId>, StateError> {
        let names = self.objects.folders(STATES).await?;
        let owners = names.into_iter().filter(|name| name.as_str() > after);
        Ok(owners.filter_map(|name| name.parse().ok()).collect())
    }

    /// Records the bodies that the records do not know, and makes the one with the highest serial
    /// of the current lineage the current version. What cannot be told is left to a person: other
    /// lineages, and different bodies of the same serial. None when nothing was found.
    ///
    /// It writes only while runners are held back.
    pub(crate) async fn restore_from_storage(
        &self,
        owner: &StackId,
        by: &str,
    ) -> Result<Option<Restored>, StateError> {
        let partition = keys::state_partition(owner);
        let known = self.store.query_all::<StateVersion>(&partition, keys::STATE_VERSIONS).await?;
        let known: BTreeSet<&str> = known.iter().map(|v| v.value.object.as_str()).collect();
        let stored = self.objects.list(&format!("{STATES}/{owner}")).await?;
        let unknown: Vec<String> =
            stored.into_iter().filter(|object| !known.contains(object.as_str())).collect();
        if unknown.is_empty() {
            return Ok(None);
        }
        let found = unknown.len();
        let mut conflicts = Vec::new();
        let mut versions = Vec::with_capacity(found);
        for object in unknown {
            match self.describe(&object, by).await? {
                Some(version) => versions.push(version),
                None => conflicts.push(format!("{object} is no state, or not whole")),
            }
        }
        versions.sort_by_key(|version| version.serial);
        let current = self.current(owner).await?;
        let newest = newest(current.as_ref().map(|c| &c.value), &versions, &mut conflicts);
        for version in versions.iter().filter(|v| newest.is_none_or(|n| n.object != v.object)) {
            self.record(owner, version, None).await?;
        }
        if let Some(newest) = newest {
            self.record(
                owner,
                newest,
                Some(current.as_ref().map_or(Expect::Absent, Stored::unchanged)),
            )
            .await?;
        }
        let stack = self.store.stack(owner).await?;
        let before = current.map(|current| current.value.serial);
        Ok(Some(Restored {
            stack: stack.map_or(owner.to_string(), |stack| stack.value.slug.to_string()),
            before,
            current: newest.map(|version| version.serial).or(before),
            found,
            conflict: (!conflicts.is_empty()).then(|| conflicts.join("; ")),
        }))
    }

    /// A stored body as a version; none when it is not what its key says.
    async fn describe(&self, object: &str, by: &str) -> Result<Option<StateVersion>, StateError> {
        let Some(body) = self.objects.get(object).await? else { return Ok(None) };
        let digest = BodyDigest::of(&body);
        let Ok(read) = StateBody::read(&body) else { return Ok(None) };
        let name = object.rsplit('/').next().unwrap_or_default();
        Ok(name.starts_with(digest.hex()).then(|| StateVersion {
            number: 0,
            serial: read.serial,
            lineage: read.lineage,
            digest: digest.hex().to_owned(),
            object: object.to_owned(),
            size: read.size,
            resources: read.resources,
            run: None,
            by: by.to_owned(),
            rescued: true,
            at: self.clock.now(),
        }))
    }

    /// Adds a version; the current one when `pointer` says what the pointer has to be still.
    async fn record(
        &self,
        owner: &StackId,
        version: &StateVersion,
        pointer: Option<Expect>,
    ) -> Result<(), StateError> {
        for _ in 0..TRIES {
            let number = self.next_number(owner).await?;
            let version = StateVersion { number, rescued: pointer.is_none(), ..version.clone() };
            let key = keys::state_version(owner, number);
            let mut writes = vec![
                Write::put(key, Expect::Absent, &version)?,
                Write::Check { key: keys::pause(), expect: Expect::Present },
            ];
            if let Some(expect) = &pointer {
                writes.push(Write::put(keys::state(owner), *expect, &version)?);
            }
            if self.store.write(writes).await? == Outcome::Written {
                return Ok(());
            }
        }
        Err(StateError::Busy)
    }
}

/// The version that is to be the current one. `versions` are in the order of their serials.
fn newest<'a>(
    current: Option<&StateVersion>,
    versions: &'a [StateVersion],
    conflicts: &mut Vec<String>,
) -> Option<&'a StateVersion> {
    let lineages: BTreeSet<&str> =
        versions.iter().map(|version| version.lineage.as_str()).collect();
    let lineage = match current {
        Some(current) => current.lineage.as_str(),
        None if lineages.len() == 1 => lineages.first()?,
        None => {
            conflicts.push(format!("there are {} lineages, and none is current", lineages.len()));
            return None;
        }
    };
    let others = lineages.iter().filter(|other| **other != lineage).count();
    if others > 0 {
        conflicts.push(format!("states of {others} other lineages are kept aside"));
    }
    let newer = |version: &&StateVersion| {
        version.lineage == lineage && current.is_none_or(|c| version.serial > c.serial)
    };
    let newest = versions.iter().rfind(newer)?;
    let same = versions.iter().filter(newer).filter(|v| v.serial == newest.serial);
    if same.clone().any(|version| version.digest != newest.digest) {
        let count = same.count();
        conflicts.push(format!("{count} different states have the serial {}", newest.serial));
        return None;
    }
    Some(newest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(serial: u64, lineage: &str, digest: &str) -> StateVersion {
        StateVersion {
            number: 1,
            serial,
            lineage: lineage.to_owned(),
            digest: digest.to_owned(),
            object: format!("state/s/{digest}-{serial}.tfstate"),
            size: 1,
            resources: 0,
            run: None,
            by: String::new(),
            rescued: false,
            at: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    fn chosen(current: Option<StateVersion>, versions: &[StateVersion]) -> (Option<u64>, String) {
        let mut conflicts = Vec::new();
        let newest = newest(current.as_ref(), versions, &mut conflicts).map(|v| v.serial);
        (newest, conflicts.join("; "))
    }

    #[test]
    fn the_highest_serial_of_the_current_lineage_counts() {
        let current = || Some(version(3, "l", "c"));
        let cases = [
            (current(), vec![version(4, "l", "a"), version(5, "l", "b")], Some(5), ""),
            (current(), vec![version(2, "l", "a")], None, ""),
            (None, vec![version(1, "l", "a"), version(2, "l", "b")], Some(2), ""),
            (current(), vec![version(5, "l", "a"), version(5, "l", "a")], Some(5), ""),
            (
                current(),
                vec![version(4, "l", "a"), version(9, "m", "b")],
                Some(4),
                "states of 1 other lineages are kept aside",
            ),
            (
                current(),
                vec![version(5, "l", "a"), version(5, "l", "b")],
                None,
                "2 different states have the serial 5",
            ),
            (
                None,
                vec![version(1, "l", "a"), version(1, "m", "b")],
                None,
                "there are 2 lineages, and none is current",
            ),
        ];
        for (current, versions, newest, conflict) in cases {
            assert_eq!(chosen(current, &versions), (newest, conflict.to_owned()), "{versions:?}");
        }
    }
}
