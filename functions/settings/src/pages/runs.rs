//! Runs of all stacks, with filters that live in the address.

use super::{
    overview::RunRow,
    respond,
    shell::{Frame, Shell},
    show::{Moment, short},
};
use crate::{
    app::App,
    form::Params,
    refusal::Answer,
    runs::{self, Found, RunQuery},
    stacks,
};
use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};
use gantry_domain::run::RunType;

#[derive(Template)]
#[template(path = "runs.html")]
struct Runs {
    shell: Shell,
    query: Typed,
    states: Vec<Choice>,
    types: Vec<Choice>,
    purposes: Vec<Choice>,
    projects: Vec<Choice>,
    is_filtered: bool,
    /// What is wrong with the filters, by their names.
    problems: Vec<(String, String)>,
    /// The list is followed: it is the first page, and was read at once.
    is_live: bool,
    rows: Vec<RunRow>,
    /// The query of the next page.
    next: Option<String>,
    /// How far back the list was looked at, when the search goes on behind it.
    looked_to: Option<Moment>,
}

/// The filters that are typed, as they were.
struct Typed {
    stack: String,
    branch: String,
    author: String,
    commit: String,
    since: String,
    sort: String,
}

/// An option of a filter.
struct Choice {
    value: String,
    text: String,
    chosen: bool,
}

/// What people filter states by.
const STATES: [(&str, &str); 8] = [
    ("", "All states"),
    ("active", "Not ended"),
    ("queued", "Queued"),
    ("unconfirmed", "Needs confirmation"),
    ("applying", "Applying"),
    ("finished", "Finished"),
    ("failed", "Failed"),
    ("stopped,canceled,discarded", "Stopped, canceled or discarded"),
];

/// What nobody pushed.
const PURPOSES: [(&str, &str); 5] = [
    ("", "Whatever started them"),
    ("drift", "Looks for drift"),
    ("schedule", "Scheduled deploys"),
    ("task", "Tasks"),
    ("replan", "Planned again after an apply"),
];

/// `GET /runs`
pub(crate) async fn show(
    State(app): State<App>,
    frame: Frame,
    Params(query): Params<RunQuery>,
) -> Answer<Response> {
    let caller = frame.caller()?;
    let known = stacks::projects(&app, caller).await?;
    let (found, problems) = match runs::find_page(&app, caller, &query).await {
        Ok(found) => (found, Vec::new()),
        Err(refusal) if refusal.errors().is_empty() => return Err(refusal),
        Err(refusal) => (Found::default(), refusal.errors().clone().into_iter().collect()),
    };
    let status = match problems.is_empty() {
        true => StatusCode::OK,
        false => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let now = app.clock.now();
    let typed = |text: &Option<String>| text.clone().unwrap_or_default().trim().to_owned();
    let choose = |chosen: &Option<String>, options: Vec<(String, String)>| {
        let chosen = typed(chosen);
        let is_listed = options.iter().any(|(value, _)| *value == chosen);
        // What somebody wrote into the address stays.
        let other = (!is_listed).then(|| (chosen.clone(), short(&chosen, 60)));
        let choice =
            |(value, text): (String, String)| Choice { chosen: value == chosen, value, text };
        options.into_iter().chain(other).map(choice).collect::<Vec<_>>()
    };
    let owned = |(value, text): (&str, &str)| (value.to_owned(), text.to_owned());
    let types = [RunType::Tracked, RunType::Proposed, RunType::Test]
        .map(|one| (one.to_string(), one.label().to_owned()));
    let mut projects: Vec<(String, String)> =
        known.into_iter().map(|known| (known.project.to_string(), known.path)).collect();
    projects.sort_by(|a, b| a.1.cmp(&b.1));
    let first = |text: &str| std::iter::once((String::new(), text.to_owned()));
    let rows: Vec<RunRow> = found.runs.iter().map(|run| RunRow::of(run, now)).collect();
    let shown = Runs {
        shell: frame.shell("runs", "Runs"),
        is_filtered: !filters(&query, None).is_empty(),
        next: found.next.as_deref().map(|next| filters(&query, Some(next))),
        looked_to: found.looked_to.map(|at| Moment::at(at, now)),
        states: choose(&query.state, STATES.into_iter().map(owned).collect()),
        types: choose(&query.run_type, first("All types").chain(types).collect()),
        purposes: choose(&query.purpose, PURPOSES.into_iter().map(owned).collect()),
        projects: choose(&query.project, first("All projects").chain(projects).collect()),
        query: Typed {
            stack: typed(&query.stack),
            branch: typed(&query.branch),
            author: typed(&query.author),
            commit: typed(&query.commit),
            since: typed(&query.since),
            sort: typed(&query.sort),
        },
        is_live: query.after.is_none() && found.looked_to.is_none() && problems.is_empty(),
        problems,
        rows,
    };
    Ok(respond(status, &shown))
}

/// The filters as an address has them, and where the list goes on.
fn filters(query: &RunQuery, after: Option<&str>) -> String {
    let RunQuery {
        state,
        run_type,
        purpose,
        stack,
        project,
        branch,
        author,
        commit,
        since,
        sort,
        ..
    } = query;
    let all = [
        ("state", state),
        ("type", run_type),
        ("purpose", purpose),
        ("stack", stack),
        ("project", project),
        ("branch", branch),
        ("author", author),
        ("commit", commit),
        ("since", since),
        ("sort", sort),
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
