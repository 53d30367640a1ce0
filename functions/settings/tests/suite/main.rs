//! The API as its callers see it, before the fake GitLab and a real table.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod access;
mod activities;
mod approvals;
mod browser;
mod commands;
mod compare;
mod contents;
mod description;
mod drift;
mod integration;
mod lists;
mod logs;
mod modules;
mod notifications;
mod pages;
mod people;
mod plans;
mod previews;
mod questions;
mod reads;
mod rights;
mod sessions;
mod stacks;
mod support;
mod typed;
mod unpushed;
mod visibility;
mod watching;
mod webhook;
