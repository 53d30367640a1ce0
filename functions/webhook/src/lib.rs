//! The door for GitLab's webhooks: verify, parse, enqueue, answer.
//!
//! It does no slow work: no call to GitLab, and nothing but the cached secret before the message is
//! on the queue. Everything authentic gets a 2xx, whatever it is, because GitLab disables hooks
//! that fail; a queue that refuses gives a 5xx, because then the event is not kept.

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode},
    routing::post,
};
use gantry_domain::event::EventSource;
use gantry_gitlab::webhook::{self, VerifyError, WebhookSecrets};
use gantry_queue::{Message, Sender};
use gantry_secrets::{SecretError, SecretName, Secrets};
use gantry_setup::Clock;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use tokio::sync::RwLock;

/// GitLab sends at most this much.
const MOST_BYTES: usize = 25 * 1024 * 1024;
/// A secret that does not match is fetched again at most this often: strangers cannot make us ask.
const FETCH_AGAIN_AFTER: SignedDuration = SignedDuration::from_secs(10);

/// What the door works with.
pub struct Deps {
    /// The queues.
    pub sender: Sender,
    /// The webhook secrets; no other is read here.
    pub secrets: Arc<dyn Secrets>,
    /// The time.
    pub clock: Clock,
}

struct Door {
    deps: Deps,
    cached: RwLock<Option<Cached>>,
}

#[derive(Clone)]
struct Cached {
    secrets: Arc<WebhookSecrets>,
    fetched_at: Timestamp,
}

/// `POST /webhooks/gitlab`.
pub fn router(deps: Deps) -> Router {
    let door = Arc::new(Door { deps, cached: RwLock::default() });
    Router::new()
        .route("/webhooks/gitlab", post(receive).get(explain))
        .layer(DefaultBodyLimit::max(MOST_BYTES))
        .with_state(door)
}

async fn explain() -> (StatusCode, &'static str) {
    (StatusCode::METHOD_NOT_ALLOWED, "This address takes GitLab's webhooks, by POST.\n")
}

async fn receive(
    State(door): State<Arc<Door>>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, &'static str) {
    match door.check(&headers, &body).await {
        Ok(Ok(())) => {}
        Ok(Err(refused)) => {
            tracing::warn!(reason = %refused, "a webhook was refused");
            return (
                StatusCode::UNAUTHORIZED,
                "The webhook's secret is not the one shown in Gantry's GitLab settings.\n",
            );
        }
        Err(error) => {
            tracing::error!("the webhook secrets cannot be read: {error}");
            return (StatusCode::SERVICE_UNAVAILABLE, "");
        }
    }
    let hook = webhook::parse(&headers, &body);
    let message = Message::Hook {
        event: webhook::delivery_id(&headers, &hook, &body),
        received_at: door.deps.clock.now(),
        source: EventSource::Webhook,
        hook,
    };
    match door.deps.sender.send(message).await {
        Ok(()) => (StatusCode::OK, ""),
        Err(error) => {
            tracing::error!("a webhook could not be put on the queue: {error}");
            (StatusCode::SERVICE_UNAVAILABLE, "")
        }
    }
}

impl Door {
    /// Checks against the cached secrets, and against fresh ones when those may be outdated.
    async fn check(
        &self,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Result<(), VerifyError>, SecretError> {
        let now = self.deps.clock.now();
        let cached = self.cached.read().await.clone();
        if let Some(cached) = cached {
            let checked = webhook::verify(headers, body, &cached.secrets, now);
            let may_be_old = now.duration_since(cached.fetched_at) >= FETCH_AGAIN_AFTER;
            match checked {
                Err(refused) if refused.may_be_our_secret() && may_be_old => {}
                settled => return Ok(settled),
            }
        }
        match self.fetch(now).await? {
            Some(secrets) => Ok(webhook::verify(headers, body, &secrets, now)),
            // Nobody has set up GitLab: whatever this is, it is not ours.
            None => Ok(Err(VerifyError::WrongToken)),
        }
    }

    async fn fetch(&self, now: Timestamp) -> Result<Option<Arc<WebhookSecrets>>, SecretError> {
        let Some(kept) = self.deps.secrets.get(SecretName::WebhookSecrets).await? else {
            return Ok(None);
        };
        let Ok(secrets) = WebhookSecrets::from_json(&kept) else {
            tracing::error!(
                "the webhook secrets are not what settings writes: save the GitLab settings again"
            );
            return Ok(None);
        };
        let secrets = Arc::new(secrets);
        let fresh = Cached { secrets: Arc::clone(&secrets), fetched_at: now };
        *self.cached.write().await = Some(fresh);
        Ok(Some(secrets))
    }
}
