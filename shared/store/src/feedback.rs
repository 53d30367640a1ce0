//! What is to be brought up to date at GitLab: counters `want` and `done` of each target.
//!
//! The scheduler raises `want`, the publisher sets `done` to the `want` that it read before it
//! looked. A nudge is sent when none is on its way, so that 2,000 runs of a commit do not cause
//! 2,000 looks, and the last state always arrives. Where the publisher puts a part off, it raises
//! `want` itself, and the nudge that it sends for later counts as one on its way.

use crate::{Expect, Key, Outcome, Store, StoreError, Stored, Write, keys};
use gantry_domain::feedback::Posted;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

/// A nudge that was not followed by `done` within this time is taken for lost.
pub const NUDGE_LOST_AFTER: SignedDuration = SignedDuration::from_secs(120);
/// By another machine's clock a nudge may come this much before its time.
const EARLY: SignedDuration = SignedDuration::from_secs(1);

/// The counters of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// How often something changed, or was put off.
    pub want: i64,
    /// The `want` that GitLab shows.
    pub done: i64,
    /// The `want` that the last nudge was sent for, and when it comes: one that was sent with a delay
    /// is still to come.
    nudged: i64,
    nudged_at: i64,
    /// When the nudge comes that the publisher sent last for a later look, in milliseconds. Another
    /// look may come before, which leaves the same to it: then its number is done already.
    looks_at: i64,
    /// Since when GitLab refuses something of it, in milliseconds; 0 when it does not.
    refused: i64,
}

/// A target of which GitLab refused something ([`keys::refused`]). It is asked again by and by,
/// after each save of the GitLab settings, and at each comparison of its project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The target.
    pub target: String,
    /// Since when.
    pub since: Timestamp,
    /// When it was last tried.
    pub tried_at: Timestamp,
    /// GitLab's own words, the last time.
    pub words: String,
}

impl Refusal {
    /// True when it is time to ask again: ever more seldom, but at least once an hour.
    pub fn is_due(&self, now: Timestamp) -> bool {
        let lasted = self.tried_at.duration_since(self.since);
        now.duration_since(self.tried_at) >= lasted.clamp(SOONEST, LATEST)
    }
}

const SOONEST: SignedDuration = SignedDuration::from_mins(1);
const LATEST: SignedDuration = SignedDuration::from_hours(1);
/// From then on nothing asks again until something changes.
const REFUSALS_KEPT: SignedDuration = SignedDuration::from_hours(24 * 7);

impl Counters {
    /// Whether GitLab shows what a nudge of that number was sent for.
    pub fn has_done(&self, number: Option<i64>) -> bool {
        number.is_some_and(|number| self.done >= number)
    }

    /// Whether a later look is due: whichever nudge comes now is the one that was sent for it.
    pub fn look_is_due(&self, now: Timestamp) -> bool {
        let late = now.as_millisecond() - self.looks_at;
        let is_time = (-millis(EARLY)..millis(NUDGE_LOST_AFTER)).contains(&late);
        self.want > self.done && is_time
    }

    /// When a nudge comes that was sent for a later look, if one is still to come, and comes in time
    /// for `at`.
    pub fn looks_by(&self, at: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let next = Timestamp::from_millisecond(self.looks_at).ok()?;
        // One that comes a little too early is not waited for again.
        (next > now + EARLY && next <= at).then_some(next)
    }

    fn read(numbers: &HashMap<String, i64>) -> Self {
        let number = |name| numbers.get(name).copied().unwrap_or(0);
        Self {
            want: number("want"),
            done: number("done"),
            nudged: number("nudged"),
            nudged_at: number("nudged_at"),
            looks_at: number("looks_at"),
            refused: number("refused"),
        }
    }
}

