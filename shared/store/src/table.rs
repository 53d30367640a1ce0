//! DynamoDB as Gantry uses it: versioned JSON items, transactions that state what they expect,
//! consistent queries, one sparse index of items with something due.

use aws_sdk_dynamodb::{
    Client,
    error::{BuildError, DisplayErrorContext, SdkError},
    operation::{
        delete_item::DeleteItemError, put_item::PutItemError,
        transact_write_items::TransactWriteItemsError,
    },
    types::{
        AttributeDefinition, AttributeValue, BillingMode, ConditionCheck, Delete,
        GlobalSecondaryIndex, KeySchemaElement, KeyType, KeysAndAttributes, Projection,
        ProjectionType, Put, PutRequest, ReturnValue, ScalarAttributeType, TransactWriteItem,
        WriteRequest,
    },
};
use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use std::{
    collections::HashMap,
    fmt,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

/// The sparse index of items with something due: shard, then time in milliseconds.
pub const ATTENTION_INDEX: &str = "attention";
/// How many shards the index has, so that no partition of it becomes hot.
pub const ATTENTION_SHARDS: u16 = 16;

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
    /// Rises by one with each write.
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
        /// The new version: one more than the expected one.
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
        let version = if let Expect::Version(read) = expect { read + 1 } else { 1 };
        Ok(Self::Put { key, expect, version, body, due: None, expires: None })
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

/// The table could not answer, or holds something that this code cannot read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// DynamoDB did not do it; trying again later may help.
    #[error("the table did not answer: {0}")]
    Unavailable(String),
    /// An item is not what it should be.
    #[error("the item {key} cannot be read: {problem}")]
    Unreadable {
        /// Which item.
        key: Key,
        /// What is wrong with it.
        problem: String,
    },
}

fn unavailable<E>(error: SdkError<E>) -> StoreError
where
    SdkError<E>: std::error::Error,
{
    StoreError::Unavailable(DisplayErrorContext(&error).to_string())
}

/// A conditional write's end: a condition that did not hold is an outcome.
fn outcome<T, E>(
    sent: Result<T, SdkError<E>>,
    is_stale: impl Fn(&E) -> bool,
) -> Result<Outcome, StoreError>
where
    SdkError<E>: std::error::Error,
{
    match sent {
        Ok(_) => Ok(Outcome::Written),
        Err(error) if error.as_service_error().is_some_and(is_stale) => Ok(Outcome::Stale),
        Err(error) => Err(unavailable(error)),
    }
}

/// Part of a list, with where to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items, in the asked order.
    pub items: Vec<Stored<T>>,
    /// The sort key to go on after; none at the end.
    pub next: Option<String>,
}

/// The table. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    client: Client,
    table: String,
}

type Item = HashMap<String, AttributeValue>;

impl Store {
    /// The table `table`, spoken to with `client`.
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// Makes the table when it is missing, for one machine; on AWS the template does it.
    pub async fn create_table_if_missing(&self) -> Result<(), StoreError> {
        let attribute = |name: &str, kind| {
            AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build()
        };
        let key = |name: &str, kind| {
            KeySchemaElement::builder().attribute_name(name).key_type(kind).build()
        };
        let made = async {
            let index = GlobalSecondaryIndex::builder()
                .index_name(ATTENTION_INDEX)
                .key_schema(key("shard", KeyType::Hash)?)
                .key_schema(key("due", KeyType::Range)?)
                .projection(Projection::builder().projection_type(ProjectionType::KeysOnly).build())
                .build()?;
            Ok::<_, BuildError>(
                self.client
                    .create_table()
                    .table_name(&self.table)
                    .billing_mode(BillingMode::PayPerRequest)
                    .attribute_definitions(attribute("pk", ScalarAttributeType::S)?)
                    .attribute_definitions(attribute("sk", ScalarAttributeType::S)?)
                    .attribute_definitions(attribute("shard", ScalarAttributeType::N)?)
                    .attribute_definitions(attribute("due", ScalarAttributeType::N)?)
                    .key_schema(key("pk", KeyType::Hash)?)
                    .key_schema(key("sk", KeyType::Range)?)
                    .global_secondary_indexes(index)
                    .send()
                    .await,
            )
        };
        match made.await.map_err(|error| StoreError::Unavailable(error.to_string()))? {
            Ok(_) => Ok(()),
            Err(error)
                if error.as_service_error().is_some_and(|e| e.is_resource_in_use_exception()) =>
            {
                Ok(())
            }
            Err(error) => Err(unavailable(error)),
        }
    }

