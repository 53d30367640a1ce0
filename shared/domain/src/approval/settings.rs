//! The approvals that a stack asks for by itself.

use crate::AccessLevel;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Approvals that a stack asks for before a deploy is applied, besides what GitLab asks for its
/// environment. Those of whoever started the run or merged its change do not count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Approvals {
    /// How many people must approve, from 1 to 10.
    pub required: RequiredApprovals,
    /// Whose approvals count: users and groups of GitLab as `@name` or `@group/subgroup`, and
    /// everybody with at least a role in the project: `reporter`, `developer`, `maintainer` or
    /// `owner`. From 1 to 20, each once.
    pub from: Approvers,
}

/// How many approvals: 1 to 10.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "u32", into = "u32")]
#[schemars(inline, extend("minimum" = 1, "maximum" = 10))]
pub struct RequiredApprovals(u32);

/// Whose approvals count: 1 to 20, each once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Vec<Approver>", into = "Vec<Approver>")]
#[schemars(inline, extend("minItems" = 1, "maxItems" = 20, "uniqueItems" = true))]
pub struct Approvers(Vec<Approver>);

/// Somebody whose approval counts, as a person names them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(
    inline,
    extend("pattern" = "^(reporter|developer|maintainer|owner|@[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*)$")
)]
pub enum Approver {
    /// Everybody with at least this role in the project.
    Role(AccessLevel),
    /// A user or a group by its path, without the `@`. Which of both it is, GitLab knows: they
    /// share their names.
    Named(String),
}

const ROLES: [(&str, AccessLevel); 4] = [
    ("reporter", AccessLevel::REPORTER),
    ("developer", AccessLevel::DEVELOPER),
    ("maintainer", AccessLevel::MAINTAINER),
    ("owner", AccessLevel::OWNER),
];
const MOST_APPROVERS: usize = 20;
const LONGEST_PATH: usize = 255;

impl RequiredApprovals {
    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for RequiredApprovals {
    type Error = &'static str;

    fn try_from(required: u32) -> Result<Self, Self::Error> {
        match required {
            1..=10 => Ok(Self(required)),
            _ => Err("Use a number from 1 to 10"),
        }
    }
}

impl From<RequiredApprovals> for u32 {
    fn from(required: RequiredApprovals) -> Self {
        required.0
    }
}

impl Approvers {
    /// One by one, as they were named.
    pub fn iter(&self) -> std::slice::Iter<'_, Approver> {
        self.0.iter()
    }
}

impl TryFrom<Vec<Approver>> for Approvers {
    type Error = &'static str;

    fn try_from(approvers: Vec<Approver>) -> Result<Self, Self::Error> {
        let is_twice = |at: usize| approvers[..at].contains(&approvers[at]);
        if approvers.is_empty() {
            Err("Name at least one user, group or role")
        } else if approvers.len() > MOST_APPROVERS {
            Err("Name at most 20 users, groups and roles. Use a group for more people")
        } else if (0..approvers.len()).any(is_twice) {
            Err("Name each user, group and role once")
        } else {
            Ok(Self(approvers))
        }
    }
}

impl From<Approvers> for Vec<Approver> {
    fn from(approvers: Approvers) -> Self {
        approvers.0
    }
}

impl TryFrom<String> for Approver {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if let Some(path) = text.strip_prefix('@').filter(|path| is_path(path)) {
            return Ok(Self::Named(path.to_owned()));
        }
        match ROLES.iter().find(|(word, _)| *word == text) {
            Some((_, level)) => Ok(Self::Role(*level)),
            None => {
                Err("Not a valid approver: use @name for a user or group of GitLab, or one of \
                         reporter, developer, maintainer and owner")
            }
        }
    }
}

impl fmt::Display for Approver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role(level) => match ROLES.iter().find(|(_, known)| known == level) {
                Some((word, _)) => f.write_str(word),
                None => level.fmt(f),
            },
            Self::Named(path) => write!(f, "@{path}"),
        }
    }
}

impl From<Approver> for String {
    fn from(approver: Approver) -> Self {
        approver.to_string()
    }
}

/// What GitLab may have as the name of a user, or as the path of a group.
fn is_path(path: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let is_part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') && part.chars().all(fits)
    };
    path.len() <= LONGEST_PATH && path.split('/').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn approvals_are_read_as_they_are_written() {
        let written = json!({
            "required": 2,
            "from": ["@ada", "@acme/ops", "maintainer", "owner"],
        });
        let read: Approvals = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(read.required.get(), 2);
        assert_eq!(read.from.iter().nth(1), Some(&Approver::Named("acme/ops".to_owned())));
        assert_eq!(read.from.iter().nth(2), Some(&Approver::Role(AccessLevel::MAINTAINER)));
        assert_eq!(json!(read), written);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let refused =
            |value: Value| serde_json::from_value::<Approvals>(value).unwrap_err().to_string();
        let from = |names: Value| refused(json!({ "required": 1, "from": names }));
        let required = |number: Value| refused(json!({ "required": number, "from": ["@ada"] }));
        for number in [0, 11] {
            assert_eq!(required(json!(number)), "Use a number from 1 to 10");
        }
        assert_eq!(from(json!([])), "Name at least one user, group or role");
        assert_eq!(from(json!(["@ada", "@ada"])), "Name each user, group and role once");
        let many: Vec<String> = (0..21).map(|number| format!("@user{number}")).collect();
        assert!(from(json!(many)).starts_with("Name at most 20"));
        for wrong in ["ada", "@", "@a//b", "@/a", "@a/..", "@-a", "@a b", "Maintainer", ""] {
            let said = from(json!([wrong]));
            assert!(said.starts_with("Not a valid approver"), "{wrong}: {said}");
        }
        let unknown = refused(json!({ "required": 1, "from": ["@ada"], "form": [] }));
        assert!(unknown.starts_with("unknown field `form`"), "{unknown}");
    }
}
