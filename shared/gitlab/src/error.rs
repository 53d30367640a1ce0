//! What can go wrong with a call to GitLab, named for what the caller does next.

use crate::api::StatusState;
use gantry_domain::integration::Outage;
use http::StatusCode;
use serde_json::Value;
use std::time::Duration;

/// How long a message of GitLab's may be, in characters.
const LONGEST_MESSAGE: usize = 600;

/// The next try after a 429 that does not say when: GitLab counts by the minute.
const UNSAID_WAIT: Duration = Duration::from_secs(60);

/// A call to GitLab that did not bring what was asked for. No message holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// 401: the token is wrong, expired or revoked. Stop writing until a person replaces it.
    #[error("GitLab rejected the token: {message}")]
    TokenRejected {
        /// GitLab's words.
        message: String,
    },
    /// 403: the token works but lacks a scope. A person must make one with scope `api`.
    #[error("the token lacks a required scope: {message}")]
    ScopeMissing {
        /// GitLab's words.
        message: String,
    },
    /// 403: the bot user may not do this. A person must give it the role.
    #[error("GitLab does not allow this: {message}")]
    Forbidden {
        /// GitLab's words.
        message: String,
    },
    /// 404: not there, or not visible to the token.
    #[error("GitLab did not find it: {message}")]
    NotFound {
        /// GitLab's words.
        message: String,
    },
    /// 429, or the last answer said that the next call would be one: come back later.
    #[error("GitLab's rate limit was reached; next attempt in {} s", retry_after.as_secs())]
    RateLimited {
        /// How long to wait.
        retry_after: Duration,
    },
    /// 409: somebody else holds GitLab's lock. Try again soon.
    #[error("GitLab is busy with the same object: {message}")]
    Conflict {
        /// GitLab's words.
        message: String,
    },
    /// 400, 422 and the like: this request will never be taken as it is.
    #[error("GitLab refused the request ({status}): {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// GitLab's words.
        message: String,
    },
    /// What came in place of an archive is none: a proxy's page, nothing, another service's JSON.
    /// Wait, but not for ever: something may let through everything but archives.
    #[error("{host} answered {came} instead of an archive; it may be in trouble, or a proxy is")]
    NoArchive {
        /// The server.
        host: String,
        /// What came, for people.
        came: String,
    },
    /// GitLab cannot be reached, cannot answer now, or something else answered in its place (a
    /// page, a redirect, nothing, another service's JSON). Wait, lose nothing.
    #[error("{message}")]
    Unavailable {
        /// A sentence that says which part failed.
        message: String,
        /// How long to wait, when the server says so.
        retry_after: Option<Duration>,
    },
}

impl Error {
    /// True for trouble that ends by itself or by a person's hand: wait, lose nothing.
    pub fn is_trouble(&self) -> bool {
        matches!(
            self,
            Self::RateLimited { .. }
                | Self::Unavailable { .. }
                | Self::NoArchive { .. }
                | Self::TokenRejected { .. }
        )
    }

    /// What people are told where nothing at GitLab can be done now, by whatever call.
    pub fn outage(&self) -> Option<Outage> {
        let reason = match self {
            // Until when is over before anybody reads it.
            Self::RateLimited { .. } => "GitLab's rate limit was reached (429)".to_owned(),
            Self::Unavailable { .. } | Self::TokenRejected { .. } => self.to_string(),
            _ => return None,
        };
        Some(Outage {
            reason,
            token_rejected: matches!(self, Self::TokenRejected { .. }),
            rate_limited: matches!(self, Self::RateLimited { .. }),
        })
    }

