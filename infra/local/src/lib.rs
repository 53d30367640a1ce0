//! Gantry on one machine: every function in one process, on one port.
//!
//! The functions are the same ones that run on AWS. What surrounds them has small stand-ins that
//! survive `kill -9`: the table is dynoxide within the process, queues and secrets are files,
//! object storage is a folder, the runner is a child process.

pub mod demo;
pub mod folder;
pub mod host;
mod reach;
pub mod starter;
pub mod system;
pub mod table;
mod tls;

pub use host::{Host, HostConfig, Intervals};
pub use reach::Reach;
pub use system::{Parts, System};
pub use tls::Tls;
