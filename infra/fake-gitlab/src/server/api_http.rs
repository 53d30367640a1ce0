//! The REST API over HTTP: tokens, parameters, limits and headers.

use std::sync::Arc;

use bytes::Bytes;
use hyper::Response;
use jiff::Timestamp;

use super::http::{Handled, Read, plain};
use super::{Shared, send};
use crate::api::access::Auth;
use crate::api::answer::{Answer, ApiResult, Body, Refusal};
use crate::api::params::{Params, decode};
use crate::api::{Call, Outcome, dispatch};
use crate::delivery::DeliveryResult;
use crate::model::State;
use crate::observe::Write;

pub(super) async fn handle(shared: &Arc<Shared>, read: Read) -> Handled {
    let Some(path) = read.path.strip_prefix("/api/v4/") else {
        return unknown(None);
    };
    let done = shared.with(|state| answer(state, &shared.base_url, &read, path));
    let (result, user) = match done {
        Done::Answered(response, user) => return Handled::new(response, user),
        Done::Unknown(user) => return unknown(user),
        Done::Send(delivery, user) => {
            let result = send::deliver(shared, delivery, true).await;
            (sent(path, &result), user)
        }
    };
    shared.with(|state| {
        remember(state, &read, path, user.as_deref(), &result);
        Handled::new(respond(state, &user, result), user.clone())
    })
}

enum Done {
    Answered(Response<Bytes>, Option<String>),
    Send(crate::delivery::Delivery, Option<String>),
    Unknown(Option<String>),
}

fn answer(state: &mut State, base_url: &str, read: &Read, path: &str) -> Done {
    let bearer = read.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let token = read.header("private-token").or(bearer).map(str::to_owned);
    let auth = match state.authenticate(token.as_deref()) {
        Ok(auth) => auth,
        Err(refusal) => return Done::Answered(respond(state, &None, Err(refusal)), None),
    };
    let user = auth.user.map(|user| state.user(user).username.clone());
    let limit = state.config.limits.requests_per_minute;
    if state.take(limit_key(&user), limit).is_err() {
        return Done::Answered(too_many(state, &user), user);
    }
    let call = match call(base_url, read, path, auth) {
        Ok(call) => call,
        Err(refusal) => return Done::Answered(respond(state, &user, Err(refusal)), user),
    };
    match dispatch(state, &call) {
        Outcome::Answer(result) => {
            remember(state, read, path, user.as_deref(), &result);
            Done::Answered(respond(state, &user, result), user)
        }
        Outcome::Send(delivery) => Done::Send(delivery, user),
        Outcome::Unknown => Done::Unknown(user),
    }
}

fn call(base_url: &str, read: &Read, path: &str, auth: Auth) -> Result<Call, Refusal> {
    let mut params = Params::default();
    params.add_form(&read.query);
    let kind = read.header("content-type").unwrap_or_default();
    if !read.body.is_empty() {
        if kind.starts_with("application/json") {
            params.add_json(&read.body)?;
        } else if kind.starts_with("application/x-www-form-urlencoded") {
            params.add_form(&String::from_utf8_lossy(&read.body));
        } else {
            return Err(Refusal::error(415, "The provided content-type is not supported."));
        }
    }
    let method = if read.method == "HEAD" { "GET" } else { &read.method };
    Ok(Call {
        method: method.to_owned(),
        path: path.trim_end_matches('/').split('/').map(decode).collect(),
        url: format!("{base_url}{}", read.path),
        query: read.query.clone(),
        params,
        auth,
    })
}

/// Keeps what a bot wrote.
fn remember(state: &mut State, read: &Read, path: &str, user: Option<&str>, result: &ApiResult) {
    let bot = user.and_then(|user| state.user_named(user)).is_some_and(|user| user.bot);
    let reads = matches!(read.method.as_str(), "GET" | "HEAD");
    if let (true, false, Ok(answer)) = (bot, reads, result) {
        let path = format!("/{path}");
        let line = answer.wrote.clone().unwrap_or_else(|| format!("{} {path}", read.method));
        let body = match &answer.body {
            Body::Json(body) => body.clone(),
            _ => serde_json::Value::Null,
        };
        state.observed.wrote(Write { line, method: read.method.clone(), path, answer: body });
    }
}

