//! What comes before a plan, and before a task: the source, the program, init and the hooks around it.

use crate::{
    cli_config,
    failure::Failure,
    job::Job,
    layers::Layers,
    providers, root,
    sources::{self, Sources, Unpacked},
};
use gantry_domain::{root::Admitted, run::RunType};
use gantry_engine::{Strength, Terraform, files, workspace};
use std::{fs::File, path::Path};
use tokio::task::spawn_blocking;

/// What is logged where a commit's files cannot be kept.
const NOT_KEPT: &str = "the source is not kept for other runs";

/// A workspace in which init is done.
pub(crate) struct Prepared {
    pub(crate) terraform: Terraform,
    pub(crate) admitted: Admitted,
}

impl Prepared {
    /// Prepares the run's workspace.
    pub(crate) async fn of(job: &mut Job) -> Result<Self, Failure> {
        let hooks = job.claim.hooks.clone();
        let check = job.check_confinement();
        let (checked, fetched) = tokio::join!(check, fetch_source(job));
        let strength = checked?;
        fetched?;
        job.keep_to(strength);
        unpack_source(job, strength).await?;
        let mut terraform = job.make_terraform().await?;
        settle_source(job).await?;

        job.hooks("before_init", &hooks.before_init, &terraform).await?;
        cli_config::settle(job, &mut terraform).await?;
        let admitted = root::admit(job, &mut terraform)?;
        providers::init(job, &terraform, false).await?;
        job.hide_marked_of_state().await?;
        job.hooks("after_init", &hooks.after_init, &terraform).await?;
        Ok(Self { terraform, admitted })
    }
}

async fn fetch_source(job: &mut Job) -> Result<(), Failure> {
    let (archive, limits) = (job.folders.archive(), job.config.limits);
    let (api, log, address) = (job.api.clone(), job.log.clone(), job.claim.source_url.clone());
    job.or_stop(async {
        api.source(address.as_deref(), &archive, limits.bytes, |text| log.say(text))
            .await
            .map_err(|e| Failure::api("The source could not be fetched", e))
    })
    .await
}

/// Puts the files of what was fetched into the workspace, or shows them there.
async fn unpack_source(job: &mut Job, strength: Option<Strength>) -> Result<(), Failure> {
    let (archive, into) = (job.folders.archive(), job.folders.workspace());
    let (limits, commit) = (job.config.limits, job.claim.commit.clone());
    let uploaded = job.claim.upload_digest.clone();
    // Nothing of a run may reach what is kept for others, nor go on with what it gives back.
    let is_alone = job.config.confinement.is_some() && job.processes.are_known();
    let keeps = is_alone && sources::tells_changes(&job.config.work);
    let (work, run) = (job.config.work.clone(), job.folders.run.clone());
    let (run_type, user, stop) = (job.claim.run_type, job.config.user, job.stop.clone());
    // Landlock alone does not keep a run of our own user from changing modes, times and attributes.
    let is_apart = strength.is_some_and(|strength| strength.own_view) || user.is_some();
    // Whoever looks into the folder of an apply that goes on without its runner sees none.
    let shows = is_alone && is_apart && job.config.own_mounts && run_type == RunType::Proposed;
    let (left_out, source, layer) = spawn_blocking(move || {
        let unpack = |into: &Path| {
            let left_out = match &uploaded {
                Some(digest) => workspace::unpack_upload(&archive, digest, into, limits)?,
                None => workspace::unpack_source(File::open(&archive)?, into, limits)?,
            };
            user.map_or(Ok(()), |user| files::give_to(into, user))?;
            Ok::<_, Failure>(left_out)
        };
        let digest = match (keeps || shows, &uploaded) {
            (false, _) => None,
            (true, Some(digest)) => Some(digest.clone()),
            (true, None) => Some(files::digest_of(File::open(&archive)?)?.0),
        };
        let layers = digest.as_deref().filter(|_| shows);
        let layers = layers.and_then(|digest| Layers::new(&work, digest, user, stop));
        let shown = layers.map(|layers| layers.show(&run, &into, unpack)).transpose()?;
        if let Some(shown) = shown.flatten() {
            std::fs::remove_file(&archive)?;
            return Ok((shown.left_out, None, shown.layer));
        }
        let sources = digest.filter(|_| keeps);
        let sources = sources.map(|digest| Sources::new(&work, &digest, run_type));
        let there = sources.as_ref().and_then(|sources| sources.take(&run, &into));
        let (left_out, unpacked) = match there {
            Some(unpacked) => (unpacked.left_out.clone(), Some(unpacked)),
            None => {
                let left_out = unpack(&into)?;
                let unpacked = match &sources {
                    Some(_) => Unpacked::of(&into, left_out.clone()),
                    None => Ok(None),
                };
                // That it cannot be kept is no trouble of the run's.
                let unpacked = unpacked.inspect_err(|error| tracing::warn!(%error, "{NOT_KEPT}"));
                (left_out, unpacked.unwrap_or_default())
            }
        };
        std::fs::remove_file(&archive)?;
        Ok::<_, Failure>((left_out, sources.zip(unpacked), None))
    })
    .await
    .map_err(std::io::Error::other)??;
    (job.source, job.layer) = (source, layer);
    job.log.say(&match &job.claim.uploaded_by {
        Some(who) => format!("fetched what {who} uploaded, based on {}", commit.short()),
        None => format!("fetched source at {}", commit.short()),
    });
    for link in left_out {
        job.log.say(&format!("left out a link that leads outside the source: {link}"));
    }
    Ok(())
}

/// Before the run's code begins.
async fn settle_source(job: &mut Job) -> Result<(), Failure> {
    let Some((sources, unpacked)) = job.source.take() else { return Ok(()) };
    let run = job.folders.run.clone();
    let settled = spawn_blocking(move || {
        unpacked.settle(&run).map(|()| (sources, unpacked)).inspect_err(|error| {
            tracing::warn!(%error, "{NOT_KEPT}");
        })
    });
    job.source = settled.await.map_err(std::io::Error::other)?.ok();
    Ok(())
}
