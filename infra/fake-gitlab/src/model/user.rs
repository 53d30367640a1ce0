//! Users and their access tokens.

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
    /// Blocked: nothing of it opens anything.
    pub(crate) blocked: bool,
}

impl User {
    pub(crate) fn email(&self) -> String {
        format!("{}@example.com", self.username)
    }
}

/// A personal access token.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) user: UserId,
    pub(crate) value: String,
    pub(crate) scopes: Vec<String>,
    /// The token dies at 00:00 UTC of this day.
    pub(crate) expires_at: Option<Date>,
}

impl Token {
    /// Whether one of these scopes is the token's.
    pub(crate) fn has_any(&self, scopes: &[&str]) -> bool {
        self.scopes.iter().any(|known| scopes.contains(&known.as_str()))
    }
}
