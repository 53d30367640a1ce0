//! What GitLab has told in the last seconds.

use jiff::{SignedDuration, Timestamp};
use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// How long an answer is recent: a push and its merge request come together, and so does all that is
/// then said of them.
const RECENT: SignedDuration = SignedDuration::from_secs(4);
/// How many answers are kept.
const KEPT: usize = 16;

/// The newest answers, by what was asked.
pub(crate) struct Recent<K, V>(Mutex<VecDeque<(K, Timestamp, V)>>);

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: PartialEq, V: Clone> Recent<K, V> {
    fn all(&self) -> MutexGuard<'_, VecDeque<(K, Timestamp, V)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn find(&self, asked: &K, now: Timestamp) -> Option<V> {
        let mut all = self.all();
        // A clock may be set back.
        let is_recent = |at| (SignedDuration::ZERO..RECENT).contains(&now.duration_since(at));
        all.retain(|(_, at, _)| is_recent(*at));
        all.iter().find(|(known, ..)| known == asked).map(|(.., answer)| answer.clone())
    }

    pub(crate) fn keep(&self, asked: K, now: Timestamp, answer: V) {
        let mut all = self.all();
        all.retain(|(known, ..)| *known != asked);
        all.truncate(KEPT - 1);
        all.push_front((asked, now, answer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_recent_for_seconds() {
        let recent = Recent::default();
        let second = |n| Timestamp::from_second(n).unwrap();
        recent.keep("a", second(1), 1);
        recent.keep("a", second(2), 2);
        assert_eq!(recent.find(&"a", second(5)), Some(2), "the newest");
        assert_eq!(recent.find(&"b", second(5)), None);
        assert_eq!(recent.find(&"a", second(6)), None);
        recent.keep("a", second(9), 3);
        assert_eq!(recent.find(&"a", second(8)), None, "the clock was set back");
        let numbered = Recent::default();
        for n in 0..20 {
            numbered.keep(n, second(1), n);
            numbered.keep(n, second(1), n);
        }
        assert_eq!(numbered.all().len(), KEPT, "one of each");
        assert_eq!((numbered.find(&19, second(1)), numbered.find(&3, second(1))), (Some(19), None));
    }
}
