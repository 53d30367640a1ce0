//! A run's log on its page: its end, or what is around a place; what was looked for; and the whole.

use super::{
    Query,
    lines::{Drawing, Line, headings, lines},
    may_read_with,
};
use crate::{
    app::App,
    form::Params,
    pages::session,
    people,
    refusal::{Answer, Refusal},
    runs::{self, LogPlace, LogQuery, Piece, Reading, Section},
};
use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use gantry_domain::{run::Run, text};
use serde_json::json;
use url::form_urlencoded::Serializer;

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
    /// What its addresses carry: `?key=…&times=1`.
    pub(super) query: String,
    /// It is shown with times.
    pub(super) times: bool,
    /// The same page with times, or without.
    pub(super) toggled: String,
    /// Its parts, and where they are.
    pub(super) sections: Vec<(&'static str, String)>,
    /// The part that was asked for is not there.
    pub(super) lacks: Option<&'static str>,
}

/// The lines that have what was looked for.
pub(super) struct FoundView {
    pub(super) said: String,
    pub(super) lines: Vec<FoundLine>,
    /// The places of the lines that were found before and after the one that is shown.
    pub(super) previous: Option<String>,
    pub(super) next: Option<String>,
    /// The cursor to look on from.
    pub(super) more: Option<String>,
}

/// A line that was found.
pub(super) struct FoundLine {
    pub(super) number: u64,
    pub(super) at: String,
    pub(super) text: String,
    /// It is the one that is shown.
    pub(super) is_here: bool,
}

/// What the page's query asks to see. `key` is that of a reader without a session.
pub(super) async fn view(
    app: &App,
    run: &Run,
    query: &Query,
    key: Option<&str>,
) -> Answer<LogView> {
    if run.module {
        return Ok(LogView::default());
    }
    let drawing = drawing(run, key, query.has_times());
    let place = match (&query.at, query.section) {
        (Some(at), _) => Some(LogPlace::read(at, "at")?),
        (None, Some(section)) => runs::find_section(app, &run.id, section).await?,
        (None, None) => None,
    };
    let mut view = match place {
        Some(place) => around(app, run, place, &drawing).await?,
        None => end(app, run, &drawing).await?,
    };
    view.lacks = query.section.filter(|_| place.is_none()).map(Section::title);
    view.query = address([("key", key), ("times", query.times.as_deref())]);
    view.times = query.has_times();
    let at = place.map(|place| place.cursor(&run.id));
    view.toggled = address([
        ("key", key),
        ("times", (!view.times).then_some("1")),
        ("at", at.as_deref()),
        ("find", query.find.as_deref()),
        ("more", query.more.as_deref()),
    ]);
    if let Some(wanted) = query.find.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
        view.found = Some(look_for(app, run, wanted, query).await?);
        view.wanted = wanted.to_owned();
        view.from.clone_from(&query.more);
    }
    Ok(view)
}

/// The query of an address: `?key=…&times=1`, or nothing.
pub(super) fn address<const N: usize>(pairs: [(&str, Option<&str>); N]) -> String {
    let given = pairs.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let query = Serializer::new(String::new()).extend_pairs(given).finish();
    if query.is_empty() { query } else { format!("?{query}") }
}

fn drawing<'a>(run: &'a Run, key: Option<&str>, times: bool) -> Drawing<'a> {
    let query = address([("key", key), ("times", times.then_some("1"))]);
    let link = match query.as_str() {
        "" => "?".to_owned(),
        query => format!("{}&amp;", query.replace('&', "&amp;")),
    };
    Drawing { run: &run.id, link, times }
}

/// The end of the log.
async fn end(app: &App, run: &Run, drawing: &Drawing<'_>) -> Answer<LogView> {
    let end = runs::log_before(app, &run.id, None, LINES).await?;
    let shown = lines(&end.pieces, end.begins);
    let first = first_number(app, run, &end.pieces).await?;
    Ok(LogView {
        html: drawing.draw(&shown, first, None),
        sections: sections(run, drawing, &shown, end.previous.is_none()),
        previous: end.previous,
        next: end.next.unwrap_or_default(),
        ..LogView::default()
    })
}

async fn around(app: &App, run: &Run, place: LogPlace, drawing: &Drawing<'_>) -> Answer<LogView> {
    let mut reading = Reading::at(app, &run.id, place).await?;
    let (before, (after, next, more)) = futures::try_join!(
        runs::log_before(app, &run.id, Some(place), LINES_AROUND),
        reading.take(LINES_AROUND)
    )?;
    let mut shown = lines(&before.pieces, before.begins);
    let marked = shown.len();
    let begins = shown.last().is_none_or(Line::ends);
    shown.extend(lines(&after, begins));
    let pieces = if before.pieces.is_empty() { &after } else { &before.pieces };
    let first = first_number(app, run, pieces).await?;
    let later = after.last().filter(|_| more).map(|last| last.end(&run.id));
    Ok(LogView {
        html: drawing.draw(&shown, first, Some(marked)),
        sections: sections(run, drawing, &shown, before.previous.is_none() && !more),
        previous: before.previous,
        next: next.unwrap_or_default(),
        is_inside: true,
        later,
        ..LogView::default()
    })
}

async fn first_number(app: &App, run: &Run, pieces: &[Piece]) -> Answer<Option<u64>> {
    match pieces.first() {
        Some(piece) => runs::line_number(app, &run.id, piece).await,
        None => Ok(None),
    }
}

