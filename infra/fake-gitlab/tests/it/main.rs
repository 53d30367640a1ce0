//! The server seen from outside: over HTTP, through git, and through its Rust handle.

#![expect(clippy::unwrap_used, reason = "a test helper may fail like a test")]

mod access;
mod deployments;
mod discussions;
mod git;
mod hooks;
mod issues;
mod merge_requests;
mod notes;
mod oauth;
mod pages;
mod params;
mod program;
mod receiver;
mod repository;
mod rights;
mod statuses;
mod support;
mod trouble;
