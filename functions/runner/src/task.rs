//! A task: one shell command in the stack's initialised workspace, with its credentials and its state,
//! in place of a plan and its apply.

use crate::{
    beat,
    failure::Failure,
    job::{Care, Job, Progress},
    phases, root,
};
use gantry_domain::{plan::Delta, protocol::ReportKind};
use gantry_engine::Terraform;

/// Executes the command. Returns what is reported last.
pub(crate) async fn execute(
    job: &mut Job,
    terraform: &Terraform,
    command: &str,
    deadline: beat::Guard,
) -> Result<ReportKind, Failure> {
    root::check_backend(job, terraform)?;
    // There is nothing to confirm: from here on the run is one that applies.
    let nothing = ReportKind::Planned {
        delta: Delta::default(),
        plan_digest: None,
        partial: false,
        failed_checks: 0,
        tolerated: 0,
    };
    job.report(nothing).await?;
    job.enter(Progress::BeforeApply)?;
    drop(deadline);
    let _deadline = beat::deadline(job.stopper.clone(), job.claim.apply_timeout, "task");
    phases::begin_applying(job).await?;
    job.log.say(&format!("task: {command}"));
    let (ended, _) = job.execute(&terraform.task(command), Care::Task, |_: &str| {}).await?;
    phases::rescue_states(job).await;
    if let Err(error) = job.hide_marked_of_state().await {
        tracing::error!(%error, "what the state marks as sensitive is unknown");
    }
    match (ended.status.success(), ended.status.code()) {
        (true, _) => Ok(ReportKind::Applied { delta: Delta::default() }),
        (false, Some(code)) => {
            Err(Failure::other(format!("The command ended with exit code {code}")))
        }
        (false, None) => Err(Failure::other(format!("The command was ended: {}", ended.status))),
    }
}
