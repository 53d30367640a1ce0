//! Modules: list, create, edit, delete, and their versions. A module is kept as a stack is, with
//! what makes it a module.

use crate::{
    access::Caller,
    app::App,
    commands::{self, CommandView},
    form::{Body, Errors, Form, Params},
    openapi,
    refusal::{Answer, Done, Refusal},
    runs,
    stacks::{self, Deleted, Finding, Kind, ListQuery, StackView},
};
use axum::{
    Extension, Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use gantry_domain::{
    CommitSha, RunId, StackId, TestName,
    plan::PlannedModule,
    run::{Run, RunState, RunType},
    stack::Stack,
};
use gantry_objects::keys as objects;
use gantry_package::Metadata;
use gantry_queue::Command;
use gantry_setup::web::{Problem, page_size};
use gantry_store::{
    Stored, keys,
    scheduler::{RunEntry, VersionRecord, VersionState, Yanked},
};
use jiff::Timestamp;
use schemars::JsonSchema;
use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The JSON Schema of a module's configuration file, for editors.
pub(crate) async fn schema() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/schema+json")], gantry_domain::module::SCHEMA)
}

/// `GET /api/v1/modules?after=&limit=&search=&label=`
pub(crate) async fn list(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Params(query): Params<ListQuery>,
) -> Answer<impl IntoResponse> {
    let page = stacks::find_page(&app, &caller, &ListQuery { modules: true, ..query }).await?;
    let mut modules = Vec::with_capacity(page.rows.len());
    for row in page.rows {
        modules.push(view(&app, row.stack).await?);
    }
    Ok(Json(ModuleList { modules, next: page.next }))
}

/// `POST /api/v1/modules`
pub(crate) async fn create(State(app): State<App>, Body(body): Body) -> Answer<impl IntoResponse> {
    let made = stacks::make(&app, Kind::Module, body, Errors::new()).await?;
    let slug = made.stack.slug().clone();
    let done = Done::new(format!("created the module {slug}")).making(&slug);
    let module = stacks::find_of(&app, Kind::Module, slug.as_str()).await?;
    let checked = Checked { findings: made.findings, note: made.note };
    let answer = ModuleView { checked: Some(checked), ..view(&app, module).await? };
    let headers =
        [(header::LOCATION, format!("/api/v1/modules/{slug}")), (header::ETAG, stacks::etag(1))];
    Ok((StatusCode::CREATED, headers, Extension(done), Json(answer)))
}

/// `GET /api/v1/modules/{slug}`
pub(crate) async fn show(
    State(app): State<App>,
    Path(slug): Path<String>,
) -> Answer<impl IntoResponse> {
    let module = stacks::find_of(&app, Kind::Module, &slug).await?;
    let tag = stacks::etag(module.version);
    Ok(([(header::ETAG, tag)], Json(view(&app, module).await?)))
}

/// `PUT /api/v1/modules/{slug}`
pub(crate) async fn edit(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(slug): Path<String>,
    headers: HeaderMap,
    Body(body): Body,
) -> Answer<impl IntoResponse> {
    let before = stacks::find_of(&app, Kind::Module, &slug).await?;
    let based_on = stacks::tag_of(&headers);
    let (_, version, changed) =
        Box::pin(stacks::change(&app, &caller, before, body, based_on, Errors::new())).await?;
    let module = stacks::find_of(&app, Kind::Module, &slug).await?;
    let done = Done::new(format!("changed {changed}"));
    let tag = [(header::ETAG, stacks::etag(version))];
    Ok((tag, Extension(done), Json(view(&app, module).await?)))
}

/// `DELETE /api/v1/modules/{slug}`
pub(crate) async fn remove(
    State(app): State<App>,
    Path(slug): Path<String>,
) -> Answer<impl IntoResponse> {
    stacks::find_of(&app, Kind::Module, &slug).await?;
    let (slug, _) = stacks::delete(&app, &slug, None).await?;
    let done = Done::new(format!("deleted the module {slug}"));
    let meaning = "Its tests no longer run. Its slug stays reserved.".to_owned();
    Ok((Extension(done), Json(Deleted { slug, meaning })))
}

/// A page of modules.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ModuleList {
    /// By slug.
    modules: Vec<ModuleView>,
    /// The `after` of the next page; null at the end.
    next: Option<String>,
}

