//! A plan whose JSON has more than 200 MB and whose output more than 100 MB, on the real Terraform: the
//! memory that the runner takes, and Gantry itself, until all of it is shown.

use crate::{
    build::Build,
    local::Settings,
    ms, pages, process,
    report::{Report, Target},
    world::{Forge, World, is_complete},
};
use anyhow::Context as _;
use gantry_fake_gitlab::Limits;
use std::time::{Duration, Instant};

const RESOURCES: usize = 20_000;
/// What a process of the runner is called.
const RUNNER: &str = "gantry-runner";
/// What the tool prints once of each resource.
const OF_EACH: &str = "will be created";

pub(crate) async fn measure(build: &Build, report: &mut Report) -> anyhow::Result<()> {
    let forge = Forge::new(Limits::default(), vec![code("one")]).await?;
    let settings = Settings { runners: 1, executes: true, tells: false };
    let world = World::new(build, settings, forge).await?;
    world.stacks(1).await?;
    let before = process::memory(world.local.id(), "VmRSS")?;

    let started = Instant::now();
    world.forge.push("change", &[code("two")])?;
    let iid = world.forge.open("change")?;
    let mut runner = 0.0_f64;
    let comment = world.forge.comment(iid, |note| is_complete(note, 1));
    let mut comment = std::pin::pin!(comment);
    loop {
        tokio::select! {
            found = &mut comment => break found?,
            () = tokio::time::sleep(Duration::from_millis(20)) => {
                runner = runner.max(process::most_memory_of(RUNNER));
            }
        }
    }
    let took = started.elapsed().as_secs_f64();
    let runs = world.ask("/stacks/s0/runs").await?;
    let run = runs["runs"][0]["id"].as_str().context("there is no run")?;
    let (page, log) = (page(&world, run).await?, log(&world, run).await?);
    let missing = RESOURCES.saturating_sub(log.matches(OF_EACH).count());
    let more = process::memory(world.local.id(), "VmHWM")? - before;

    let name = format!("a preview of {RESOURCES} resources, {} MB of log", log.len() / 1_000_000);
    report.add(&format!("{name}: to the comment"), "s", &[took], &[]);
    report.add(&format!("{name}: the runner's memory"), "MB", &[runner], &[Target::AtMost(300.0)]);
    let functions = format!("{name}: more memory of all functions");
    report.add(&functions, "MB", &[more], &[Target::AtMost(60.0)]);
    report.add(&format!("{name}: its page"), "ms", &[page], &[]);
    let not_logged = format!("{name}: resources that the log lacks");
    report.add(&not_logged, "", &[missing as f64], &[Target::AtMost(0.0)]);
    Ok(())
}

/// Resources with a text of 5 kB each, of which nothing was applied.
fn code(round: &str) -> (String, String) {
    let code = format!(
        "locals {{\n  long = join(\" \", [for number in range(1000) : \"text\"])\n}}\n\
         resource \"terraform_data\" \"{round}\" {{\n  count = {RESOURCES}\n  \
         input = \"${{count.index}} ${{local.long}}\"\n}}\n"
    );
    ("s0/main.tf".to_owned(), code)
}

/// Milliseconds until the run's page is there.
async fn page(world: &World, run: &str) -> anyhow::Result<f64> {
    let cookie = pages::sign_in(world).await?;
    let started = Instant::now();
    let asked = world.http.get(world.url(&format!("/runs/{run}"))).header("cookie", &cookie);
    let answer = asked.send().await?.error_for_status()?;
    answer.bytes().await?;
    Ok(ms(started.elapsed()))
}

/// The whole log, part by part.
async fn log(world: &World, run: &str) -> anyhow::Result<String> {
    let mut log = String::new();
    let mut after = String::new();
    loop {
        let part = world.ask(&format!("/runs/{run}/log{after}")).await?;
        for piece in part["pieces"].as_array().into_iter().flatten() {
            log.push_str(piece["text"].as_str().unwrap_or_default());
        }
        if part["more"] != true {
            return Ok(log);
        }
        after = format!("?after={}", part["next"].as_str().unwrap_or_default());
    }
}
