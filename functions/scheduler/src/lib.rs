//! The scheduler: the only writer of runs. It decides what runs, when, and what comes next.
//!
//! Four rooms, each holding the one below it:
//!
//! | part | moved by messages of the group | what it does |
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
mod notifying;
mod nudges;
mod projects;
mod remembered;
mod runs;
mod slots;
mod stacks;
mod sweep;
mod trouble;

pub use builds::{Starter, from_event};
pub use deps::{Deps, Limits};
pub use heard::RunnerApi;

use anyhow::anyhow;
use gantry_domain::comment::Place;
use gantry_queue::{
    Context, Failure, FeedbackMessage, Handler, Message, SlotsMessage, StackMessage,
};
use jiff::Timestamp;
use projects::Projects;
use remembered::Remembered;
use runs::{Runs, Shared};
use slots::Slots;
use stacks::Stacks;
use std::sync::Arc;
use sweep::Sweep;
use trouble::REFUSED;

/// Handles the messages of `events.fifo`.
#[derive(Clone)]
pub struct Scheduler {
    deps: Deps,
    remembered: Arc<Remembered>,
    shared: Arc<Shared>,
}

impl Scheduler {
    /// A scheduler.
    pub fn new(deps: Deps) -> Self {
        Self { deps, remembered: Arc::default(), shared: Arc::default() }
    }
}

#[async_trait::async_trait]
impl Handler for Scheduler {
    async fn handle(&self, context: Context, message: Message) -> Result<(), Failure> {
        let sender = self.deps.sender.following(context.hops);
        // Everything that is sent now counts as following this message.
        let deps = Deps { sender, ..self.deps.clone() };
        match handle(&deps, &self.remembered, &self.shared, message, context.sent_at).await {
            Err(failure) if deps.waits_for_allowance(&failure, context.sent_at) => {
                Err(Failure { retry_after: Some(REFUSED), ..failure })
            }
            handled => handled,
        }
    }
}

async fn handle(
    deps: &Deps,
    remembered: &Remembered,
    shared: &Shared,
    message: Message,
    sent_at: Option<Timestamp>,
) -> Result<(), Failure> {
    let slots = Slots { deps };
    let runs = Runs { deps, slots, shared };
    let stacks = Stacks { deps, runs };
    let projects = Projects { deps, stacks, remembered };
    match message {
        Message::Project(message) => Box::pin(projects.handle(message)).await,
        Message::Stack(message) => {
            let comment = asked_in(&message);
            Box::pin(stacks.handle(message, sent_at)).await?;
            let Some(Place { project, iid, note }) = comment else { return Ok(()) };
            // What became of it is told where it was asked.
            deps.raise(FeedbackMessage::Answer { project, iid, note, want: 0 }).await
        }
        Message::Slots(SlotsMessage::Dispatch { .. }) => slots.on_dispatch().await,
        Message::Slots(SlotsMessage::Sweep { .. }) => {
            Box::pin(Sweep { deps, slots, runs, projects }.on_sweep()).await
        }
        other => {
            Err(anyhow!("a message of the kind {} is not the scheduler's", other.kind()).into())
        }
    }
}

/// The comment that asks a stack for something, if one does.
fn asked_in(message: &StackMessage) -> Option<Place> {
    match message {
        StackMessage::Command { request, .. } => Place::of_request(request),
        _ => None,
    }
}
