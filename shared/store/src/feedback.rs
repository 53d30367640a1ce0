//! What is to be brought up to date at GitLab: counters `want` and `done` of each target.
//!
//! The scheduler raises `want`, the publisher sets `done` to the `want` that it read before it
//! looked. A nudge is sent when none is on its way, so that 2,000 runs of a commit do not cause
//! 2,000 looks, and the last state always arrives.

use crate::{Key, Outcome, Store, StoreError, keys};
use gantry_domain::feedback::Posted;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};

/// A nudge that was not followed by `done` within this time is taken for lost.
pub const NUDGE_LOST_AFTER: SignedDuration = SignedDuration::from_secs(120);

/// The counters of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// How often something changed.
    pub want: i64,
    /// The `want` that GitLab shows.
    pub done: i64,
    /// The `want` that the last nudge was sent for, and when.
    nudged: i64,
    nudged_at: i64,
}

impl Counters {
    fn read(numbers: &HashMap<String, i64>) -> Self {
        let number = |name| numbers.get(name).copied().unwrap_or(0);
        Self {
            want: number("want"),
            done: number("done"),
            nudged: number("nudged"),
            nudged_at: number("nudged_at"),
        }
    }
}

/// What every target's memory says of GitLab's refusals.
#[derive(Deserialize)]
struct Refused {
    #[serde(default)]
    refusals: BTreeMap<String, String>,
    #[serde(default)]
    refusal: Option<String>,
}

/// What the memory of a commit's statuses says of what was posted.
#[derive(Deserialize)]
struct Remembered {
    posted: Posted,
}

/// How a publication ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Published {
    /// GitLab shows everything.
    UpToDate,
    /// Something changed meanwhile: look again.
    Again,
}

impl Store {
    /// Records that `target` is out of date. Answers the number of a nudge that must be sent now;
    /// none when one is on its way.
    pub async fn raise_want(
        &self,
        target: &str,
        now: Timestamp,
    ) -> Result<Option<i64>, StoreError> {
        let key = keys::feedback(target);
        let counters = Counters::read(&self.raise(&key, "want", now + NUDGE_LOST_AFTER).await?);
        let is_recent =
            now.as_millisecond() - counters.nudged_at < NUDGE_LOST_AFTER.as_millis() as i64;
        // A want whose nudge was never sent, because its sender died, is not one on its way.
        let on_its_way = counters.nudged > counters.done && is_recent;
        Ok((!on_its_way).then_some(counters.want))
    }

    /// Remembers that a nudge for `target` was sent, with the number that it was asked for with.
    pub async fn nudge_sent(
        &self,
        target: &str,
        number: i64,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let set = [("nudged", number), ("nudged_at", now.as_millisecond())];
        let _unconditional = self
            .set_numbers(&keys::feedback(target), &set, Some(now + NUDGE_LOST_AFTER), None)
            .await?;
        Ok(())
    }

    /// The counters of a target.
    pub async fn counters(&self, target: &str) -> Result<Counters, StoreError> {
        Ok(Counters::read(&self.numbers(&keys::feedback(target)).await?))
    }

    /// Records that GitLab shows what `want` asked for.
    pub async fn published(
        &self,
        target: &str,
        want: i64,
        now: Timestamp,
    ) -> Result<Published, StoreError> {
        let key = keys::feedback(target);
        let unchanged = Some(("want", want));
        match self.set_numbers(&key, &[("done", want)], None, unchanged).await? {
            (Outcome::Written, _) => Ok(Published::UpToDate),
            (Outcome::Stale, found) => {
                // Who publishes looks again by itself: that counts as a nudge on its way.
                let wanted = Counters::read(&found).want;
                let set = [("done", want), ("nudged", wanted), ("nudged_at", now.as_millisecond())];
                let due = Some(now + NUDGE_LOST_AFTER);
                let _unconditional = self.set_numbers(&key, &set, due, None).await?;
                Ok(Published::Again)
            }
        }
    }

    /// Sets when a target is to be looked at again: GitLab is in trouble, or more is coming.
    pub async fn look_again(&self, target: &str, at: Timestamp) -> Result<(), StoreError> {
        let _unconditional = self.set_numbers(&keys::feedback(target), &[], Some(at), None).await?;
        Ok(())
    }

    /// GitLab's own words where it refused something of a target.
    pub async fn refusals(&self, target: &str) -> Result<Vec<String>, StoreError> {
        let found = self.get::<Refused>(&keys::feedback_memory(target)).await?;
        Ok(found.map_or_else(Vec::new, |memory| {
            let Refused { refusals, refusal } = memory.value;
            let named = refusals.into_iter().map(|(name, words)| format!("{name}: {words}"));
            named.chain(refusal).collect()
        }))
    }

    /// The statuses that GitLab shows for a commit, as the publisher remembers them.
    pub async fn posted(&self, target: &str) -> Result<Posted, StoreError> {
        let found = self.get::<Remembered>(&keys::feedback_memory(target)).await?;
        Ok(found.map(|memory| memory.value.posted).unwrap_or_default())
    }

    /// The id of a stack's environment at GitLab, as the publisher remembers it.
    pub async fn environment(&self, target: &str) -> Result<Option<u64>, StoreError> {
        #[derive(Deserialize)]
        struct Made {
            environment: Option<u64>,
        }
        let found = self.get::<Made>(&keys::feedback_memory(target)).await?;
        Ok(found.and_then(|memory| memory.value.environment))
    }

    /// Takes the due time from a target that is up to date, unless `want` was raised since
    /// `counters` were read.
    pub async fn no_longer_due(&self, target: &str, counters: Counters) -> Result<(), StoreError> {
        let unchanged = Some(("want", counters.want));
        let _either_way = self.set_numbers(&keys::feedback(target), &[], None, unchanged).await?;
        Ok(())
    }

    /// The target that a key of the attention index belongs to, if it is one.
    pub fn feedback_target(key: &Key) -> Option<&str> {
        (key.sk == keys::HEAD).then(|| key.pk.strip_prefix("feedback/")).flatten()
    }
}
