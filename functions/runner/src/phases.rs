//! The two phases, step by step. A test is planned, applied and destroyed in one ([`testing`]).

use crate::{
    beat, cli_config,
    failure::Failure,
    job::{Care, Job, Progress},
    log::Log,
    prepare::Prepared,
    providers, rescue, root, size,
    state::{self, Rescue},
    task, testing, warnings,
};
use axum::body::Bytes;
use gantry_domain::{
    drift,
    plan::{Change, Delta, LARGEST_CHANGE, Limits, planned_modules},
    protocol::{ReportKind, StateDoubt},
    run::{PlanMode, RunType},
    text::{self, NOTHING_APPLIED},
};
use gantry_engine::{
    Terraform,
    diagnostics::{Warned, strip_ansi},
    files, process,
    terraform::EXIT_CHANGED,
    workspace::{self, Packed},
};
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::task::spawn_blocking;

/// Where a tool that was given no backend keeps the state.
const LOCAL_STATE: &str = "terraform.tfstate";
/// The JSON of larger plans is not read.
const LARGEST_PLAN_JSON: u64 = 512 << 20;

/// What both tools print while they plan, after an address or alone.
const PROGRESS: [&str; 13] = [
    ": Refreshing state...",
    ": Reading...",
    ": Still reading...",
    ": Read complete after ",
    ": Opening...",
    ": Still opening...",
    ": Opening complete after ",
    ": Closing...",
    ": Still closing...",
    ": Closing complete after ",
    ": Preparing import...",
    "Acquiring state lock.",
    "Releasing state lock.",
];

/// Init and plan; with autodeploy the apply too. Of a task, init and its command. Returns what is
/// reported last.
pub(crate) async fn plan(job: &mut Job, deadline: beat::Guard) -> Result<ReportKind, Failure> {
    let hooks = job.claim.hooks.clone();
    let Prepared { terraform, admitted } = Prepared::of(job).await?;
    if let Some(command) = job.claim.task.clone() {
        return task::execute(job, &terraform, &command, deadline).await;
    }

    job.report_planning().await?;
    job.hooks("before_plan", &hooks.before_plan, &terraform).await?;
    root::check_backend(job, &terraform)?;
    let tracked = job.claim.run_type == RunType::Tracked;
    let is_test = job.claim.run_type == RunType::Test;
    let options = job.claim.options.arguments();
    let spec = terraform.plan(&job.folders.made_plan(), tracked || is_test, &options);
    // Terraform says so itself, and both tools warn of it.
    let targeted = admitted.partial || !job.claim.options.targets.is_empty();
    let targeted = Arc::new(AtomicBool::new(targeted));
    let (heard, log) = (Arc::clone(&targeted), job.log.clone());
    let watch = move |line: &str| {
        if is_targeting(line) {
            heard.store(true, Ordering::Relaxed);
        }
        hold_plan(&log, line);
    };
    let exit = match job.terraform_or_fail("plan", &spec, &[0, EXIT_CHANGED], watch).await {
        Ok(ended) => ended,
        Err(failure) => {
            if let Err(error) = hide_marked_of_failed(job, &terraform).await {
                let error = error.for_log(&job.masker);
                tracing::error!(error, "what a failed plan marks as sensitive is unknown");
            }
            return Err(failure);
        }
    };
    job.take_plan()?;
    let mut change = read_change(job, &terraform).await?;
    if change.errored {
        let fallback = "The plan is incomplete because of an error".to_owned();
        return Err(Failure::Terraform { fallback, errors: Vec::new() });
    }
    let tolerated = take_tolerated(job, &mut change);
    change.partial |= targeted.load(Ordering::Relaxed);
    change.remarks = admitted.remarks.iter().map(|remark| job.masker.mask(remark)).collect();
    let warned = std::mem::take(&mut job.warned);
    change.tool_warnings_cut = warned.cut;
    change.tool_warnings = warnings::masked(warned.warnings, &job.masker);
    root::remark_on_destroyed(job, &terraform, &mut change).await?;
    if change.partial {
        job.log.say(text::PARTIAL_PLAN);
    }
    job.hooks("after_plan", &hooks.after_plan, &terraform).await?;

    change.fit(LARGEST_CHANGE);
    let api = job.api.clone();
    job.or_stop(async {
        api.put_change(&change).await.map_err(|e| Failure::api("The change was not accepted", e))
    })
    .await?;
    // The counts decide, here and for who is told of them, so that both see the same run.
    let clean = change.delta.is_empty();
    if clean && exit == EXIT_CHANGED && !is_test && tolerated == 0 {
        let tool = job.claim.tool.name();
        job.log.say(&format!("{tool} reports work that is not a change; it is not applied"));
    }
    // Nobody applies a proposed plan, and a plan file holds secrets: it stays here.
    let packed = match tracked && !clean {
        true => Some(save_plan(job).await?),
        false => None,
    };
    let planned = ReportKind::Planned {
        delta: change.delta,
        plan_digest: packed.as_ref().map(|packed| packed.digest.clone()),
        partial: change.partial,
        failed_checks: change.failed_checks(),
        tolerated,
    };
    if !(is_test || packed.is_some() && job.claim.autodeploy) {
        return Ok(planned);
    }

    job.report(planned).await?;
    job.enter(Progress::BeforeApply)?;
    drop(deadline);
    let _deadline = beat::deadline(job.stopper.clone(), job.claim.apply_timeout, "apply");
    if is_test {
        return testing::apply_and_destroy(job, &terraform, change.delta).await;
    }
    run_apply(job, &terraform, Some(change.delta)).await
}

