//! A run: where *Details* in GitLab leads, and where people confirm.
//!
//! With a session it shows everything and what may be done; with the read key of a link from
//! GitLab it shows state, change and log of that one run, and leads nowhere else but from a module's
//! run to its tests.

mod approvals;
mod compare;
mod lines;
mod log;
mod purpose;

pub(crate) use compare::compare;
pub(crate) use log::{log, log_text};

use self::{
    approvals::Approvals,
    log::LogView,
    purpose::{Again, Purpose},
};
use super::{
    changes::{ChangeView, Filter},
    overview, page, respond, session,
    shell::{self, Frame, Shell},
    show::{Chip, Moment, short, span, type_of},
    sign_in, stack,
};
use crate::{
    access::Caller,
    app::App,
    commands,
    form::Params,
    gitlab::detached,
    modules, people,
    refusal::Answer,
    runs::{self, Section, Waits},
    stacks,
};
use askama::Template;
use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse as _, Response},
};
use gantry_domain::{
    MergeRequestIid, RunId,
    plan::warned,
    run::{Interest, Position, Run, RunState, RunType},
    stack::{AppliedSince, Stack, StackHead},
    state::{StateForm, contents},
    text,
};
use gantry_queue::FeedbackMessage;
use gantry_secrets::links::{may_read, read_link};
use gantry_setup::web::{bearer, check_names};
use gantry_store::{keys, runner::StateVersion, scheduler::Subject};
use jiff::Timestamp;
use serde::Deserialize;
use std::collections::BTreeSet;

/// A plan that is older than this is better made again.
const OLD_PLAN: i64 = 24 * 60 * 60;

#[derive(Template)]
#[template(path = "run.html")]
struct Page {
    shell: Shell,
    id: String,
    /// `?key=…` for readers without a session.
    key: String,
    /// The query of the address that the page follows its run at.
    live: String,
    slug: String,
    number: u64,
    run_type: String,
    chip: Chip,
    is_final: bool,
    /// What became of a command is not known yet.
    is_pending: bool,
    outcome: Option<stack::Said>,
    /// The commit, or whose upload it is and what that is based on.
    commit: String,
    commit_line: String,
    is_uploaded: bool,
    commit_url: Option<String>,
    merge_requests: Vec<(String, Option<String>)>,
    git_ref: String,
    reason: String,
    purpose: Purpose,
    /// Some of its resources can be planned again.
    again: Option<Again>,
    /// The event that it was started for.
    event: Option<String>,
    /// What it waits for before it can have a runner, or why none could be started.
    waits_for: Option<Waits>,
    waits_for_source: bool,
    stop_asked: Option<String>,
    /// It blocks its stack, or module.
    blocked: Option<stack::Blocked>,
    steps: Vec<Step>,
    ending: Option<Ending>,
    /// The stack was applied after its plan was made: how.
    outdated: Option<&'static str>,
    /// It failed while its plan was applied.
    is_applied_in_part: bool,
    /// What the tool warned of that the change does not tell: how often, and each once.
    warned: Option<String>,
    warnings: Vec<String>,
    actions: Actions,
    needs_confirmation: bool,
    approvals: Option<Approvals>,
    /// Whoever looks can go past the rules about who confirms.
    may_override: bool,
    change: Option<ChangeView>,
    /// The number of the run whose plan this one can be compared with.
    compare: Option<u64>,
    delta: Option<String>,
    log: LogView,
    published: Vec<(String, Option<String>)>,
    refused: Vec<String>,
    /// Where the page of its stack or module is.
    home: &'static str,
    /// A module's run has none: its tests do.
    has_log: bool,
    /// How a module's run, or a test, ended well.
    verdict: Option<String>,
    /// The tests of a module's run.
    tests: Vec<TestRow>,
    /// For a test: its name, and the module's run that it belongs to.
    of: Option<(String, String)>,
    /// What a test left behind, and which version of its state has it.
    left: Option<(String, String)>,
    /// Identifies the forms of this page: a form that is sent twice is one request.
    request: String,
}

struct TestRow {
    /// The address of its run, for whom it opens.
    link: Option<String>,
    name: String,
    negative: bool,
    chip: Chip,
    said: String,
}

struct Step {
    chip: Chip,
    at: Moment,
    took: Option<String>,
    by: Option<String>,
    comment: Option<String>,
}

struct Ending {
    summary: String,
    /// The commit that the summary ends with, and where it is.
    newer: Option<(String, String)>,
    errors: Vec<String>,
}