/// A module: its definition, its status and its current version.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Module", transform = openapi::of_answered_module)]
pub(crate) struct ModuleView {
    #[serde(flatten)]
    module: StackView,
    /// The first part of its address in the registry.
    #[schemars(with = "String")]
    namespace: Option<String>,
    /// The newest version that can be used, pre-releases excluded.
    current: Option<Version>,
    #[serde(flatten)]
    checked: Option<Checked>,
}

/// What was found at a new module's project.
#[derive(Serialize, JsonSchema)]
struct Checked {
    findings: Vec<Finding>,
    /// Why GitLab cannot reach Gantry; null when it can, as far as is known.
    #[schemars(extend("x-may-be-null" = true))]
    note: Option<String>,
}

async fn view(app: &App, module: Stored<Stack>) -> Answer<ModuleView> {
    let id = module.value.id.clone();
    let namespace = module.value.module.as_ref().map(|module| module.namespace.clone());
    let head = stacks::head(app, &id).await?.map(|head| head.value).unwrap_or_default();
    let missing = stacks::tracked_branch(app, &module.value).await?.is_some_and(|b| b.missing);
    let integration = app.store.integration().await?.map(|found| found.value);
    let failed = stacks::failed(app, &id).await?;
    let module = stacks::view_of(module, head, missing, failed, integration.as_ref(), None);
    let current = current(app, &id).await?.map(|version| version.version);
    Ok(ModuleView { module, namespace, current, checked: None })
}

/// The version that somebody gets who asks for the newest: no pre-release.
pub(crate) async fn current(app: &App, module: &StackId) -> Answer<Option<VersionRecord>> {
    Ok(newest(&versions_of(app, module).await?).cloned())
}

/// The same of these versions, of which the lowest is the first.
pub(crate) fn newest(all: &[VersionRecord]) -> Option<&VersionRecord> {
    let usable = |version: &&VersionRecord| {
        version.state == VersionState::Active
            && version.yanked.is_none()
            && version.version.pre.is_empty()
    };
    all.iter().rev().find(usable)
}

/// A module's address in the registry, without the host.
pub(crate) fn address_of(module: &Stack) -> String {
    let (namespace, provider) = match &module.module {
        Some(of) => (of.namespace.as_str(), of.terraform_provider.as_str()),
        None => Default::default(),
    };
    format!("{namespace}/{}/{provider}", module.settings.name)
}

/// How many tests of a version are asked for what the tool read.
const TESTS_ASKED: usize = 20;

/// What the code of a version says of itself, as far as it was kept and can be read; what a tool
/// has read itself, in a test, counts more.
pub(crate) async fn code_of(
    app: &App,
    module: &StackId,
    version: &VersionRecord,
) -> Answer<Option<Metadata>> {
    let Some(digest) = &version.digest else { return Ok(None) };
    let kept = app.objects.get(&objects::module_metadata(module, digest)).await;
    let kept = kept.map_err(|error| Problem::internal(&error))?;
    let read = kept.and_then(|kept| serde_json::from_slice::<Metadata>(&kept).ok());
    let Some(mut read) = read else { return Ok(None) };
    for planned in planned_by_tests(app, version).await? {
        read.believe(&planned);
    }
    Ok(Some(read))
}

/// The module as the tools of its tests read it, once a tool.
async fn planned_by_tests(app: &App, version: &VersionRecord) -> Answer<Vec<PlannedModule>> {
    let mut found: Vec<PlannedModule> = Vec::new();
    let suite = app.store.get::<Run>(&keys::run(&version.run)).await?;
    let Some(suite) = suite.map(|suite| suite.value) else { return Ok(found) };
    for run in test_runs(app, &suite).await?.iter().take(TESTS_ASKED) {
        let Some(test) = &run.test else { continue };
        let above = test.case.project_root.split('/').filter(|part| !part.is_empty());
        let folder = above.map(|_| "..").collect::<Vec<_>>().join("/");
        let Some(change) = runs::change(app, run).await? else { continue };
        for module in change.modules {
            let source = module.folder.trim_end_matches('/').trim_start_matches("./");
            if source == folder && found.iter().all(|known| known.tool != module.tool) {
                found.push(module);
            }
        }
    }
    Ok(found)
}

