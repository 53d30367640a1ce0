//! Local mode: how fast it is up, and how much memory it takes.

use crate::{
    build::Build,
    free_address,
    local::{Local, Settings},
    median, process,
    report::{Report, Target},
};
use std::time::Duration;

const STARTS: usize = 5;

pub(crate) async fn measure(builds: &[Build], report: &mut Report) -> anyhow::Result<()> {
    let mut times = vec![Vec::new(); builds.len()];
    let mut memory = vec![0.0_f64; builds.len()];
    for _ in 0..STARTS {
        for (at, build) in builds.iter().enumerate() {
            let data = tempfile::tempdir()?;
            let settings = Settings { runners: 2, executes: true, tells: false };
            let folder = data.path().join("gantry");
            let local = Local::start(build, &folder, free_address()?, settings).await?;
            times[at].push(local.took);
            // A sweep and the first timers are in the figure.
            tokio::time::sleep(Duration::from_secs(2)).await;
            memory[at] = memory[at].max(process::memory(local.id(), "VmRSS")?);
            local.stop().await?;
        }
    }
    let times: Vec<f64> = times.into_iter().map(median).collect();
    let target = [Target::AtMost(1_000.0)];
    report.add("local mode, start to first answered request", "ms", &times, &target);
    report.add("local mode, memory when up", "MB", &memory, &[Target::AtMost(100.0)]);
    Ok(())
}
