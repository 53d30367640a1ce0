//! DynamoDB as Gantry uses it: versioned JSON items, transactions that state what they expect,
//! consistent queries, one sparse index of items with something due.

mod counters;
mod create;
mod item;

pub use item::{Expect, Key, Outcome, Stored, Write};

use aws_sdk_dynamodb::{
    Client,
    error::{BuildError, DisplayErrorContext, ProvideErrorMetadata, SdkError},
    operation::transact_write_items::TransactWriteItemsError,
    types::{
        AttributeValue, ConditionCheck, Delete, KeysAndAttributes, Put, PutRequest,
        TransactWriteItem, WriteRequest,
    },
};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use item::{
    Item, condition, condition_parts, item_attributes, item_key, key_attributes, number, read_item,
    text,
};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

/// The sparse index of items with something due: shard, then time in milliseconds.
pub const ATTENTION_INDEX: &str = "attention";
/// How many shards the index has, so that no partition of it becomes hot.
pub const ATTENTION_SHARDS: u16 = 16;

/// The table could not answer, or holds something that this code cannot read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// DynamoDB did not do it; trying again later may help.
    #[error("the table did not answer: {0}")]
    Unavailable(String),
    /// There is no such table.
    #[error("the table {0} does not exist (GANTRY_TABLE, in the function's region and account)")]
    NoTable(String),
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

/// A conditional write's end: a condition that did not hold is an outcome, and so is a transaction
/// that is on the same item at this moment.
fn outcome<T, E>(sent: Result<T, SdkError<E>>) -> Result<Outcome, StoreError>
where
    SdkError<E>: std::error::Error,
    E: ProvideErrorMetadata,
{
    match sent {
        Ok(_) => Ok(Outcome::Written),
        Err(error) if is_stale(&error) => Ok(Outcome::Stale),
        Err(error) => Err(unavailable(error)),
    }
}

fn is_stale<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    code == Some("ConditionalCheckFailedException") || is_in_conflict(error)
}

/// DynamoDB refuses a single write while a transaction is on the same item. The SDK does not try
/// it again.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_PutItem.html>
fn is_in_conflict<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    code == Some("TransactionConflictException")
}

/// Sends a single write again while a transaction is on its item.
async fn patiently<T, E, F>(send: impl Fn() -> F) -> Result<T, SdkError<E>>
where
    E: ProvideErrorMetadata,
    F: Future<Output = Result<T, SdkError<E>>>,
{
    for times in 1..CONFLICTS {
        match send().await {
            Err(error) if is_in_conflict(&error) => pause(times).await,
            sent => return sent,
        }
    }
    send().await
}

/// A single write is not given up before it met this many transactions.
const CONFLICTS: u32 = 6;

/// A pause before DynamoDB is asked again for what it left undone, longer each time.
async fn pause(times: u32) {
    let most = FIRST_PAUSE * 2_u32.pow(times.min(5));
    tokio::time::sleep(rand::random_range(most / 2..=most)).await;
}

const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// The most items that one request reads, and how many such requests are made side by side.
const AT_ONCE: usize = 100;
const SIDE_BY_SIDE: usize = 4;

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
    /// Who saw GitLab work, as its record said, and when.
    pub(crate) seen_working: Arc<Mutex<HashMap<String, Timestamp>>>,
}

impl Store {
    /// The table `table`, spoken to with `client`.
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table, seen_working: Arc::default() }
    }

    /// Makes sure that the table is there and may be read, so that a program fails at its start.
    pub async fn is_there(&self) -> Result<(), StoreError> {
        let asked = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key_attributes(&crate::keys::integration())))
            .send()
            .boxed()
            .await;
        match asked {
            Ok(_) => Ok(()),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|error| error.is_resource_not_found_exception()) =>
            {
                Err(StoreError::NoTable(self.table.clone()))
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
            .boxed()
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
        let answer = query.send().boxed().await.map_err(unavailable)?;
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

    /// Reads items, consistently, in no particular order; missing ones are left out. However many
    /// they are: some hundreds of them are read side by side.
    pub async fn get_many<T: DeserializeOwned>(
        &self,
        keys: &[Key],
    ) -> Result<Vec<Stored<T>>, StoreError> {
        let reads: Vec<_> = keys.chunks(AT_ONCE).map(|keys| self.items(keys)).collect();
        let found: Vec<Vec<Item>> =
            futures::stream::iter(reads).buffered(SIDE_BY_SIDE).try_collect().await?;
        found.into_iter().flatten().map(read_item).collect()
    }

    /// The same, as DynamoDB has them.
    async fn items(&self, keys: &[Key]) -> Result<Vec<Item>, StoreError> {
        let wanted = |keys: Vec<Item>| {
            KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true).build()
        };
        let mut open: Vec<Item> = keys.iter().map(key_attributes).collect();
        let mut found = Vec::with_capacity(keys.len());
        for times in 0.. {
            if open.is_empty() {
                break;
            }
            if times > 0 {
                pause(times).await;
            }
            let ask = wanted(open).map_err(|error| StoreError::Unavailable(error.to_string()))?;
            let answer = self
                .client
                .batch_get_item()
                .request_items(&self.table, ask)
                .send()
                .boxed()
                .await
                .map_err(unavailable)?;
            found.extend(
                answer.responses.unwrap_or_default().remove(&self.table).unwrap_or_default(),
            );
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
        match self
            .client
            .transact_write_items()
            .set_transact_items(Some(items))
            .send()
            .boxed()
            .await
        {
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
            for times in 0.. {
                if open.is_empty() {
                    break;
                }
                if times > 0 {
                    pause(times).await;
                }
                let answer = self
                    .client
                    .batch_write_item()
                    .request_items(&self.table, open)
                    .send()
                    .boxed()
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
        let put = || async {
            let (names, values) = condition_parts(expect);
            let put = self.client.put_item().table_name(&self.table);
            put.set_item(Some(item_attributes(write)))
                .set_condition_expression(condition(expect))
                .set_expression_attribute_names(names)
                .set_expression_attribute_values(values)
                .send()
                .boxed()
                .await
        };
        outcome(patiently(put).await)
    }

    async fn delete_one(&self, key: &Key, expect: Expect) -> Result<Outcome, StoreError> {
        let delete = || async {
            let (names, values) = condition_parts(expect);
            let delete = self.client.delete_item().table_name(&self.table);
            delete
                .set_key(Some(key_attributes(key)))
                .set_condition_expression(condition(expect))
                .set_expression_attribute_names(names)
                .set_expression_attribute_values(values)
                .send()
                .boxed()
                .await
        };
        outcome(patiently(delete).await)
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
            .boxed()
            .await
            .map_err(unavailable)?;
        Ok(answer.items.unwrap_or_default().iter().filter_map(item_key).collect())
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
