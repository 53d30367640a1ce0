//! Projects: what GitLab says of them is looked up, decided, and handed to their stacks.

mod comments;
mod comparing;
mod decide;
mod events;
mod facts;
mod hooks;
mod paths;
mod turns;

use crate::{deps::Deps, remembered::Remembered, stacks::Stacks};
use gantry_domain::{
    EventId, ProjectId, event::EventSource, integration::Integration, stack::Stack,
};
use gantry_queue::{Failure, ProjectMessage};
use gantry_store::Stored;
use jiff::Timestamp;

/// An event being decided.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) id: EventId,
    pub(crate) source: EventSource,
    pub(crate) project: ProjectId,
    pub(crate) received_at: Timestamp,
    pub(crate) what: String,
}

/// How the event was dealt with as a whole, in words.
pub(crate) enum Dealt {
    /// Everything was decided.
    Done(String),
    /// GitLab is not ready; look again soon.
    Later(String),
}

/// The projects.
#[derive(Clone, Copy)]
pub(crate) struct Projects<'a> {
    pub(crate) deps: &'a Deps,
    pub(crate) stacks: Stacks<'a>,
    pub(crate) remembered: &'a Remembered,
}

impl Projects<'_> {
    pub(crate) async fn handle(&self, message: ProjectMessage) -> Result<(), Failure> {
        match message {
            ProjectMessage::Hook { event, received_at, source, hook } => {
                self.on_hook(event, received_at, source, hook).await
            }
            ProjectMessage::Compare { project, .. } => self.on_compare(project).await,
            ProjectMessage::StackChanged { project, stack, .. } => {
                self.on_stack_changed(project, &stack).await
            }
        }
    }

    /// The project's stacks that may run: not deleted, of the GitLab server that is linked.
    async fn stacks_of(&self, project: ProjectId) -> Result<Vec<Stack>, Failure> {
        match self.linked().await? {
            Some(integration) => self.stacks_at(&integration.value, project).await,
            None => Ok(Vec::new()),
        }
    }

    /// The GitLab server, if it is linked.
    async fn linked(&self) -> Result<Option<Stored<Integration>>, Failure> {
        let integration = self.deps.store.integration().await?;
        Ok(integration.filter(|found| found.value.linked))
    }

    async fn stacks_at(
        &self,
        integration: &Integration,
        project: ProjectId,
    ) -> Result<Vec<Stack>, Failure> {
        let mut stacks = self.deps.store.stacks_of_project(project).await?;
        stacks.retain(|s| s.generation == integration.generation);
        stacks.sort_by(|a, b| a.slug.cmp(&b.slug));
        Ok(stacks)
    }
}
