//! Signs of life, the wish to stop that their answers bring, and the other ends of a run: its
//! time limit, and a signal to the runner itself.

use crate::api::{Api, ApiError};
use gantry_engine::{StopKind, Stopper};
use std::time::Duration;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinHandle,
    time::{self, Instant},
};

/// A task that ends with its owner.
pub(crate) struct Guard(JoinHandle<()>);

impl Guard {
    pub(crate) fn of(task: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(task))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Beats every `interval`. The claim was a sign of life too: a run that takes less time needs no
/// other.
pub(crate) fn start(api: Api, stopper: Stopper, interval: Duration) -> Guard {
    Guard(tokio::spawn(async move {
        let mut ticks = time::interval_at(Instant::now() + interval, interval);
        ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            once(&api, &stopper).await;
        }
    }))
}

/// One sign of life, and what its answer asks for.
pub(crate) async fn once(api: &Api, stopper: &Stopper) {
    match api.beat().await {
        Ok(answer) => {
            if let Some(reason) = answer.stop {
                stopper.stop(StopKind::Asked, reason);
            }
        }
        Err(ApiError::Gone) => {
            stopper.stop(StopKind::Gone, "the run was given up");
        }
        // The next one comes soon; who misses them all gives the run up and says so then.
        Err(error) => tracing::warn!(%error, "a heartbeat was not accepted"),
    }
}

/// Stops the phase when its time is over.
pub(crate) fn deadline(stopper: Stopper, seconds: u32, what: &'static str) -> Guard {
    Guard(tokio::spawn(async move {
        time::sleep(Duration::from_secs(seconds.into())).await;
        let limit = match seconds {
            0..120 => format!("{seconds} seconds"),
            _ => format!("{} minutes", seconds / 60),
        };
        stopper.stop(StopKind::TimedOut, format!("The {what} took longer than {limit}"));
    }))
}

/// Stops the phase when the machine asks the runner to end.
pub(crate) fn signals(stopper: Stopper) -> std::io::Result<Guard> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(Guard(tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            stopper.stop(StopKind::Asked, "the runner was told to shut down");
        }
    })))
}
