//! The admin API's part on Terraform's states: look, download, import, restore, unlock.

mod caller;
mod pages;

use self::caller::Caller;
use crate::{
    deps::Deps,
    objects::send,
    state::{Replacement, Restored, StateError},
    state_routes::JSON,
};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    http::StatusCode,
    middleware::from_fn,
    response::Response,
    routing::{delete, get, post},
};
use flate2::read::GzDecoder;
use gantry_domain::{
    EventId, ProjectId, RunId, StackId, StackSlug,
    run::{Run, RunType},
    stack::Stack,
    state::StateForm,
};
use gantry_setup::web::{Params, Problem, in_time, page_size, taking};
use gantry_store::{
    config::{Activity, Pause, Role, SlugEntry},
    keys,
    runner::{StateLock, StateVersion},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{
    io::Read as _,
    time::{Duration, Instant},
};
use tokio::task::spawn_blocking;

/// Versions on a page, where nobody says how many.
const PAGE: i32 = 50;
/// How long one request looks for states: API Gateway gives an answer 30 seconds.
const RESTORE_FOR: Duration = Duration::from_secs(15);

/// The routes below `/api/v1/stacks/{slug}/state`.
///
/// | request | role | meaning |
/// |---|---|---|
/// | `GET state?after=&limit=` | read | current version, lock, versions (newest first, usually 50 a page) |
/// | `GET state/{version}` | admin | the body; `current` is a version too |
/// | `POST state?force=` | admin | a state's JSON, also packed with gzip, or `{"restore": 7}`: makes it the current version |
/// | `DELETE state/lock` | admin | takes the lock from whoever has it |
///
/// `GET /api/v1/runs/{run}/state/{version}` is the state that a test run keeps, for admins.
///
/// People are refused, with a key of their own as in a session: what they may is read from GitLab,
/// which nobody does here.
///
/// The same for the stack's page, with a session instead of a key, below `/stacks/{slug}/state`:
/// `GET {version}`, and the forms `restore` and `unlock`.
///
/// `POST /api/v1/operations/restore-states?after=`, for admins, finds states again after the
/// records were restored to an earlier time.
///
/// Changes answer 409 while a tracked run of the stack is unfinished. A blocked stack's state can be
/// put right before somebody unblocks it; its lock goes with the unblocking.
pub fn admin_state_router(deps: Deps) -> Router {
    let limit = usize::try_from(deps.limits.state).unwrap_or(usize::MAX);
    Router::new()
        .route("/api/v1/stacks/{slug}/state", taking(get(show), &["after", "limit"]))
        .route("/api/v1/stacks/{slug}/state", taking(post(replace), &["force"]))
        .route("/api/v1/stacks/{slug}/state/lock", taking(delete(unlock), &[]))
        .route("/api/v1/stacks/{slug}/state/{version}", taking(get(download), &[]))
        .route("/api/v1/runs/{run}/state/{version}", taking(get(download_of_test), &[]))
        .route("/api/v1/operations/restore-states", taking(post(restore_states), &["after"]))
        .route("/runs/{run}/state/{version}", get(pages::download_of_test))
        .route("/stacks/{slug}/state/{version}", get(pages::download))
        .route("/stacks/{slug}/state/restore", post(pages::restore))
        .route("/stacks/{slug}/state/unlock", post(pages::unlock))
        .layer(DefaultBodyLimit::max(limit))
        .layer(from_fn(in_time))
        .with_state(deps)
}

/// What every gzip file begins with (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// What is known of a stack's state.
#[derive(Serialize)]
struct StateView {
    current: Option<VersionView>,
    lock: Option<LockView>,
    versions: Vec<VersionView>,
    /// The `after` of the next page; none at the end.
    next: Option<String>,
}

#[derive(Serialize)]
struct VersionView {
    version: u64,
    serial: u64,
    /// A UUID, as the tools write it. Empty for any other: it may be a secret that a run put there.
    lineage: String,
    digest: String,
    size: u64,
    /// None when they cannot be counted.
    resources: Option<u32>,
    form: StateForm,
    run: Option<RunId>,
    by: String,
    /// It was kept aside: only a person makes it current.
    rescued: bool,
    at: Timestamp,
}

#[derive(Serialize)]
struct LockView {
    id: String,
    operation: String,
    who: String,
    run: RunId,
    at: Timestamp,
}

impl From<StateVersion> for VersionView {
    fn from(version: StateVersion) -> Self {
        let StateVersion { number, serial, lineage, digest, size, resources, form, .. } = version;
        let StateVersion { run, by, rescued, at, .. } = version;
        let version = number;
        let is_uuid = lineage.len() == 36
            && lineage.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        let lineage = if is_uuid { lineage } else { String::new() };
        Self { version, serial, lineage, digest, size, resources, form, run, by, rescued, at }
    }
}

impl From<StateLock> for LockView {
    fn from(lock: StateLock) -> Self {
        let StateLock { info, run, at, .. } = lock;
        Self { id: info.id, operation: info.operation, who: info.who, run, at }
    }
}

#[derive(Deserialize)]
struct ShowQuery {
    /// Versions lower than this one.
    after: Option<u64>,
    limit: Option<u32>,
}

async fn show(
    State(deps): State<Deps>,
    key: Caller,
    Path(slug): Path<String>,
    Params(query): Params<ShowQuery>,
) -> Result<Json<StateView>, Problem> {
    key.must_be(Role::Read)?;
    let stack = stack_or_remains(&deps, &slug).await?;
    let states = deps.states();
    let page = states.versions(&stack.id, query.after, page_size(query.limit, PAGE)?).await?;
    let versions: Vec<VersionView> = page.items.into_iter().map(|v| v.value.into()).collect();
    Ok(Json(StateView {
        current: states.current(&stack.id).await?.map(|current| current.value.into()),
        lock: states.lock_of(&stack.id).await?.map(|lock| lock.value.into()),
        next: page.next.and_then(|_| versions.last().map(|last| last.version.to_string())),
        versions,
    }))
}

async fn download(
    State(deps): State<Deps>,
    key: Caller,
    Path((slug, version)): Path<(String, String)>,
) -> Result<Response, Problem> {
    send_of_stack(&deps, &key, &slug, &version).await
}

async fn download_of_test(
    State(deps): State<Deps>,
    key: Caller,
    Path((run, version)): Path<(String, String)>,
) -> Result<Response, Problem> {
    send_of_test(&deps, &key, &run, &version).await
}

async fn send_of_stack(
    deps: &Deps,
    key: &Caller,
    slug: &str,
    version: &str,
) -> Result<Response, Problem> {
    only_admins(deps, key, "download", slug).await?;
    let stack = stack_or_remains(deps, slug).await?;
    let about = about(stack.project(), stack.slug);
    send_version(deps, key, &stack.id, slug, version, about).await
}

/// The state that a test run keeps: what it made and could not destroy.
async fn send_of_test(
    deps: &Deps,
    key: &Caller,
    run: &str,
    version: &str,
) -> Result<Response, Problem> {
    only_admins(deps, key, "download", "").await?;
    let no_test = || missing("There is no test run with this id.");
    let id: RunId = run.parse().map_err(|_| no_test())?;
    let found = deps.store.get::<Run>(&keys::run(&id)).await;
    let found = found.map_err(|error| Problem::internal(&error))?;
    let found = found.map(|found| found.value).filter(|run| run.run_type == RunType::Test);
    let found = found.ok_or_else(no_test)?;
    let owner = found.state_owner();
    let about = Activity {
        run: Some(found.id.clone()),
        run_number: Some(found.number),
        ..about(found.project(), found.slug)
    };
    send_version(deps, key, &owner, &format!("the test run {run}"), version, about).await
}

async fn send_version(
    deps: &Deps,
    key: &Caller,
    owner: &StackId,
    name: &str,
    version: &str,
    about: Activity,
) -> Result<Response, Problem> {
    let states = deps.states();
    let version = match version.parse() {
        Ok(number) => states.version(owner, number).await?,
        Err(_) if version == "current" => {
            let current = states.current(owner).await?;
            current.ok_or_else(|| missing("There is no state yet."))?.value
        }
        Err(_) => return Err(missing("A version must be a number or the word current.")),
    };
    let sent = send(&deps.objects, &version.object, JSON).await;
    let body = sent.map_err(|_| trouble())?.ok_or_else(|| {
        tracing::error!(object = version.object, "the body of a state is missing");
        trouble()
    })?;
    let what = format!("downloaded version {} of the state of {name}", version.number);
    let done = Activity { what, outcome: "done".to_owned(), ..about };
    record(deps, key, done, StatusCode::OK).await?;
    Ok(body)
}

#[derive(Deserialize)]
struct ReplaceQuery {
    #[serde(default)]
    force: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Restore {
    restore: u64,
}

async fn replace(
    State(deps): State<Deps>,
    key: Caller,
    Path(slug): Path<String>,
    Params(query): Params<ReplaceQuery>,
    body: Bytes,
) -> Result<Json<VersionView>, Problem> {
    // Before anything is unpacked.
    only_admins(&deps, &key, "replace", &slug).await?;
    let body = unpacked(body, deps.limits.state).await?;
    replace_state(&deps, &key, &slug, body, query.force).await.map(Json)
}

/// A body, or what is in it where it is packed with gzip: Lambda takes 6 MB.
async fn unpacked(body: Bytes, limit: u64) -> Result<Bytes, Problem> {
    if !body.starts_with(&GZIP) {
        return Ok(body);
    }
    let refused = |status, detail: String| Problem::new(status, "Not a state", detail);
    let unpacked = spawn_blocking(move || {
        let mut unpacked = Vec::new();
        let read = GzDecoder::new(&*body).take(limit + 1).read_to_end(&mut unpacked);
        read.map(|_| unpacked)
    });
    let unpacked = unpacked.await.map_err(|error| Problem::internal(&error))?.map_err(|error| {
        refused(StatusCode::UNPROCESSABLE_ENTITY, format!("The body cannot be unpacked: {error}."))
    })?;
    if unpacked.len() as u64 > limit {
        let most = limit >> 20;
        let detail = format!("Unpacked, the body is larger than the limit of {most} MiB.");
        return Err(refused(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    Ok(unpacked.into())
}

async fn replace_state(
    deps: &Deps,
    key: &Caller,
    slug: &str,
    body: Bytes,
    force: bool,
) -> Result<VersionView, Problem> {
    only_admins(deps, key, "replace", slug).await?;
    let stack = stack(deps, slug).await?;
    if !stack.settings.manage_state {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "Gantry does not store this state",
            "The stack uses its own backend. Change the state there.",
        ));
    }
    let (replacement, what) = match serde_json::from_slice::<Restore>(&body) {
        Ok(Restore { restore: number }) => (
            Replacement::Restore { number },
            format!("restored version {number} of the state of {slug}"),
        ),
        Err(_) => (
            Replacement::Import { body, force },
            format!("imported a state for {slug}{}", if force { " by force" } else { "" }),
        ),
    };
    let done = deps.states().replace(&stack.id, replacement, &key.name).await;
    let outcome = match &done {
        Ok(version) => format!("now version {} (serial {})", version.number, version.serial),
        Err(error) => format!("refused: {error}"),
    };
    let done = done.map_err(Problem::from);
    let status = done.as_ref().map_or_else(|problem| problem.status, |_| StatusCode::OK);
    let about = Activity { what, outcome, ..about(stack.project(), stack.slug) };
    record(deps, key, about, status).await?;
    Ok(done?.into())
}

async fn unlock(
    State(deps): State<Deps>,
    key: Caller,
    Path(slug): Path<String>,
) -> Result<StatusCode, Problem> {
    break_lock(&deps, &key, &slug).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn break_lock(deps: &Deps, key: &Caller, slug: &str) -> Result<(), Problem> {
    only_admins(deps, key, "unlock", slug).await?;
    let stack = stack(deps, slug).await?;
    let done = deps.states().break_lock(&stack.id).await;
    let outcome = match &done {
        Ok(true) => "done".to_owned(),
        Ok(false) => "it was not locked".to_owned(),
        Err(error) => format!("refused: {error}"),
    };
    let done = done.map_err(Problem::from);
    let status = done.as_ref().map_or_else(|problem| problem.status, |_| StatusCode::NO_CONTENT);
    let what = format!("unlocked the state of {slug}");
    let about = Activity { what, outcome, ..about(stack.project(), stack.slug) };
    record(deps, key, about, status).await?;
    done.map(drop)
}

#[derive(Deserialize)]
struct RestoreQuery {
    #[serde(default)]
    after: String,
}

/// What was found, and where to go on.
#[derive(Serialize)]
struct RestoredStates {
    stacks: Vec<Restored>,
    /// The `after` of the next page; none at the end.
    next: Option<String>,
}

async fn restore_states(
    State(deps): State<Deps>,
    key: Caller,
    Params(query): Params<RestoreQuery>,
) -> Result<Json<RestoredStates>, Problem> {
    only_admins(&deps, &key, "restore", "").await?;
    let pause = deps.store.get::<Pause>(&keys::pause()).await;
    if pause.map_err(|error| Problem::internal(&error))?.is_none() {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "Runs are not paused",
            "A run that starts in the meantime could plan against an old state. Pause runs first, \
             with PUT /api/v1/operations/pause {\"paused\": true} or on the Operations page.",
        ));
    }
    let (states, until) = (deps.states(), Instant::now() + RESTORE_FOR);
    let (mut stacks, mut next, mut done) = (Vec::new(), None, query.after.clone());
    for owner in states.in_storage(&query.after).await? {
        let result = states.restore_from_storage(&owner, &key.name, until).await;
        let (restored, unfinished) = result.unwrap_or_else(|error| {
            // The others are not to wait for it.
            tracing::error!(%owner, %error, "a stack's states were not restored");
            (Some(Restored::failed(&owner, &error)), false)
        });
        if let Some(restored) = restored {
            tracing::warn!(?restored, "states were found that were not on record");
            stacks.push(restored);
        }
        if !unfinished {
            done = owner.to_string();
        }
        if unfinished || Instant::now() >= until {
            next = Some(done);
            break;
        }
    }
    let found: usize = stacks.iter().map(|stack| stack.found).sum();
    let outcome = format!("found {found} unrecorded states of {} stacks", stacks.len());
    let what = "restored states from object storage".to_owned();
    record(&deps, &key, Activity { what, outcome, ..Activity::default() }, StatusCode::OK).await?;
    Ok(Json(RestoredStates { stacks, next }))
}

async fn stack(deps: &Deps, slug: &str) -> Result<Stack, Problem> {
    let found = stack_or_remains(deps, slug).await?;
    match found.deleted_at {
        None => Ok(found),
        Some(_) => Err(missing("The stack was deleted. Its state can only be read.")),
    }
}

/// The stack, or what is left of it: the state of a deleted one can be exported for a while.
async fn stack_or_remains(deps: &Deps, slug: &str) -> Result<Stack, Problem> {
    let unknown = || missing("There is no stack with this slug.");
    let slug: StackSlug = slug.parse().map_err(|_| unknown())?;
    let found = deps.store.stack_ever(&slug).await.map_err(|e| Problem::internal(&e))?;
    let stack = found.ok_or_else(unknown)?.value;
    let is_kept = stack.state_kept_until.is_some_and(|until| deps.clock.now() < until);
    match stack.deleted_at {
        Some(at) if !is_kept => {
            let day = at.strftime("%Y-%m-%d");
            Err(missing(&format!(
                "The stack was deleted on {day} and its state is no longer kept."
            )))
        }
        _ => Ok(stack),
    }
}

/// Lets admins do something with a state; that somebody else tried is kept, with the name of the
/// stack if there is one.
async fn only_admins(deps: &Deps, key: &Caller, verb: &str, slug: &str) -> Result<(), Problem> {
    let Err(problem) = key.must_be(Role::Admin) else { return Ok(()) };
    let entry = match slug.parse::<StackSlug>() {
        Ok(slug) => deps.store.get::<SlugEntry>(&keys::slug(&slug)).await.ok().flatten(),
        Err(_) => None,
    };
    let stack = match entry {
        Some(entry) => deps.store.stack(&entry.value.stack).await.ok().flatten(),
        // As many reads as of one that is there: people are told nothing by the time either.
        None => deps.store.integration().await.ok().flatten().and(None),
    };
    let stack = stack.map(|found| found.value);
    let what = match &stack {
        Some(stack) => format!("{verb} the state of {}", stack.slug),
        None => format!("{verb} a state"),
    };
    let outcome = format!("refused: {}. {}", problem.title, problem.detail);
    let about = stack.map(|stack| about(stack.project(), stack.slug)).unwrap_or_default();
    let refused = Activity { what, outcome, ..about };
    record(deps, key, refused, problem.status).await?;
    Err(problem)
}

/// What an activity is about: whoever sees the project sees the line.
fn about(project: Option<ProjectId>, stack: StackSlug) -> Activity {
    Activity { project, stack: Some(stack), ..Activity::default() }
}

/// Keeps who did what to a state, and how it ended: `done` has the words, and what it was about.
async fn record(
    deps: &Deps,
    key: &Caller,
    done: Activity,
    status: StatusCode,
) -> Result<(), Problem> {
    let request = EventId::derive("state", &[&hex::encode(rand::random::<[u8; 16]>())]);
    let activity = Activity {
        actor: key.name.clone(),
        role: key.role(),
        refused: status.is_client_error() || status.is_server_error(),
        status: Some(status.as_u16()),
        address: Some(key.address.clone()),
        request: Some(request),
        at: deps.clock.now(),
        ..done
    };
    let kept = deps.store.record_activity(&activity).await;
    kept.map_err(|error| Problem::internal(&error))
}

fn missing(detail: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "Not found", detail)
}

fn trouble() -> Problem {
    let detail = "The state's body could not be read. The log says why; it is safe to try again.";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong", detail)
}

impl From<StateError> for Problem {
    fn from(error: StateError) -> Self {
        let mut detail = error.to_string();
        match error {
            StateError::NotSuccessor(_) => {
                detail.push_str(". To import it anyway, add ?force=true.");
                Self::new(StatusCode::CONFLICT, "The state does not follow the current one", detail)
            }
            StateError::RunUnfinished(_) | StateError::Blocked(_) => {
                Self::new(StatusCode::CONFLICT, "The stack is in use", detail)
            }
            StateError::Unusable(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Not a state", detail)
            }
            StateError::NoVersion(_) => missing(&detail),
            StateError::Busy
            | StateError::Locked(_)
            | StateError::NotHeld
            | StateError::Refused(_) => Self::new(StatusCode::CONFLICT, "Try again", detail),
            StateError::Store(_) | StateError::Objects(_) => Self::internal(&error),
        }
    }
}
