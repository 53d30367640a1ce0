//! Settings: the admin's JSON API, and the page of a run that GitLab's links lead to.
//!
//! It answers people and their programs. It writes its own records (integration, stacks, keys,
//! activity) and asks for everything else by message: the scheduler alone writes runs, the
//! publisher alone writes feedback. The one thing that it writes to GitLab is the webhook.
//!
//! Every route stands in one table (`routes`, and `api` for the API) with the role that it needs; `access` lets callers
//! in and records what they did. The API's description, `openapi.json`, is made of that table and of
//! the types that it names (`openapi`).

mod access;
mod activities;
mod api;
mod app;
mod commands;
mod cursor;
mod drift;
mod events;
mod first_key;
mod form;
mod gitlab;
mod integration;
mod keys;
mod modules;
mod notifications;
mod openapi;
mod operations;
mod pages;
mod people;
mod previews;
mod refusal;
mod registry;
mod routes;
mod runs;
mod stacks;

pub use app::{Deps, InvalidPublicUrl, PublicUrl, RunsConfinement};
pub use first_key::{FirstKeyError, ensure_first_admin_key};
pub use routes::{ServedRoute, addresses, router, served};

/// The description of the API, as it is served at `/api/v1/openapi.json`.
pub const OPENAPI: &str = include_str!("../openapi.json");

/// The same, made anew of the routes and their types: a test compares both.
pub fn description() -> serde_json::Value {
    routes::description()
}

/// Every route with its method, for the test that compares them with the description.
pub fn documented_routes() -> Vec<(axum::http::Method, &'static str)> {
    routes::documented()
}
