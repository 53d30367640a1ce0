//! What runs on this machine can reach besides their own files, checked before anything starts.

use crate::HostConfig;
use anyhow::Context as _;
use gantry_engine::{Confinement, Unprivileged, confine::MachinePolicy};
use gantry_settings::RunsConfinement;
use std::path::PathBuf;

/// What an admin has decided.
#[derive(Debug, Clone, Default)]
pub struct Reach {
    /// Files and folders that runs may read.
    pub may_read: Vec<PathBuf>,
    /// Those that they may also change.
    pub may_write: Vec<PathBuf>,
    /// Runs reach whatever their user can.
    pub unconfined: bool,
}

/// Shown at the start and on the page Operations while it is so.
const UNCONFINED: &str = "Code in a merge request can read whatever the user of runs can, as this \
                          was started with --unconfined-runs.";

impl Reach {
    /// How runs will be confined, in words for people. Where they cannot be, each run says so and
    /// ends.
    ///
    /// # Errors
    /// When runs would be given what is Gantry's own, or what is not there.
    pub(crate) async fn checked(&self, config: &HostConfig) -> anyhow::Result<RunsConfinement> {
        if self.unconfined {
            tracing::warn!("runs are not confined: {UNCONFINED}");
            return Ok(RunsConfinement { confined: false, words: UNCONFINED.to_owned() });
        }
        let user = config.runner_user.as_deref().map(Unprivileged::named).transpose();
        let user = user.context("GANTRY_RUNNER_USER")?;
        let machine = MachinePolicy {
            private: crate::host::private(&config.data_dir, config.tls.as_ref())?,
            path: config.path.clone(),
            may_read: self.may_read.clone(),
            may_write: self.may_write.clone(),
            has_user: user.is_some(),
            ..MachinePolicy::default()
        };
        let confinement = Confinement::new(&config.runner, machine.policy()?);
        Ok(match confinement.check(user).await {
            Ok(strength) => RunsConfinement { confined: true, words: strength.to_string() },
            Err(error) => {
                tracing::error!("{error}");
                RunsConfinement { confined: false, words: error.to_string() }
            }
        })
    }

    /// The same for a runner.
    pub(crate) fn as_variables(&self) -> Vec<(&'static str, String)> {
        let joined = |paths: &[PathBuf]| {
            let paths: Vec<_> = paths.iter().map(|path| path.to_string_lossy()).collect();
            paths.join(":")
        };
        let mut variables = vec![
            ("GANTRY_RUNS_MAY_READ", joined(&self.may_read)),
            ("GANTRY_RUNS_MAY_WRITE", joined(&self.may_write)),
        ];
        variables.retain(|(_, value)| !value.is_empty());
        if self.unconfined {
            variables.push(("GANTRY_UNCONFINED_RUNS", "true".to_owned()));
        }
        variables
    }
}
