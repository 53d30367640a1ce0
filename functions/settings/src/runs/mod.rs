//! Runs: the list of a stack's, one of them, what its plan found.

mod compare;
mod log;
mod search;
mod view;

pub(crate) use compare::{CompareQuery, CompareView, compare, compared, previous};
pub(crate) use log::{
    LogPart, LogPlace, LogQuery, Piece, Reading, Section, before as log_before, ends_line,
    find as find_in_log, find_section, line_number, log, part,
};
pub(crate) use search::{FILTERS, Found, RunQuery, find_page, search};
pub(crate) use view::{RunView, actions, can_be_reviewed, project_page};

use crate::{
    access::{self, Caller},
    app::App,
    cursor,
    form::Params,
    refusal::{Answer, Refusal},
    stacks,
};
use axum::{
    Extension, Json,
    extract::{Path, State},
    response::IntoResponse,
};
use futures::future::try_join_all;
use gantry_domain::{
    RunId, StackId,
    plan::Change,
    run::{Interest, Position, Run, RunState, RunType},
    source::SourceWaits,
    stack::{Stack, StackHead},
};
use gantry_queue::FeedbackMessage;
use gantry_setup::web::{Problem, page_size};
use gantry_store::{
    Key, Stored,
    config::Pause,
    keys,
    scheduler::{ProjectVisibility, RunEntry},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};
use tokio::time::Instant;

/// What a stack's runs have before their sort key's time.
const PREFIX: &str = "run#";
/// Runs that one read brings.
const AT_ONCE: usize = 100;

/// Which part of the list is asked for.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(crate) struct ListQuery {
    /// The `next` of the previous page.
    pub(crate) after: Option<String>,
    /// Items per page: 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    pub(crate) limit: Option<u32>,
}

/// A page of runs.
#[derive(Serialize, JsonSchema)]
pub(crate) struct RunList {
    runs: Vec<view::RunSummary>,
    /// The `after` of the next page; null at the end.
    next: Option<String>,
}

/// `GET /api/v1/stacks/{slug}/runs?after=&limit=`: the newest first.
pub(crate) async fn list(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(slug): Path<String>,
    Params(query): Params<ListQuery>,
) -> Answer<impl IntoResponse> {
    let stack = stacks::find(&app, &slug).await?.value;
    let (runs, next) = page(&app, &caller, &stack, &query).await?;
    let runs = runs.into_iter().map(|run| view::summary(&app, run)).collect();
    Ok(Json(RunList { runs, next }))
}

/// A stack's runs that the caller may see, the newest first, and the `after` of the next page.
pub(crate) async fn page(
    app: &App,
    caller: &Caller,
    stack: &Stack,
    query: &ListQuery,
) -> Answer<(Vec<Run>, Option<String>)> {
    let after = match &query.after {
        Some(cursor) => Some(format!("{PREFIX}{}", cursor::to_key(cursor, "after")?)),
        None => None,
    };
    let limit = page_size(query.limit, 25)?;
    let page = app
        .store
        .query::<RunEntry>(&keys::stack_partition(&stack.id), PREFIX, after.as_deref(), true, limit)
        .await?;
    let wanted: Vec<_> = page.items.iter().map(|entry| keys::run(&entry.value.run)).collect();
    let mut runs = by_id(app, &wanted).await?;
    runs.retain(|run| caller.sees(run.project()));
    let next = page.next.map(|sk| cursor::from_key(sk.strip_prefix(PREFIX).unwrap_or(&sk)));
    Ok((runs, next))
}

/// Those of a stack's newest runs that the caller may see, the newest first, and whether there are
/// older ones.
pub(crate) async fn newest(
    app: &App,
    caller: &Caller,
    stack: &Stack,
    most: i32,
) -> Answer<(Vec<Run>, bool)> {
    let partition = keys::stack_partition(&stack.id);
    let page = app.store.query::<RunEntry>(&partition, PREFIX, None, true, most).await?;
    let wanted: Vec<_> = page.items.iter().map(|entry| keys::run(&entry.value.run)).collect();
    let parts = try_join_all(wanted.chunks(AT_ONCE).map(|part| by_id(app, part))).await?;
    let mut runs = parts.concat();
    runs.retain(|run| caller.sees(run.project()));
    Ok((runs, page.next.is_some()))
}

