//! What happens inside the server when something is done: the rules, free of HTTP.

pub(crate) mod ci;
pub(crate) mod commits;
pub(crate) mod deployments;
pub(crate) mod issues;
pub(crate) mod merge;
pub(crate) mod merge_requests;
pub(crate) mod notes;
pub(crate) mod oauth;
pub(crate) mod projects;
pub(crate) mod push_options;
pub(crate) mod quick_actions;
pub(crate) mod refresh;
pub(crate) mod refs;
pub(crate) mod signing;
pub(crate) mod statuses;