/// All versions, the lowest first.
pub(crate) async fn versions_of(app: &App, module: &StackId) -> Answer<Vec<VersionRecord>> {
    let partition = keys::stack_partition(module);
    let found = app.store.query_all::<VersionRecord>(&partition, keys::VERSIONS).await?;
    Ok(found.into_iter().map(|version| version.value).collect())
}

/// A version of a module.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ModuleVersion")]
struct VersionView {
    /// Its number.
    version: Version,
    /// Whether it can be used.
    state: VersionState,
    commit: CommitSha,
    /// The tag that it was created for; null if somebody asked for it.
    tag: Option<String>,
    /// When its tests ended.
    at: Timestamp,
    /// The module's run that tested it.
    run: RunId,
    /// Set while it is yanked.
    yanked: Option<Yanked>,
}

/// A page of a module's versions.
#[derive(Serialize, JsonSchema)]
pub(crate) struct VersionList {
    /// The highest first.
    versions: Vec<VersionView>,
    /// The `after` of the next page; null at the end.
    #[schemars(with = "Option<String>")]
    next: Option<Version>,
}

/// A version of a module, with its tests and what was read from its code.
#[derive(Serialize, JsonSchema)]
pub(crate) struct TestedVersion {
    #[serde(flatten)]
    version: VersionView,
    /// By name.
    tests: Vec<TestView>,
    /// What was read from its code; null if that was not kept.
    code: Option<Metadata>,
}

/// How a test of a version ended.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ModuleTest")]
struct TestView {
    name: TestName,
    /// The test run.
    run: RunId,
    /// The state of the test run.
    state: RunState,
    /// Its plan or apply must fail.
    negative: bool,
    /// One line about how it ended, unless it ended well.
    summary: Option<String>,
}

impl From<VersionRecord> for VersionView {
    fn from(record: VersionRecord) -> Self {
        let VersionRecord { version, state, commit, run, tag, at, yanked, digest: _ } = record;
        Self { version, state, commit, tag, at, run, yanked }
    }
}

/// Which part of the list is asked for.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct VersionQuery {
    /// The `next` of the previous page.
    #[schemars(with = "Option<String>")]
    after: Option<Version>,
    /// Items per page: 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    limit: Option<u32>,
}

/// `GET /api/v1/modules/{slug}/versions?after=&limit=`: the highest first.
pub(crate) async fn versions(
    State(app): State<App>,
    Path(slug): Path<String>,
    Params(query): Params<VersionQuery>,
) -> Answer<impl IntoResponse> {
    let module = stacks::find_of(&app, Kind::Module, &slug).await?.value;
    let limit = usize::try_from(page_size(query.limit, 50)?).unwrap_or_default();
    let mut all = versions_of(&app, &module.id).await?;
    all.retain(|known| query.after.as_ref().is_none_or(|last| known.version < *last));
    let next = (all.len() > limit).then(|| all[all.len() - limit].version.clone());
    let versions = all.into_iter().rev().take(limit).map(VersionView::from).collect();
    Ok(Json(VersionList { versions, next }))
}

/// `GET /api/v1/modules/{slug}/versions/{version}`: with its tests.
pub(crate) async fn version(
    State(app): State<App>,
    Path((slug, version)): Path<(String, String)>,
) -> Answer<impl IntoResponse> {
    let module = stacks::find_of(&app, Kind::Module, &slug).await?.value;
    let missing = || Refusal::not_found("version");
    let number: Version = version.parse().map_err(|_| missing())?;
    let found = app.store.get::<VersionRecord>(&keys::version(&module.id, &number)).await?;
    let record = found.ok_or_else(missing)?.value;
    let tests = tests_of(&app, &record.run).await?;
    let code = code_of(&app, &module.id, &record).await?;
    Ok(Json(TestedVersion { version: record.into(), tests, code }))
}

/// `POST /api/v1/modules/{slug}/versions/{version}/yank {"note"?}`: nobody is to use it any more;
/// without a note, it may be used again.
pub(crate) async fn yank(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path((slug, version)): Path<(String, String)>,
    Body(body): Body,
) -> Answer<Response> {
    commands::answer(ask_yank(&app, &caller, &slug, &version, body).await?)
}

