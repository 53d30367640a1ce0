//! Identifiers. Each is its own type, so that a run's id can never stand where a stack's belongs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{fmt, str::FromStr};

/// A text that is not a valid identifier; the message says which rule it breaks, and does not repeat
/// the text: it may be a secret in the wrong place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {kind}: {rule}")]
pub struct InvalidId {
    kind: &'static str,
    rule: &'static str,
}

impl InvalidId {
    /// The refusal of a `kind`, because of `rule`.
    pub(crate) fn new(kind: &'static str, rule: &'static str) -> Self {
        Self { kind, rule }
    }
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        #[schemars(inline)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_id!(
    /// GitLab's numeric project id: stable when a project is renamed or moved.
    ProjectId
);
number_id!(
    /// A merge request's number within its target project (`!12`).
    MergeRequestIid
);
number_id!(
    /// GitLab's pipeline id.
    PipelineId
);
number_id!(
    /// GitLab's user id.
    UserId
);
number_id!(
    /// GitLab's group id: stable when a group is renamed or moved.
    GroupId
);

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $pattern:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(inline, extend("pattern" = $pattern))]
        pub struct $name(String);

        impl $name {
            /// The text as it was given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(value: &str) -> Result<Self, InvalidId> {
                let check: fn(&str) -> bool = $check;
                if check(value) {
                    Ok(Self(value.to_owned()))
                } else {
                    Err(InvalidId { kind: $kind, rule: $rule })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(value: String) -> Result<Self, InvalidId> {
                value.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0
            }
        }
    };
}

fn is_lower_hex(value: &str) -> bool {
    value.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

pub(crate) fn is_key(value: &str) -> bool {
    !value.is_empty()
        && value.len() <= 64
        && value.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

text_id!(
    /// A full commit id: 40 hexadecimal digits, or 64 in a SHA-256 repository.
    CommitSha,
    "commit id",
    "use all 40 (or 64) lowercase hexadecimal digits",
    "^([0-9a-f]{40}|[0-9a-f]{64})$",
    |v| matches!(v.len(), 40 | 64) && is_lower_hex(v) && v.bytes().any(|b| b != b'0')
);
text_id!(
    /// A stack's immutable id.
    StackId,
    "stack id",
    "use 1 to 64 of a-z, 0-9 and -",
    "^[a-z0-9-]{1,64}$",
    is_key
);
text_id!(
    /// A stack's unique, readable name in addresses, statuses and environments.
    StackSlug,
    "slug",
    "use 1 to 64 of a-z, 0-9 and -, starting and ending with a letter or digit",
    "^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$",
    |v| is_key(v) && !v.starts_with('-') && !v.ends_with('-')
);
text_id!(
    /// A run's id. It is derived from what the run is for, so that a repeated request finds the
    /// run instead of making a second one.
    RunId,
    "run id",
    "use 1 to 64 of a-z, 0-9 and -",
    "^[a-z0-9-]{1,64}$",
    is_key
);
text_id!(
    /// The id of something that happened: a webhook delivery, a comparison, a request by a person.
    EventId,
    "event id",
    "use 1 to 128 of a-z, A-Z, 0-9, '-', '_', '.' and ':'",
    "^[A-Za-z0-9_.:-]{1,128}$",
    |v| !v.is_empty()
        && v.len() <= 128
        && v.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
);

text_id!(
    /// A test's name, unique in its module.
    TestName,
    "test name",
    "use 1 to 64 of a-z, A-Z, 0-9, '_', '.' and '-', starting with a letter or digit",
    "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$",
    |v| v.len() <= 64
        && v.starts_with(|c: char| c.is_ascii_alphanumeric())
        && v.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
);

text_id!(
    /// The unique name of somebody who is notified.
    TargetName,
    "target name",
    "use 1 to 40 of a-z, 0-9 and -, starting and ending with a letter or digit",
    "^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$",
    |v| v.len() <= 40 && is_key(v) && !v.starts_with('-') && !v.ends_with('-')
);

impl CommitSha {
    /// The first eight digits, as GitLab shows them.
    pub fn short(&self) -> &str {
        &self.0[..8]
    }
}

impl StackSlug {
    /// A slug made from a name that a person typed: lower case, everything else a dash.
    pub fn from_name(name: &str) -> Result<Self, InvalidId> {
        let mut slug = String::new();
        for c in name.chars().flat_map(char::to_lowercase) {
            if c.is_ascii_alphanumeric() {
                slug.push(c);
            } else if !slug.ends_with('-') && !slug.is_empty() {
                slug.push('-');
            }
        }
        slug.truncate(64);
        slug.trim_end_matches('-').parse()
    }
}

impl StackId {
    /// Under which a test run keeps a Terraform state of its own: runs' ids are ids of stacks that
    /// nobody makes.
    pub fn of_test(run: &RunId) -> Self {
        Self(run.0.clone())
    }
}

impl RunId {
    /// The id of the run that `key` names in `stack`. Different pairs give different ids.
    pub fn derive(stack: &StackId, key: &str) -> Self {
        Self(short_digest(&[stack.as_str(), key]))
    }
}

impl EventId {
    /// An id made of what the event is about, for events that bring none of their own.
    /// `kind` is a short word that stays readable at the front.
    pub fn derive(kind: &str, parts: &[&str]) -> Self {
        Self(format!("{kind}-{}", short_digest(parts)))
    }

    /// An id from a text that came from outside; what is not one is replaced by its digest.
    pub fn from_untrusted(value: &str) -> Self {
        value.parse().unwrap_or_else(|_| Self::derive("id", &[value]))
    }
}

/// The SHA-256 of some bytes.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// 26 characters (130 bits) of a SHA-256 over the parts, each preceded by its length.
pub fn short_digest(parts: &[&str]) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    let digest = hasher.finalize();
    (0..26)
        .map(|i| {
            let value = (0..5).fold(0u8, |acc, bit| {
                let at = i * 5 + bit;
                (acc << 1) | ((digest[at / 8] >> (7 - at % 8)) & 1)
            });
            ALPHABET[value as usize] as char
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn commit_ids_are_full_and_not_the_zero_id() {
        assert!("0123456789abcdef0123456789abcdef01234567".parse::<CommitSha>().is_ok());
        assert!("0".repeat(40).parse::<CommitSha>().is_err());
        assert!("0123456".parse::<CommitSha>().is_err());
        assert!("a".repeat(64).parse::<CommitSha>().is_ok());
        assert!("A".repeat(40).parse::<CommitSha>().is_err());
    }

    #[test]
    fn slugs_come_from_names() {
        for (name, slug) in
            [("Network: eu-west", "network-eu-west"), ("  A__b ", "a-b"), ("Größe", "gr-e")]
        {
            assert_eq!(StackSlug::from_name(name).unwrap().as_str(), slug);
        }
        assert!(StackSlug::from_name("---").is_err());
    }

    #[test]
    fn parts_of_a_digest_do_not_run_together() {
        assert_ne!(short_digest(&["ab", "c"]), short_digest(&["a", "bc"]));
        insta::assert_snapshot!(short_digest(&["a", "b"]));
    }

    proptest! {
        #[test]
        fn a_slug_is_valid_however_it_was_named(name in "\\PC{0,200}") {
            if let Ok(slug) = StackSlug::from_name(&name) {
                prop_assert!(slug.as_str().parse::<StackSlug>().is_ok());
            }
        }

        #[test]
        fn an_event_id_from_outside_is_always_valid(value in "\\PC{0,200}") {
            prop_assert!(EventId::from_untrusted(&value).as_str().parse::<EventId>().is_ok());
        }
    }
}
