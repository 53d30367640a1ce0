//! Deleting a stack.

use super::{Kind, changed_meanwhile, find, find_of, nothing_unfinished, tell};
use crate::{
    access::Done,
    app::App,
    form::Params,
    refusal::{Answer, Refusal},
};
use axum::{
    Extension, Json,
    extract::{Path, State},
    response::IntoResponse,
};
use gantry_domain::{StackSlug, stack::Stack};
use gantry_store::{Expect, Outcome, Stored, Write, config::SlugEntry, keys, runner::StateVersion};
use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::json;

/// How long the state of a deleted stack can be exported.
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// What is to become of a state that still holds resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Keep {
    /// It can be exported for 30 days.
    Keep,
    /// Nobody needs it.
    Abandon,
}

/// The query of a deletion.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RemoveQuery {
    state: Option<Keep>,
}

/// `DELETE /api/v1/stacks/{slug}?state=keep|abandon`
pub(crate) async fn remove(
    State(app): State<App>,
    Path(slug): Path<String>,
    Params(query): Params<RemoveQuery>,
) -> Answer<impl IntoResponse> {
    find_of(&app, Kind::Stack, &slug).await?;
    let (slug, became) = delete(&app, &slug, query.state).await?;
    let done = Done::new(format!("deleted the stack {slug}; {became}"));
    let meaning = format!("Nothing runs for it any more; {became}. Its slug stays reserved.");
    Ok((Extension(done), Json(json!({ "slug": slug, "meaning": meaning }))))
}

/// Deletes a stack. Answers its slug, and what became of its state, in words.
pub(crate) async fn delete(
    app: &App,
    slug: &str,
    state_is: Option<Keep>,
) -> Answer<(StackSlug, String)> {
    let before = find(app, slug).await?;
    let stack = &before.value;
    let unfinished = nothing_unfinished(
        app,
        stack,
        "The stack cannot be deleted while a tracked run is unfinished",
    )
    .await?;
    let state = app.store.get::<StateVersion>(&keys::state(&stack.id)).await?;
    let resources = state.as_ref().map_or(0, |state| state.value.resources);
    if resources > 0 && state_is.is_none() {
        return Err(must_choose(resources));
    }
    let now = app.clock.now();
    let kept = if state_is == Some(Keep::Abandon) { SignedDuration::ZERO } else { KEPT };
    let deleted =
        Stack { deleted_at: Some(now), state_kept_until: Some(now + kept), ..stack.clone() };
    let slug_entry = SlugEntry::of(&deleted);
    let mut writes = vec![
        unfinished,
        // What was said about the state has to be true of this state.
        Write::Check {
            key: keys::state(&stack.id),
            expect: state.as_ref().map_or(Expect::Absent, Stored::unchanged),
        },
        Write::put(before.key.clone(), before.unchanged(), &deleted)?,
        Write::put(keys::slug(&stack.slug), Expect::Present, &slug_entry)?,
    ];
    if let Some(project) = stack.project() {
        let key = keys::project_stack(project, &stack.id);
        writes.push(Write::Delete { key, expect: Expect::Any });
    }
    match app.store.write(writes).await? {
        Outcome::Written => {}
        Outcome::Stale => return Err(changed_meanwhile()),
    }
    tell(app, stack.project(), &stack.id, "deleted".to_owned()).await;
    let became = match (resources, state_is) {
        (0, _) => "its state held nothing".to_owned(),
        (_, Some(Keep::Abandon)) => format!("its state with {resources} resources is abandoned"),
        (..) => format!("its state with {resources} resources is kept for 30 days"),
    };
    Ok((stack.slug.clone(), became))
}

fn must_choose(resources: u32) -> Refusal {
    Refusal::conflict(
        "The state still holds resources",
        format!(
            "Terraform's state of the stack has {resources} resources, which go on existing. Destroy \
             them first, or say what is to become of the state: ?state=keep (it can be exported \
             for 30 days) or ?state=abandon."
        ),
    )
}
