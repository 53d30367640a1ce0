//! The overview: what waits for a person, then all stacks.

use super::{
    page,
    shell::{Frame, Shell},
    show::{Chip, Moment, Trouble, at_most, encoded, short, span, type_of},
};
use crate::{
    app::App,
    form::Params,
    gitlab::detached,
    integration,
    refusal::Answer,
    runs,
    stacks::{self, ListQuery, MATTERS, Matter, Row},
};
use askama::Template;
use axum::{extract::State, response::Response};
use futures::future::try_join_all;
use gantry_domain::{
    integration::Integration,
    run::Run,
    text::{and_failed_checks, counted},
};
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
    /// What wants attention, of all stacks.
    matters: Vec<MatterLink>,
    /// What the stacks are filtered by.
    state: &'static str,
}

/// What wants attention, with how much of it there is.
struct MatterLink {
    chip: Chip,
    word: &'static str,
    count: String,
    chosen: bool,
}

impl MatterLink {
    fn of(matter: Matter, count: usize, chosen: Option<Matter>) -> Self {
        let chip = match matter {
            Matter::Unconfirmed => Chip::new("wait", "‖", "Needs confirmation"),
            Matter::Failed => Chip::new("bad", "✕", "Failed"),
            Matter::Blocked => Chip::new("bad", "!", "Blocked"),
            Matter::Drifted => Chip::new("wait", "≠", "Drifted"),
            Matter::Running => Chip::new("busy", "▶", "Running"),
        };
        let chip = if count == 0 { Chip { class: "quiet", ..chip } } else { chip };
        let is_chosen = chosen == Some(matter);
        Self { chip, word: matter.word(), count: at_most(count), chosen: is_chosen }
    }
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
    /// The commit's title and author, or one of both, or nothing.
    pub(super) commit_line: String,
    pub(super) git_ref: String,
    pub(super) reason: String,
    pub(super) since: Moment,
    /// How long it took; empty while it has not ended.
    pub(super) took: String,
}

impl RunRow {
    pub(super) fn of(run: &Run, now: Timestamp) -> Self {
        let delta = run.delta.map(|delta| match run.applied {
            true => delta.short_done(),
            false => delta.short(),
        });
        let delta = delta.map(|delta| delta + &and_failed_checks(run.last_failed_checks()));
        Self {
            id: run.id.to_string(),
            stack: run.slug.to_string(),
            number: run.number,
            run_type: type_of(run),
            chip: Chip::of(run.state, run),
            delta: delta.unwrap_or_default(),
            commit: run.code(),
            commit_line: commit_line(run),
            // What was uploaded is on no branch.
            git_ref: run.upload.as_ref().map_or_else(|| short(&run.git_ref, 60), |_| String::new()),
            reason: short(&run.reason, 160),
            since: Moment::at(run.since, now),
            took: run.took().map(|took| span(took.as_secs().max(0))).unwrap_or_default(),
        }
    }
}

/// A commit's title and author, for a list.
pub(super) fn commit_line(run: &Run) -> String {
    let line = &run.commit_line;
    let parts = [short(&line.title, 72), short(&line.author, 40)];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · ")
}

struct StackRow {
    slug: String,
    name: String,
    project: String,
    branch: String,
    labels: Vec<Label>,
    /// Why nothing runs.
    trouble: Option<String>,
    /// How much of it was changed elsewhere.
    drifted: Option<String>,
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
    let state = Matter::read(query.state.as_deref())?;
    let query = ListQuery { search: search.clone(), label: label.clone(), ..query };
    let integration = app.store.integration().await?.map(|found| found.value);
    let all_waiting = runs::ListQuery::default();
    let caller = frame.caller()?;
    let counts = MATTERS.map(|matter| stacks::wanting(&app, caller, matter, false));
    let (found, (waiting, more_wait), counts) = tokio::try_join!(
        stacks::find_page(&app, caller, &query),
        runs::waiting(&app, caller, &all_waiting),
        try_join_all(counts)
    )?;
    let matters = MATTERS.into_iter().zip(counts);
    let now = app.clock.now();
    let rows = found.rows.iter().map(|row| stack_row(row, integration.as_ref(), now)).collect();
    // What is wrong with GitLab names projects.
    let broken = match caller.sees_all() {
        true => integration::broken(&app).await?,
        false => Vec::new(),
    };
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
        matters: matters.map(|(matter, (_, count))| MatterLink::of(matter, count, state)).collect(),
        state: state.map(Matter::word).unwrap_or_default(),
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
        drifted: row.head.drift.as_ref().filter(|drift| drift.found > 0).map(|drift| {
            let differences = counted(drift.found as usize, "difference");
            format!("Drifted: {differences}")
        }),
        trouble: blocked.or(is_detached.then(|| "Detached".to_owned())).or(missing),
        latest: row.latest.as_ref().map(|run| RunRow::of(run, now)),
        only_previews: row.latest.is_none() && row.head.last_number > 0,
    }
}