/// Runs by their keys, the newest first.
async fn by_id(app: &App, keys: &[Key]) -> Answer<Vec<Run>> {
    let found = app.store.get_many::<Run>(keys).await?;
    let mut runs: Vec<Run> = found.into_iter().map(|run| run.value).collect();
    runs.sort_by_key(|run| std::cmp::Reverse(run.number));
    Ok(runs)
}

/// `GET /api/v1/waiting?after=&limit=`: runs that wait for a person, the oldest first.
pub(crate) async fn waiting_list(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Params(query): Params<ListQuery>,
) -> Answer<impl IntoResponse> {
    let (runs, next) = waiting(&app, &caller, &query).await?;
    let runs = runs.into_iter().map(|run| view::summary(&app, run)).collect();
    Ok(Json(RunList { runs, next }))
}

/// Runs that wait for a person and that the caller may see, the oldest first, and the `after` of the
/// next page.
pub(crate) async fn waiting(
    app: &App,
    caller: &Caller,
    query: &ListQuery,
) -> Answer<(Vec<Run>, Option<String>)> {
    let after = query.after.as_deref().map(|at| cursor::to_key(at, "after")).transpose()?;
    let limit = page_size(query.limit, 100)?;
    let (mut runs, next) = match caller.sees_all() {
        true => {
            let page = app
                .store
                .query::<RunEntry>(keys::WAITING, "", after.as_deref(), false, limit)
                .await?;
            let wanted = page.items.iter().map(key_of).collect::<Vec<_>>();
            (by_id(app, &wanted).await?, page.next)
        }
        false => {
            let limit = usize::try_from(limit).unwrap_or_default();
            waiting_and_seen(app, caller, after.as_deref(), limit).await?
        }
    };
    runs.sort_by_key(|run| run.since);
    Ok((runs, next.as_deref().map(cursor::from_key)))
}

fn key_of(entry: &Stored<RunEntry>) -> Key {
    keys::run(&entry.value.run)
}

/// The first runs behind `after` that wait for a person and that the caller may see, and the sort key
/// of the last of them, if there are more. Whoever sees few of them would have to turn pages
/// otherwise, and would learn how many there are of others.
async fn waiting_and_seen(
    app: &App,
    caller: &Caller,
    after: Option<&str>,
    limit: usize,
) -> Answer<(Vec<Run>, Option<String>)> {
    let mut all = app.store.query_all::<RunEntry>(keys::WAITING, "").await?;
    all.retain(|entry| after.is_none_or(|after| entry.key.sk.as_str() > after));
    let mut found: Vec<(String, Run)> = Vec::new();
    for some in all.chunks(AT_ONCE) {
        let wanted: Vec<_> = some.iter().map(key_of).collect();
        let mut read: HashMap<RunId, Run> = seen(app, caller, by_id(app, &wanted).await?)
            .await?
            .into_iter()
            .map(|run| (run.id.clone(), run))
            .collect();
        for entry in some {
            let Some(run) = read.remove(&entry.value.run) else { continue };
            if found.len() == limit {
                let next = found.last().map(|(at, _)| at.clone());
                return Ok((found.into_iter().map(|(_, run)| run).collect(), next));
            }
            found.push((entry.key.sk.clone(), run));
        }
    }
    Ok((found.into_iter().map(|(_, run)| run).collect(), None))
}

