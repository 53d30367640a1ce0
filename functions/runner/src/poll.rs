//! A worker of a pool: it asks for runs, and executes each in a runner program of its own.

use crate::{
    Arguments, CLAIM_TOKEN,
    api::{Api, ApiError},
    beat,
    rescue::Rescuer,
};
use anyhow::Context as _;
use gantry_domain::protocol::NextAnswer;
use rand::RngExt as _;
use std::{collections::BTreeMap, path::PathBuf, process::Stdio, time::Duration};
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};

/// Where the worker's key is; never an argument, which everybody on the machine can read.
pub const WORKER_KEY: &str = "GANTRY_WORKER_KEY";

/// Between two questions when there is nothing to do.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// After a run was taken: by then its runner has claimed it, and it is not handed out again.
const CLAIMED_WITHIN: Duration = Duration::from_secs(1);
/// Between two tries when the runner API cannot be reached, at most.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A worker.
pub struct Worker {
    api: Api,
    slots: usize,
    program: PathBuf,
    name: String,
    variables: BTreeMap<String, String>,
    rescuer: Rescuer,
}

impl Worker {
    /// The worker that these settings describe. Its runners get the same ones, but not its key.
    ///
    /// # Errors
    /// When the key is missing, or the program does not know where it lies itself.
    pub fn new(
        arguments: &Arguments,
        mut variables: BTreeMap<String, String>,
    ) -> anyhow::Result<Self> {
        let key = variables.remove(WORKER_KEY).filter(|key| !key.is_empty());
        let key = key.with_context(|| {
            format!(
                "{WORKER_KEY} is not set; an admin can create a key with the role worker and a pool"
            )
        })?;
        if let Some(file) = arguments.terraform_config() {
            std::fs::File::open(&file).with_context(|| {
                format!("--terraform-config: {} cannot be read", file.display())
            })?;
        }
        variables.extend(arguments.as_variables());
        // Each of its runners has one run: the worker asks for the next one.
        variables.remove("GANTRY_RUNNER_RUNS");
        Ok(Self {
            // It asks again by itself.
            api: Api::new(arguments.api(), key.into(), Duration::ZERO)?,
            slots: arguments.slots().max(1),
            program: std::env::current_exe()?,
            name: arguments.own_name(),
            variables,
            rescuer: Rescuer::new(arguments.work(), Some(arguments.api().clone())),
        })
    }

    /// Takes runs until the process is asked to end (SIGTERM, SIGINT), then lets those end that it
    /// has. A second signal ends the worker alone: its runners go on by themselves.
    ///
    /// # Errors
    /// When the key is refused, or a runner cannot be started.
    pub async fn work(self) -> anyhow::Result<()> {
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let mut runners: JoinSet<bool> = JoinSet::new();
        let (mut draining, mut wait, mut number) = (false, Duration::ZERO, 0_u64);
        tracing::info!(slots = self.slots, "the worker is asking for runs");
        let _rescuer = beat::Guard::of(self.rescuer.clone().watch());
        loop {
            if draining && runners.is_empty() {
                tracing::info!("the worker ends because nothing is left to do");
                return Ok(());
            }
            let asks = !draining && runners.len() < self.slots;
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                Some(ended) = runners.join_next() => {
                    // What fails here at once would fail again at once.
                    wait = if ended.unwrap_or(false) { Duration::ZERO } else { ASK_EVERY };
                    continue;
                }
                () = tokio::time::sleep(wait), if asks => {
                    match self.api.ask_for_run("next", &()).await {
                        Ok(Some(next)) => {
                            number += 1;
                            let child = self.start(&next, number)?;
                            runners.spawn(watch(child, next.run.to_string()));
                            wait = CLAIMED_WITHIN;
                        }
                        Ok(None) => wait = ASK_EVERY.mul_f64(rand::rng().random_range(0.8..1.2)),
                        Err(ApiError::Unavailable(problem)) => {
                            wait = (wait * 2).clamp(ASK_EVERY, LONGEST_WAIT);
                            tracing::warn!(wait_s = wait.as_secs(), problem, "the runner API does not answer");
                        }
                        Err(error) => return Err(error).context("the worker cannot take runs"),
                    }
                    continue;
                }
            }
            if draining {
                tracing::warn!(runners = runners.len(), "the worker ends; its runners continue");
                runners.detach_all();
                return Ok(());
            }
            draining = true;
            tracing::info!(
                runners = runners.len(),
                "the worker takes no more runs and waits for those it has"
            );
        }
    }

    /// A runner for one run, in a process group of its own: what interrupts the worker does not
    /// interrupt an apply.
    fn start(&self, next: &NextAnswer, number: u64) -> anyhow::Result<Child> {
        tracing::info!(run.id = %next.run, "taking a run");
        Command::new(&self.program)
            .env_clear()
            .envs(&self.variables)
            .env("GANTRY_RUNNER_NAME", format!("{}.{number}", self.name))
            .env(CLAIM_TOKEN, &next.claim_token)
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .with_context(|| format!("{} cannot be started", self.program.display()))
    }
}

/// What a runner did, it has reported itself; whether it ended well.
async fn watch(mut child: Child, run: String) -> bool {
    match child.wait().await {
        Ok(status) if status.success() => return true,
        Ok(status) => tracing::warn!(run.id = run, "the runner ended with {status}"),
        Err(error) => tracing::warn!(run.id = run, "the runner was not seen to end: {error}"),
    }
    false
}