/// What may be asked of the run, and what is to be known before.
#[derive(Default)]
struct Actions {
    confirm: bool,
    discard: bool,
    stop: bool,
    retry: bool,
    /// Newer runs that wait behind this one.
    newer: usize,
    /// The plan's age when it is old.
    old: Option<String>,
    /// The branch, and where it is, when that is not the run's commit.
    behind: Option<(String, String)>,
    /// An apply is stopped differently from a plan.
    applying: bool,
}

/// What the address of a run takes.
const TAKES: [&str; 12] = [
    "action", "asked", "at", "done", "find", "group", "key", "more", "page", "section", "text",
    "times",
];

#[derive(Default, Deserialize)]
pub(crate) struct Query {
    key: Option<String>,
    asked: Option<String>,
    action: Option<String>,
    text: Option<String>,
    group: Option<String>,
    page: Option<usize>,
    /// A place in the log, or a part of it.
    at: Option<String>,
    section: Option<Section>,
    /// The log is shown with times.
    times: Option<String>,
    /// What is looked for in the log, and where the search goes on.
    find: Option<String>,
    more: Option<String>,
}

impl Query {
    fn has_times(&self) -> bool {
        self.times.as_deref() == Some("1")
    }
}

/// `GET /runs/{id}?key=`
pub(crate) async fn show(
    State(app): State<App>,
    mut frame: Frame,
    Path(id): Path<String>,
    query: Answer<Params<Query>>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let drawn = async {
        if let Some(viewer) = session::viewer(&app, &headers).await? {
            frame.viewer = Some(viewer);
            frame.here = None;
        }
        check_names(&uri, &TAKES)?;
        let Params(query) = query?;
        let key = query.key.as_deref();
        if let Some(viewer) = &frame.viewer {
            runs::check_seen(&app, &viewer.caller, &id).await?;
            return draw(&app, &frame, &id, &query).await;
        }
        match may_read_with(&app, &id, key, &headers).await? {
            true => draw(&app, &frame, &id, &query).await,
            // An open page asks, whose session has ended.
            false if headers.contains_key("hx-request") => {
                Ok(sign_in::send_there(&frame.root, &headers, &uri))
            }
            false => no_access(&app, &frame).await,
        }
    };
    let drawn: Answer<Response> = drawn.await;
    drawn.unwrap_or_else(|refusal| {
        let refused = shell::refusal(&frame.root, frame.viewer.as_ref(), refusal.into_response());
        shell::gone(&headers, refused)
    })
}

/// Whether somebody without a session may look at a run: whoever has its link, or a program with a
/// key. The answer is the same for runs that there are and runs that there are not.
async fn may_read_with(
    app: &App,
    id: &str,
    key: Option<&str>,
    headers: &HeaderMap,
) -> Answer<bool> {
    let Ok(run) = id.parse::<RunId>() else { return Ok(false) };
    if key.is_some_and(|key| may_read(&app.signer, &run, key, app.clock.now()))
        && people::run_links(app).await?
        && !runs::is_of_public_project(app, &run).await?
    {
        return Ok(true);
    }
    let caller = match bearer(headers) {
        Some(_) => crate::access::find_caller(app, headers).await.ok(),
        None => None,
    };
    Ok(caller.is_some_and(|caller| caller.sees_all()))
}

#[derive(Template)]
#[template(path = "no_access.html")]
struct NoAccess {
    shell: Shell,
    /// A link from GitLab can open it.
    has_links: bool,
}

async fn no_access(app: &App, frame: &Frame) -> Answer<Response> {
    let has_links = people::run_links(app).await?;
    let page = NoAccess { shell: frame.shell("", "Gantry run"), has_links };
    Ok(respond(StatusCode::UNAUTHORIZED, &page))
}

