//! Why did, or didn't, this run? Each webhook and each difference that comparing found.

use super::{
    overview::RunRow,
    page,
    shell::{Frame, Shell},
    show::{Moment, short},
};
use crate::{
    app::App,
    events::{self, EventQuery, EventView},
    form::Params,
    refusal::Answer,
    runs::{self, RunQuery},
    stacks,
};
use askama::Template;
use axum::{
    extract::{Path, State},
    response::Response,
};
use gantry_domain::{CommitSha, ProjectId, event::EventSource, run::Run};
use jiff::Timestamp;
use serde::Deserialize;
use std::collections::{BTreeSet, HashMap};

#[derive(Template)]
#[template(path = "events.html")]
struct Events {
    shell: Shell,
    events: Vec<EventRow>,
    projects: Vec<ProjectOption>,
    project: Option<u64>,
    next: Option<String>,
    /// The page is of one event alone.
    is_one: bool,
}

struct ProjectOption {
    id: u64,
    path: String,
    chosen: bool,
}

struct EventRow {
    id: String,
    source: &'static str,
    project: String,
    project_id: Option<u64>,
    what: String,
    at: Moment,
    outcome: String,
    decisions: Vec<DecisionRow>,
    more: bool,
}

struct DecisionRow {
    stack: String,
    runs: bool,
    reason: String,
    commit: String,
    /// The runs of its stack and commit, on the page of one event.
    runs_there: Vec<RunRow>,
}

#[derive(Deserialize)]
pub(crate) struct Query {
    /// Empty when all projects are wanted.
    project: Option<String>,
    /// Links of earlier pages say `before`.
    #[serde(alias = "before")]
    after: Option<String>,
}

/// `GET /events?project=&after=`
pub(crate) async fn show(
    State(app): State<App>,
    frame: Frame,
    Params(query): Params<Query>,
) -> Answer<Response> {
    let project = query.project.as_deref().and_then(|id| id.trim().parse().ok());
    let asked = EventQuery { project, after: query.after, limit: None };
    let found = events::find_page(&app, frame.caller()?, &asked).await?;
    let known = stacks::projects(&app, frame.caller()?).await?;
    let paths: HashMap<ProjectId, String> =
        known.into_iter().map(|entry| (entry.project, entry.path)).collect();
    let mut projects: Vec<ProjectOption> = paths
        .iter()
        .map(|(id, path)| ProjectOption {
            id: id.0,
            path: path.clone(),
            chosen: project == Some(id.0),
        })
        .collect();
    projects.sort_by(|a, b| a.path.cmp(&b.path));
    let now = app.clock.now();
    let events = found.events.into_iter().map(|event| row(event, &paths, now)).collect();
    let shell = frame.shell("events", "Events");
    Ok(page(&Events { shell, events, projects, project, next: found.next, is_one: false }))
}

/// `GET /events/{id}`: one event, with the runs that came of it.
pub(crate) async fn show_one(
    State(app): State<App>,
    frame: Frame,
    Path(id): Path<String>,
) -> Answer<Response> {
    let event = events::find(&app, frame.caller()?, &id).await?;
    let known = stacks::projects(&app, frame.caller()?).await?;
    let paths = known.into_iter().map(|entry| (entry.project, entry.path)).collect();
    let now = app.clock.now();
    let commits: BTreeSet<CommitSha> =
        event.decisions.iter().filter_map(|decision| decision.commit.clone()).collect();
    let mut runs = Vec::new();
    if let Some(project) = event.project {
        for commit in commits {
            let query = RunQuery {
                project: Some(project.to_string()),
                commit: Some(commit.to_string()),
                limit: Some(100),
                ..RunQuery::default()
            };
            runs.extend(runs::find_page(&app, frame.caller()?, &query).await?.runs);
        }
    }
    let mut shown = row(event, &paths, now);
    for decision in &mut shown.decisions {
        let of_stack = |run: &&Run| {
            run.is_of_commit()
                && run.slug.as_str() == decision.stack
                && run.commit.short() == decision.commit
        };
        decision.runs_there =
            runs.iter().filter(of_stack).map(|run| RunRow::of(run, now)).collect();
    }
    let shell = frame.shell("events", "Event");
    let (events, projects) = (vec![shown], Vec::new());
    Ok(page(&Events { shell, events, projects, project: None, next: None, is_one: true }))
}

fn row(event: EventView, paths: &HashMap<ProjectId, String>, now: Timestamp) -> EventRow {
    let project = match event.project {
        Some(id) => paths.get(&id).cloned().unwrap_or_else(|| format!("project {id}")),
        None => String::new(),
    };
    let decisions: Vec<DecisionRow> = event
        .decisions
        .into_iter()
        .map(|decision| DecisionRow {
            stack: decision.stack.to_string(),
            runs: decision.runs,
            reason: short(&decision.reason, 400),
            commit: decision.commit.map(|c| c.short().to_owned()).unwrap_or_default(),
            runs_there: Vec::new(),
        })
        .collect();
    EventRow {
        id: event.id.to_string(),
        source: match event.source {
            EventSource::Webhook => "webhook",
            EventSource::Comparing => "found by polling",
            EventSource::Person => "by hand",
        },
        project: short(&project, 120),
        project_id: event.project.map(|id| id.0),
        what: short(&event.what, 200),
        at: Moment::at(event.received_at, now),
        outcome: short(&event.outcome.unwrap_or_else(|| "received".to_owned()), 300),
        decisions,
        more: event.more_decisions,
    }
}
