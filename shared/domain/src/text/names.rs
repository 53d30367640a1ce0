//! How Gantry's statuses and environments are called in GitLab.

use crate::StackSlug;
use serde::{Deserialize, Serialize};

/// The first part of every status name and environment name (`gantry`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix(String);

/// Why a text cannot be a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "Not a valid status prefix: use 1 to 100 of A-Z, a-z, 0-9, '_', '.', '-' and '/', without '/' \
     at the start or end"
)]
pub struct InvalidPrefix;

impl Default for Prefix {
    fn default() -> Self {
        Self("gantry".to_owned())
    }
}

impl TryFrom<String> for Prefix {
    type Error = InvalidPrefix;

    fn try_from(value: String) -> Result<Self, InvalidPrefix> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_/.-".contains(&b);
        let fits = (1..=100).contains(&value.len()) && value.bytes().all(allowed);
        if fits && !value.starts_with('/') && !value.ends_with('/') {
            Ok(Self(value))
        } else {
            Err(InvalidPrefix)
        }
    }
}

impl From<Prefix> for String {
    fn from(value: Prefix) -> String {
        value.0
    }
}

impl Prefix {
    /// The gate's status name.
    pub fn gate(&self) -> &str {
        &self.0
    }

    /// The status name of a run: `gantry/<slug>`, `gantry/<module>/<test>`.
    pub fn status(&self, name: &str) -> String {
        format!("{}/{name}", self.0)
    }

    /// A stack's environment: `gantry/<slug>`.
    pub fn environment(&self, slug: &StackSlug) -> String {
        format!("{}/{slug}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_the_prefix() {
        let prefix = Prefix::default();
        assert_eq!(prefix.gate(), "gantry");
        assert_eq!(prefix.status("network"), "gantry/network");
        for wrong in ["", "/a", "a/", "a b", "a:b"] {
            assert!(Prefix::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }
}
