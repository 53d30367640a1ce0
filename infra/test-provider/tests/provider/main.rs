//! The provider for tests on real Terraform and OpenTofu.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod place;
mod recorded;
mod switches;
