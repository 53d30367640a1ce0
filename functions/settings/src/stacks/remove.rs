//! Deleting a stack.

use super::{Kind, changed, changed_meanwhile, find, find_of, nothing_unfinished, tell};
use crate::{
    app::App,
    form::Params,
    refusal::{Answer, Done, Refusal},
};
use axum::{
    Extension, Json,
    extract::{Path, State},
    response::IntoResponse,
};
use gantry_domain::{StackSlug, stack::Stack, state};
use gantry_store::{Expect, Outcome, Stored, Write, config::SlugEntry, keys, runner::StateVersion};
use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long the state of a deleted stack can be exported.
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// When the deletion is certainly done, or certainly was not.
const LOOKED_AT_AGAIN: Duration = Duration::from_secs(60);

/// What happens to a state that still has resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum Keep {
    /// The state can be exported for 30 days.
    Keep,
    /// The state is no longer needed.
    Abandon,
}

/// The query of a deletion.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RemoveQuery {
    state: Option<Keep>,
}

/// A stack or a module was deleted. Its slug stays reserved.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Deleted {
    pub(crate) slug: StackSlug,
    /// What it means, in words.
    pub(crate) meaning: String,
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
    let meaning = format!("It no longer runs; {became}. Its slug stays reserved.");
    Ok((Extension(done), Json(Deleted { slug, meaning })))
}

/// Deletes a stack. Answers its slug, and what became of its state, in words.
pub(crate) async fn delete(
    app: &App,
    slug: &str,
    state_is: Option<Keep>,
) -> Answer<(StackSlug, String)> {
    let before = find(app, slug).await?;
    let stack = &before.value;
    let unfinished =
        nothing_unfinished(app, stack, "The stack cannot be deleted while a deploy is in progress")
            .await?;
    let state = app.store.get::<StateVersion>(&keys::state(&stack.id)).await?;
    let holds = state.as_ref().and_then(|stored| holds(&stored.value));
    if let (Some(holds), None) = (&holds, state_is) {
        return Err(must_choose(holds));
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
    // Nothing compares a stack that is gone: whatever becomes of this process, the scheduler looks
    // at it once more when it must be.
    let look = changed(app, stack.project(), &stack.id, "deleted".to_owned());
    app.sender.send_later(look, LOOKED_AT_AGAIN).await?;
    match app.store.write(writes).await? {
        Outcome::Written => {}
        Outcome::Stale => return Err(changed_meanwhile()),
    }
    tell(app, stack.project(), &stack.id, "deleted".to_owned()).await;
    let became = match (holds, state_is) {
        (None, _) => "its state was empty".to_owned(),
        (Some(holds), Some(Keep::Abandon)) => format!("its state ({holds}) is abandoned"),
        (Some(holds), _) => format!("its state ({holds}) is kept for 30 days"),
    };
    Ok((stack.slug.clone(), became))
}

/// What a state may hold, in words; none when it holds nothing. What cannot be counted may be there.
pub(crate) fn holds(version: &StateVersion) -> Option<String> {
    (version.resources != Some(0)).then(|| state::contents(version.form, version.resources))
}

fn must_choose(holds: &str) -> Refusal {
    Refusal::conflict(
        "The state still holds resources",
        format!(
            "What is in the stack's state ({holds}) is not destroyed with the stack. Destroy it \
             first, or choose what happens to the state: ?state=keep (it can be exported for 30 \
             days) or ?state=abandon."
        ),
    )
}
