//! The sweep over many items that are due, alone and beside the records of old runs. It has no
//! baseline: the records are written as this build has them.

use crate::{
    build::Build,
    local::Settings,
    pages,
    report::{Report, Target},
    world::{Forge, PATIENCE, World},
};
use gantry_fake_gitlab::{Limits, ProjectId};
use gantry_local_table::LocalTable;
use gantry_setup::Clock;
use jiff::SignedDuration;
use std::{
    path::Path,
    time::{Duration, Instant},
};

const DUE: usize = 10_000;

pub(crate) async fn measure(build: &Build, report: &mut Report) -> anyhow::Result<()> {
    let old_runs = pages::STACKS * pages::RUNS_EACH;
    for (beside, has_old_runs) in [(String::new(), false), (format!(", {old_runs} runs"), true)] {
        let (sweep, all) = sweep(build, has_old_runs).await?;
        let name = format!("{DUE} due items{beside}");
        report.add(&format!("{name}: one sweep"), "s", &[sweep], &[Target::AtMost(10.0)]);
        report.add(&format!("{name}: until all are handled"), "s", &[all], &[]);
    }
    Ok(())
}

/// Seconds that the longest sweep took, and until all was handled that it brought forward.
async fn sweep(build: &Build, has_old_runs: bool) -> anyhow::Result<(f64, f64)> {
    let forge = Forge::new(Limits::default(), Vec::new()).await?;
    let settings = Settings { runners: 1, executes: false, tells: true };
    let world = World::new(build, settings, forge).await?;
    world.stacks(1).await?;
    let project = world.forge.project;
    let (world, ()) = world
        .restart(build, async |data: &Path| {
            if has_old_runs {
                pages::fill(data, 1).await?;
            }
            fall_due(data, project).await
        })
        .await?;
    let started = Instant::now();
    while world.local.handled("queue=feedback.fifo")?.len() < DUE {
        anyhow::ensure!(started.elapsed() < PATIENCE, "not all that is due is handled");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let all = started.elapsed().as_secs_f64();
    let sweeps = world.local.handled("kind=\"sweep\"")?;
    let longest = sweeps.into_iter().fold(0.0, f64::max);
    Ok((longest / 1e3, all))
}

/// Statuses of commits that nothing ran for, whose nudges were lost: to bring them up to date is
/// hardly any work.
async fn fall_due(data: &Path, project: ProjectId) -> anyhow::Result<()> {
    let table = LocalTable::in_file(&data.join("table.db"))?;
    let store = gantry_local::table::open(&table.config()).await?;
    let long_ago = Clock::system().now() - SignedDuration::from_hours(1);
    for number in 1..=DUE {
        store.raise_want(&format!("status:{project}:{number:040x}"), long_ago).await?;
    }
    Ok(())
}
