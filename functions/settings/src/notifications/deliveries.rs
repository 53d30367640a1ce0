//! What became of messages, trying a target, and sending a message once more.

use super::find;
use crate::{
    access::Caller,
    app::App,
    cursor,
    form::Params,
    refusal::{Answer, Done, Refusal},
};
use axum::{
    Extension, Json,
    extract::{Path, State},
    http::StatusCode,
    response::IntoResponse,
};
use gantry_domain::{
    EventId, TargetName,
    notification::{NotificationEvent, Occasion},
};
use gantry_queue::FeedbackMessage;
use gantry_setup::web::page_size;
use gantry_store::{
    Expect, Write, keys,
    notifications::{Attempt, DELIVERIES_KEPT, Delivery, DeliveryState, SendAgain},
};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Which messages are asked for.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(crate) struct DeliveryQuery {
    /// The `next` of the previous page.
    pub(crate) after: Option<String>,
    /// Items per page: 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    pub(crate) limit: Option<u32>,
}

/// A page of messages to a target.
#[derive(Serialize, JsonSchema)]
pub(crate) struct DeliveryList {
    /// The newest first. They are kept for 90 days.
    pub(crate) deliveries: Vec<DeliveryView>,
    /// The `after` of the next page; null at the end.
    pub(crate) next: Option<String>,
}

/// A message to a target, and what became of it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Delivery")]
pub(crate) struct DeliveryView {
    /// Its ID among the messages of this target.
    pub(crate) id: String,
    /// What it is about; null if somebody tried the target.
    pub(crate) event: Option<NotificationEvent>,
    /// Its title; empty until it was sent for the first time.
    pub(crate) title: String,
    /// The page that it leads to; empty until then.
    pub(crate) url: String,
    /// What became of it.
    pub(crate) state: DeliveryState,
    /// Why it was not delivered.
    pub(crate) why: Option<String>,
    /// When there was something to tell.
    pub(crate) raised_at: Timestamp,
    /// When it is tried next.
    pub(crate) next_at: Option<Timestamp>,
    /// The newest 20 attempts, the earliest of them first.
    pub(crate) attempts: Vec<Attempt>,
}

/// What was asked for is done shortly: the list of messages says how it ends.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RequestedDelivery")]
pub(crate) struct Requested {
    /// The message's ID.
    id: String,
}

impl From<Delivery> for DeliveryView {
    fn from(delivery: Delivery) -> Self {
        let Delivery { about, title, url, state, why, raised_at, next_at, attempts, .. } = delivery;
        let (id, event) = (about.to_string(), about.event());
        Self { id, event, title, url, state, why, raised_at, next_at, attempts }
    }
}

/// `GET /api/v1/notifications/{target}/deliveries?after=&limit=`
pub(crate) async fn list(
    State(app): State<App>,
    Path(name): Path<String>,
    Params(query): Params<DeliveryQuery>,
) -> Answer<impl IntoResponse> {
    let target = find(&app, &name).await?.value;
    find_page(&app, &target.name, &query).await.map(Json)
}

/// A page of messages to a target, the newest first.
pub(crate) async fn find_page(
    app: &App,
    target: &TargetName,
    query: &DeliveryQuery,
) -> Answer<DeliveryList> {
    let limit = page_size(query.limit, 25)?;
    let after = query.after.as_deref().map(|at| cursor::to_key(at, "after")).transpose()?;
    let partition = keys::deliveries(target);
    // One more than a page holds tells whether there is a next one.
    let page = app.store.query::<Delivery>(&partition, "", after.as_deref(), true, limit + 1);
    let mut found = page.await?.items;
    let wanted = usize::try_from(limit).unwrap_or_default();
    let has_more = found.len() > wanted;
    found.truncate(wanted);
    let last = found.last().map(|last| cursor::from_key(&last.key.sk));
    let deliveries = found.into_iter().map(|found| found.value.into()).collect();
    Ok(DeliveryList { deliveries, next: last.filter(|_| has_more) })
}

/// `POST /api/v1/notifications/{target}/test`
pub(crate) async fn test(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Answer<impl IntoResponse> {
    let (requested, done) = try_it(&app, &name, &caller.request).await?;
    Ok((StatusCode::ACCEPTED, Extension(done), Json(requested)))
}

/// Has a message sent that says that it is a test. The same request sends it once.
pub(crate) async fn try_it(app: &App, name: &str, request: &EventId) -> Answer<(Requested, Done)> {
    let to = find(app, name).await?.value.name;
    let about = Occasion::test(request);
    let requested = Requested { id: about.to_string() };
    let done = Done::new(format!("a test was sent to {to}"));
    app.sender.send(FeedbackMessage::Notify { to, about, want: 0 }).await?;
    Ok((requested, done))
}

/// `POST /api/v1/notifications/{target}/deliveries/{delivery}/send`
pub(crate) async fn send(
    State(app): State<App>,
    Path((name, delivery)): Path<(String, String)>,
) -> Answer<impl IntoResponse> {
    let (requested, done) = send_again(&app, &name, &delivery).await?;
    Ok((StatusCode::ACCEPTED, Extension(done), Json(requested)))
}

/// Has a message sent once more, whatever became of it. It keeps its ID, so that a target can tell.
pub(crate) async fn send_again(app: &App, name: &str, delivery: &str) -> Answer<(Requested, Done)> {
    let to = find(app, name).await?.value.name;
    let missing = || Refusal::not_found("notification");
    let about: Occasion = delivery.parse().map_err(|_| missing())?;
    let nudge = FeedbackMessage::Notify { to: to.clone(), about: about.clone(), want: 0 };
    let memory = keys::feedback_memory(&nudge.target());
    app.store.get::<Delivery>(&memory).await?.ok_or_else(missing)?;
    let now = app.clock.now();
    let asked =
        Write::put(keys::send_again(&to, &about), Expect::Any, &SendAgain { asked_at: now })?;
    let _unconditional = app.store.write(vec![asked.expires(now + DELIVERIES_KEPT)]).await?;
    // With a deduplication ID of its own: somebody may ask again soon.
    app.sender.send_later(nudge, Duration::ZERO).await?;
    let done = Done::new(format!("a notification was sent to {to} again"));
    Ok((Requested { id: about.to_string() }, done))
}
