//! The two phases, step by step. A test is planned, applied and destroyed in one.

use crate::{
    beat, cli_config,
    failure::Failure,
    job::{Care, Job, Progress},
    providers, rescue, state,
};
use gantry_domain::{
    plan::{Change, Delta, Limits},
    protocol::{ReportKind, StateDoubt},
    run::RunType,
};
use gantry_engine::{
    Terraform,
    diagnostics::applied_counts,
    files, process,
    stop::stop_channel,
    terraform::EXIT_CHANGED,
    workspace::{self, Packed},
};
use std::{
    fs::File,
    io::Read,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::task::spawn_blocking;

/// The JSON of larger plans is not read.
const LARGEST_PLAN_JSON: u64 = 512 << 20;

/// Init and plan; with autodeploy the apply too. Returns what is reported last.
pub(crate) async fn plan(job: &mut Job, deadline: beat::Guard) -> Result<ReportKind, Failure> {
    let hooks = job.claim.hooks.clone();
    fetch_source(job).await?;
    let mut terraform = job.make_terraform().await?;

    job.hooks("before_init", &hooks.before_init, &terraform).await?;
    cli_config::settle(job, &mut terraform).await?;
    providers::init(job, &terraform, false).await?;
    job.hooks("after_init", &hooks.after_init, &terraform).await?;

    job.report(ReportKind::Planning).await?;
    job.hooks("before_plan", &hooks.before_plan, &terraform).await?;
    let tracked = job.claim.run_type == RunType::Tracked;
    let is_test = job.claim.run_type == RunType::Test;
    let spec = terraform.plan(&job.folders.plan(), tracked || is_test);
    let exit = job.terraform_or_fail("plan", &spec, &[0, EXIT_CHANGED], |_| ()).await?;
    let change = read_change(job, &terraform).await?;
    job.hooks("after_plan", &hooks.after_plan, &terraform).await?;

    let api = job.api.clone();
    job.or_stop(async {
        api.put_change(&change).await.map_err(|e| Failure::api("The change was not taken", e))
    })
    .await?;
    // The counts decide, here and for who is told of them, so that both see the same run.
    let clean = change.delta.is_empty();
    if clean && exit == EXIT_CHANGED && !is_test {
        job.log.say("Terraform has something to do that is no change: it is not applied");
    }
    // Nobody applies a proposed plan, and a plan file holds secrets: it stays here.
    let packed = match tracked && !clean {
        true => Some(save_plan(job).await?),
        false => None,
    };
    let planned = ReportKind::Planned {
        delta: change.delta,
        plan_digest: packed.as_ref().map(|packed| packed.digest.clone()),
    };
    if !(is_test || packed.is_some() && job.claim.autodeploy) {
        return Ok(planned);
    }

    job.report(planned).await?;
    job.enter(Progress::BeforeApply)?;
    drop(deadline);
    let _deadline = beat::deadline(job.stopper.clone(), job.claim.apply_timeout, "apply");
    if is_test {
        return apply_and_destroy(job, &terraform, change.delta).await;
    }
    run_apply(job, &terraform, change.delta).await
}

/// The rest of a test. Whatever the apply made is destroyed, however it ended.
async fn apply_and_destroy(
    job: &mut Job,
    terraform: &Terraform,
    planned: Delta,
) -> Result<ReportKind, Failure> {
    let applied = run_apply(job, terraform, planned).await;
    if job.progress != Progress::Applying {
        return applied;
    }
    let told = match applied {
        Ok(applied) => applied,
        Err(failure) => failure.of_apply(&job.masker),
    };
    job.report(told).await?;
    job.enter(Progress::Destroying)?;
    // Who asked the test to stop does not want that its resources stay.
    let (stopper, signal) = stop_channel();
    let asked = std::mem::replace(&mut job.stop, signal);
    let _deadline = beat::deadline(stopper, job.claim.apply_timeout, "destroy");
    let destroyed = job.terraform(&terraform.destroy(), Care::Apply, |_| ()).await;
    job.stop = asked;
    rescue_states(job).await;
    let (ended, errors) = destroyed?;
    match ended.status.success() {
        true => Ok(ReportKind::Destroyed),
        false => Err(Failure::Terraform { fallback: format!("destroy: {}", ended.status), errors }),
    }
}

/// The apply of a saved plan. Returns what is reported last.
pub(crate) async fn apply(job: &mut Job) -> Result<ReportKind, Failure> {
    if job.claim.run_type != RunType::Tracked {
        return Err(Failure::other(format!("a {} run is never applied", job.claim.run_type)));
    }
    fetch_plan(job).await?;
    let mut terraform = job.make_terraform().await?;
    cli_config::put_back(job, &mut terraform).await?;
    providers::init(job, &terraform, true).await?;
    run_apply(job, &terraform, Delta::default()).await
}

async fn fetch_source(job: &mut Job) -> Result<(), Failure> {
    let (archive, into) = (job.folders.archive(), job.folders.workspace());
    let (api, limits) = (job.api.clone(), job.config.limits);
    let commit = job.claim.commit.clone();
    job.log.say(&format!("the source of {}", commit.short()));
    job.or_stop(async {
        api.source(&archive, limits.bytes)
            .await
            .map_err(|e| Failure::api("The source cannot be had", e))
    })
    .await?;
    let left_out = spawn_blocking(move || {
        let left_out = workspace::unpack_source(File::open(&archive)?, &into, limits)?;
        std::fs::remove_file(archive)?;
        Ok::<_, Failure>(left_out)
    })
    .await
    .map_err(std::io::Error::other)??;
    for link in left_out {
        job.log.say(&format!("left out, because it leads outside of the source: {link}"));
    }
    Ok(())
}

async fn fetch_plan(job: &mut Job) -> Result<(), Failure> {
    let Some(digest) = job.claim.plan_digest.clone() else {
        return Err(Failure::other("the run has no saved plan"));
    };
    let (archive, into) = (job.folders.archive(), job.folders.job.clone());
    let (api, limits) = (job.api.clone(), job.config.limits);
    job.log.say(&format!("the plan {}", digest.get(..12).unwrap_or(&digest)));
    job.or_stop(async {
        api.plan(&archive, limits.bytes)
            .await
            .map_err(|e| Failure::api("The saved plan cannot be had", e))
    })
    .await?;
    spawn_blocking(move || {
        workspace::unpack_plan(&archive, &digest, &into, limits)?;
        std::fs::remove_file(archive)?;
        Ok(())
    })
    .await
    .map_err(std::io::Error::other)?
}

async fn read_change(job: &mut Job, terraform: &Terraform) -> Result<Change, Failure> {
    let path = job.folders.run.join("plan.json");
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
    // Open, and without a name: nobody else reads a plan that is not masked yet.
    std::fs::remove_file(&path)?;
    let spec = terraform.show(&job.folders.plan());
    let on_stop = job.on_stop(Care::Plan);
    let out = file.try_clone()?;
    let ended = process::run_into(&spec, out, &job.log.sink(), &mut job.stop, on_stop).await?;
    job.go_on()?;
    if !ended.status.success() {
        return Err(Failure::other(format!("the plan cannot be shown: {}", ended.status)));
    }
    let masker = Arc::clone(&job.masker);
    spawn_blocking(move || {
        let mut file = file;
        std::io::Seek::rewind(&mut file)?;
        if file.metadata()?.len() > LARGEST_PLAN_JSON {
            return Err(Failure::other("the plan is too large to be read"));
        }
        let mut json = Vec::new();
        file.read_to_end(&mut json)?;
        Change::from_plan_bytes(&json, Limits::default(), &masker)
            .map_err(|error| Failure::other(crate::failure::chain(&error)))
    })
    .await
    .map_err(std::io::Error::other)?
}

async fn save_plan(job: &mut Job) -> Result<Packed, Failure> {
    let (from, archive) = (job.folders.job.clone(), job.folders.archive());
    let limits = job.config.limits;
    let to = archive.clone();
    let packed = spawn_blocking(move || workspace::pack_plan(&from, &to, limits))
        .await
        .map_err(std::io::Error::other)??;
    let (api, kept) = (job.api.clone(), packed.clone());
    job.or_stop(async {
        api.put_plan(&archive, &kept.digest, kept.size)
            .await
            .map_err(|e| Failure::api("The plan was not taken", e))
    })
    .await?;
    std::fs::remove_file(job.folders.archive())?;
    Ok(packed)
}

/// From here on nothing is ended by force.
async fn run_apply(
    job: &mut Job,
    terraform: &Terraform,
    planned: Delta,
) -> Result<ReportKind, Failure> {
    let hooks = job.claim.hooks.clone();
    job.hooks("before_apply", &hooks.before_apply, terraform).await?;
    // The last moment in which a wish to stop costs nothing.
    beat::once(&job.api, &job.stopper).await;
    job.go_on()?;

    job.enter(Progress::Applying)?;
    let counts = Arc::new(Mutex::new(None));
    let heard = Arc::clone(&counts);
    let watch = move |line: &str| {
        if let Some(delta) = applied_counts(line) {
            *heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(delta);
        }
    };
    let spec = terraform.apply(&job.folders.plan());
    let (ended, errors) = job.terraform(&spec, Care::Apply, watch).await?;
    rescue_states(job).await;
    if !ended.status.success() {
        return Err(Failure::Terraform { fallback: format!("apply: {}", ended.status), errors });
    }
    let counted = counts.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or(planned);
    let delta = Delta { moved: planned.moved, outputs: planned.outputs, ..counted };
    // What is applied is applied, also when the wish to stop came too late for it.
    if let Err(Failure::Other(text)) = job.hooks("after_apply", &hooks.after_apply, terraform).await
    {
        return Err(Failure::other(format!("Applied ({}), but: {text}", delta.done())));
    }
    Ok(ReportKind::Applied { delta })
}

/// Leaves with the runner API what it has not taken, and notes what a person must look at.
async fn rescue_states(job: &mut Job) {
    if job.state.is_none() {
        return;
    }
    // What is only here is worth waiting for: nobody else can bring it.
    let api = job.api.with_patience(job.config.timings.report_patience);
    let rescue =
        state::rescue(&api, &rescue::left(&job.folders.run, &job.claim.project_root)).await;
    if rescue.kept_aside > 0 {
        job.doubt = Some(StateDoubt::KeptAside);
        job.log.say("the state could not be made current and was kept aside: a person decides");
    }
    if rescue.left.is_empty()
        && let Err(error) = files::make_fresh_folder(&job.folders.states, 0o700)
    {
        tracing::error!(%error, "states that the runner API has are still here");
    }
    for path in rescue.left {
        job.doubt = Some(StateDoubt::NotDelivered);
        job.log.say(&format!("a state is still on the runner's machine: {}", path.display()));
        if path.starts_with(&job.folders.job)
            && let Err(error) = keep(&path, &job.folders.states)
        {
            tracing::error!(%error, path = %path.display(), "a state could not be kept");
        }
    }
}

/// Moves what lies in the workspace to where it outlives it.
fn keep(path: &std::path::Path, states: &std::path::Path) -> std::io::Result<()> {
    let mut body = Vec::new();
    files::open_regular(path)?.read_to_end(&mut body)?;
    files::write_private(&states.join("errored.tfstate"), &body)
}
