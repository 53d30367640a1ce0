//! Finding states again after the records were restored to an earlier time: object storage has
//! bodies that the records do not know.

use super::{StateBody, StateError, States, TRIES};
use crate::objects::BodyDigest;
use gantry_domain::StackId;
use gantry_objects::keys::STATES;
use gantry_store::{Expect, Outcome, Stored, Write, keys, runner::StateVersion};
use serde::Serialize;
use std::{collections::BTreeSet, time::Instant};

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

impl Restored {
    /// It could not be looked at, or not be written.
    pub(crate) fn failed(stack: &StackId, error: &StateError) -> Self {
        let conflict = Some(format!("failed, try again: {error}"));
        Self { stack: stack.to_string(), before: None, current: None, found: 0, conflict }
    }
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
    /// lineages, and different bodies of the same serial. None when there is nothing to say.
    ///
    /// It writes only while runners are held back. It goes on where an earlier call ended, at
    /// `until` at the latest: then the second value is true.
    pub(crate) async fn restore_from_storage(
        &self,
        owner: &StackId,
        by: &str,
        until: Instant,
    ) -> Result<(Option<Restored>, bool), StateError> {
        let known = self.known(owner).await?;
        let objects: BTreeSet<&str> = known.iter().map(|v| v.object.as_str()).collect();
        // The same body twice is what a commit leaves that was refused, and rescued later.
        let digests: BTreeSet<&str> = known.iter().map(|v| v.digest.as_str()).collect();
        let is_known = |object: &str| {
            let name = object.rsplit('/').next().unwrap_or_default();
            let digest = name.split('-').next().unwrap_or_default();
            objects.contains(object) || digests.contains(digest)
        };
        let stored = self.objects.list(&format!("{STATES}/{owner}")).await?;
        let (mut found, mut conflicts, mut unfinished) = (0, Vec::new(), false);
        for object in stored.iter().filter(|object| !is_known(object)) {
            if Instant::now() >= until {
                unfinished = true;
                break;
            }
            match self.describe(object, by).await? {
                Some(version) => {
                    self.record(owner, &version, None).await?;
                    found += 1;
                }
                None => conflicts.push(format!("{object} is not a state, or incomplete")),
            }
        }
        let current = self.current(owner).await?;
        let before = current.as_ref().map(|current| current.value.serial);
        let mut after = before;
        if !unfinished {
            let (versions, kept_aside): (Vec<_>, Vec<_>) =
                self.known(owner).await?.into_iter().partition(|version| version.found);
            let (newest, unclear) =
                newest(current.as_ref().map(|c| &c.value), &versions, found > 0);
            conflicts.extend(unclear);
            if let Some(newest) = newest {
                let pointer = current.as_ref().map_or(Expect::Absent, Stored::unchanged);
                self.record(owner, newest, Some(pointer)).await?;
                after = Some(newest.serial);
            }
            let current = newest.or(current.as_ref().map(|current| &current.value));
            conflicts.extend(chosen_since(current, &kept_aside));
        }
        if found == 0 && after == before && conflicts.is_empty() {
            return Ok((None, unfinished));
        }
        let stack = self.store.stack(owner).await?;
        let restored = Restored {
            stack: stack.map_or(owner.to_string(), |stack| stack.value.slug.to_string()),
            before,
            current: after,
            found,
            conflict: (!conflicts.is_empty()).then(|| conflicts.join("; ")),
        };
        Ok((Some(restored), unfinished))
    }

