//! Packs a Terraform module out of a commit's archive, for a module registry.
//!
//! Pure but for the reader and the writer that it is given. It runs nothing of the module: what
//! the module takes and gives is read from its text.

mod archive;
mod declared;
mod error;
mod json;
mod metadata;
mod native;
mod planned;
mod write;

pub use error::PackageError;
pub use metadata::{Declared, Input, Metadata, Output, ProviderRequirement};

use archive::Purpose;
use std::{
    io::{Read, Write},
    path::Path,
    sync::Arc,
    time::Duration,
};

/// Bytes of all paths together, and of what links lead to, that [`check`] takes.
pub const MOST_PATH_BYTES: usize = 16_000_000;

/// How much is taken from an archive that anybody could have made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the whole archive, unpacked: also of what lies outside of the module, because it
    /// has to be read as well. As much of it as is the module's is held in memory.
    pub unpacked: u64,
    /// Files, folders and links of the module.
    pub files: usize,
    /// Bytes of the largest file with code, or README, that metadata is read from.
    pub file: u64,
    /// How long the code is read for metadata. What takes longer is packed all the same, and its
    /// metadata says so.
    pub time: Duration,
}

/// What was packed.
#[derive(Debug, Clone, PartialEq)]
pub struct Packed {
    /// SHA-256 of what was written, hex.
    pub digest: String,
    /// How many bytes were written.
    pub size: u64,
    /// What the module says about itself.
    pub metadata: Metadata,
}

/// Reads an uploaded archive to its end, twice, and refuses what [`pack`] refuses of a whole
/// repository, and links that may lead out of it, `.git`, paths of more than 4,096 bytes or of more
/// than [`MOST_PATH_BYTES`] together, and what would take much memory to read.
///
/// # Errors
/// With what is wrong with it.
pub fn check(archive: &[u8], limits: Limits) -> Result<(), PackageError> {
    archive::look_over(archive, limits)?;
    let read = archive::read(archive, Path::new(""), limits, Purpose::Check)?;
    match read.left_out.first() {
        None => Ok(()),
        Some(link) => Err(PackageError::Unsafe {
            path: link.to_string_lossy().into_owned(),
            problem: "a link that leads outside of it",
        }),
    }
}

/// Packs the module in the folder `root` (without slashes around it; empty for the whole
/// repository) of a commit's `archive`, a `tar.gz` with everything below one top folder.
///
/// Writes a `tar.gz` with the module's files at its top: all of them but `.git` and the links
/// that may lead out of the module. The same files give the same bytes, in whatever order and
/// with whatever times and owners the archive has them. Nothing is written before the archive
/// has been read to its end and is found good.
pub fn pack(
    archive: impl Read,
    root: &str,
    out: impl Write,
    limits: Limits,
) -> Result<Packed, PackageError> {
    let module = Arc::new(archive::read(archive, Path::new(root), limits, Purpose::Pack)?);
    let metadata = metadata::read_in_time(&module, limits)
        .ok_or_else(|| PackageError::NoCode { root: root.to_owned() })?;
    let (digest, size) = write::write(&module, out)?;
    Ok(Packed { digest, size, metadata })
}
