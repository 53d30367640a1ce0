//! What can go wrong, in words for the person at the terminal: what happened, to what, why, and
//! what to do next.

use crate::{ended::Ended, safe};
use serde_json::Value;
use std::{error::Error as StdError, fmt::Write as _, io};

/// Why a command did not do what it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It was called in a wrong way.
    #[error("{0}")]
    Usage(String),
    /// Anything else that has its own words.
    #[error("{0}")]
    Failed(String),
    /// No address and key are known.
    #[error("{0}")]
    NoHost(String),
    /// The key is none, or was revoked.
    #[error("{0}")]
    KeyRejected(String),
    /// The API said no.
    #[error("{0}")]
    Refused(Refusal),
    /// There was no answer.
    #[error("{0}")]
    Unreachable(String),
    /// Nobody reads standard output any more, as after `| head`.
    #[error("standard output is closed")]
    OutputClosed,
}

impl Error {
    /// How the program ends.
    pub(crate) fn ended(&self) -> Ended {
        match self {
            Self::Usage(_) => Ended::Usage,
            Self::OutputClosed => Ended::Done,
            _ => Ended::Failed,
        }
    }

    /// Something with a file of the user's.
    pub(crate) fn file(what: &str, path: &std::path::Path, error: &io::Error) -> Self {
        Self::Failed(format!("Could not {what} {}: {error}.", path.display()))
    }

    #[cfg(test)]
    pub(crate) fn exit_code(&self) -> u8 {
        self.ended().code()
    }
}

/// A refusal of the API (`application/problem+json`), or an answer that is not the API's.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    /// What was asked: `confirm network#6`.
    what: Option<String>,
    detail: String,
    /// What is wrong with single fields.
    errors: Vec<(String, String)>,
}

impl Refusal {
    /// A refusal from an answer's body.
    pub(crate) fn read(base: &str, status: reqwest::StatusCode, body: &[u8]) -> Self {
        let problem = serde_json::from_slice::<Value>(body).unwrap_or_default();
        let text = |name: &str| problem[name].as_str().filter(|text| !text.is_empty());
        let detail = match (text("detail"), text("title")) {
            (Some(detail), _) => detail.to_owned(),
            (None, Some(title)) => format!("{title}."),
            (None, None) => format!(
                "{base} answered {status}, and not as Gantry does. Is the address right, or is \
                 something in front of it down?"
            ),
        };
        let errors = problem["errors"].as_object().into_iter().flatten();
        let errors =
            errors.filter_map(|(name, why)| Some((name.clone(), why.as_str()?.to_owned())));
        Self { status: status.as_u16(), what: None, detail, errors: errors.collect() }
    }

    /// A refusal in words.
    pub(crate) fn new(status: u16, detail: impl Into<String>) -> Self {
        Self { status, what: None, detail: detail.into(), errors: Vec::new() }
    }

    /// The same with a further sentence.
    pub(crate) fn with(mut self, sentence: &str) -> Self {
        self.detail = format!("{} {sentence}", self.detail);
        self
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text =
            self.what.as_ref().map_or(String::new(), |what| format!("Could not {what}: "));
        text.push_str(&self.detail);
        for (name, why) in &self.errors {
            let _ = write!(text, "\n  {name}: {why}");
        }
        f.write_str(&safe::lines(&text))
    }
}

