//! A run as it is answered.

use crate::{access::Caller, app::App, commands::no_retry, gitlab::detached};
use gantry_domain::{
    CommitSha, EventId, ProjectId, RunId, StackSlug,
    approval::{LastVerdict, Review},
    integration::Integration,
    plan::{Change, Delta, Warning},
    run::{
        Address, Ending, Interest, Phase, PlanMode, PlanOptions, Run, RunState, RunType, Step,
        Unpushed,
    },
    stack::{Blocked, Stack, StackHead, Tool, Variable, VariableValue},
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
    /// Its number among the stack's runs: people call it `network#6`.
    number: u64,
    /// The stack's slug.
    stack: StackSlug,
    /// Its type.
    #[serde(rename = "type")]
    run_type: RunType,
    /// It is a module's run, which its tests carry out: each is a run of its own, of the type
    /// `test`.
    module: bool,
    /// Its state.
    state: RunState,
    /// The commit whose code it executes; for an upload, the one that the code is based on, which
    /// GitLab may not have.
    commit: CommitSha,
    /// The first line of the commit's message; null if GitLab did not tell it.
    commit_title: Option<String>,
    /// The commit's author, as Git has the name.
    commit_author: Option<String>,
    /// The branch or tag that it was started for.
    git_ref: String,
    /// Why it was started.
    reason: String,
    /// Who asked for it, if somebody did.
    by: Option<String>,
    /// What it is for, if nobody pushed anything; null otherwise.
    purpose: Option<Unpushed>,
    /// Where its code comes from. What was uploaded is never applied, and GitLab shows nothing of it.
    source: RunSource,
    /// The name of the key that uploaded the code, if it was uploaded.
    uploaded_by: Option<String>,
    /// What its plan would do, in numbers; null until it is planned.
    delta: Option<Delta>,
    /// Checks and conditions that failed: in its plan, or, once that is applied, in the apply.
    failing_checks: u32,
    /// Its plan was applied.
    applied: bool,
    /// One line about how it ended, unless it ended well.
    summary: Option<String>,
    /// When it was created.
    created_at: Timestamp,
    /// When it entered its current state.
    since: Timestamp,
    /// Its page in Gantry; null if the installation's public URL is not known.
    page: Option<String>,
}

/// Where a run's code comes from.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum RunSource {
    /// A commit.
    Commit,
    /// Somebody's working folder.
    Upload,
}

/// A run: one execution of a stack, or of a module's test, for one commit.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Run")]
pub(crate) struct RunView {
    #[serde(flatten)]
    summary: RunSummary,
    /// The project's ID in GitLab; null if the code is not in GitLab.
    project_id: Option<ProjectId>,
    /// The stack's tracked branch when the run was created.
    tracked_branch: String,
    /// The ID in GitLab of the fork that the code comes from; null if it comes from the stack's
    /// project.
    fork_of: Option<ProjectId>,
    /// The event that it was started for.
    event: Option<EventId>,
    /// The states that it went through.
    history: Vec<Step>,
    /// What keeps a preview alive.
    wants: BTreeSet<Interest>,
    /// The phase that is, or will be, executed.
    phase: Phase,
    /// Increases each time a phase is handed to a runner.
    attempt: u32,
    /// The runner that executes or executed it.
    runner: Option<String>,
    /// What it waits for before it can get a runner, or why none could be started.
    waits_for: Option<String>,
    /// Who or what requested to stop it.
    stop_asked: Option<String>,
    /// How it plans.
    options: OptionsView,
    /// Of a look for drift: resources and outputs that differ and may. They are listed in the change.
    tolerated: u32,
    /// Its plan is applied without confirmation, once the rules about who confirms let it.
    autodeploy: bool,
    /// What the rules about who confirms came to when they were last read; null where nothing asks
    /// for anything.
    approval: Option<LastVerdict>,
    /// What people decided about its plan, the earliest first.
    reviews: Vec<Review>,
    /// Its apply was lost, and the result is unknown.
    lost: bool,
    /// Why its stack, or module, is blocked by this run, until somebody unblocks it.
    blocks_stack: Option<Blocked>,
    /// How it ended, unless it ended well.
    ending: Option<Ending>,
    /// The tool's warnings before the plan failed, and in the apply. Those of a successful plan are
    /// part of the change.
    warnings: Vec<Warning>,
    /// What its plan found, in numbers; null until it is planned.
    change: Option<ChangeSummary>,
    /// What can be done with it now.
    #[schemars(extend("items" = {
        "type": "string", "enum": ["confirm", "discard", "review", "stop", "retry"]
    }))]
    actions: Vec<&'static str>,
    /// GitLab's own messages where it refused a status, the comment or a deployment.
    refused_by_gitlab: Vec<String>,
    links: Links,
}

