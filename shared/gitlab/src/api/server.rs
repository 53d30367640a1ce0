//! The server and the token: what *Save* in the settings checks.

use crate::{Client, Error, call::Call};
use gantry_domain::UserId;
use serde::Deserialize;

/// GitLab's version.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Version {
    /// As the server writes it: `18.1.1-ee`, `17.1.0-pre`.
    pub version: String,
    /// The commit it was built from.
    pub revision: Option<String>,
    /// True for the Enterprise Edition; told since 15.6.
    pub enterprise: Option<bool>,
}

impl Version {
    /// Major and minor number, when the version can be read.
    pub fn numbers(&self) -> Option<(u32, u32)> {
        let mut parts = self.version.split(|c: char| !c.is_ascii_digit());
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }

    /// True when the server is at least this old or newer. An unreadable version is taken as new.
    pub fn is_at_least(&self, major: u32, minor: u32) -> bool {
        self.numbers().is_none_or(|numbers| numbers >= (major, minor))
    }
}

/// The user behind the token; project and group tokens have a bot user.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct CurrentUser {
    /// GitLab's id.
    pub id: UserId,
    /// The user name, without `@`.
    pub username: String,
    /// The name that people see.
    pub name: Option<String>,
    /// `active`, `blocked`, …
    pub state: Option<String>,
    /// True for bot users; told by newer servers only.
    pub bot: Option<bool>,
}

/// What a token says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TokenSelf {
    /// The name that its maker gave it.
    pub name: Option<String>,
    /// `api`, `read_repository`, …
    #[serde(default, deserialize_with = "crate::reading::or_default")]
    pub scopes: Vec<String>,
    /// The day on which it dies at 00:00 UTC (`2027-01-31`); none for tokens without an end.
    pub expires_at: Option<String>,
    /// False when it is revoked or expired.
    pub active: Option<bool>,
    /// The user that it acts as.
    pub user_id: Option<UserId>,
}

impl Client {
    /// The server's version. Needs a token that works.
    pub async fn version(&self) -> Result<Version, Error> {
        match self.json(Call::get(&["metadata"])).await {
            // Servers before 15.2 have only the older call.
            Err(Error::NotFound { .. }) => self.json(Call::get(&["version"])).await,
            answer => answer,
        }
    }

    /// The user that the token acts as.
    pub async fn current_user(&self) -> Result<CurrentUser, Error> {
        self.json(Call::get(&["user"])).await
    }

    /// Scopes and expiry of the token; none where the server does not tell (before 15.5).
    pub async fn token_self(&self) -> Result<Option<TokenSelf>, Error> {
        match self.json(Call::get(&["personal_access_tokens", "self"])).await {
            Err(Error::NotFound { .. }) => Ok(None),
            found => found.map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        let version =
            |text: &str| Version { version: text.to_owned(), revision: None, enterprise: None };
        assert!(version("19.0.1-ee").is_at_least(19, 0));
        assert!(version("18.11.0-rc42-ee").is_at_least(18, 9));
        assert!(!version("17.1.0-pre").is_at_least(17, 4));
        assert!(version("main").is_at_least(19, 0));
    }
}
