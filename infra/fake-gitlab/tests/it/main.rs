//! The server seen from outside: over HTTP, through git, and through its Rust handle.

mod statuses;
mod support;