async fn draw(app: &App, frame: &Frame, id: &str, query: &Query) -> Answer<Response> {
    let run = runs::find(app, id).await?;
    let now = app.clock.now();
    let stack = stacks::of_run(app, &run).await?;
    let integration = app.store.integration().await?.map(|found| found.value);
    let filter = Filter {
        action: query.action.clone(),
        text: query.text.clone(),
        group: query.group.clone(),
        page: query.page,
    };
    let link_key = query.key.as_deref().filter(|_| frame.viewer.is_none());
    let is_by_link = link_key.is_some_and(|key| may_read(&app.signer, &run.id, key, now));
    let (change, log, refused) = tokio::try_join!(
        runs::change(app, &run),
        log::view(app, &run, query, link_key),
        runs::refused_by_gitlab(app, &run)
    )?;
    let compare = match frame.viewer.is_some() && change.is_some() {
        true => runs::previous(app, &run).await?.map(|other| other.number),
        false => None,
    };
    let project = runs::project_page(&run, stack.as_ref(), integration.as_ref());
    let commit_url = project
        .as_ref()
        .filter(|_| run.fork_of.is_none() && run.upload.is_none())
        .map(|project| format!("{project}/-/commit/{}", run.commit));
    let merge_requests = merge_requests(app, &run, project.as_deref()).await?;
    let chip = Chip::of(run.state, &run);
    let shell = frame.shell(
        if run.module || run.test.is_some() { "modules" } else { "stacks" },
        format!("{} · {} #{}", chip.text, run.slug, run.number),
    );
    let shell = match &stack {
        Some(stack) => shell.of(stack),
        None => shell,
    };
    let is_detached = stack
        .as_ref()
        .is_none_or(|s| s.deleted_at.is_some() || detached(s, integration.as_ref()).is_some());
    let may_act = match run.run_type {
        RunType::Proposed => shell.may_preview(),
        RunType::Tracked | RunType::Test => shell.may_deploy(),
    };
    let head = stacks::head(app, &run.stack).await?.map(|head| head.value).unwrap_or_default();
    let actions = match &stack {
        Some(stack) if may_act => {
            actions(app, frame.caller()?, &run, stack, &head, is_detached, now).await?
        }
        _ => Actions::default(),
    };
    let outcome = match &stack {
        Some(known) if shell.who.is_some() => {
            let changed = run.history.last().map(|step| step.at);
            stack::outcome(app, known, query.asked.as_deref(), changed).await?
        }
        _ => None,
    };
    let is_refused = outcome.as_ref().is_some_and(|said| said.class == "bad");
    let who = shell.who.as_ref();
    let may_override = actions.confirm && approvals::may_override(&run, who, is_refused);
    let approvals = Approvals::of(&run, who, now);
    let shown_change = change.as_ref().map(|change| ChangeView::of(change, &filter));
    let again = Again::of(&run, stack.as_ref(), is_detached, &shell, shown_change.as_ref());
    let asked = query.asked.as_deref().filter(|_| outcome.is_some());
    let times = query.times.as_deref();
    Ok(page(&Page {
        id: run.id.to_string(),
        key: log::address([("key", link_key)]),
        live: log::address([("key", link_key), ("times", times), ("asked", asked)]),
        slug: run.slug.to_string(),
        number: run.number,
        run_type: run_type(&run),
        is_final: run.state.is_final(),
        is_pending: outcome.as_ref().is_some_and(|said| !said.is_known),
        outcome,
        commit: run.code(),
        commit_line: overview::commit_line(&run),
        is_uploaded: run.upload.is_some(),
        commit_url,
        merge_requests,
        git_ref: short(&run.git_ref, 120),
        reason: short(&run.reason, 400),
        purpose: Purpose::of(&run),
        event: run.event.as_ref().map(ToString::to_string).filter(|_| shell.who.is_some()),
        waits_for: runs::waits_for(app, &run, Some(&head)).await?,
        waits_for_source: run.position == Position::Source,
        stop_asked: run.stop_asked.clone().filter(|_| !run.state.is_final()),
        blocked: stack::blocked_by(app, &run, &head, now).await?,
        steps: steps(&run, now),
        ending: ending(&run, project.as_deref()),
        outdated: outdated(&run, &head),
        is_applied_in_part: is_applied_in_part(&run),
        warned: warned_of(&run),
        warnings: run.warnings.iter().map(|w| text::clean_line(&w.text(), 700)).collect(),
        actions,
        needs_confirmation: run.state == RunState::Unconfirmed,
        approvals,
        may_override,
        again,
        change: shown_change,
        compare,
        delta: run.delta.map(|delta| {
            let counts = if run.applied { delta.done() } else { delta.to_string() };
            counts + &text::and_failed_checks(run.last_failed_checks())
        }),
        log,
        published: published(app, &run, project.as_deref()).await?,
        refused,
        home: if run.module || run.test.is_some() { "modules" } else { "stacks" },
        has_log: !run.module,
        verdict: run.verdict.as_ref().map(|said| text::clean_line(said, 600)),
        tests: tests(app, &run, shell.who.is_some(), is_by_link).await?,
        of: run.test.as_ref().map(|of| (of.case.name.to_string(), of.suite.to_string())),
        left: left(app, &run).await?,
        request: format!("{:x}", rand::random::<u64>()),
        shell,
        chip,
    }))
}

