//! Stacks: list, create, edit, delete, and the webhook of their project.

mod attention;
mod check;
mod code;
mod contents;
mod control;
mod create;
mod edit;
mod form;
mod list;
mod origins;
mod place;
mod remove;
mod rules;
mod times;
mod unpushed;
mod variables;
mod view;
mod watched;
mod webhook;

pub(crate) use attention::{MATTERS, Matter, unconfirmed, wanting};
pub(crate) use check::{Finding, weaknesses};
pub(crate) use contents::{
    Output, OutputList, Resource, ResourceList, ResourceQuery, outputs, outputs_of, resources,
    resources_of,
};
pub(crate) use create::{Checked, create, make};
pub(crate) use edit::{change, edit, tag_of};
pub(crate) use form::{Kind, Provider, label, pool};
pub(crate) use list::{ListQuery, Row, StackList, find_page, list, none_is_there};
pub(crate) use origins::StateWriter;
pub(crate) use place::{all_projects, head_of, projects};
pub(crate) use remove::{Deleted, Keep, RemoveQuery, delete, holds, remove};
pub(crate) use times::times_of;
pub(crate) use unpushed::{command, schedule};
pub(crate) use variables::OneOffs;
pub(crate) use view::{StackView, blank, definition, is_there, of as view_of};
pub(crate) use webhook::{HookHealth, Made as MadeWebhook, ensure_hook, make as make_webhook};

use self::place::Seen;
use crate::{
    app::App,
    refusal::{Answer, Refusal},
};
use axum::{
    Json,
    extract::{Path, State},
    http::header,
    response::IntoResponse,
};
use gantry_domain::{
    ProjectId, RunId, StackId, StackSlug,
    run::Run,
    stack::{Stack, StackHead},
};
use gantry_queue::{Message, ProjectMessage, StackMessage};
use gantry_store::{
    Expect, Stored, Write, keys,
    scheduler::{FailedStack, TrackedBranch},
};

/// `GET /api/v1/stacks/{slug}`
pub(crate) async fn show(
    State(app): State<App>,
    Path(slug): Path<String>,
) -> Answer<impl IntoResponse> {
    let stack = find_of(&app, Kind::Stack, &slug).await?;
    let tag = etag(stack.version);
    let head = head(&app, &stack.value.id).await?.map(|head| head.value).unwrap_or_default();
    let integration = app.store.integration().await?.map(|found| found.value);
    let missing = tracked_branch(&app, &stack.value).await?.is_some_and(|known| known.missing);
    let failed = failed(&app, &stack.value.id).await?;
    let (_, timer) = times_of(&app, &stack.value).await?;
    let view = view::of(stack, head, missing, failed, integration.as_ref(), timer.as_ref());
    Ok(([(header::ETAG, tag)], Json(view)))
}

/// The stack or the module with the slug, if it was not deleted.
pub(crate) async fn find_of(app: &App, kind: Kind, slug: &str) -> Answer<Stored<Stack>> {
    let found = by_slug(app, slug).await?;
    let found = found.filter(|found| Kind::of(&found.value) == kind);
    found.ok_or_else(|| Refusal::not_found(kind.word()))
}

/// The stack or module with the slug, if it was not deleted: both have runs.
pub(crate) async fn find(app: &App, slug: &str) -> Answer<Stored<Stack>> {
    by_slug(app, slug).await?.ok_or_else(|| Refusal::not_found("stack"))
}

async fn by_slug(app: &App, slug: &str) -> Answer<Option<Stored<Stack>>> {
    let Ok(slug) = slug.parse::<StackSlug>() else { return Ok(None) };
    let (found, paths) =
        tokio::try_join!(app.store.stack_by_slug(&slug), app.store.project_paths())?;
    Ok(found.map(|mut found| {
        paths.set_in(&mut found.value);
        found
    }))
}