    async fn known(&self, owner: &StackId) -> Result<Vec<StateVersion>, StateError> {
        let partition = keys::state_partition(owner);
        let known = self.store.query_all::<StateVersion>(&partition, keys::STATE_VERSIONS).await?;
        Ok(known.into_iter().map(|version| version.value).collect())
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
            form: read.form,
            run: None,
            by: by.to_owned(),
            rescued: true,
            found: true,
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

/// Which of the versions that were found is to be the current one, and what a person must decide.
/// Other lineages are told of when they are `new`; what keeps the newest from being current, always.
fn newest<'a>(
    current: Option<&StateVersion>,
    versions: &'a [StateVersion],
    new: bool,
) -> (Option<&'a StateVersion>, Vec<String>) {
    let mut conflicts = Vec::new();
    let lineages: BTreeSet<&str> =
        versions.iter().map(|version| version.lineage.as_str()).collect();
    let lineage = match (current, lineages.first()) {
        (Some(current), _) => current.lineage.as_str(),
        (None, Some(only)) if lineages.len() == 1 => only,
        (None, None) => return (None, conflicts),
        (None, Some(_)) => {
            conflicts.push(format!("there are {} lineages and none is current", lineages.len()));
            return (None, conflicts);
        }
    };
    let others = lineages.iter().filter(|other| **other != lineage).count();
    if new && others > 0 {
        conflicts.push(format!("states of {others} other lineages were set aside"));
    }
    let newer = |version: &&StateVersion| {
        version.lineage == lineage && current.is_none_or(|c| version.serial > c.serial)
    };
    let Some(newest) = versions.iter().filter(newer).max_by_key(|version| version.serial) else {
        return (None, conflicts);
    };
    let same = versions.iter().filter(newer).filter(|v| v.serial == newest.serial);
    let different: BTreeSet<&str> = same.map(|version| version.digest.as_str()).collect();
    if different.len() > 1 {
        let (count, serial) = (different.len(), newest.serial);
        conflicts.push(format!("{count} different states have the serial {serial}"));
        return (None, conflicts);
    }
    (Some(newest), conflicts)
}

/// The newest state that was kept aside when the records were as they are again: a person may have
/// made it the current one since, which nothing but that person remembers.
fn chosen_since(current: Option<&StateVersion>, kept_aside: &[StateVersion]) -> Option<String> {
    let could_be = |version: &&StateVersion| {
        version.rescued
            && current.is_none_or(|c| version.lineage == c.lineage && version.serial > c.serial)
    };
    let newest = kept_aside.iter().filter(could_be).max_by_key(|version| version.serial)?;
    let (number, serial) = (newest.number, newest.serial);
    Some(format!(
        "version {number} with serial {serial} was set aside and is newer; if somebody had made it \
         current, make it current again"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_domain::state::StateForm;

    #[test]
    fn what_a_person_may_have_chosen_is_told() {
        let rescued = |serial, lineage: &str| StateVersion {
            number: serial + 10,
            rescued: true,
            found: false,
            ..version(serial, lineage, "a")
        };
        let current = version(5, "l", "c");
        let told = |versions: &[StateVersion]| chosen_since(Some(&current), versions);
        assert_eq!(told(&[rescued(5, "l"), rescued(9, "m"), version(7, "l", "b")]), None);
        let text = told(&[rescued(6, "l"), rescued(7, "l")]).unwrap();
        assert!(text.starts_with("version 17 with serial 7 was set aside"), "{text}");
        assert!(chosen_since(None, &[rescued(1, "l")]).is_some());
    }

    fn version(serial: u64, lineage: &str, digest: &str) -> StateVersion {
        StateVersion {
            number: 1,
            serial,
            lineage: lineage.to_owned(),
            digest: digest.to_owned(),
            object: format!("state/s/{digest}-{serial}.tfstate"),
            size: 1,
            resources: Some(0),
            form: StateForm::Plain,
            run: None,
            by: String::new(),
            rescued: false,
            found: true,
            at: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    fn chosen(current: Option<StateVersion>, versions: &[StateVersion]) -> (Option<u64>, String) {
        let (newest, conflicts) = newest(current.as_ref(), versions, true);
        (newest.map(|version| version.serial), conflicts.join("; "))
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
                "states of 1 other lineages were set aside",
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
                "there are 2 lineages and none is current",
            ),
        ];
        for (current, versions, newest, conflict) in cases {
            assert_eq!(chosen(current, &versions), (newest, conflict.to_owned()), "{versions:?}");
        }
    }
}