/// The apply of a saved plan. Returns what is reported last.
pub(crate) async fn apply(job: &mut Job) -> Result<ReportKind, Failure> {
    if job.claim.run_type != RunType::Tracked {
        let what = job.claim.run_type.label().to_lowercase();
        return Err(Failure::other(format!("A {what} is never applied")));
    }
    fetch_plan(job).await?;
    let mut terraform = job.make_terraform().await?;
    cli_config::put_back(job, &mut terraform).await?;
    providers::init(job, &terraform, true).await?;
    job.hide_marked_of_state().await?;
    root::check_backend(job, &terraform)?;
    let planned = job.claim.planned;
    run_apply(job, &terraform, planned).await
}

async fn fetch_plan(job: &mut Job) -> Result<(), Failure> {
    let Some(digest) = job.claim.plan_digest.clone() else {
        return Err(Failure::other("The run has no saved plan"));
    };
    let (archive, into) = (job.folders.archive(), job.folders.job.clone());
    let (api, limits) = (job.api.clone(), job.config.limits);
    let fetched = format!("fetched saved plan {}", digest.get(..12).unwrap_or(&digest));
    job.or_stop(async {
        api.plan(&archive, limits.bytes)
            .await
            .map_err(|e| Failure::api("The saved plan could not be fetched", e))
    })
    .await?;
    spawn_blocking(move || {
        workspace::unpack_plan(&archive, &digest, &into, limits)?;
        std::fs::remove_file(archive)?;
        Ok::<_, Failure>(())
    })
    .await
    .map_err(std::io::Error::other)??;
    job.log.say(&fetched);
    job.hide_saved_marked().await?;
    Ok(job.take_plan()?)
}

/// Takes out of what a look for drift has found what may differ, and says how much that is.
fn take_tolerated(job: &Job, change: &mut Change) -> u32 {
    let Some(rules) = &job.claim.tolerate else { return 0 };
    let tolerated = drift::take_tolerated(change, rules);
    if tolerated > 0 {
        let count = text::counted(tolerated as usize, "difference");
        job.log.say(&format!("{count} tolerated, as the stack's settings say"));
    }
    tolerated
}

async fn read_change(job: &mut Job, terraform: &Terraform) -> Result<Change, Failure> {
    let plan = job.folders.plan();
    let json = show(job, terraform, &plan).await?;
    let (json, mut change) = read_plan(job, json).await?;
    size::check(job, &json)?;
    if job.claim.run_type == RunType::Test {
        let (masker, tool) = (Arc::clone(&job.masker), job.claim.tool);
        let read = spawn_blocking(move || planned_modules(&json, tool, &|text| masker.mask(text)));
        change.modules = read
            .await
            .map_err(std::io::Error::other)?
            .map_err(|error| Failure::other(crate::failure::chain(&error)))?;
    }
    Ok(change)
}

/// What a plan would change. From here on what it marks is hidden.
pub(crate) async fn read_plan(job: &mut Job, json: Vec<u8>) -> Result<(Vec<u8>, Change), Failure> {
    let (masker, tool) = (Arc::clone(&job.masker), job.claim.tool);
    let refreshes = job.claim.options.mode == PlanMode::RefreshOnly;
    let (json, read) = spawn_blocking(move || {
        let limits = Limits::default();
        let read = match refreshes {
            true => Change::from_refresh_only_plan(&json, tool, limits, &masker),
            false => Change::from_plan(&json, tool, limits, &masker),
        };
        (json, read)
    })
    .await
    .map_err(std::io::Error::other)?;
    let (change, marked) = read.map_err(|error| Failure::other(crate::failure::chain(&error)))?;
    job.hide_marked(marked).await?;
    Ok((json, change))
}

