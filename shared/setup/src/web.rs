//! What every HTTP API of Gantry has in common: how it refuses, and who is asking.

use crate::deadline;
use axum::{
    extract::{ConnectInfo, FromRequestParts, Request},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use std::{collections::BTreeMap, convert::Infallible, net::SocketAddr, time::Duration};
use tokio::time::Instant;

/// How long an answer may take. API Gateway waits for 30 s, and the functions live for 29.
const ANSWER: Duration = Duration::from_secs(28);

/// Middleware: calls that a request makes know how long they may take ([`crate::deadline`]).
pub async fn in_time(request: Request, next: Next) -> Response {
    deadline::until(Instant::now() + ANSWER, next.run(request)).await
}

/// A refusal as `application/problem+json` (RFC 9457): what happened, why, what to do next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The HTTP status.
    #[serde(serialize_with = "as_number")]
    pub status: StatusCode,
    /// What happened, in a few words; the same for every occurrence.
    pub title: String,
    /// What happened this time, why, and what to do next.
    pub detail: String,
    /// What is wrong with single fields of the request, by name.
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

    /// Something failed that the caller cannot mend. The cause is logged, not told.
    pub fn internal(error: &dyn std::error::Error) -> Self {
        let mut chain = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            chain.push_str(": ");
            chain.push_str(&error.to_string());
            cause = error.source();
        }
        tracing::error!(error = chain, "a request failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Something went wrong here",
            "The request was not completed. The log says why; trying again is safe.",
        )
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let content_type = HeaderValue::from_static("application/problem+json");
        (self.status, [(header::CONTENT_TYPE, content_type)], body).into_response()
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

/// The bearer token of a request.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty()).then(|| token.trim())
}
