//! Which entries of lists change when a run goes from one place to another.

use gantry_domain::run::{Place, Run};
use gantry_store::{
    Expect, Key, StoreError, Write, keys,
    scheduler::{LineEntry, RoomEntry, RunEntry},
};
use jiff::Timestamp;

/// The list entries that change when a run goes from one place to another.
pub(super) fn place_writes(
    before: &Run,
    after: &Run,
    now: Timestamp,
) -> Result<Vec<Write>, StoreError> {
    if before.place == after.place {
        return Ok(Vec::new());
    }
    let mut writes = Vec::with_capacity(2);
    let key = |place, run: &Run| match place {
        Place::Nowhere | Place::Source => None,
        Place::Queue => Some(keys::stack_queue(&run.stack, run.number)),
        Place::Waiting => Some(keys::stack_waiting(&run.stack, &run.id)),
        Place::Line => Some(line_key(run)),
        Place::Room => Some(keys::room(&run.id)),
        Place::Person => Some(keys::waiting(run.created_at, &run.id)),
        Place::Tests => Some(keys::stack_tests(&run.stack, run.number)),
    };
    if let Some(key) = key(before.place, before) {
        writes.push(Write::Delete { key, expect: Expect::Any });
    }
    // A granted place is an entry of the room while the run still stands in the line.
    if before.place == Place::Line && after.place != Place::Room {
        writes.push(Write::Delete { key: keys::room(&before.id), expect: Expect::Any });
    }
    if let Some(key) = key(after.place, after) {
        writes.push(match after.place {
            Place::Line => {
                let line = LineEntry {
                    run: after.id.clone(),
                    stack: after.stack.clone(),
                    phase: after.phase,
                    attempt: after.attempt,
                    since: Some(now),
                    pool: after.pool.clone(),
                };
                Write::put(key, Expect::Any, &line)?
            }
            Place::Room => {
                let room = RoomEntry {
                    run: after.id.clone(),
                    stack: after.stack.clone(),
                    pool: after.pool.clone(),
                    taken: true,
                    started: 0,
                    at: now,
                };
                Write::put(key, Expect::Any, &room)?
            }
            _ => Write::put(key, Expect::Any, &RunEntry::from(after))?,
        });
    }
    Ok(writes)
}

/// A run's place in the line, or in that of its pool.
pub(crate) fn line_key(run: &Run) -> Key {
    let (class, at, number) = (run.line_class(), run.created_at, run.number);
    match &run.pool {
        Some(pool) => keys::pool_line(pool, class, at, number, &run.id),
        None => keys::line(class, at, number, &run.id),
    }
}