/// Asks to have a version used by nobody any more, or to take that back.
pub(crate) async fn ask_yank(
    app: &App,
    caller: &Caller,
    slug: &str,
    version: &str,
    body: Map<String, Value>,
) -> Answer<CommandView> {
    let mut form = Form::new(body);
    let note = form.text("note");
    if note.as_ref().is_some_and(|note| note.chars().count() > 500) {
        form.wrong("note", "At most 500 characters are allowed");
    }
    form.check()?;
    let module = stacks::find_of(app, Kind::Module, slug).await?.value;
    let missing = || Refusal::not_found("version");
    let number: Version = version.parse().map_err(|_| missing())?;
    let found = app.store.get::<VersionRecord>(&keys::version(&module.id, &number)).await?;
    if found.ok_or_else(missing)?.value.state != VersionState::Active {
        return Err(Refusal::conflict(
            "The version cannot be yanked",
            "Its tests failed, so nobody can use it.",
        ));
    }
    let command = Command::Yank { version: number, note };
    commands::give_at_once(app, caller, &module, command).await
}

/// The tests of a module's run, with their own runs.
async fn tests_of(app: &App, suite: &RunId) -> Answer<Vec<TestView>> {
    let suite = runs::find(app, suite.as_str()).await?;
    let tests = test_runs(app, &suite).await?;
    let view = |run: Run| {
        let case = run.test?.case;
        Some(TestView {
            name: case.name,
            run: run.id,
            state: run.state,
            negative: case.negative,
            summary: run.ending.map(|end| end.summary),
        })
    };
    Ok(tests.into_iter().filter_map(view).collect())
}

/// The test runs of a module's run, by name.
pub(crate) async fn test_runs(app: &App, suite: &Run) -> Answer<Vec<Run>> {
    let Some(project) = suite.project() else { return Ok(Vec::new()) };
    let partition = keys::commit_runs(project, &suite.commit);
    let entries = app.store.query_all::<RunEntry>(&partition, "run#").await?;
    let is_test = |entry: &&Stored<RunEntry>| entry.value.run_type == RunType::Test;
    let wanted: Vec<_> =
        entries.iter().filter(is_test).map(|entry| keys::run(&entry.value.run)).collect();
    let mut tests = Vec::new();
    for chunk in wanted.chunks(100) {
        let found = app.store.get_many::<Run>(chunk).await?;
        tests.extend(found.into_iter().map(|run| run.value));
    }
    tests.retain(|run| run.test.as_ref().is_some_and(|test| test.suite == suite.id));
    tests.sort_by_key(Run::status_name);
    Ok(tests)
}

/// `POST /api/v1/modules/{slug}/versions {"version", "commit"?}`: tests a commit, and makes a
/// version of it when they pass.
pub(crate) async fn make_version(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(slug): Path<String>,
    Body(body): Body,
) -> Answer<Response> {
    commands::answer(ask_version(&app, &caller, &slug, body).await?)
}

/// Asks for a version of a module.
pub(crate) async fn ask_version(
    app: &App,
    caller: &Caller,
    slug: &str,
    body: Map<String, Value>,
) -> Answer<CommandView> {
    let mut form = Form::new(body);
    let version = form.required_text("version", "Enter the version number, such as 1.2.0.");
    let commit = form.text("commit");
    let version = version.and_then(|text| match text.parse::<Version>() {
        Ok(version) if version.build.is_empty() => Some(version),
        _ => {
            form.wrong("version", "Must be a SemVer version without build metadata, such as 1.2.0");
            None
        }
    });
    form.check()?;
    let module = stacks::find_of(app, Kind::Module, slug).await?.value;
    let Some(version) = version else { return Err(Refusal::not_found("version")) };
    let commit = commands::find_commit(app, &module, commit.as_deref()).await?;
    let key = keys::version(&module.id, &version);
    let known = app.store.get::<VersionRecord>(&key).await?;
    if known.is_some_and(|known| known.value.state == VersionState::Active) {
        return Err(Refusal::conflict(
            "The version already exists",
            "The module already has this version, and version numbers are never reused.",
        ));
    }
    let command = Command::MakeVersion { version, commit };
    commands::give_freely(app, caller, &module, command).await
}