/// The log's parts: where they are on the page if all of it is there, and else where they are looked
/// for.
fn sections(
    run: &Run,
    drawing: &Drawing<'_>,
    shown: &[Line],
    is_whole: bool,
) -> Vec<(&'static str, String)> {
    if is_whole {
        let all = headings(shown).into_iter();
        return all.map(|(title, anchor)| (title, format!("#{anchor}"))).collect();
    }
    let mut sections: Vec<Section> = Vec::new();
    for section in run.history.iter().flat_map(|step| Section::of(step.state, run.phase)) {
        if !sections.contains(section) {
            sections.push(*section);
        }
    }
    let link = drawing.link.replace("&amp;", "&");
    let place = |section: Section| format!("{link}section={}#at", section.name());
    sections.into_iter().map(|section| (section.title(), place(section))).collect()
}

async fn look_for(app: &App, run: &Run, wanted: &str, query: &Query) -> Answer<FoundView> {
    let found = runs::find_in_log(app, &run.id, wanted, query.more.as_deref()).await?;
    let at = query.at.as_deref();
    let lines: Vec<FoundLine> = found
        .matches
        .into_iter()
        .map(|line| {
            let is_here = Some(line.at.as_str()) == at;
            FoundLine { number: line.line, at: line.at, text: line.text, is_here }
        })
        .collect();
    let here = lines.iter().position(|line| line.is_here);
    let is_part = query.more.is_some() || found.next.is_some();
    let of_part = if is_part { " of this part" } else { "" };
    let said = match (here, lines.len()) {
        (Some(here), count) => {
            format!("{} of {}{of_part}", here + 1, text::counted(count, "line"))
        }
        (None, 0) if is_part => "No more matching lines so far.".to_owned(),
        (None, 0) => "No matching lines.".to_owned(),
        (None, count) => format!("Found in {}{of_part}.", text::counted(count, "line")),
    };
    // At the end they go round, unless there is more to be found.
    let place = |index: Option<usize>| index.and_then(|at| lines.get(at)).map(|l| l.at.clone());
    let last = lines.len().checked_sub(1).filter(|last| *last > 0);
    let (previous, next) = match here {
        None => (None, place(Some(0))),
        Some(here) if Some(here) == last && found.next.is_some() => (place(Some(here - 1)), None),
        Some(here) => (
            place(here.checked_sub(1).or(last)),
            place(last.map(|last| if here == last { 0 } else { here + 1 })),
        ),
    };
    Ok(FoundView { said, lines, previous, next, more: found.next })
}

/// `GET /runs/{id}/log?after=&before=&key=&times=`: what came since, or was before, as HTML that is
/// safe to add to the page.
pub(crate) async fn log(
    State(app): State<App>,
    Path(id): Path<String>,
    Params(page): Params<Query>,
    Params(query): Params<LogQuery>,
    headers: HeaderMap,
) -> Answer<Response> {
    may_look(&app, &id, &page, &headers).await?;
    let run = runs::find(&app, &id).await?;
    let part = runs::part(&app, &run, &query).await?;
    let begins = match query.cursor() {
        Some(after) if !part.pieces.is_empty() => runs::ends_line(&app, &run.id, after).await?,
        _ => part.begins,
    };
    let first = first_number(&app, &run, &part.pieces).await?;
    let drawing = drawing(&run, page.key.as_deref(), page.has_times());
    let answer = json!({
        "html": drawing.draw(&lines(&part.pieces, begins), first, None),
        "previous": part.previous,
        "next": part.next,
        "more": part.more,
        "ended": part.ended,
    });
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response())
}

/// `GET /runs/{id}/log.txt?after=&key=&times=`: the whole log; of a very long one a part, whose last
/// line says where the next one is.
pub(crate) async fn log_text(
    State(app): State<App>,
    Path(id): Path<String>,
    Params(page): Params<Query>,
    Params(mut query): Params<LogQuery>,
    headers: HeaderMap,
) -> Answer<Response> {
    may_look(&app, &id, &page, &headers).await?;
    let run = runs::find(&app, &id).await?;
    let times = page.has_times();
    let mut text = String::new();
    loop {
        let part = runs::part(&app, &run, &query).await?;
        part.pieces.iter().for_each(|piece| add(&mut text, piece, times));
        let next = part.next.filter(|_| part.more);
        let Some(next) = next else { break };
        if text.len() > LARGEST_DOWNLOAD {
            let with_times = if times { "&times=1" } else { "" };
            let on = format!("/runs/{}/log.txt?after={next}{with_times}", run.id);
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

/// Adds a piece to a text, each line behind its time if that is wanted.
fn add(text: &mut String, piece: &Piece, times: bool) {
    let Some(at) = piece.at.filter(|_| times) else { return text.push_str(&piece.text) };
    let time = at.strftime("%Y-%m-%dT%H:%M:%SZ ").to_string();
    for line in piece.text.split_inclusive('\n') {
        if text.is_empty() || text.ends_with('\n') {
            text.push_str(&time);
        }
        text.push_str(line);
    }
}

async fn may_look(app: &App, id: &str, query: &Query, headers: &HeaderMap) -> Answer<()> {
    let viewer = session::viewer(app, headers).await?;
    if let Some(viewer) = &viewer {
        runs::check_seen(app, &viewer.caller, id).await?;
    }
    if viewer.is_some() || may_read_with(app, id, query.key.as_deref(), headers).await? {
        return Ok(());
    }
    let who = match people::run_links(app).await? {
        true => "people who are signed in or follow a link from GitLab",
        false => "people who are signed in",
    };
    let detail = format!("A run's log is shown to {who}.");
    Err(Refusal::new(StatusCode::UNAUTHORIZED, "Sign in to see this", detail))
}