/// The JSON of a plan, not masked yet.
pub(crate) async fn show(
    job: &mut Job,
    terraform: &Terraform,
    plan: &Path,
) -> Result<Vec<u8>, Failure> {
    let path = job.folders.run.join("plan.json");
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
    // Open, and without a name: nobody else reads a plan that is not masked yet.
    std::fs::remove_file(&path)?;
    let spec = terraform.show(plan);
    let on_stop = job.on_stop(Care::Plan);
    let out = file.try_clone()?;
    let ended = process::run_into(&spec, out, &job.log.sink(), &mut job.stop, on_stop).await?;
    job.go_on()?;
    if !ended.status.success() {
        return Err(Failure::other(format!("The plan cannot be shown: {}", ended.status)));
    }
    spawn_blocking(move || {
        let mut file = file;
        std::io::Seek::rewind(&mut file)?;
        if file.metadata()?.len() > LARGEST_PLAN_JSON {
            return Err(Failure::other("The plan is too large to read"));
        }
        let mut json = Vec::new();
        file.read_to_end(&mut json)?;
        Ok(json)
    })
    .await
    .map_err(std::io::Error::other)?
}

/// What was printed waits for what the plan marks where making it failed, too. The tool saves what it
/// has of a plan before it prints any of it.
async fn hide_marked_of_failed(job: &mut Job, terraform: &Terraform) -> Result<(), Failure> {
    match job.take_plan() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            job.log.mask_with(&job.masker);
            return Ok(());
        }
        taken => taken?,
    }
    job.go_on()?;
    let json = show(job, terraform, &job.folders.plan()).await?;
    read_plan(job, json).await.map(drop)
}

/// The tool prints what it has planned once it knows all of it: that waits until it is known what the
/// plan marks. Only how it gets on is shown at once.
pub(crate) fn hold_plan(log: &Log, line: &str) {
    let line = strip_ansi(line);
    let is_progress = PROGRESS.iter().any(|progress| line.contains(progress));
    if !is_progress && !line.trim().is_empty() {
        log.hold();
    }
}

/// Whether the tool warns that it looks at a part only.
fn is_targeting(line: &str) -> bool {
    strip_ansi(line).contains("Warning: Resource targeting is in effect")
}

async fn save_plan(job: &mut Job) -> Result<Packed, Failure> {
    let (from, archive) = (job.folders.job.clone(), job.folders.archive());
    let (plan, limits) = (job.folders.plan(), job.config.limits);
    let to = archive.clone();
    let packed = spawn_blocking(move || workspace::pack_plan(&plan, &from, &to, limits))
        .await
        .map_err(std::io::Error::other)??;
    let (api, kept) = (job.api.clone(), packed.clone());
    job.or_stop(async {
        api.put_plan(&archive, &kept.digest, kept.size)
            .await
            .map_err(|e| Failure::api("The plan was not accepted", e))
    })
    .await?;
    std::fs::remove_file(job.folders.archive())?;
    Ok(packed)
}

/// From here on nothing is ended by force. What was `planned` is not known where the runner API is of
/// a release before.
pub(crate) async fn run_apply(
    job: &mut Job,
    terraform: &Terraform,
    planned: Option<Delta>,
) -> Result<ReportKind, Failure> {
    let hooks = job.claim.hooks.clone();
    job.hooks("before_apply", &hooks.before_apply, terraform).await?;
    begin_applying(job).await?;
    // Those of init were told with the plan.
    job.warned = Warned::default();
    let terraform = &root::for_apply(job, terraform)?;
    let spec = terraform.apply(&job.folders.plan());
    let local = terraform.folder.join(LOCAL_STATE);
    let before = digest(job, &local);
    let (ended, reported) = job.terraform(&spec, Care::Apply, |_: &str| {}).await?;
    job.warned.add(reported.failed_checks);
    rescue_states(job).await;
    let is_elsewhere = rescue_local(job, &local, before).await;
    if let Err(error) = job.hide_marked_of_state().await {
        tracing::error!(%error, "what the state marks as sensitive is unknown");
    }
    // OpenTofu has destroyed all that is to be destroyed, and says so with an error.
    let destroys = job.claim.options.mode == PlanMode::Destroy;
    let is_done = ended.status.success() || destroys && testing::only_forgot(&reported.errors);
    if !is_done {
        let fallback = format!("apply: {}", ended.status);
        return Err(Failure::Terraform { fallback, errors: reported.errors });
    }
    // All that was planned was done: what the tool prints leaves something out.
    let delta = planned.unwrap_or_default();
    let changes_the_state = planned.is_none_or(|planned| planned.changes_the_state());
    if job.state.as_ref().is_some_and(|state| !state.was_written()) && changes_the_state {
        let where_ = match is_elsewhere {
            true => "the state found in the run's folder was set aside for a person to review",
            false => {
                job.doubt = Some(StateDoubt::NotDelivered);
                "it is not known where the state is"
            }
        };
        return Err(Failure::other(format!(
            "Applied ({}), but Gantry received no state; {where_}",
            delta.done()
        )));
    }
    // What is applied is applied, also when the wish to stop came too late for it.
    if let Err(Failure::Other(text)) = job.hooks("after_apply", &hooks.after_apply, terraform).await
    {
        return Err(Failure::other(format!("Applied ({}). {text}", delta.done())));
    }
    Ok(ReportKind::Applied { delta })
}

