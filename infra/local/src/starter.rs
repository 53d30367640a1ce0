//! Starting runners on this machine: each is a child process that outlives a restart of the host.

use crate::reach::Reach;
use anyhow::{Context as _, bail};
use gantry_domain::{RunId, StackId};
use gantry_queue::{
    ClaimToken, Context, Failure, Handler, Message, NotStarted, Sender, StackMessage, StartMessage,
};
use nix::{
    errno::Errno,
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use std::{
    collections::BTreeSet,
    env::join_paths,
    io,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};
use tokio::{
    process::{Child, Command},
    sync::watch,
};

/// What a runner's answer to `--version` begins with.
const NAME: &str = "gantry-runner ";

/// How long it may take to answer.
const ANSWERS: Duration = Duration::from_secs(30);

/// Asks the runner program what it is, before anything relies on it.
///
/// # Errors
/// When it cannot be started, or is another program.
pub(crate) async fn check(program: &Path, path: &str) -> anyhow::Result<()> {
    let why = match tokio::time::timeout(ANSWERS, version(program, path)).await {
        Ok(Ok(output)) if output.stdout.starts_with(NAME.as_bytes()) => return Ok(()),
        Ok(Ok(output)) => {
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            let said = said.lines().next().unwrap_or_default();
            format!("is not gantry-runner (it answers {said:?} to --version)")
        }
        Ok(Err(_)) if program.is_dir() => "cannot be started (it is a folder)".to_owned(),
        Ok(Err(error)) => {
            let words = |number| Errno::from_raw(number).desc().to_owned();
            let why = error.raw_os_error().map_or_else(|| error.to_string(), words);
            format!("cannot be started ({why})")
        }
        Err(_) => format!("does not answer to --version within {} s", ANSWERS.as_secs()),
    };
    bail!("the runner {} {why}: set --runner (GANTRY_RUNNER)", program.display())
}

async fn version(program: &Path, path: &str) -> io::Result<Output> {
    loop {
        let mut command = Command::new(program);
        command.arg("--version").env_clear().env("PATH", path).stdin(Stdio::null());
        match command.kill_on_drop(true).output().await {
            // It is just being installed.
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            said => return said,
        }
    }
}

/// Starts the runner program for each start that the scheduler asks for.
pub struct Starter {
    /// The runner program.
    pub program: PathBuf,
    /// Where the runner API is.
    pub api: String,
    /// The folder that runners work in.
    pub work: PathBuf,
    /// What no run may see.
    pub private: Vec<PathBuf>,
    /// What runs may reach besides their own.
    pub reach: Reach,
    /// The folder that the runners' own log lines go to.
    pub logs: PathBuf,
    /// Put in front of `PATH`, where `terraform` is found.
    pub path: String,
    /// The CLI configuration of Terraform and OpenTofu for runs that bring none.
    pub terraform_config: Option<PathBuf>,
    /// The user that Terraform and hooks run as, where the host is root.
    pub user: Option<String>,
    /// Tells the scheduler why a run has no runner.
    pub sender: Sender,
    /// Those that it has started.
    pub runners: Runners,
}

/// The process ids of the runners that go on. Each leads its process group.
#[derive(Debug, Clone, Default)]
pub struct Runners(watch::Sender<BTreeSet<i32>>);

impl Runners {
    /// Asks all to end, and ends those that do not within `grace`.
    pub async fn end(&self, grace: Duration) {
        for pid in self.0.borrow().iter() {
            // An error means that it has ended just now.
            let _ended = kill(Pid::from_raw(*pid), Signal::SIGTERM);
        }
        let mut left = self.0.subscribe();
        let all_ended = left.wait_for(BTreeSet::is_empty);
        if tokio::time::timeout(grace, all_ended).await.is_err() {
            for pid in self.0.borrow().iter() {
                let _ended = killpg(Pid::from_raw(*pid), Signal::SIGKILL);
            }
        }
    }
}

impl Starter {
    /// Starts the runner program for one attempt.
    ///
    /// # Errors
    /// When its log file cannot be made, or the program not be started.
    pub fn start(&self, run: &RunId, attempt: u32, token: &ClaimToken) -> anyhow::Result<Child> {
        let name = format!("{run}-{attempt}");
        let log = std::fs::File::create(self.logs.join(format!("{name}.log")))
            .context("the runner's log file cannot be created")?;
        Command::new(&self.program)
            .env_clear()
            .env("PATH", &self.path)
            .env("GANTRY_RUNNER_API", &self.api)
            .env("GANTRY_RUNNER_NAME", format!("local-{name}"))
            .env("GANTRY_RUNNER_WORK", &self.work)
            .env("GANTRY_CLAIM_TOKEN", token.expose())
            .env("GANTRY_RUNNER_PRIVATE", join_paths(&self.private)?)
            .envs(self.user.as_ref().map(|user| ("GANTRY_RUNNER_USER", user)))
            .envs(self.terraform_config.as_ref().map(|file| ("GANTRY_TERRAFORM_CONFIG", file)))
            .envs(self.reach.as_variables())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            // A group of its own: Ctrl-C at the host does not interrupt an apply.
            .process_group(0)
            .spawn()
            .with_context(|| format!("the runner {} cannot be started", self.program.display()))
    }
}

/// The attempt that a runner is started for.
struct Attempt {
    stack: StackId,
    run: RunId,
    attempt: u32,
}

impl Attempt {
    /// Has the run say why it waits. Where a runner has it, that comes too late and changes nothing.
    async fn tell_why(&self, sender: &Sender, words: String) {
        let Self { stack, run, attempt } = self;
        let (stack, run, attempt) = (stack.clone(), run.clone(), *attempt);
        let why = NotStarted::Delayed;
        let told = StackMessage::NotStarted { stack, run, attempt, why, words };
        if let Err(error) = sender.send(told).await {
            tracing::warn!(run.id = %self.run, "the run does not say why it waits: {error}");
        }
    }
}

#[async_trait::async_trait]
impl Handler for Starter {
    async fn handle(&self, context: Context, message: Message) -> Result<(), Failure> {
        let StartMessage::Start { run, stack, phase, attempt, claim_token, .. } =
            message.try_into()?
        else {
            return Ok(());
        };
        let sender = self.sender.following(context.hops);
        let wanted = Attempt { stack, run: run.clone(), attempt };
        let mut child = match self.start(&run, attempt, &claim_token) {
            Ok(child) => child,
            Err(error) => {
                // Where the program is, is in the log, and nothing for a page.
                wanted.tell_why(&sender, error.root_cause().to_string()).await;
                return Err(error.into());
            }
        };
        tracing::info!(run.id = %run, %phase, attempt, pid = child.id(), "runner started");
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        let runners = self.runners.0.clone();
        runners.send_modify(|running| running.extend(pid));
        // A process that ends must be waited for; what it did, it has reported itself.
        tokio::spawn(async move {
            let ended = child.wait().await;
            runners.send_modify(|running| running.retain(|other| Some(*other) != pid));
            match ended {
                Ok(status) if status.success() => {}
                Ok(status) => {
                    tracing::warn!(run.id = %run, "the runner ended with {status}");
                    let words = format!("it ended with {status}; its log says why");
                    wanted.tell_why(&sender, words).await;
                }
                Err(error) => {
                    tracing::warn!(run.id = %run, "the runner was not seen to end: {error}")
                }
            }
        });
        Ok(())
    }
}
