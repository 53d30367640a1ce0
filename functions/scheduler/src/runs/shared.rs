//! What runs that are handled at the same moment have in common: a push can make thousands of them.
//! What is asked for each is asked once for those that are about to ask, and that a commit's archive is
//! there is remembered for some minutes.

use gantry_domain::MergeRequestIid;
use gantry_queue::Failure;
use gantry_store::Key;
use jiff::{SignedDuration, Timestamp};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::OnceCell;

/// For how long an archive is remembered as there: its record may be removed meanwhile, by hand.
const REMEMBERED: SignedDuration = SignedDuration::from_mins(10);

/// What runs have in common in one process.
#[derive(Default)]
pub(crate) struct Shared {
    /// Targets at GitLab that are raised.
    pub(super) raised: Together<()>,
    /// Whether every slot is taken.
    pub(super) full: Together<bool>,
    /// Merge requests that a list of a commit names.
    pub(super) listed: Together<Vec<MergeRequestIid>>,
    /// Archives that are there, from one time until another.
    sources: Mutex<BTreeMap<Key, (Timestamp, Timestamp)>>,
}

impl Shared {
    fn sources(&self) -> MutexGuard<'_, BTreeMap<Key, (Timestamp, Timestamp)>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True when it is known that the archive is there. It can become there at any time, so that it
    /// is not there is not remembered.
    pub(super) fn has_source(&self, key: &Key, now: Timestamp) -> bool {
        // A clock may be set back.
        self.sources().get(key).is_some_and(|(from, until)| (*from..*until).contains(&now))
    }

    /// The archive counts as there until then.
    pub(super) fn keep_source(&self, key: Key, now: Timestamp, until: Timestamp) {
        let mut sources = self.sources();
        sources.retain(|_, (_, until)| now < *until);
        sources.insert(key, (now, until.min(now + REMEMBERED)));
    }
}

/// Work that several ask for at the same moment, done once for all of them.
pub(super) struct Together<T>(Mutex<BTreeMap<String, Arc<OnceCell<T>>>>);

impl<T> Default for Together<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Together<T> {
    fn asked(&self) -> MutexGuard<'_, BTreeMap<String, Arc<OnceCell<T>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does the work that `what` names, or has it done by somebody else who asked for it and has not
    /// begun yet: it reads what was written before this was called, in any case. Who fails, or is
    /// interrupted, leaves it to the next of them, who does their own.
    pub(super) async fn once(
        &self,
        what: &str,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let asked = Arc::clone(self.asked().entry(what.to_owned()).or_default());
        // Those who are about to ask get to it.
        tokio::task::yield_now().await;
        let mine = &asked;
        let begin = || async move {
            self.begin(what, mine);
            work.await
        };
        Ok(asked.get_or_try_init(begin).await?.clone())
    }

    /// Who comes from here on asks anew.
    fn begin(&self, what: &str, begun: &Arc<OnceCell<T>>) {
        let mut asked = self.asked();
        if asked.get(what).is_some_and(|known| Arc::ptr_eq(known, begun)) {
            asked.remove(what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test]
    async fn who_asks_before_it_begins_shares_it_and_who_comes_later_does_not() {
        let (together, done) = (Together::default(), AtomicU32::new(0));
        let work = || async { Ok::<u32, Failure>(done.fetch_add(1, Ordering::SeqCst)) };
        let ask = || together.once("a", work());
        let all = futures::join!(ask(), ask(), ask());
        assert_eq!([all.0.unwrap(), all.1.unwrap(), all.2.unwrap()], [0; 3]);
        assert_eq!(ask().await.unwrap(), 1);
        let both = futures::join!(ask(), together.once("b", work()));
        assert_eq!([both.0.unwrap(), both.1.unwrap()], [2, 3]);
        assert!(together.asked().is_empty());
    }

    #[tokio::test]
    async fn where_one_fails_or_is_interrupted_the_next_does_it() {
        let together = Together::default();
        let fails = together.once("a", async { Err::<u32, Failure>(anyhow::anyhow!("no").into()) });
        let works = together.once("a", async { Ok(7) });
        let both = futures::join!(fails, works);
        assert!(both.0.is_err());
        assert_eq!(both.1.unwrap(), 7);

        let mut interrupted = Box::pin(together.once("a", std::future::pending()));
        let mut waits = Box::pin(together.once("a", async { Ok(8) }));
        for _ in 0..2 {
            assert!(futures::poll!(&mut interrupted).is_pending());
            assert!(futures::poll!(&mut waits).is_pending());
        }
        drop(interrupted);
        assert_eq!(waits.await.unwrap(), 8);
    }

    #[test]
    fn an_archive_is_remembered_for_minutes_and_no_longer_than_its_record_says() {
        let minute = |n: i64| Timestamp::from_second(n * 60).unwrap();
        let (shared, key) = (Shared::default(), Key::new("a", "b"));
        let has = |n| shared.has_source(&key, minute(n));
        assert!(!has(1));
        shared.keep_source(key.clone(), minute(1), minute(100));
        assert_eq!([0, 1, 10, 11].map(has), [false, true, true, false]);
        shared.keep_source(key.clone(), minute(20), minute(22));
        assert_eq!([21, 22].map(has), [true, false]);
    }
}
