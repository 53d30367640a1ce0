//! The page of a run: where *Details* in GitLab leads.

use super::{html::Page, respond};
use crate::{
    access::find_caller,
    app::App,
    form::Params,
    refusal::{Answer, Refusal},
    runs,
};
use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use gantry_domain::{
    RunId,
    run::{Run, RunType},
    text,
};
use gantry_secrets::links::may_read;
use gantry_setup::web::bearer;
use serde::Deserialize;

/// Lines of the change and of the log that a page shows; the API has all of them.
const MOST_LINES: usize = 2000;
const LOG_LINES: usize = 300;
/// The way from `/runs/{id}` to `/`.
const ROOT: &str = "../";
/// Seconds between looks at a run that has not ended.
const REFRESH: u32 = 5;

/// The key of a link from GitLab.
#[derive(Deserialize)]
pub(crate) struct KeyQuery {
    key: Option<String>,
}

/// `GET /runs/{id}?key=`
pub(crate) async fn run(
    State(app): State<App>,
    Path(id): Path<String>,
    Params(query): Params<KeyQuery>,
    headers: HeaderMap,
) -> Response {
    match is_allowed(&app, &id, query.key.as_deref(), &headers).await {
        Ok(true) => {}
        // The same answer for runs that there are and runs that there are not.
        Ok(false) => return no_access(),
        Err(refusal) => return refusal.into_response(),
    }
    match show(&app, &id).await {
        Ok(page) => respond(StatusCode::OK, page),
        Err(refusal) => refusal.into_response(),
    }
}

async fn is_allowed(
    app: &App,
    id: &str,
    key: Option<&str>,
    headers: &HeaderMap,
) -> Result<bool, Refusal> {
    let Ok(run) = id.parse::<RunId>() else { return Ok(false) };
    if key.is_some_and(|key| may_read(&app.signer, &run, key, app.clock.now())) {
        return Ok(true);
    }
    // Every role may look.
    Ok(bearer(headers).is_some() && find_caller(app, headers).await.is_ok())
}

fn no_access() -> Response {
    let mut page = Page::new(ROOT, "A run of Gantry");
    page.paragraph(
        "To see a run, follow the link in GitLab: in a private or internal project it carries a \
         key for that one run.",
    );
    page.paragraph(
        "In a public project it does not. There, and for everything else, ask whoever runs this \
         installation for an admin key with the role read, and use the API: \
         GET /api/v1/runs/<id>.",
    );
    respond(StatusCode::UNAUTHORIZED, page)
}

async fn show(app: &App, id: &str) -> Answer<Page> {
    let run = runs::find(app, id).await?;
    let change = runs::change(app, &run).await?;
    let log = runs::tail(app, &run.id, LOG_LINES).await?;
    let mut page = Page::new(ROOT, &format!("{}: {} run, {}", run.slug, run.run_type, run.state));
    if !run.state.is_final() {
        page.refresh(REFRESH);
    }
    page.facts(&facts(&run));
    if let Some(ending) = &run.ending {
        page.heading("How it ended");
        page.paragraph(&ending.summary);
        if !ending.errors.is_empty() {
            page.preformatted(&ending.errors);
        }
    }
    if let Some(change) = change {
        page.heading("What the plan found");
        page.paragraph(&change.delta.to_string());
        page.preformatted(&limited(text::change::lines(&change)));
    }
    page.heading("Log");
    if log.is_empty() {
        page.paragraph("Nothing yet.");
    } else {
        page.preformatted(&log.iter().map(|line| text::clean(line)).collect::<Vec<_>>());
    }
    page.heading("How it went");
    let steps: Vec<String> = run
        .history
        .iter()
        .map(|step| {
            let by = step.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
            format!("{:.0}  {}{by}", step.at, step.state)
        })
        .collect();
    page.preformatted(&steps);
    Ok(page)
}

fn facts(run: &Run) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("State", format!("{} since {:.0}", run.state, run.since)),
        ("Commit", run.commit.to_string()),
        ("Ref", run.git_ref.clone()),
        ("Why", run.reason.clone()),
    ];
    if let Some(by) = &run.by {
        facts.push(("Asked for by", by.clone()));
    }
    if let Some(who) = &run.stop_asked {
        facts.push(("Asked to stop by", who.clone()));
    }
    if run.run_type == RunType::Proposed {
        facts.push(("Meaning", "A preview: it is never applied.".to_owned()));
    }
    if run.lost {
        facts.push(("Careful", "The apply was lost: its result is not known.".to_owned()));
    }
    facts
}

fn limited(mut lines: Vec<String>) -> Vec<String> {
    let left_out = lines.len().saturating_sub(MOST_LINES);
    if left_out > 0 {
        lines.truncate(MOST_LINES);
        lines.push(format!("… {} more, at the API", text::counted(left_out, "line")));
    }
    lines
}
