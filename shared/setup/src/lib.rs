//! What every program needs before it can begin: environment, telemetry, clock, SDK clients, and
//! what AWS alone has. Nothing in here knows what Gantry does.

pub mod aws;
pub mod builds;
pub mod clock;
pub mod crypto;
pub mod deadline;
pub mod deployment;
pub mod environment;
pub mod failures;
pub mod identity;
pub mod lambda;
pub mod metrics;
pub mod telemetry;
pub mod web;

pub use clock::Clock;
pub use deployment::Deployment;
pub use environment::Environment;
