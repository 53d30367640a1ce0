//! What trouble at GitLab means for a message.

use gantry_gitlab::Error;
use gantry_queue::Failure;
use jiff::SignedDuration;
use std::time::Duration;

/// The next try of what GitLab refused: it may be in trouble, or a person may give the right.
pub(crate) const REFUSED: Duration = Duration::from_secs(60);
/// How long a message waits so. What it was about is found by comparing then.
pub(crate) const REFUSALS_WAIT: SignedDuration = SignedDuration::from_hours(1);

/// What GitLab refused, if that is why.
pub(crate) fn refusal(failure: &Failure) -> Option<&Error> {
    failure.error.downcast_ref::<Error>().filter(|error| error.is_refusal())
}

/// Why GitLab could not be asked, for people.
pub(crate) fn in_words(failure: &Failure) -> String {
    match failure.error.downcast_ref() {
        Some(Error::TokenRejected { .. }) => {
            "GitLab rejected the token: an admin must replace it (GitLab settings)".to_owned()
        }
        _ => format!("{:#}", failure.error),
    }
}

/// Trouble at GitLab is no fault of the message: it waits. Everything else counts against it.
pub(crate) fn gitlab_failure(error: Error) -> Failure {
    let wait = match &error {
        Error::RateLimited { retry_after } => *retry_after,
        Error::Unavailable { retry_after, .. } => retry_after.unwrap_or(Duration::from_secs(10)),
        Error::TokenRejected { .. } => Duration::from_secs(60),
        Error::Conflict { .. } => Duration::from_secs(2),
        _ => return Failure::from(error),
    };
    Failure::wait(error, wait)
}
