//! The operators' page: dead letters, and holding runners back.

use super::{
    fields::Fields,
    go_to, page,
    shell::{Frame, Shell},
    show::{Moment, short},
};
use crate::{
    access::Caller,
    app::{App, RunsConfinement},
    drift, operations as api,
    refusal::Answer,
};
use askama::Template;
use axum::{
    Extension,
    extract::State,
    response::{IntoResponse as _, Response},
};
use gantry_domain::schedule::Schedule;
use gantry_store::config::DriftDefaults;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

#[derive(Template)]
#[template(path = "operations.html")]
struct OperationsPage {
    shell: Shell,
    pause: Option<PauseView>,
    fewer_runners: Option<FewerView>,
    runs: Option<RunsConfinement>,
    drift: DriftView,
    backlog: Vec<BacklogRow>,
    /// Whether the queues tell how old their messages are, and which of them fail.
    tells_age: bool,
    /// Those with messages that were given up.
    queues: Vec<QueueView>,
}

/// When stacks are looked at for drift that say nothing else.
struct DriftView {
    cron: String,
    time_zone: String,
    at_most: u32,
    /// The same in words.
    words: Option<String>,
}

impl DriftView {
    fn of(defaults: &DriftDefaults) -> Self {
        let schedule = defaults.schedule.as_ref();
        Self {
            cron: schedule.map(|of| of.cron.to_string()).unwrap_or_default(),
            time_zone: schedule.map(|of| of.time_zone.to_string()).unwrap_or_default(),
            at_most: defaults.at_most,
            words: schedule.map(Schedule::describe),
        }
    }
}

struct PauseView {
    by: String,
    since: Moment,
}

struct FewerView {
    runners: u32,
    since: Moment,
    words: String,
}

struct BacklogRow {
    name: &'static str,
    waiting: u64,
    in_flight: u64,
    failing: u64,
    oldest: Option<Moment>,
}

struct QueueView {
    name: &'static str,
    rows: Vec<MessageRow>,
}

struct MessageRow {
    sent_at: Option<Moment>,
    kind: &'static str,
    /// Its group, or the stack that it names where it has none.
    group: String,
    run: Option<String>,
    error: String,
}

impl MessageRow {
    fn of(message: api::DeadMessage, now: Timestamp) -> Self {
        let stack = message.stack.map(|stack| format!("stack:{stack}"));
        Self {
            sent_at: message.sent_at.map(|at| Moment::at(at, now)),
            kind: message.kind.unwrap_or("unreadable"),
            group: short(&message.group.or(stack).unwrap_or_default(), 80),
            run: message.run.map(|run| run.to_string()),
            error: short(&message.error.unwrap_or_default(), 400),
        }
    }
}

/// `GET /operations`
pub(crate) async fn show(State(app): State<App>, frame: Frame) -> Answer<Response> {
    let (found, drift) = tokio::try_join!(api::look(&app), drift::defaults(&app))?;
    let now = app.clock.now();
    let queues = found.dead_letters.into_iter().filter(|queue| !queue.messages.is_empty());
    let queues = queues.map(|queue| QueueView {
        name: queue.queue,
        rows: queue.messages.into_iter().map(|m| MessageRow::of(m, now)).collect(),
    });
    let tells_age = found.queues.iter().any(|queue| queue.failing.is_some());
    let backlog = found.queues.into_iter().map(|queue| BacklogRow {
        name: queue.queue,
        waiting: queue.waiting,
        in_flight: queue.in_flight,
        failing: queue.failing.unwrap_or_default(),
        oldest: queue.oldest.map(|at| Moment::at(at, now)),
    });
    Ok(page(&OperationsPage {
        shell: frame.shell("operations", "Operations"),
        pause: found
            .pause
            .map(|pause| PauseView { by: pause.by, since: Moment::at(pause.since, now) }),
        fewer_runners: found.fewer_runners.map(|fewer| FewerView {
            runners: fewer.runners,
            since: Moment::at(fewer.since, now),
            words: short(&fewer.words, 300),
        }),
        runs: found.runs,
        drift: DriftView::of(&drift),
        backlog: backlog.collect(),
        tells_age,
        queues: queues.collect(),
    }))
}

/// `POST /operations/redrive`
pub(crate) async fn redrive(
    State(app): State<App>,
    frame: Frame,
    Extension(fields): Extension<Fields>,
) -> Answer<Response> {
    let body = Map::from_iter([("queue".to_owned(), fields.value("queue"))]);
    let (_sent, done) = api::send_again(&app, body).await?;
    Ok((Extension(done), go_to(&format!("{}operations?done=sent", frame.root))).into_response())
}

/// `POST /operations/pause`
pub(crate) async fn pause(
    State(app): State<App>,
    frame: Frame,
    Extension(caller): Extension<Caller>,
    Extension(fields): Extension<Fields>,
) -> Answer<Response> {
    let done = api::set_pause(&app, &caller, fields.text("paused") == "true").await?;
    Ok((Extension(done), go_to(&format!("{}operations", frame.root))).into_response())
}

/// `POST /operations/drift`
pub(crate) async fn save_drift(
    State(app): State<App>,
    frame: Frame,
    Extension(fields): Extension<Fields>,
) -> Answer<Response> {
    let schedule = match fields.value("cron") {
        Value::Null => Value::Null,
        cron => json!({ "cron": cron, "time_zone": fields.value("time_zone") }),
    };
    let number =
        |typed: &str| typed.parse::<u32>().map_or_else(|_| Value::from(typed), Value::from);
    let at_most = match fields.value("at_most") {
        Value::Null => Value::Null,
        typed => number(typed.as_str().unwrap_or_default()),
    };
    let body = [("schedule".to_owned(), schedule), ("at_most".to_owned(), at_most)];
    let (_, done) = drift::set(&app, Map::from_iter(body)).await?;
    Ok((Extension(done), go_to(&format!("{}operations?done=drift", frame.root))).into_response())
}
