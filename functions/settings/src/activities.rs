//! What people did or tried to do with their keys: a list that is filtered, and exported.

use crate::{
    access::Caller,
    app::App,
    cursor,
    form::Params,
    refusal::{Answer, Refusal},
};
use axum::{
    Extension, Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use gantry_domain::{EventId, RunId, StackSlug};
use gantry_setup::web::{Problem, page_size};
use gantry_store::{
    Stored,
    config::{Activity, Role},
    keys,
};
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the address of the list takes.
pub(crate) const FILTERS: &[&str] =
    &["about", "actor", "after", "from", "limit", "outcome", "until"];
/// What the address of the page takes.
pub(crate) const PAGE_FILTERS: &[&str] =
    &["about", "actor", "after", "done", "from", "limit", "outcome", "until"];
/// What the address of an export takes.
pub(crate) const EXPORT_FILTERS: &[&str] = &["about", "actor", "after", "from", "outcome", "until"];

/// Activities that one read brings when only some of them are wanted.
const A_READ: i32 = 500;
/// Activities that one look goes through: what is rare is looked for in several.
const MOST_LOOKED_AT: usize = 2_000;
/// Activities that an export finds with one look.
const AT_ONCE: usize = 500;
/// Activities that an export goes through before it ends, however few it has found.
const MOST_EXPORTED: usize = 20_000;
/// Bytes of an export: Lambda answers at most 6 MB, of which base64 takes a quarter.
const LARGEST_EXPORT: usize = 4_000_000;

/// Which activities are asked for. An empty parameter counts as missing, as forms send it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(crate) struct ActivityQuery {
    /// The `next` of the previous page.
    pub(crate) after: Option<String>,
    /// Items per page: 1 to 100. A page can have fewer, or none, and still a next one.
    #[schemars(range(min = 1, max = 100))]
    pub(crate) limit: Option<u32>,
    /// The exact name of the key.
    pub(crate) actor: Option<String>,
    /// The slug of a stack or module, or one of its runs, such as `network #6`.
    pub(crate) about: Option<String>,
    /// `refused` for what was refused or failed, `done` for everything else.
    pub(crate) outcome: Option<String>,
    /// At this time or later: a date (UTC) or a time (RFC 3339).
    pub(crate) from: Option<String>,
    /// Before this time (RFC 3339), or until the end of this date (UTC).
    pub(crate) until: Option<String>,
}

/// Which activities are exported. An empty parameter counts as missing, as forms send it.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct ExportQuery {
    /// The `next` of the previous response.
    after: Option<String>,
    /// The exact name of the key.
    actor: Option<String>,
    /// The slug of a stack or module, or one of its runs, such as `network #6`.
    about: Option<String>,
    /// `refused` for what was refused or failed, `done` for everything else.
    outcome: Option<String>,
    /// At this time or later: a date (UTC) or a time (RFC 3339).
    from: Option<String>,
    /// Before this time (RFC 3339), or until the end of this date (UTC).
    until: Option<String>,
}

impl From<ExportQuery> for ActivityQuery {
    fn from(query: ExportQuery) -> Self {
        let ExportQuery { after, actor, about, outcome, from, until } = query;
        Self { after, limit: None, actor, about, outcome, from, until }
    }
}

/// Something that was done, or tried, with an access key. What was recorded before the upgrade to
/// this release has only `actor`, `what`, `outcome`, `refused` and `at`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Activity")]
pub(crate) struct ActivityView {
    /// The key's name.
    pub(crate) actor: String,
    /// The role that the key had.
    role: Option<Role>,
    /// What was asked for, in words.
    pub(crate) what: String,
    /// The slug of the stack or module that it was about.
    stack: Option<StackSlug>,
    /// The ID of the run that it was about.
    run: Option<RunId>,
    /// The number of that run among the stack's runs.
    run_number: Option<u64>,
    /// The outcome, in words.
    pub(crate) outcome: String,
    /// It was refused, or failed.
    pub(crate) refused: bool,
    /// The HTTP status of the response.
    status: Option<u16>,
    /// Where the request came from: the IP address of the client's connection, which behind a proxy
    /// is the proxy's.
    pub(crate) address: Option<String>,
    /// The request's ID: from `Idempotency-Key`, or random. A command has the same one.
    request: Option<EventId>,
    /// When it was recorded.
    pub(crate) at: Timestamp,
}

