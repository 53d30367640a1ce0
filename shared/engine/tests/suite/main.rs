//! The tests of what runs a tool, as one program.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the answer")]

mod files;
mod process;
mod tool;
mod workspace;
