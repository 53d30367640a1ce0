//! Packing a module's code for the registry.

use crate::Deps;
use anyhow::anyhow;
use gantry_domain::{CommitSha, Repository, StackId, module::Packed, source::SourceFailed};
use gantry_objects::keys;
use gantry_package::{Limits, PackageError};
use gantry_queue::Failure;
use std::{fs::File, io::BufWriter, time::Duration};
use tokio::task::spawn_blocking;

/// How much a module may hold.
const LIMITS: Limits =
    Limits { unpacked: 1 << 30, files: 20_000, file: 2 << 20, time: Duration::from_secs(20) };
/// The wait where this machine is in trouble.
const HERE: Duration = Duration::from_secs(20);

/// Packs the module in a folder of a commit whose archive was fetched. The same commit is packed
/// to the same bytes, under the same name.
pub(crate) async fn pack(
    deps: &Deps,
    module: &StackId,
    repository: &Repository,
    commit: &CommitSha,
    root: &str,
) -> Result<Packed, Failure> {
    let Deps { objects, .. } = deps;
    let Some(archive) = objects.get(&keys::source(repository.key(), commit)).await? else {
        let marker = keys::source_failed(repository.key(), commit);
        let failed = objects.get(&marker).await?.and_then(|kept| SourceFailed::from_json(&kept));
        return match failed {
            Some(failed) => Ok(Packed::Impossible { reason: failed.reason }),
            None => Err(Failure::wait(anyhow!("the commit's archive is missing"), HERE)),
        };
    };
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("module.tar.gz");
    let packed = {
        let (root, file) = (root.to_owned(), file.clone());
        spawn_blocking(move || {
            let out = BufWriter::new(File::create(file)?);
            gantry_package::pack(archive.as_ref(), &root, out, LIMITS)
        })
        .await?
    };
    let packed = match packed {
        Ok(packed) => packed,
        Err(PackageError::Io(error)) => return Err(Failure::wait(error, HERE)),
        Err(error) => {
            let reason = format!("The module cannot be packed for the registry: {error}");
            return Ok(Packed::Impossible { reason });
        }
    };
    let metadata = serde_json::to_vec(&packed.metadata)?;
    objects.put(&keys::module_metadata(module, &packed.digest), metadata.into()).await?;
    let bytes = tokio::fs::read(&file).await?;
    objects.put(&keys::module(module, &packed.digest), bytes.into()).await?;
    tracing::info!(size = packed.size, "packed a module");
    Ok(Packed::Done { digest: packed.digest })
}
