//! The tests of the queues, as one program.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the answer")]

mod consume;
mod driver;
mod golden;
mod local;
mod never_lost;
mod sqs;
mod support;
