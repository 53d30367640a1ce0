//! Executes one phase of a run: takes it from the runner API, runs Terraform or OpenTofu, and
//! tells the runner API what happened.
//!
//! It speaks to the runner API alone ([`gantry_domain::protocol`]), and its tokens never reach what
//! it runs. It ends when its phase has ended, or takes [`further`] runs where it may.

mod api;
mod beat;
mod cli_config;
mod config;
mod failure;
pub mod further;
mod job;
mod layers;
mod log;
mod phases;
pub mod poll;
mod prepare;
mod providers;
mod record;
pub mod rescue;
mod root;
mod size;
mod sources;
mod spool;
mod state;
mod task;
mod testing;
mod waiting;
mod warnings;

pub use config::{Arguments, CLAIM_TOKEN, Config, Timings};

use anyhow::Context;
use api::{Api, ApiError};
use failure::Failure;
use further::EndedRun;
use gantry_domain::{masking::Masker, protocol::ReportKind, run::Phase};
use gantry_engine::{files, stop::stop_channel};
use job::{Job, Progress};
use log::{Log, Pump};
use std::{path::PathBuf, sync::Arc};

/// How a runner's work ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The phase was taken by somebody else, or is not wanted any more.
    NothingToDo,
    /// The phase ended, well or not, and this was reported.
    Reported(ReportKind),
    /// The phase was given up meanwhile; there was nobody to report to.
    GivenUp,
}

/// Takes a phase, executes it and reports.
///
/// # Errors
/// When the phase cannot be taken, when its end cannot be reported, or when a state is left on
/// this machine.
pub async fn run(config: Config) -> anyhow::Result<Outcome> {
    Ok(Box::pin(one(config)).await?.0)
}

/// The same, and what it needs to go on if it has ended as it should.
async fn one(config: Config) -> anyhow::Result<(Outcome, Option<EndedRun>)> {
    let timings = config.timings;
    let mut api = Api::new(&config.api, config.claim_token.clone(), timings.patience)?;
    let tells_again = !timings.passing.is_zero();
    let claim = match api.claim(&config.name, config.identity.as_ref(), tells_again).await {
        Ok(claim) => claim,
        Err(ApiError::Gone) => return Ok((Outcome::NothingToDo, None)),
        Err(error) => return Err(error).context("the phase could not be claimed"),
    };
    tracing::info!(run.id = %claim.run, phase = %claim.phase, stack = %claim.stack, "claimed a \
                                                                                     phase");
    let (stopper, _signal) = stop_channel();
    let state_password = hex::encode(rand::random::<[u8; 32]>());
    let secrets = claim.variables.iter().filter(|v| v.secret).map(|v| v.value.as_str());
    let secrets = secrets.chain([claim.run_token.as_str(), state_password.as_str()]);
    let secrets = secrets.chain(claim.registry.as_ref().map(|registry| registry.token.as_str()));
    let installations = cli_config::installations(&config);
    let in_config = installations.as_deref().map(gantry_engine::cli_config::secrets);
    let in_config = in_config.unwrap_or_default();
    let masker = Arc::new(Masker::new(secrets.chain(in_config.iter().map(String::as_str))));
    let _beats = beat::start(api.clone(), stopper.clone(), timings.heartbeat);
    let _signals = beat::signals(stopper.clone())?;
    let folder = config.work.join(claim.run.as_str());
    let (log, pump) = Log::open(api.clone(), Arc::clone(&masker), timings.log, folder);

    let mut job = Job::new(config, api, claim, log, masker, state_password, stopper);
    job.installations = installations;
    let result = match job.make_folders().await {
        Ok(()) => execute(&mut job).await,
        Err(failure) => Err(failure),
    };
    if let Err(error) = job.processes.end().await {
        tracing::error!(%error, "background processes of the run keep running");
        job.source = None;
    }
    finish(job, pump, result).await
}

async fn execute(job: &mut Job) -> Result<ReportKind, Failure> {
    let _told_again = job.tell_again();
    let deadline = |what| beat::deadline(job.stopper.clone(), job.claim.timeout, what);
    match job.claim.phase {
        Phase::Plan => {
            let deadline = deadline("plan");
            phases::plan(job, deadline).await
        }
        Phase::Apply => {
            let _deadline = deadline("apply");
            let strength = job.check_confinement().await?;
            job.keep_to(strength);
            phases::apply(job).await
        }
    }
}

async fn finish(
    mut job: Job,
    pump: Pump,
    result: Result<ReportKind, Failure>,
) -> anyhow::Result<(Outcome, Option<EndedRun>)> {
    let stop = job.stop.asked();
    if let (Err(failure), Some(reason)) = (&result, &stop) {
        tracing::info!(failure = failure.for_log(&job.masker), "the phase was stopped");
        job.log.say(&format!("stopped: {}", reason.text));
    } else if let Err(Failure::Other(text)) = &result {
        job.log.say(text);
    }
    if let (Progress::Planning, Some(state)) = (job.progress, &job.state) {
        state.release().await;
    }
    let tail = pump.finish().await;
    let report = match result {
        Ok(report) => report,
        Err(failure) => failure.report(job.progress, stop, &job.masker, tail),
    };
    let outcome = match job.report_end(report.clone()).await {
        Ok(()) => {
            let ended = EndedRun { api: job.api.clone(), last_report: job.last_report() };
            Ok((Outcome::Reported(report), Some(ended)))
        }
        Err(Failure::Stopped(_)) => Ok((Outcome::GivenUp, None)),
        Err(failure) => {
            Err(anyhow::anyhow!("the result was not reported: {}", failure.for_log(&job.masker)))
        }
    };
    clean_up(job, outcome.is_ok())?;
    outcome
}

/// Removes the run's files, but no state that is only here, and no end that nobody was told.
fn clean_up(mut job: Job, is_told: bool) -> anyhow::Result<()> {
    // What is removed is the run's own, not what it was shown.
    drop(job.layer.take());
    let folders = &job.folders;
    let left: Vec<PathBuf> = std::fs::read_dir(&folders.states)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    if left.is_empty() && is_told {
        if let Some((sources, unpacked)) = &job.source
            && let Err(error) = sources.give_back(&folders.run, &folders.workspace(), unpacked)
        {
            tracing::warn!(%error, "the source was not kept");
        }
        if let Some((held, _)) = job.held {
            held.remove()?;
        }
        return Ok(());
    }
    // Whoever looks after the machine tries to deliver them again.
    files::remove_folder(&folders.job)?;
    layers::clear(&folders.run)?;
    if left.is_empty() {
        return Ok(());
    }
    anyhow::bail!("states remain in {}: {} files", folders.states.display(), left.len())
}
