//! What GitLab said about how many calls are left, so that the last ones are not wasted on a 429.

use crate::Error;
use http::HeaderMap;
use jiff::Timestamp;
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// No window is believed to last longer: GitLab's own last a minute.
const LONGEST_WINDOW: i64 = 3600;

/// GitLab's rate limit for this token, as the last answers told it. Empty where the server has
/// none, which is how self-managed ones come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RateLimits {
    /// Calls in one window.
    pub limit: Option<u64>,
    /// Calls left in this window.
    pub remaining: Option<u64>,
    /// When the window ends.
    pub resets_at: Option<Timestamp>,
}

/// GitLab counts calls for repository files apart from the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bucket {
    General,
    Files,
}

/// The limits that one client and its clones share.
#[derive(Debug, Default)]
pub(crate) struct Limits(Mutex<[RateLimits; 2]>);

impl Limits {
    pub(crate) fn read(&self, bucket: Bucket) -> RateLimits {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[bucket as usize]
    }

    /// Takes one call from the bucket, or says when the next window begins.
    /// A few calls are left over for whoever else uses the token.
    pub(crate) fn take(&self, bucket: Bucket, now: Timestamp) -> Result<(), Error> {
        let mut limits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let limits = &mut limits[bucket as usize];
        let (Some(remaining), Some(resets_at)) = (limits.remaining, limits.resets_at) else {
            return Ok(());
        };
        if now >= resets_at {
            *limits = RateLimits { remaining: None, resets_at: None, ..*limits };
            return Ok(());
        }
        let kept_back = limits.limit.map_or(0, |limit| (limit / 20).min(10));
        if remaining <= kept_back {
            let wait = resets_at.as_millisecond() - now.as_millisecond();
            let retry_after = Duration::from_millis(wait.max(1000).unsigned_abs());
            return Err(Error::RateLimited { retry_after });
        }
        limits.remaining = Some(remaining - 1);
        Ok(())
    }

    /// Keeps what an answer's `RateLimit-*` headers say.
    pub(crate) fn learn(&self, bucket: Bucket, headers: &HeaderMap, now: Timestamp) {
        let (Some(remaining), Some(reset)) =
            (number(headers, "ratelimit-remaining"), number(headers, "ratelimit-reset"))
        else {
            return;
        };
        let reset = i64::try_from(reset).unwrap_or(i64::MAX);
        let latest = now.as_second().saturating_add(LONGEST_WINDOW);
        let Ok(resets_at) = Timestamp::from_second(reset.min(latest)) else { return };
        let limit = number(headers, "ratelimit-limit");
        let mut limits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let limits = &mut limits[bucket as usize];
        // Answers arrive in any order: within one window the smallest number is the newest.
        let remaining = match (limits.resets_at, limits.remaining) {
            (Some(at), Some(known)) if at == resets_at => known.min(remaining),
            _ => remaining,
        };
        *limits = RateLimits { limit, remaining: Some(remaining), resets_at: Some(resets_at) };
    }
}

/// The wait that `Retry-After` asks for, in seconds.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = number(headers, "retry-after")?.clamp(1, LONGEST_WINDOW.unsigned_abs());
    Some(Duration::from_secs(seconds))
}

pub(crate) fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(limit: u64, remaining: u64, reset: i64) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("ratelimit-limit", limit.into());
        headers.insert("ratelimit-remaining", remaining.into());
        headers.insert("ratelimit-reset", reset.into());
        headers
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_last_calls_of_a_window_wait_for_the_next() {
        let limits = Limits::default();
        assert_eq!(limits.take(Bucket::General, at(100)), Ok(()));
        limits.learn(Bucket::General, &headers(2000, 12, 160), at(100));
        assert_eq!(limits.take(Bucket::General, at(100)), Ok(()));
        assert_eq!(limits.take(Bucket::General, at(100)), Ok(()));
        let wait = Duration::from_secs(50);
        let refused = Err(Error::RateLimited { retry_after: wait });
        assert_eq!(limits.take(Bucket::General, at(110)), refused);
        assert_eq!(limits.take(Bucket::Files, at(110)), Ok(()), "another bucket");
        assert_eq!(limits.take(Bucket::General, at(160)), Ok(()));
        assert_eq!(limits.take(Bucket::General, at(160)), Ok(()));
    }

    #[test]
    fn a_small_limit_can_be_used_up() {
        let limits = Limits::default();
        limits.learn(Bucket::General, &headers(5, 1, 160), at(100));
        assert_eq!(limits.take(Bucket::General, at(100)), Ok(()));
        assert!(limits.take(Bucket::General, at(100)).is_err());
    }

    #[test]
    fn late_answers_do_not_give_calls_back() {
        let limits = Limits::default();
        limits.learn(Bucket::General, &headers(100, 30, 160), at(100));
        limits.learn(Bucket::General, &headers(100, 31, 160), at(100));
        assert_eq!(limits.read(Bucket::General).remaining, Some(30));
        limits.learn(Bucket::General, &headers(100, 99, 220), at(161));
        assert_eq!(limits.read(Bucket::General).remaining, Some(99));
    }

    #[test]
    fn nonsense_does_not_stop_us_for_ever() {
        let limits = Limits::default();
        limits.learn(Bucket::General, &headers(100, 0, i64::MAX), at(100));
        assert_eq!(limits.take(Bucket::General, at(100 + LONGEST_WINDOW)), Ok(()));
        limits.learn(Bucket::General, &headers(100, 0, 50), at(100));
        assert_eq!(limits.take(Bucket::General, at(100)), Ok(()));
    }
}