/// The merge requests that the run is for, of a deploy those that became its commit. Each with where
/// it is: at Gantry's comment, once there is one.
async fn merge_requests(
    app: &App,
    run: &Run,
    page: Option<&str>,
) -> Answer<Vec<(String, Option<String>)>> {
    let mut found = Vec::new();
    let Some(project) = run.project() else { return Ok(found) };
    let of = run.interests.iter().filter_map(|interest| match interest {
        Interest::MergeRequest(iid) => Some(*iid),
        _ => None,
    });
    let mut iids: BTreeSet<MergeRequestIid> = of.collect();
    if run.run_type == RunType::Tracked {
        let partition = keys::commit_runs(project, &run.commit);
        let merged = app.store.query_all::<Subject>(&partition, "subject#merged#").await?;
        iids.extend(merged.into_iter().filter_map(|subject| subject.value.merge_request));
    }
    for iid in iids {
        let target = FeedbackMessage::Note { project, iid, want: 0 };
        let note = app.store.note(&target.target()).await?;
        let note = note.map(|note| format!("#note_{note}")).unwrap_or_default();
        let url = page.map(|page| format!("{page}/-/merge_requests/{iid}{note}"));
        found.push((format!("!{iid}"), url));
    }
    Ok(found)
}

/// A later apply made the preview's plan old, and somebody is still interested in it.
fn outdated(run: &Run, head: &StackHead) -> Option<&'static str> {
    let planned = run.history.iter().rev().find(|step| step.state == RunState::Planning);
    let is_of_use = run.run_type == RunType::Proposed
        && run.state == RunState::Finished
        && !run.interests.is_empty();
    let since = head.applied_since(planned.filter(|_| is_of_use)?.at)?;
    Some(match since {
        AppliedSince::Done => "was applied",
        AppliedSince::InPart => "may have been applied in part",
    })
}

/// It failed while its plan was applied. Where the result is not known, other words say so.
fn is_applied_in_part(run: &Run) -> bool {
    run.may_be_applied_in_part()
        && run.state == RunState::Failed
        && run.doubt.is_none()
        && !run.lost
}

/// How often the tool warned of what the change does not tell: before its plan failed, or after the
/// plan.
fn warned_of(run: &Run) -> Option<String> {
    let count = Some(warned(&run.warnings) as usize).filter(|count| *count > 0)?;
    let count = text::counted(count, "warning");
    Some(match run.run_type {
        RunType::Tracked if run.delta.is_some() => format!("{count} while applying"),
        RunType::Test if run.delta.is_some() => format!("{count} after the plan"),
        _ => count,
    })
}

/// How the run ended. A commit that it made way for is a link.
fn ending(run: &Run, project: Option<&str>) -> Option<Ending> {
    const SUPERSEDED: &str = "Superseded by ";
    let end = run.ending.as_ref()?;
    let is_short =
        |commit: &&str| commit.len() == 8 && commit.bytes().all(|digit| digit.is_ascii_hexdigit());
    let newer = end.summary.strip_prefix(SUPERSEDED).filter(is_short);
    let newer = newer.zip(project.filter(|_| run.fork_of.is_none()));
    Some(Ending {
        summary: match newer {
            Some(_) => SUPERSEDED.to_owned(),
            None => text::clean_line(&end.summary, 600),
        },
        newer: newer
            .map(|(commit, project)| (commit.to_owned(), format!("{project}/-/commit/{commit}"))),
        errors: end.errors.iter().map(|error| text::clean(error)).collect(),
    })
}

/// The run's type, with what it means.
fn run_type(run: &Run) -> String {
    let label = type_of(run);
    match run.run_type {
        _ if run.task().is_some() => format!("{label} (one command, nothing is planned)"),
        RunType::Proposed if !run.module => format!("{label} (never applied)"),
        RunType::Test => format!("{label} (planned, applied and destroyed)"),
        RunType::Tracked | RunType::Proposed => label.to_owned(),
    }
}