impl From<Activity> for ActivityView {
    fn from(activity: Activity) -> Self {
        let refused = activity.is_refused();
        let Activity { actor, role, what, stack, run, run_number, .. } = activity;
        let Activity { outcome, status, address, request, at, .. } = activity;
        Self {
            actor,
            role,
            what,
            stack,
            run,
            run_number,
            outcome,
            refused,
            status,
            address,
            request,
            at,
        }
    }
}

/// A page of what people did or tried to do, the newest first.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ActivityList {
    /// The newest first.
    activities: Vec<ActivityView>,
    /// The `after` of the next page; null at the end.
    next: Option<String>,
}

/// A line of an export. All lines but the last one are activities.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum ActivityExportLine {
    Activity(Box<ActivityView>),
    End(ActivityExportEnd),
}

/// The last line of an export. Without it, the response is incomplete.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ActivityExportEnd {
    /// The `after` of the request for the rest; null if there is none.
    next: Option<String>,
}

/// Activities that were found.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) activities: Vec<Stored<Activity>>,
    /// The sort key to go on after; none at the end.
    next: Option<String>,
    /// When the last one was that was looked at, if the search goes on behind it.
    pub(crate) looked_to: Option<Timestamp>,
    looked_at: usize,
}

impl Found {
    /// The `after` of the next page; none at the end.
    pub(crate) fn cursor(&self) -> Option<String> {
        self.next.as_deref().map(cursor::from_key)
    }
}

/// `GET /api/v1/activity`
pub(crate) async fn list(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Params(query): Params<ActivityQuery>,
) -> Answer<impl IntoResponse> {
    let found = find_page(&app, Some(&caller), &query).await?;
    let next = found.cursor();
    let activities = found.activities.into_iter().map(|found| found.value.into()).collect();
    Ok(Json(ActivityList { activities, next }))
}

/// A page of the activities that the query lets through, the newest first.
///
/// Where a caller is given, those that the caller may see: a person sees what was done with stacks and
/// modules of their projects.
pub(crate) async fn find_page(
    app: &App,
    caller: Option<&Caller>,
    query: &ActivityQuery,
) -> Answer<Found> {
    let limit = usize::try_from(page_size(query.limit, 50)?).unwrap_or_default();
    Filter::read(caller, query)?.look(app, sort_key(query)?, limit).await
}

/// `GET /api/v1/activity/export`: one JSON object a line, the newest first. It is read whole before
/// it is answered, so that trouble is an answer of its own and never an end too early.
pub(crate) async fn export(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Params(query): Params<ExportQuery>,
) -> Answer<Response> {
    let query = ActivityQuery::from(query);
    let (filter, mut after) = (Filter::read(Some(&caller), &query)?, sort_key(&query)?);
    let (mut text, mut looked_at) = (String::new(), 0);
    let next = 'all: loop {
        let found = filter.look(&app, after.clone(), AT_ONCE).await?;
        looked_at += found.looked_at;
        for Stored { key, value, .. } in found.activities {
            let line = line(&ActivityExportLine::Activity(Box::new(value.into())))?;
            if text.len() + line.len() > LARGEST_EXPORT {
                break 'all after;
            }
            text.push_str(&line);
            after = Some(key.sk);
        }
        if found.next.is_none() || looked_at >= MOST_EXPORTED {
            break found.next;
        }
        after = found.next;
    };
    let next = next.as_deref().map(cursor::from_key);
    text.push_str(&line(&ActivityExportLine::End(ActivityExportEnd { next }))?);
    let headers = [
        (header::CONTENT_TYPE, "application/x-ndjson"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"gantry-activity.ndjson\""),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, text).into_response())
}

fn line(line: &ActivityExportLine) -> Answer<String> {
    let json = serde_json::to_string(line).map_err(|error| Problem::internal(&error))?;
    Ok(json + "\n")
}

