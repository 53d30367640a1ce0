//! Why did, or didn't, this run? Every event with what was decided for each stack.

use crate::{
    access::Caller,
    app::App,
    cursor,
    form::Params,
    refusal::{Answer, Refusal},
};
use axum::{
    Extension, Json,
    extract::{Path, State},
    response::IntoResponse,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use gantry_domain::{
    CommitSha, EventId, ProjectId, StackId, StackSlug,
    event::{EventRecord, EventSource},
};
use gantry_setup::web::page_size;
use gantry_store::{
    Stored, keys,
    scheduler::{DecisionRecord, Receipt},
};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Days without any event after which looking back ends.
const QUIET_DAYS: u32 = 31;
/// Reads of the table for one answer: of a project where little happens, a page may be short.
const MOST_LOOKS: u32 = 60;
/// Events whose decisions are read at the same time.
const AT_ONCE: usize = 8;
/// Decisions of one event that are listed: one event can touch thousands of stacks.
const MOST_DECISIONS: i32 = 200;

/// Which events are asked for.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(crate) struct EventQuery {
    /// Only events of this project, by its ID in GitLab.
    pub(crate) project: Option<u64>,
    /// The `next` of the previous page.
    pub(crate) after: Option<String>,
    /// Items per page: 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    pub(crate) limit: Option<u32>,
}

/// A page of events, the newest first.
#[derive(Serialize, JsonSchema)]
pub(crate) struct EventList {
    /// The newest first.
    pub(crate) events: Vec<EventView>,
    /// The `after` of the next page; null at the end.
    pub(crate) next: Option<String>,
}

/// An event with what was decided for each stack.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Event")]
pub(crate) struct EventView {
    pub(crate) id: EventId,
    /// Where it came from.
    pub(crate) source: EventSource,
    /// The ID in GitLab of the project that it is about.
    pub(crate) project: Option<ProjectId>,
    /// What happened, in words.
    pub(crate) what: String,
    /// When it was received.
    pub(crate) received_at: Timestamp,
    /// Its overall outcome.
    pub(crate) outcome: Option<String>,
    /// What was decided, by stack.
    pub(crate) decisions: Vec<DecisionView>,
    /// There are more decisions than are listed; see the event itself.
    pub(crate) more_decisions: bool,
}

/// What was decided for one stack.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Decision")]
pub(crate) struct DecisionView {
    stack_id: StackId,
    /// The stack's slug.
    pub(crate) stack: StackSlug,
    /// A run was started for it.
    pub(crate) runs: bool,
    /// Why, or why not.
    pub(crate) reason: String,
    /// The commit that it is about.
    pub(crate) commit: Option<CommitSha>,
    /// When it was decided.
    at: Timestamp,
}

/// Everything that was decided for an event.
#[derive(Serialize, JsonSchema)]
pub(crate) struct EventDecisions {
    id: EventId,
    /// What was decided, by stack.
    decisions: Vec<DecisionView>,
}

/// `GET /api/v1/events?project=&after=&limit=`: the newest first.
pub(crate) async fn list(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Params(query): Params<EventQuery>,
) -> Answer<impl IntoResponse> {
    find_page(&app, &caller, &query).await.map(Json)
}

/// A page of events that the caller may see, the newest first.
pub(crate) async fn find_page(app: &App, caller: &Caller, query: &EventQuery) -> Answer<EventList> {
    let limit = page_size(query.limit, 25)?;
    let wanted = usize::try_from(limit).unwrap_or_default();
    let last = query.after.as_deref().map(read_cursor).transpose()?;
    let (mut day, mut after) = match last {
        Some((at, key)) => (at, Some(key)),
        None => (app.clock.now(), None),
    };
    let mut found: Vec<Stored<EventRecord>> = Vec::new();
    let mut last_seen = None;
    let (mut quiet, mut looks) = (0, 0);
    while found.len() < wanted && quiet < QUIET_DAYS && looks < MOST_LOOKS {
        let partition = keys::events_of_day(day);
        let page =
            app.store.query::<EventRecord>(&partition, "", after.as_deref(), true, limit).await?;
        looks += 1;
        quiet = if page.items.is_empty() { quiet + 1 } else { 0 };
        last_seen = page.items.last().map(|event| event.key.sk.clone()).or(last_seen);
        let asked = |event: &Stored<EventRecord>| {
            query.project.is_none_or(|project| event.value.project == Some(ProjectId(project)))
                && caller.sees(event.value.project)
        };
        found.extend(page.items.into_iter().filter(asked));
        after = page.next;
        if after.is_none() {
            day -= SignedDuration::from_hours(24);
        }
    }
    let next = if found.len() >= wanted {
        found.truncate(wanted);
        found.last().map(|event| event.key.sk.clone())
    } else {
        last_seen.filter(|_| looks == MOST_LOOKS)
    };
    let next = next.as_deref().map(cursor::from_key);
    let events = stream::iter(found)
        .map(|event| with_decisions(app, event.value))
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    Ok(EventList { events, next })
}

/// The day and the sort key that a cursor stands for: it begins with the milliseconds.
fn read_cursor(cursor: &str) -> Answer<(Timestamp, String)> {
    let key = cursor::to_key(cursor, "after")?;
    let millis = key.split('#').next().and_then(|millis| millis.parse().ok());
    match millis.and_then(|millis| Timestamp::from_millisecond(millis).ok()) {
        Some(at) => Ok((at, key)),
        None => Err(cursor::strange("after")),
    }
}

/// `GET /api/v1/events/{id}`: what was decided for one event, however many stacks.
pub(crate) async fn decisions(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer<impl IntoResponse> {
    let id: EventId = id.parse().map_err(|_| Refusal::not_found("event"))?;
    if !caller.sees_all() {
        find(&app, &caller, id.as_str()).await?;
    }
    let found = app.store.query_all::<DecisionRecord>(&keys::event_decisions(&id), "").await?;
    let decisions = found.into_iter().map(|found| view(found.value)).collect();
    Ok(Json(EventDecisions { id, decisions }))
}

/// An event by its id, with what was decided; as many stacks as a list has of it.
pub(crate) async fn find(app: &App, caller: &Caller, id: &str) -> Answer<EventView> {
    let missing = || Refusal::not_found("event");
    let id: EventId = id.parse().map_err(|_| missing())?;
    let receipt = app.store.get::<Receipt>(&keys::receipt(&id)).await?;
    let event = match receipt {
        Some(receipt) => app.store.get::<EventRecord>(&keys::event(receipt.value.at, &id)).await?,
        // As many reads as of one that may not be seen.
        None => app.store.integration().await?.and(None),
    };
    let event = event.map(|event| event.value).filter(|event| caller.sees(event.project));
    with_decisions(app, event.ok_or_else(missing)?).await
}

async fn with_decisions(app: &App, event: EventRecord) -> Answer<EventView> {
    let partition = keys::event_decisions(&event.id);
    let page =
        app.store.query::<DecisionRecord>(&partition, "", None, false, MOST_DECISIONS).await?;
    let decisions = page.items.into_iter().map(|found| view(found.value)).collect();
    Ok(EventView {
        id: event.id,
        source: event.source,
        project: event.project,
        what: event.what,
        received_at: event.received_at,
        outcome: event.outcome,
        decisions,
        more_decisions: page.next.is_some(),
    })
}

fn view(record: DecisionRecord) -> DecisionView {
    let DecisionRecord { stack, slug, runs, reason, commit, at } = record;
    DecisionView { stack_id: stack, stack: slug, runs, reason, commit, at }
}
