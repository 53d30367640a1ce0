//! One machine as a person has it: the real host, the real runner program, real Terraform and
//! OpenTofu, and a GitLab that refuses what GitLab refuses.
//!
//! The runner is a program of another package: `make test` builds it first.

#![expect(clippy::unwrap_used, reason = "helpers of tests end the test")]

mod attacks;
mod command_line;
mod comparing;
mod demo;
mod killed;
mod logs;
mod mirror;
mod rescued;
mod secrets;
mod starts;
mod state;
mod support;
mod upgrade;
