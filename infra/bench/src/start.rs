//! Local mode: how fast it is up, and how much memory it takes.

use crate::{median, ms, program, row};
use anyhow::Context as _;
use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const STARTS: usize = 5;
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn measure(programs: &Path) -> anyhow::Result<()> {
    let (mut times, mut memory) = (Vec::new(), 0);
    for _ in 0..STARTS {
        let (time, kilobytes) = once(programs).await?;
        times.push(time);
        memory = memory.max(kilobytes);
    }
    row("local mode, start to first answered request", &ms(median(times)), "< 1000 ms");
    row("local mode, memory when up", &format!("{} MB", memory / 1000), "< 100 MB");
    Ok(())
}

async fn once(programs: &Path) -> anyhow::Result<(Duration, u64)> {
    let data = tempfile::tempdir()?;
    // Free a moment ago.
    let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let http = reqwest::Client::builder().timeout(Duration::from_secs(5)).no_proxy().build()?;
    let page = format!("http://{address}/api/v1/openapi.json");
    let started = Instant::now();
    let mut child = Command::new(program(programs, "gantry")?)
        .arg("run")
        .env_clear()
        .env("GANTRY_ADDR", address.to_string())
        .env("GANTRY_DATA_DIR", data.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let mut up = false;
    while !up && started.elapsed() < PATIENCE {
        up = http.get(&page).send().await.is_ok_and(|answer| answer.status().is_success());
        if !up {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    let took = started.elapsed();
    // A sweep and the first timers are in the figure.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
    child.kill()?;
    child.wait()?;
    anyhow::ensure!(up, "gantry run answers nothing at {page}");
    let status = status.context("memory is read from /proc")?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = resident.and_then(|text| text.split_whitespace().next()?.parse().ok());
    Ok((took, kilobytes.unwrap_or_default()))
}
