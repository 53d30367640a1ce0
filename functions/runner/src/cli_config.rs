//! The CLI configuration that a run sees: the installation's or its own, and Gantry's registry.
//!
//! What the run's own code has written is handled by processes of the run: the runner follows
//! nothing of it anywhere. The apply of a saved plan runs no hook before init, so it gets back what
//! the plan had.

use crate::{
    config::Config,
    failure::Failure,
    job::{Care, Job},
};
use gantry_engine::{Terraform, cli_config, files, process, workspace::CLI_CONFIG};
use std::ffi::OsString;

/// The installation's, if it has one that can be read. That it cannot is told by [`write`].
pub(crate) fn installations(config: &Config) -> Option<String> {
    config.terraform_config.as_deref().and_then(|file| std::fs::read_to_string(file).ok())
}

/// Writes what is there before the run's code is, into its new home.
pub(crate) fn write(job: &Job) -> Result<(), Failure> {
    let home = &job.folders.home;
    match (&job.installations, &job.config.terraform_config) {
        (Some(text), _) => cli_config::write_installations(home, text)?,
        (None, Some(file)) => {
            let text = format!("the file of --terraform-config cannot be read: {}", file.display());
            return Err(Failure::other(text));
        }
        (None, None) => {}
    }
    if let Some(registry) = &job.claim.registry {
        let base = job.config.api.as_str().trim_end_matches('/');
        let service = format!("{base}/registry/v1/modules/");
        cli_config::write_registry(home, &registry.host, &service, &registry.token)?;
    }
    Ok(())
}

/// Gathers the run's own in its home, once the hooks before init have run, and keeps it for the
/// apply.
pub(crate) async fn settle(job: &mut Job, terraform: &mut Terraform) -> Result<(), Failure> {
    // No process of the run was there yet: its home is as it was written.
    if job.claim.hooks.before_init.is_empty()
        && cli_config::is_only_of(&terraform.environment, &job.folders.home)
    {
        // The apply is to read nothing else either.
        files::make_folder(&job.folders.job.join(CLI_CONFIG), 0o700)?;
        return Ok(());
    }
    let changed = cli_config::is_changed(&job.folders.home, job.installations.as_deref());
    let changed = if changed { "changed" } else { "" };
    let arguments =
        [job.claim.tool.command().into(), job.folders.job.join(CLI_CONFIG).into(), changed.into()];
    match script(job, terraform, cli_config::SETTLE, arguments).await? {
        Some(0) => cli_config::name_none(&mut terraform.environment),
        Some(cli_config::NOT_THERE) => {}
        _ => return Err(Failure::other("the run's CLI configuration cannot be read")),
    }
    Ok(())
}

/// Gives an apply what its plan had.
pub(crate) async fn put_back(job: &mut Job, terraform: &mut Terraform) -> Result<(), Failure> {
    let kept = job.folders.job.join(CLI_CONFIG);
    if !kept.is_dir() {
        return Ok(());
    }
    match script(job, terraform, cli_config::PUT_BACK, [kept.into()]).await? {
        Some(0) => cli_config::name_none(&mut terraform.environment),
        _ => return Err(Failure::other("the CLI configuration of the plan cannot be put back")),
    }
    Ok(())
}

/// Runs a script in the project root, with what it says in the log; its exit code.
async fn script(
    job: &mut Job,
    terraform: &Terraform,
    script: &str,
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Option<i32>, Failure> {
    let mut spec = terraform.hook(script);
    spec.arguments.push("cli-config".into());
    spec.arguments.extend(arguments);
    let (sink, on_stop) = (job.log.sink(), job.on_stop(Care::Hook));
    let ended = process::run(&spec, &sink, &mut job.stop, on_stop).await?;
    job.go_on()?;
    Ok(ended.status.code())
}
