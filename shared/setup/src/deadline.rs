//! The time that a piece of work has left, for the calls that it makes.
//!
//! A call that may take longer than its caller lives ends with the caller: nobody learns that the
//! other side did not answer, and nothing can be written down. So who begins the work says when it
//! ends ([`until`]), and each call asks how long it may take ([`at_most`]).

use std::time::Duration;
use tokio::time::Instant;

tokio::task_local! {
    static DEADLINE: Instant;
}

/// What is kept of the time for saying how a call ended.
const RESERVE: Duration = Duration::from_secs(3);
/// A call that is made gets this long, however little is left.
const LEAST: Duration = Duration::from_secs(1);

/// Does work that ends at `deadline`. Tasks that it spawns know nothing of it.
pub async fn until<T>(deadline: Instant, work: impl Future<Output = T>) -> T {
    DEADLINE.scope(deadline, work).await
}

/// How long a call may take: `most`, or less where less is left.
pub fn at_most(most: Duration) -> Duration {
    let left = DEADLINE.try_with(|deadline| deadline.saturating_duration_since(Instant::now()));
    left.map_or(most, |left| left.saturating_sub(RESERVE).max(LEAST).min(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_gets_what_is_left_and_nobody_elses_time() {
        let most = Duration::from_secs(30);
        assert_eq!(at_most(most), most, "nobody waits");
        let now = Instant::now();
        let of = |left| until(now + Duration::from_secs(left), async move { at_most(most) });
        assert_eq!(of(100).await, most);
        let short = of(20).await;
        assert!(short <= Duration::from_secs(17) && short > Duration::from_secs(15), "{short:?}");
        assert_eq!(of(2).await, LEAST);
    }
}
