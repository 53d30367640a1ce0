//! Who is notified: targets, trying them, and what became of each message. Settings only writes who
//! they are; the publisher sends.

mod deliveries;
mod form;

pub(crate) use deliveries::{
    DeliveryList, DeliveryQuery, DeliveryView, Requested, find_page, list as list_deliveries,
    send as send_delivery, send_again, test as try_target, try_it,
};
pub(crate) use form::{change, make};

use crate::{
    app::App,
    form::Body,
    refusal::{Answer, Done, Refusal},
};
use axum::{
    Extension, Json,
    extract::{Path, State},
    http::StatusCode,
    response::IntoResponse,
};
use gantry_domain::{
    TargetName,
    notification::{NotificationEvent, TargetKind},
};
use gantry_store::{
    Expect, Stored, Write, keys,
    notifications::{NotificationTarget, TargetHealth},
};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeSet;

/// Somebody who is notified: a chat, or a program.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "NotificationTarget")]
pub(crate) struct TargetView {
    /// Its name, which cannot be changed.
    pub(crate) name: TargetName,
    /// What understands its messages.
    pub(crate) kind: TargetKind,
    /// The server that messages are sent to. The rest of the URL is never shown.
    pub(crate) server: String,
    /// What it is notified of.
    pub(crate) events: BTreeSet<NotificationEvent>,
    /// Only of stacks that have one of these labels; of all stacks, if there are none.
    pub(crate) labels: Vec<String>,
    /// Why nothing is sent to it until it is saved again; null if it is in use.
    pub(crate) disabled: Option<String>,
    /// Since when it has accepted nothing; null while it does, or nothing was sent.
    pub(crate) failing_since: Option<Timestamp>,
    /// Until when the secret before the present one signs, too.
    pub(crate) previous_secret_until: Option<Timestamp>,
    /// When it was created.
    pub(crate) created_at: Timestamp,
}

/// A target that was just saved.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SavedNotificationTarget")]
pub(crate) struct SavedTarget {
    #[serde(flatten)]
    pub(crate) view: TargetView,
    /// The secret that a webhook's messages are signed with, if it is new. It is never shown again.
    pub(crate) secret: Option<String>,
}

/// Everybody who is notified.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "NotificationTargetList")]
pub(crate) struct TargetList {
    /// By name.
    targets: Vec<TargetView>,
}

fn view(target: NotificationTarget, health: Option<TargetHealth>, now: Timestamp) -> TargetView {
    let health = health.filter(|health| health.saved_at == target.saved_at);
    let (disabled, failing_since) = match health {
        Some(health) => (health.disabled, health.failing_since),
        None => (None, None),
    };
    let previous = target.previous.map(|previous| previous.until).filter(|until| *until > now);
    TargetView {
        name: target.name,
        kind: target.kind,
        server: target.shown,
        events: target.filter.events,
        labels: target.filter.labels,
        disabled,
        failing_since,
        previous_secret_until: previous,
        created_at: target.created_at,
    }
}

/// `GET /api/v1/notifications`
pub(crate) async fn list(State(app): State<App>) -> Answer<impl IntoResponse> {
    Ok(Json(TargetList { targets: listed(&app).await? }))
}

/// Everybody who is notified, by name.
pub(crate) async fn listed(app: &App) -> Answer<Vec<TargetView>> {
    let health = app.store.query_all::<TargetHealth>(keys::TARGETS_HEALTH, "").await?;
    let now = app.clock.now();
    let of = |target: Stored<NotificationTarget>| {
        let health = health.iter().find(|health| health.key.sk == target.key.sk);
        view(target.value, health.map(|health| health.value.clone()), now)
    };
    Ok(app.store.notification_targets().await?.into_iter().map(of).collect())
}

/// `GET /api/v1/notifications/{target}`
pub(crate) async fn show(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Answer<impl IntoResponse> {
    let found = find(&app, &name).await?;
    Ok(Json(present(&app, found.value).await?))
}

/// A target as it is shown.
pub(crate) async fn present(app: &App, target: NotificationTarget) -> Answer<TargetView> {
    let health = app.store.target_health(&target).await?.map(|found| found.value);
    Ok(view(target, health, app.clock.now()))
}

/// The target of this name.
pub(crate) async fn find(app: &App, name: &str) -> Answer<Stored<NotificationTarget>> {
    let missing = || Refusal::not_found("notification target");
    let name: TargetName = name.parse().map_err(|_| missing())?;
    app.store.notification_target(&name).await?.ok_or_else(missing)
}

/// `POST /api/v1/notifications {"name", "kind", "url", "events"?, "labels"?}`
pub(crate) async fn create(State(app): State<App>, Body(body): Body) -> Answer<impl IntoResponse> {
    let made = make(&app, body).await?;
    let done = Done::new(format!("created the notification target {}", made.view.name));
    Ok((StatusCode::CREATED, Extension(done), Json(made)))
}

/// `PUT /api/v1/notifications/{target} {"url"?, "events"?, "labels"?, "new_secret"?}`
pub(crate) async fn edit(
    State(app): State<App>,
    Path(name): Path<String>,
    Body(body): Body,
) -> Answer<impl IntoResponse> {
    let saved = change(&app, &name, body).await?;
    let done = Done::new(format!("changed the notification target {}", saved.view.name));
    Ok((Extension(done), Json(saved)))
}

/// `DELETE /api/v1/notifications/{target}`
pub(crate) async fn delete(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Answer<impl IntoResponse> {
    let name = remove(&app, &name).await?;
    let done = Done::new(format!("deleted the notification target {name}"));
    Ok((StatusCode::NO_CONTENT, Extension(done)))
}

/// Deletes a target: what waits for it is not sent.
pub(crate) async fn remove(app: &App, name: &str) -> Answer<TargetName> {
    let found = find(app, name).await?;
    let delete = Write::Delete { key: found.key, expect: Expect::Any };
    let _gone_either_way = app.store.write(vec![delete]).await?;
    Ok(found.value.name)
}
