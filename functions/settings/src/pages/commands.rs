//! Commands: the forms with which people ask something of a stack or of a run.

use super::{fields::Fields, go_to, shell::Frame, variables};
use crate::{
    access::Caller,
    app::App,
    commands::{self, Ask, CommandView, Row},
    refusal::Answer,
    runs,
};
use axum::{
    Extension,
    extract::{Path, State},
    response::{IntoResponse as _, Response},
};
use gantry_domain::EventId;
use serde_json::{Map, Value};

/// A command, as a page's form sends it.
pub(crate) async fn take(
    row: &'static Row,
    State(app): State<App>,
    frame: Frame,
    Extension(caller): Extension<Caller>,
    Path(of): Path<String>,
    Extension(fields): Extension<Fields>,
) -> Answer<Response> {
    let mut body = Map::new();
    for name in row.texts {
        body.insert((*name).to_owned(), fields.value(name));
    }
    for name in row.lists {
        body.insert((*name).to_owned(), fields.lines(name));
    }
    for name in row.boxes {
        body.insert((*name).to_owned(), Value::from(fields.has(name)));
    }
    if row.ask == Ask::Run {
        body.insert("variables".to_owned(), variables::of_one_run(&fields).into());
        add_chosen(&mut body, &fields);
    }
    let caller = match row.ask {
        // A form with two buttons: each of them is a request of its own.
        Ask::Review => {
            let parts = [caller.request.as_str(), fields.text("decision")];
            Caller { request: EventId::derive("review", &parts), ..caller }
        }
        _ => caller,
    };
    let view = commands::ask(&app, &caller, row.ask, &of, body).await?;
    if row.ask == Ask::Discard && fields.has("again") {
        // "Plan again": the old plan makes way for one of the branch as it is now.
        let run = runs::find(&app, &of).await?;
        let request = EventId::derive("again", &[caller.request.as_str()]);
        let caller = Caller { request, ..caller };
        let slug = run.slug.as_str();
        let view = commands::ask(&app, &caller, Ask::Run, slug, Map::new()).await?;
        return Ok(asked(&frame, &shown_next(true, row.page, &of, &view), view));
    }
    Ok(asked(&frame, &shown_next(row.makes_run, row.page, &of, &view), view))
}

/// Resources that were chosen on a run's page are planned alone, or replaced.
fn add_chosen(body: &mut Map<String, Value>, fields: &Fields) {
    let list = if fields.text("chosen_are") == "replace" { "replace" } else { "targets" };
    if let Some(Value::Array(addresses)) = body.get_mut(list) {
        addresses.extend(fields.all("chosen").map(Value::from));
    }
}

/// The page that shows what became of a command: the new run's, or the one with the form.
fn shown_next(makes_run: bool, path: &str, of: &str, view: &CommandView) -> String {
    match &view.run {
        Some(run) if makes_run => format!("runs/{run}"),
        _ => format!("{}/{of}", path.split('/').nth(1).unwrap_or_default()),
    }
}

/// On to the page that shows what became of a command.
pub(super) fn asked(frame: &Frame, to: &str, view: CommandView) -> Response {
    let to = format!("{}{to}?asked={}", frame.root, view.request);
    (Extension(view.done()), go_to(&to)).into_response()
}
