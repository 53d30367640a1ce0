//! Users and their access tokens.

use jiff::Timestamp;
use jiff::civil::Date;

use super::UserId;

/// A person or a bot.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) id: UserId,
    pub(crate) username: String,
    pub(crate) name: String,
    /// Writes by bots are kept for tests to read.
    pub(crate) bot: bool,
    pub(crate) admin: bool,
}

impl User {
    pub(crate) fn email(&self) -> String {
        format!("{}@example.com", self.username)
    }
}

/// A personal access token.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) id: u64,
    pub(crate) user: UserId,
    pub(crate) value: String,
    pub(crate) name: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) created_at: Timestamp,
    /// The token dies at 00:00 UTC of this day.
    pub(crate) expires_at: Option<Date>,
    pub(crate) revoked: bool,
    pub(crate) last_used_at: Option<Timestamp>,
}
