//! A stack: what runs for it, what waits, its state, its settings.

mod contents;
mod history;
mod numbers;
mod orders;
mod unpushed;

pub(crate) use contents::{outputs, resources};
pub(crate) use history::show as history;
pub(crate) use orders::{remove, repair_webhook};

use self::unpushed::Unpushed;
use super::{
    markdown,
    overview::RunRow,
    page,
    shell::{Frame, Shell},
    show::{Moment, short, size},
    stack_form::place,
};
use crate::{
    activities::{self, ActivityQuery},
    app::App,
    form::Params,
    gitlab::detached,
    refusal::{Answer, Refusal},
    runs::{self, ListQuery},
    stacks::{self, Kind},
};
use askama::Template;
use axum::{
    extract::{Path, State},
    response::Response,
};
use gantry_domain::{
    Repository, RunId, StackId,
    integration::Integration,
    run::{Run, RunType},
    stack::{
        CommentLevel, OnPush, Replan, Stack, StackHead, Timeouts, TrackedQueue, VariableRuns,
        VariableValue,
    },
    state::{contents, unreadable},
    text::counted,
};
use gantry_queue::FeedbackMessage;
use gantry_store::{
    config::Activity,
    keys,
    runner::{StateLock, StateVersion},
    scheduler::CommandOutcome,
};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use std::collections::BTreeSet;

/// Versions of the state that the page lists.
const VERSIONS: i32 = 20;
/// Bytes of a state whose outputs the page loads by itself.
const LOADED: u64 = 5_000_000;

