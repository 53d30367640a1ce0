//! What people ask of stacks and runs. Each request becomes a message to the scheduler, which
//! alone decides; what is certain to be refused is said at once.

mod decide;
mod start;

pub(crate) use self::start::find_commit;

use self::{
    decide::{Said, confirm, discard, review},
    start::{look_for_drift, run, task},
};
use crate::{
    access::Caller,
    app::App,
    form::{Body, Form},
    gitlab::detached,
    openapi::{
        BodyOf, ConfirmRun, DecideRun, RetryRun, ReviewRun, StartRun, StartTask, Tag, UnblockStack,
    },
    refusal::{Answer, Done, Refusal},
    runs, stacks,
};
use axum::{
    Extension, Json,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use gantry_domain::{
    CommitSha, EventId, RunId,
    rights::Right,
    run::{PlanMode, Run, RunState, RunType},
    stack::Stack,
};
use gantry_queue::{Command, StackMessage};
use gantry_store::{
    keys,
    scheduler::{CommandOutcome, RunEntry, TrackedBranch},
};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use std::time::Duration;

/// A command and its outcome, if there is one yet.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Command")]
pub(crate) struct CommandView {
    /// The request's ID: from `Idempotency-Key`, or random.
    pub(crate) request: EventId,
    /// Null until it is decided.
    done: Option<bool>,
    /// The outcome, in words.
    pub(crate) message: Option<String>,
    /// The run that it created or was about.
    pub(crate) run: Option<RunId>,
    /// The name of the key that asked.
    actor: Option<String>,
    /// When it was decided.
    at: Option<Timestamp>,
    /// Where to read the outcome.
    outcome: String,
    /// What was said about it.
    #[serde(skip)]
    said: Said,
}

impl CommandView {
    /// What it came to, for the list of activities, with what was said about it.
    pub(crate) fn done(&self) -> Done {
        Done::new(self.said.behind(self.message.as_deref()))
    }
}

fn has_ended(state: RunState) -> Refusal {
    refuse(format!("The run has already ended ({state})."))
}

pub(crate) fn refuse(why: impl Into<String>) -> Refusal {
    Refusal::conflict("Not possible right now", why)
}

/// What people ask of a stack or of one of its runs. [`TABLE`] says who may, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Apply the plan that was shown.
    Confirm,
    /// Do not apply it.
    Discard,
    /// Approve it, or reject it.
    Review,
    /// End the run.
    Stop,
    /// Run the same commit again.
    Retry,
    /// Start a run of a stack.
    Run,
    /// Look for what was changed elsewhere.
    Drift,
    /// Execute one command in a stack's workspace.
    Task,
    /// Take a stack back from a lost run.
    Unblock,
    /// Leave out all that queues but the newest.
    CatchUp,
}

/// A row of the table: one route of the API, and one form of a page.
pub(crate) struct Row {
    /// What is asked.
    pub(crate) ask: Ask,
    /// Where the API takes it.
    pub(crate) api: &'static str,
    /// Where the pages' form goes.
    pub(crate) page: &'static str,
    /// The role that it needs.
    pub(crate) needs: Right,
    /// What it does, for the list of activities.
    pub(crate) what: &'static str,
    /// The fields of the form, which are texts.
    pub(crate) texts: &'static [&'static str],
    /// The fields of the form, which are texts with an item a line.
    pub(crate) lists: &'static [&'static str],
    /// The fields of the form, which are boxes to tick.
    pub(crate) boxes: &'static [&'static str],
    /// The page asks first whether it is meant.
    pub(crate) sure: bool,
    /// It makes a run, which the page shows next.
    pub(crate) makes_run: bool,
    /// What it belongs to in the API's description.
    pub(crate) tag: Tag,
    /// Its name there.
    pub(crate) id: &'static str,
    /// What it does, there.
    pub(crate) summary: &'static str,
    /// More than that.
    pub(crate) about: &'static str,
    /// What its body has.
    pub(crate) body: Option<BodyOf>,
}