/// How a run plans, and the environment variables that it alone has.
#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct OptionsView {
    /// What is planned.
    mode: PlanMode,
    /// Only these resources or modules, and what they depend on.
    targets: Vec<Address>,
    /// Resources that are replaced whether they changed or not.
    replace: Vec<Address>,
    /// Environment variables of this run alone.
    variables: Vec<OneOffView>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct OneOffView {
    /// The environment variable.
    name: String,
    /// Absent for secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// It is encrypted.
    secret: bool,
}

impl OptionsView {
    fn of(options: PlanOptions) -> Self {
        let PlanOptions { mode, targets, replace, variables } = options;
        let view = |Variable { name, value, .. }: Variable| {
            let value = match value {
                VariableValue::Plain(value) => Some(value),
                VariableValue::Sealed(_) => None,
            };
            OneOffView { name, secret: value.is_none(), value }
        };
        Self { mode, targets, replace, variables: variables.into_iter().map(view).collect() }
    }
}

/// What the plan found, in numbers. The full change is at `links.change`.
#[derive(Serialize, JsonSchema)]
struct ChangeSummary {
    /// The program that planned.
    tool: Tool,
    /// The program's version, as it reports it.
    terraform_version: String,
    /// The totals.
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
    /// Resources that were changed outside the tool.
    drift: u32,
    /// Resources deferred to a later plan.
    deferred: u32,
    /// Checks and conditions that failed.
    failing_checks: u32,
    /// How many warnings the tool gave.
    tool_warnings: u32,
}

/// Where to read more. URLs that begin with `/` belong to this API.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RunLinks")]
struct Links {
    log: String,
    /// Null until it is planned.
    change: Option<String>,
    stack: String,
    /// Null if it was not started for an event.
    event: Option<String>,
    /// The commit's page in GitLab; null if it is not known to exist.
    commit: Option<String>,
}

pub(super) fn summary(app: &App, run: Run) -> RunSummary {
    RunSummary {
        failing_checks: run.last_failed_checks(),
        page: app.public_url.as_ref().map(|url| run_page(url.as_str(), &run.id)),
        summary: run.ending.map(|ending| ending.summary),
        id: run.id,
        number: run.number,
        stack: run.slug,
        run_type: run.run_type,
        module: run.module,
        state: run.state,
        commit: run.commit,
        commit_title: Some(run.commit_line.title).filter(|title| !title.is_empty()),
        commit_author: Some(run.commit_line.author).filter(|author| !author.is_empty()),
        git_ref: run.git_ref,
        reason: run.reason,
        by: run.by,
        purpose: run.unpushed,
        source: if run.upload.is_some() { RunSource::Upload } else { RunSource::Commit },
        uploaded_by: run.upload.map(|upload| upload.by),
        delta: run.delta,
        applied: run.applied,
        created_at: run.created_at,
        since: run.since,
    }
}

#[expect(clippy::too_many_arguments, reason = "each is read from another place")]
pub(super) fn of(
    app: &App,
    caller: &Caller,
    run: Run,
    change: Option<&Change>,
    stack: Option<&Stack>,
    integration: Option<&Integration>,
    head: Option<StackHead>,
    refused_by_gitlab: Vec<String>,
    waits_for: Option<String>,
) -> RunView {
    let blocked = head.and_then(|head| head.blocked);
    let is_blocked = blocked.is_some();
    let is_live = stack
        .is_some_and(|stack| stack.deleted_at.is_none() && detached(stack, integration).is_none());
    let mut actions = actions(&run, is_live && !(is_blocked && run.run_type == RunType::Tracked));
    actions.extend((caller.person().is_some() && can_be_reviewed(&run)).then_some("review"));
    RunView {
        refused_by_gitlab,
        waits_for,
        links: links(&run, change.is_some(), stack, integration),
        actions,
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
            failing_checks: change.failed_checks(),
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
        options: OptionsView::of(run.options.clone()),
        tolerated: run.tolerated,
        autodeploy: run.autodeploy,
        approval: run.approval.clone(),
        reviews: run.reviews.clone(),
        lost: run.lost,
        blocks_stack: blocked.filter(|blocked| blocked.run == run.id),
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
        .filter(|_| run.fork_of.is_none() && run.upload.is_none())
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
            if may_start && run.run_type != RunType::Test && no_retry(run).is_none() {
                vec!["retry"]
            } else {
                Vec::new()
            }
        }
        _ => vec!["stop"],
    }
}

/// People can approve or reject the run: rules ask for something, and it waits for a decision.
pub(crate) fn can_be_reviewed(run: &Run) -> bool {
    run.run_type == RunType::Tracked && run.state == RunState::Unconfirmed && run.approval.is_some()
}
