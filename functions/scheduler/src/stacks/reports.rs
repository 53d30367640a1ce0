//! What runners say.

use super::Stacks;
use gantry_domain::{
    RunId,
    protocol::{Report, ReportKind},
    run::RunState,
};
use gantry_queue::Failure;
use jiff::Timestamp;

impl Stacks<'_> {
    /// Takes a report of the present attempt, once. Reports of a superseded attempt say nothing.
    pub(crate) async fn on_report(
        &self,
        run: &RunId,
        attempt: u32,
        report: Report,
        sent_at: Option<Timestamp>,
    ) -> Result<(), Failure> {
        let Some(mut loaded) = self.runs.load(run).await? else { return Ok(()) };
        if loaded.run().attempt != attempt {
            return Ok(());
        }
        if let (0, ReportKind::Claimed { runner, tells_again }) = (report.sequence, &report.what) {
            return match loaded.run().state {
                RunState::Preparing | RunState::Confirmed => {
                    self.take_claim(loaded, runner, *tells_again).await
                }
                _ => Ok(()),
            };
        }
        if report.sequence <= loaded.run().last_report {
            return Ok(());
        }
        if matches!(loaded.run().state, RunState::Preparing | RunState::Confirmed) {
            // The claim's own message is late; what the runner says proves the claim.
            self.take_claim(loaded, "a runner", false).await?;
            match self.runs.load(run).await? {
                Some(again) if again.run().state.is_executing() => loaded = again,
                _ => return Ok(()),
            }
        }
        let mut run = loaded.run().clone();
        let now = self.deps.now();
        if !run.take_report(report, sent_at.unwrap_or(now), now)? {
            return Ok(());
        }
        if loaded.run().state != run.state {
            self.ask_rules(&mut loaded, &mut run).await?;
        }
        self.runs.commit(loaded, run, Vec::new()).await
    }
}
