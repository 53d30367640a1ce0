//! Runs of all stacks: those that a filter lets through.

use super::{PREFIX as RUNS, RunList, seen, view};
use crate::{
    access::{self, Caller},
    app::App,
    cursor,
    form::Params,
    refusal::{Answer, Refusal},
};
use axum::{Extension, Json, extract::State, response::IntoResponse};
use gantry_domain::{
    CommitSha, ProjectId, RunId, StackId, StackSlug,
    run::{Purpose, Run, RunState, RunType},
};
use gantry_setup::web::page_size;
use gantry_store::{
    Stored,
    config::SlugEntry,
    keys,
    scheduler::{ListedRun, RunEntry},
};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};
use std::collections::{BTreeMap, HashMap};
use strum::VariantArray as _;

/// What the address of a list of runs takes.
pub(crate) const FILTERS: &[&str] = &[
    "after", "author", "branch", "commit", "limit", "project", "purpose", "since", "sort", "stack",
    "state", "type",
];
/// Entries that one read brings when only some of them are wanted.
const A_READ: i32 = 500;
/// Entries that one request looks at: what is rare is looked for in several.
const MOST_LOOKED_AT: usize = 2_000;
/// Runs that are read at once.
const AT_ONCE: usize = 100;
/// The shortest beginning of a commit's SHA that is looked for.
const SHORTEST_SHA: usize = 7;

/// Which runs are asked for. An empty parameter counts as missing, as forms send it.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
pub(crate) struct RunQuery {
    /// The `next` of the previous page.
    pub(crate) after: Option<String>,
    /// Items per page: 1 to 100. A page can have fewer, or none, and still a next one.
    #[schemars(range(min = 1, max = 100))]
    pub(crate) limit: Option<u32>,
    /// A state, or several with commas between them; `active` stands for all runs that have not
    /// ended.
    pub(crate) state: Option<String>,
    /// `tracked`, `proposed` or `test`.
    #[serde(rename = "type")]
    pub(crate) run_type: Option<String>,
    /// What nobody pushed: `drift`, `schedule`, `task` or `replan`.
    pub(crate) purpose: Option<String>,
    /// The slug of a stack or module.
    pub(crate) stack: Option<String>,
    /// A project's ID in GitLab.
    pub(crate) project: Option<String>,
    /// The branch or tag that runs were started for.
    pub(crate) branch: Option<String>,
    /// A part of the name of the commit's author, or of who started the run.
    pub(crate) author: Option<String>,
    /// A commit's SHA, or at least its first 7 digits.
    pub(crate) commit: Option<String>,
    /// Created at this time or later: a date (UTC) or a time (RFC 3339).
    pub(crate) since: Option<String>,
    /// `newest` first, as without it, or `oldest` first.
    pub(crate) sort: Option<String>,
}

/// Runs that were found.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) runs: Vec<Run>,
    /// The `after` of the next page; none at the end.
    pub(crate) next: Option<String>,
    /// When the last run was created that was looked at, if the search goes on behind it.
    pub(crate) looked_to: Option<Timestamp>,
}

/// `GET /api/v1/runs`
pub(crate) async fn search(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Params(query): Params<RunQuery>,
) -> Answer<impl IntoResponse> {
    let Found { runs, next, .. } = find_page(&app, &caller, &query).await?;
    let runs = runs.into_iter().map(|run| view::summary(&app, run)).collect();
    Ok(Json(RunList { runs, next }))
}

/// A page of the runs that the query lets through, and that the caller may see.
pub(crate) async fn find_page(app: &App, caller: &Caller, query: &RunQuery) -> Answer<Found> {
    let limit = usize::try_from(page_size(query.limit, 50)?).unwrap_or_default();
    let filter = Filter::read(app, caller, query).await?;
    let mut after = query.after.as_deref().map(|at| cursor::to_key(at, "after")).transpose()?;
    let mut found = Found { runs: Vec::new(), next: None, looked_to: None };
    let mut looked_at = 0;
    loop {
        let page = filter.read_page(app, after.as_deref(), limit).await?;
        looked_at += page.looked_at;
        for some in page.candidates.chunks(AT_ONCE.min(limit)) {
            let wanted: Vec<_> = some.iter().map(|entry| keys::run(&entry.run)).collect();
            let read = app.store.get_many::<Run>(&wanted).await?;
            let read = read.into_iter().map(|run| run.value).collect();
            let read = seen(app, caller, read).await?.into_iter();
            let mut read: HashMap<RunId, Run> = read.map(|run| (run.id.clone(), run)).collect();
            for entry in some {
                let Some(run) = read.remove(&entry.run).filter(|run| filter.lets(run)) else {
                    continue;
                };
                found.runs.push(run);
                if found.runs.len() == limit {
                    let is_last = page.next.is_none()
                        && page.candidates.last().is_some_and(|last| last.at == entry.at);
                    found.next = (!is_last).then(|| cursor::from_key(&entry.at));
                    return Ok(found);
                }
            }
        }
        after = page.next;
        if after.is_none() || looked_at >= MOST_LOOKED_AT {
            found.next = after.as_deref().map(cursor::from_key);
            found.looked_to = page.looked_to.filter(|_| found.next.is_some());
            return Ok(found);
        }
    }
}

