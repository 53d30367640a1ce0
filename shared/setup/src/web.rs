//! What every HTTP API of Gantry has in common: how it refuses, and who is asking.

use crate::deadline;
use axum::{
    Extension,
    extract::{ConnectInfo, FromRequestParts, Query, Request},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header, request::Parts},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::MethodRouter,
    serve::{ListenerExt as _, TapIo},
};
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    net::SocketAddr,
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::Instant,
};

/// How long an answer may take. API Gateway waits for 30 s, and the functions live for 29.
const ANSWER: Duration = Duration::from_secs(28);

/// What SQLite says of a full disk, and the system. By the time an error is here it is only text:
/// of the table, the objects, the queues or the secrets, which only on one machine lie on a disk.
/// What GitLab says never comes here.
const FULL: [&str; 3] =
    ["database or disk is full", "No space left on device", "Disk quota exceeded"];

/// A listener whose answers leave at once. As it is, the kernel keeps what follows the head of an
/// answer until whoever asked has acknowledged that, which Linux puts off for 40 ms.
pub fn at_once(listener: TcpListener) -> TapIo<TcpListener, fn(&mut TcpStream)> {
    listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!("answers may come late: {error}");
        }
    })
}

/// Middleware: calls that a request makes know how long they may take ([`crate::deadline`]).
pub async fn in_time(request: Request, next: Next) -> Response {
    deadline::until(Instant::now() + ANSWER, next.run(request)).await
}

/// A refusal as `application/problem+json` (RFC 9457): what happened, why, what to do next. A kind of
/// refusal may have members of its own, such as `webhook`: what is needed to do it by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(extend("additionalProperties" = true))]
pub struct Problem {
    /// The HTTP status.
    #[serde(serialize_with = "as_number")]
    #[schemars(with = "u16")]
    pub status: StatusCode,
    /// What happened, in a few words; the same for every occurrence.
    pub title: String,
    /// What happened this time, why, and what to do next.
    pub detail: String,
    /// What is wrong with single fields of the request, by name: `variables[2].name`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub errors: BTreeMap<String, String>,
}

fn as_number<S: serde::Serializer>(status: &StatusCode, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u16(status.as_u16())
}

impl Problem {
    /// A refusal.
    pub fn new(status: StatusCode, title: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { status, title: title.into(), detail: detail.into(), errors: BTreeMap::new() }
    }

    /// The same refusal with what is wrong with one field.
    #[must_use]
    pub fn field(mut self, name: impl Into<String>, problem: impl Into<String>) -> Self {
        self.errors.insert(name.into(), problem.into());
        self
    }

    /// Something failed that the caller cannot mend. The cause is logged, and not told but for a
    /// full disk.
    pub fn internal(error: &dyn std::error::Error) -> Self {
        let mut chain = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            chain.push_str(": ");
            chain.push_str(&error.to_string());
            cause = error.source();
        }
        tracing::error!(error = chain, "a request failed");
        if FULL.iter().any(|words| chain.contains(words)) {
            return Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "The disk is full",
                "The disk of the data folder is full: free some space, then try again.",
            );
        }
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Something went wrong",
            "The request was not completed. The log says why; it is safe to try again.",
        )
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let content_type = HeaderValue::from_static("application/problem+json");
        let answer = (self.status, [(header::CONTENT_TYPE, content_type)], body);
        // A page shows it in its own way.
        (Extension(self), answer).into_response()
    }
}

/// Where a request comes from, as far as the server that took it says: the address of the
/// client's connection, never what a header claims.
#[derive(Debug, Clone)]
pub struct ClientAddress(pub String);

impl<S: Send + Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let said = parts.extensions.get::<Self>().cloned();
        let connected = || parts.extensions.get::<ConnectInfo<SocketAddr>>();
        Ok(said
            .or_else(|| connected().map(|from| Self(from.0.ip().to_string())))
            .unwrap_or_else(|| Self("unknown".to_owned())))
    }
}

/// The parameters behind an address's `?`. What is wrong with one is said by its name.
pub struct Params<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let read = Query::<T>::try_from_uri(&parts.uri);
        read.map(|Query(params)| Self(params)).map_err(|_| wrong_params::<T>(&parts.uri))
    }
}

/// Routes that take these parameters, each at most once, and no others.
pub fn taking<S>(routes: MethodRouter<S>, names: &'static [&'static str]) -> MethodRouter<S>
where
    S: Clone + Send + Sync + 'static,
{
    routes.route_layer(from_fn(async move |request: Request, next: Next| {
        match check_names(request.uri(), names) {
            Ok(()) => next.run(request).await,
            Err(problem) => problem.into_response(),
        }
    }))
}

