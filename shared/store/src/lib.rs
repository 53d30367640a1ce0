//! The one DynamoDB table: items, keys, conditional writes.
//!
//! [`table`] knows DynamoDB and nothing of Gantry; [`keys`] says where everything lies and who may
//! write it; the other modules are the records, one module a writer. Reads that decide are
//! consistent; the only index is asked which items *might* be due, never what is true.

pub mod config;
mod failures;
pub mod feedback;
pub mod health;
pub mod keys;
pub mod notifications;
pub mod runner;
pub mod scheduler;
pub mod table;

pub use table::{Expect, Key, Outcome, Page, Store, StoreError, Stored, Write};
