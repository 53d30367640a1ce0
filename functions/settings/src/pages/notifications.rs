//! Who is notified outside of GitLab, and what became of each message.

use super::{
    fields::Fields,
    forms::FormView,
    go_to,
    kept::{Keeper, TYPE_AGAIN},
    respond,
    shell::{Frame, Shell},
    show::{Chip, Moment, short},
};
use crate::{
    access::Caller,
    app::App,
    form::Params,
    notifications::{self as api, DeliveryQuery, DeliveryView, SavedTarget, TargetView},
    refusal::{Answer, Done, Refusal},
};
use askama::Template;
use axum::{
    Extension,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use gantry_domain::notification::{NotificationEvent, TargetKind};
use gantry_store::notifications::DeliveryState;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use strum::VariantArray as _;

#[derive(Template)]
#[template(path = "notifications.html")]
struct Targets {
    shell: Shell,
    targets: Vec<TargetRow>,
    form: FormView,
    events: Vec<EventBox>,
    kinds: Vec<(String, &'static str)>,
    /// What was just made: this is the only time that its secret is shown.
    made: Option<Made>,
}

/// A target that was just made, or that has a new secret.
struct Made {
    name: String,
    secret: Option<String>,
}

impl Made {
    fn of(saved: SavedTarget) -> Self {
        Self { name: saved.view.name.to_string(), secret: saved.secret }
    }
}

struct TargetRow {
    name: String,
    kind: &'static str,
    server: String,
    events: String,
    labels: String,
    chip: Chip,
}

/// An event that may be chosen.
struct EventBox {
    value: String,
    label: &'static str,
    chosen: bool,
}

#[derive(Template)]
#[template(path = "notification_target.html")]
struct Target {
    shell: Shell,
    target: TargetView,
    kind: &'static str,
    failing_since: Option<Moment>,
    previous_until: Option<Moment>,
    is_webhook: bool,
    form: FormView,
    events: Vec<EventBox>,
    made: Option<Made>,
    deliveries: Vec<DeliveryRow>,
    next: Option<String>,
}

struct DeliveryRow {
    id: String,
    title: String,
    /// The page that it leads to, if that is known.
    url: Option<String>,
    chip: Chip,
    why: String,
    at: Moment,
    next_at: Option<Moment>,
    attempts: Vec<AttemptRow>,
}

struct AttemptRow {
    at: Moment,
    status: String,
    answer: String,
}

/// Where the list of messages goes on.
#[derive(Default, Deserialize)]
pub(crate) struct Query {
    after: Option<String>,
}

fn boxes(form: &FormView) -> Vec<EventBox> {
    let chosen = form.text("events");
    let is_chosen = |value: &str| chosen.lines().any(|line| line == value);
    let each = NotificationEvent::VARIANTS.iter().map(|event| {
        let value = event.to_string();
        EventBox { chosen: is_chosen(&value), label: event.label(), value }
    });
    each.collect()
}

/// All events, as a form has them.
fn all_events() -> Value {
    NotificationEvent::VARIANTS.iter().map(ToString::to_string).collect()
}

fn row(target: TargetView) -> TargetRow {
    let chip = match (&target.disabled, target.failing_since) {
        (Some(_), _) => Chip::new("bad", "✕", "Disabled"),
        (None, Some(_)) => Chip::new("wait", "‖", "Failing"),
        (None, None) => Chip::new("ok", "✓", "In use"),
    };
    let events = match target.events.len() {
        all if all == NotificationEvent::VARIANTS.len() => "all".to_owned(),
        some => some.to_string(),
    };
    TargetRow {
        name: target.name.to_string(),
        kind: target.kind.label(),
        server: short(&target.server, 80),
        events,
        labels: short(&target.labels.join(", "), 80),
        chip,
    }
}

/// `GET /notifications`
pub(crate) async fn list(State(app): State<App>, frame: Frame) -> Answer<Response> {
    let form = FormView::of(Map::from_iter([("events".to_owned(), all_events())]));
    draw_list(&app, &frame, StatusCode::OK, form, None).await
}

async fn draw_list(
    app: &App,
    frame: &Frame,
    status: StatusCode,
    form: FormView,
    made: Option<Made>,
) -> Answer<Response> {
    let targets = api::listed(app).await?.into_iter().map(row).collect();
    let kinds = TargetKind::VARIANTS.iter().map(|kind| (kind.to_string(), kind.label())).collect();
    let (shell, events) = (frame.shell("operations", "Notifications"), boxes(&form));
    Ok(respond(status, &Targets { shell, targets, events, kinds, form, made }))
}

/// What was chosen and typed, as the API takes it. The URL is a secret, and stands apart.
fn typed(fields: &Fields) -> Map<String, Value> {
    let chosen = |event: &&NotificationEvent| fields.has(&format!("events.{event}"));
    let events = NotificationEvent::VARIANTS.iter().filter(chosen).map(ToString::to_string);
    Map::from_iter([
        ("events".to_owned(), events.collect()),
        ("labels".to_owned(), fields.lines("labels")),
    ])
}

/// The URL that was typed now, or before into the same form; null where none was.
fn url(fields: &Fields, keeper: &Keeper) -> Answer<Value> {
    let now = fields.value("url");
    match fields.text("url.kept") {
        kept if now.is_null() && !kept.is_empty() => match keeper.open("url", kept) {
            Some(url) => Ok(url.into()),
            None => Err(Refusal::field("url", TYPE_AGAIN)),
        },
        _ => Ok(now),
    }
}

/// A form that was refused, with the URL that was typed as something that nobody can read.
fn refused(mut values: Map<String, Value>, refusal: &Refusal, keeper: &Keeper) -> FormView {
    let url = values.remove("url").unwrap_or_default();
    let form = FormView::refused(values, refusal);
    form.keeping(keeper, "url", url.as_str().unwrap_or_default())
}

/// `POST /notifications`
pub(crate) async fn make(
    State(app): State<App>,
    frame: Frame,
    Extension(fields): Extension<Fields>,
) -> Answer<Response> {
    let keeper = Keeper::of(&app, &frame, "notifications");
    let mut values = typed(&fields);
    values.insert("name".to_owned(), fields.value("name"));
    values.insert("kind".to_owned(), fields.value("kind"));
    let made = match url(&fields, &keeper) {
        Ok(url) => {
            values.insert("url".to_owned(), url);
            api::make(&app, values.clone()).await
        }
        Err(refusal) => Err(refusal),
    };
    let (done, status, form, made) = match made {
        Ok(made) => {
            let done = Done::new(format!("created the notification target {}", made.view.name));
            let empty = FormView::of(Map::from_iter([("events".to_owned(), all_events())]));
            (done, StatusCode::CREATED, empty, Some(Made::of(made)))
        }
        Err(refusal) => {
            let form = refused(values, &refusal, &keeper);
            (Done::new(refusal.outcome()), StatusCode::UNPROCESSABLE_ENTITY, form, None)
        }
    };
    let response = draw_list(&app, &frame, status, form, made).await?;
    Ok((Extension(done), response).into_response())
}

/// `GET /notifications/{target}?after=`
pub(crate) async fn show(
    State(app): State<App>,
    frame: Frame,
    Path(name): Path<String>,
    Params(query): Params<Query>,
) -> Answer<Response> {
    draw(&app, &frame, &name, query.after, StatusCode::OK, None, None).await
}

async fn draw(
    app: &App,
    frame: &Frame,
    name: &str,
    after: Option<String>,
    status: StatusCode,
    form: Option<FormView>,
    made: Option<Made>,
) -> Answer<Response> {
    let found = api::find(app, name).await?.value;
    let target = api::present(app, found).await?;
    let query = DeliveryQuery { after, limit: None };
    let page = api::find_page(app, &target.name, &query).await?;
    let now = app.clock.now();
    let there = || {
        FormView::of(Map::from_iter([
            ("events".to_owned(), json!(target.events)),
            ("labels".to_owned(), json!(target.labels)),
        ]))
    };
    let form = form.unwrap_or_else(there);
    let page = Target {
        shell: frame.shell("operations", format!("Notifications for {}", target.name)),
        kind: target.kind.label(),
        failing_since: target.failing_since.map(|at| Moment::at(at, now)),
        previous_until: target.previous_secret_until.map(|at| Moment::at(at, now)),
        is_webhook: target.kind == TargetKind::Webhook,
        events: boxes(&form),
        deliveries: page.deliveries.into_iter().map(|found| delivery(found, now)).collect(),
        next: page.next,
        form,
        made,
        target,
    };
    Ok(respond(status, &page))
}

fn delivery(found: DeliveryView, now: Timestamp) -> DeliveryRow {
    let chip = match found.state {
        DeliveryState::Waiting => Chip::new("busy", "◔", "Waiting"),
        DeliveryState::Delivered => Chip::new("ok", "✓", "Delivered"),
        DeliveryState::GivenUp => Chip::new("bad", "✕", "Given up"),
        DeliveryState::Dropped => Chip::new("quiet", "⊘", "Not sent"),
    };
    let title = match (found.title.is_empty(), found.event) {
        (false, _) => short(&found.title, 120),
        (true, Some(event)) => event.label().to_owned(),
        (true, None) => "Test".to_owned(),
    };
    let attempts = found.attempts.into_iter().rev().map(|attempt| AttemptRow {
        at: Moment::at(attempt.at, now),
        status: attempt.status.map_or_else(|| "–".to_owned(), |status| status.to_string()),
        answer: attempt.answer,
    });
    DeliveryRow {
        id: found.id,
        title,
        url: Some(found.url).filter(|url| !url.is_empty()),
        chip,
        why: found.why.unwrap_or_default(),
        at: Moment::at(found.raised_at, now),
        next_at: found.next_at.map(|at| Moment::at(at, now)),
        attempts: attempts.collect(),
    }
}

/// `POST /notifications/{target}`
pub(crate) async fn save(
    State(app): State<App>,
    frame: Frame,
    Path(name): Path<String>,
    Extension(fields): Extension<Fields>,
) -> Answer<Response> {
    let keeper = Keeper::of(&app, &frame, &format!("notifications/{name}"));
    let mut values = typed(&fields);
    let is_renewed = fields.has("new_secret");
    let saved = match url(&fields, &keeper) {
        Ok(url) => {
            values.insert("url".to_owned(), url);
            let mut body = values.clone();
            body.insert("new_secret".to_owned(), is_renewed.into());
            api::change(&app, &name, body).await
        }
        Err(refusal) => Err(refusal),
    };
    match saved {
        Ok(saved) => {
            let done = Done::new(format!("changed the notification target {}", saved.view.name));
            let response = match saved.secret.is_some() {
                true => {
                    let made = Some(Made::of(saved));
                    draw(&app, &frame, &name, None, StatusCode::OK, None, made).await?
                }
                false => go_to(&there(&frame, &name, "target-saved")),
            };
            Ok((Extension(done), response).into_response())
        }
        Err(refusal) => {
            let done = Done::new(refusal.outcome());
            let form = refused(values, &refusal, &keeper);
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            let response = draw(&app, &frame, &name, None, status, Some(form), None).await?;
            Ok((Extension(done), response).into_response())
        }
    }
}

/// The page of a target that is there, and what was done.
fn there(frame: &Frame, name: &str, done: &str) -> String {
    format!("{}notifications/{name}?done={done}", frame.root)
}

/// `POST /notifications/{target}/test`
pub(crate) async fn test(
    State(app): State<App>,
    frame: Frame,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Answer<Response> {
    let (_requested, done) = api::try_it(&app, &name, &caller.request).await?;
    Ok((Extension(done), go_to(&there(&frame, &name, "target-tested"))).into_response())
}

/// `POST /notifications/{target}/send`
pub(crate) async fn send_again(
    State(app): State<App>,
    frame: Frame,
    Path(name): Path<String>,
    Extension(fields): Extension<Fields>,
) -> Answer<Response> {
    let (_requested, done) = api::send_again(&app, &name, fields.text("delivery")).await?;
    Ok((Extension(done), go_to(&there(&frame, &name, "notification-sent"))).into_response())
}

/// `POST /notifications/{target}/delete`
pub(crate) async fn remove(
    State(app): State<App>,
    frame: Frame,
    Path(name): Path<String>,
) -> Answer<Response> {
    let name = api::remove(&app, &name).await?;
    let done = Done::new(format!("deleted the notification target {name}"));
    let to = format!("{}notifications?done=target-deleted", frame.root);
    Ok((Extension(done), go_to(&to)).into_response())
}
