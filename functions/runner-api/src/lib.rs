//! The HTTP API that runners use: taking a phase, source, plan, log, signs of life, Terraform's
//! state and its lock, reports. What is said here is [`gantry_domain::protocol`].
//!
//! It decides nothing about runs. Each request proves with its token which attempt of which run it
//! speaks for; the run's record says whether that attempt still counts. What runners report goes
//! to the scheduler's queue, and is answered once the queue has it.
//!
//! [`admin_state_router`] is the part of the admin API that works on Terraform's states, which
//! nobody but this function writes.

mod admin;
mod claim;
mod log;
mod next;
mod objects;
mod progress;
mod refusal;
mod state;
mod state_routes;
mod token;
mod transfer;
mod variables;
mod wall;

pub use admin::admin_state_router;
pub use wall::Walls;

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{get, post, put},
};
use gantry_domain::protocol::{VERSION, VERSION_HEADER};
use gantry_objects::Objects;
use gantry_queue::Sender;
use gantry_secrets::Secrets;
use gantry_setup::{Clock, identity::Verifier};
use gantry_store::Store;
use refusal::Refusal;
use std::sync::Arc;

/// What the API works with. Cheap to clone.
#[derive(Clone)]
pub struct Deps {
    /// The records.
    pub store: Store,
    /// Where reports go, and wishes for source.
    pub sender: Sender,
    /// Archives, plans, changes, states.
    pub objects: Objects,
    /// The keys that sign tokens and seal variables. Read for each request, so that a replaced
    /// one counts at once; the secret store has its own cache.
    pub secrets: Arc<dyn Secrets>,
    /// The maskers of what runs say.
    pub walls: Walls,
    /// The time.
    pub clock: Clock,
    /// How large bodies may be.
    pub limits: Limits,
    /// The address of this installation, whose host is the registry's.
    pub public_url: String,
    /// Asks the cloud which role a runner has, where runners have one.
    pub identities: Option<Verifier>,
}

/// How large bodies may be, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The archive of plan and workspace.
    pub plan: u64,
    /// A Terraform state. It is read whole when it is committed.
    pub state: u64,
    /// What a plan found.
    pub change: usize,
    /// Everything else: reports, pieces of log.
    pub other: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { plan: 1 << 30, state: 256 << 20, change: 64 << 20, other: 4 << 20 }
    }
}

/// The routes below `/runner/v1/`.
pub fn router(deps: Deps) -> Router {
    let limits = deps.limits;
    let routes = Router::new()
        .route("/claim", post(claim::claim))
        .route("/next", post(next::next))
        .route("/further", post(next::further))
        .route("/source", get(transfer::source))
        .route("/upload", post(transfer::upload))
        .route("/plan", get(transfer::read_plan).put(transfer::write_plan))
        .route("/change", put(transfer::write_change).layer(DefaultBodyLimit::max(limits.change)))
        .route("/log", post(log::log))
        .route("/alive", get(progress::alive))
        .route("/beat", post(progress::beat))
        .route("/report", post(progress::report))
        .route("/state", get(state_routes::read).post(state_routes::commit))
        .route("/state/upload", put(state_routes::upload))
        .route("/state/lock", post(state_routes::lock).delete(state_routes::unlock))
        .layer(DefaultBodyLimit::max(limits.other))
        .layer(middleware::from_fn(speaks_our_version))
        .with_state(deps);
    Router::new().nest("/runner/v1", routes)
}

/// Runners of this version and of the one before are understood; what sends none is taken for
/// version 1.
async fn speaks_our_version(request: Request, next: Next) -> Response {
    let sent = request.headers().get(VERSION_HEADER);
    let version = sent.map_or(Some(1), |value| value.to_str().ok()?.trim().parse::<u32>().ok());
    match version {
        Some(version) if version <= VERSION && version + 1 >= VERSION => next.run(request).await,
        _ => Refusal::text(
            StatusCode::BAD_REQUEST,
            format!("this runner API speaks version {VERSION} of the protocol: use a runner of the same release"),
        )
        .into_response(),
    }
}
