//! A run as it is answered.

use crate::{app::App, gitlab::detached};
use gantry_domain::{
    CommitSha, EventId, ProjectId, RunId, StackSlug,
    integration::Integration,
    plan::{Change, Delta, Warning},
    run::{Ending, Interest, Phase, Run, RunState, RunType, Step},
    stack::{Stack, StackHead, Tool},
};
use gantry_secrets::links::run_page;
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeSet;

/// A run in a list.
#[derive(Serialize)]
pub(super) struct RunSummary {
    id: RunId,
    stack: StackSlug,
    #[serde(rename = "type")]
    run_type: RunType,
    state: RunState,
    commit: CommitSha,
    git_ref: String,
    reason: String,
    by: Option<String>,
    delta: Option<Delta>,
    applied: bool,
    /// One line on how it ended other than well.
    summary: Option<String>,
    created_at: Timestamp,
    /// When it entered its present state.
    since: Timestamp,
    /// The page for people; none when nobody said how this installation is reached.
    page: Option<String>,
}

/// A run.
#[derive(Serialize)]
pub(super) struct RunView {
    #[serde(flatten)]
    summary: RunSummary,
    /// None where the code is not at GitLab.
    project_id: Option<ProjectId>,
    tracked_branch: String,
    fork_of: Option<ProjectId>,
    event: Option<EventId>,
    history: Vec<Step>,
    wants: BTreeSet<Interest>,
    phase: Phase,
    attempt: u32,
    runner: Option<String>,
    /// What it waits for before it can have a runner.
    waits_for: Option<String>,
    /// Who or what asked it to end.
    stop_asked: Option<String>,
    autodeploy: bool,
    /// Its apply was lost: the result is not known.
    lost: bool,
    ending: Option<Ending>,
    /// What the tool warned of before its plan failed, and in its apply: what it warned of in a plan
    /// is with the change.
    warnings: Vec<Warning>,
    change: Option<ChangeSummary>,
    /// What can be asked of it now: `confirm`, `discard`, `stop`, `retry`.
    actions: Vec<&'static str>,
    /// GitLab's own words where it refused a status, the note or a deployment.
    refused_by_gitlab: Vec<String>,
    links: Links,
}

/// What the plan found, in numbers; the whole is at `links.change`.
#[derive(Serialize)]
struct ChangeSummary {
    tool: Tool,
    terraform_version: String,
    delta: Delta,
    errored: bool,
    partial: bool,
    remarks: Vec<String>,
    resources: usize,
    invocations: usize,
    drift: u32,
    deferred: u32,
    failing_checks: usize,
    /// How often the tool warned.
    tool_warnings: u32,
}

#[derive(Serialize)]
struct Links {
    log: String,
    change: Option<String>,
    stack: String,
    event: Option<String>,
    /// The commit's page at GitLab.
    commit: Option<String>,
}

pub(super) fn summary(app: &App, run: Run) -> RunSummary {
    RunSummary {
        page: app.public_url.as_ref().map(|url| run_page(url.as_str(), &run.id)),
        summary: run.ending.map(|ending| ending.summary),
        id: run.id,
        stack: run.slug,
        run_type: run.run_type,
        state: run.state,
        commit: run.commit,
        git_ref: run.git_ref,
        reason: run.reason,
        by: run.by,
        delta: run.delta,
        applied: run.applied,
        created_at: run.created_at,
        since: run.since,
    }
}

#[expect(clippy::too_many_arguments, reason = "each is read from another place")]
pub(super) fn of(
    app: &App,
    run: Run,
    change: Option<&Change>,
    stack: Option<&Stack>,
    integration: Option<&Integration>,
    head: Option<StackHead>,
    refused_by_gitlab: Vec<String>,
    waits_for: Option<String>,
) -> RunView {
    let is_blocked = head.is_some_and(|head| head.blocked.is_some());
    let is_live = stack
        .is_some_and(|stack| stack.deleted_at.is_none() && detached(stack, integration).is_none());
    RunView {
        refused_by_gitlab,
        waits_for,
        links: links(&run, change.is_some(), stack, integration),
        actions: actions(&run, is_live && !(is_blocked && run.run_type == RunType::Tracked)),
        change: change.map(|change| ChangeSummary {
            tool: change.tool,
            terraform_version: change.terraform_version.clone(),
            delta: change.delta,
            errored: change.errored,
            partial: change.partial,
            remarks: change.warnings(),
            resources: change.resources.len() + change.resources_cut as usize,
            invocations: change.invocations.len() + change.invocations_cut as usize,
            drift: change.drift,
            deferred: change.deferred,
            failing_checks: change.checks.len() + change.checks_cut as usize,
            tool_warnings: change.tool_warned(),
        }),
        project_id: run.project(),
        tracked_branch: run.tracked_branch.clone(),
        fork_of: run.fork_of,
        event: run.event.clone(),
        history: run.history.clone(),
        wants: run.interests.clone(),
        phase: run.phase,
        attempt: run.attempt,
        runner: run.runner.clone(),
        stop_asked: run.stop_asked.clone(),
        autodeploy: run.autodeploy,
        lost: run.lost,
        ending: run.ending.clone(),
        warnings: run.warnings.clone(),
        summary: summary(app, run),
    }
}

fn links(
    run: &Run,
    has_change: bool,
    stack: Option<&Stack>,
    integration: Option<&Integration>,
) -> Links {
    let commit = project_page(run, stack, integration)
        .filter(|_| run.fork_of.is_none())
        .map(|project| format!("{project}/-/commit/{}", run.commit));
    Links {
        log: format!("/api/v1/runs/{}/log", run.id),
        change: has_change.then(|| format!("/api/v1/runs/{}/change", run.id)),
        stack: format!("/api/v1/stacks/{}", run.slug),
        event: run.event.as_ref().map(|event| format!("/api/v1/events/{event}")),
        commit,
    }
}

/// The page of the run's project at GitLab; none when it is not known to be there.
pub(crate) fn project_page(
    run: &Run,
    stack: Option<&Stack>,
    integration: Option<&Integration>,
) -> Option<String> {
    let (stack, integration) = stack.zip(integration)?;
    let is_there = stack.project().is_some()
        && stack.repository == run.repository
        && stack.generation == integration.generation;
    is_there.then(|| format!("{}/{}", integration.api_host, stack.project_path))
}

/// What can be asked of a run; `may_start` says whether anything may start for its stack.
pub(crate) fn actions(run: &Run, may_start: bool) -> Vec<&'static str> {
    match run.state {
        RunState::Unconfirmed if may_start => vec!["confirm", "discard"],
        RunState::Unconfirmed | RunState::Confirmed => vec!["discard"],
        RunState::Destroying => Vec::new(),
        state if state.is_final() => {
            if may_start && run.run_type != RunType::Test {
                vec!["retry"]
            } else {
                Vec::new()
            }
        }
        _ => vec!["stop"],
    }
}