/// Says what was asked for where it was refused.
pub(crate) trait About<T> {
    fn about(self, what: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T> About<T> for Result<T, Error> {
    fn about(self, what: impl FnOnce() -> String) -> Self {
        self.map_err(|error| match error {
            Error::Refused(refusal) if refusal.what.is_none() => {
                Error::Refused(Refusal { what: Some(what()), ..refusal })
            }
            error => error,
        })
    }
}

/// What kept us from getting an answer.
pub(crate) fn unreachable(base: &str, problem: &reqwest::Error) -> Error {
    let why = match cause(problem) {
        Some(Cause::Certificate(why)) => match why {
            rustls::CertificateError::UnknownIssuer => {
                "its certificate is not from a known authority. If the server has its own, name \
                 that authority's certificate with --ca-file"
                    .to_owned()
            }
            why => format!("its certificate cannot be trusted: {why}"),
        },
        Some(Cause::Tls(why)) => format!("no secure connection ({why}). Does it speak TLS there?"),
        Some(Cause::Name) => "its name cannot be found (DNS). Is the address right?".to_owned(),
        Some(Cause::Refused) => "nothing listens there, or a firewall forbids it".to_owned(),
        None if problem.is_timeout() => "it did not answer in time".to_owned(),
        None => safe::line(&innermost(problem)),
    };
    let stop = if why.ends_with(['.', '?']) { "" } else { "." };
    Error::Unreachable(format!("{base} cannot be reached: {why}{stop}"))
}

/// What kept us from an answer may be over in a moment: not where the address or the trust in it is
/// wrong, and not after a long wait.
pub(crate) fn may_pass(problem: &reqwest::Error) -> bool {
    let is_wrong =
        matches!(cause(problem), Some(Cause::Certificate(_) | Cause::Tls(_) | Cause::Name));
    !is_wrong && !problem.is_timeout() && !problem.is_redirect() && !problem.is_builder()
}

enum Cause {
    Certificate(rustls::CertificateError),
    Tls(rustls::Error),
    Name,
    Refused,
}

fn cause(problem: &(dyn StdError + 'static)) -> Option<Cause> {
    let mut next = Some(problem);
    while let Some(problem) = next {
        if let Some(tls) = problem.downcast_ref::<rustls::Error>() {
            return Some(match tls {
                rustls::Error::InvalidCertificate(why) => Cause::Certificate(why.clone()),
                other => Cause::Tls(other.clone()),
            });
        }
        if problem.to_string().starts_with("dns error") {
            return Some(Cause::Name);
        }
        if let Some(io) = problem.downcast_ref::<io::Error>() {
            if io.kind() == io::ErrorKind::ConnectionRefused {
                return Some(Cause::Refused);
            }
            // What an io::Error wraps is not among its sources.
            if let Some(cause) = io.get_ref().and_then(|inner| cause(inner)) {
                return Some(cause);
            }
        }
        next = problem.source();
    }
    None
}

fn innermost(problem: &reqwest::Error) -> String {
    let mut innermost: &dyn StdError = problem;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::StatusCode;

    #[test]
    fn a_refusal_says_what_was_asked_why_not_and_which_fields() {
        let body = br#"{"status": 422, "title": "Some fields are wrong",
            "detail": "Nothing was changed. Look at: commit.",
            "errors": {"commit": "is no commit id\u001b[2J"}, "more": 1}"#;
        let refusal = Refusal::read("https://x.example", StatusCode::UNPROCESSABLE_ENTITY, body);
        let error = Err::<(), _>(Error::Refused(refusal)).about(|| "start a run of network".into());
        let error = error.unwrap_err();
        assert_eq!(
            error.to_string(),
            "Could not start a run of network: Nothing was changed. Look at: commit.\n  \
             commit: is no commit id\\u001b[2J"
        );
        assert_eq!(error.exit_code(), 1);
        // The first to say what was asked is the one that knows it best.
        let again = Err::<(), _>(error).about(|| "do something".into()).unwrap_err();
        assert!(again.to_string().starts_with("Could not start a run"), "{again}");
    }

    #[test]
    fn an_answer_that_is_not_gantrys_is_called_so() {
        let read = |body: &[u8]| Refusal::read("https://x.example", StatusCode::BAD_GATEWAY, body);
        let said = read(b"<html>Bad gateway</html>").to_string();
        assert!(said.starts_with("https://x.example answered 502 Bad Gateway"), "{said}");
        assert_eq!(read(br#"{"title": "Not found"}"#).to_string(), "Not found.");
        assert_eq!(Error::Usage(String::new()).exit_code(), 2);
        assert_eq!(Error::OutputClosed.exit_code(), 0);
    }
}
