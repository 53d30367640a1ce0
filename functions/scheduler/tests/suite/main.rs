//! The tests of the scheduler's own parts, as one program; what it does as a whole is told by the
//! stories.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod looks;
mod queue;
mod starts;
mod sweep;
