//! A run's log on its page: its end, or what is around a place; what was looked for; and the whole.

use super::{Query, may_read_with};
use crate::{
    app::App,
    form::Params,
    pages::{ansi, session},
    refusal::{Answer, Refusal},
    runs::{self, LogPlace, LogQuery, Piece, Reading},
};
use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use gantry_domain::{run::Run, text};
use serde_json::json;

/// Lines of the log's end that the page begins with.
const LINES: usize = 400;
/// Lines on both sides of a place.
const LINES_AROUND: usize = 200;
/// Bytes of a log that are downloaded at once: Lambda answers at most 6 MB.
const LARGEST_DOWNLOAD: usize = 4_000_000;

/// What the page has of the log.
#[derive(Default)]
pub(super) struct LogView {
    pub(super) html: String,
    /// The cursor of what comes before it.
    pub(super) previous: Option<String>,
    /// The cursor of what comes after it; empty when there is nothing yet.
    pub(super) next: String,
    /// It is what is around a place, not the end.
    pub(super) is_inside: bool,
    /// The place where what comes after it begins, when that is there already.
    pub(super) later: Option<String>,
    /// What was looked for, and what was found.
    pub(super) wanted: String,
    /// Where the search began, when not at the log's beginning.
    pub(super) from: Option<String>,
    pub(super) found: Option<FoundView>,
}

/// The lines that have what was looked for.
pub(super) struct FoundView {
    pub(super) said: String,
    pub(super) lines: Vec<FoundLine>,
    /// The cursor to look on from.
    pub(super) more: Option<String>,
}

/// A line that was found.
pub(super) struct FoundLine {
    pub(super) number: u64,
    pub(super) at: String,
    pub(super) text: String,
}

/// What the page's query asks to see.
pub(super) async fn view(app: &App, run: &Run, query: &Query) -> Answer<LogView> {
    if run.module {
        return Ok(LogView::default());
    }
    let mut view = match &query.at {
        Some(at) => around(app, run, LogPlace::read(at, "at")?).await?,
        None => {
            let end = runs::log_before(app, &run.id, None, LINES).await?;
            LogView {
                html: ansi::to_html(&joined(&end.pieces)),
                previous: end.previous,
                next: end.next.unwrap_or_default(),
                ..LogView::default()
            }
        }
    };
    if let Some(wanted) = query.find.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
        view.found = Some(look_for(app, run, wanted, query.more.as_deref()).await?);
        view.wanted = wanted.to_owned();
        view.from.clone_from(&query.more);
    }
    Ok(view)
}

async fn around(app: &App, run: &Run, place: LogPlace) -> Answer<LogView> {
    let mut reading = Reading::at(app, &run.id, place).await?;
    let (before, (after, next, more)) = futures::try_join!(
        runs::log_before(app, &run.id, Some(place), LINES_AROUND),
        reading.take(LINES_AROUND)
    )?;
    let after_text = joined(&after);
    let (line, rest) = after_text.split_once('\n').unwrap_or((&after_text, ""));
    let html = format!(
        "{}<mark id=\"at\">{}</mark>\n{}",
        ansi::to_html(&joined(&before.pieces)),
        ansi::to_html(line),
        ansi::to_html(rest)
    );
    let later = after.last().filter(|_| more).map(|last| last.end(&run.id));
    Ok(LogView {
        html,
        previous: before.previous,
        next: next.unwrap_or_default(),
        is_inside: true,
        later,
        ..LogView::default()
    })
}

async fn look_for(app: &App, run: &Run, wanted: &str, after: Option<&str>) -> Answer<FoundView> {
    let found = runs::find_in_log(app, &run.id, wanted, after).await?;
    let lines = found.matches.into_iter();
    let lines: Vec<FoundLine> =
        lines.map(|line| FoundLine { number: line.line, at: line.at, text: line.text }).collect();
    let is_part = after.is_some() || found.next.is_some();
    let said = match (lines.len(), is_part) {
        (0, false) => "No matching lines.".to_owned(),
        (0, true) => "No more matching lines so far.".to_owned(),
        (count, false) => format!("Found in {}.", text::counted(count, "line")),
        (count, true) => format!("Found in {} of this part.", text::counted(count, "line")),
    };
    Ok(FoundView { said, lines, more: found.next })
}

fn joined(pieces: &[Piece]) -> String {
    pieces.iter().map(|piece| piece.text.as_str()).collect()
}

/// `GET /runs/{id}/log?after=&before=&key=`: what came since, or was before, as HTML that is safe to
/// add to the page.
pub(crate) async fn log(
    State(app): State<App>,
    Path(id): Path<String>,
    Params(key): Params<Query>,
    Params(query): Params<LogQuery>,
    headers: HeaderMap,
) -> Answer<Response> {
    may_look(&app, &id, &key, &headers).await?;
    let run = runs::find(&app, &id).await?;
    let part = runs::part(&app, &run, &query).await?;
    let answer = json!({
        "html": ansi::to_html(&joined(&part.pieces)),
        "previous": part.previous,
        "next": part.next,
        "more": part.more,
        "ended": part.ended,
    });
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response())
}

/// `GET /runs/{id}/log.txt?after=&key=`: the whole log; of a very long one a part, whose last line
/// says where the next one is.
pub(crate) async fn log_text(
    State(app): State<App>,
    Path(id): Path<String>,
    Params(key): Params<Query>,
    Params(mut query): Params<LogQuery>,
    headers: HeaderMap,
) -> Answer<Response> {
    may_look(&app, &id, &key, &headers).await?;
    let run = runs::find(&app, &id).await?;
    let mut text = String::new();
    loop {
        let part = runs::part(&app, &run, &query).await?;
        text.extend(part.pieces.iter().map(|piece| piece.text.as_str()));
        let next = part.next.filter(|_| part.more);
        let Some(next) = next else { break };
        if text.len() > LARGEST_DOWNLOAD {
            let on = format!("/runs/{}/log.txt?after={next}", run.id);
            text.push_str(&format!(
                "\ngantry: the log continues; download the next part at {on}\n"
            ));
            break;
        }
        query = LogQuery::after(Some(next));
    }
    let name = format!("attachment; filename=\"{}-{}.log\"", run.slug, run.number);
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, name),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((headers, text).into_response())
}
async fn may_look(app: &App, id: &str, query: &Query, headers: &HeaderMap) -> Answer<()> {
    let is_signed_in = session::viewer(app, headers).await?.is_some();
    if is_signed_in || may_read_with(app, id, query.key.as_deref(), headers).await? {
        return Ok(());
    }
    Err(Refusal::new(
        StatusCode::UNAUTHORIZED,
        "Sign in to see this",
        "A run's log is shown to people who are signed in or follow a link from GitLab.",
    ))
}
