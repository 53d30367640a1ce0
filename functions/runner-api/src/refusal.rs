//! How the runner API refuses: a status that says what to do next, and a text for people.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use gantry_domain::protocol::LockInfo;
use gantry_objects::ObjectError;
use gantry_queue::SendError;
use gantry_secrets::SecretError;
use gantry_store::StoreError;
use std::error::Error;

/// A request that was not done.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Trying again changes nothing.
    Text(StatusCode, String),
    /// Somebody else holds the state's lock.
    Locked(Box<LockInfo>),
    /// Trouble here or behind us: try again. The log has the cause.
    Trouble,
}

impl Refusal {
    /// A refusal in words.
    pub(crate) fn text(status: StatusCode, text: impl Into<String>) -> Self {
        Self::Text(status, text.into())
    }

    /// The token was good, and is no longer: the runner stops.
    pub(crate) fn gone(text: &str) -> Self {
        Self::text(StatusCode::GONE, text)
    }

    /// This run may not do that.
    pub(crate) fn forbidden(text: &str) -> Self {
        Self::text(StatusCode::FORBIDDEN, text)
    }

    /// Something failed that trying again may mend.
    pub(crate) fn trouble(error: &dyn Error) -> Self {
        let mut chain = error.to_string();
        let mut next = error.source();
        while let Some(cause) = next {
            chain.push_str(": ");
            chain.push_str(&cause.to_string());
            next = cause.source();
        }
        tracing::error!(error = chain, "a runner's request failed");
        Self::Trouble
    }

    /// Others changed the same records again and again.
    pub(crate) fn busy() -> Self {
        tracing::warn!("the records changed on every attempt; the runner will try again");
        Self::Trouble
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Text(status, text) => (status, text).into_response(),
            Self::Locked(info) => (StatusCode::LOCKED, axum::Json(info)).into_response(),
            Self::Trouble => {
                let wait = [(header::RETRY_AFTER, HeaderValue::from_static("1"))];
                let text = "Something went wrong. The log says why; it is safe to try again.";
                (StatusCode::SERVICE_UNAVAILABLE, wait, text).into_response()
            }
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::trouble(&error)
    }
}

impl From<ObjectError> for Refusal {
    fn from(error: ObjectError) -> Self {
        Self::trouble(&error)
    }
}

impl From<SendError> for Refusal {
    fn from(error: SendError) -> Self {
        Self::trouble(&error)
    }
}

impl From<SecretError> for Refusal {
    fn from(error: SecretError) -> Self {
        Self::trouble(&error)
    }
}
