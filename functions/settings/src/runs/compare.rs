//! A run's plan beside another one of the same stack: the one before it, unless another is named.

use super::{PREFIX, by_id, change, find, view};
use crate::{
    app::App,
    form::Params,
    refusal::{Answer, Refusal},
};
use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
    response::IntoResponse,
};
use gantry_domain::{
    plan::Comparison,
    run::{Interest, Run, RunType},
};
use gantry_store::{keys, scheduler::RunEntry};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How many of a stack's runs are looked through for the one before.
const LOOKED_THROUGH: i32 = 60;
/// How many of them are read at once: most often one of the first will do.
const AT_ONCE: usize = 10;

/// Which plan to compare with.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(crate) struct CompareQuery {
    /// The number of another run of the same stack; the previous plan of the same type if omitted,
    /// of a preview preferably for the same merge request or branch.
    #[schemars(range(min = 1))]
    pub(crate) with: Option<u64>,
}

/// How a run's plan differs from another one of the same stack.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RunComparison")]
pub(crate) struct CompareView {
    /// The run.
    run: view::RunSummary,
    /// The run that it is compared with: `earlier` is what its plan would have done.
    with: view::RunSummary,
    #[serde(flatten)]
    comparison: Comparison,
}

/// `GET /api/v1/runs/{id}/compare?with=`
pub(crate) async fn compare(
    State(app): State<App>,
    Path(id): Path<String>,
    Params(query): Params<CompareQuery>,
) -> Answer<impl IntoResponse> {
    let run = find(&app, &id).await?;
    let (with, comparison) = compared(&app, &run, &query).await?;
    let (run, with) = (view::summary(&app, run), view::summary(&app, with));
    Ok(Json(CompareView { run, with, comparison }))
}

/// The run that one is compared with, and how their plans differ.
pub(crate) async fn compared(
    app: &App,
    run: &Run,
    query: &CompareQuery,
) -> Answer<(Run, Comparison)> {
    let missing = |why: String| Refusal::new(StatusCode::NOT_FOUND, "Nothing to compare", why);
    let now = change(app, run).await?.ok_or_else(|| {
        missing(format!("#{} has no plan, or its plan is no longer kept.", run.number))
    })?;
    let with = match query.with {
        Some(number) => numbered(app, run, number).await?,
        None => previous(app, run).await?.ok_or_else(|| {
            let kind = run.run_type.label().to_lowercase();
            missing(format!("There is no earlier {kind} with a plan. Name another run's number."))
        })?,
    };
    let earlier = change(app, &with).await?.ok_or_else(|| {
        missing(format!("#{} has no plan, or its plan is no longer kept.", with.number))
    })?;
    Ok((with, Comparison::of(&earlier, &now)))
}

/// A run of the same stack by its number.
async fn numbered(app: &App, run: &Run, number: u64) -> Answer<Run> {
    let missing = || Refusal::parameter("with", "This stack has no such run");
    let entry = app.store.get::<RunEntry>(&keys::stack_run(&run.stack, number)).await?;
    let entry = entry.ok_or_else(missing)?;
    let found = app.store.get::<Run>(&keys::run(&entry.value.run)).await?;
    found.map(|found| found.value).ok_or_else(missing)
}

/// The newest run before one that has planned the same: of its stack and its type; of a preview,
/// one for the same merge request or branch where there is one.
pub(crate) async fn previous(app: &App, run: &Run) -> Answer<Option<Run>> {
    if run.module || run.delta.is_none() {
        return Ok(None);
    }
    let partition = keys::stack_partition(&run.stack);
    let here = keys::stack_run(&run.stack, run.number).sk;
    let page =
        app.store.query::<RunEntry>(&partition, PREFIX, Some(&here), true, LOOKED_THROUGH).await?;
    let alike = page.items.iter().filter(|entry| entry.value.run_type == run.run_type);
    let wanted: Vec<_> = alike.map(|entry| keys::run(&entry.value.run)).collect();
    let mut newest = None;
    for some in wanted.chunks(AT_ONCE) {
        for other in by_id(app, some).await? {
            let is_like = plans_alike(run, &other) && is_of_same_test(run, &other);
            if other.delta.is_none() || !is_like {
                continue;
            }
            if run.run_type != RunType::Proposed || is_of_same_work(run, &other) {
                return Ok(Some(other));
            }
            newest.get_or_insert(other);
        }
    }
    Ok(newest)
}

/// What one finds is said in the same words as what the other does. A task plans nothing.
fn plans_alike(run: &Run, other: &Run) -> bool {
    run.task().is_none()
        && other.task().is_none()
        && run.is_drift() == other.is_drift()
        && run.options.mode == other.options.mode
}

fn is_of_same_test(run: &Run, other: &Run) -> bool {
    let name = |run: &Run| run.test.as_ref().map(|of| of.case.name.to_string());
    name(run) == name(other)
}

/// Both are, or were, previews of one merge request or branch.
fn is_of_same_work(run: &Run, other: &Run) -> bool {
    run.interests.intersection(&other.interests).any(|interest| *interest != Interest::Person)
        || (run.git_ref == other.git_ref && run.fork_of == other.fork_of)
}
