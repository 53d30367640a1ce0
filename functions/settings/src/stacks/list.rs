//! The list of stacks: page by page, or those that people look for.

use super::{
    attention::{self, Matter},
    times, view,
};
use crate::{access::Caller, app::App, cursor, form::Params, refusal::Answer};
use axum::{Extension, Json, extract::State, response::IntoResponse};
use gantry_domain::{
    StackId,
    run::Run,
    stack::{Stack, StackHead},
};
use gantry_setup::web::page_size;
use gantry_store::{
    Key, Stored,
    config::{ProjectStack, SlugEntry},
    keys,
    scheduler::{ProjectPaths, TrackedBranch},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};

/// Entries of the list that one read brings.
const A_READ: i32 = 1000;

/// Which part of the list is asked for.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(crate) struct ListQuery {
    /// The `next` of the previous page.
    pub(crate) after: Option<String>,
    /// Items per page: 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    pub(crate) limit: Option<u32>,
    /// Words that the slug, name, project or labels must contain.
    pub(crate) search: Option<String>,
    /// A label that must be set.
    pub(crate) label: Option<String>,
    /// Only stacks with a run that needs confirmation (`unconfirmed`), whose last deploy that
    /// succeeded or failed has `failed`, that are `blocked`, that have `drifted`, or that are
    /// `running`: of the first 100.
    pub(crate) state: Option<String>,
    /// Modules instead of stacks.
    #[serde(skip)]
    pub(crate) modules: bool,
}

/// A page of stacks.
pub(crate) struct StackPage {
    pub(crate) rows: Vec<Row>,
    /// The `after` of the next page; none at the end.
    pub(crate) next: Option<String>,
}

/// A stack with what is known of it.
pub(crate) struct Row {
    pub(crate) stack: Stored<Stack>,
    pub(crate) head: StackHead,
    pub(crate) branch_missing: bool,
    /// The tracked run that holds the stack, or else the newest one.
    pub(crate) latest: Option<Run>,
}

/// A page of stacks.
#[derive(Serialize, JsonSchema)]
pub(crate) struct StackList {
    /// By slug.
    stacks: Vec<view::StackView>,
    /// The `after` of the next page; null at the end.
    next: Option<String>,
}

/// `GET /api/v1/stacks?after=&limit=&search=&label=&state=`
pub(crate) async fn list(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Params(query): Params<ListQuery>,
) -> Answer<impl IntoResponse> {
    let (page, mut failed) =
        tokio::try_join!(find_page(&app, &caller, &query), attention::failed(&app))?;
    let integration = app.store.integration().await?.map(|found| found.value);
    let timers = times::timers(&app, &page.rows).await?;
    let view = |row: Row| {
        let failed = failed.remove(&row.stack.value.id);
        let timer = timers.get(&row.stack.value.id);
        view::of(row.stack, row.head, row.branch_missing, failed, integration.as_ref(), timer)
    };
    let stacks = page.rows.into_iter().map(view).collect();
    Ok(Json(StackList { stacks, next: page.next }))
}

/// No stack was created yet, or each was deleted.
pub(crate) async fn none_is_there(app: &App, caller: &Caller) -> Answer<bool> {
    let first = ListQuery { limit: Some(1), ..ListQuery::default() };
    Ok(find_page(app, caller, &first).await?.rows.is_empty())
}

/// The stacks of a page that the caller may see, by slug.
pub(crate) async fn find_page(app: &App, caller: &Caller, query: &ListQuery) -> Answer<StackPage> {
    let limit = page_size(query.limit, 50)?;
    let wanted = usize::try_from(limit).unwrap_or_default();
    let mut after = query.after.as_deref().map(|at| cursor::to_key(at, "after")).transpose()?;
    let wanting = match Matter::read(query.state.as_deref())? {
        Some(matter) => Some(attention::wanting(app, caller, matter, query.modules).await?.0),
        None => None,
    };
    let is_search =
        query.search.is_some() || query.label.is_some() || wanting.is_some() || !caller.sees_all();
    let paths = app.store.project_paths().await?;
    let moved = match &query.search {
        Some(search) => moved(app, search, &paths).await?,
        None => HashMap::new(),
    };
    let mut found: Vec<SlugEntryAt> = Vec::new();
    let mut next = None;
    loop {
        // One more than a page holds tells whether there is a next one.
        let a_read = if is_search { A_READ } else { limit + 1 };
        let page =
            app.store.query::<SlugEntry>(keys::SLUGS, "", after.as_deref(), false, a_read).await?;
        after = page.next;
        let is_asked_for = |entry: &Stored<SlugEntry>| {
            !entry.value.deleted
                && entry.value.module == query.modules
                && wanting.as_ref().is_none_or(|some| some.contains(&entry.value.stack))
                && matches(query, entry, moved.get(&entry.value.stack))
        };
        let asked_for = page.items.into_iter().filter(is_asked_for).collect();
        for entry in seen(app, caller, asked_for).await? {
            if found.len() == wanted {
                next = found.last().map(|last: &SlugEntryAt| cursor::from_key(&last.slug));
                break;
            }
            found.push(SlugEntryAt { slug: entry.key.sk, stack: entry.value.stack });
        }
        if next.is_some() || after.is_none() {
            break;
        }
    }
    let ids: Vec<&StackId> = found.iter().map(|entry| &entry.stack).collect();
    let mut rows = rows(app, &ids).await?;
    for row in &mut rows {
        paths.set_in(&mut row.stack.value);
        // Of a stack that was moved, it may show what is in the project that it was moved from.
        row.latest = row.latest.take().filter(|run| caller.sees(run.project()));
    }
    Ok(StackPage { rows, next })
}

