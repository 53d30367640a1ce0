//! What people ask of a stack: its webhook, unblock, catch up, a run, its end.

use crate::{
    access::Caller,
    app::App,
    commands,
    pages::{fields::Fields, go_to, shell::Frame},
    refusal::{Answer, Done, Refusal},
    stacks,
};
use axum::{
    Extension,
    extract::{Path, State},
    response::{IntoResponse as _, Response},
};
use serde_json::{Map, Value};

/// `POST /stacks/{slug}/webhook`
pub(crate) async fn repair_webhook(
    State(app): State<App>,
    frame: Frame,
    Path(slug): Path<String>,
) -> Answer<Response> {
    let stack = stacks::find(&app, &slug).await?.value;
    let made = stacks::ensure_hook(&app, &stack).await?;
    let verb = if made.created { "made" } else { "repaired" };
    let done = Done::new(format!("{verb} the webhook of {}", stack.project_path));
    let to = format!("{}stacks/{slug}?made=webhook#check", frame.root);
    Ok((Extension(done), go_to(&to)).into_response())
}

/// `POST /stacks/{slug}/unblock`
pub(crate) async fn unblock(
    State(app): State<App>,
    frame: Frame,
    Extension(caller): Extension<Caller>,
    Path(slug): Path<String>,
    Extension(fields): Extension<Fields>,
) -> Answer<Response> {
    let mut body = Map::new();
    body.insert("reason".to_owned(), fields.value("reason"));
    let view = commands::ask_unblock(&app, &caller, &slug, body).await?;
    Ok(asked(&frame, &format!("stacks/{slug}"), view))
}

/// `POST /stacks/{slug}/catch-up`
pub(crate) async fn catch_up(
    State(app): State<App>,
    frame: Frame,
    Extension(caller): Extension<Caller>,
    Path(slug): Path<String>,
) -> Answer<Response> {
    let view = commands::ask_catch_up(&app, &caller, &slug).await?;
    Ok(asked(&frame, &format!("stacks/{slug}"), view))
}

/// `POST /stacks/{slug}/runs`
pub(crate) async fn start_run(
    State(app): State<App>,
    frame: Frame,
    Extension(caller): Extension<Caller>,
    Path(slug): Path<String>,
    Extension(fields): Extension<Fields>,
) -> Answer<Response> {
    let mut body = Map::new();
    for name in ["type", "commit"] {
        match fields.value(name) {
            Value::Null => {}
            value => drop(body.insert(name.to_owned(), value)),
        }
    }
    let view = commands::ask_run(&app, &caller, &slug, body).await?;
    let to = match &view.run {
        Some(run) => format!("runs/{run}"),
        None => format!("stacks/{slug}"),
    };
    Ok(asked(&frame, &to, view))
}

/// On to the page that shows what became of a command.
pub(in crate::pages) fn asked(frame: &Frame, to: &str, view: commands::CommandView) -> Response {
    let outcome = view.message.unwrap_or_else(|| "asked for".to_owned());
    let to = format!("{}{to}?asked={}", frame.root, view.request);
    (Extension(Done::new(outcome)), go_to(&to)).into_response()
}

/// `POST /stacks/{slug}/delete`
pub(crate) async fn remove(
    State(app): State<App>,
    frame: Frame,
    Path(slug): Path<String>,
    Extension(fields): Extension<Fields>,
) -> Answer<Response> {
    let slug = stacks::find(&app, &slug).await?.value.slug.to_string();
    if fields.text("slug").trim() != slug {
        return Err(Refusal::field("slug", format!("should be {slug}: that is what is deleted")));
    }
    let keep = match fields.text("state") {
        "keep" => Some(stacks::Keep::Keep),
        "abandon" => Some(stacks::Keep::Abandon),
        _ => None,
    };
    let (slug, became) = stacks::delete(&app, &slug, keep).await?;
    let done = Done::new(format!("deleted the stack {slug}; {became}"));
    let to = format!("{}?done=stack-deleted", frame.root);
    Ok((Extension(done), go_to(&to)).into_response())
}
