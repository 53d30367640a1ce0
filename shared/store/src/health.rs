//! Whether GitLab works for us, as the functions that call it saw it: each writes its own record.

use crate::{Expect, Store, StoreError, Stored, Write, keys};
use gantry_domain::integration::Outage;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    ops::Not,
    sync::{MutexGuard, PoisonError},
};

/// Whether GitLab works for us, as one function saw it ([`keys::health`]).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Why the integration is broken; none when it works.
    pub broken: Option<String>,
    /// It is the token that GitLab does not take: a person must replace it.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub token_rejected: bool,
    /// It is GitLab's limit of calls that is reached.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub rate_limited: bool,
    /// Since when it is as it is.
    pub since: Option<Timestamp>,
    /// The last trouble that is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
}

/// Trouble that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// What it was, for people.
    pub reason: String,
    /// Since when it lasted.
    pub since: Option<Timestamp>,
    /// When GitLab was seen to work again.
    pub at: Timestamp,
}

impl Health {
    fn outage(&self) -> Option<Outage> {
        let Self { broken, token_rejected, rate_limited, .. } = self.clone();
        broken.map(|reason| Outage { reason, token_rejected, rate_limited })
    }

    /// After another look at GitLab.
    fn after(self, outage: Option<Outage>, now: Timestamp) -> Self {
        let Some(Outage { reason, token_rejected, rate_limited }) = outage else {
            let over = self.broken.map(|reason| Ended { reason, since: self.since, at: now });
            return Self { since: Some(now), ended: over.or(self.ended), ..Self::default() };
        };
        // Trouble that is said in other words, or is a limit meanwhile, is the same trouble, but for
        // what somebody must do.
        let is_same = self.broken.is_some() && self.token_rejected == token_rejected;
        let since = self.since.filter(|_| is_same).or(Some(now));
        Self { broken: Some(reason), token_rejected, rate_limited, since, ended: self.ended }
    }
}

/// Since when GitLab does not work for us, as one function after the other saw it; none when it works.
/// Trouble that another function saw begin, and has seen end meanwhile, is the same trouble.
pub fn broken_since(seen: &[Health]) -> Option<Timestamp> {
    let broken = seen.iter().filter(|health| health.broken.is_some());
    let first = broken.filter_map(|health| health.since).min()?;
    let ended = seen.iter().filter_map(|health| health.ended.as_ref());
    let same = ended.filter(|ended| ended.at > first).filter_map(|ended| ended.since);
    same.chain([first]).min()
}

/// The functions that call GitLab.
const SEEN_BY: [&str; 2] = ["scheduler", "publisher"];

/// A function that sees GitLab work asks its record again after this time: another process of it may
/// have seen trouble since.
const ASKED_AGAIN_AFTER: SignedDuration = SignedDuration::from_secs(60);

impl Store {
    /// Whether GitLab works for us, as each function saw it.
    pub async fn seen_health(&self) -> Result<Vec<Health>, StoreError> {
        let mut seen = Vec::with_capacity(SEEN_BY.len());
        for function in SEEN_BY {
            let found = self.get::<Health>(&keys::health(function)).await?;
            seen.extend(found.map(|health| health.value));
        }
        Ok(seen)
    }

    /// Marks the connection to GitLab as broken or working, as `function` sees it; written only
    /// when that changes. That it still works, where the record said so lately, costs no read.
    pub async fn note_health(
        &self,
        function: &str,
        outage: Option<Outage>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let works = outage.is_none();
        if works && self.was_seen_working(function, now) {
            return Ok(());
        }
        if !works {
            self.seen_working().remove(function);
        }
        let key = keys::health(function);
        let found = self.get::<Health>(&key).await?;
        let expect = found.as_ref().map_or(Expect::Absent, Stored::unchanged);
        let known = found.map(|health| health.value).unwrap_or_default();
        if known.outage() != outage {
            let write = Write::put(key, expect, &known.after(outage, now))?;
            let _either_way = self.write(vec![write]).await?;
        } else if works {
            self.seen_working().insert(function.to_owned(), now);
        }
        Ok(())
    }

    fn was_seen_working(&self, function: &str, now: Timestamp) -> bool {
        let seen = self.seen_working().get(function).copied();
        // A clock may be set back.
        let lately = SignedDuration::ZERO..ASKED_AGAIN_AFTER;
        seen.is_some_and(|at| lately.contains(&now.duration_since(at)))
    }

    fn seen_working(&self) -> MutexGuard<'_, HashMap<String, Timestamp>> {
        self.seen_working.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_known_since_when_and_when_it_was_over() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let outage = |reason: &str, rate_limited| {
            let token_rejected = reason.starts_with("401");
            Some(Outage { reason: reason.to_owned(), token_rejected, rate_limited })
        };
        let health = Health::default().after(outage("503", false), at(1));
        assert_eq!((health.since, health.rate_limited), (Some(at(1)), false));
        let health = health.after(outage("502", false), at(2));
        assert_eq!(health.since, Some(at(1)), "it has not ended");
        let health = health.after(outage("401 expired", false), at(2));
        assert_eq!((health.since, health.token_rejected), (Some(at(2)), true), "another kind");
        let health = health.after(outage("401 revoked", false), at(3));
        assert_eq!(health.since, Some(at(2)));
        let health = health.after(outage("429", true), at(3));
        assert_eq!((health.since, health.rate_limited), (Some(at(3)), true));
        let health = health.after(outage("503", false), at(4));
        assert_eq!((health.since, health.rate_limited), (Some(at(3)), false), "it goes on");
        let health = health.after(outage("429", true), at(4));
        assert_eq!(health.since, Some(at(3)));
        assert_eq!(health.ended, None, "GitLab did not work in between");
        let health = health.after(None, at(4));
        assert_eq!(
            (&health.broken, health.since, health.rate_limited),
            (&None, Some(at(4)), false)
        );
        let ended = Ended { reason: "429".to_owned(), since: Some(at(3)), at: at(4) };
        assert_eq!(health.ended, Some(ended.clone()));
        let health = health.after(outage("502", false), at(5));
        assert_eq!((health.since, &health.ended), (Some(at(5)), &Some(ended)), "until this ends");
        assert_eq!(health.after(None, at(6)).ended.unwrap().reason, "502");
    }

    #[test]
    fn trouble_that_several_functions_see_is_one() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let outage = || {
            let reason = "503".to_owned();
            Some(Outage { reason, token_rejected: false, rate_limited: false })
        };
        let works = Health::default();
        assert_eq!(broken_since(&[works.clone(), works.clone()]), None);
        let first = works.clone().after(outage(), at(1));
        let second = works.clone().after(outage(), at(3));
        assert_eq!(broken_since(&[second.clone(), first.clone()]), Some(at(1)));
        let over = first.after(None, at(5));
        assert_eq!(broken_since(&[over.clone(), second.clone()]), Some(at(1)), "the same goes on");
        assert_eq!(broken_since(&[over.clone(), second.after(None, at(6))]), None);
        let later = works.after(outage(), at(9));
        assert_eq!(broken_since(&[over, later]), Some(at(9)), "that was over before");
    }
}
