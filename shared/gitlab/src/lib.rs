//! GitLab: what it tells us (webhooks) and what we ask it (its REST API).
//!
//! This is the only crate that knows GitLab's JSON. It answers with the few fields that Gantry
//! uses, and with errors named for what the caller does next ([`Error`]). It decides nothing,
//! keeps nothing and does not wait: retrying is the caller's business.
//!
//! The calls are written by hand rather than taken from the `gitlab` crate: that crate's client
//! brings a second TLS provider and a blocking client, and hides status and headers.

mod absent;
mod api;
mod call;
mod client;
mod connect;
mod download;
mod error;
mod host;
mod limits;
mod reading;
mod recent;
pub mod webhook;

pub use api::*;
pub use client::{Client, ClientConfig, Clock, InvalidClient, transport};
pub use connect::explain;
pub use download::Download;
pub use error::Error;
pub use host::{ApiHost, InvalidHost};
pub use limits::RateLimits;
