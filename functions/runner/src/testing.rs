//! The rest of a module's test: apply, then destroy, whatever became of the apply.

use crate::{
    beat,
    failure::Failure,
    job::{Care, Job, Progress},
    phases::{self, hold_plan, read_plan, show},
};
use gantry_domain::{
    plan::{Delta, left_by_destroy},
    protocol::{LeftBehind, ReportKind, StateCommit},
};
use gantry_engine::{Terraform, diagnostics::Diagnostic, files, stop::stop_channel};
use std::sync::Arc;
use tokio::task::spawn_blocking;

/// How OpenTofu ends a destroy that succeeded and has forgotten something.
const FORGOTTEN: &str = "Destroy was successful but left behind forgotten instances";

/// Applies and destroys. Returns what is reported last.
pub(crate) async fn apply_and_destroy(
    job: &mut Job,
    terraform: &Terraform,
    planned: Delta,
) -> Result<ReportKind, Failure> {
    let applied = phases::run_apply(job, terraform, Some(planned)).await;
    let has_begun = job.progress == Progress::Applying;
    let told = match applied {
        Ok(applied) => applied,
        Err(failure) if has_begun || job.stop.asked().is_none() => failure.of_apply(&job.masker),
        stopped => return stopped,
    };
    if !has_begun {
        job.report(told).await?;
        return Ok(ReportKind::Destroyed { left: Vec::new() });
    }
    job.progress = Progress::Destroying;
    let report = job.next_report(told);
    // What was created is destroyed whether or not anybody hears of it.
    let reporter = job.reporter();
    let sent = tokio::spawn(async move {
        let sent = reporter.send(&report, None).await;
        (report, sent)
    });
    // Who asked the test to stop does not want that its resources stay.
    let (stopper, signal) = stop_channel();
    let asked = std::mem::replace(&mut job.stop, signal);
    let _deadline = beat::deadline(stopper, job.claim.apply_timeout, "destroy");
    let destroyed = destroy(job, terraform).await;
    job.stop = asked;
    let (report, sent) = sent.await.map_err(std::io::Error::other)?;
    if sent.is_err() {
        job.reporter().send(&report, None).await?;
    }
    Ok(ReportKind::Destroyed { left: destroyed? })
}

/// Destroys by a plan, which says what it leaves where it is.
async fn destroy(job: &mut Job, terraform: &Terraform) -> Result<Vec<LeftBehind>, Failure> {
    let plan = job.folders.destroy_plan();
    let log = job.log.clone();
    let watch = move |line: &str| hold_plan(&log, line);
    let (ended, reported) =
        job.terraform(&terraform.plan_to_destroy(&plan), Care::Apply, watch).await?;
    if !ended.status.success() {
        // What it could mark, the state has marked.
        job.log.mask_with(&job.masker);
        let fallback = format!("destroy: {}", ended.status);
        return Err(Failure::Terraform { fallback, errors: reported.errors });
    }
    let json = show(job, terraform, &plan).await?;
    // It knows what the apply has made.
    let (json, _change) = read_plan(job, json).await?;
    let masker = Arc::clone(&job.masker);
    let left = spawn_blocking(move || left_by_destroy(&json, &|text| masker.mask(text)))
        .await
        .map_err(std::io::Error::other)?
        .map_err(|error| Failure::other(crate::failure::chain(&error)))?;
    let before = match left.is_empty() {
        true => None,
        false => {
            job.api.state().await.map_err(|e| Failure::api("The state could not be fetched", e))?
        }
    };
    let terraform = crate::root::for_apply(job, terraform)?;
    let (ended, reported) = job.terraform(&terraform.apply(&plan), Care::Apply, |_| ()).await?;
    let errors = reported.errors;
    phases::rescue_states(job).await;
    if let Some(before) = before {
        keep(job, before).await;
    }
    match ended.status.success() || !left.is_empty() && only_forgot(&errors) {
        true => Ok(left),
        false => Err(Failure::Terraform { fallback: format!("destroy: {}", ended.status), errors }),
    }
}

/// All that the tool finds wrong with its destroy is that something was to stay.
pub(crate) fn only_forgot(errors: &[Diagnostic]) -> bool {
    !errors.is_empty() && errors.iter().all(|error| error.summary.starts_with(FORGOTTEN))
}

/// Keeps the last state that had what is left behind: the tool's own has nothing of it any more.
async fn keep(job: &Job, state: axum::body::Bytes) {
    let commit = StateCommit { lock_id: None, digest: files::digest(&state), rescued: true };
    match job.api.put_state(&state, &commit).await {
        Ok(()) => job.log.say("the last state that contains what was left behind was set aside"),
        Err(error) => tracing::error!(%error, "the state before the destroy could not be kept"),
    }
}
