//! Which GitLab this pretends to be, and what that version can do.

use std::fmt;
use std::str::FromStr;

/// A GitLab version such as `18.1.1-ee`, parsed as leniently as clients have to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerVersion {
    text: String,
    number: (u32, u32),
}

impl ServerVersion {
    /// The newest version whose behaviour is modelled.
    #[must_use]
    pub fn newest() -> Self {
        Self { text: "19.1.0-ee".to_owned(), number: (19, 1) }
    }

    /// Whether this is at least version `major.minor`.
    #[must_use]
    pub fn at_least(&self, major: u32, minor: u32) -> bool {
        self.number >= (major, minor)
    }

    /// Whether this is the Enterprise Edition.
    #[must_use]
    pub fn is_enterprise(&self) -> bool {
        self.text.contains("-ee")
    }

    /// Signing tokens of hooks and the `webhook-*` headers.
    pub(crate) fn signs_webhooks(&self) -> bool {
        self.at_least(19, 0)
    }
}

impl Default for ServerVersion {
    fn default() -> Self {
        Self::newest()
    }
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for ServerVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split(|c: char| !c.is_ascii_digit());
        let mut number = || parts.next().and_then(|part| part.parse().ok());
        match (number(), number()) {
            (Some(major), Some(minor)) => {
                Ok(Self { text: text.to_owned(), number: (major, minor) })
            }
            _ => Err(format!("{text:?} is not a GitLab version such as \"18.1.1-ee\"")),
        }
    }
}
