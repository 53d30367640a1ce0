//! How requests end: done, in words, or refused: [`Problem`], and what each kind of trouble becomes.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use gantry_domain::StackSlug;
use gantry_objects::ObjectError;
use gantry_queue::transport::SendError;
use gantry_secrets::{SealError, SecretError};
use gantry_setup::web::Problem;
use gantry_store::StoreError;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// How a request ended, in words; handlers that change something put it into their answer.
#[derive(Debug, Clone)]
pub(crate) struct Done {
    words: String,
    made: Option<StackSlug>,
}

impl Done {
    pub(crate) fn new(outcome: impl Into<String>) -> Self {
        Self { words: outcome.into(), made: None }
    }

    /// The same, with the stack or module that was made.
    #[must_use]
    pub(crate) fn making(self, slug: &StackSlug) -> Self {
        Self { made: Some(slug.clone()), ..self }
    }

    /// What it says.
    pub(crate) fn words(&self) -> &str {
        &self.words
    }

    /// The stack or module that was made.
    pub(crate) fn made(&self) -> Option<&StackSlug> {
        self.made.as_ref()
    }
}

/// A [`Problem`], with members of its own where an answer helps the caller to go on by hand.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// Boxed, so that an answer stays small.
    problem: Box<Problem>,
    more: Map<String, Value>,
    retry_after: Option<u64>,
    /// The detail holds something from the request.
    quotes: bool,
}

/// What a handler answers.
pub(crate) type Answer<T> = Result<T, Refusal>;

impl Refusal {
    pub(crate) fn new(status: StatusCode, title: &str, detail: impl Into<String>) -> Self {
        Problem::new(status, title, detail).into()
    }

    /// 409: what was asked for does not fit what is there.
    pub(crate) fn conflict(title: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, title, detail)
    }

    /// 404. What was asked for is not repeated: it may be a secret in the wrong place.
    pub(crate) fn not_found(what: &str) -> Self {
        let detail = format!("There is no such {what}.");
        Self::new(StatusCode::NOT_FOUND, "Not found", detail)
    }

    /// 503: others are being served. In so many seconds it may go.
    pub(crate) fn busy(title: &str, detail: impl Into<String>, retry_after: u64) -> Self {
        let refusal = Self::new(StatusCode::SERVICE_UNAVAILABLE, title, detail);
        Self { retry_after: Some(retry_after), ..refusal }
    }

    /// 422: everything that is wrong with the request's fields, at once.
    pub(crate) fn fields(errors: BTreeMap<String, String>) -> Self {
        Self::invalid("Nothing was changed. ", errors)
    }

    /// 422 for one field.
    pub(crate) fn field(name: &str, problem: impl Into<String>) -> Self {
        Self::fields(BTreeMap::from([(name.to_owned(), problem.into())]))
    }

    /// 422 for parameters of what only reads.
    pub(crate) fn parameters(errors: BTreeMap<String, String>) -> Self {
        Self::invalid("", errors)
    }

    /// 422 for one parameter of what only reads.
    pub(crate) fn parameter(name: &str, problem: impl Into<String>) -> Self {
        Self::parameters(BTreeMap::from([(name.to_owned(), problem.into())]))
    }

    fn invalid(consequence: &str, errors: BTreeMap<String, String>) -> Self {
        let names: Vec<_> = errors.keys().map(String::as_str).collect();
        let detail = format!("{consequence}Check: {}.", names.join(", "));
        let mut problem =
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "Some fields are invalid", detail);
        problem.errors = errors;
        problem.into()
    }

    /// The same with a member of its own.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: Value) -> Self {
        self.more.insert(name.to_owned(), value);
        self
    }

    /// The same, whose detail holds something from the request: only who asked is told it.
    #[must_use]
    pub(crate) fn quoting(mut self) -> Self {
        self.quotes = true;
        self
    }

    /// What is wrong with single fields.
    pub(crate) fn errors(&self) -> &BTreeMap<String, String> {
        &self.problem.errors
    }

    /// What happened, in words.
    pub(crate) fn words(&self) -> String {
        format!("{}. {}", self.problem.title, self.problem.detail)
    }

    /// What is written to the list of activities. Holds nothing from the request, not even the
    /// names of its fields: a field that is none of ours may be anything.
    pub(crate) fn outcome(&self) -> String {
        match self.problem.errors.is_empty() && !self.quotes {
            true => format!("refused: {}", self.words()),
            false => format!("refused: {}. Nothing was changed.", self.problem.title),
        }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self { problem: Box::new(problem), more: Map::new(), retry_after: None, quotes: false }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Problem::internal(&error).into()
    }
}

impl From<SecretError> for Refusal {
    fn from(error: SecretError) -> Self {
        Problem::internal(&error).into()
    }
}

impl From<SealError> for Refusal {
    fn from(error: SealError) -> Self {
        Problem::internal(&error).into()
    }
}

impl From<ObjectError> for Refusal {
    fn from(error: ObjectError) -> Self {
        Problem::internal(&error).into()
    }
}

impl From<SendError> for Refusal {
    fn from(error: SendError) -> Self {
        Problem::internal(&error).into()
    }
}

/// GitLab did not do what a request of ours needed. Its own words are shown: they hold no secret.
impl From<gantry_gitlab::Error> for Refusal {
    fn from(error: gantry_gitlab::Error) -> Self {
        use gantry_gitlab::Error as E;
        let (status, title) = match &error {
            E::TokenRejected { .. } | E::ScopeMissing { .. } => {
                (StatusCode::CONFLICT, "GitLab rejects the token")
            }
            E::Forbidden { .. } => (StatusCode::CONFLICT, "GitLab does not allow this"),
            E::NotFound { .. } => (StatusCode::CONFLICT, "Not found in GitLab"),
            E::RateLimited { .. }
            | E::Unavailable { .. }
            | E::NoArchive { .. }
            | E::Conflict { .. } => (StatusCode::SERVICE_UNAVAILABLE, "GitLab is not available"),
            E::Refused { .. } => (StatusCode::BAD_GATEWAY, "GitLab's answer is unusable"),
        };
        let mut refusal = Self::new(status, title, error.to_string());
        refusal.retry_after = error.retry_after().map(|wait| wait.as_secs());
        refusal
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let outcome = Done::new(self.outcome());
        // A page shows it in its own way.
        let problem = (*self.problem).clone();
        let mut response = if self.more.is_empty() {
            self.problem.into_response()
        } else {
            let mut body = serde_json::to_value(&self.problem).unwrap_or_default();
            if let Some(members) = body.as_object_mut() {
                members.extend(self.more);
            }
            let content_type = HeaderValue::from_static("application/problem+json");
            (self.problem.status, [(header::CONTENT_TYPE, content_type)], body.to_string())
                .into_response()
        };
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if response.status() == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response.extensions_mut().insert(outcome);
        response.extensions_mut().insert(problem);
        response
    }
}