    /// True for an answer about this one target that repeating will not change.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::ScopeMissing { .. }
                | Self::Forbidden { .. }
                | Self::NotFound { .. }
                | Self::Refused { .. }
        )
    }

    /// True for a refusal that other calls for the same project will meet too: there is no use in
    /// making them now.
    pub fn is_of_all(&self) -> bool {
        matches!(self, Self::ScopeMissing { .. } | Self::Forbidden { .. } | Self::NotFound { .. })
    }

    /// How long to wait before the next try, when GitLab said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after } => Some(*retry_after),
            Self::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The state that GitLab names in "Cannot transition status via :run from :running".
    pub fn transition_refused_from(&self) -> Option<&str> {
        let Self::Refused { message, .. } = self else { return None };
        let (_, after) = message.split_once("Cannot transition")?.1.split_once("from :")?;
        let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        Some(&after[..end.unwrap_or(after.len())]).filter(|state| !state.is_empty())
    }

    /// True when GitLab refused a status because it already shows `wanted`: that is success.
    pub fn already_there(&self, wanted: StatusState) -> bool {
        self.transition_refused_from() == Some(wanted.as_str())
    }

    /// What came was not GitLab's answer: a sentence says what it was instead.
    pub(crate) fn not_gitlabs(message: impl Into<String>) -> Self {
        Self::Unavailable { message: message.into(), retry_after: None }
    }

    /// What an answer other than 2xx means.
    pub(crate) fn from_answer(
        status: StatusCode,
        retry_after: Option<Duration>,
        body: &[u8],
        host: &str,
    ) -> Self {
        let json: Option<Value> = serde_json::from_slice(body).ok().filter(Value::is_object);
        if status == StatusCode::TOO_MANY_REQUESTS {
            return Self::RateLimited { retry_after: retry_after.unwrap_or(UNSAID_WAIT) };
        }
        let Some(json) = json else { return Self::without_words(status, retry_after, body, host) };
        let message = words(status, &json);
        match status.as_u16() {
            401 => Self::TokenRejected { message },
            403 if is_about_scope(&json) => Self::ScopeMissing { message },
            403 if message.contains("read-only instance") => {
                Self::Unavailable { message, retry_after }
            }
            403 => Self::Forbidden { message },
            404 => Self::NotFound { message },
            409 => Self::Conflict { message },
            408 | 500.. => {
                let message = format!("{host} answered {}: {message}", status.as_u16());
                Self::Unavailable { message, retry_after }
            }
            status => Self::Refused { status, message },
        }
    }

    /// What an answer means that is not JSON: not from GitLab's API, but from something before it.
    pub(crate) fn without_words(
        status: StatusCode,
        retry_after: Option<Duration>,
        body: &[u8],
        host: &str,
    ) -> Self {
        let code = status.as_u16();
        if [400, 413, 414, 422].contains(&code) {
            let message = status.canonical_reason().unwrap_or_default().to_owned();
            return Self::Refused { status: code, message };
        }
        let came = plain(body);
        let message = if status.is_server_error() || code == 408 {
            format!(
                "{host} answered {code} with {came}; it may be restarting, or a proxy is failing"
            )
        } else {
            format!(
                "{host} answered {code} with {came} instead of GitLab's API; this may be a proxy \
                 or firewall, or not the base address of a GitLab server"
            )
        };
        Self::Unavailable { message, retry_after }
    }
}

fn is_about_scope(json: &Value) -> bool {
    json.get("error").and_then(Value::as_str).is_some_and(|error| error.starts_with("insufficient"))
}

/// GitLab's own words, from any of the shapes it gives errors.
fn words(status: StatusCode, json: &Value) -> String {
    let text = |key| json.get(key).map(flatten).filter(|text| !text.is_empty());
    let mut said = match (text("message"), text("error"), text("error_description")) {
        (Some(message), _, _) => message,
        (None, Some(error), Some(more)) => format!("{more} ({error})"),
        (None, Some(said), None) | (None, None, Some(said)) => said,
        (None, None, None) => format!("HTTP {}", status.as_u16()),
    };
    if let Some(scope) = text("scope") {
        said = format!("{said}; required: {scope}");
    }
    shorten(&said)
}

/// One line from a message: text, list, or object of field names to lists.
fn flatten(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Array(items) => items.iter().map(flatten).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => fields
            .iter()
            .map(|(field, said)| match field.as_str() {
                "base" => flatten(said),
                _ => format!("{field} {}", flatten(said)),
            })
            .collect::<Vec<_>>()
            .join("; "),
        other => other.to_string(),
    }
}

/// What to say of a body that is not JSON: pages are named, short texts quoted.
pub(crate) fn plain(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(4096)]);
    let text = text.trim();
    if text.starts_with('<') {
        "a web page".to_owned()
    } else if text.is_empty() {
        "nothing".to_owned()
    } else {
        format!("{:?}", text.chars().take(120).collect::<String>())
    }
}

