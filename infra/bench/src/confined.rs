//! What a process of a run costs more, since it is confined. It has no baseline: the launcher is
//! spoken to as this build does.

use crate::{
    build::Build,
    median, ms,
    report::{Report, Target},
};
use gantry_engine::{
    Confinement, Environment, OnStop, Sink, Spec, confine::MachinePolicy, process,
    stop::stop_channel,
};
use nix::sys::resource::{UsageWho, getrusage};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

const TIMES: usize = 200;

pub(crate) async fn measure(build: &Build, report: &mut Report) -> anyhow::Result<()> {
    let launcher = build.program("gantry-runner")?;
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
    let time = median(with.time) - median(alone.time);
    let processor = median(with.processor) - median(alone.processor);
    let target = [Target::AtMost(5.0)];
    report.add("a confined process, more time", "ms", &[time], &target);
    report.add("a confined process, more processor time", "ms", &[processor], &target);
    Ok(())
}

/// Milliseconds.
#[derive(Default)]
struct Times {
    time: Vec<f64>,
    processor: Vec<f64>,
}

impl Times {
    async fn once(&mut self, spec: &Spec) -> anyhow::Result<()> {
        let nobody_listens: Sink = Arc::new(|_| {});
        let (_stopper, mut stop) = stop_channel();
        let on_stop = OnStop::Abandon { grace: Duration::from_secs(1) };
        let (before, began) = (used()?, Instant::now());
        let ended = process::run(spec, &nobody_listens, &mut stop, on_stop).await?;
        self.time.push(ms(began.elapsed()));
        self.processor.push(ms(used()?.saturating_sub(before)));
        anyhow::ensure!(ended.status.success(), "/bin/true does not run: {ended:?}");
        Ok(())
    }
}

/// The processor time of all processes that this one has started and that have ended.
fn used() -> anyhow::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = [usage.user_time(), usage.system_time()]
        .map(|time| time.tv_sec() * 1_000_000 + time.tv_usec());
    Ok(Duration::from_micros(micros.iter().sum::<i64>().unsigned_abs()))
}
