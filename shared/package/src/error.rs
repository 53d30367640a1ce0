//! Why a module could not be packed.

use std::io;

/// Why a module could not be packed. The texts are for people.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The commit has no such folder.
    #[error("the folder {0} does not exist in the commit")]
    RootMissing(String),
    /// The folder is there, but is no module.
    #[error("{} has no .tf, .tf.json or .tofu file", named(root))]
    NoCode {
        /// The folder; empty for the whole repository.
        root: String,
    },
    /// More than the limits allow.
    #[error("the commit exceeds the size limits of a module: {0}")]
    TooLarge(String),
    /// An entry that no commit makes, or that could do harm where the module is unpacked.
    #[error("the commit's archive contains {path:?}, which is {problem}")]
    Unsafe {
        /// The entry.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Not a `tar.gz`, or not all of it.
    #[error("the commit's archive is damaged or not a tar.gz file")]
    Unreadable(#[source] io::Error),
    /// The archive could not be read to its end, or the module not be written. It may work later.
    #[error("the commit's archive could not be read or the module could not be written")]
    Io(#[from] io::Error),
}

fn named(root: &str) -> String {
    if root.is_empty() {
        "the repository's top folder".into()
    } else {
        format!("the folder {root}")
    }
}

/// A number of bytes as people say it.
pub(crate) fn bytes(number: u64) -> String {
    match number {
        0..1024 => format!("{number} bytes"),
        1024..0x10_0000 => format!("{} KiB", number >> 10),
        _ => format!("{} MiB", number >> 20),
    }
}
