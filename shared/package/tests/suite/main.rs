//! The tests of how modules are read and packed, as one program.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the answer")]

mod beside;
mod check;
mod metadata;
mod pack;
mod support;
mod syntax;
mod tools;
