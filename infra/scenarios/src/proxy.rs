//! A proxy before dynoxide: the door to the table, through which every write passes (`stops`).
//!
//! dynoxide's reads are always strong; DynamoDB's index reads are not. Where a story wants it, this
//! one answers index queries as they were a few queries ago, refuses consistent ones, and now and
//! then a write, as DynamoDB does while a transaction is on one of its items.

use crate::{seed::random, stops::Stops};
use aws_smithy_runtime_api::{
    client::{
        http::{HttpConnector, HttpConnectorFuture},
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
    },
    http::StatusCode,
};
use gantry_local_table::{LocalTable, operation};
use rand::{RngExt as _, rngs::StdRng};
use serde_json::{Value, json};
use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex},
};

/// How many answers the index is behind.
const BEHIND: usize = 2;
/// One of so many writes meets a transaction.
const CONFLICTS: u32 = 30;
/// In DynamoDB's words.
const CONFLICT: &str = r#"{"__type":"com.amazonaws.dynamodb.v20120810#TransactionConflictException","message":"Transaction is ongoing for the item"}"#;

/// Between the SDK and the table.
#[derive(Clone)]
pub(crate) struct Proxy {
    table: LocalTable,
    stops: Stops,
    is_stale: bool,
    random: Arc<Mutex<StdRng>>,
    older: Arc<Mutex<HashMap<String, VecDeque<Vec<u8>>>>>,
}

impl Proxy {
    /// Before this table. With `is_stale` its index is behind, and its writes meet others.
    pub(crate) fn new(table: LocalTable, stops: Stops, is_stale: bool) -> Self {
        let random = Arc::new(Mutex::new(random("conflicts")));
        Self { table, stops, is_stale, random, older: Arc::default() }
    }

    async fn pass_on(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let body = request.body().bytes().unwrap_or_default();
        let query: Value = serde_json::from_slice(body).unwrap_or_default();
        let on_index = self.is_stale && query.get("IndexName").is_some();
        if on_index && query.get("ConsistentRead") == Some(&Value::Bool(true)) {
            let refusal = r#"{"__type":"com.amazon.coral.validate#ValidationException","message":"Consistent reads are not supported on global secondary indexes"}"#;
            return with_status(400, refusal);
        }
        let operation = operation(&request);
        if !READS.contains(&operation) {
            self.stops.before(|| format!("{operation} {}", keys(&query).join(", "))).await;
            let meets = self.is_stale && self.random.lock().unwrap().random_ratio(1, CONFLICTS);
            if let Some(conflict) = conflict(operation, &query).filter(|_| meets) {
                return with_status(400, conflict);
            }
        }
        let answer = self.table.answer(&request)?;
        if !on_index || !answer.status().is_success() {
            return Ok(answer);
        }
        // One line of answers a shard: the time in the query differs each time.
        let shard = query.pointer("/ExpressionAttributeValues/:shard/N").map(Value::to_string);
        let mut older = self.older.lock().unwrap();
        let line = older.entry(shard.unwrap_or_default()).or_default();
        line.push_back(answer.body().bytes().unwrap_or_default().to_vec());
        let behind = if line.len() > BEHIND { line.pop_front() } else { None };
        with_status(200, behind.unwrap_or_else(|| NOTHING.to_vec()))
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").finish_non_exhaustive()
    }
}

impl HttpConnector for Proxy {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let proxy = self.clone();
        HttpConnectorFuture::new(async move { proxy.pass_on(request).await })
    }
}

fn with_status(status: u16, body: impl Into<Vec<u8>>) -> Result<HttpResponse, ConnectorError> {
    let status = StatusCode::try_from(status);
    let status = status.map_err(|error| ConnectorError::other(error.into(), None))?;
    Ok(HttpResponse::new(status, body.into().into()))
}

/// The operations that write nothing.
const READS: [&str; 6] =
    ["GetItem", "BatchGetItem", "Query", "Scan", "DescribeTable", "CreateTable"];
/// What an index answers that has nothing yet.
const NOTHING: &[u8] = br#"{"Items":[],"Count":0,"ScannedCount":0}"#;

/// How DynamoDB refuses a write while another transaction is on its item, or on one of its items.
fn conflict(operation: &str, request: &Value) -> Option<String> {
    if ["PutItem", "UpdateItem", "DeleteItem"].contains(&operation) {
        return Some(CONFLICT.to_owned());
    }
    let items = request.get("TransactItems")?.as_array()?.len();
    let mut reasons = vec![json!({ "Code": "None" }); items];
    *reasons.last_mut()? = json!({
        "Code": "TransactionConflict",
        "Message": "Transaction is ongoing for the item",
    });
    let refusal = json!({
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "Message": "Transaction cancelled, please refer cancellation reasons for specific reasons",
        "CancellationReasons": reasons,
    });
    Some(refusal.to_string())
}

/// The partitions and items that a request names.
fn keys(request: &Value) -> Vec<String> {
    match request {
        Value::Object(fields) => {
            let key = |name: &str| fields.get(name)?.get("S")?.as_str();
            match (key("pk"), key("sk")) {
                (Some(partition), Some(item)) => vec![format!("{partition} {item}")],
                _ => fields.values().flat_map(keys).collect(),
            }
        }
        Value::Array(parts) => parts.iter().flat_map(keys).collect(),
        _ => Vec::new(),
    }
}
