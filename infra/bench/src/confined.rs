//! What a process of a run costs more, since it is confined.

use crate::{median, ms, program, row};
use gantry_engine::{
    Confinement, Environment, OnStop, Sink, Spec, confine::MachinePolicy, process,
    stop::stop_channel,
};
use nix::sys::resource::{UsageWho, getrusage};
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

const TIMES: usize = 200;

pub(crate) async fn measure(programs: &Path) -> anyhow::Result<()> {
    let launcher = program(programs, "gantry-runner")?;
    let folder = tempfile::tempdir()?;
    let policy = MachinePolicy::default().policy()?;
    let confinement = Confinement::new(&launcher, policy).writing(folder.path());
    let settings = tempfile::tempdir()?;
    let confinement = confinement.with_settings(settings.path())?;
    let free = Spec {
        program: "/bin/true".into(),
        arguments: Vec::new(),
        folder: folder.path().to_owned(),
        environment: Environment::default(),
        user: None,
        confinement: None,
        processes: None,
    };
    let confined = Spec { confinement: Some(confinement), ..free.clone() };
    let (mut alone, mut with) = (Times::default(), Times::default());
    // In turn: what else the machine does meets both.
    for _ in 0..TIMES {
        alone.once(&free).await?;
        with.once(&confined).await?;
    }
    let (alone, with) = (alone.medians(), with.medians());
    row("a confined process, more time", &ms(with.0.saturating_sub(alone.0)), "< 5 ms");
    row("a confined process, more processor time", &ms(with.1.saturating_sub(alone.1)), "< 5 ms");
    Ok(())
}

#[derive(Default)]
struct Times {
    time: Vec<Duration>,
    processor: Vec<Duration>,
}

impl Times {
    async fn once(&mut self, spec: &Spec) -> anyhow::Result<()> {
        let nobody_listens: Sink = Arc::new(|_| {});
        let (_stopper, mut stop) = stop_channel();
        let on_stop = OnStop::Abandon { grace: Duration::from_secs(1) };
        let (before, began) = (used()?, Instant::now());
        let ended = process::run(spec, &nobody_listens, &mut stop, on_stop).await?;
        self.time.push(began.elapsed());
        self.processor.push(used()?.saturating_sub(before));
        anyhow::ensure!(ended.status.success(), "/bin/true does not run: {ended:?}");
        Ok(())
    }

    fn medians(self) -> (Duration, Duration) {
        (median(self.time), median(self.processor))
    }
}

/// The processor time of all processes that this one has started and that have ended.
fn used() -> anyhow::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = [usage.user_time(), usage.system_time()]
        .map(|time| time.tv_sec() * 1_000_000 + time.tv_usec());
    Ok(Duration::from_micros(micros.iter().sum::<i64>().unsigned_abs()))
}
