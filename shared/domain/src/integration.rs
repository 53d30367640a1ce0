//! The one GitLab server of an installation, as the records keep it. No secret is in here.

use crate::UserId;
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde::{Deserialize, Serialize};

/// The GitLab server that this installation works with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Integration {
    /// The server's base address, without a trailing slash (`https://gitlab.com`, `https://host/gitlab`).
    pub api_host: String,
    /// Rises by one with each link to a *different* host: stacks made under an older number are
    /// detached, because project ids belong to their server.
    pub generation: u32,
    /// False after *Unlink*: hooks are still answered, nothing runs.
    pub linked: bool,
    /// GitLab's version, as the server told it (`19.1.0-ee`).
    pub server_version: Option<String>,
    /// The user behind the API token. Statuses belong to this user.
    pub bot: BotUser,
    /// The user before, whose open statuses are still ended with its own token.
    #[serde(default)]
    pub previous_bot: Option<BotUser>,
    /// The token's scopes, when the server tells them.
    pub token_scopes: Vec<String>,
    /// The day on which the token dies at 00:00 UTC (`2027-01-31`).
    pub token_expires_on: Option<String>,
    /// When the settings were last saved.
    pub saved_at: Timestamp,
    /// A random id of this installation, carried by the hidden marker of its notes.
    pub installation: String,
}

/// The GitLab user that Gantry acts as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BotUser {
    /// GitLab's id.
    pub id: UserId,
    /// The user name, without `@`.
    pub username: String,
}

/// How many days are left until `day` (`2027-01-31`) begins; none when it is no day.
pub fn days_left(day: &str, now: Timestamp) -> Option<i32> {
    let day: Date = day.parse().ok()?;
    let today = now.to_zoned(TimeZone::UTC).date();
    today.until(day).ok().map(|span| span.get_days())
}

/// What does not work at GitLab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    /// For people.
    pub reason: String,
    /// It is the token that GitLab does not take.
    pub token_rejected: bool,
    /// It is GitLab's limit of calls that is reached.
    pub rate_limited: bool,
}