/// Those of the runs that the caller may see. A stack can have runs of a project that it was moved
/// from: of both, they must know.
async fn seen(app: &App, caller: &Caller, mut runs: Vec<Run>) -> Answer<Vec<Run>> {
    if caller.sees_all() {
        return Ok(runs);
    }
    runs.retain(|run| caller.sees(run.project()));
    let stacks: BTreeSet<&StackId> = runs.iter().map(|run| &run.stack).collect();
    let stacks: Vec<Key> = stacks.into_iter().map(keys::stack_config).collect();
    let stacks = app.store.get_many::<Stack>(&stacks).await?;
    let hidden: BTreeSet<StackId> = stacks
        .into_iter()
        .map(|stack| stack.value)
        .filter(|stack| !caller.sees(stack.project()))
        .map(|stack| stack.id)
        .collect();
    runs.retain(|run| !hidden.contains(&run.stack));
    Ok(runs)
}

/// A stack's runs in a list of its partition that the caller may see: those that queue, or wait for
/// its apply.
pub(crate) async fn listed(
    app: &App,
    caller: &Caller,
    stack: &Stack,
    list: &str,
) -> Answer<Vec<Run>> {
    let partition = keys::stack_partition(&stack.id);
    let page = app.store.query::<RunEntry>(&partition, list, None, false, 100).await?;
    let wanted: Vec<_> = page.items.iter().map(|entry| keys::run(&entry.value.run)).collect();
    let mut runs = by_id(app, &wanted).await?;
    runs.retain(|run| caller.sees(run.project()));
    runs.reverse();
    Ok(runs)
}

/// How a run is asked for.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(crate) struct ShowQuery {
    /// Wait until the run has ended or needs confirmation, at most so many seconds: 1 to 25.
    #[schemars(range(min = 1, max = 25))]
    wait: Option<u64>,
}

/// `GET /api/v1/runs/{id}?wait=`
pub(crate) async fn show(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Params(query): Params<ShowQuery>,
) -> Answer<impl IntoResponse> {
    let run = match query.wait {
        None => find(&app, &id).await?,
        Some(seconds @ 1..=25) => settled(&app, &id, Duration::from_secs(seconds)).await?,
        Some(_) => return Err(Refusal::parameter("wait", "Must be from 1 to 25 seconds")),
    };
    let change = change(&app, &run).await?;
    let stack = stacks::of_run(&app, &run).await?;
    let integration = app.store.integration().await?.map(|found| found.value);
    let head = stacks::head(&app, &run.stack).await?.map(|head| head.value);
    let refused = refused_by_gitlab(&app, &run).await?;
    let waits = waits_for(&app, &run, head.as_ref()).await?.map(|waits| waits.text());
    let (stack, integration) = (stack.as_ref(), integration.as_ref());
    let change = change.as_ref();
    Ok(Json(view::of(&app, &caller, run, change, stack, integration, head, refused, waits)))
}