/// The tests of a module's run. Who came by the run's link gets those of its tests.
async fn tests(app: &App, run: &Run, is_signed_in: bool, is_by_link: bool) -> Answer<Vec<TestRow>> {
    if !run.module {
        return Ok(Vec::new());
    }
    let link = |test: &Run| match (is_signed_in, is_by_link) {
        (true, _) => Some(format!("runs/{}", test.id)),
        (false, true) => {
            Some(read_link(&app.signer, "", &test.id).trim_start_matches('/').to_owned())
        }
        (false, false) => None,
    };
    let row = |test: &Run| TestRow {
        link: link(test),
        name: test.test.as_ref().map(|of| of.case.name.to_string()).unwrap_or_default(),
        negative: test.test.as_ref().is_some_and(|of| of.case.negative),
        chip: Chip::of(test.state, test),
        said: match (&test.verdict, &test.ending) {
            (Some(said), _) => text::clean_line(said, 200),
            (None, Some(ending)) => text::clean_line(&ending.summary, 200),
            (None, None) => String::new(),
        },
    };
    Ok(modules::test_runs(app, run).await?.iter().map(row).collect())
}

/// What a test left behind, as its state has it.
async fn left(app: &App, run: &Run) -> Answer<Option<(String, String)>> {
    if run.run_type != RunType::Test || !(run.left_behind || run.lost) {
        return Ok(None);
    }
    let owner = run.state_owner();
    let (partition, prefix) = (keys::state_partition(&owner), keys::STATE_VERSIONS);
    let newest = app.store.query::<StateVersion>(&partition, prefix, None, true, 1).await?;
    // What a destroy forgets is in the last state that had it, which was kept aside.
    let newest = newest.items.into_iter().next().map(|version| version.value);
    if let Some(kept) = newest.filter(|version| version.rescued) {
        return Ok(Some((contents(kept.form, kept.resources), kept.number.to_string())));
    }
    let state = app.store.get::<StateVersion>(&keys::state(&owner)).await?;
    let found = state.map_or((StateForm::Plain, Some(0)), |s| (s.value.form, s.value.resources));
    Ok(Some((contents(found.0, found.1), "current".to_owned())))
}

fn steps(run: &Run, now: Timestamp) -> Vec<Step> {
    let ends = run.history.iter().skip(1).map(|next| Some(next.at)).chain([None]);
    run.history
        .iter()
        .zip(ends)
        .map(|(step, end)| {
            let until = end.or_else(|| (!step.state.is_final()).then_some(now));
            Step {
                chip: Chip::of(step.state, run),
                at: Moment::at(step.at, now),
                took: until.map(|until| span(until.duration_since(step.at).as_secs().max(0))),
                by: step.by.clone(),
                comment: step.comment.as_deref().map(text::clean),
            }
        })
        .collect()
}

async fn actions(
    app: &App,
    caller: &Caller,
    run: &Run,
    stack: &Stack,
    head: &StackHead,
    is_detached: bool,
    now: Timestamp,
) -> Answer<Actions> {
    let may_start = !(is_detached || (head.blocked.is_some() && run.run_type == RunType::Tracked));
    let can = runs::actions(run, may_start);
    let mut actions = Actions {
        confirm: can.contains(&"confirm"),
        discard: can.contains(&"discard"),
        stop: can.contains(&"stop"),
        retry: can.contains(&"retry"),
        applying: run.state == RunState::Applying,
        ..Actions::default()
    };
    if actions.confirm {
        actions.newer = runs::listed(app, caller, stack, "queue#").await?.len();
        let age = now.duration_since(run.since).as_secs();
        actions.old = (age > OLD_PLAN).then(|| span(age));
    }
    if actions.retry && run.run_type == RunType::Tracked {
        let head = commands::newer_head(app, run).await?;
        let branch = short(&run.tracked_branch, 80);
        actions.behind = head.map(|head| (branch, head.short().to_owned()));
    }
    Ok(actions)
}

/// What GitLab shows of the run: each status with its pipeline.
async fn published(
    app: &App,
    run: &Run,
    project: Option<&str>,
) -> Answer<Vec<(String, Option<String>)>> {
    let Some(at) = run.project().filter(|_| run.is_of_commit()) else { return Ok(Vec::new()) };
    let target = FeedbackMessage::Status { project: at, commit: run.commit.clone(), want: 0 };
    let posted = app.store.posted(&target.target()).await?;
    Ok(posted
        .statuses
        .into_iter()
        .filter(|status| status.run.as_ref().is_none_or(|of| *of == run.id))
        .map(|status| {
            let url = status.pipeline.id.zip(project.filter(|_| status.pipeline.fork.is_none()));
            let url = url.map(|(id, project)| format!("{project}/-/pipelines/{id}"));
            (format!("{}: {}", status.name, status.description), url)
        })
        .collect())
}