/// The stack of a run, deleted ones included, with its project's path as it is now.
pub(crate) async fn of_run(app: &App, run: &Run) -> Answer<Option<Stack>> {
    let (found, paths) = tokio::try_join!(app.store.stack(&run.stack), app.store.project_paths())?;
    Ok(found.map(|found| {
        let mut stack = found.value;
        paths.set_in(&mut stack);
        stack
    }))
}

/// What will not work where the stack's code lies; and how its webhook is, where there can be one.
pub(crate) async fn inspect(
    app: &App,
    stack: &Stack,
) -> Answer<(Vec<Finding>, Option<HookHealth>)> {
    let place = place::of(app, stack).await?;
    let hook = async {
        Answer::Ok(match &place.seen {
            Seen::Project(project, linked) => Some(webhook::health(app, linked, project.id).await?),
            Seen::Repository(_) => None,
        })
    };
    let (findings, hook) = tokio::join!(check::check(&place, stack), hook);
    let here = check::of_variables(stack, &app.sealer).into_iter();
    let findings = here.chain(findings).chain(check::of_registry(app, stack)).collect();
    Ok((findings, hook?))
}

/// What the scheduler knows of the stack.
pub(crate) async fn head(app: &App, stack: &StackId) -> Answer<Option<Stored<StackHead>>> {
    Ok(app.store.get::<StackHead>(&keys::stack_head(stack)).await?)
}

/// The stack's last deploy that succeeded or failed, if it failed.
pub(crate) async fn failed(app: &App, stack: &StackId) -> Answer<Option<RunId>> {
    let failed = app.store.get::<FailedStack>(&keys::failed(stack)).await?;
    Ok(failed.map(|failed| failed.value.run))
}

/// What the scheduler knows of the stack's tracked branch.
pub(crate) async fn tracked_branch(app: &App, stack: &Stack) -> Answer<Option<TrackedBranch>> {
    let Some(project) = stack.project() else { return Ok(None) };
    let key = keys::tracked_branch(project, &stack.branch);
    Ok(app.store.get::<TrackedBranch>(&key).await?.map(|known| known.value))
}

/// A version as an entity tag.
pub(crate) fn etag(version: u64) -> String {
    format!("\"{version}\"")
}

/// A transaction's part that holds only while no tracked run of the stack is unfinished. A
/// refusal when one is.
async fn nothing_unfinished(app: &App, stack: &Stack, title: &str) -> Answer<Write> {
    let head = head(app, &stack.id).await?;
    if let Some(run) = head.as_ref().and_then(|head| head.value.tracked.as_ref()) {
        return Err(Refusal::conflict(
            title,
            format!("The stack's deploy, run {run}, has not finished. Wait for it, or end it."),
        ));
    }
    let expect = head.as_ref().map_or(Expect::Absent, Stored::unchanged);
    Ok(Write::Check { key: keys::stack_head(&stack.id), expect })
}

/// Tells the scheduler of a change. Losing this loses nothing: the comparing finds it.
async fn tell(app: &App, project: Option<ProjectId>, stack: &StackId, cause: String) {
    if let Err(error) = app.sender.send(changed(app, project, stack, cause)).await {
        tracing::warn!(%error, "the scheduler was not notified of a changed stack");
    }
}

/// What tells the scheduler of a change.
fn changed(app: &App, project: Option<ProjectId>, stack: &StackId, cause: String) -> Message {
    let stack = stack.clone();
    match project {
        Some(project) => ProjectMessage::StackChanged { project, stack, cause }.into(),
        // Nothing is compared there; what it has queued may have to go.
        None => {
            let version = app.clock.now().as_millisecond().unsigned_abs();
            StackMessage::StackDue { stack, version }.into()
        }
    }
}

fn changed_meanwhile() -> Refusal {
    Refusal::conflict(
        "Somebody else changed it",
        "The stack or one of its runs changed at the same time. Read it again and repeat.",
    )
}
