//! What people do to a stack, besides commands: repair its webhook, delete it.

use crate::{
    app::App,
    pages::{fields::Fields, go_to, shell::Frame},
    refusal::{Answer, Done, Refusal},
    stacks,
};
use axum::{
    Extension,
    extract::{Path, State},
    response::{IntoResponse as _, Response},
};

/// `POST /stacks/{slug}/webhook`
pub(crate) async fn repair_webhook(
    State(app): State<App>,
    frame: Frame,
    Path(slug): Path<String>,
) -> Answer<Response> {
    let stack = stacks::find(&app, &slug).await?.value;
    let made = stacks::ensure_hook(&app, frame.caller()?, &stack).await?;
    let verb = if made.created { "created" } else { "repaired" };
    let done = Done::new(format!("{verb} the webhook of {}", stack.project_path));
    let to = format!("{}stacks/{slug}?made=webhook#check", frame.root);
    Ok((Extension(done), go_to(&to)).into_response())
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
        return Err(Refusal::field("slug", format!("Type \"{slug}\" to confirm.")));
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
