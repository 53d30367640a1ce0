//! What was done with keys, with filters that live in the address.

use super::{
    respond,
    shell::{Frame, Shell},
    show::Moment,
};
use crate::{
    activities::{self, ActivityQuery, Found},
    app::App,
    form::Params,
    refusal::Answer,
};
use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};
use gantry_store::config::Activity;
use jiff::Timestamp;

#[derive(Template)]
#[template(path = "activity.html")]
struct ActivityPage {
    shell: Shell,
    query: Typed,
    is_filtered: bool,
    /// What is wrong with the filters, by their names.
    problems: Vec<(String, String)>,
    rows: Vec<Row>,
    /// The query of an export.
    export: String,
    /// The query of the next page.
    next: Option<String>,
    /// How far back the list was looked at, when the search goes on behind it.
    looked_to: Option<Moment>,
}

/// The filters, as they were typed.
struct Typed {
    actor: String,
    about: String,
    outcome: String,
    from: String,
    until: String,
}

struct Row {
    at: Moment,
    actor: String,
    what: String,
    outcome: String,
    refused: bool,
    address: String,
}

impl Row {
    fn of(activity: Activity, now: Timestamp) -> Self {
        Self {
            at: Moment::at(activity.at, now),
            refused: activity.is_refused(),
            actor: activity.actor,
            what: activity.what,
            outcome: activity.outcome,
            address: activity.address.unwrap_or_default(),
        }
    }
}

/// `GET /activity`
pub(crate) async fn show(
    State(app): State<App>,
    frame: Frame,
    Params(query): Params<ActivityQuery>,
) -> Answer<Response> {
    let (found, problems) = match activities::find_page(&app, Some(frame.caller()?), &query).await {
        Ok(found) => (found, Vec::new()),
        Err(refusal) if refusal.errors().is_empty() => return Err(refusal),
        Err(refusal) => (Found::default(), refusal.errors().clone().into_iter().collect()),
    };
    let status = match problems.is_empty() {
        true => StatusCode::OK,
        false => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let now = app.clock.now();
    let typed = |text: &Option<String>| text.as_deref().unwrap_or_default().trim().to_owned();
    let export = filters(&query, None);
    let shown = ActivityPage {
        shell: frame.shell("activity", "Activity"),
        is_filtered: !export.is_empty(),
        export,
        next: found.cursor().map(|next| filters(&query, Some(&next))),
        looked_to: found.looked_to.map(|at| Moment::at(at, now)),
        rows: found.activities.into_iter().map(|found| Row::of(found.value, now)).collect(),
        query: Typed {
            actor: typed(&query.actor),
            about: typed(&query.about),
            outcome: typed(&query.outcome),
            from: typed(&query.from),
            until: typed(&query.until),
        },
        problems,
    };
    Ok(respond(status, &shown))
}

/// The filters as an address has them, and where the list goes on.
fn filters(query: &ActivityQuery, after: Option<&str>) -> String {
    let ActivityQuery { actor, about, outcome, from, until, .. } = query;
    let all = [
        ("actor", actor),
        ("about", about),
        ("outcome", outcome),
        ("from", from),
        ("until", until),
    ];
    let mut text = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in all {
        if let Some(value) = value.as_deref().filter(|value| !value.trim().is_empty()) {
            text.append_pair(name, value);
        }
    }
    if let Some(after) = after {
        text.append_pair("after", after);
    }
    text.finish()
}
