//! Environments and deployments.

use jiff::Timestamp;

use super::UserId;
use crate::git::Oid;

/// A place that is deployed to.
#[derive(Clone, Debug)]
pub(crate) struct Environment {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) slug: String,
    pub(crate) external_url: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) tier: String,
    pub(crate) stopped: bool,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// One deployment to an environment.
#[derive(Clone, Debug)]
pub(crate) struct Deployment {
    pub(crate) id: u64,
    pub(crate) iid: u64,
    pub(crate) environment: u64,
    pub(crate) sha: Oid,
    pub(crate) ref_name: String,
    pub(crate) status: String,
    pub(crate) user: UserId,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    pub(crate) finished_at: Option<Timestamp>,
}
