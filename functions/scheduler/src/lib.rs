//! The scheduler: the only writer of runs. It decides what runs, when, and what comes next.
//!
//! Four rooms, each holding the one below it:
//!
//! | room | moved by messages of the group | what it does |
//! |---|---|---|
//! | [`projects`] | `proj:` | reads GitLab, decides, and sends each touched stack a trigger |
//! | [`stacks`] | `stack:` | makes a stack's runs and moves them, one at a time |
//! | [`runs`] | | reads and writes runs: a move, its lists and its head in one transaction |
//! | [`slots`] | `room` | gives runners to runs |
//!
//! The [`sweep`] finds what no message brought forward.

mod builds;
mod deps;
mod heard;
mod nudges;
mod projects;
mod runs;
mod slots;
mod stacks;
mod sweep;
mod trouble;

pub use builds::{Starter, from_event};
pub use deps::{Deps, Limits};
pub use heard::RunnerApi;

use gantry_queue::{Context, Failure, Handler, Message};
use projects::Projects;
use runs::Runs;
use slots::Slots;
use stacks::Stacks;
use sweep::Sweep;
use trouble::REFUSED;

/// Handles the messages of `events.fifo`.
#[derive(Clone)]
pub struct Scheduler {
    deps: Deps,
}

impl Scheduler {
    /// A scheduler.
    pub fn new(deps: Deps) -> Self {
        Self { deps }
    }
}

#[async_trait::async_trait]
impl Handler for Scheduler {
    async fn handle(&self, context: Context, message: Message) -> Result<(), Failure> {
        let sender = self.deps.sender.following(context.hops);
        // Everything that is sent now counts as following this message.
        let deps = Deps { sender, ..self.deps.clone() };
        match handle(&deps, message).await {
            Err(failure) if deps.waits_for_allowance(&failure, context.sent_at) => {
                Err(Failure { retry_after: Some(REFUSED), ..failure })
            }
            handled => handled,
        }
    }
}

async fn handle(deps: &Deps, message: Message) -> Result<(), Failure> {
    let slots = Slots { deps };
    let runs = Runs { deps, slots };
    let stacks = Stacks { deps, runs };
    let projects = Projects { deps, stacks };
    match message {
        Message::Hook { event, received_at, source, hook } => {
            projects.on_hook(event, received_at, source, hook).await
        }
        Message::Compare { project, .. } => projects.on_compare(project).await,
        Message::StackChanged { project, stack, .. } => {
            projects.on_stack_changed(project, &stack).await
        }
        Message::Trigger { stack, event, trigger } => {
            stacks.on_trigger(&stack, Some(&event), trigger).await
        }
        Message::Unwant { run, want, because, .. } => stacks.on_unwant(&run, &want, &because).await,
        Message::Command { stack, request, actor, command } => {
            stacks.on_command(&stack, &request, &actor, command).await
        }
        Message::Report { run, attempt, report, .. } => {
            stacks.on_report(&run, attempt, report).await
        }
        Message::NotStarted { run, attempt, why, words, .. } => {
            stacks.on_not_started(&run, attempt, why, &words).await
        }
        Message::Packaged { run, packed, .. } => stacks.on_packaged(&run, packed).await,
        Message::Fetched { run, is_there, .. } => runs.on_fetched(&run, is_there).await,
        Message::Grant { run, .. } => stacks.on_grant(&run).await,
        Message::RunDue { run, .. } => stacks.on_run_due(&run).await,
        Message::StackDue { stack, .. } => stacks.on_stack_due(&stack).await,
        Message::Dispatch { .. } => slots.on_dispatch().await,
        Message::Sweep { .. } => Sweep { deps, projects }.on_sweep().await,
        other => {
            tracing::error!(kind = other.kind(), "a message that is not the scheduler's");
            Ok(())
        }
    }
}
