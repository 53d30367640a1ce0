//! Measures the numbers that Gantry holds, and prints each beside its target. It never fails
//! because of a number: it is for people, on a machine that does nothing else meanwhile.
//!
//! `make bench` builds what it needs with the release profile. Words after it choose parts:
//! `webhook`, `functions`, `start`, `confined`, `push`, `many`, `pages`.

mod confined;
mod functions;
mod gitlab;
mod lambda;
mod pages;
mod start;
mod webhook;

use std::{io::Write as _, path::PathBuf, time::Duration};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // Fails only when somebody has chosen already.
    let _chosen_before = rustls::crypto::ring::default_provider().install_default();
    // The programs that are measured lie beside this one.
    let programs = std::env::current_exe()?.with_file_name("");
    let chosen: Vec<String> = std::env::args().skip(1).collect();
    let wants = |part: &str| chosen.is_empty() || chosen.iter().any(|word| word == part);
    row("what", "measured", "target");
    row("----", "--------", "------");
    if wants("webhook") {
        webhook::measure(&programs).await?;
    }
    if wants("functions") {
        functions::measure(&programs).await?;
    }
    if wants("start") {
        start::measure(&programs).await?;
    }
    if wants("confined") {
        confined::measure(&programs).await?;
    }
    if wants("push") {
        gitlab::one_push().await?;
    }
    if wants("many") {
        gitlab::many_stacks(2_000).await?;
    }
    if wants("pages") {
        pages::measure().await?;
    }
    Ok(())
}

/// A line of the table.
fn row(what: &str, measured: &str, target: &str) {
    // Nobody reads on: the measuring goes on all the same.
    let _closed = writeln!(std::io::stdout(), "{what:<58} {measured:>22}   {target}");
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// A program that was built beside this one.
fn program(programs: &std::path::Path, name: &str) -> anyhow::Result<PathBuf> {
    let path = programs.join(name);
    anyhow::ensure!(path.exists(), "{} is missing: run `make bench`", path.display());
    Ok(path)
}

/// Milliseconds with two digits.
fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}
