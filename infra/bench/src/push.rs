//! From a push to what it causes, with a runner that ends at once: what is measured is Gantry, not
//! Terraform.

use crate::{
    build::Build,
    local::Settings,
    median, ms, process,
    report::{Report, Target},
    world::{Forge, PATIENCE, UNTIL_SETTLED, World},
};
use anyhow::Context as _;
use gantry_fake_gitlab::Limits;
use gantry_setup::Clock;
use jiff::Timestamp;
use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

const PUSHES: usize = 10;
const STACKS: usize = 2_000;
const ROUNDS: usize = 3;
/// How long nothing happens where it is measured what that takes.
const IDLE: Duration = Duration::from_secs(10);
/// The sizes of the picture.
const SIZES: [usize; 4] = [10, 100, 1_000, 10_000];

/// The time until GitLab shows the first status, and what deciding reads.
pub(crate) async fn one(builds: &[Build], report: &mut Report) -> anyhow::Result<()> {
    let mut worlds = Vec::new();
    for build in builds {
        let world = world(build, 1_000).await?;
        world.stacks(1).await?;
        worlds.push(world);
    }
    let mut times = vec![Vec::new(); worlds.len()];
    let mut reads = BTreeMap::<String, Vec<f64>>::new();
    for number in 0..PUSHES {
        for (at, world) in worlds.iter().enumerate() {
            world.forge.gitlab.take_requests();
            let (branch, text) = (format!("change-{number}"), format!("# {number}\n"));
            let started = Instant::now();
            let commit = world.forge.push(&branch, &[("s0/main.tf".to_owned(), text)])?;
            world.forge.status(&commit).await?;
            times[at].push(ms(started.elapsed()));
            world.forge.quiet(UNTIL_SETTLED).await?;
            for request in world.forge.gitlab.take_requests() {
                if request.method == "GET" {
                    let kind: Vec<_> = request.path.split('/').skip(3).take(2).collect();
                    let counts = reads.entry(kind.join("/"));
                    counts.or_insert_with(|| vec![0.0; worlds.len()])[at] += 1.0;
                }
            }
        }
    }
    let times: Vec<f64> = times.into_iter().map(median).collect();
    let target = [Target::AtMost(300.0)];
    report.add("push to first status at GitLab, idle", "ms", &times, &target);
    for (kind, counts) in reads {
        let each: Vec<f64> = counts.iter().map(|count| count / PUSHES as f64).collect();
        report.add(&format!("GitLab reads a push: GET {kind}"), "", &each, &[]);
    }
    Ok(())
}

/// A push that touches many stacks.
pub(crate) async fn many(builds: &[Build], report: &mut Report) -> anyhow::Result<()> {
    let mut all = vec![Vec::new(); builds.len()];
    for _ in 0..ROUNDS {
        for (of_build, build) in all.iter_mut().zip(builds) {
            of_build.push(touching(build, STACKS).await?);
        }
    }
    let medians = |what: fn(&Touched) -> f64| -> Vec<f64> {
        all.iter().map(|rounds| median(rounds.iter().map(what).collect())).collect()
    };
    let name = format!("a push that touches {STACKS} stacks");
    let third = Target::Share(1.0 / 3.0);
    let recorded = format!("{name}: all runs recorded and queued, first status sent");
    report.add(&recorded, "s", &medians(|t| t.seconds), &[Target::AtMost(3.0), third]);
    report.add(&format!("{name}: processor"), "s", &medians(|t| t.processor), &[third]);
    report.add(&format!("{name}: GitLab calls"), "", &medians(|t| t.gitlab), &[]);
    // An earlier build says nothing of its table.
    let tables = medians(|t| t.table.unwrap_or(f64::NAN));
    let tables: Vec<f64> = tables.into_iter().filter(|requests| !requests.is_nan()).collect();
    report.add(&format!("{name}: requests of the table"), "", &tables, &[]);
    report.add("making one stack, on the way there", "ms", &medians(|t| t.making), &[]);
    let idle = format!("local mode, idle, {STACKS} stacks");
    let (memory, share) = (medians(|t| t.memory), medians(|t| t.idle));
    report.add(&format!("{idle}: memory"), "MB", &memory, &[Target::AtMost(60.0)]);
    report.add(&format!("{idle}: of a core"), "%", &share, &[Target::AtMost(0.5)]);
    Ok(())
}

