//! What operators do: looking at messages that were given up and sending them again, and holding
//! runners back for a while.

use crate::{
    access::Caller,
    app::{App, RunsConfinement},
    form::{Body, Form},
    refusal::{Answer, Done, Refusal},
};
use axum::{Extension, Json, extract::State, response::IntoResponse};
use futures::future::{try_join, try_join_all};
use gantry_domain::{RunId, StackId, text::counted};
use gantry_queue::{Backlog, DeadLetter, QueueName, SlotsMessage};
use gantry_store::{Expect, Write, config::Pause, keys, scheduler::SlotLimit};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The current state of operations: whether runs are paused, the queues, and failed messages.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Operations {
    /// Who paused runs; null while they are not paused.
    pub(crate) pause: Option<Pause>,
    /// Set while the cloud accepts fewer runners than configured.
    pub(crate) fewer_runners: Option<FewerRunners>,
    /// How runs on the installation's own machine are confined; null if builds are started instead.
    pub(crate) runs: Option<RunsConfinement>,
    /// How many messages each queue holds.
    pub(crate) queues: Vec<Queue>,
    /// Failed messages, by queue.
    pub(crate) dead_letters: Vec<DeadQueue>,
}

/// The cloud's limit, while it is in force.
#[derive(Serialize, JsonSchema)]
pub(crate) struct FewerRunners {
    /// How many runners it had accepted.
    pub(crate) runners: u32,
    /// Since when.
    pub(crate) since: Timestamp,
    /// The cloud's own message.
    pub(crate) words: String,
}

/// How many messages a queue holds, approximately.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Queue {
    /// Its name.
    pub(crate) queue: &'static str,
    /// Messages that are not being processed yet.
    pub(crate) waiting: u64,
    /// Those that are being processed, or are delayed or waiting for another attempt.
    pub(crate) in_flight: u64,
    /// Those whose processing has failed so far; null on AWS.
    pub(crate) failing: Option<u64>,
    /// When the oldest was sent; null if there is none, and on AWS, where CloudWatch has its age.
    pub(crate) oldest: Option<Timestamp>,
}

impl Queue {
    fn of(queue: QueueName, backlog: Backlog) -> Self {
        let Backlog { waiting, in_flight, failing, oldest } = backlog;
        Self { queue: word(queue), waiting, in_flight, failing, oldest }
    }
}

/// The failed messages of a queue; at most about 100 are shown.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DeadLetters")]
pub(crate) struct DeadQueue {
    /// The queue's name.
    pub(crate) queue: &'static str,
    /// At most about 100 of them.
    pub(crate) messages: Vec<DeadMessage>,
}

/// A failed message.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DeadLetter")]
pub(crate) struct DeadMessage {
    /// What it asked for; null if it cannot be read.
    pub(crate) kind: Option<&'static str>,
    /// Its group: messages of one group are processed in order.
    pub(crate) group: Option<String>,
    /// The ID of the stack or module that it names.
    pub(crate) stack: Option<StackId>,
    /// The run that it names.
    pub(crate) run: Option<RunId>,
    /// Why it failed.
    pub(crate) error: Option<String>,
    /// When it was sent.
    pub(crate) sent_at: Option<Timestamp>,
}

/// How many messages of each queue were resent.
#[derive(Serialize, JsonSchema)]
#[serde(transparent)]
pub(crate) struct Redriven(BTreeMap<&'static str, usize>);

/// Whether runs are paused now.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Paused {
    /// No new run is started.
    paused: bool,
}

impl From<DeadLetter> for DeadMessage {
    fn from(letter: DeadLetter) -> Self {
        let DeadLetter { kind, group, stack, run, error, sent_at, .. } = letter;
        Self { kind, group, stack, run, error, sent_at }
    }
}

/// `GET /api/v1/operations`
pub(crate) async fn show(State(app): State<App>) -> Answer<impl IntoResponse> {
    Ok(Json(look(&app).await?))
}

