//! An item: where it lies, what a write expects of it, and its form in DynamoDB.

use super::{ATTENTION_SHARDS, StoreError};
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{
    collections::HashMap,
    fmt,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

/// First versions are below this: numbers that every reader of JSON keeps exactly, with room to
/// rise.
const LARGEST_FIRST: u64 = 1 << 48;

/// An item's key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The partition key: its first word says who may write it.
    pub pk: String,
    /// The sort key.
    pub sk: String,
}

impl Key {
    /// A key from its parts.
    pub fn new(pk: impl Into<String>, sk: impl Into<String>) -> Self {
        Self { pk: pk.into(), sk: sk.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pk, self.sk)
    }
}

/// An item as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored<T> {
    /// Where it lies.
    pub key: Key,
    /// Rises by one with each write that is based on a read, and is never the same again for
    /// something else at this key.
    pub version: u64,
    /// The content.
    pub value: T,
}

impl<T> Stored<T> {
    /// What a write that is based on this read expects.
    pub fn unchanged(&self) -> Expect {
        Expect::Version(self.version)
    }
}

impl Stored<Value> {
    /// The same as what its key says that it is, where one read brings items of several kinds.
    pub fn parsed<T: DeserializeOwned>(self) -> Result<Stored<T>, StoreError> {
        let Self { key, version, value } = self;
        match serde_json::from_value(value) {
            Ok(value) => Ok(Stored { key, version, value }),
            Err(error) => Err(StoreError::Unreadable { key, problem: error.to_string() }),
        }
    }
}

/// What a write expects to find. A write that finds something else changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// No such item.
    Absent,
    /// The item at exactly this version.
    Version(u64),
    /// The item at any version.
    Present,
    /// Whatever is there, or nothing.
    Any,
}

/// How a conditional write ended. "Somebody was first" is an outcome, not an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// Everything was written.
    Written,
    /// Something was not as expected; nothing was written. Read again.
    Stale,
}

/// One part of a transaction.
#[derive(Debug, Clone)]
pub enum Write {
    /// Writes an item.
    Put {
        /// Where.
        key: Key,
        /// What is expected there.
        expect: Expect,
        /// The new version: one more than the expected one, or one that was never there.
        version: u64,
        /// The content as JSON.
        body: String,
        /// When the item needs attention, if it does.
        due: Option<Timestamp>,
        /// When DynamoDB may remove the item, if ever.
        expires: Option<Timestamp>,
    },
    /// Removes an item.
    Delete {
        /// Where.
        key: Key,
        /// What is expected there.
        expect: Expect,
    },
    /// Only checks.
    Check {
        /// Where.
        key: Key,
        /// What is expected there.
        expect: Expect,
    },
}

impl Write {
    /// Writes `value`, based on what `expect` says was read.
    pub fn put<T: Serialize>(key: Key, expect: Expect, value: &T) -> Result<Self, StoreError> {
        let body = serde_json::to_string(value).map_err(|error| StoreError::Unreadable {
            key: key.clone(),
            problem: error.to_string(),
        })?;
        let version = match expect {
            Expect::Version(read) => read + 1,
            // What was removed and is made again is not what somebody read before.
            Expect::Absent | Expect::Present | Expect::Any => rand::random_range(1..LARGEST_FIRST),
        };
        Ok(Self::Put { key, expect, version, body, due: None, expires: None })
    }

    /// The same write of an item whose key is never used again: its versions, which people read,
    /// begin at 1.
    #[must_use]
    pub fn first(mut self) -> Self {
        if let Self::Put { version, .. } = &mut self {
            *version = 1;
        }
        self
    }

    /// The version that the item has after it; none where no item is written.
    pub fn version(&self) -> Option<u64> {
        match self {
            Self::Put { version, .. } => Some(*version),
            Self::Delete { .. } | Self::Check { .. } => None,
        }
    }

    /// The same write with a time at which the item needs attention.
    #[must_use]
    pub fn due(mut self, at: Option<Timestamp>) -> Self {
        if let Self::Put { due, .. } = &mut self {
            *due = at;
        }
        self
    }

    /// The same write with a time after which the item may disappear.
    #[must_use]
    pub fn expires(mut self, at: Timestamp) -> Self {
        if let Self::Put { expires, .. } = &mut self {
            *expires = Some(at);
        }
        self
    }
}

pub(super) type Item = HashMap<String, AttributeValue>;

pub(super) fn shard(key: &Key) -> u16 {
    let mut hasher = DefaultHasher::new();
    key.pk.hash(&mut hasher);
    key.sk.hash(&mut hasher);
    u16::try_from(hasher.finish() % u64::from(ATTENTION_SHARDS)).unwrap_or(0)
}

pub(super) fn number(value: i64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(super) fn key_attributes(key: &Key) -> Item {
    HashMap::from([
        ("pk".to_owned(), AttributeValue::S(key.pk.clone())),
        ("sk".to_owned(), AttributeValue::S(key.sk.clone())),
    ])
}

pub(super) fn item_attributes(write: &Write) -> Item {
    let Write::Put { key, version, body, due, expires, .. } = write else {
        return Item::new();
    };
    let mut item = key_attributes(key);
    item.insert("v".to_owned(), AttributeValue::N(version.to_string()));
    item.insert("body".to_owned(), AttributeValue::S(body.clone()));
    if let Some(due) = due {
        item.insert("shard".to_owned(), number(shard(key).into()));
        item.insert("due".to_owned(), number(due.as_millisecond()));
    }
    if let Some(expires) = expires {
        item.insert("ttl".to_owned(), number(expires.as_second()));
    }
    item
}

pub(super) fn condition(expect: Expect) -> Option<String> {
    match expect {
        Expect::Absent => Some("attribute_not_exists(#c)".to_owned()),
        Expect::Present => Some("attribute_exists(#c)".to_owned()),
        Expect::Version(_) => Some("#c = :c".to_owned()),
        Expect::Any => None,
    }
}

pub(super) type ConditionParts = (Option<HashMap<String, String>>, Option<Item>);

pub(super) fn condition_parts(expect: Expect) -> ConditionParts {
    let name = |name: &str| Some(HashMap::from([("#c".to_owned(), name.to_owned())]));
    match expect {
        Expect::Absent | Expect::Present => (name("pk"), None),
        Expect::Version(version) => (
            name("v"),
            Some(HashMap::from([(":c".to_owned(), AttributeValue::N(version.to_string()))])),
        ),
        Expect::Any => (None, None),
    }
}

pub(super) fn text(item: &Item, name: &str) -> Option<String> {
    item.get(name).and_then(|value| value.as_s().ok()).cloned()
}

pub(super) fn item_key(item: &Item) -> Option<Key> {
    Some(Key { pk: text(item, "pk")?, sk: text(item, "sk")? })
}

pub(super) fn read_item<T: DeserializeOwned>(item: Item) -> Result<Stored<T>, StoreError> {
    let key = item_key(&item).unwrap_or_else(|| Key::new("?", "?"));
    let unreadable = |problem: String| StoreError::Unreadable { key: key.clone(), problem };
    let version = item
        .get("v")
        .and_then(|value| value.as_n().ok())
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| unreadable("it has no version".to_owned()))?;
    let body = text(&item, "body").ok_or_else(|| unreadable("it has no body".to_owned()))?;
    let value = serde_json::from_str(&body).map_err(|error| unreadable(error.to_string()))?;
    Ok(Stored { key, version, value })
}
