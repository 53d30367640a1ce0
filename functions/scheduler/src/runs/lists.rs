//! Which entries of lists change when a run goes from one position to another.

use gantry_domain::run::{Position, Run};
use gantry_store::{
    Expect, Key, StoreError, Write, keys,
    scheduler::{QueueEntry, RunEntry, SlotEntry},
};
use jiff::Timestamp;

/// The list entries that change when a run goes from one position to another. With `is_started` a
/// runner is started for it, and none that is free may take it.
pub(super) fn list_writes(
    before: &Run,
    after: &Run,
    is_started: bool,
    now: Timestamp,
) -> Result<Vec<Write>, StoreError> {
    if before.position == after.position {
        return Ok(Vec::new());
    }
    let mut writes = Vec::with_capacity(2);
    let key = |position, run: &Run| match position {
        Position::Nowhere | Position::Source => None,
        Position::StackQueue => Some(keys::stack_queue(&run.stack, run.number)),
        Position::Waiting => Some(keys::stack_waiting(&run.stack, &run.id)),
        Position::Queue => Some(queue_key(run)),
        Position::Slot => Some(keys::slot(&run.id)),
        Position::Person => Some(keys::waiting(run.created_at, &run.id)),
        Position::Tests => Some(keys::stack_tests(&run.stack, run.number)),
    };
    if let Some(key) = key(before.position, before) {
        writes.push(Write::Delete { key, expect: Expect::Any });
    }
    // A granted slot is a slot while the run still stands in the queue.
    if before.position == Position::Queue && after.position != Position::Slot {
        writes.push(Write::Delete { key: keys::slot(&before.id), expect: Expect::Any });
    }
    if let Some(key) = key(after.position, after) {
        writes.push(match after.position {
            Position::Queue => {
                let line = QueueEntry {
                    run: after.id.clone(),
                    stack: after.stack.clone(),
                    phase: after.phase,
                    attempt: after.attempt,
                    since: Some(now),
                    pool: after.pool.clone(),
                    drift: after.is_drift(),
                };
                Write::put(key, Expect::Any, &line)?
            }
            Position::Slot => {
                let room = SlotEntry {
                    run: after.id.clone(),
                    stack: after.stack.clone(),
                    pool: after.pool.clone(),
                    taken: true,
                    started: if is_started { after.attempt } else { 0 },
                    at: now,
                    drift: after.is_drift(),
                };
                Write::put(key, Expect::Any, &room)?
            }
            _ => Write::put(key, Expect::Any, &RunEntry::from(after))?,
        });
    }
    Ok(writes)
}

/// A run's position in the queue, or in that of its pool.
pub(crate) fn queue_key(run: &Run) -> Key {
    let (class, at, number) = (run.queue_class(), run.created_at, run.number);
    match &run.pool {
        Some(pool) => keys::pool_queued(pool, class, at, number, &run.id),
        None => keys::queued(class, at, number, &run.id),
    }
}