fn millis(time: SignedDuration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// What is known of a target.
#[derive(Debug)]
pub struct Known {
    /// Its counters.
    pub counters: Counters,
    /// What the publisher remembers of it.
    pub memory: Option<Stored<Value>>,
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
    /// GitLab shows everything that it is to show now.
    UpToDate,
    /// Something changed meanwhile: look again.
    Again,
}

impl Store {
    /// Records that `target` is out of date. Answers the number of a nudge that must be sent, to come
    /// at `at` at the latest; none when one is on its way that does.
    pub async fn raise_want(&self, target: &str, at: Timestamp) -> Result<Option<i64>, StoreError> {
        let key = keys::feedback(target);
        let counters = Counters::read(&self.raise(&key, "want", at + NUDGE_LOST_AFTER).await?);
        let late = at.as_millisecond() - counters.nudged_at;
        let comes_in_time = (0..millis(NUDGE_LOST_AFTER)).contains(&late);
        // A want whose nudge was never sent, because its sender died, is not one on its way.
        let on_its_way = counters.nudged > counters.done && comes_in_time;
        Ok((!on_its_way).then_some(counters.want))
    }

    /// Remembers that a nudge for `target` was sent that comes at `now`, with the number that it was
    /// asked for with.
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

    /// The counters of a target, and what the publisher remembers of it.
    pub async fn known_feedback(&self, target: &str) -> Result<Known, StoreError> {
        let (key, memory) = (keys::feedback(target), keys::feedback_memory(target));
        let (numbers, memory) = self.numbers_and(&key, &memory).await?;
        Ok(Known { counters: Counters::read(&numbers), memory })
    }

    /// The counters of up to 100 targets, each with its target.
    pub async fn counters_of<'t>(
        &self,
        targets: &[&'t str],
    ) -> Result<Vec<(&'t str, Counters)>, StoreError> {
        let keys: Vec<Key> = targets.iter().map(|target| keys::feedback(target)).collect();
        let found = self.numbers_of(&keys).await?;
        let none = HashMap::new();
        let counters = keys.iter().map(|key| Counters::read(found.get(key).unwrap_or(&none)));
        Ok(targets.iter().copied().zip(counters).collect())
    }

    /// Records that GitLab shows what `want` asked for.
    pub async fn published(
        &self,
        target: &str,
        want: i64,
        now: Timestamp,
    ) -> Result<Published, StoreError> {
        self.note_published(target, want, &[("done", want)], None, now).await
    }

    /// The same where GitLab shows it for now: a nudge comes at `next` for a later look, with the
    /// number after `want`. It is sent after this, so that whoever is interrupted before looks again;
    /// should it be lost, the sweep finds it.
    pub async fn published_for_now(
        &self,
        target: &str,
        want: i64,
        next: Timestamp,
        now: Timestamp,
    ) -> Result<Published, StoreError> {
        let comes_at = next.as_millisecond();
        let set = [
            ("done", want),
            ("want", want + 1),
            ("nudged", want + 1),
            ("nudged_at", comes_at),
            ("looks_at", comes_at),
        ];
        self.note_published(target, want, &set, Some(next + NUDGE_LOST_AFTER), now).await
    }

    async fn note_published(
        &self,
        target: &str,
        want: i64,
        set: &[(&str, i64)],
        due: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Published, StoreError> {
        let key = keys::feedback(target);
        let unchanged = Some(("want", want));
        match self.set_numbers(&key, set, due, unchanged).await? {
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

    /// Keeps what GitLab refused of a target, or that it refuses nothing any more. `counters` are
    /// those of before the look.
    pub async fn note_refusal(
        &self,
        target: &str,
        counters: Counters,
        words: Option<String>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let key = keys::refused(target);
        let since = match counters.refused {
            0 => now,
            since => Timestamp::from_millisecond(since).unwrap_or(now),
        };
        let is_kept = now.duration_since(since) < REFUSALS_KEPT;
        let Some(words) = words.filter(|_| is_kept) else {
            if counters.refused != 0 {
                let gone = Write::Delete { key, expect: Expect::Any };
                let _unconditional = self.write(vec![gone]).await?;
                self.set_refused(target, 0, now).await?;
            }
            return Ok(());
        };
        if counters.refused == 0 {
            self.set_refused(target, since.as_millisecond(), now).await?;
        }
        let refusal = Refusal { target: target.to_owned(), since, tried_at: now, words };
        let _unconditional = self.write(vec![Write::put(key, Expect::Any, &refusal)?]).await?;
        Ok(())
    }

    async fn set_refused(
        &self,
        target: &str,
        since: i64,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        // Due until it is noted as published.
        let due = Some(now + NUDGE_LOST_AFTER);
        let set = [("refused", since)];
        let _unconditional = self.set_numbers(&keys::feedback(target), &set, due, None).await?;
        Ok(())
    }

    /// The targets of which GitLab refuses something.
    pub async fn refused(&self) -> Result<Vec<Refusal>, StoreError> {
        let found = self.query_all::<Refusal>(keys::REFUSED, "").await?;
        Ok(found.into_iter().map(|refusal| refusal.value).collect())
    }

    /// Sets when a target is to be looked at again: GitLab is in trouble, or more is coming.
    pub async fn look_again(&self, target: &str, at: Timestamp) -> Result<(), StoreError> {
        let _unconditional = self.set_numbers(&keys::feedback(target), &[], Some(at), None).await?;
        Ok(())
    }

    /// GitLab's own words where it refused something of a target.
    pub async fn refusals(&self, target: &str) -> Result<Vec<String>, StoreError> {
        let found = self.get::<Refused>(&keys::feedback_memory(target)).await?;
        let of_memory = found.map_or_else(Vec::new, |memory| {
            let Refused { refusals, refusal } = memory.value;
            let named = refusals.into_iter().map(|(name, words)| format!("{name}: {words}"));
            named.chain(refusal).collect()
        });
        if !of_memory.is_empty() {
            return Ok(of_memory);
        }
        // Where GitLab does not even let it read, nothing is remembered.
        let found = self.get::<Refusal>(&keys::refused(target)).await?;
        Ok(found.map(|refusal| refusal.value.words).into_iter().collect())
    }

    /// The statuses that GitLab shows for a commit, as the publisher remembers them.
    pub async fn posted(&self, target: &str) -> Result<Posted, StoreError> {
        let found = self.get::<Remembered>(&keys::feedback_memory(target)).await?;
        Ok(found.map(|memory| memory.value.posted).unwrap_or_default())
    }

    /// The id of a merge request's note at GitLab, as the publisher remembers it.
    pub async fn note(&self, target: &str) -> Result<Option<u64>, StoreError> {
        #[derive(Deserialize)]
        struct Written {
            note: Option<u64>,
        }
        let found = self.get::<Written>(&keys::feedback_memory(target)).await?;
        Ok(found.and_then(|memory| memory.value.note))
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