fn shorten(text: &str) -> String {
    let mut clean: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(LONGEST_MESSAGE + 1)
        .collect();
    if clean.chars().count() > LONGEST_MESSAGE {
        clean = clean.chars().take(LONGEST_MESSAGE - 1).chain(['…']).collect();
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Error {
        Error::from_answer(StatusCode::from_u16(status).unwrap(), None, body.as_bytes(), "host")
    }

    #[test]
    fn gitlab_is_heard_in_every_shape_it_speaks() {
        let said: Vec<String> = [
            (401, r#"{"message":"401 Unauthorized"}"#),
            (
                401,
                r#"{"error":"invalid_token","error_description":"Token is expired. You can either do re-authorization or token refresh."}"#,
            ),
            (403, r#"{"error":"insufficient_scope","error_description":"The request requires higher privileges than provided by the access token.","scope":"api"}"#),
            (403, r#"{"error":"insufficient_granular_scope","error_description":"Access denied"}"#),
            (403, r#"{"message":"403 Forbidden"}"#),
            (403, r#"{"message":"You cannot perform write operations on a read-only instance"}"#),
            (403, "<html>Attention required! | Cloudflare</html>"),
            (403, "Forbidden\n"),
            (404, r#"{"message":"404 Branch Not Found"}"#),
            (404, r#"{"error":"404 Not Found"}"#),
            (404, "<!DOCTYPE html><html>nginx</html>"),
            (405, r#"{"message":"405 Method Not Allowed"}"#),
            (409, r#"{"message":"Another update to this commit status is in progress"}"#),
            (400, r#"{"message":{"description":["is too long (maximum is 255 characters)"],"target_url":["is blocked: Only allowed schemes are http, https"]}}"#),
            (400, r#"{"message":{"base":["Something is wrong"]}}"#),
            (400, r#"{"message":["one","two"]}"#),
            (400, r#"{"error":"state does not have a valid value"}"#),
            (400, r#"{"message":null}"#),
            (413, "<html>413 Request Entity Too Large</html>"),
            (422, r#"{"message":"The number of jobs has exceeded the limit"}"#),
            (429, "Retry later\n"),
            (500, r#"{"message":"500 Internal Server Error"}"#),
            (502, "<html><body>GitLab is not responding</body></html>"),
            (503, ""),
        ]
        .into_iter()
        .map(|(status, body)| format!("{:?}", answer(status, body)))
        .collect();
        insta::assert_snapshot!(said.join("\n"), @r#"
        TokenRejected { message: "401 Unauthorized" }
        TokenRejected { message: "Token is expired. You can either do re-authorization or token refresh. (invalid_token)" }
        ScopeMissing { message: "The request requires higher privileges than provided by the access token. (insufficient_scope); required: api" }
        ScopeMissing { message: "Access denied (insufficient_granular_scope)" }
        Forbidden { message: "403 Forbidden" }
        Unavailable { message: "You cannot perform write operations on a read-only instance", retry_after: None }
        Unavailable { message: "host answered 403 with a web page instead of GitLab's API; this may be a proxy or firewall, or not the base address of a GitLab server", retry_after: None }
        Unavailable { message: "host answered 403 with \"Forbidden\" instead of GitLab's API; this may be a proxy or firewall, or not the base address of a GitLab server", retry_after: None }
        NotFound { message: "404 Branch Not Found" }
        NotFound { message: "404 Not Found" }
        Unavailable { message: "host answered 404 with a web page instead of GitLab's API; this may be a proxy or firewall, or not the base address of a GitLab server", retry_after: None }
        Refused { status: 405, message: "405 Method Not Allowed" }
        Conflict { message: "Another update to this commit status is in progress" }
        Refused { status: 400, message: "description is too long (maximum is 255 characters); target_url is blocked: Only allowed schemes are http, https" }
        Refused { status: 400, message: "Something is wrong" }
        Refused { status: 400, message: "one, two" }
        Refused { status: 400, message: "state does not have a valid value" }
        Refused { status: 400, message: "HTTP 400" }
        Refused { status: 413, message: "Payload Too Large" }
        Refused { status: 422, message: "The number of jobs has exceeded the limit" }
        RateLimited { retry_after: 60s }
        Unavailable { message: "host answered 500: 500 Internal Server Error", retry_after: None }
        Unavailable { message: "host answered 502 with a web page; it may be restarting, or a proxy is failing", retry_after: None }
        Unavailable { message: "host answered 503 with nothing; it may be restarting, or a proxy is failing", retry_after: None }
        "#);
    }

    #[test]
    fn a_refused_transition_tells_where_the_status_is() {
        let refused = answer(
            400,
            r#"{"message":"Cannot transition status via :run from :running (Reason(s): Status cannot transition via \"run\")"}"#,
        );
        assert_eq!(refused.transition_refused_from(), Some("running"));
        assert!(refused.already_there(StatusState::Running));
        assert!(!refused.already_there(StatusState::Pending));
        let end =
            answer(400, r#"{"message":"Cannot transition status via :enqueue from :pending"}"#);
        assert!(end.already_there(StatusState::Pending));
        let other = answer(400, r#"{"message":"from :running"}"#);
        assert_eq!(other.transition_refused_from(), None);
    }

    #[test]
    fn only_what_ends_by_itself_is_trouble() {
        for (status, trouble) in [
            (400, false),
            (401, true),
            (403, false),
            (404, false),
            (409, false),
            (429, true),
            (500, true),
        ] {
            assert_eq!(answer(status, r#"{"message":"x"}"#).is_trouble(), trouble, "{status}");
        }
    }

    #[test]
    fn endless_messages_are_cut() {
        let long = format!(r#"{{"message":"{}"}}"#, "ä".repeat(5000));
        let Error::Refused { message, .. } = answer(400, &long) else { panic!() };
        assert_eq!(message.chars().count(), LONGEST_MESSAGE);
    }
}
