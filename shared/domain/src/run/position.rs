//! Where a run stands on its way to a runner.

use super::{Run, RunState};
use serde::{Deserialize, Serialize};

/// Where a run stands on its way to a runner. Each position but `Nowhere` is an entry of a list, and
/// the entry changes in the same transaction as the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// It needs no runner now.
    Nowhere,
    /// A tracked run behind another one of its stack.
    #[serde(rename = "queue")]
    StackQueue,
    /// A proposed run whose stack is being applied.
    Waiting,
    /// Its commit's source is being fetched. The queue of fetches is its list.
    Source,
    /// In the queue for a runner, or in the one for a worker of its pool.
    #[serde(rename = "line")]
    Queue,
    /// It has a runner, or is being handed to one.
    #[serde(rename = "room")]
    Slot,
    /// It waits for a person to confirm it.
    Person,
    /// A module's run whose tests are under way.
    Tests,
}

impl Run {
    /// Moves it to the position that its state demands: one that has ended stands nowhere, and one
    /// that was confirmed goes to the queue.
    pub fn settle_position(&mut self) {
        self.position = match self.state {
            state if state.is_final() => Position::Nowhere,
            RunState::Unconfirmed => Position::Person,
            RunState::Confirmed if self.position == Position::Person => Position::Queue,
            _ => self.position,
        };
    }

    /// It waits for a worker of its pool, who takes it whenever there is one.
    pub fn waits_for_worker(&self) -> bool {
        self.pool.is_some()
            && self.handed_out_at.is_some()
            && matches!(self.state, RunState::Preparing | RunState::Confirmed)
    }

    /// It was handed out to a runner that has not claimed it.
    pub fn is_unclaimed(&self) -> bool {
        self.position == Position::Slot && self.runner.is_none()
    }
}
