//! The API as its callers see it, before the fake GitLab and a real table.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod access;
mod browser;
mod commands;
mod description;
mod integration;
mod logs;
mod modules;
mod pages;
mod plans;
mod questions;
mod reads;
mod stacks;
mod support;
mod watching;
mod webhook;