    /// Reads one item, consistently.
    pub async fn get<T: DeserializeOwned>(
        &self,
        key: &Key,
    ) -> Result<Option<Stored<T>>, StoreError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key_attributes(key)))
            .consistent_read(true)
            .send()
            .await
            .map_err(unavailable)?;
        answer.item.map(read_item).transpose()
    }

    /// Reads the items of a partition whose sort key begins with `prefix`, in order, consistently.
    /// `after` is a sort key to go on behind; `newest_first` turns the order around.
    pub async fn query<T: DeserializeOwned>(
        &self,
        pk: &str,
        prefix: &str,
        after: Option<&str>,
        newest_first: bool,
        limit: i32,
    ) -> Result<Page<T>, StoreError> {
        let start = after.map(|sk| key_attributes(&Key::new(pk, sk)));
        let mut query = self
            .client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .scan_index_forward(!newest_first)
            .limit(limit)
            .set_exclusive_start_key(start)
            .expression_attribute_values(":pk", AttributeValue::S(pk.to_owned()));
        query = if prefix.is_empty() {
            query.key_condition_expression("pk = :pk")
        } else {
            query
                .key_condition_expression("pk = :pk AND begins_with(sk, :sk)")
                .expression_attribute_values(":sk", AttributeValue::S(prefix.to_owned()))
        };
        let answer = query.send().await.map_err(unavailable)?;
        let next = answer.last_evaluated_key.as_ref().and_then(|key| text(key, "sk"));
        let items = answer
            .items
            .unwrap_or_default()
            .into_iter()
            .map(read_item)
            .collect::<Result<_, _>>()?;
        Ok(Page { items, next })
    }

    /// Every item of a partition whose sort key begins with `prefix`, page by page, consistently.
    pub async fn query_all<T: DeserializeOwned>(
        &self,
        pk: &str,
        prefix: &str,
    ) -> Result<Vec<Stored<T>>, StoreError> {
        let mut all = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.query(pk, prefix, after.as_deref(), false, 1000).await?;
            all.extend(page.items);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(all),
            }
        }
    }

    /// Reads up to 100 items, consistently, in no particular order; missing ones are left out.
    pub async fn get_many<T: DeserializeOwned>(
        &self,
        keys: &[Key],
    ) -> Result<Vec<Stored<T>>, StoreError> {
        let wanted = |keys: Vec<Item>| {
            KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true).build()
        };
        let mut open: Vec<Item> = keys.iter().map(key_attributes).collect();
        let mut found = Vec::with_capacity(keys.len());
        while !open.is_empty() {
            let ask = wanted(open).map_err(|error| StoreError::Unavailable(error.to_string()))?;
            let answer = self
                .client
                .batch_get_item()
                .request_items(&self.table, ask)
                .send()
                .await
                .map_err(unavailable)?;
            for item in answer.responses.unwrap_or_default().remove(&self.table).unwrap_or_default()
            {
                found.push(read_item(item)?);
            }
            open = answer
                .unprocessed_keys
                .unwrap_or_default()
                .remove(&self.table)
                .map(|left| left.keys)
                .unwrap_or_default();
        }
        Ok(found)
    }

    /// Writes all of `writes` or nothing.
    pub async fn write(&self, writes: Vec<Write>) -> Result<Outcome, StoreError> {
        // One write needs no transaction, which costs twice as much.
        match writes.as_slice() {
            [single @ Write::Put { expect, .. }] => return self.put_one(single, *expect).await,
            [Write::Delete { key, expect }] => return self.delete_one(key, *expect).await,
            _ => {}
        }
        let items = writes
            .into_iter()
            .map(|write| self.transact_item(write))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        match self.client.transact_write_items().set_transact_items(Some(items)).send().await {
            Ok(_) => Ok(Outcome::Written),
            Err(error) if was_stale(&error) => Ok(Outcome::Stale),
            Err(error) => Err(unavailable(error)),
        }
    }

    /// Writes items one by one, whatever was there, in batches; a retry writes the same again.
    pub async fn put_all(&self, writes: &[Write]) -> Result<(), StoreError> {
        let unavailable_build = |error: BuildError| StoreError::Unavailable(error.to_string());
        for chunk in writes.chunks(25) {
            let mut open = Vec::with_capacity(chunk.len());
            for write in chunk {
                let put = PutRequest::builder()
                    .set_item(Some(item_attributes(write)))
                    .build()
                    .map_err(unavailable_build)?;
                open.push(WriteRequest::builder().put_request(put).build());
            }
            while !open.is_empty() {
                let answer = self
                    .client
                    .batch_write_item()
                    .request_items(&self.table, open)
                    .send()
                    .await
                    .map_err(unavailable)?;
                open = answer
                    .unprocessed_items
                    .unwrap_or_default()
                    .remove(&self.table)
                    .unwrap_or_default();
            }
        }
        Ok(())
    }

    async fn put_one(&self, write: &Write, expect: Expect) -> Result<Outcome, StoreError> {
        let (names, values) = condition_parts(expect);
        let sent = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item_attributes(write)))
            .set_condition_expression(condition(expect))
            .set_expression_attribute_names(names)
            .set_expression_attribute_values(values)
            .send()
            .await;
        outcome(sent, PutItemError::is_conditional_check_failed_exception)
    }

    async fn delete_one(&self, key: &Key, expect: Expect) -> Result<Outcome, StoreError> {
        let (names, values) = condition_parts(expect);
        let sent = self
            .client
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(key_attributes(key)))
            .set_condition_expression(condition(expect))
            .set_expression_attribute_names(names)
            .set_expression_attribute_values(values)
            .send()
            .await;
        outcome(sent, DeleteItemError::is_conditional_check_failed_exception)
    }

    fn transact_item(&self, write: Write) -> Result<TransactWriteItem, BuildError> {
        let item = TransactWriteItem::builder();
        Ok(match &write {
            Write::Put { expect, .. } => {
                let (names, values) = condition_parts(*expect);
                item.put(
                    Put::builder()
                        .table_name(&self.table)
                        .set_item(Some(item_attributes(&write)))
                        .set_condition_expression(condition(*expect))
                        .set_expression_attribute_names(names)
                        .set_expression_attribute_values(values)
                        .build()?,
                )
            }
            Write::Delete { key, expect } => {
                let (names, values) = condition_parts(*expect);
                item.delete(
                    Delete::builder()
                        .table_name(&self.table)
                        .set_key(Some(key_attributes(key)))
                        .set_condition_expression(condition(*expect))
                        .set_expression_attribute_names(names)
                        .set_expression_attribute_values(values)
                        .build()?,
                )
            }
            Write::Check { key, expect } => {
                let (names, values) = condition_parts(*expect);
                item.condition_check(
                    ConditionCheck::builder()
                        .table_name(&self.table)
                        .set_key(Some(key_attributes(key)))
                        .set_condition_expression(condition(*expect))
                        .set_expression_attribute_names(names)
                        .set_expression_attribute_values(values)
                        .build()?,
                )
            }
        }
        .build())
    }

    /// Raises the counter `attribute` of an item by one and sets its due time; makes the item when
    /// it is missing. Answers all numbers of the item *after* the change.
    pub async fn raise(
        &self,
        key: &Key,
        attribute: &str,
        due: Timestamp,
    ) -> Result<HashMap<String, i64>, StoreError> {
        let answer = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key_attributes(key)))
            .update_expression("ADD #a :one SET #shard = :shard, #due = :due")
            .expression_attribute_names("#a", attribute)
            .expression_attribute_names("#shard", "shard")
            .expression_attribute_names("#due", "due")
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":shard", number(shard(key).into()))
            .expression_attribute_values(":due", number(due.as_millisecond()))
            .return_values(ReturnValue::AllNew)
            .send()
            .await
            .map_err(unavailable)?;
        Ok(numbers(&answer.attributes.unwrap_or_default()))
    }

    /// Sets numbers of an item and its due time (none removes it), on condition that the counter
    /// `unless_raised` is still what it was read as. Answers the item's numbers, after the change
    /// or as they stand when the condition did not hold.
    pub async fn set_numbers(
        &self,
        key: &Key,
        set: &[(&str, i64)],
        due: Option<Timestamp>,
        unless_raised: Option<(&str, i64)>,
    ) -> Result<(Outcome, HashMap<String, i64>), StoreError> {
        let mut update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key_attributes(key)))
            .expression_attribute_names("#shard", "shard")
            .expression_attribute_names("#due", "due")
            .return_values(ReturnValue::AllNew);
        let mut assignments = Vec::new();
        for (i, (name, value)) in set.iter().enumerate() {
            assignments.push(format!("#n{i} = :n{i}"));
            update = update
                .expression_attribute_names(format!("#n{i}"), *name)
                .expression_attribute_values(format!(":n{i}"), number(*value));
        }
        let mut expression = String::new();
        if let Some(due) = due {
            assignments.push("#shard = :shard, #due = :due".to_owned());
            update = update
                .expression_attribute_values(":shard", number(shard(key).into()))
                .expression_attribute_values(":due", number(due.as_millisecond()));
        } else {
            expression.push_str("REMOVE #shard, #due ");
        }
        if !assignments.is_empty() {
            expression.push_str(&format!("SET {}", assignments.join(", ")));
        }
        if let Some((name, value)) = unless_raised {
            update = update
                .condition_expression("#c = :c")
                .expression_attribute_names("#c", name)
                .expression_attribute_values(":c", number(value));
        }
        match update.update_expression(expression).send().await {
            Ok(answer) => Ok((Outcome::Written, numbers(&answer.attributes.unwrap_or_default()))),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|e| e.is_conditional_check_failed_exception()) =>
            {
                Ok((Outcome::Stale, self.numbers(key).await?))
            }
            Err(error) => Err(unavailable(error)),
        }
    }

    /// The numbers of an item that [`Store::raise`] made; empty when it is missing.
    pub async fn numbers(&self, key: &Key) -> Result<HashMap<String, i64>, StoreError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key_attributes(key)))
            .consistent_read(true)
            .send()
            .await
            .map_err(unavailable)?;
        Ok(numbers(&answer.item.unwrap_or_default()))
    }

    /// Keys that might be due by `now`, at most `limit` of a shard. The index may be behind:
    /// whoever is told of a key reads the item itself before deciding anything.
    pub async fn maybe_due(
        &self,
        index_shard: u16,
        now: Timestamp,
        limit: i32,
    ) -> Result<Vec<Key>, StoreError> {
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(ATTENTION_INDEX)
            .key_condition_expression("#shard = :shard AND #due <= :now")
            .expression_attribute_names("#shard", "shard")
            .expression_attribute_names("#due", "due")
            .expression_attribute_values(":shard", number(index_shard.into()))
            .expression_attribute_values(":now", number(now.as_millisecond()))
            .limit(limit)
            .send()
            .await
            .map_err(unavailable)?;
        Ok(answer.items.unwrap_or_default().iter().filter_map(item_key).collect())
    }
}

