//! Why did, or didn't, this run? Each webhook and each difference that comparing found.

use super::{
    page,
    shell::{Frame, Shell},
    show::{Moment, short},
};
use crate::{
    app::App,
    events::{self, EventQuery, EventView},
    form::Params,
    refusal::Answer,
    stacks,
};
use askama::Template;
use axum::{extract::State, response::Response};
use gantry_domain::{ProjectId, event::EventSource};
use jiff::Timestamp;
use serde::Deserialize;
use std::collections::HashMap;

#[derive(Template)]
#[template(path = "events.html")]
struct Events {
    shell: Shell,
    events: Vec<EventRow>,
    projects: Vec<ProjectOption>,
    project: Option<u64>,
    next: Option<String>,
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
    let found = events::find_page(&app, &asked).await?;
    let known = stacks::projects(&app).await?;
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
    Ok(page(&Events { shell, events, projects, project, next: found.next }))
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
        what: short(&event.what, 200),
        at: Moment::at(event.received_at, now),
        outcome: short(&event.outcome.unwrap_or_else(|| "received".to_owned()), 300),
        decisions,
        more: event.more_decisions,
    }
}
