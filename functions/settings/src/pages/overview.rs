//! The overview: what waits for a person, then all stacks.

use super::{
    page,
    shell::{Frame, Shell},
    show::{Chip, Moment, Trouble, encoded, short},
};
use crate::{
    app::App,
    form::Params,
    gitlab::detached,
    integration,
    refusal::Answer,
    runs,
    stacks::{self, ListQuery, Row},
};
use askama::Template;
use axum::{extract::State, response::Response};
use gantry_domain::{integration::Integration, run::Run};
use gantry_store::{config::Pause, keys};
use jiff::Timestamp;

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    shell: Shell,
    linked: bool,
    troubles: Vec<Trouble>,
    /// Who holds runners back.
    paused_by: Option<String>,
    waiting: Vec<RunRow>,
    more_wait: bool,
    rows: Vec<StackRow>,
    next: Option<String>,
    search: String,
    label: String,
}

/// A run in a list.
pub(super) struct RunRow {
    pub(super) id: String,
    pub(super) stack: String,
    pub(super) number: u64,
    pub(super) run_type: &'static str,
    pub(super) chip: Chip,
    pub(super) delta: String,
    pub(super) commit: String,
    pub(super) git_ref: String,
    pub(super) reason: String,
    pub(super) since: Moment,
}

impl RunRow {
    pub(super) fn of(run: &Run, now: Timestamp) -> Self {
        let delta = run.delta.map(|delta| match run.applied {
            true => delta.short_done(),
            false => delta.short(),
        });
        Self {
            id: run.id.to_string(),
            stack: run.slug.to_string(),
            number: run.number,
            run_type: run.run_type.label(),
            chip: Chip::of(run.state, run),
            delta: delta.unwrap_or_default(),
            commit: run.commit.short().to_owned(),
            git_ref: short(&run.git_ref, 60),
            reason: short(&run.reason, 160),
            since: Moment::at(run.since, now),
        }
    }
}

struct StackRow {
    slug: String,
    name: String,
    project: String,
    branch: String,
    labels: Vec<Label>,
    /// Why nothing runs.
    trouble: Option<String>,
    latest: Option<RunRow>,
    /// It has runs, and none of them could be applied.
    only_previews: bool,
}

struct Label {
    text: String,
    encoded: String,
}

/// `GET /`
pub(crate) async fn show(
    State(app): State<App>,
    frame: Frame,
    Params(query): Params<ListQuery>,
) -> Answer<Response> {
    let filled = |text: &Option<String>| {
        text.as_deref().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let (search, label) = (filled(&query.search), filled(&query.label));
    let query = ListQuery { search: search.clone(), label: label.clone(), ..query };
    let integration = app.store.integration().await?.map(|found| found.value);
    let all_waiting = runs::ListQuery::default();
    let (found, (waiting, more_wait)) =
        tokio::try_join!(stacks::find_page(&app, &query), runs::waiting(&app, &all_waiting))?;
    let now = app.clock.now();
    let rows = found.rows.iter().map(|row| stack_row(row, integration.as_ref(), now)).collect();
    let broken = integration::broken(&app).await?;
    Ok(page(&Overview {
        shell: frame.shell("stacks", "Stacks"),
        linked: integration.is_some_and(|known| known.linked),
        troubles: broken.iter().map(|broken| Trouble::of(broken, now)).collect(),
        paused_by: app.store.get::<Pause>(&keys::pause()).await?.map(|pause| pause.value.by),
        waiting: waiting.iter().map(|run| RunRow::of(run, now)).collect(),
        more_wait: more_wait.is_some(),
        rows,
        next: found.next,
        search: search.unwrap_or_default(),
        label: label.unwrap_or_default(),
    }))
}

fn stack_row(row: &Row, integration: Option<&Integration>, now: Timestamp) -> StackRow {
    let stack = &row.stack.value;
    let blocked = row.head.blocked.as_ref().map(|_| "Blocked".to_owned());
    let missing = row.branch_missing.then(|| "Branch missing".to_owned());
    let is_detached = detached(stack, integration).is_some();
    let label = |text: &String| Label { text: short(text, 40), encoded: encoded(text) };
    StackRow {
        slug: stack.slug.to_string(),
        name: short(&stack.settings.name, 80),
        project: short(&stack.project_path, 80),
        branch: short(&stack.branch, 40),
        labels: stack.settings.labels.iter().map(label).collect(),
        trouble: blocked.or(is_detached.then(|| "Detached".to_owned())).or(missing),
        latest: row.latest.as_ref().map(|run| RunRow::of(run, now)),
        only_previews: row.latest.is_none() && row.head.last_number > 0,
    }
}
