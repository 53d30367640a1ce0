//! Terraform modules: what their repository says about them, and what follows from it.
//!
//! [`config`] reads the file that describes a module's tests, [`order`] says which of them may run
//! now, [`version`] finds versions in tags and keeps them in order, [`naming`] guesses what a
//! module is called.

pub mod config;
pub mod naming;
pub mod order;
pub mod packed;
pub mod version;

pub use crate::ids::TestName;
pub use config::{ConfigError, ModuleConfig, SCHEMA, TestCase, read};
pub use naming::{guess, misnamed, registry_host};
pub use order::{Readiness, failure, passed, ready};
pub use packed::Packed;
pub use version::{from_tag, sort_key};
