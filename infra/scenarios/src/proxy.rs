//! A proxy before dynoxide: the door to the table, through which every write passes (`stops`).
//!
//! dynoxide's reads are always strong; DynamoDB's index reads are not. Where a story wants it, this
//! one answers index queries as they were a few queries ago, refuses consistent ones, and now and
//! then a single write, as DynamoDB does while a transaction is on the item.

use crate::{seed::random, stops::Stops};
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use rand::{RngExt as _, rngs::StdRng};
use serde_json::Value;
use std::{
    collections::{HashMap, VecDeque},
    net::Ipv4Addr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::net::TcpListener;

/// How many answers the index is behind.
const BEHIND: usize = 2;
/// One of so many single writes meets a transaction.
const CONFLICTS: u32 = 30;
/// In DynamoDB's words.
const CONFLICT: &str = r#"{"__type":"com.amazonaws.dynamodb.v20120810#TransactionConflictException","message":"Transaction is ongoing for the item"}"#;

#[derive(Clone)]
struct Proxy {
    http: reqwest::Client,
    table: String,
    stops: Stops,
    is_stale: bool,
    random: Arc<Mutex<StdRng>>,
    older: Arc<Mutex<HashMap<String, VecDeque<Bytes>>>>,
}

/// A client for addresses of this machine. It reads no certificates: none will be asked for.
pub(crate) fn loopback_client() -> reqwest::Result<reqwest::Client> {
    let builder = reqwest::Client::builder().timeout(Duration::from_secs(30));
    builder.no_proxy().tls_certs_only([]).build()
}

/// Starts the proxy before the table at `table` and answers its own address.
pub(crate) async fn serve(table: String, stops: Stops, is_stale: bool) -> anyhow::Result<String> {
    let http = loopback_client()?;
    let random = Arc::new(Mutex::new(random("conflicts")));
    let proxy = Proxy { http, table, stops, is_stale, random, older: Arc::default() };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = format!("http://{}", listener.local_addr()?);
    let router = Router::new().fallback(pass_on).with_state(proxy);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}

async fn pass_on(State(proxy): State<Proxy>, headers: HeaderMap, body: Bytes) -> Response {
    let query: Value = serde_json::from_slice(&body).unwrap_or_default();
    let on_index = proxy.is_stale && query.get("IndexName").is_some();
    if on_index && query.get("ConsistentRead") == Some(&Value::Bool(true)) {
        let refusal = r#"{"__type":"com.amazon.coral.validate#ValidationException","message":"Consistent reads are not supported on global secondary indexes"}"#;
        return (StatusCode::BAD_REQUEST, refusal).into_response();
    }
    if let Some(operation) = write(&headers) {
        proxy.stops.before(|| format!("{operation} {}", keys(&query).join(", "))).await;
    }
    if proxy.is_stale
        && is_single(&headers)
        && proxy.random.lock().unwrap().random_ratio(1, CONFLICTS)
    {
        return (StatusCode::BAD_REQUEST, CONFLICT).into_response();
    }
    let mut request = proxy.http.post(&proxy.table).body(body);
    for name in ["x-amz-target", "content-type", "authorization", "x-amz-date"] {
        if let Some(value) = headers.get(name) {
            request = request.header(name, value.clone());
        }
    }
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) => return (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    };
    let status = answer.status();
    let fresh = answer.bytes().await.unwrap_or_default();
    let shown = if on_index && status.is_success() {
        // One line of answers a shard: the time in the query differs each time.
        let shard = query.pointer("/ExpressionAttributeValues/:shard/N").map(Value::to_string);
        let mut older = proxy.older.lock().unwrap();
        let line = older.entry(shard.unwrap_or_default()).or_default();
        line.push_back(fresh.clone());
        if line.len() > BEHIND { line.pop_front().unwrap_or(fresh) } else { empty() }
    } else {
        fresh
    };
    let kind = HeaderValue::from_static("application/x-amz-json-1.0");
    (status, [(header::CONTENT_TYPE, kind)], shown).into_response()
}

/// A write of one item, which DynamoDB refuses while a transaction is on the item.
fn is_single(headers: &HeaderMap) -> bool {
    write(headers).is_some_and(|name| ["PutItem", "UpdateItem", "DeleteItem"].contains(&name))
}

/// The operation, where it writes.
fn write(headers: &HeaderMap) -> Option<&str> {
    let target = headers.get("x-amz-target")?.to_str().ok()?;
    let (_, operation) = target.rsplit_once('.')?;
    let reads = ["GetItem", "BatchGetItem", "Query", "Scan", "DescribeTable", "CreateTable"];
    (!reads.contains(&operation)).then_some(operation)
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

fn empty() -> Bytes {
    Bytes::from_static(br#"{"Items":[],"Count":0,"ScannedCount":0}"#)
}