fn shard(key: &Key) -> u16 {
    let mut hasher = DefaultHasher::new();
    key.pk.hash(&mut hasher);
    key.sk.hash(&mut hasher);
    u16::try_from(hasher.finish() % u64::from(ATTENTION_SHARDS)).unwrap_or(0)
}

fn number(value: i64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

fn key_attributes(key: &Key) -> Item {
    HashMap::from([
        ("pk".to_owned(), AttributeValue::S(key.pk.clone())),
        ("sk".to_owned(), AttributeValue::S(key.sk.clone())),
    ])
}

fn item_attributes(write: &Write) -> Item {
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

fn condition(expect: Expect) -> Option<String> {
    match expect {
        Expect::Absent => Some("attribute_not_exists(#c)".to_owned()),
        Expect::Present => Some("attribute_exists(#c)".to_owned()),
        Expect::Version(_) => Some("#c = :c".to_owned()),
        Expect::Any => None,
    }
}

type ConditionParts = (Option<HashMap<String, String>>, Option<Item>);

fn condition_parts(expect: Expect) -> ConditionParts {
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

/// True when at least one condition did not hold, or another transaction was on the same items,
/// and nothing else was wrong.
fn was_stale(error: &SdkError<TransactWriteItemsError>) -> bool {
    match error.as_service_error() {
        Some(TransactWriteItemsError::TransactionCanceledException(canceled)) => canceled
            .cancellation_reasons()
            .iter()
            .filter_map(|reason| reason.code())
            .filter(|code| *code != "None")
            .all(|code| matches!(code, "ConditionalCheckFailed" | "TransactionConflict")),
        _ => false,
    }
}

fn text(item: &Item, name: &str) -> Option<String> {
    item.get(name).and_then(|value| value.as_s().ok()).cloned()
}

fn item_key(item: &Item) -> Option<Key> {
    Some(Key { pk: text(item, "pk")?, sk: text(item, "sk")? })
}

fn numbers(item: &Item) -> HashMap<String, i64> {
    item.iter()
        .filter_map(|(name, value)| Some((name.clone(), value.as_n().ok()?.parse().ok()?)))
        .collect()
}

fn read_item<T: DeserializeOwned>(item: Item) -> Result<Stored<T>, StoreError> {
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
