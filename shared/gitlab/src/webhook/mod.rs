//! Webhooks: is the request GitLab's, what does it say, and have we seen it before.
//!
//! [`verify`] comes first and works on the raw bytes. [`parse`] cannot fail: whatever an authentic
//! request carries becomes a [`Hook`](gantry_domain::event::Hook), if need be one that says what
//! could not be read.

mod body;
mod delivery;
mod parse;
mod secrets;
mod verify;

pub use delivery::delivery_id;
pub use parse::parse;
pub use secrets::{InvalidSecrets, PreviousSecret, WebhookSecrets};
pub use verify::{SecretAge, VerifyError, verify, which_secret};

use http::HeaderMap;

/// A header's value as text; none when it is missing, empty or not text.
fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim).filter(|value| !value.is_empty())
}