#[derive(Template)]
#[template(path = "stack.html")]
struct Page {
    shell: Shell,
    slug: String,
    name: String,
    /// What it is for, as HTML.
    description: Option<String>,
    project: String,
    project_url: Option<String>,
    environment_url: Option<String>,
    branch: String,
    root: String,
    made: Option<String>,
    /// What became of the last command.
    outcome: Option<Said>,
    detached: Option<String>,
    blocked: Option<Blocked>,
    branch_missing: bool,
    /// Nothing but a person starts its runs: the code is not at GitLab.
    by_hand: bool,
    /// Drift and schedules.
    unpushed: Unpushed,
    /// When everything that it held was destroyed, if nothing was applied since, and by which run.
    destroyed: Option<(String, Moment)>,
    /// The run that holds the stack.
    holds: Option<RunRow>,
    queue: Vec<RunRow>,
    waiting: Vec<RunRow>,
    can_catch_up: bool,
    runs: Vec<RunRow>,
    next: Option<String>,
    facts: Vec<(&'static str, String)>,
    variables: Vec<(String, String, &'static str)>,
    state: Option<StateRow>,
    versions: Vec<StateRow>,
    lock: Option<(String, String, Moment)>,
    manages_state: bool,
    /// What goes on existing when the stack is deleted.
    remains: Option<String>,
}

struct StateRow {
    number: u64,
    serial: u64,
    contents: String,
    /// Why its resources are not listed.
    unreadable: Option<&'static str>,
    size: String,
    /// It is read only for those who ask.
    is_large: bool,
    by: String,
    /// The run that wrote it, where one did.
    run: Option<String>,
    at: Moment,
    rescued: bool,
    current: bool,
}

#[derive(Default, Deserialize)]
pub(crate) struct Query {
    made: Option<String>,
    asked: Option<String>,
    /// Links of earlier pages say `before`.
    #[serde(alias = "before")]
    after: Option<String>,
    state: Option<String>,
}

/// `GET /stacks/{slug}`
pub(crate) async fn show(
    State(app): State<App>,
    frame: Frame,
    Path(slug): Path<String>,
    Params(query): Params<Query>,
) -> Answer<Response> {
    let stack = stacks::find(&app, &slug).await?.value;
    if stack.module.is_some() {
        let made = query.made.map(|made| format!("?made={made}")).unwrap_or_default();
        return Ok(super::go_to(&format!("{}modules/{slug}{made}", frame.root)));
    }
    let now = app.clock.now();
    let integration = app.store.integration().await?.map(|found| found.value);
    let head = stacks::head(&app, &stack.id).await?.map(|head| head.value).unwrap_or_default();
    let list = ListQuery { after: query.after.clone(), limit: None };
    let caller = frame.caller()?;
    let (found, queue, waiting) = tokio::try_join!(
        runs::page(&app, caller, &stack, &list),
        runs::listed(&app, caller, &stack, "queue#"),
        runs::listed(&app, caller, &stack, "waiting#"),
    )?;
    let row = |run: &gantry_domain::run::Run| RunRow::of(run, now);
    let holds = match &head.tracked {
        Some(run) => Some(row(&runs::find(&app, run.as_str()).await?)),
        None => None,
    };
    let missing = stacks::tracked_branch(&app, &stack).await?.is_some_and(|known| known.missing);
    let versions = newest_versions(&app, &stack.id).await?;
    let blocked = blocked(&head, now)
        .map(|blocked| Blocked { rescued: rescued(&versions, &blocked.run), ..blocked });
    let StateRows { current: state, versions, lock, remains } =
        state(&app, &stack, versions, now).await?;
    let project_url = project_url(&stack, integration.as_ref());
    let can_catch_up = queue.len() > 1
        || (!queue.is_empty() && holds.as_ref().is_some_and(|run| run.chip.class == "wait"));
    let outcome = match query.state.as_deref() {
        Some(word) => state_outcome(&app, &stack, word).await?,
        None => outcome(&app, &stack, query.asked.as_deref(), None).await?,
    };
    Ok(page(&Page {
        shell: frame.shell("stacks", stack.settings.name.clone()).of(&stack),
        slug: stack.slug.to_string(),
        name: stack.settings.name.clone(),
        description: stack.settings.description.as_deref().map(|text| markdown::html(text, 1)),
        project: short(&stack.project_path, 120),
        environment_url: environment_url(&app, &stack, project_url.as_deref()).await?,
        by_hand: stack.project().is_none(),
        project_url,
        branch: short(&stack.branch, 80),
        root: if stack.settings.project_root.is_empty() {
            "/".to_owned()
        } else {
            stack.settings.project_root.clone()
        },
        made: query.made,
        outcome,
        detached: detached(&stack, integration.as_ref()),
        blocked,
        branch_missing: missing,
        unpushed: Unpushed::of(&app, &stack, &head).await?,
        destroyed: head
            .destroyed
            .as_ref()
            .map(|destroyed| (destroyed.run.to_string(), Moment::at(destroyed.at, now))),
        holds,
        queue: queue.iter().map(row).collect(),
        waiting: waiting.iter().map(row).collect(),
        can_catch_up,
        runs: found.0.iter().map(row).collect(),
        next: found.1,
        facts: facts(&stack),
        variables: variables(&stack),
        remains,
        state,
        versions,
        lock,
        manages_state: stack.settings.manage_state,
    }))
}

/// That a stack, or a module, is blocked.
pub(super) struct Blocked {
    /// The run that blocked it.
    pub(super) run: String,
    pub(super) reason: String,
    pub(super) since: Moment,
    /// The version of the stack's state that was rescued of that run.
    pub(super) rescued: Option<u64>,
}

pub(super) fn blocked(head: &StackHead, now: Timestamp) -> Option<Blocked> {
    let blocked = head.blocked.as_ref()?;
    Some(Blocked {
        run: blocked.run.to_string(),
        reason: blocked.reason.clone(),
        since: Moment::at(blocked.since, now),
        rescued: None,
    })
}

/// The same for the page of the run that blocked it. A test's state is its own: its page shows that.
pub(super) async fn blocked_by(
    app: &App,
    run: &Run,
    head: &StackHead,
    now: Timestamp,
) -> Answer<Option<Blocked>> {
    let Some(blocked) = blocked(head, now).filter(|blocked| blocked.run == run.id.as_str()) else {
        return Ok(None);
    };
    if run.run_type == RunType::Test {
        return Ok(Some(blocked));
    }
    let versions = newest_versions(app, &run.stack).await?;
    Ok(Some(Blocked { rescued: rescued(&versions, &blocked.run), ..blocked }))
}

/// The newest versions of a stack's state, the newest first.
async fn newest_versions(app: &App, stack: &StackId) -> Answer<Vec<StateVersion>> {
    let (partition, prefix) = (keys::state_partition(stack), keys::STATE_VERSIONS);
    let found = app.store.query::<StateVersion>(&partition, prefix, None, true, VERSIONS).await?;
    Ok(found.items.into_iter().map(|version| version.value).collect())
}

/// The newest version that was rescued of a run.
fn rescued(versions: &[StateVersion], run: &str) -> Option<u64> {
    let is_of_it = |version: &&StateVersion| version.rescued && version.by == run;
    versions.iter().find(is_of_it).map(|version| version.number)
}

pub(super) fn project_url(stack: &Stack, integration: Option<&Integration>) -> Option<String> {
    if let Repository::Git(url) = &stack.repository {
        return Some(url.to_string());
    }
    let known = integration.filter(|known| known.generation == stack.generation)?;
    Some(format!("{}/{}", known.api_host, stack.project_path))
}

/// The stack's environment at GitLab, once it is made.
async fn environment_url(
    app: &App,
    stack: &Stack,
    project: Option<&str>,
) -> Answer<Option<String>> {
    let target = FeedbackMessage::Environment { stack: stack.id.clone(), want: 0 }.target();
    let (Some(project), Some(_)) = (project, stack.project()) else {
        return Ok(None);
    };
    let id = app.store.environment(&target).await?;
    Ok(id.map(|id| format!("{project}/-/environments/{id}")))
}

/// What became of a command.
pub(super) struct Said {
    /// How it looks.
    pub(super) class: &'static str,
    pub(super) text: String,
    /// It has become known: until then the page asks again.
    pub(super) is_known: bool,
}

impl Said {
    fn known(done: bool, text: String) -> Self {
        Self { class: if done { "good" } else { "bad" }, text, is_known: true }
    }
}

/// Minutes after which nobody needs to be told what became of a command.
const NEWS: i64 = 10;

/// What became of a command that somebody just gave, if that is known. It speaks of how things were
/// then: once they have changed, which was at `changed`, it is not said any more.
pub(super) async fn outcome(
    app: &App,
    stack: &Stack,
    asked: Option<&str>,
    changed: Option<Timestamp>,
) -> Answer<Option<Said>> {
    let Some(request) = asked.and_then(|asked| asked.parse().ok()) else { return Ok(None) };
    let found = app.store.get::<CommandOutcome>(&keys::command(&stack.id, &request)).await?;
    let Some(outcome) = found.map(|found| found.value) else {
        let text = "Requested. The page shows it as soon as it is done.".to_owned();
        return Ok(Some(Said { class: "wait", text, is_known: false }));
    };
    let is_news = app.clock.now().duration_since(outcome.at) < SignedDuration::from_mins(NEWS)
        && changed.is_none_or(|changed| changed <= outcome.at);
    Ok(is_news.then(|| Said::known(outcome.done, outcome.message)))
}

/// What became of a change of the state: runner-api made it, and wrote down how it ended.
async fn state_outcome(app: &App, stack: &Stack, word: &str) -> Answer<Option<Said>> {
    let query = ActivityQuery { about: Some(stack.slug.to_string()), ..ActivityQuery::default() };
    let found = activities::find_page(app, None, &query).await?.activities;
    let about = format!("the state of {}", stack.slug);
    let mut all = found.into_iter().map(|found| found.value);
    let last = all.find(|activity| activity.what.ends_with(&about));
    let text = |activity: &Activity| format!("{}: {}", activity.what, activity.outcome);
    Ok(last.map(|activity| Said::known(word == "done", text(&activity))))
}

/// What a page shows of a state.
struct StateRows {
    current: Option<StateRow>,
    versions: Vec<StateRow>,
    lock: Option<(String, String, Moment)>,
    remains: Option<String>,
}

async fn state(
    app: &App,
    stack: &Stack,
    versions: Vec<StateVersion>,
    now: Timestamp,
) -> Answer<StateRows> {
    let current = app.store.get::<StateVersion>(&keys::state(&stack.id)).await?;
    let current = current.map(|current| current.value);
    let lock = app.store.get::<StateLock>(&keys::lock(&stack.id)).await?;
    let number = current.as_ref().map(|current| current.number);
    let wrote = |version: &StateVersion| version.by.parse::<RunId>().ok();
    let shown = versions.iter().chain(&current).filter_map(wrote);
    let runs: BTreeSet<_> = shown.map(|run| keys::run(&run)).collect();
    let runs = app.store.get_many::<Run>(&runs.into_iter().collect::<Vec<_>>()).await?;
    let run_of = |by: &str| runs.iter().map(|run| &run.value).find(|run| run.id.as_str() == by);
    let row = |version: StateVersion| StateRow {
        run: run_of(&version.by).map(|run| run.id.to_string()),
        current: number == Some(version.number),
        number: version.number,
        serial: version.serial,
        contents: contents(version.form, version.resources),
        unreadable: unreadable(version.form),
        size: size(version.size),
        is_large: version.size > LOADED,
        by: run_of(&version.by).map_or(version.by, |run| format!("#{}", run.number)),
        at: Moment::at(version.at, now),
        rescued: version.rescued,
    };
    let lock = lock.map(|lock| {
        (lock.value.run.to_string(), lock.value.info.operation, Moment::at(lock.value.at, now))
    });
    let versions = versions.into_iter().map(row).collect();
    let remains = current.as_ref().and_then(stacks::holds);
    Ok(StateRows { current: current.map(row), versions, lock, remains })
}

fn facts(stack: &Stack) -> Vec<(&'static str, String)> {
    let tool = match &stack.settings.tool_version {
        Some(version) => format!("{} {version}", stack.settings.tool.command()),
        None => format!("{}, the version on the runner", stack.settings.tool.command()),
    };
    let on_push = match stack.settings.on_push {
        OnPush::Tracked => "deploys",
        OnPush::Proposed => "only shows a preview",
    };
    let applies = if stack.settings.autodeploy { "automatically" } else { "once confirmed" };
    let queued = match stack.settings.tracked_queue {
        TrackedQueue::Every => "run each in order",
        TrackedQueue::Latest => "run only the latest",
    };
    let comment = match stack.settings.comment {
        CommentLevel::Full => "full diff",
        CommentLevel::Summary => "counts only",
        CommentLevel::None => "nothing",
    };
    let state = match stack.settings.manage_state {
        true => "stored in Gantry",
        false => "in the backend that the code configures",
    };
    let mut facts = vec![("Tool", tool)];
    match stack.project() {
        Some(_) => facts.push(("A push to the branch", on_push.to_owned())),
        None => facts.push(("Runs", "started by hand".to_owned())),
    }
    facts.push(("Applies", applies.to_owned()));
    facts.push(("Waiting commits", queued.to_owned()));
    if stack.project().is_some() {
        facts.push(("Merge request comment", comment.to_owned()));
    }
    facts.push(("State", state.to_owned()));
    if let Some(tag) = &stack.settings.on_tag {
        let run = if tag.run == OnPush::Tracked { "a deploy" } else { "a preview" };
        facts.push(("Tags", format!("{} starts {run}", tag.pattern)));
    }
    let Timeouts { plan, apply, unconfirmed } = stack.settings.timeouts;
    let limits = format!("{plan} for a plan, {apply} for an apply, {unconfirmed} to confirm");
    facts.push(("Time limits", limits));
    if stack.project().is_some() {
        facts.push(("Previews that an apply makes old", replan(stack.settings.replan).to_owned()));
    }
    let lists = [
        ("Additional paths", &stack.settings.project_globs),
        ("Variable files", &stack.settings.var_files),
        ("Allowed forks", &stack.settings.allow_forks),
        ("Labels", &stack.settings.labels),
    ];
    facts.extend(
        lists
            .into_iter()
            .filter(|(_, list)| !list.is_empty())
            .map(|(name, list)| (name, short(&list.join(", "), 400))),
    );
    let hooks = [
        &stack.settings.hooks.before_init,
        &stack.settings.hooks.after_init,
        &stack.settings.hooks.before_plan,
        &stack.settings.hooks.after_plan,
        &stack.settings.hooks.before_apply,
        &stack.settings.hooks.after_apply,
    ];
    match hooks.iter().map(|hooks| hooks.len()).sum::<usize>() {
        0 => {}
        count => facts.push(("Hooks", counted(count, "command"))),
    }
    facts
}

fn replan(replan: Replan) -> &'static str {
    match replan {
        Replan::All => "planned again",
        Replan::Mergeable => "planned again if they could be merged",
        Replan::None => "not planned again",
    }
}

fn variables(stack: &Stack) -> Vec<(String, String, &'static str)> {
    let row = |variable: &gantry_domain::stack::Variable| {
        let value = match &variable.value {
            VariableValue::Plain(value) => short(value, 200),
            VariableValue::Sealed(_) => "secret".to_owned(),
        };
        let runs = match variable.runs {
            VariableRuns::All => "all runs",
            VariableRuns::Tracked => "deploys only",
        };
        (variable.name.clone(), value, runs)
    };
    stack.variables.iter().map(row).collect()
}

#[derive(Template)]
#[template(path = "stack_check.html")]
struct Check {
    shell: Shell,
    /// The part of the address of the page that it belongs to.
    place: &'static str,
    word: &'static str,
    slug: String,
    findings: Vec<stacks::Finding>,
    /// None where the code is not at GitLab.
    hook: Option<stacks::HookHealth>,
}

/// `GET /stacks/{slug}/check`: what will not work at the project, and how its webhook is.
pub(crate) async fn check(
    State(app): State<App>,
    frame: Frame,
    Path(slug): Path<String>,
) -> Answer<Response> {
    let stack = stacks::find(&app, &slug).await?.value;
    let kind = Kind::of(&stack);
    let (place, word) = (place(kind), kind.word());
    let integration = app.store.integration().await?.map(|found| found.value);
    if let Some(why) = detached(&stack, integration.as_ref()) {
        let detail = format!("Nothing runs because {why}.");
        return Err(Refusal::conflict(&format!("The {word} is detached"), detail));
    }
    let (findings, hook) = stacks::inspect(&app, &stack).await?;
    let title = format!("Checks for {}", stack.settings.name);
    let shell = frame.shell(place, title).of(&stack);
    Ok(page(&Check { shell, place, word, slug, findings, hook }))
}