macro_rules! row {
    ($ask:ident, $needs:ident, $path:literal, $what:literal) => {
        Row {
            ask: Ask::$ask,
            api: concat!("/api/v1", $path),
            page: $path,
            needs: Right::$needs,
            what: $what,
            texts: &[],
            lists: &[],
            boxes: &[],
            sure: false,
            makes_run: false,
            tag: Tag::Runs,
            id: "",
            summary: "",
            about: "",
            body: None,
        }
    };
}

/// Every command.
pub(crate) static TABLE: [Row; 10] = [
    Row {
        id: "confirmRun",
        summary: "Apply the plan that was shown",
        about: "Rules of GitLab and of the stack may ask for approvals first, and say who confirms: \
                they are read again at this moment. An access key with the role `admin` overrides \
                them with `override_reason`, which is refused to all others.",
        texts: &["comment", "override_reason"],
        body: Some(BodyOf::optional::<ConfirmRun>()),
        ..row!(Confirm, Deploy, "/runs/{id}/confirm", "confirm the run {id}")
    },
    Row {
        id: "discardRun",
        summary: "Discard the plan",
        texts: &["comment"],
        body: Some(BodyOf::optional::<DecideRun>()),
        ..row!(Discard, Deploy, "/runs/{id}/discard", "discard the run {id}")
    },
    Row {
        id: "reviewRun",
        summary: "Approve or reject the plan that was shown",
        about: "For people who sign in with GitLab; access keys are refused. It counts if a rule of \
                GitLab or of the stack asks for that person's approval. The last decision of a \
                person is the one that counts.",
        texts: &["decision", "comment"],
        body: Some(BodyOf::required::<ReviewRun>()),
        ..row!(Review, Read, "/runs/{id}/review", "review the run {id}")
    },
    Row {
        sure: true,
        id: "stopRun",
        summary: "Stop the run",
        about: "A plan ends at once. An apply finishes the operations in progress and writes the \
                state. A provisioner command is killed at once: its resource is tainted, and the \
                next apply replaces it.",
        ..row!(Stop, Deploy, "/runs/{id}/stop", "stop the run {id}")
    },
    Row {
        boxes: &["force"],
        makes_run: true,
        id: "retryRun",
        summary: "Repeat the run as a new one",
        body: Some(BodyOf::optional::<RetryRun>()),
        ..row!(Retry, Deploy, "/runs/{id}/retry", "retry the run {id}")
    },
    Row {
        texts: &["type", "commit", "mode", "confirm_slug"],
        lists: &["targets", "replace"],
        makes_run: true,
        id: "startRun",
        summary: "Start a run",
        about: "A deploy that destroys everything needs the role `admin`, and the stack's slug in \
                `confirm_slug`. To undo drift, deploy the commit that was applied last; to accept \
                it, deploy that commit with the mode `refresh_only`. A deploy with another mode \
                than `normal`, with targets or with replacements always waits for a confirmation.",
        body: Some(BodyOf::optional::<StartRun>()),
        ..row!(Run, Preview, "/stacks/{slug}/runs", "start a run of the stack {slug}")
    },
    Row {
        makes_run: true,
        id: "lookForDrift",
        summary: "Look for what was changed outside of the tool",
        about: "A preview of the commit that was applied last. What it finds is in `drift` of the \
                stack's status.",
        ..row!(Drift, Preview, "/stacks/{slug}/drift", "look for drift of the stack {slug}")
    },
    Row {
        texts: &["command"],
        makes_run: true,
        id: "startTask",
        summary: "Run a command in the stack's workspace",
        about: "It gets what deploys get, and waits for them as they do for each other. Nothing is \
                planned or confirmed, and the log is kept.",
        body: Some(BodyOf::required::<StartTask>()),
        ..row!(Task, Edit, "/stacks/{slug}/tasks", "run a task of the stack {slug}")
    },
    Row {
        texts: &["reason"],
        tag: Tag::Stacks,
        id: "unblockStack",
        summary: "Unblock a stack after a lost apply",
        body: Some(BodyOf::required::<UnblockStack>()),
        ..row!(Unblock, Unblock, "/stacks/{slug}/unblock", "unblock the stack {slug}")
    },
    Row {
        sure: true,
        tag: Tag::Stacks,
        id: "catchUpStack",
        summary: "Discard the unconfirmed run and cancel all queued runs except the newest",
        ..row!(CatchUp, Deploy, "/stacks/{slug}/catch-up", "catch up with the stack {slug}")
    },
];

