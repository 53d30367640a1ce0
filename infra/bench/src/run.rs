//! A run beside what it runs: the same `init`, `plan` and `show` by hand, on the same machine, in
//! turn; and where the rest goes, as far as the run's history tells.

use crate::{
    build::Build,
    local::Settings,
    median, ms,
    report::{Report, Target},
    world::{Forge, World, is_complete},
};
use anyhow::Context as _;
use gantry_fake_gitlab::Limits;
use gantry_setup::{Clock, Environment};
use jiff::Timestamp;
use serde_json::Value;
use std::{path::Path, process::Stdio, time::Instant};
use tokio::process::Command;

const RESOURCES: usize = 20;
const ROUNDS: usize = 10;
/// Before those that count.
const WARM_UP: usize = 2;

/// What takes part of a time: its name, and milliseconds.
type Parts = Vec<(String, f64)>;

pub(crate) async fn measure(builds: &[Build], report: &mut Report) -> anyhow::Result<()> {
    let mut worlds = Vec::new();
    for build in builds {
        // More merge requests a minute than GitLab gives archives.
        let limits = Limits { archives_per_minute: None, ..Limits::default() };
        let forge = Forge::new(limits, vec![code(0)]).await?;
        let settings = Settings { runners: 2, executes: true, tells: false };
        let world = World::new(build, settings, forge).await?;
        world.stacks(1).await?;
        worlds.push(world);
    }
    let mut alone: Vec<Parts> = Vec::new();
    let mut with: Vec<Vec<Parts>> = vec![Vec::new(); worlds.len()];
    for round in 1..=WARM_UP + ROUNDS {
        let by_hand = by_hand(round).await?;
        let counts = round > WARM_UP;
        alone.extend(counts.then_some(by_hand));
        for (world, with) in worlds.iter().zip(&mut with) {
            let run = merge_request(world, round).await?;
            with.extend(counts.then_some(run));
        }
    }
    let by_hand = total(&alone, |_| true);
    // From the first state to the last: all but the way there, and the way to the comment.
    let is_own = |name: &str| name.contains('→');
    let own: Vec<f64> = with.iter().map(|rounds| total(rounds, is_own)).collect();
    let more: Vec<f64> = own.iter().map(|own| own - by_hand).collect();
    let whole: Vec<f64> = with.iter().map(|rounds| total(rounds, |_| true)).collect();
    let name = format!("{RESOURCES} terraform_data");
    report.add(&format!("{name}, init, plan and show by hand"), "ms", &[by_hand], &[]);
    report.add(&format!("{name}, a preview, first to last state"), "ms", &own, &[]);
    report.add(
        &format!("{name}, a preview, more than by hand"),
        "ms",
        &more,
        &[Target::AtMost(60.0)],
    );
    let target = [Target::AtMost(280.0)];
    report.add(&format!("{name}, merge request to complete comment"), "ms", &whole, &target);
    for (part, time) in medians(&alone) {
        report.add(&format!("{name}, by hand: {part}"), "ms", &[time], &[]);
    }
    let mut with = with.iter().map(|rounds| medians(rounds));
    let (own, baseline) = (with.next().unwrap_or_default(), with.next().unwrap_or_default());
    for (part, time) in own {
        let other = baseline.iter().find(|(name, _)| *name == part).map(|(_, time)| *time);
        let values: Vec<f64> = [time].into_iter().chain(other).collect();
        report.add(&format!("{name}, a preview: {part}"), "ms", &values, &[]);
    }
    Ok(())
}

/// The median of the sums of those parts that are wanted.
fn total(rounds: &[Parts], is_wanted: impl Fn(&str) -> bool) -> f64 {
    let sum = |parts: &Parts| {
        parts.iter().filter(|(name, _)| is_wanted(name)).map(|(_, time)| time).sum::<f64>()
    };
    median(rounds.iter().map(sum).collect())
}

/// The median of each part that all rounds have.
fn medians(rounds: &[Parts]) -> Parts {
    let Some(first) = rounds.first() else { return Parts::new() };
    let of = |name: &str| -> Option<Vec<f64>> {
        let time = |parts: &Parts| Some(parts.iter().find(|(other, _)| other == name)?.1);
        rounds.iter().map(time).collect()
    };
    first.iter().filter_map(|(name, _)| Some((name.clone(), median(of(name)?)))).collect()
}

/// The folder `s0` with its code.
fn code(round: usize) -> (String, String) {
    let resource = |number: usize| {
        format!("resource \"terraform_data\" \"r{number}\" {{\n  input = \"{round}\"\n}}\n")
    };
    ("s0/main.tf".to_owned(), (0..RESOURCES).map(resource).collect())
}

/// What somebody would type in an empty folder.
async fn by_hand(round: usize) -> anyhow::Result<Parts> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("main.tf"), code(round).1)?;
    let mut parts = Parts::new();
    for arguments in [
        &["init", "-input=false"][..],
        &["plan", "-input=false", "-out=made.plan"],
        &["show", "-json", "made.plan"],
    ] {
        let started = Instant::now();
        terraform(folder.path(), arguments).await?;
        parts.push((arguments[0].to_owned(), ms(started.elapsed())));
    }
    Ok(parts)
}

async fn terraform(folder: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("terraform")
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .envs(Environment.optional("PATH").map(|path| ("PATH", path)))
        .env("HOME", folder)
        // As runs have it: nothing is asked of HashiCorp.
        .env("CHECKPOINT_DISABLE", "1")
        .stdin(Stdio::null())
        .output()
        .await
        .context("terraform cannot be started")?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "terraform {arguments:?}: {said}");
    Ok(())
}

/// From the commit of a merge request to its complete comment, part by part.
async fn merge_request(world: &World, round: usize) -> anyhow::Result<Parts> {
    let branch = format!("change-{round}");
    let (pushed, started) = (Clock::system().now(), Instant::now());
    let commit = world.forge.push(&branch, &[code(round)])?;
    let iid = world.forge.open(&branch)?;
    world.forge.comment(iid, |note| is_complete(note, 1)).await?;
    let commented = pushed + started.elapsed();
    world.quiet().await?;

    let runs = world.ask("/stacks/s0/runs").await?;
    let mut runs = runs["runs"].as_array().into_iter().flatten();
    let run = runs.find(|run| run["commit"] == commit).context("the commit has no run")?;
    let run = world.ask(&format!("/runs/{}", run["id"].as_str().unwrap_or_default())).await?;
    let mut steps = Vec::new();
    for step in run["history"].as_array().into_iter().flatten() {
        steps.push((word(&step["state"]), word(&step["at"]).parse::<Timestamp>()?));
    }
    let [(first, began), .., (last, ended)] = steps.as_slice() else {
        anyhow::bail!("the run has no history: {run}");
    };
    let between = |from: Timestamp, to: Timestamp| to.duration_since(from).as_secs_f64() * 1e3;
    let mut parts = vec![(format!("commit to {first}"), between(pushed, *began))];
    for pair in steps.windows(2) {
        let [(from, began), (to, ended)] = pair else { continue };
        parts.push((format!("{from} → {to}"), between(*began, *ended)));
    }
    parts.push((format!("{last} to the comment"), between(*ended, commented)));
    Ok(parts)
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
