//! Counters: items that several writers raise, without reading them first.

use super::{
    Outcome, Store, StoreError, is_stale,
    item::{Item, Stored, item_key, key_attributes, number, read_item, shard},
    patiently, unavailable,
};
use crate::Key;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use futures::FutureExt as _;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use std::collections::HashMap;

impl Store {
    /// Raises the counter `attribute` of an item by one and sets its due time; makes the item when
    /// it is missing. Answers all numbers of the item *after* the change.
    pub async fn raise(
        &self,
        key: &Key,
        attribute: &str,
        due: Timestamp,
    ) -> Result<HashMap<String, i64>, StoreError> {
        let raise = || async {
            self.client
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
                .boxed()
                .await
        };
        let answer = patiently(raise).await.map_err(unavailable)?;
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
        let update = update.update_expression(expression);
        match patiently(|| update.clone().send().boxed()).await {
            Ok(answer) => Ok((Outcome::Written, numbers(&answer.attributes.unwrap_or_default()))),
            Err(error) if is_stale(&error) => Ok((Outcome::Stale, self.numbers(key).await?)),
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
            .boxed()
            .await
            .map_err(unavailable)?;
        Ok(numbers(&answer.item.unwrap_or_default()))
    }

    /// The same with the item `beside` of the same partition, in one read. Nothing large may be there
    /// but the two.
    pub async fn numbers_and<T: DeserializeOwned>(
        &self,
        key: &Key,
        beside: &Key,
    ) -> Result<(HashMap<String, i64>, Option<Stored<T>>), StoreError> {
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", AttributeValue::S(key.pk.clone()))
            .send()
            .boxed()
            .await
            .map_err(unavailable)?;
        let (mut counted, mut found) = (HashMap::new(), None);
        for item in answer.items.unwrap_or_default() {
            match item_key(&item) {
                Some(at) if at == *key => counted = numbers(&item),
                Some(at) if at == *beside => found = Some(read_item(item)?),
                _ => {}
            }
        }
        Ok((counted, found))
    }

    /// The numbers of up to 100 such items, by their keys; missing ones are left out.
    pub async fn numbers_of(
        &self,
        keys: &[Key],
    ) -> Result<HashMap<Key, HashMap<String, i64>>, StoreError> {
        let items = self.items(keys).await?;
        Ok(items.iter().filter_map(|item| Some((item_key(item)?, numbers(item)))).collect())
    }
}

fn numbers(item: &Item) -> HashMap<String, i64> {
    item.iter()
        .filter_map(|(name, value)| Some((name.clone(), value.as_n().ok()?.parse().ok()?)))
        .collect()
}
