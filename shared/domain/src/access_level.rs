//! How much a member may do, as GitLab counts it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A role in a project or group, as GitLab's number: more is a greater number.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
#[schemars(inline)]
pub struct AccessLevel(pub u32);

impl AccessLevel {
    /// In a rule: *no one*.
    pub const NO_ONE: Self = Self(0);
    /// The least that GitLab takes for a membership.
    pub const GUEST: Self = Self(10);
    /// May read code, pipelines and deployments.
    pub const REPORTER: Self = Self(20);
    /// May push.
    pub const DEVELOPER: Self = Self(30);
    /// May change most settings.
    pub const MAINTAINER: Self = Self(40);
    /// May do everything.
    pub const OWNER: Self = Self(50);
    /// In a rule: GitLab's administrators, whatever they are in the project.
    pub const ADMIN: Self = Self(60);
}

/// Everybody with at least this role, for a sentence: `Maintainers`.
impl fmt::Display for AccessLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::NO_ONE => "nobody",
            Self::GUEST => "Guests",
            Self::REPORTER => "Reporters",
            Self::DEVELOPER => "Developers",
            Self::MAINTAINER => "Maintainers",
            Self::OWNER => "Owners",
            Self::ADMIN => "GitLab administrators",
            Self(other) => return write!(f, "members with role {other}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_ordered_and_have_names() {
        assert!(AccessLevel::OWNER > AccessLevel::MAINTAINER);
        assert!(Some(AccessLevel::GUEST) > None);
        assert_eq!(AccessLevel::MAINTAINER.to_string(), "Maintainers");
        assert_eq!(AccessLevel(25).to_string(), "members with role 25");
        assert_eq!(serde_json::to_string(&AccessLevel::DEVELOPER).unwrap(), "30");
    }
}
