//! Runs on real Terraform and OpenTofu against a runner API in memory.

#![expect(clippy::unwrap_used, reason = "helpers of tests end the test")]

mod apply;
mod background;
mod cli_config;
mod confined;
mod destroys;
mod drift;
mod endless;
mod full;
mod further;
mod landlock;
mod meant;
mod outside;
mod plan;
mod planted;
mod providers;
mod rescued;
mod sources;
mod support;
mod tasks;
