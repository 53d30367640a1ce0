//! What people ask of a run: confirm, discard, stop, retry.

use crate::{
    access::Caller,
    app::App,
    commands,
    pages::{fields::Fields, shell::Frame, stack::asked},
    refusal::Answer,
    runs,
};
use axum::{
    Extension,
    extract::{Path, State},
    response::Response,
};
use gantry_domain::EventId;
use serde_json::{Map, Value};

/// `POST /runs/{id}/confirm`
pub(crate) async fn confirm(
    State(app): State<App>,
    frame: Frame,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer<Response> {
    let view = commands::ask_confirm(&app, &caller, &id).await?;
    Ok(asked(&frame, &format!("runs/{id}"), view))
}

/// `POST /runs/{id}/discard`
pub(crate) async fn discard(
    State(app): State<App>,
    frame: Frame,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Extension(fields): Extension<Fields>,
) -> Answer<Response> {
    let view = commands::ask_discard(&app, &caller, &id).await?;
    if !fields.has("again") {
        return Ok(asked(&frame, &format!("runs/{id}"), view));
    }
    // "Plan again": the old plan makes way for one of the branch as it is now.
    let run = runs::find(&app, &id).await?;
    let caller = Caller { request: EventId::derive("again", &[caller.request.as_str()]), ..caller };
    let view = commands::ask_run(&app, &caller, run.slug.as_str(), Map::new()).await?;
    let to = view.run.as_ref().map_or_else(|| format!("runs/{id}"), |run| format!("runs/{run}"));
    Ok(asked(&frame, &to, view))
}

/// `POST /runs/{id}/stop`
pub(crate) async fn stop(
    State(app): State<App>,
    frame: Frame,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer<Response> {
    let view = commands::ask_stop(&app, &caller, &id).await?;
    Ok(asked(&frame, &format!("runs/{id}"), view))
}

/// `POST /runs/{id}/retry`
pub(crate) async fn retry(
    State(app): State<App>,
    frame: Frame,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Extension(fields): Extension<Fields>,
) -> Answer<Response> {
    let mut body = Map::new();
    body.insert("force".to_owned(), Value::from(fields.has("force")));
    let view = commands::ask_retry(&app, &caller, &id, body).await?;
    let to = view.run.as_ref().map_or_else(|| format!("runs/{id}"), |run| format!("runs/{run}"));
    Ok(asked(&frame, &to, view))
}