/// A command, as the API takes it.
pub(crate) async fn take(
    asked: Ask,
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(of): Path<String>,
    Body(fields): Body,
) -> Answer<Response> {
    answer(ask(&app, &caller, asked, &of, fields).await?)
}

/// Asks for something of the stack, or of the run, `of`.
pub(crate) async fn ask(
    app: &App,
    caller: &Caller,
    asked: Ask,
    of: &str,
    fields: Map<String, Value>,
) -> Answer<CommandView> {
    let form = Form::new(fields);
    match asked {
        Ask::Confirm => confirm(app, caller, of, form).await,
        Ask::Discard => discard(app, caller, of, form).await,
        Ask::Review => review(app, caller, of, form).await,
        Ask::Stop => stop(app, caller, of, form).await,
        Ask::Retry => retry(app, caller, of, form).await,
        Ask::Run => Box::pin(run(app, caller, of, form)).await,
        Ask::Drift => look_for_drift(app, caller, of, form).await,
        Ask::Task => task(app, caller, of, form).await,
        Ask::Unblock => unblock(app, caller, of, form).await,
        Ask::CatchUp => catch_up(app, caller, of, form).await,
    }
}

async fn stop(app: &App, caller: &Caller, id: &str, form: Form) -> Answer<CommandView> {
    form.check()?;
    let (run, stack) = run_and_stack(app, id).await?;
    let check = async {
        match run.state {
            RunState::Unconfirmed | RunState::Confirmed => {
                Err(refuse(format!("The run is {}. Discard it instead.", run.state)))
            }
            RunState::Destroying => {
                Err(refuse("What the test created is being destroyed, which cannot be stopped."))
            }
            state if state.is_final() => Err(has_ended(state)),
            _ => Ok(()),
        }
    };
    give(app, caller, &stack, Command::Stop { run: run.id.clone() }, check).await
}

async fn retry(app: &App, caller: &Caller, id: &str, mut form: Form) -> Answer<CommandView> {
    let force = form.flag("force").unwrap_or(false);
    form.check()?;
    let (run, stack) = run_and_stack(app, id).await?;
    let check = async {
        if !run.state.is_final() {
            return Err(refuse(format!("The run is {} and has not ended yet.", run.state)));
        }
        if let Some(why) = no_retry(&run) {
            return Err(refuse(why));
        }
        may_start(app, &stack, run.run_type).await?;
        if run.run_type == RunType::Tracked && !force {
            not_behind(app, &run).await?;
        }
        Ok(())
    };
    give(app, caller, &stack, Command::Retry { run: run.id.clone(), force }, check).await
}

async fn unblock(app: &App, caller: &Caller, slug: &str, mut form: Form) -> Answer<CommandView> {
    let reason = form.required_text("reason", "Say what you found about the lost apply.");
    if reason.as_ref().is_some_and(|reason| reason.chars().count() > 500) {
        form.wrong("reason", "At most 500 characters are allowed");
    }
    form.check()?;
    let stack = stacks::find(app, slug).await?.value;
    let check = async {
        let head = stacks::head(app, &stack.id).await?;
        match head.and_then(|head| head.value.blocked) {
            Some(_) => Ok(()),
            None => Err(refuse("The stack is not blocked.")),
        }
    };
    give(app, caller, &stack, Command::Unblock { reason: reason.unwrap_or_default() }, check).await
}

