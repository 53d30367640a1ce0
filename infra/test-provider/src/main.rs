//! A provider for tests: what exists outside is a JSON file each, in the folder that the
//! provider's configuration names, and attributes are switches for what tests need to see.
//!
//! README.md lists the switches. Terraform and OpenTofu start it; it speaks plugin protocol 6.

mod action;
mod diagnostics;
mod object;
mod outside;
mod plugin;
mod protocol;
mod provider;
mod schema;
mod service;
mod value;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    plugin::serve().await
}
