//! The runner API against dynoxide, a folder, and queues in memory.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod admin;
mod claim;
mod further;
mod locks;
mod pages;
mod progress;
mod states;
mod support;
mod transfer;
mod wall;