async fn catch_up(app: &App, caller: &Caller, slug: &str, form: Form) -> Answer<CommandView> {
    form.check()?;
    let stack = stacks::find(app, slug).await?.value;
    let check = async {
        let partition = keys::stack_partition(&stack.id);
        let queued =
            app.store.query::<RunEntry>(&partition, "queue#", None, false, 2).await?.items.len();
        let waits = match stacks::head(app, &stack.id).await?.and_then(|head| head.value.tracked) {
            Some(run) => find_run(app, &run).await?.state == RunState::Unconfirmed,
            None => false,
        };
        match (queued, waits) {
            (0, true) => Err(refuse("No newer run is waiting. Discard the run instead.")),
            (0 | 1, false) => Err(refuse("There is nothing to catch up with.")),
            _ => Ok(()),
        }
    };
    give(app, caller, &stack, Command::CatchUp, check).await
}

/// `GET /api/v1/commands/{stack}/{request}`
pub(crate) async fn outcome(
    State(app): State<App>,
    Path((slug, request)): Path<(String, String)>,
) -> Answer<Response> {
    let stack = stacks::find(&app, &slug).await?.value;
    let request = EventId::from_untrusted(&request);
    let found = app.store.get::<CommandOutcome>(&keys::command(&stack.id, &request)).await?;
    let status = if found.is_some() { StatusCode::OK } else { StatusCode::ACCEPTED };
    let view = view(&stack, request, found.map(|outcome| outcome.value));
    Ok((status, Json(view)).into_response())
}

/// Sends a command that nothing stands against.
pub(crate) async fn give_at_once(
    app: &App,
    caller: &Caller,
    stack: &Stack,
    command: Command,
) -> Answer<CommandView> {
    give(app, caller, stack, command, async { Ok(()) }).await
}

/// Sends a command to a stack or module that may start runs.
pub(crate) async fn give_freely(
    app: &App,
    caller: &Caller,
    stack: &Stack,
    command: Command,
) -> Answer<CommandView> {
    give(app, caller, stack, command, may_start(app, stack, RunType::Tracked)).await
}

/// Sends a command unless it is certain to be refused, and waits a little for its outcome. The
/// same request again gets the outcome that there is.
pub(crate) async fn give(
    app: &App,
    caller: &Caller,
    stack: &Stack,
    command: Command,
    check: impl Future<Output = Answer<()>>,
) -> Answer<CommandView> {
    let request = &caller.request;
    let key = keys::command(&stack.id, request);
    if let Some(known) = app.store.get::<CommandOutcome>(&key).await? {
        return decided(stack, request, Some(known.value));
    }
    check.await?;
    let message = StackMessage::Command {
        stack: stack.id.clone(),
        request: request.clone(),
        actor: caller.name.clone(),
        person: caller.person(),
        command,
    };
    app.sender.send(message).await?;
    let until = tokio::time::Instant::now() + app.command_wait;
    let mut pause = Duration::from_millis(20);
    while tokio::time::Instant::now() < until {
        tokio::time::sleep(pause).await;
        if let Some(outcome) = app.store.get::<CommandOutcome>(&key).await? {
            return decided(stack, request, Some(outcome.value));
        }
        pause = (pause * 2).min(Duration::from_millis(250));
    }
    decided(stack, request, None)
}

/// What became of a command, as far as that is known; a refusal when the scheduler refused.
fn decided(
    stack: &Stack,
    request: &EventId,
    outcome: Option<CommandOutcome>,
) -> Answer<CommandView> {
    if let Some(CommandOutcome { done: false, message, run, .. }) = outcome {
        return Err(refuse(message)
            .with("request", request.as_str().into())
            .with("run", run.as_ref().map(RunId::as_str).into()));
    }
    Ok(view(stack, request.clone(), outcome))
}

