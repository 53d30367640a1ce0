//! Runs: reading them, and moving them. Every change of a run, of its position and of its stack's head
//! is one transaction, followed by the effects that the transaction recorded.

mod effects;
mod lists;
mod shared;
mod sources;
mod write;

pub(crate) use lists::queue_key;
pub(crate) use shared::Shared;
pub(crate) use write::written;

use crate::{deps::Deps, slots::Slots};
use gantry_domain::{
    RunId, StackId,
    run::{Run, recheck::timeouts_unread},
    stack::{Stack, StackHead, Timeouts},
};
use gantry_queue::Failure;
use gantry_store::{Expect, StoreError, Stored, keys};
use jiff::Timestamp;

/// The runs.
#[derive(Clone, Copy)]
pub(crate) struct Runs<'a> {
    pub(crate) deps: &'a Deps,
    pub(crate) slots: Slots<'a>,
    pub(crate) shared: &'a Shared,
}

/// A stack's head as it was read; a stack that never ran has none.
pub(crate) struct Head {
    pub(crate) expect: Expect,
    pub(crate) value: StackHead,
}

impl Head {
    pub(crate) fn of(found: Option<Stored<StackHead>>) -> Self {
        match found {
            Some(stored) => Self { expect: stored.unchanged(), value: stored.value },
            None => Self { expect: Expect::Absent, value: StackHead::default() },
        }
    }
}

/// A run with its stack's head: what a transition is based on.
pub(crate) struct Loaded {
    pub(crate) stored: Stored<Run>,
    /// None for a preview: only whether it gets a runner depends on the head, and who decides that
    /// reads it.
    pub(crate) head: Option<Head>,
    /// The last sign of life of the run's runner, where that was looked for.
    pub(crate) alive_at: Option<Timestamp>,
    /// The time limits of its stack, where they were read.
    pub(crate) timeouts: Option<Timeouts>,
    /// Who moves it to a slot starts a runner for it, whoever is free meanwhile.
    pub(crate) is_started: bool,
}

impl Loaded {
    pub(crate) fn run(&self) -> &Run {
        &self.stored.value
    }
}

impl Runs<'_> {
    pub(crate) async fn head(&self, stack: &StackId) -> Result<Head, StoreError> {
        let found = self.deps.store.get::<StackHead>(&keys::stack_head(stack)).await?;
        Ok(Head::of(found))
    }

    /// Loads a run, having done what was left to do for its last transition.
    pub(crate) async fn load(&self, run: &RunId) -> Result<Option<Loaded>, Failure> {
        let mut stored = match self.deps.store.get::<Run>(&keys::run(run)).await? {
            Some(stored) => stored,
            None => return Ok(None),
        };
        if !stored.value.outstanding.is_empty() {
            self.perform(stored, false).await?;
            stored = match self.deps.store.get::<Run>(&keys::run(run)).await? {
                Some(stored) => stored,
                None => return Ok(None),
            };
        }
        Ok(Some(self.with_head(stored).await?))
    }

    /// Reads a run as it is, also when something is still outstanding.
    pub(crate) async fn peek(&self, run: &RunId) -> Result<Option<Loaded>, Failure> {
        match self.deps.store.get::<Run>(&keys::run(run)).await? {
            Some(stored) => Ok(Some(self.with_head(stored).await?)),
            None => Ok(None),
        }
    }

    async fn with_head(&self, stored: Stored<Run>) -> Result<Loaded, StoreError> {
        let head = match stored.value.only_plans() {
            true => None,
            false => Some(self.head(&stored.value.stack).await?),
        };
        Ok(Loaded { stored, head, alive_at: None, timeouts: None, is_started: false })
    }

    /// The time limits that say when the run must be looked at again.
    async fn timeouts(&self, run: &Run) -> Result<Timeouts, StoreError> {
        if let Some(unread) = timeouts_unread(run, self.deps.now()) {
            return Ok(unread);
        }
        let stack = self.deps.store.stack(&run.stack).await?;
        Ok(stack.map(|s: Stored<Stack>| s.value.settings.timeouts).unwrap_or_default())
    }
}
