//! What Gantry knows without asking anybody: words, rules and texts.
//!
//! This crate is pure. It does no IO, knows no async runtime, no AWS, no HTTP and no clock
//! (`now` is an argument), and cannot fail except by refusing what it was given.
//! Everything else in the workspace fetches facts, asks this crate what they mean, and carries
//! the answer out.

mod access_level;
pub mod approval;
pub mod code;
pub mod comment;
mod commit;
pub mod comparing;
pub mod decision;
pub mod drift;
pub mod event;
pub mod feedback;
pub mod ids;
pub mod integration;
pub mod masking;
pub mod module;
mod outdated;
pub mod plan;
pub mod protocol;
pub mod repository;
pub mod rights;
pub mod root;
pub mod run;
pub mod schedule;
pub mod source;
pub mod stack;
pub mod state;
pub mod text;
pub mod timer;

pub use access_level::AccessLevel;
pub use commit::CommitLine;
pub use ids::*;
pub use outdated::outdated;
pub use repository::{GitUrl, Repository};