/// How things stand now. Queues of AWS are asked, which takes a second.
pub(crate) async fn look(app: &App) -> Answer<Operations> {
    let all = QueueName::ALL.map(|queue| async move {
        let (backlog, letters) =
            try_join(app.dead_letters.backlog(queue), app.dead_letters.dead_letters(queue)).await?;
        let messages = letters.into_iter().map(DeadMessage::from).collect();
        let dead = DeadQueue { queue: word(queue), messages };
        Ok::<_, anyhow::Error>((Queue::of(queue, backlog), dead))
    });
    let all = try_join_all(all).await.map_err(|error| trouble(&error))?;
    let (queues, dead_letters) = all.into_iter().unzip();
    let limit = app.store.get::<SlotLimit>(&keys::slot_limit()).await?;
    let now = app.clock.now();
    let fewer_runners =
        limit.map(|found| found.value).filter(|limit| limit.is_in_force(now)).map(|limit| {
            FewerRunners { runners: limit.runners, since: limit.since, words: limit.words }
        });
    let pause = app.store.get::<Pause>(&keys::pause()).await?.map(|found| found.value);
    let runs = app.confinement.clone();
    Ok(Operations { pause, fewer_runners, runs, queues, dead_letters })
}

/// `POST /api/v1/operations/redrive {"queue"?}`: one queue, or all.
pub(crate) async fn redrive(State(app): State<App>, Body(body): Body) -> Answer<impl IntoResponse> {
    let (sent, done) = send_again(&app, body).await?;
    Ok((Extension(done), Json(Redriven(sent))))
}

/// Sends dead letters again; says how many of which queue.
pub(crate) async fn send_again(
    app: &App,
    body: Map<String, Value>,
) -> Answer<(BTreeMap<&'static str, usize>, Done)> {
    let mut form = Form::new(body);
    let named = form.text("queue").filter(|name| !name.is_empty());
    let chosen: Vec<QueueName> = QueueName::ALL
        .into_iter()
        .filter(|queue| named.as_ref().is_none_or(|name| name == word(*queue)))
        .collect();
    if chosen.is_empty() {
        form.wrong("queue", "Must be one of events, source, feedback, starts and later");
    }
    form.check()?;
    let mut sent = BTreeMap::new();
    for queue in chosen {
        let count = app.dead_letters.redrive(queue).await.map_err(|error| trouble(&error))?;
        sent.insert(word(queue), count);
    }
    let all: usize = sent.values().sum();
    tracing::info!(messages = all, "failed messages were resent");
    let done = Done::new(format!("resent {}", counted(all, "message")));
    Ok((sent, done))
}

/// `PUT /api/v1/operations/pause {"paused"}`
pub(crate) async fn pause(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Body(body): Body,
) -> Answer<impl IntoResponse> {
    let mut form = Form::new(body);
    let paused = form.flag("paused");
    if paused.is_none() {
        form.wrong("paused", "Must be true or false");
    }
    form.check()?;
    let paused = paused == Some(true);
    let done = set_pause(&app, &caller, paused).await?;
    Ok((Extension(done), Json(Paused { paused })))
}

/// Holds runners back, or lets them start again.
pub(crate) async fn set_pause(app: &App, caller: &Caller, paused: bool) -> Answer<Done> {
    let key = keys::pause();
    if paused {
        let pause = Pause { by: caller.name.clone(), since: app.clock.now() };
        // Who paused first stays named.
        let _outcome = app.store.write(vec![Write::put(key, Expect::Absent, &pause)?]).await?;
        return Ok(Done::new("runs are paused"));
    }
    let _outcome = app.store.write(vec![Write::Delete { key, expect: Expect::Any }]).await?;
    let cause = format!("resume.{}", caller.request);
    app.sender
        .send(SlotsMessage::Dispatch { cause })
        .await
        .map_err(|error| trouble(&error.into()))?;
    Ok(Done::new("runs are resumed"))
}

/// A queue's name without its kind.
fn word(queue: QueueName) -> &'static str {
    queue.as_str().trim_end_matches(".fifo")
}

fn trouble(error: &anyhow::Error) -> Refusal {
    tracing::error!("the queues cannot be reached: {error:#}");
    Refusal::new(
        axum::http::StatusCode::SERVICE_UNAVAILABLE,
        "The queues cannot be reached",
        format!("{error:#}. Trying again is safe."),
    )
}
