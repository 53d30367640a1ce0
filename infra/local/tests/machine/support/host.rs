//! The host: the program, which can be killed, or the library, whose intervals can be chosen.

use gantry_local::{Host, HostConfig, Intervals, Reach};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use std::{
    ffi::OsString,
    fs::{self, File, Permissions},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Which one.
pub(crate) enum Kind {
    /// The program `gantry run`.
    Program,
    /// The library, in the test's own process.
    Inside(Intervals),
}

/// A host that runs, with its folder.
pub(crate) struct Running {
    server: Server,
    address: SocketAddr,
    folder: TempDir,
    terraform_config: Option<PathBuf>,
    settings: Vec<(&'static str, &'static str)>,
}

enum Server {
    Program(Option<tokio::process::Child>),
    Inside(Host),
}

impl Running {
    pub(crate) async fn start(kind: Kind, terraform_config: Option<PathBuf>) -> Self {
        let folder = folder();
        let (server, address) = match kind {
            Kind::Program => (Server::Program(None), free_address()),
            Kind::Inside(intervals) => {
                let host = Host::start(HostConfig {
                    address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
                    tls: None,
                    data_dir: folder.path().join("data"),
                    public_url: None,
                    runners: 2,
                    runner_user: None,
                    reach: Reach { may_read: gantry_terraform::needs(), ..Reach::default() },
                    runner: folder.path().join(RUNNER),
                    path: gantry_terraform::path(),
                    terraform_config: terraform_config.clone(),
                    ca_file: None,
                    intervals,
                });
                let host = host.await.unwrap();
                let address = host.address;
                (Server::Inside(host), address)
            }
        };
        let mut running = Self { server, address, folder, terraform_config, settings: Vec::new() };
        if matches!(running.server, Server::Program(_)) {
            running.start_again().await;
        }
        running
    }

    /// The program, on the data folder that is in `folder` and at the address that is in its records.
    pub(crate) async fn start_on(folder: TempDir, address: SocketAddr) -> Self {
        let server = Server::Program(None);
        let settings = Vec::new();
        let mut running = Self { server, address, folder, terraform_config: None, settings };
        running.start_again().await;
        running
    }

    /// Starts the program, again where it was before.
    pub(crate) async fn start_again(&mut self) {
        let Server::Program(child) = &mut self.server else { panic!("only a program") };
        assert!(child.is_none(), "the host runs already");
        let log = self.folder.path().join("host.log");
        let log = File::options().create(true).append(true).open(log).unwrap();
        let started = program(self.folder.path(), "run", self.address)
            .envs(self.terraform_config.as_ref().map(|file| ("GANTRY_TERRAFORM_CONFIG", file)))
            .envs(self.settings.iter().copied())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        let child = child.insert(started.unwrap());
        let began = Instant::now();
        let http = reqwest::Client::builder().timeout(Duration::from_secs(5)).no_proxy().build();
        let (http, health) = (http.unwrap(), format!("http://{}/healthz", self.address));
        while http.get(&health).send().await.is_err() {
            let ended = child.try_wait().unwrap();
            let waits = ended.is_none() && began.elapsed() < Duration::from_secs(30);
            assert!(waits, "the host is not up ({ended:?})\n{}", self.logs());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What a second program on the same folder says, until it ends or is up.
    pub(crate) async fn second(&self) -> Output {
        let mut second = program(self.folder.path(), "run", free_address());
        let second = second.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(30), second.wait_with_output()).await;
        ended.expect("the second host stays up").unwrap()
    }

    /// `kill -9`.
    pub(crate) async fn kill(&mut self) {
        let Server::Program(child) = &mut self.server else { panic!("only a program") };
        child.take().unwrap().kill().await.unwrap();
    }

    /// What the program is started with the next time, beside what it always is.
    pub(crate) fn set(&mut self, settings: &[(&'static str, &'static str)]) {
        self.settings = settings.to_vec();
    }

    pub(crate) fn process(&self) -> u32 {
        match &self.server {
            Server::Program(child) => child.as_ref().unwrap().id().unwrap(),
            Server::Inside(_) => std::process::id(),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The first key, as a person finds it.
    pub(crate) fn admin_key(&self) -> String {
        let secrets = match &self.server {
            Server::Program(_) => self.data_dir().join("secrets.json"),
            Server::Inside(host) => host.secrets_file.clone(),
        };
        let secrets: Value = serde_json::from_slice(&std::fs::read(secrets).unwrap()).unwrap();
        super::text(&secrets, "/admin-key")
    }

    /// The runners' process ids, oldest first.
    pub(crate) fn runners(&self) -> Vec<u32> {
        runners_of(&self.data_dir())
    }

    /// What the program and the runners have logged.
    pub(crate) fn logs(&self) -> String {
        let mut all = vec![self.folder.path().join("host.log")];
        let runners = std::fs::read_dir(self.data_dir().join("runner-logs"));
        all.extend(runners.into_iter().flatten().map(|entry| entry.unwrap().path()));
        let show = |path: &PathBuf| {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            format!("--- {}\n{text}", path.display())
        };
        all.iter().map(show).collect()
    }
}

impl Drop for Running {
    /// Runners outlive their host on purpose, and would outlive a test that failed.
    fn drop(&mut self) {
        for pid in self.runners() {
            let command = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            if command.trim() == "gantry-runner" {
                // An error means that it has ended just now.
                let _ended = kill(Pid::from_raw(pid.try_into().unwrap()), Signal::SIGKILL);
            }
        }
    }
}

/// A folder for a host, with its runner.
pub(crate) fn folder() -> TempDir {
    // As a home is to other users, those that runs may have among them.
    let passage = Permissions::from_mode(0o711);
    let folder = tempfile::Builder::new().prefix("gantry-machine-").permissions(passage).tempdir();
    let folder = folder.unwrap();
    write_runner(folder.path());
    folder
}

/// `gantry run` or `gantry demo` with the data folder and the runner in `folder`.
pub(crate) fn program(
    folder: &Path,
    command: &str,
    address: SocketAddr,
) -> tokio::process::Command {
    let mut program = tokio::process::Command::new(env!("CARGO_BIN_EXE_gantry"));
    program
        .env_clear()
        .env("PATH", gantry_terraform::path())
        .env("RUST_LOG", "info,gantry=debug")
        .envs(needs().map(|needs| ("GANTRY_RUNS_MAY_READ", needs)))
        .args([command, "--runners", "2", "--addr", &address.to_string()])
        .arg("--data-dir")
        .arg(folder.join("data"))
        .arg("--runner")
        .arg(folder.join(RUNNER))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    program
}

/// An address that is free now and that no outgoing connection is given while the host is down:
/// its port is below those.
pub(crate) fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 10_000).unwrap();
    loop {
        let port = 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// What the tools need besides, as a setting.
pub(super) fn needs() -> Option<OsString> {
    let needs = gantry_terraform::needs();
    (!needs.is_empty()).then(|| std::env::join_paths(needs).unwrap())
}

const RUNNER: &str = "runner.sh";

/// The process ids of the runners of a data folder, oldest first.
pub(crate) fn runners_of(data: &Path) -> Vec<u32> {
    let pids = std::fs::read_to_string(data.join("runners.pids")).unwrap_or_default();
    pids.lines().map(|line| line.parse().unwrap()).collect()
}

/// The runner program, which leaves its process id where a test finds it.
pub(crate) fn write_runner(folder: &Path) {
    let file = folder.join(RUNNER);
    let program = gantry_terraform::runner();
    let script = format!(
        "#!/bin/sh\n\
         case \"$1\" in\n\
         --launch-confined | --version) ;;\n\
         *) echo $$ >> \"$GANTRY_RUNNER_WORK.pids\" ;;\n\
         esac\n\
         exec {} \"$@\"\n",
        program.display()
    );
    fs::write(&file, script).unwrap();
    fs::set_permissions(file, Permissions::from_mode(0o755)).unwrap();
}
