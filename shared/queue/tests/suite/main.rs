//! The tests of the queues, as one program.

mod consume;
mod driver;
mod golden;
mod local;
mod never_lost;
mod support;
