//! The crate as its users see it: webhooks from samples, the client against small servers.

mod answers;
mod client;
mod connecting;
mod issues;
mod people;
mod server;
mod webhooks;
