//! Configuration files of Terraform and OpenTofu, read for what they declare and not for what it
//! means: which of a folder's files a tool reads, and which blocks and attributes they hold.
//!
//! The time it takes grows with the size of the files alone, whatever they hold.

mod blocks;
pub mod expression;
mod files;
mod json;

pub use blocks::{Block, Body, Problem};
pub use files::{Configuration, RootFile, configuration, is_configuration};
pub use json::entries;