/// What `taking` asks, for a route that draws its own refusals.
///
/// # Errors
/// A parameter that is not among `takes`, or given more than once: each by its name.
pub fn check_names(uri: &Uri, takes: &[&str]) -> Result<(), Problem> {
    let mut errors = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for (name, _) in pairs(uri) {
        if !takes.contains(&name.as_str()) {
            let problem = match takes {
                [] => "unknown parameter; none are allowed here".to_owned(),
                takes => format!("unknown parameter; allowed: {}", takes.join(", ")),
            };
            errors.insert(name, problem);
        } else if !seen.insert(name.clone()) {
            errors.insert(name, "given more than once".to_owned());
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(of_params(errors)) }
}

fn pairs(uri: &Uri) -> Vec<(String, String)> {
    let read = Query::<Vec<(String, String)>>::try_from_uri(uri);
    read.map(|Query(pairs)| pairs).unwrap_or_default()
}

/// Each parameter is read alone: those that cannot be are the wrong ones.
fn wrong_params<T: DeserializeOwned>(uri: &Uri) -> Problem {
    let mut errors = BTreeMap::new();
    for part in uri.query().unwrap_or_default().split('&') {
        let Ok(alone) = format!("/?{part}").parse::<Uri>() else { continue };
        let (Err(error), Some((name, _))) =
            (Query::<T>::try_from_uri(&alone), pairs(&alone).into_iter().next())
        else {
            continue;
        };
        // The words begin with what was sent, which may be a secret.
        let words = error.body_text();
        let problem = match words.rsplit_once(", expected ") {
            Some((_, expected)) => format!("must be {}", expected.replace('`', "")),
            None if words.contains("integer") || words.contains("digit") => {
                "must be a positive integer".to_owned()
            }
            None if words.contains("number too") => "out of range".to_owned(),
            None if words.contains("`true`") => "must be true or false".to_owned(),
            None => "not a valid value; see /api/v1/openapi.json".to_owned(),
        };
        errors.insert(name, problem);
    }
    of_params(errors)
}

fn of_params(errors: BTreeMap<String, String>) -> Problem {
    let names: Vec<_> = errors.keys().map(String::as_str).collect();
    let detail = match names.join(", ") {
        none if none.is_empty() => "The query string cannot be read.".to_owned(),
        names => format!("Nothing was done. Check these query parameters: {names}."),
    };
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    Problem { errors, ..Problem::new(status, "Invalid query parameters", detail) }
}

/// How many items a page of a list has: what was asked for, or what is usual.
///
/// # Errors
/// When it is not 1 to 100.
pub fn page_size(asked: Option<u32>, usual: i32) -> Result<i32, Problem> {
    match asked {
        None => Ok(usual),
        Some(asked @ 1..=100) => Ok(i32::try_from(asked).unwrap_or(usual)),
        Some(_) => {
            let problem = "must be from 1 to 100".to_owned();
            Err(of_params(BTreeMap::from([("limit".to_owned(), problem)])))
        }
    }
}

/// The bearer token of a request.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty()).then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "read to see whether it can be")]
    struct List {
        after: Option<String>,
        limit: Option<u32>,
        keep: Option<Keep>,
        #[serde(default)]
        force: bool,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Keep {
        Keep,
        Abandon,
    }

    #[test]
    fn a_full_disk_is_said_and_nothing_else_of_what_failed() {
        let of = |error: std::io::Error| Problem::internal(&error).detail;
        let full = "The disk of the data folder is full: free some space, then try again.";
        // ENOSPC.
        assert_eq!(of(std::io::Error::from_raw_os_error(28)), full);
        let table = "the table did not answer: unhandled error: database or disk is full";
        assert_eq!(of(std::io::Error::other(table)), full);
        let other = of(std::io::Error::other("a secret"));
        assert_eq!(
            other,
            "The request was not completed. The log says why; it is safe to try again."
        );
    }

    #[track_caller]
    fn check(query: &str, expected: &[&str]) {
        let uri: Uri = format!("/x?{query}").parse().unwrap();
        let names = check_names(&uri, &["after", "limit", "keep", "force"]);
        let wrong = names.err().or_else(|| {
            Query::<List>::try_from_uri(&uri).err().map(|_| wrong_params::<List>(&uri))
        });
        let errors = wrong.map(|problem| problem.errors).unwrap_or_default();
        let lines = errors.iter().map(|(name, problem)| format!("{name} {problem}"));
        assert_eq!(lines.collect::<Vec<_>>(), expected, "{query}");
    }

    #[test]
    fn what_is_wrong_with_parameters_is_said_by_name() {
        check("", &[]);
        check("after=a&limit=7&keep=keep&force=true", &[]);
        check("after", &[]);
        let there_are = "unknown parameter; allowed: after, limit, keep, force";
        let (before, nonsense) = (format!("before {there_are}"), format!("nonsense {there_are}"));
        check("before=a&nonsense=&limit=7", &[&before, &nonsense]);
        check("limit=1&limit=2", &["limit given more than once"]);
        let number = "limit must be a positive integer";
        check("limit=hush", &[number]);
        check("limit=", &[number]);
        check("%6Cimit=hush", &[number]);
        check("limit=99999999999", &["limit out of range"]);
        check(
            "limit=-1&keep=hush&force=hush",
            &["force must be true or false", "keep must be keep or abandon", number],
        );
        let none = check_names(&"/x?a=1".parse().unwrap(), &[]).unwrap_err();
        assert_eq!(none.errors["a"], "unknown parameter; none are allowed here");
        assert_eq!((page_size(None, 25), page_size(Some(100), 25)), (Ok(25), Ok(100)));
        assert!(page_size(Some(0), 25).is_err() && page_size(Some(101), 25).is_err());
    }
}
