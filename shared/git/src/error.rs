//! Why a repository could not be read.

use gix::error::Error;
use reqwest::StatusCode;

/// Why a repository could not be read. The texts are for people.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The server shows no repository to somebody without an account.
    #[error("there is no public repository at this address (the server answered {0})")]
    NotPublic(StatusCode),
    /// What was to be read is larger than is kept.
    #[error("the commit is too large")]
    TooLarge,
    /// It may work later.
    #[error("it cannot be read right now: {0}")]
    Unavailable(String),
    /// It answers, but not as a Git repository does, or does not have what was asked for.
    #[error("it cannot be read: {0}")]
    Unusable(String),
    /// This machine could not do it.
    #[error("what was read could not be stored: {0}")]
    Here(#[from] std::io::Error),
}

impl GitError {
    /// True when the same may work later, without anybody doing anything.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Here(_))
    }
}

impl From<Error> for GitError {
    fn from(error: Error) -> Self {
        let answered = error.iter_errors().find_map(|cause| cause.downcast_ref::<reqwest::Error>());
        if let Some(answered) = answered {
            return match answered.status() {
                Some(
                    status @ (StatusCode::UNAUTHORIZED
                    | StatusCode::FORBIDDEN
                    | StatusCode::NOT_FOUND
                    | StatusCode::GONE),
                ) => Self::NotPublic(status),
                Some(status) if status.is_client_error() => Self::Unusable(status.to_string()),
                _ => Self::Unavailable(said(&error)),
            };
        }
        if error.is_unauthenticated() {
            return Self::NotPublic(StatusCode::UNAUTHORIZED);
        }
        if error.is_retryable() {
            return Self::Unavailable(said(&error));
        }
        Self::Unusable(said(&error))
    }
}

impl From<tokio::task::JoinError> for GitError {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Here(std::io::Error::other(error))
    }
}

/// All causes, the outermost first.
fn said(error: &Error) -> String {
    let mut causes: Vec<String> = error.iter_errors().map(ToString::to_string).collect();
    causes.dedup();
    causes.join(": ")
}
