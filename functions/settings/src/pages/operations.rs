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
    operations as api,
    refusal::Answer,
};
use askama::Template;
use axum::{
    Extension,
    extract::State,
    response::{IntoResponse as _, Response},
};
use jiff::Timestamp;
use serde_json::Map;

#[derive(Template)]
#[template(path = "operations.html")]
struct OperationsPage {
    shell: Shell,
    pause: Option<PauseView>,
    fewer_runners: Option<FewerView>,
    runs: Option<RunsConfinement>,
    backlog: Vec<BacklogRow>,
    /// Whether the queues tell how old their messages are, and which of them fail.
    tells_age: bool,
    /// Those with messages that were given up.
    queues: Vec<QueueView>,
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
    let found = api::look(&app).await?;
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