/// Where the query goes on.
fn sort_key(query: &ActivityQuery) -> Answer<Option<String>> {
    query.after.as_deref().map(|after| cursor::to_key(after, "after")).transpose()
}

/// What a query asks for, read.
#[derive(Debug, Default)]
struct Filter {
    /// Who sees only some activities; none who sees all.
    sees: Option<Caller>,
    actor: Option<String>,
    /// A stack or module, and the number of one of its runs.
    about: Option<(StackSlug, Option<u64>)>,
    refused: Option<bool>,
    from: Option<Timestamp>,
    /// What is then is not wanted any more.
    until: Option<Timestamp>,
}

impl Filter {
    fn read(caller: Option<&Caller>, query: &ActivityQuery) -> Answer<Self> {
        const ABOUT: &str = "Must be the slug of a stack or module, or a run such as network #6";
        const TIME: &str = "Must be a date such as 2026-11-30, or a time in RFC 3339";
        let ActivityQuery { actor, about, outcome, from, until, .. } = query;
        let mut errors = BTreeMap::new();
        let from = read(&mut errors, "from", from, TIME, |text| time(text, false));
        let until = read(&mut errors, "until", until, TIME, |text| time(text, true));
        if from.zip(until).is_some_and(|(from, until)| from >= until) {
            errors.insert("until".to_owned(), "Must be later than from".to_owned());
        }
        let filter = Self {
            sees: caller.filter(|caller| !caller.sees_all()).cloned(),
            actor: read(&mut errors, "actor", actor, "", |name| Some(name.to_owned())),
            about: read(&mut errors, "about", about, ABOUT, thing),
            refused: read(&mut errors, "outcome", outcome, "Must be done or refused", refused),
            from,
            until,
        };
        if errors.is_empty() { Ok(filter) } else { Err(Refusal::parameters(errors)) }
    }

    /// Looks back, from behind `after` or from the newest, until as many are found as are wanted, or
    /// enough were looked at.
    async fn look(&self, app: &App, after: Option<String>, limit: usize) -> Answer<Found> {
        let a_read = match self.lets_all() {
            true => i32::try_from(limit).unwrap_or(A_READ),
            false => A_READ,
        };
        let mut found = Found::default();
        let mut after = after.or_else(|| self.begins_before(app.clock.now()));
        loop {
            let page = app
                .store
                .query::<Activity>(keys::ACTIVITY, "", after.as_deref(), true, a_read)
                .await?;
            let read = page.items.len();
            let mut last = None;
            for (place, mut activity) in page.items.into_iter().enumerate() {
                if self.ends_before(activity.value.at) {
                    return Ok(found);
                }
                found.looked_at += 1;
                last = Some(activity.value.at);
                if !self.lets(&activity.value) {
                    continue;
                }
                if self.sees.is_some() {
                    // Where others work from is for admins.
                    activity.value.address = None;
                }
                let at = activity.key.sk.clone();
                found.activities.push(activity);
                if found.activities.len() == limit {
                    let is_last = place + 1 == read && page.next.is_none();
                    found.next = Some(at).filter(|_| !is_last);
                    return Ok(found);
                }
            }
            if page.next.is_none() || found.looked_at >= MOST_LOOKED_AT {
                found.looked_to = last.filter(|_| page.next.is_some());
                found.next = page.next;
                return Ok(found);
            }
            after = page.next;
        }
    }

    /// What comes before the first that may be wanted, if that is not the newest.
    fn begins_before(&self, now: Timestamp) -> Option<String> {
        let until = self.until.filter(|until| *until <= now)?;
        // Keys have milliseconds alone.
        Some(keys::activities_at(until + SignedDuration::from_millis(1)))
    }

    /// Behind one of this time there are only older ones than are wanted.
    fn ends_before(&self, at: Timestamp) -> bool {
        self.from.is_some_and(|from| at.as_millisecond() < from.as_millisecond())
    }

    /// Nothing is asked for but a time.
    fn lets_all(&self) -> bool {
        self.sees.is_none()
            && self.actor.is_none()
            && self.about.is_none()
            && self.refused.is_none()
    }