/// What a query asks for, read.
#[derive(Debug, Default)]
struct Filter {
    /// Who sees only some runs; none who sees all.
    sees: Option<Caller>,
    /// None for all.
    states: Option<States>,
    run_type: Option<RunType>,
    purpose: Option<Purpose>,
    stack: Option<StackId>,
    project: Option<ProjectId>,
    branch: Option<String>,
    /// In lower case.
    author: Option<String>,
    /// The beginning of its SHA.
    commit: Option<String>,
    since: Option<Timestamp>,
    oldest_first: bool,
}

/// The states that are asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct States {
    named: Vec<RunState>,
    /// All that have not ended.
    active: bool,
}

impl States {
    fn has(&self, state: RunState) -> bool {
        self.named.contains(&state) || (self.active && !state.is_final())
    }

    fn has_any_before_the_end(&self) -> bool {
        self.active || self.named.iter().any(|state| !state.is_final())
    }
}

/// A part of a list, with the runs in it that the filter may let through.
struct ReadPage {
    candidates: Vec<Candidate>,
    looked_at: usize,
    looked_to: Option<Timestamp>,
    next: Option<String>,
}

struct Candidate {
    /// Its sort key, or the one that it has among all runs.
    at: String,
    run: RunId,
}

impl Filter {
    async fn read(app: &App, caller: &Caller, query: &RunQuery) -> Answer<Self> {
        let mut errors = BTreeMap::new();
        let filled = |text: &Option<String>| {
            text.as_deref().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let mut wrong = |name: &str, problem: &str| {
            errors.insert(name.to_owned(), problem.to_owned());
        };
        let states = filled(&query.state).and_then(|text| {
            let states = states(&text);
            if states.is_none() {
                let all: Vec<_> = RunState::VARIANTS.iter().map(ToString::to_string).collect();
                let of = "Must be active, or one or several of these with commas between";
                wrong("state", &format!("{of}: {}", all.join(", ")));
            }
            states
        });
        let run_type = filled(&query.run_type).and_then(|text| {
            let run_type = named(&text);
            if run_type.is_none() {
                wrong("type", "Must be tracked, proposed or test");
            }
            run_type
        });
        let purpose = filled(&query.purpose).and_then(|text| {
            let purpose = named(&text);
            if purpose.is_none() {
                wrong("purpose", "Must be drift, schedule, task or replan");
            }
            purpose
        });
        let project = filled(&query.project).and_then(|text| {
            let id = text.parse().ok();
            if id.is_none() {
                wrong("project", "Must be a project's ID in GitLab");
            }
            id.map(ProjectId)
        });
        let commit = filled(&query.commit).map(|text| text.to_ascii_lowercase());
        if commit.as_ref().is_some_and(|sha| {
            sha.len() < SHORTEST_SHA || !sha.bytes().all(|digit| digit.is_ascii_hexdigit())
        }) {
            wrong("commit", "Must be a commit's SHA, or at least its first 7 digits");
        }
        let since = filled(&query.since).and_then(|text| {
            let since = time(&text);
            if since.is_none() {
                wrong("since", "Must be a date such as 2026-11-30, or a time in RFC 3339");
            }
            since
        });
        let sort = filled(&query.sort);
        if sort.as_ref().is_some_and(|sort| !matches!(sort.as_str(), "newest" | "oldest")) {
            wrong("sort", "Must be newest or oldest");
        }
        if !errors.is_empty() {
            return Err(Refusal::parameters(errors));
        }
        let stack = match filled(&query.stack) {
            Some(slug) => Some(stack_id(app, caller, &slug).await?),
            None => None,
        };
        Ok(Self {
            sees: Some(caller.clone()).filter(|caller| !caller.sees_all()),
            states,
            run_type,
            purpose,
            stack,
            project,
            branch: filled(&query.branch),
            author: filled(&query.author).map(|author| author.to_lowercase()),
            commit,
            since,
            oldest_first: sort.as_deref() == Some("oldest"),
        })
    }

    /// The commit of a project whose runs alone are asked for.
    fn of_commit(&self) -> Option<(ProjectId, CommitSha)> {
        self.project.zip(self.commit.as_ref()?.parse().ok())
    }

    /// Reads on in the shortest list that has all that is asked for: a commit's, a stack's, or all.
    /// A cursor of another list is refused.
    async fn read_page(&self, app: &App, after: Option<&str>, limit: usize) -> Answer<ReadPage> {
        let is_here = |after: &str| match (&self.stack, self.of_commit()) {
            (Some(_), None) => after.starts_with(RUNS),
            _ => after.starts_with(|first: char| first.is_ascii_digit()),
        };
        if !after.is_none_or(is_here) {
            return Err(cursor::strange("after"));
        }
        if let Some((project, commit)) = self.of_commit() {
            return self.read_commit(app, &keys::commit_runs(project, &commit), after).await;
        }
        if let Some(stack) = &self.stack {
            let partition = keys::stack_partition(stack);
            return self.read_list::<RunEntry>(app, &partition, RUNS, after, limit).await;
        }
        // The oldest that is wanted comes first.
        let begin = self.since.filter(|_| self.oldest_first && after.is_none());
        let begin = begin.map(keys::listed_at);
        self.read_list::<ListedRun>(app, keys::LISTED, "", after.or(begin.as_deref()), limit).await
    }

    /// All runs of a commit, which its list does not have in the order of time.
    async fn read_commit(
        &self,
        app: &App,
        partition: &str,
        after: Option<&str>,
    ) -> Answer<ReadPage> {
        let entries = app.store.query_all::<RunEntry>(partition, RUNS).await?;
        let looked_at = entries.len();
        let mut candidates: Vec<Candidate> = entries
            .into_iter()
            .filter(|entry| entry.value.may_pass(self))
            .map(|entry| Candidate {
                at: keys::listed(entry.value.created_at, &entry.value.run).sk,
                run: entry.value.run,
            })
            .collect();
        candidates.sort_by(|a, b| a.at.cmp(&b.at));
        if !self.oldest_first {
            candidates.reverse();
        }
        if let Some(after) = after {
            candidates.retain(|one| match self.oldest_first {
                true => one.at.as_str() > after,
                false => one.at.as_str() < after,
            });
        }
        Ok(ReadPage { candidates, looked_at, looked_to: None, next: None })
    }

    async fn read_list<T: Entry>(
        &self,
        app: &App,
        partition: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Answer<ReadPage> {
        let a_read = match self.lets_all() {
            true => i32::try_from(limit).unwrap_or(A_READ),
            false => A_READ,
        };
        let page =
            app.store.query::<T>(partition, prefix, after, !self.oldest_first, a_read).await?;
        let looked_at = page.items.len();
        let looked_to = page.items.last().map(|last| last.value.created_at());
        // Behind the first that is too old all are.
        let is_over = !self.oldest_first
            && self.since.is_some_and(|since| looked_to.is_some_and(|last| last < since));
        let candidates = page.items.into_iter().filter(|entry| entry.value.may_pass(self));
        let candidates =
            candidates.map(|Stored { key, value, .. }| Candidate { at: key.sk, run: value.run() });
        Ok(ReadPage {
            candidates: candidates.collect(),
            looked_at,
            looked_to,
            next: page.next.filter(|_| !is_over),
        })
    }

    /// Nothing is asked for that an entry of the list that is read could lack.
    fn lets_all(&self) -> bool {
        let Self {
            sees,
            states,
            run_type,
            purpose,
            stack: _,
            project,
            branch,
            author,
            commit,
            since,
            ..
        } = self;
        let texts = [branch, author, commit];
        sees.is_none()
            && states.is_none()
            && run_type.is_none()
            && purpose.is_none()
            && project.is_none()
            && since.is_none()
            && texts.iter().all(|text| text.is_none())
    }

    fn lets(&self, run: &Run) -> bool {
        self.may_let(&ListedRun::from(run))
            && self.states.as_ref().is_none_or(|states| states.has(run.state))
    }

    /// Whether an entry's run may be one that is asked for. In which state it is while it has not
    /// ended, only the run says.
    fn may_let(&self, run: &ListedRun) -> bool {
        let is_author = |author: &String| {
            let names = [Some(run.author.as_str()), run.by.as_deref()];
            names.into_iter().flatten().any(|name| name.to_lowercase().contains(author))
        };
        let may_be_in = |states: &States| match run.ended {
            Some(state) => states.has(state),
            None => states.has_any_before_the_end(),
        };
        self.sees.as_ref().is_none_or(|caller| caller.sees(run.project))
            && self.states.as_ref().is_none_or(may_be_in)
            && self.run_type.is_none_or(|wanted| wanted == run.run_type)
            && self.purpose.is_none_or(|wanted| run.purpose == Some(wanted))
            && self.stack.as_ref().is_none_or(|wanted| *wanted == run.stack)
            && self.project.is_none_or(|wanted| Some(wanted) == run.project)
            && self.branch.as_ref().is_none_or(|wanted| *wanted == run.git_ref)
            && self.author.as_ref().is_none_or(is_author)
            && self.commit.as_ref().is_none_or(|sha| run.commit.as_str().starts_with(sha))
            && self.since.is_none_or(|since| run.created_at >= since)
    }
}

/// An entry of one of the lists that runs are in.
trait Entry: DeserializeOwned {
    fn run(self) -> RunId;
    fn created_at(&self) -> Timestamp;
    /// The filter may let it through.
    fn may_pass(&self, filter: &Filter) -> bool;
}

impl Entry for ListedRun {
    fn run(self) -> RunId {
        self.run
    }

    fn created_at(&self) -> Timestamp {
        self.created_at
    }

    fn may_pass(&self, filter: &Filter) -> bool {
        filter.may_let(self)
    }
}

impl Entry for RunEntry {
    fn run(self) -> RunId {
        self.run
    }

    fn created_at(&self) -> Timestamp {
        self.created_at
    }

    fn may_pass(&self, filter: &Filter) -> bool {
        filter.run_type.is_none_or(|wanted| wanted == self.run_type)
            && filter.since.is_none_or(|since| self.created_at >= since)
    }
}

async fn stack_id(app: &App, caller: &Caller, slug: &str) -> Answer<StackId> {
    let missing = || Refusal::parameter("stack", "No stack or module has this slug");
    let slug: StackSlug = slug.parse().map_err(|_| missing())?;
    let entry = app.store.get::<SlugEntry>(&keys::slug(&slug)).await?;
    let found = access::stack_or_in_vain(app, entry.map(|entry| entry.value.stack)).await?;
    let found = found.map(|found| found.value).filter(|stack| stack.deleted_at.is_none());
    Ok(found.filter(|stack| caller.sees(stack.project())).ok_or_else(missing)?.id)
}

/// The states that a parameter names; none when a word of it is none.
fn states(text: &str) -> Option<States> {
    let mut states = States::default();
    for word in text.split(',').map(str::trim) {
        match word {
            "active" => states.active = true,
            word => states.named.push(named(word)?),
        }
    }
    Some(states)
}

/// What the API calls by this word.
fn named<T: DeserializeOwned>(word: &str) -> Option<T> {
    serde_json::from_value(word.into()).ok()
}

/// The time that a parameter names: a day begins in UTC.
fn time(text: &str) -> Option<Timestamp> {
    if let Ok(at) = text.parse() {
        return Some(at);
    }
    let day: Date = text.parse().ok()?;
    Some(day.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_and_times_are_read_as_people_write_them() {
        let named = vec![RunState::Failed, RunState::Stopped];
        assert_eq!(states("failed, stopped"), Some(States { named, active: false }));
        assert_eq!(states("failed,"), None);
        assert_eq!(states("Failed"), None);
        let active = states("active").unwrap();
        assert!(active.has(RunState::Unconfirmed) && !active.has(RunState::Finished));
        let midnight: Timestamp = "2026-11-30T00:00:00Z".parse().unwrap();
        assert_eq!(time("2026-11-30"), Some(midnight));
        assert_eq!(time("2026-11-30T01:00:00+01:00"), Some(midnight));
        assert_eq!([time("yesterday"), time("2026-13-01"), time("")], [None; 3]);
    }
}
