//! Gantry's Lambda functions, deployed by the template. `make test-aws` runs these alone.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the answer")]

mod adapters;
mod admin;
mod alone;
mod builds;
mod calls;
mod claims;
mod destroy;
mod events;
mod operations;
mod story;
mod template;
mod webhook;
mod workers;
mod world;
