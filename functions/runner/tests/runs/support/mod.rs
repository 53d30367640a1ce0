//! A runner API that holds everything in memory and refuses what the real one refuses, and a
//! world around it in which runners run on real Terraform or OpenTofu.

mod api;

pub(crate) use api::{Api, Cut, Hang, LOG_SECRET};

use flate2::{Compression, write::GzEncoder};
use gantry_domain::{
    protocol::{ClaimAnswer, ReportKind, RunVariable},
    run::{Phase, PlanOptions, RunType},
    stack::{Hooks, Tool},
};
use gantry_engine::{
    Confinement, Environment, confine::MachinePolicy, tool::Releases, workspace::Limits,
};
use gantry_runner::{Config, Outcome, Timings};
use std::{
    fs::Permissions,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

/// `PATH` with both tools, and little else.
pub(crate) fn path() -> String {
    format!("{}:/usr/bin:/bin", gantry_terraform::folders())
}

/// How the runner's program confines what runs start, with a folder that none may see.
pub(crate) fn confinement(work: &Path) -> Confinement {
    let machine = MachinePolicy {
        private: vec![work.to_owned()],
        path: path(),
        may_read: gantry_terraform::needs(),
        ..MachinePolicy::default()
    };
    Confinement::new(env!("CARGO_BIN_EXE_gantry-runner").as_ref(), machine.policy().unwrap())
}

/// A commit's archive as GitLab makes it: everything below one folder.
pub(crate) fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, body) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(body.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, format!("project-0123/{name}"), body.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

/// One stack with one run.
pub(crate) struct World {
    pub(crate) api: Api,
    pub(crate) claim: ClaimAnswer,
    pub(crate) timings: Timings,
    /// Put in front of `PATH`: a tool that is not that of the other tests.
    pub(crate) first_on_path: Option<PathBuf>,
    /// What runs may read besides what they need.
    pub(crate) may_read: Vec<PathBuf>,
    /// What runs may change besides their own folders.
    pub(crate) may_write: Vec<PathBuf>,
    /// The installation's CLI configuration.
    pub(crate) terraform_config: Option<PathBuf>,
    folders: tempfile::TempDir,
    attempts: u32,
}

impl World {
    /// A tracked run of `files` in the folder `infra`, on Terraform.
    pub(crate) async fn new(files: &[(&str, &str)]) -> Self {
        Self::on(Tool::Terraform, files).await
    }

    /// The same on a tool.
    pub(crate) async fn on(tool: Tool, files: &[(&str, &str)]) -> Self {
        let api = Api::start(archive(files)).await;
        let second = Duration::from_secs(1);
        Self {
            api,
            claim: ClaimAnswer {
                run_token: String::new(),
                run: "run-1".parse().unwrap(),
                phase: Phase::Plan,
                run_type: RunType::Tracked,
                stack: "net".parse().unwrap(),
                commit: "0123456789abcdef0123456789abcdef01234567".parse().unwrap(),
                uploaded_by: None,
                upload_digest: None,
                source_url: None,
                branch: "main".into(),
                project_root: "infra".into(),
                var_files: Vec::new(),
                tool,
                tool_version: None,
                autodeploy: false,
                manage_state: true,
                hooks: Hooks::default(),
                variables: Vec::new(),
                timeout: 300,
                apply_timeout: 300,
                plan_digest: None,
                planned: None,
                registry: None,
                largest_state: 256 << 20,
                options: PlanOptions::default(),
                tolerate: None,
                task: None,
            },
            timings: Timings {
                heartbeat: Duration::from_millis(100),
                log: Duration::from_millis(200),
                passing: Duration::ZERO,
                grace: 10 * second,
                patience: 5 * second,
                state_patience: second,
                report_patience: 5 * second,
            },
            folders: tempfile::Builder::new()
                .permissions(Permissions::from_mode(0o711))
                .tempdir()
                .unwrap(),
            first_on_path: None,
            may_read: Vec::new(),
            may_write: Vec::new(),
            terraform_config: None,
            attempts: 0,
        }
    }

    pub(crate) fn variable(&mut self, name: &str, value: &str, secret: bool) {
        let (name, value) = (name.to_owned(), value.to_owned());
        self.claim.variables.push(RunVariable { name, value, secret });
    }

    /// Offers the phase; what a runner in a folder of its own needs to take it.
    pub(crate) fn offer(&mut self) -> Config {
        self.attempts += 1;
        self.claim.run_token = format!("run-token-{}", self.attempts);
        let claim_token = format!("claim-token-{}", self.attempts);
        self.api.offer(&claim_token, self.claim.clone());
        let work = self.work();
        let first = self.first_on_path.iter().map(|folder| format!("{}:", folder.display()));
        let environment = [("PATH".to_owned(), first.collect::<String>() + &path())];
        let confinement = self.may_read.iter().fold(confinement(&work), |c, path| c.reading(path));
        let confinement = self.may_write.iter().fold(confinement, |c, path| c.writing(path));
        std::fs::create_dir_all(&work).unwrap();
        Config {
            terraform_version: None,
            terraform_config: self.terraform_config.clone(),
            identity: None,
            api: self.api.address.parse().unwrap(),
            claim_token: claim_token.into(),
            name: "test".into(),
            confinement: Some(confinement),
            tools: work.join("tools"),
            work,
            releases: Releases {
                terraform: "http://127.0.0.1:9".parse().unwrap(),
                opentofu: "http://127.0.0.1:9".parse().unwrap(),
            },
            environment: Environment::allowed_of(environment, &[]),
            user: None,
            program: env!("CARGO_BIN_EXE_gantry-runner").into(),
            own_process: false,
            own_mounts: false,
            limits: Limits::default(),
            timings: self.timings,
        }
    }

    /// Offers the phase; the runner program that takes it, to be started.
    pub(crate) fn program(&mut self) -> std::process::Command {
        let config = self.offer();
        std::fs::create_dir_all(&config.work).unwrap();
        let log = std::fs::File::create(config.work.join("runner.log")).unwrap();
        let mut command = std::process::Command::new(gantry_terraform::runner());
        command
            .env_clear()
            .env("PATH", path())
            .env("GANTRY_RUNNER_API", config.api.as_str())
            .env("GANTRY_RUNNER_WORK", &config.work)
            .env("GANTRY_CLAIM_TOKEN", format!("claim-token-{}", self.attempts))
            .stdin(std::process::Stdio::null())
            .stderr(log);
        command
    }

    /// The present attempt's folder.
    pub(crate) fn work(&self) -> PathBuf {
        self.folders.path().join(format!("machine-{}", self.attempts))
    }

    /// Runs the phase to its end, which is what was reported last.
    pub(crate) async fn run(&mut self) -> ReportKind {
        let config = self.offer();
        match gantry_runner::run(config).await {
            Ok(Outcome::Reported(report)) => {
                assert_eq!(self.api.reports().last(), Some(&report));
                report
            }
            other => panic!("{other:?}\n{}", self.api.log()),
        }
    }

    /// Goes on to the apply of what was planned, on another machine.
    #[track_caller]
    pub(crate) fn confirm(&mut self, planned: &ReportKind) {
        let ReportKind::Planned { plan_digest: Some(digest), delta, .. } = planned else {
            panic!("{planned:?}\n{}", self.api.log())
        };
        self.claim.phase = Phase::Apply;
        self.claim.plan_digest = Some(digest.clone());
        self.claim.planned = Some(*delta);
    }

    /// The next run of the stack, which begins with its plan.
    pub(crate) fn next_run(&mut self) {
        (self.claim.phase, self.claim.plan_digest, self.claim.planned) = (Phase::Plan, None, None);
    }
}

/// Processes that can be told from all others on the machine.
pub(crate) struct Mark(String);

impl Mark {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self(format!("600.{}{number:04}", std::process::id()))
    }

    /// A command that leaves one in the background, in a session of its own.
    pub(crate) fn left_behind(&self) -> String {
        let mark = &self.0;
        format!(
            "setsid sh -c 'exec 9> $HOME/lock; flock 9; echo > $HOME/left; exec sleep {mark}' > /dev/null 2>&1 & \
                 until [ -s $HOME/left ]; do sleep 0.02; done"
        )
    }

    /// A command that says so where it is still there.
    pub(crate) fn is_there(&self) -> String {
        "flock -n $HOME/lock true || echo it is there".to_owned()
    }

    /// Those that are there now.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let all = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let is_mine = |id: &u32| {
            let arguments = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            arguments.split(|byte| *byte == 0).any(|argument| argument == self.0.as_bytes())
        };
        all.filter(is_mine).collect()
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        for id in self.processes() {
            let _gone = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(id.try_into().unwrap()),
                nix::sys::signal::Signal::SIGKILL,
            );
        }
    }
}

/// Waits until `done`, with a limit that only a failure reaches.
pub(crate) async fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..600 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("waited for nothing: {what}");
}
