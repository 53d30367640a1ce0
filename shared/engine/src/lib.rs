//! Terraform and OpenTofu as child processes: the tool itself, the environment it may see, its
//! workspace, its state backend's settings, and what it says.
//!
//! It knows nothing of runs, tokens or the runner API: `gantry-runner` puts the parts together.
//! What a child process sees is decided in [`environment`] alone, and nothing is inherited.

pub mod backend;
pub mod cli_config;
pub mod confine;
pub mod diagnostics;
pub mod environment;
pub mod files;
pub mod kept;
pub mod leftovers;
mod lines;
pub mod overlay;
pub mod process;
pub mod processes;
pub mod stop;
pub mod terraform;
pub mod tool;
pub mod workspace;

pub use confine::{Confinement, Policy, Strength};
pub use environment::Environment;
pub use lines::Piece;
pub use process::{Ended, OnStop, Sink, Spec, Unprivileged};
pub use processes::Processes;
pub use stop::{StopKind, StopReason, StopSignal, Stopper};
pub use terraform::Terraform;
