//! A machine that was started for one run takes further ones, one after the other, while it has
//! time left and somebody waits. Between two runs nothing of the first is left on it but what
//! [providers](crate::providers), [sources](crate::sources) and [layers](crate::layers) keep.

use crate::{Arguments, Config, Outcome, api::ApiError, one};
use anyhow::Context as _;
use gantry_domain::protocol::FurtherRequest;
use gantry_engine::{
    Unprivileged,
    leftovers::{self, SHARED_FOLDERS},
};
use secrecy::SecretString;
use std::{
    path::Path,
    time::{Duration, Instant},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::spawn_blocking,
};

/// Between two questions.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How long it is asked until the machine is given back.
const FREE_FOR: Duration = Duration::from_secs(20);

/// What the machine may do.
#[derive(Debug, Clone, Copy)]
pub struct Machine {
    /// How many runs it executes, at most.
    pub runs: u32,
    /// When it goes away, if that is known.
    pub until: Option<Instant>,
}

impl Machine {
    /// What the settings say.
    pub fn new(arguments: &Arguments) -> Self {
        let time = arguments.minutes().map(|minutes| Duration::from_secs(60 * u64::from(minutes)));
        Self {
            runs: arguments.runs(),
            until: time.and_then(|time| Instant::now().checked_add(time)),
        }
    }

    fn seconds_left(&self) -> u32 {
        let left = self.until.map(|until| until.saturating_duration_since(Instant::now()));
        left.map_or(u32::MAX, |left| u32::try_from(left.as_secs()).unwrap_or(u32::MAX))
    }
}

/// Executes the phase that the claim token is for, then phases of further runs with the same role
/// and type. How the last one ended.
///
/// # Errors
/// As [`crate::run`]; nothing follows an error.
pub async fn run_all(mut config: Config, machine: Machine) -> anyhow::Result<Outcome> {
    let cleaner = match machine.runs {
        0 | 1 => None,
        _ => Cleaner::new(&config),
    };
    let mut runs = 1;
    loop {
        let (outcome, ended) = Box::pin(one(config.clone())).await?;
        let (Some(cleaner), Some(ended)) = (&cleaner, ended) else { return Ok(outcome) };
        if runs >= machine.runs {
            return Ok(outcome);
        }
        if !announce(&ended).await {
            return Ok(outcome);
        }
        if let Err(error) = cleaner.clean().await {
            tracing::error!("not taking further runs: {error:#}");
            return Ok(outcome);
        }
        tracing::info!("the machine is clean and takes another run");
        match next(&ended, &machine).await? {
            None => return Ok(outcome),
            Some(token) => (config.claim_token, runs) = (token, runs + 1),
        }
    }
}

/// A run that has ended, and was reported: it speaks for the machine.
pub(crate) struct EndedRun {
    pub(crate) api: crate::api::Api,
    pub(crate) last_report: u32,
}

/// Says that the machine is free in a moment, so that none is started meanwhile for who comes next.
/// False when there is nothing for it to do.
async fn announce(ended: &EndedRun) -> bool {
    let request = FurtherRequest { last_report: ended.last_report, seconds_left: 0 };
    match ended.api.with_patience(Duration::ZERO).ask_for_run("further", &request).await {
        Ok(_) => true,
        Err(ApiError::Gone) => false,
        Err(error) => {
            tracing::debug!(%error, "the run could not be claimed; asking again");
            true
        }
    }
}

/// Asks for another run until there is one, or nobody needs the machine.
async fn next(ended: &EndedRun, machine: &Machine) -> anyhow::Result<Option<SecretString>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // Longer than it asks: an answer that got lost may have handed out a run.
    let api = ended.api.with_patience(2 * FREE_FOR);
    let until = Instant::now() + FREE_FOR;
    while Instant::now() < until {
        let seconds_left = machine.seconds_left();
        let request = FurtherRequest { last_report: ended.last_report, seconds_left };
        match api.ask_for_run("further", &request).await {
            Ok(Some(next)) => {
                tracing::info!(run.id = %next.run, "claiming a further run");
                return Ok(Some(next.claim_token.into()));
            }
            Ok(None) => {}
            Err(ApiError::Gone) => return Ok(None),
            Err(error) => {
                tracing::warn!(%error, "asking for a further run failed");
                return Ok(None);
            }
        }
        tokio::select! {
            _ = terminate.recv() => return Ok(None),
            _ = interrupt.recv() => return Ok(None),
            () = tokio::time::sleep(ASK_EVERY) => {}
        }
    }
    tracing::info!("no run is waiting for a runner");
    Ok(None)
}

/// Removes what a run of this user has left.
struct Cleaner(Unprivileged);

impl Cleaner {
    /// None where one run cannot be kept from what another one left.
    fn new(config: &Config) -> Option<Self> {
        let Some(user) = config.user else {
            tracing::warn!(
                "taking only one run: what a run leaves behind can only be told apart from the \
                 runner's own files if Terraform has a separate user (GANTRY_RUNNER_USER)"
            );
            return None;
        };
        if let Err(error) = leftovers::adopt_orphans() {
            tracing::warn!(%error, "taking only one run: processes started by a run cannot be found");
            return None;
        }
        Some(Self(user))
    }

    async fn clean(&self) -> anyhow::Result<()> {
        let user = self.0;
        leftovers::end_processes(user).await?;
        spawn_blocking(move || {
            for folder in SHARED_FOLDERS {
                leftovers::remove_files(user, Path::new(folder))
                    .with_context(|| format!("{folder} cannot be cleaned"))?;
            }
            Ok(())
        })
        .await?
    }
}