/// The entries of stacks and modules that the caller may know of.
async fn seen(
    app: &App,
    caller: &Caller,
    mut entries: Vec<Stored<SlugEntry>>,
) -> Answer<Vec<Stored<SlugEntry>>> {
    if caller.sees_all() {
        return Ok(entries);
    }
    // Older versions did not write the project down, nor do stacks outside of GitLab have one.
    let lacks_it = |entry: &&Stored<SlugEntry>| entry.value.found_by.project_id.is_none();
    let unknown = entries.iter().filter(lacks_it);
    let unknown: Vec<Key> = unknown.map(|entry| keys::stack_config(&entry.value.stack)).collect();
    let read = app.store.get_many::<Stack>(&unknown).await?;
    let read = read.into_iter().map(|stack| stack.value);
    let seen: HashSet<StackId> =
        read.filter(|stack| caller.sees(stack.project())).map(|stack| stack.id).collect();
    entries.retain(|entry| match entry.value.found_by.project_id {
        Some(project) => caller.sees(Some(project)),
        None => seen.contains(&entry.value.stack),
    });
    Ok(entries)
}

struct SlugEntryAt {
    slug: String,
    stack: StackId,
}

/// The paths that the list does not have, of projects that were renamed: those that a search may be
/// for, by stack.
async fn moved(app: &App, search: &str, paths: &ProjectPaths) -> Answer<HashMap<StackId, String>> {
    let search = search.to_lowercase();
    let words: Vec<&str> = search.split_whitespace().collect();
    let mut moved = HashMap::new();
    for known in paths.iter() {
        let path = known.path.to_lowercase();
        if words.iter().any(|word| path.contains(word)) {
            let stacks = keys::project_stacks(known.project);
            for stack in app.store.query_all::<ProjectStack>(&stacks, "").await? {
                moved.insert(stack.value.stack, known.path.clone());
            }
        }
    }
    Ok(moved)
}

fn matches(query: &ListQuery, entry: &Stored<SlugEntry>, moved: Option<&String>) -> bool {
    let (slug, by) = (&entry.key.sk, &entry.value.found_by);
    let project = moved.unwrap_or(&by.project);
    let has_label = |label: &String| by.labels.contains(label);
    if query.label.as_ref().is_some_and(|label| !has_label(label)) {
        return false;
    }
    let Some(search) = &query.search else { return true };
    let all = format!("{slug}\n{}\n{}\n{}", by.name, project, by.labels.join("\n"));
    let all = all.to_lowercase();
    search.to_lowercase().split_whitespace().all(|word| all.contains(word))
}

/// What is known of these stacks, by slug.
async fn rows(app: &App, ids: &[&StackId]) -> Answer<Vec<Row>> {
    let configs: Vec<_> = ids.iter().map(|stack| keys::stack_config(stack)).collect();
    let heads: Vec<_> = ids.iter().map(|stack| keys::stack_head(stack)).collect();
    let (stacks, heads) =
        tokio::try_join!(app.store.get_many::<Stack>(&configs), app.store.get_many(&heads))?;
    let mut heads: HashMap<String, StackHead> =
        heads.into_iter().map(|head: Stored<StackHead>| (head.key.pk, head.value)).collect();
    let shown = |head: &StackHead| head.tracked.as_ref().or(head.latest.as_ref()).map(keys::run);
    let latest: Vec<_> = heads.values().filter_map(shown).collect();
    let (missing, latest) =
        tokio::try_join!(missing_branches(app, &stacks), app.store.get_many::<Run>(&latest))?;
    let mut latest: HashMap<StackId, Run> =
        latest.into_iter().map(|run| (run.value.stack.clone(), run.value)).collect();
    let mut rows: Vec<Row> = stacks
        .into_iter()
        .filter(|stack| stack.value.deleted_at.is_none())
        .map(|stack| {
            let branch = tracked_branch(&stack.value);
            Row {
                head: heads.remove(&keys::stack_partition(&stack.value.id)).unwrap_or_default(),
                branch_missing: branch.is_some_and(|branch| missing.contains(&branch)),
                latest: latest.remove(&stack.value.id),
                stack,
            }
        })
        .collect();
    rows.sort_by(|a, b| a.stack.value.slug.cmp(&b.stack.value.slug));
    Ok(rows)
}

fn tracked_branch(stack: &Stack) -> Option<Key> {
    Some(keys::tracked_branch(stack.project()?, &stack.branch))
}

/// The tracked branches of the stacks that were not there at the last look.
async fn missing_branches(
    app: &App,
    stacks: &[Stored<Stack>],
) -> Result<HashSet<Key>, gantry_store::StoreError> {
    let branches: HashSet<Key> =
        stacks.iter().filter_map(|stack| tracked_branch(&stack.value)).collect();
    let branches: Vec<Key> = branches.into_iter().collect();
    let known = app.store.get_many::<TrackedBranch>(&branches).await?;
    Ok(known.into_iter().filter(|known| known.value.missing).map(|known| known.key).collect())
}
