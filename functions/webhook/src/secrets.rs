//! The webhook secrets, remembered between requests.

use gantry_gitlab::webhook::{VerifyError, WebhookSecrets};
use gantry_secrets::{SecretError, SecretName, Secrets};
use gantry_setup::Clock;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use tokio::sync::Mutex;

/// A secret that does not match is looked up again at most this often.
const AT_MOST_EVERY: SignedDuration = SignedDuration::from_secs(10);
/// Secrets that were read longer ago than this are read again beside a request: an admin may have
/// ended an old one.
const FRESH: SignedDuration = SignedDuration::from_mins(5);

/// Remembers what the secret store said last.
pub(crate) struct KnownSecrets {
    store: Arc<dyn Secrets>,
    clock: Clock,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    secrets: Option<Arc<WebhookSecrets>>,
    asked_at: Option<Timestamp>,
}

impl Known {
    fn is_older_than(&self, age: SignedDuration, now: Timestamp) -> bool {
        self.asked_at.is_none_or(|at| now.duration_since(at) >= age)
    }
}

impl KnownSecrets {
    pub(crate) fn new(store: Arc<dyn Secrets>, clock: Clock) -> Self {
        Self { store, clock, known: Mutex::default() }
    }

    /// Checks a request with the secrets that are known, and once more with newly read ones if
    /// they may have been replaced. An error means that no secret could be had at all.
    pub(crate) async fn check(
        &self,
        check: impl Fn(&WebhookSecrets) -> Result<(), VerifyError>,
    ) -> Result<Result<(), VerifyError>, SecretError> {
        let known = self.known.lock().await.secrets.clone();
        let first = match &known {
            Some(secrets) => check(secrets),
            None => Err(VerifyError::WrongToken),
        };
        match first {
            Err(error) if error.may_be_our_secret() => {
                let read = self.read_if_older_than(AT_MOST_EVERY).await;
                match (read, known) {
                    (Ok(Some(secrets)), _) => Ok(check(&secrets)),
                    (Ok(None), _) => Ok(Err(error)),
                    (Err(trouble), None) => Err(trouble),
                    (Err(trouble), Some(_)) => {
                        tracing::warn!(error = %trouble, "the webhook secrets cannot be reloaded");
                        Ok(Err(error))
                    }
                }
            }
            other => Ok(other),
        }
    }

    /// Reads the secrets before anybody has asked for them. None yet means that Gantry is not
    /// connected: the first request looks again.
    pub(crate) async fn prepare(&self) {
        self.keep_fresh().await;
        let mut known = self.known.lock().await;
        if known.secrets.is_none() {
            known.asked_at = None;
        }
    }

    /// Reads the secrets again when that was done long ago.
    pub(crate) async fn keep_fresh(&self) {
        if let Err(error) = self.read_if_older_than(FRESH).await {
            tracing::warn!(%error, "the webhook secrets cannot be reloaded");
        }
    }

    /// The secrets, read again if the last time is longer ago than `age`. Requests that come
    /// meanwhile wait for the one that reads.
    async fn read_if_older_than(
        &self,
        age: SignedDuration,
    ) -> Result<Option<Arc<WebhookSecrets>>, SecretError> {
        let mut known = self.known.lock().await;
        let now = self.clock.now();
        if known.is_older_than(age, now) {
            known.asked_at = Some(now);
            let kept = match self.store.get(SecretName::WebhookSecrets).await {
                Ok(kept) => kept,
                Err(error) => {
                    if known.secrets.is_none() {
                        // Without any secret each request has to ask.
                        known.asked_at = None;
                    }
                    return Err(error);
                }
            };
            known.secrets = kept.and_then(|kept| match WebhookSecrets::from_json(&kept) {
                Ok(secrets) => Some(Arc::new(secrets)),
                Err(error) => {
                    tracing::error!(%error, "save the GitLab settings again");
                    None
                }
            });
        }
        Ok(known.secrets.clone())
    }
}
