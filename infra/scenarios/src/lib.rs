//! System tests as short stories.
//!
//! A [`story!`] drives the whole system in process against the fake GitLab: real routers, real SDK
//! calls to dynoxide, real HTTP, hand-pumped queues and a hand-set clock, so nothing sleeps. Each
//! [`Mode`] of it is a test: as it is, with every message delivered twice and groups shuffled, with
//! stale index reads, without any webhook, and with a process that ends after every message; the seed
//! chooses which of them are told besides the first. At the end nothing may be left. A quarter of the stories, or with `GANTRY_STOPS` all, are told again
//! with a process that ends before one of its side effects: the end must be the same (`stops`,
//! `end`). So it must with a GitLab that is in trouble for ten minutes (`moods`);
//! `GANTRY_MOODS=all` tells all of them. A seed, another one each time, chooses what is left to
//! chance; a story that fails prints it, and with `GANTRY_SEED` it is told in the same way again
//! (`seed`). Where only real Terraform shows what happens, a story has the real runner program.

// The whole system is in the future that a story is.
#![recursion_limit = "256"]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a story that cannot go on should stop where it is"
)]

mod before;
mod end;
mod installation;
mod modes;
mod moods;
mod programs;
mod proxy;
mod pump;
mod runner;
mod seed;
mod stops;
mod tls;
mod unpushed;
mod world;
mod writes;

pub use gantry_domain::stack::Tool;
pub use gantry_queue::NotStarted;
pub use modes::{
    Mode, Story, Telling, as_story, run_test_in, run_test_in_moods, run_test_on, tell_in,
    tell_with_stops,
};
pub use moods::Trouble;
pub use runner::Planned;
pub use tls::Secure;
pub use world::{StackOptions, World, with_files};
