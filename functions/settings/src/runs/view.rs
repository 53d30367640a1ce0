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
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeSet;

/// A run in a list.
#[derive(Serialize, JsonSchema)]
pub(crate) struct RunSummary {
    id: RunId,
    /// The stack's slug.
    stack: StackSlug,
    /// What it is for.
    #[serde(rename = "type")]
    run_type: RunType,
    /// Where it is.
    state: RunState,
    commit: CommitSha,
    /// The branch or tag that it was started for.
    git_ref: String,
    /// Why it was made.
    reason: String,
    /// Who asked for it, when a person did.
    by: Option<String>,
    /// What its plan would do, in numbers; null while it has none.
    delta: Option<Delta>,
    /// Its plan was applied.
    applied: bool,
    /// One line on how it ended other than well.
    summary: Option<String>,
    /// When it was made.
    created_at: Timestamp,
    /// When it entered its present state.
    since: Timestamp,
    /// The page for people; null when nobody said how this installation is reached.
    page: Option<String>,
}

/// A run: one execution of a stack, or of a module's test, for one commit.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Run")]
pub(crate) struct RunView {
    #[serde(flatten)]
    summary: RunSummary,
    /// GitLab's id of the project; null where the code is not at GitLab.
    project_id: Option<ProjectId>,
    /// The stack's tracked branch when the run was made.
    tracked_branch: String,
    /// Set when the code comes from another project than the stack's: GitLab's id of it.
    fork_of: Option<ProjectId>,
    /// The event that it was made for.
    event: Option<EventId>,
    /// The states that it went through.
    history: Vec<Step>,
    /// What keeps a proposed run alive.
    wants: BTreeSet<Interest>,
    /// The phase that is, or will be, executed.
    phase: Phase,
    /// Rises each time that a phase is handed to a runner.
    attempt: u32,
    /// The runner that has, or had, it.
    runner: Option<String>,
    /// What it waits for before it can have a runner.
    waits_for: Option<String>,
    /// Who or what asked it to end.
    stop_asked: Option<String>,
    /// Its plan is applied without asking.
    autodeploy: bool,
    /// Its apply was lost: the result is not known.
    lost: bool,
    /// How it ended other than well.
    ending: Option<Ending>,
    /// What the tool warned of before its plan failed, and in its apply: what it warned of in a plan
    /// is with the change.
    warnings: Vec<Warning>,
    /// What its plan found, in numbers; null while it has none.
    change: Option<ChangeSummary>,
    /// What can be asked of it now.
    #[schemars(extend("items" = {
        "type": "string", "enum": ["confirm", "discard", "stop", "retry"]
    }))]
    actions: Vec<&'static str>,
    /// GitLab's own words where it refused a status, the note or a deployment.
    refused_by_gitlab: Vec<String>,
    links: Links,
}

/// What the plan found, in numbers; the whole is at `links.change`.
#[derive(Serialize, JsonSchema)]
struct ChangeSummary {
    /// The program that planned.
    tool: Tool,
    /// The program's version, as it says itself.
    terraform_version: String,
    /// The counts over everything.
    delta: Delta,
    /// The plan is incomplete because an error ended it.
    errored: bool,
    /// The plan does not cover the whole configuration.
    partial: bool,
    /// What people should know before they confirm it.
    remarks: Vec<String>,
    /// Resources that would change.
    resources: usize,
    /// Actions of providers that would be invoked.
    invocations: usize,
    /// Resources that were changed outside of the tool.
    drift: u32,
    /// Resources put off to a later plan.
    deferred: u32,
    /// Checks and conditions that fail.
    failing_checks: usize,
    /// How often the tool warned.
    tool_warnings: u32,
}

/// Where to read more. Addresses begin with `/` where they are of this API.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RunLinks")]
struct Links {
    log: String,
    /// Null while it has not planned.
    change: Option<String>,
    stack: String,
    /// Null where no event asked for it.
    event: Option<String>,
    /// The commit's page at GitLab; null where it is not known to be there.
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
