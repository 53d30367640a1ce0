//! The commands against a server that answers as the API does: with the examples of its
//! description.

#![expect(clippy::unwrap_used, reason = "helpers of tests end the test")]

mod decide;
mod login;
mod preview;
mod read;
mod support;
mod trouble;
