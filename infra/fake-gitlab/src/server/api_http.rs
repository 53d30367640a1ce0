//! The REST API over HTTP: tokens, parameters and headers.

use std::sync::Arc;

use bytes::Bytes;
use hyper::Response;

use super::http::{Handled, Read, plain};
use super::{Shared, send};
use crate::api::answer::{Answer, ApiResult, Body, Refusal};
use crate::api::params::{Params, decode};
use crate::api::{Call, dispatch};
use crate::model::{State, Token};
use crate::observe::Write;

pub(super) async fn handle(shared: &Arc<Shared>, read: &Read) -> Handled {
    let (result, user) = shared.with(|state| answer(state, read));
    let Some(result) = result else { return unknown(user) };
    let result = match result {
        Ok(Answer { send: Some((delivery, reply)), .. }) => {
            reply(&send::deliver(shared, delivery, true).await)
        }
        result => result,
    };
    Handled::new(respond(result), user)
}

/// What a request is answered with, if anything has its address, and who asked.
fn answer(state: &mut State, read: &Read) -> (Option<ApiResult>, Option<String>) {
    let Some(path) = read.path.strip_prefix("/api/v4/") else { return (None, None) };
    let bearer = read.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let token = match read.header("private-token") {
        Some(token) => state.authenticate(Some(token)),
        None => state.authenticate_bearer(bearer),
    };
    let token = match token {
        Ok(token) => token,
        Err(refusal) => return (Some(Err(refusal)), None),
    };
    let user = token.as_ref().map(|token| state.user(token.user).clone());
    let is_bot = user.as_ref().is_some_and(|user| user.bot);
    let username = user.map(|user| user.username);
    let result = match call(&state.base_url, read, path, token) {
        Ok(call) => dispatch(state, &call),
        Err(refusal) => Some(Err(refusal)),
    };
    if let (true, Some(result)) = (is_bot, &result) {
        remember(state, read, path, result);
    }
    (result, username)
}

fn call(base_url: &str, read: &Read, path: &str, token: Option<Token>) -> Result<Call, Refusal> {
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
    Ok(Call {
        method: read.method.replace("HEAD", "GET"),
        path: path.trim_end_matches('/').split('/').map(decode).collect(),
        url: format!("{base_url}{}", read.path),
        query: read.query.clone(),
        params,
        token,
    })
}

/// Keeps what a bot wrote.
fn remember(state: &mut State, read: &Read, path: &str, result: &ApiResult) {
    if let Ok(Answer { body, wrote: Some(line), .. }) = result {
        let answer = match body {
            Body::Json(body) => body.clone(),
            _ => serde_json::Value::Null,
        };
        let (line, method, path) = (line.clone(), read.method.clone(), format!("/{path}"));
        state.observed.wrote(Write { line, method, path, answer });
    }
}

fn respond(result: ApiResult) -> Response<Bytes> {
    let mut headers = vec![("x-request-id".to_owned(), crate::delivery::uuid())];
    let (status, kind, body) = match result {
        Ok(answer) => {
            headers.extend(answer.headers);
            match answer.body {
                Body::Empty => (answer.status, "", Bytes::new()),
                Body::Json(value) => (answer.status, "application/json", value.to_string().into()),
                Body::Bytes(kind, bytes) => (answer.status, kind, bytes.into()),
            }
        }
        Err(refusal) => {
            if refusal.status == 301
                && let Ok(body) = serde_json::from_str::<serde_json::Value>(&refusal.body)
                && let Some(location) = body["location"].as_str()
            {
                headers.push(("location".to_owned(), location.to_owned()));
            }
            let kind = if refusal.is_json() { "application/json" } else { "text/plain" };
            (refusal.status, kind, refusal.body.into())
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

fn unknown(user: Option<String>) -> Handled {
    let mut handled = Handled::new(plain(404, r#"{"error":"404 Not Found"}"#, &[]), user);
    handled.unknown = true;
    handled
}
