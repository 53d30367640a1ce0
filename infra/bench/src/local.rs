//! The program `gantry run`: started, looked at, ended.

use crate::{build::Build, ms, process};
use anyhow::Context as _;
use gantry_setup::Environment;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use std::{
    fs::{self, File, Permissions},
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::process::{Child, Command};

const PATIENCE: Duration = Duration::from_secs(30);
/// How it says at its end what its table was asked.
const REQUESTS: &str = "the table has answered ";
/// How it says that it has handled a message, and in how many milliseconds.
const HANDLED: &str = "the handler has ended duration_ms=";

/// How it is started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// How many runs execute at once.
    pub(crate) runners: u32,
    /// Runs execute on the tools of this machine. Otherwise their runner is a program that ends at
    /// once: what is measured then is Gantry, not Terraform.
    pub(crate) executes: bool,
    /// It says of each message how long that took.
    pub(crate) tells: bool,
}

/// A program that is up.
pub(crate) struct Local {
    child: Child,
    id: u32,
    pub(crate) address: SocketAddr,
    data: PathBuf,
    /// From its start until it answered, in milliseconds.
    pub(crate) took: f64,
}

impl Local {
    /// Starts it on a data folder, and waits until it answers.
    pub(crate) async fn start(
        build: &Build,
        data: &Path,
        address: SocketAddr,
        settings: Settings,
    ) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(5)).no_proxy().build()?;
        let page = format!("http://{address}/api/v1/openapi.json");
        let log = File::create(log(data))?;
        let messages = if settings.tells { ",gantry_queue=debug" } else { "" };
        let mut command = Command::new(build.program("gantry")?);
        command
            .arg("run")
            .env_clear()
            .envs(Environment.optional("PATH").map(|path| ("PATH", path)))
            .env("RUST_LOG", format!("warn,dynoxide=error,gantry_local=debug{messages}"))
            .env("GANTRY_ADDR", address.to_string())
            .env("GANTRY_DATA_DIR", data)
            .env("GANTRY_RUNNERS", settings.runners.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true);
        // Variables: an earlier build does not know all of them, and would refuse an option.
        match settings.executes {
            true => {
                let needs = Environment.optional("GANTRY_RUNS_MAY_READ");
                command.envs(needs.map(|needs| ("GANTRY_RUNS_MAY_READ", needs)));
            }
            false => {
                let idle = idle_runner(data)?;
                command.env("GANTRY_RUNNER", idle).env("GANTRY_UNCONFINED_RUNS", "true");
            }
        }
        let started = Instant::now();
        let child = command.spawn()?;
        let id = child.id().context("gantry run has ended")?;
        while !http.get(&page).send().await.is_ok_and(|answer| answer.status().is_success()) {
            anyhow::ensure!(
                started.elapsed() < PATIENCE,
                "gantry run answers nothing at {page}: {}",
                fs::read_to_string(self::log(data)).unwrap_or_default()
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(Self { child, id, address, data: data.to_owned(), took: ms(started.elapsed()) })
    }

    /// Ends it as service managers do. How many requests its table has answered, where it says so.
    pub(crate) async fn stop(mut self) -> anyhow::Result<Option<f64>> {
        kill(Pid::from_raw(self.id.try_into()?), Signal::SIGTERM)?;
        self.child.wait().await?;
        let said = fs::read_to_string(log(&self.data))?;
        let said = said.rsplit_once(REQUESTS).and_then(|(_, said)| said.split_once(' '));
        Ok(said.map(|(requests, _)| requests.parse()).transpose()?)
    }

    /// How many milliseconds each message took whose line in the log has this text in it. Nothing,
    /// unless it tells that.
    pub(crate) fn handled(&self, which: &str) -> anyhow::Result<Vec<f64>> {
        let said = fs::read_to_string(log(&self.data))?;
        let time = |line: &str| line.split_once(HANDLED)?.1.trim().parse::<f64>().ok();
        Ok(said.lines().filter(|line| line.contains(which)).filter_map(time).collect())
    }

    /// Its process, which all others that it starts are below.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// The seconds of a processor that it has used, runs included.
    pub(crate) fn processor(&self) -> anyhow::Result<f64> {
        process::processor(self.id)
    }

    /// The first key, as a person finds it.
    pub(crate) fn admin_key(&self) -> anyhow::Result<String> {
        let secrets = fs::read(self.data.join("secrets.json"))?;
        let secrets: Value = serde_json::from_slice(&secrets)?;
        Ok(secrets["admin-key"].as_str().context("there is no admin key")?.to_owned())
    }
}

/// A runner that says what it is and does nothing, beside the data folder.
fn idle_runner(data: &Path) -> anyhow::Result<PathBuf> {
    let file = data.with_extension("runner");
    fs::write(&file, "#!/bin/sh\n[ \"$1\" != --version ] || echo gantry-runner 0\n")?;
    fs::set_permissions(&file, Permissions::from_mode(0o755))?;
    Ok(std::path::absolute(file)?)
}

/// What it logs, beside its data folder, which is the program's alone.
fn log(data: &Path) -> PathBuf {
    data.with_extension("log")
}