/// How all of it grows with the stacks that a push touches.
pub(crate) async fn growth(
    build: &Build,
    report: &mut Report,
) -> anyhow::Result<Vec<(usize, Touched)>> {
    let mut sizes = Vec::new();
    for stacks in SIZES {
        let touched = touching(build, stacks).await?;
        let name = format!("growth, {stacks} stacks");
        report.add(&format!("{name}: time"), "s", &[touched.seconds], &[]);
        report.add(&format!("{name}: processor"), "s", &[touched.processor], &[]);
        report.add(&format!("{name}: GitLab calls"), "", &[touched.gitlab], &[]);
        let table = touched.table.context("the program does not say what its table was asked")?;
        report.add(&format!("{name}: requests of the table"), "", &[table], &[]);
        sizes.push((stacks, touched));
    }
    Ok(sizes)
}

/// What a push takes that touches many stacks.
#[derive(Debug, Clone)]
pub(crate) struct Touched {
    /// Until all runs are recorded and in the queue, and GitLab has the first status.
    pub(crate) seconds: f64,
    /// Seconds of a processor until GitLab is not asked any more.
    processor: f64,
    /// What GitLab was asked until then.
    pub(crate) gitlab: f64,
    /// What the table was asked, from the start of the program to its end.
    pub(crate) table: Option<f64>,
    /// Milliseconds that making one stack took.
    making: f64,
    /// Megabytes that it has with all these stacks, before the push.
    memory: f64,
    /// Percent of a core that it takes while nothing happens.
    idle: f64,
}

async fn touching(build: &Build, stacks: usize) -> anyhow::Result<Touched> {
    let world = world(build, 1).await?;
    let started = Instant::now();
    world.stacks(stacks).await?;
    let making = ms(started.elapsed()) / stacks as f64;
    // Its table counts from its start on.
    let (world, ()) = world.restart(build, async |_: &Path| Ok(())).await?;
    world.quiet().await?;
    let before = world.local.processor()?;
    tokio::time::sleep(IDLE).await;
    let idle = (world.local.processor()? - before) / IDLE.as_secs_f64() * 100.0;
    let memory = process::memory(world.local.id(), "VmRSS")?;

    world.forge.gitlab.take_requests();
    let (before, pushed, started) = (world.local.processor()?, now(), Instant::now());
    let commit =
        world.forge.push("main", &[("shared/main.tf".to_owned(), "# all\n".to_owned())])?;
    world.forge.status(&commit).await?;
    let first = started.elapsed().as_secs_f64();
    let (last, processor) = loop {
        world.forge.quiet(UNTIL_SETTLED).await?;
        let processor = world.local.processor()? - before;
        // Looking takes time from those who work: they have stopped.
        if let Some(last) = last_queued(&world, stacks).await? {
            break (last, processor);
        }
        anyhow::ensure!(started.elapsed() < PATIENCE, "not all runs come");
    };
    let gitlab = world.forge.gitlab.take_requests().len() as f64;
    let seconds = last.duration_since(pushed).as_secs_f64().max(first);
    let table = world.local.stop().await?;
    Ok(Touched { seconds, processor, gitlab, table, making, memory, idle })
}

/// When the last of the runs, one of each stack, came into the queue; none while one is missing.
async fn last_queued(world: &World, stacks: usize) -> anyhow::Result<Option<Timestamp>> {
    let mut last = Timestamp::MIN;
    for number in 0..stacks {
        let found = world.ask(&format!("/stacks/s{number}/runs")).await?;
        let Some(since) = found["runs"][0]["since"].as_str() else { return Ok(None) };
        last = last.max(since.parse()?);
    }
    Ok(Some(last))
}

async fn world(build: &Build, runners: u32) -> anyhow::Result<World> {
    let forge = Forge::new(Limits::default(), Vec::new()).await?;
    World::new(build, Settings { runners, executes: false, tells: false }, forge).await
}

fn now() -> Timestamp {
    Clock::system().now()
}