/// From here on the state may change.
pub(crate) async fn begin_applying(job: &mut Job) -> Result<(), Failure> {
    // The last moment in which a wish to stop costs nothing.
    beat::once(&job.api, &job.stopper).await;
    job.go_on()?;
    if let Some(state) = &job.state {
        state.reserve().map_err(|error| {
            Failure::other(format!(
                "{NOTHING_APPLIED} because the runner's machine has no room for a state \
                 ({error}). Free up 32 MiB in {}, then retry",
                job.folders.run.display()
            ))
        })?;
    }
    job.enter(Progress::Applying)
}

/// Leaves with the runner API what it has not accepted.
pub(crate) async fn rescue_states(job: &mut Job) {
    let Some(state) = &job.state else { return };
    let mut in_memory = state.take_unsaved();
    if let Some(body) = &in_memory {
        // Nothing runs any more that needs it, and it may be what filled the disk.
        let _as_far_as_it_goes = files::empty_folder(&job.folders.temporary);
        if state.save(body).is_ok() {
            in_memory = None;
        }
    }
    let paths = rescue::left(&job.folders.run, &job.claim.project_root);
    let rescue = keep_aside(job, &paths, in_memory).await;
    if rescue.left.is_empty()
        && let Err(error) = files::make_fresh_folder(&job.folders.states, 0o700)
    {
        tracing::error!(%error, "states that the runner API has are still here");
    }
}

/// Keeps these states aside, and notes what a person must look at.
async fn keep_aside(job: &mut Job, paths: &[PathBuf], in_memory: Option<Bytes>) -> Rescue {
    // What is only here is worth waiting for: nobody else can bring it.
    let api = job.api.with_patience(job.config.timings.report_patience);
    let mut rescue = state::rescue(&api, &job.folders.run, paths).await;
    let is_lost = match in_memory {
        Some(body) => !state::rescue_from_memory(&api, &body, &mut rescue).await,
        None => false,
    };
    if rescue.kept_aside > 0 {
        job.doubt = Some(StateDoubt::KeptAside);
        job.log.say("the state could not be made current and was set aside for a person to review");
    }
    if is_lost {
        job.doubt = Some(StateDoubt::NotDelivered);
        job.log.say(
            "the state is lost: the runner API did not accept it and the runner's machine has no \
             room for it. Import what was created, or remove it by hand",
        );
    }
    for path in &rescue.left {
        job.doubt = Some(StateDoubt::NotDelivered);
        let kept = match path.starts_with(&job.folders.job) {
            true => keep(job, path),
            false => Ok(path.clone()),
        };
        match kept {
            Ok(path) => {
                job.log
                    .say(&format!("a state is still on the runner's machine: {}", path.display()));
            }
            Err(error) => {
                tracing::error!(%error, path = %path.display(), "a state could not be kept");
            }
        }
    }
    rescue
}

/// Keeps the state aside that an apply wrote into the project root instead of giving it to Gantry.
async fn rescue_local(job: &mut Job, path: &Path, before: Option<String>) -> bool {
    let brought_none = job.state.as_ref().is_some_and(|state| !state.was_written());
    let is_new = digest(job, path).is_some_and(|now| before.as_ref() != Some(&now));
    brought_none && is_new && keep_aside(job, &[path.to_owned()], None).await.kept_aside > 0
}

fn digest(job: &Job, path: &Path) -> Option<String> {
    files::digest_of(job.open_own(path).ok()?).ok().map(|(digest, _)| digest)
}

/// Moves what lies in the workspace to where it outlives it.
fn keep(job: &Job, path: &Path) -> std::io::Result<PathBuf> {
    let mut body = Vec::new();
    job.open_own(path)?.read_to_end(&mut body)?;
    let kept = job.folders.states.join("errored.tfstate");
    files::write_private(&kept, &body)?;
    Ok(kept)
}
