//! What people start that nobody pushed: looks for drift, and tasks.

use super::Order;
use crate::{
    runs::written,
    stacks::{
        Stacks,
        unpushed::{New, Ready, Wish},
    },
};
use gantry_domain::{
    RunId,
    run::{PlanMode, Position, Run},
};
use gantry_queue::Failure;

/// Why the run is not started again from itself, where it is not: who may start it has to say so anew.
pub(super) fn not_retried(run: &Run) -> Option<&'static str> {
    if run.task().is_some() {
        return Some("A task is not repeated from here. Start it again from its stack.");
    }
    (run.options.mode == PlanMode::Destroy).then_some(
        "A destroy is not repeated from here. Start it again from its stack, where you type its \
         slug.",
    )
}

impl Stacks<'_> {
    /// Looks for drift now. Where that is under way, the run is the one that does.
    pub(super) async fn look_for_drift(&self, order: &Order<'_>) -> Result<(), Failure> {
        let Some(stack) = self.accepts_commands(order).await? else { return Ok(()) };
        let wish = Wish {
            key: format!("drift#{}", order.request),
            reason: format!("{} looks for drift", order.actor),
            by: Some(order.actor),
        };
        let ready = Box::pin(self.look(&stack, wish)).await?;
        self.make(order, ready).await
    }

    /// Starts a task. Where rules ask for people before a deploy, only an admin's key can: nobody
    /// else is asked for an approval that could be given.
    pub(super) async fn start_task(
        &self,
        order: &Order<'_>,
        command: String,
    ) -> Result<(), Failure> {
        let Some(stack) = self.accepts_commands(order).await? else { return Ok(()) };
        if order.person.is_some()
            && let Some(why) = self.holds_tasks(&stack).await?
        {
            return self.refuse(order, why, None).await;
        }
        let wish = Wish {
            key: format!("task#{}", order.request),
            reason: format!("started by {}", order.actor),
            by: Some(order.actor),
        };
        let ready = Box::pin(self.task(&stack, wish, command, None)).await?;
        self.make(order, ready).await
    }

    /// Makes the run, and stores the outcome with it.
    async fn make(&self, order: &Order<'_>, ready: Ready) -> Result<(), Failure> {
        let New { head, mut run, mut writes } = match ready {
            Ready::New(new) => *new,
            Ready::UnderWay(run) => return self.already(order, &run).await,
            Ready::No(why) => return self.refuse(order, why, None).await,
        };
        run.started_by = order.person.map(|person| person.id);
        let message = match run.position {
            Position::StackQueue => self.queued_behind(&head).await?,
            Position::Waiting => "Waiting for the stack's apply to end".to_owned(),
            _ => "Queued".to_owned(),
        };
        writes.push(self.outcome(order, true, message, Some(&run.id))?);
        let slug = run.slug.clone();
        written(Box::pin(self.runs.create(head, run, writes)).await?, &slug)
    }

    /// What was asked for is under way.
    async fn already(&self, order: &Order<'_>, run: &RunId) -> Result<(), Failure> {
        let said = self.outcome(order, true, "It is being looked at already", Some(run))?;
        let _said_before_or_now = self.deps.store.write(vec![said]).await?;
        Ok(())
    }
}