/// The run, once it has ended or needs confirmation; or as it is when the time is over.
async fn settled(app: &App, id: &str, time: Duration) -> Answer<Run> {
    let until = Instant::now() + time;
    let mut pause = Duration::from_millis(100);
    loop {
        let run = find(app, id).await?;
        if run.state.is_final() || run.state == RunState::Unconfirmed || Instant::now() >= until {
            return Ok(run);
        }
        tokio::time::sleep_until(until.min(Instant::now() + pause)).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

/// What a run waits for, in words.
#[derive(Default)]
pub(crate) struct Waits {
    pub(crate) before: String,
    /// The run that is named between the words: its id, and `#12`.
    pub(crate) behind: Option<(String, String)>,
    pub(crate) after: String,
}

impl Waits {
    fn new(text: impl Into<String>) -> Self {
        Self { before: text.into(), ..Self::default() }
    }

    /// All of it.
    pub(crate) fn text(&self) -> String {
        let name = self.behind.as_ref().map_or("", |(_, name)| name);
        format!("{}{name}{}", self.before, self.after)
    }
}

/// What the run waits for before it can have a runner, or why none could be started. `head` is its
/// stack's.
pub(crate) async fn waits_for(
    app: &App,
    run: &Run,
    head: Option<&StackHead>,
) -> Answer<Option<Waits>> {
    Ok(match run.position {
        Position::Source => {
            let key = gantry_objects::keys::source_waits(run.repository.key());
            let waits = app.objects.get(&key).await?;
            let waits = waits.and_then(|body| SourceWaits::from_json(&body));
            Some(Waits::new(SourceWaits::to_text(waits.as_ref(), app.clock.now())))
        }
        // A module's run begins no tests while the module is blocked.
        Position::StackQueue | Position::Waiting | Position::Tests
            if run.state == RunState::Queued =>
        {
            let Some(head) = head else { return Ok(None) };
            let holder = head.tracked.clone().filter(|_| run.position != Position::Tests);
            let blocked = head.blocked.clone().filter(|_| run.position != Position::Waiting);
            let (other, is_blocked) = match (holder, blocked) {
                (Some(holder), _) => (holder, false),
                (None, Some(blocked)) => (blocked.run, true),
                (None, None) => return Ok(None),
            };
            let other = app.store.get::<Run>(&keys::run(&other)).await?;
            other.map(|other| match is_blocked {
                true => waits_until_unblocked(run, &other.value),
                false => waits_behind(run, &other.value),
            })
        }
        Position::Queue if app.store.get::<Pause>(&keys::pause()).await?.is_some() => {
            Some(Waits::new("Runs are paused. It starts when they are resumed."))
        }
        Position::Queue | Position::Slot => {
            let why = run.not_started.as_ref();
            why.map(|why| Waits::new(format!("{why}. Gantry keeps trying.")))
        }
        _ => None,
    })
}

/// Everybody can read its project: then its links, which everybody can read there, open nothing. A
/// project that was private once may have some with a key. Where nobody knows, it counts as public:
/// whoever comes by a link can sign in.
pub(crate) async fn is_of_public_project(app: &App, run: &RunId) -> Answer<bool> {
    let Some(run) = app.store.get::<Run>(&keys::run(run)).await? else { return Ok(false) };
    let Some(project) = run.value.project() else { return Ok(true) };
    let now = app.clock.now();
    // Project ids belong to their server: what another one said of the same id is about another.
    let server = app.store.integration().await?.map(|linked| linked.value.api_host);
    let server = server.unwrap_or_default();
    let known = app.visibility.lock().await.get(&project).cloned();
    if let Some(known) = known.filter(|known| known.is_believed(&server, now)) {
        return Ok(known.is_public);
    }
    let seen = app.store.get::<ProjectVisibility>(&keys::project_visibility(project)).await?;
    if let Some(seen) = seen.filter(|seen| seen.value.is_believed(&server, now)) {
        return Ok(seen.value.is_public);
    }
    let asked = async {
        let client = app.gitlab.linked().await?.client;
        let found = client.project(project).await?;
        Ok::<_, Refusal>((client.host().to_string(), found))
    };
    match asked.await {
        Ok((server, found)) => {
            let is_public = found.is_public();
            let seen = ProjectVisibility { project, server, is_public, asked_at: now };
            app.visibility.lock().await.insert(project, seen);
            Ok(is_public)
        }
        Err(refusal) => {
            tracing::warn!(
                project.id = project.0,
                "who may read it is unknown: {}",
                refusal.words()
            );
            Ok(true)
        }
    }
}

/// What comes before the run that holds the stack.
const QUEUED: &str = "Queued behind ";

/// In words: which run of its stack this one waits for, and what that one does.
fn waits_behind(run: &Run, holder: &Run) -> Waits {
    let (before, after) = match holder.state {
        _ if run.position == Position::Waiting => ("Waits until ", " has been applied."),
        RunState::Unconfirmed => (QUEUED, ", which needs confirmation."),
        RunState::Confirmed | RunState::Applying => (QUEUED, ", which is being applied."),
        RunState::Initializing | RunState::Planning => (QUEUED, ", which is being planned."),
        _ => (QUEUED, ", which is under way."),
    };
    let behind = Some((holder.id.to_string(), format!("#{}", holder.number)));
    Waits { before: before.to_owned(), behind, after: after.to_owned() }
}

/// In words: which run has blocked the stack, or the module.
fn waits_until_unblocked(run: &Run, blocking: &Run) -> Waits {
    let what = if run.module { "module" } else { "stack" };
    Waits {
        before: format!("Queued until an admin unblocks the {what}, which was blocked by "),
        behind: Some((blocking.id.to_string(), format!("#{}", blocking.number))),
        after: ".".to_owned(),
    }
}

/// GitLab's own words where it refused what the run should show there.
pub(crate) async fn refused_by_gitlab(app: &App, run: &Run) -> Answer<Vec<String>> {
    if run.is_drift() {
        let issue = FeedbackMessage::Issue { stack: run.stack.clone(), want: 0 };
        return Ok(app.store.refusals(&issue.target()).await?);
    }
    let Some(project) = run.project().filter(|_| run.is_of_commit()) else {
        return Ok(Vec::new());
    };
    let mut targets =
        vec![FeedbackMessage::Status { project, commit: run.commit.clone(), want: 0 }];
    targets.extend(run.interests.iter().filter_map(|want| match want {
        Interest::MergeRequest(iid) => Some(FeedbackMessage::Note { project, iid: *iid, want: 0 }),
        _ => None,
    }));
    if run.run_type == RunType::Tracked {
        targets.push(FeedbackMessage::Environment { stack: run.stack.clone(), want: 0 });
    }
    let mut words = Vec::new();
    for target in targets.iter().map(FeedbackMessage::target) {
        words.extend(app.store.refusals(&target).await?);
    }
    Ok(words)
}

/// `GET /api/v1/runs/{id}/change`
pub(crate) async fn show_change(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Answer<impl IntoResponse> {
    let run = find(&app, &id).await?;
    let change = change(&app, &run).await?.ok_or_else(|| {
        let state = run.state;
        Refusal::new(
            axum::http::StatusCode::NOT_FOUND,
            "Not found",
            format!("The run is {state}; there is no plan to show."),
        )
    })?;
    Ok(Json(change))
}

/// Refuses a run that the caller may not see, as one that is not there.
pub(crate) async fn check_seen(app: &App, caller: &Caller, id: &str) -> Answer<()> {
    if caller.sees_all() {
        return Ok(());
    }
    let run = match id.parse() {
        Ok(id) => app.store.get::<Run>(&keys::run(&id)).await?.map(|found| found.value),
        Err(_) => None,
    };
    let stack = run.as_ref().map(|run| run.stack.clone());
    let stack = access::stack_or_in_vain(app, stack).await?;
    let is_seen = run.is_some_and(|run| caller.sees(run.project()))
        && stack.is_none_or(|stack| caller.sees(stack.value.project()));
    is_seen.then_some(()).ok_or_else(|| Refusal::not_found("run"))
}

/// A run by its id.
pub(crate) async fn find(app: &App, id: &str) -> Answer<Run> {
    let missing = || Refusal::not_found("run");
    let id: RunId = id.parse().map_err(|_| missing())?;
    let run: Option<Stored<Run>> = app.store.get(&keys::run(&id)).await?;
    run.map(|run| run.value).ok_or_else(missing)
}

/// What the run's plan found; none while it has not planned.
///
/// The record does not say which attempt planned: attempts are counted through all phases, and an
/// attempt that was lost may have left a change of its own. The plan that counts is the last one.
pub(crate) async fn change(app: &App, run: &Run) -> Answer<Option<Change>> {
    if run.delta.is_none() {
        return Ok(None);
    }
    for attempt in (0..=run.attempt).rev() {
        let key = gantry_objects::keys::change(&run.id, attempt);
        if let Some(bytes) = app.objects.get(&key).await? {
            let change =
                serde_json::from_slice(&bytes).map_err(|error| Problem::internal(&error))?;
            return Ok(Some(change));
        }
    }
    Ok(None)
}