fn limit_key(user: &Option<String>) -> String {
    format!("api {}", user.as_deref().unwrap_or("nobody"))
}

fn limit_headers(state: &State, user: &Option<String>) -> Vec<(String, String)> {
    let Some(limit) = state.config.limits.requests_per_minute else { return Vec::new() };
    let observed = state.taken(&limit_key(user)) as u64;
    let reset = state.now().as_second() + 60;
    [
        ("RateLimit-Limit", limit.to_string()),
        ("RateLimit-Name", "throttle_authenticated_api".to_owned()),
        ("RateLimit-Observed", observed.to_string()),
        ("RateLimit-Remaining", u64::from(limit).saturating_sub(observed).to_string()),
        ("RateLimit-Reset", reset.to_string()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

fn too_many(state: &State, user: &Option<String>) -> Response<Bytes> {
    let mut headers = limit_headers(state, user);
    headers.push(("Retry-After".to_owned(), "60".to_owned()));
    let reset = Timestamp::from_second(state.now().as_second() + 60).unwrap_or_default();
    let reset = reset.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    headers.push(("RateLimit-ResetTime".to_owned(), reset));
    plain(429, "Retry later\n", &headers)
}

fn respond(state: &mut State, user: &Option<String>, result: ApiResult) -> Response<Bytes> {
    let mut headers = limit_headers(state, user);
    headers.push(("x-request-id".to_owned(), crate::delivery::uuid()));
    let (status, kind, body) = match result {
        Ok(Answer { status, headers: own, body, .. }) => {
            headers.extend(own);
            match body {
                Body::Empty => (status, "", Bytes::new()),
                Body::Json(value) => (status, "application/json", Bytes::from(value.to_string())),
                Body::Bytes(kind, bytes) => (status, kind, Bytes::from(bytes)),
            }
        }
        Err(refusal) => {
            if refusal.status == 429 {
                // The application's own limits come without the headers of the throttle.
                headers.retain(|(name, _)| !name.starts_with("RateLimit"));
            }
            if refusal.status == 301
                && let Ok(body) = serde_json::from_str::<serde_json::Value>(&refusal.body)
                && let Some(location) = body["location"].as_str()
            {
                headers.push(("location".to_owned(), location.to_owned()));
            }
            let kind = if refusal.is_json() { "application/json" } else { "text/plain" };
            (refusal.status, kind, Bytes::from(refusal.body))
        }
    };
    let mut builder = Response::builder().status(status);
    if !kind.is_empty() {
        builder = builder.header("content-type", kind);
    }
    for (name, value) in headers {
        builder = builder.header(name, value);
    }
    builder.body(body).unwrap_or_default()
}

/// The answer of a hook test or resend.
fn sent(path: &str, result: &DeliveryResult) -> ApiResult {
    if path.ends_with("/resend") {
        let status = result
            .status
            .map_or_else(|| serde_json::json!("internal error"), |code| serde_json::json!(code));
        let body = serde_json::json!({ "response_status": status });
        return Ok(Answer::created(body).wrote("resent a hook"));
    }
    if result.is_success() {
        let body = serde_json::json!({ "message": "201 Created" });
        return Ok(Answer::created(body).wrote("tested a hook"));
    }
    let why = match (result.status, &result.error) {
        (Some(code), _) => format!("Hook executed successfully but returned HTTP {code}"),
        (None, error) => format!("Hook execution failed: {}", error.clone().unwrap_or_default()),
    };
    Err(Refusal::message(422, why))
}

fn unknown(user: Option<String>) -> Handled {
    let mut handled = Handled::new(plain(404, r#"{"error":"404 Not Found"}"#, &[]), user);
    handled.unknown = true;
    handled
}
