//! What a plan would change, read from Terraform's plan JSON.

use serde::{Deserialize, Serialize};

/// Counts of what a plan would do. A replacement counts as one to add and one to destroy, as
/// Terraform counts it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Delta {
    /// Resources to create.
    pub add: u32,
    /// Resources to change in place.
    pub change: u32,
    /// Resources to destroy.
    pub destroy: u32,
    /// Resources to import.
    pub import: u32,
    /// Resources whose address changes.
    #[serde(rename = "move")]
    pub moved: u32,
    /// Resources to drop from the state without destroying them.
    pub forget: u32,
    /// Outputs whose value changes.
    pub outputs: u32,
}