    fn lets(&self, activity: &Activity) -> bool {
        let is_about = |(stack, number): &(StackSlug, Option<u64>)| {
            activity.stack.as_ref() == Some(stack)
                && number.is_none_or(|number| activity.run_number == Some(number))
        };
        let is_seen =
            |caller: &Caller| activity.project.is_some_and(|project| caller.sees(Some(project)));
        self.sees.as_ref().is_none_or(is_seen)
            && self.actor.as_ref().is_none_or(|actor| *actor == activity.actor)
            && self.about.as_ref().is_none_or(is_about)
            && self.refused.is_none_or(|refused| refused == activity.is_refused())
            && self.from.is_none_or(|from| activity.at >= from)
            && self.until.is_none_or(|until| activity.at < until)
    }
}

/// A parameter, read; what it must be is said where it is something else.
fn read<T>(
    errors: &mut BTreeMap<String, String>,
    name: &str,
    text: &Option<String>,
    must_be: &str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Option<T> {
    let text = text.as_deref().map(str::trim).filter(|text| !text.is_empty())?;
    let value = read(text);
    if value.is_none() {
        errors.insert(name.to_owned(), must_be.to_owned());
    }
    value
}

fn refused(word: &str) -> Option<bool> {
    match word {
        "done" => Some(false),
        "refused" => Some(true),
        _ => None,
    }
}

/// A stack or module by its slug, and the number of one of its runs.
fn thing(text: &str) -> Option<(StackSlug, Option<u64>)> {
    match text.split_once('#') {
        None => Some((text.parse().ok()?, None)),
        Some((slug, number)) => Some((slug.trim().parse().ok()?, Some(number.parse().ok()?))),
    }
}

/// The time that a parameter names: of a day, which is in UTC, its beginning or its end.
fn time(text: &str, is_end: bool) -> Option<Timestamp> {
    if let Ok(at) = text.parse() {
        return Some(at);
    }
    // Of a time without an offset, the day alone would be read.
    let text = Some(text).filter(|text| text.len() == "2026-11-30".len())?;
    let day: Date = text.parse().ok()?;
    let day = if is_end { day.tomorrow().ok()? } else { day };
    Some(day.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_as_people_write_them() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let day = "2026-11-30";
        assert_eq!(time(day, false), Some(at("2026-11-30T00:00:00Z")));
        assert_eq!(time(day, true), Some(at("2026-12-01T00:00:00Z")));
        let exact = "2026-11-30T01:00:00+01:00";
        assert_eq!([time(exact, false), time(exact, true)], [Some(at("2026-11-30T00:00:00Z")); 2]);
        for wrong in ["yesterday", "2026-13-01", "2026-11-30T10:00:00", ""] {
            assert_eq!(time(wrong, true), None, "{wrong}");
        }
        let network: StackSlug = "network".parse().unwrap();
        assert_eq!(thing("network"), Some((network.clone(), None)));
        for run in ["network #6", "network#6"] {
            assert_eq!(thing(run), Some((network.clone(), Some(6))), "{run}");
        }
        for wrong in ["Network", "#6", "network #", "network #six", "network 6"] {
            assert_eq!(thing(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_at_once() {
        let text = |text: &str| Some(text.to_owned());
        let query = ActivityQuery {
            actor: text(" "),
            about: text("a b"),
            outcome: text("Done"),
            from: text("soon"),
            ..ActivityQuery::default()
        };
        let refusal = Filter::read(None, &query).unwrap_err();
        let wrong: Vec<&str> = refusal.errors().keys().map(String::as_str).collect();
        assert_eq!(wrong, ["about", "from", "outcome"]);
        let (from, until) = (text("2026-11-30"), text("2026-11-29"));
        let query = ActivityQuery { from, until: until.clone(), ..ActivityQuery::default() };
        assert_eq!(
            Filter::read(None, &query).unwrap_err().errors()["until"],
            "Must be later than from"
        );
        let query = ActivityQuery { from: until.clone(), until, ..ActivityQuery::default() };
        assert!(Filter::read(None, &query).is_ok(), "one day");
    }
}
