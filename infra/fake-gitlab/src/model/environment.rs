//! Environments and deployments.

use jiff::Timestamp;

use crate::git::Oid;

/// A place that is deployed to.
#[derive(Clone, Debug)]
pub(crate) struct Environment {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) external_url: Option<String>,
    pub(crate) stopped: bool,
}

impl Environment {
    pub(crate) fn state(&self) -> &'static str {
        if self.stopped { "stopped" } else { "available" }
    }
}

/// One deployment to an environment.
#[derive(Clone, Debug)]
pub(crate) struct Deployment {
    pub(crate) id: u64,
    pub(crate) iid: u64,
    /// The name of the environment.
    pub(crate) environment: String,
    pub(crate) sha: Oid,
    pub(crate) ref_name: String,
    pub(crate) status: String,
    pub(crate) updated_at: Timestamp,
}
