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
mod deps;
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
pub use deps::{Deps, Limits};
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
use gantry_setup::web::in_time;
use refusal::Refusal;

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
    Router::new().nest("/runner/v1", routes).layer(middleware::from_fn(in_time))
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
            format!(
                "this runner API speaks version {VERSION} of the protocol; use a runner of the \
                 same release"
            ),
        )
        .into_response(),
    }
}
