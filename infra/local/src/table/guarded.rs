//! The part of DynamoDB's protocol that Gantry speaks, for who knows the key.
//!
//! dynoxide's own server lets everybody in, and cannot be told otherwise.

use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use dynoxide::{Database, DynoxideError};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// DynamoDB's own limit.
const LARGEST_REQUEST: usize = 16 << 20;
const TARGET: &str = "DynamoDB_20120810.";

#[derive(Clone)]
struct Guarded {
    database: Database,
    /// Of the key: comparing digests tells nobody how much of a guess is right.
    digest: Arc<[u8]>,
}

/// Answers requests whose credential has the access key id `key`.
pub(super) fn router(database: Database, key: String) -> Router {
    let guarded = Guarded { database, digest: digest(&key) };
    Router::new()
        .route("/", post(answer))
        .layer(DefaultBodyLimit::max(LARGEST_REQUEST))
        .with_state(guarded)
}

fn digest(key: &str) -> Arc<[u8]> {
    Arc::from(Sha256::digest(key.as_bytes()).as_slice())
}

/// `AWS4-HMAC-SHA256 Credential=<key>/<date>/…`
fn key_of(headers: &HeaderMap) -> Option<&str> {
    let authorization = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (_, credential) = authorization.split_once("Credential=")?;
    credential.split('/').next()
}

async fn answer(State(guarded): State<Guarded>, headers: HeaderMap, body: String) -> Response {
    if key_of(&headers).is_none_or(|key| digest(key) != guarded.digest) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    let operation = target.and_then(|target| target.strip_prefix(TARGET)).unwrap_or_default();
    let (status, body) = match call(&guarded.database, operation, &body) {
        Ok(body) => (StatusCode::OK, body),
        Err(error) => {
            let status = StatusCode::from_u16(error.status_code());
            (status.unwrap_or(StatusCode::BAD_REQUEST), error.to_json())
        }
    };
    (status, [(header::CONTENT_TYPE, "application/x-amz-json-1.0")], body).into_response()
}

fn call(database: &Database, operation: &str, body: &str) -> dynoxide::Result<String> {
    macro_rules! call {
        ($($name:literal => $method:ident,)+) => {
            match operation {
                $($name => write(&database.$method(read(body)?)?),)+
                _ => Err(DynoxideError::ValidationException(format!(
                    "{operation:?} is nothing that Gantry calls"
                ))),
            }
        };
    }
    call! {
        "BatchGetItem" => batch_get_item,
        "BatchWriteItem" => batch_write_item,
        "CreateTable" => create_table,
        "DeleteItem" => delete_item,
        "DescribeTable" => describe_table,
        "GetItem" => get_item,
        "PutItem" => put_item,
        "Query" => query,
        "Scan" => scan,
        "TransactWriteItems" => transact_write_items,
        "UpdateItem" => update_item,
        "UpdateTimeToLive" => update_time_to_live,
    }
}

fn read<T: serde::de::DeserializeOwned>(body: &str) -> dynoxide::Result<T> {
    serde_json::from_str(body).map_err(|e| DynoxideError::SerializationException(e.to_string()))
}

fn write<T: serde::Serialize>(answer: &T) -> dynoxide::Result<String> {
    serde_json::to_string(answer).map_err(|e| DynoxideError::InternalServerError(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{body::Body, http::Request};
    use tower::ServiceExt as _;

    #[tokio::test]
    async fn only_who_knows_the_key_is_answered() {
        let router = router(Database::memory().unwrap(), "right".to_owned());
        for (credential, expected) in [
            (None, StatusCode::FORBIDDEN),
            (Some(""), StatusCode::FORBIDDEN),
            (Some("AWS4-HMAC-SHA256 Credential=local/x, Signature=0"), StatusCode::FORBIDDEN),
            (Some("AWS4-HMAC-SHA256 Credential=righ/x"), StatusCode::FORBIDDEN),
            (Some("AWS4-HMAC-SHA256 Credential=/x"), StatusCode::FORBIDDEN),
            // It is let in, and has named no table that there is.
            (Some("AWS4-HMAC-SHA256 Credential=right/20260101/x"), StatusCode::BAD_REQUEST),
        ] {
            for target in ["Scan", "PutItem", "DescribeTable", "Nonsense"] {
                let mut request =
                    Request::post("/").header("x-amz-target", format!("{TARGET}{target}"));
                if let Some(credential) = credential {
                    request = request.header(header::AUTHORIZATION, credential);
                }
                let request = request.body(Body::from("{\"TableName\":\"gantry\"}")).unwrap();
                let status = router.clone().oneshot(request).await.unwrap().status();
                assert_eq!(status, expected, "{credential:?} {target}");
            }
        }
    }
}
