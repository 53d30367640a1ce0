//! Takes GitLab's webhooks: verify, parse, enqueue, answer.
//!
//! GitLab waits for the answer, and stops calling where answers are slow or bad. So nothing here
//! asks GitLab anything or decides what a hook means: an authentic request is on the queue, or was
//! answered with a 5xx. Neither bodies nor headers are logged.

mod secrets;

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use gantry_domain::event::EventSource;
use gantry_gitlab::webhook::{VerifyError, WebhookSecrets, delivery_id, parse, verify};
use gantry_queue::{ProjectMessage, Sender};
use gantry_secrets::Secrets;
use gantry_setup::{Clock, metrics};
use secrets::KnownSecrets;
use std::sync::Arc;

/// Where GitLab calls.
pub const PATH: &str = "/webhooks/gitlab";

/// GitLab's own limit of a hook's body. What stands before us may take less.
const LARGEST_BODY: usize = 25 << 20;

const UNAUTHORIZED: &str = "The secret token is missing or wrong. It is on Gantry's GitLab page.\n";
const TOO_LARGE: &str = "A webhook can have at most 25 MB.\n";
const TRY_AGAIN: &str =
    "The event could not be accepted. Gantry will find the change later by polling GitLab.\n";
const FOR_GITLAB: &str = "This address accepts GitLab webhooks (POST). Add it, with the secret, to \
                          a project's webhooks for push, tag push and merge request events.\n";

/// What the webhook works with.
#[derive(Clone)]
pub struct Deps {
    /// Where events go.
    pub sender: Sender,
    /// Holds [`gantry_secrets::SecretName::WebhookSecrets`]. It should keep no cache of its own:
    /// a replaced secret is looked for as soon as one does not match.
    pub secrets: Arc<dyn Secrets>,
    /// The time.
    pub clock: Clock,
}

struct Shared {
    sender: Sender,
    clock: Clock,
    secrets: KnownSecrets,
}

/// `POST /webhooks/gitlab`.
pub fn router(deps: Deps) -> Router {
    let secrets = KnownSecrets::new(deps.secrets.clone(), deps.clock.clone());
    routes(deps, secrets)
}

/// The same, with the secrets read before the first request. Without them it reads them then.
pub async fn ready_router(deps: Deps) -> Router {
    let secrets = KnownSecrets::new(deps.secrets.clone(), deps.clock.clone());
    secrets.prepare().await;
    routes(deps, secrets)
}

fn routes(deps: Deps, secrets: KnownSecrets) -> Router {
    let shared = Shared { sender: deps.sender, clock: deps.clock, secrets };
    Router::new().route(PATH, post(take).fallback(explain)).with_state(Arc::new(shared))
}

async fn explain() -> Response {
    (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "POST")], FOR_GITLAB).into_response()
}

async fn take(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Body) -> Response {
    // Strangers are sent away before their body is read.
    if !["x-gitlab-token", "webhook-signature"].iter().any(|name| headers.contains_key(*name)) {
        return refuse(&VerifyError::NothingSent);
    }
    let Ok(body) = to_bytes(body, LARGEST_BODY).await else {
        tracing::warn!("a webhook was larger than 25 MB or incomplete");
        return (StatusCode::PAYLOAD_TOO_LARGE, TOO_LARGE).into_response();
    };
    let now = shared.clock.now();
    let check = |secrets: &WebhookSecrets| verify(&headers, &body, secrets, now);
    match shared.secrets.check(check).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return refuse(&error),
        Err(error) => {
            tracing::error!(%error, "a webhook could not be verified");
            return (StatusCode::SERVICE_UNAVAILABLE, TRY_AGAIN).into_response();
        }
    }
    let hook = parse(&headers, &body);
    let event = delivery_id(&headers, &hook, &body);
    let project = hook.project();
    let message = ProjectMessage::Hook {
        event: event.clone(),
        received_at: now,
        source: EventSource::Webhook,
        hook,
    };
    // Looking whether an old secret has ended meanwhile costs no time of its own.
    let (sent, ()) = tokio::join!(shared.sender.send(message), shared.secrets.keep_fresh());
    match sent {
        Ok(()) => {
            let project = project.map(tracing::field::display);
            tracing::info!(event.id = %event, project.id = project, "accepted a webhook");
            metrics::count("WebhooksTaken", 1);
            StatusCode::OK.into_response()
        }
        Err(error) => {
            tracing::error!(event.id = %event, %error, "the queue did not accept a webhook");
            (StatusCode::SERVICE_UNAVAILABLE, TRY_AGAIN).into_response()
        }
    }
}

fn refuse(error: &VerifyError) -> Response {
    tracing::warn!(%error, "refused a webhook");
    metrics::count("WebhooksRefused", 1);
    (StatusCode::UNAUTHORIZED, UNAUTHORIZED).into_response()
}
