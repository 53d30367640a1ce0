//! The runner program: one phase of one run, and further ones where it may.

use clap::Parser;
use gantry_engine::{confine, overlay, processes};
use gantry_runner::{Arguments, Config, Outcome, further::Machine, poll::Worker, rescue::Rescuer};
use gantry_setup::{Clock, identity::Prover, telemetry};
use std::{collections::BTreeMap, io, process::ExitCode};
use tracing_subscriber::EnvFilter;

/// `aws`: the runner proves its role with its AWS credentials.
const IDENTITY: &str = "GANTRY_RUNNER_IDENTITY";

/// What a run starts begins as this program too, which then confines itself and becomes it.
fn main() -> ExitCode {
    confine::launch_if_asked().or_else(processes::keep_if_asked).unwrap_or_else(|| {
        let arguments = Arguments::parse();
        // There, programs that change their user do not: an admin may want those.
        let is_confined = !arguments.is_worker() && !arguments.unconfined_runs();
        if is_confined {
            processes::gain_namespaces();
        }
        let own_mounts = is_confined.then(overlay::gain_mounts);
        run(arguments, own_mounts)
    })
}

#[tokio::main(worker_threads = 2)]
async fn run(arguments: Arguments, own_mounts: Option<io::Result<()>>) -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(telemetry::colors())
        .with_env_filter(EnvFilter::builder().parse_lossy("info"))
        .init();
    hide_memory();
    if arguments.is_rescue() {
        return match Rescuer::of(&arguments).finish().await {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        };
    }
    let run = async {
        // What is no text cannot be one of ours, and is not passed on either.
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        let variables: BTreeMap<String, String> = variables.collect();
        if arguments.is_worker() {
            Worker::new(&arguments, variables)?.work().await?;
            return Ok(Outcome::NothingToDo);
        }
        let proves = variables.get(IDENTITY).is_some_and(|value| value == "aws");
        let machine = Machine::new(&arguments);
        let mut config = Config::new(arguments, variables)?;
        match &own_mounts {
            Some(Ok(())) => {
                tracing::info!(
                    "previews see a commit's files through overlays if the file system has them"
                );
            }
            Some(Err(error)) => {
                tracing::info!(
                    %error,
                    "previews get copies of a commit's files because the runner has no mount \
                     namespace"
                );
            }
            None => {}
        }
        config.own_mounts = own_mounts.is_some_and(|gained| gained.is_ok());
        if proves {
            config.identity = Some(Prover::from_environment(Clock::system()).await?);
        }
        gantry_runner::further::run_all(config, machine).await
    };
    match run.await {
        Ok(Outcome::NothingToDo) => {
            tracing::info!("nothing to do; the phase was claimed elsewhere or is no longer needed");
            ExitCode::SUCCESS
        }
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What the runner starts may belong to the same user; it shall not read the runner's tokens from
/// `/proc`.
fn hide_memory() {
    #[cfg(target_os = "linux")]
    if let Err(error) = nix::sys::prctl::set_dumpable(false) {
        tracing::warn!(%error, "the runner's memory is readable by what it starts");
    }
}