/// A command's outcome as an answer of the API.
pub(crate) fn answer(view: CommandView) -> Answer<Response> {
    let status = if view.message.is_some() { StatusCode::OK } else { StatusCode::ACCEPTED };
    let done = view.done();
    let location = [(header::LOCATION, view.outcome.clone())];
    Ok((status, location, Extension(done), Json(view)).into_response())
}

fn view(stack: &Stack, request: EventId, outcome: Option<CommandOutcome>) -> CommandView {
    CommandView {
        outcome: format!("/api/v1/commands/{}/{request}", stack.slug),
        request,
        done: outcome.as_ref().map(|known| known.done),
        message: outcome.as_ref().map(|known| known.message.clone()),
        run: outcome.as_ref().and_then(|known| known.run.clone()),
        actor: outcome.as_ref().map(|known| known.actor.clone()),
        at: outcome.map(|known| known.at),
        said: Said::default(),
    }
}

/// Nothing runs for a stack that is detached, and nothing tracked for one that is blocked.
pub(crate) async fn may_start(app: &App, stack: &Stack, run_type: RunType) -> Answer<()> {
    let integration = app.store.integration().await?.map(|found| found.value);
    if let Some(why) = detached(stack, integration.as_ref()) {
        return Err(refuse(format!("The stack is detached because {why}.")));
    }
    let head = stacks::head(app, &stack.id).await?;
    match head.and_then(|head| head.value.blocked) {
        Some(blocked) if run_type == RunType::Tracked => Err(refuse(format!(
            "The stack has been blocked by run {} since {}: {}. Check the state, then unblock it.",
            blocked.run, blocked.since, blocked.reason
        ))),
        _ => Ok(()),
    }
}

/// Why a run cannot be repeated; none where it can. What takes more than the right to repeat is started
/// anew.
pub(crate) fn no_retry(run: &Run) -> Option<&'static str> {
    if run.upload.is_some() {
        return Some("Uploaded code cannot be planned again from here. Upload the folder again.");
    }
    if run.is_drift() {
        return Some("Look for drift again on the stack's page.");
    }
    if run.task().is_some() {
        return Some("Run the task again on the stack's page.");
    }
    let is_destroy = run.options.mode == PlanMode::Destroy;
    is_destroy.then_some("Start it again on the stack's page, which asks for the stack's slug.")
}

/// Repeating an older commit would undo newer ones: that has to be said with `force`.
async fn not_behind(app: &App, run: &Run) -> Answer<()> {
    match newer_head(app, run).await? {
        Some(head) => Err(refuse(format!(
            "The run is for {}, but {} has moved to {}. Repeating it may revert newer changes. \
             Send {{\"force\": true}} to do it anyway.",
            run.commit.short(),
            run.tracked_branch,
            head.short()
        ))),
        None => Ok(()),
    }
}

/// Where the run's branch is now, if not at the run's commit and as far as that is known.
pub(crate) async fn newer_head(app: &App, run: &Run) -> Answer<Option<CommitSha>> {
    let Some(project) = run.project() else { return Ok(None) };
    let key = keys::tracked_branch(project, &run.tracked_branch);
    let known = app.store.get::<TrackedBranch>(&key).await?;
    Ok(known.and_then(|known| known.value.decided).filter(|head| *head != run.commit))
}

async fn find_run(app: &App, run: &RunId) -> Answer<Run> {
    runs::find(app, run.as_str()).await
}

async fn run_and_stack(app: &App, id: &str) -> Answer<(Run, Stack)> {
    let run = runs::find(app, id).await?;
    let stack = app.store.stack(&run.stack).await?.map(|found| found.value);
    let stack = stack.filter(|stack| stack.deleted_at.is_none());
    let stack = stack.ok_or_else(|| refuse("The run's stack was deleted."))?;
    Ok((run, stack))
}
