//! What every route works with.

use crate::wall::Walls;
use gantry_objects::Objects;
use gantry_queue::Sender;
use gantry_secrets::Secrets;
use gantry_setup::{Clock, identity::Verifier};
use gantry_store::Store;
use std::sync::Arc;

/// What the API works with. Cheap to clone.
#[derive(Clone)]
pub struct Deps {
    /// The records.
    pub store: Store,
    /// Where reports go, and wishes for source.
    pub sender: Sender,
    /// Archives, plans, changes, states.
    pub objects: Objects,
    /// The keys that sign tokens and seal variables. Read for each request, so that a replaced
    /// one counts at once; the secret store has its own cache.
    pub secrets: Arc<dyn Secrets>,
    /// The maskers of what runs say.
    pub walls: Walls,
    /// The time.
    pub clock: Clock,
    /// How large bodies may be.
    pub limits: Limits,
    /// The address of this installation, whose host is the registry's.
    pub public_url: String,
    /// Asks the cloud which role a runner has, where runners have one.
    pub identities: Option<Verifier>,
}

/// How large bodies may be, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The archive of plan and workspace.
    pub plan: u64,
    /// A Terraform state. It is read whole when it is committed.
    pub state: u64,
    /// What a plan found.
    pub change: usize,
    /// Everything else: reports, pieces of log.
    pub other: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { plan: 1 << 30, state: 256 << 20, change: 64 << 20, other: 4 << 20 }
    }
}
