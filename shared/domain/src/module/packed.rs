//! A module's code, packed for the registry.

use serde::{Deserialize, Serialize};

/// What became of packing a module's code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Packed {
    /// It lies in object storage, named by what it holds.
    Done {
        /// The archive's SHA-256, in hexadecimal digits.
        digest: String,
    },
    /// It cannot be packed.
    Impossible {
        /// Why, for people.
        reason: String,
    },
}
