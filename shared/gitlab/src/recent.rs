//! What GitLab has told in the last seconds.

use jiff::{SignedDuration, Timestamp};
use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// How long an answer is recent: a push and its merge request come together, and so does all that is
/// then said of them.
pub(crate) const RECENT: SignedDuration = SignedDuration::from_secs(4);
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
        all.retain(|(_, at, _)| now.duration_since(*at) < RECENT);
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
        for n in 0..20 {
            recent.keep("c", second(n), 3);
            recent.keep("d", second(n), 4);
        }
        assert_eq!(recent.all().len(), 2, "one of each");
    }
}
