//! Answers and refusals in GitLab's shapes.

use std::fmt;

use serde_json::{Value, json};

use crate::delivery::{Delivery, DeliveryResult};

/// What an API request is answered with.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Body,
    /// A webhook that is sent first, and what to answer by what comes of it.
    pub(crate) send: Option<(Delivery, Reply)>,
    /// What was written, in one line, for [`crate::FakeGitlab::take_writes`].
    pub(crate) wrote: Option<String>,
}

/// Answers by what came of a webhook.
pub(crate) type Reply = fn(&DeliveryResult) -> ApiResult;

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum Body {
    Empty,
    Json(Value),
    Bytes(&'static str, Vec<u8>),
}

impl Answer {
    pub(crate) fn ok(body: Value) -> Self {
        Self::new(200, Body::Json(body))
    }

    pub(crate) fn created(body: Value) -> Self {
        Self::new(201, Body::Json(body))
    }

    pub(crate) fn no_content() -> Self {
        Self::new(204, Body::Empty)
    }

    /// An answer that waits for what comes of a webhook.
    pub(crate) fn after_sending(delivery: Delivery, reply: Reply) -> Self {
        Self { send: Some((delivery, reply)), ..Self::no_content() }
    }

    pub(crate) fn new(status: u16, body: Body) -> Self {
        Self { status, headers: Vec::new(), body, send: None, wrote: None }
    }

    pub(crate) fn header(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub(crate) fn wrote(mut self, line: impl Into<String>) -> Self {
        self.wrote = Some(line.into());
        self
    }
}

/// A request that GitLab refuses, with its status and body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The body: JSON, or plain text for 429.
    pub body: String,
}

impl Refusal {
    /// `{"message": …}`, GitLab's most common shape.
    pub(crate) fn message(status: u16, message: impl Into<Value>) -> Self {
        Self { status, body: json!({ "message": message.into() }).to_string() }
    }

    /// `{"error": …}`, the shape of parameters that are missing or of the wrong type.
    pub(crate) fn error(status: u16, error: impl Into<Value>) -> Self {
        Self { status, body: json!({ "error": error.into() }).to_string() }
    }

    /// A field that fails validation.
    pub(crate) fn field(field: &str, problem: &str) -> Self {
        Self::message(400, json!({ field: [problem] }))
    }

    pub(crate) fn unauthorized() -> Self {
        Self::message(401, "401 Unauthorized")
    }

    pub(crate) fn forbidden() -> Self {
        Self::message(403, "403 Forbidden")
    }

    pub(crate) fn blocked() -> Self {
        Self::message(403, "403 Forbidden - Your account has been blocked.")
    }

    pub(crate) fn not_found(what: &str) -> Self {
        let space = if what.is_empty() { "" } else { " " };
        Self::message(404, format!("404 {what}{space}Not Found"))
    }

    pub(crate) fn missing(parameter: &str) -> Self {
        Self::error(400, format!("{parameter} is missing"))
    }

    pub(crate) fn invalid(parameter: &str) -> Self {
        Self::error(400, format!("{parameter} is invalid"))
    }

    pub(crate) fn bad_value(parameter: &str) -> Self {
        Self::error(400, format!("{parameter} does not have a valid value"))
    }

    pub(crate) fn bad_request(reason: &str) -> Self {
        Self::message(400, format!("400 Bad request - {reason}"))
    }

    /// The application's own limits: plain text, and no RateLimit headers.
    pub(crate) fn retry_later() -> Self {
        Self {
            status: 429,
            body: "This endpoint has been requested too many times. Try again later.".to_owned(),
        }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.body.starts_with('{')
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GitLab answers {}: {}", self.status, self.body)
    }
}

impl std::error::Error for Refusal {}

/// What a handler gives.
pub(crate) type ApiResult = Result<Answer, Refusal>;
