//! The runner's settings, all from its environment.

use gantry_engine::{
    Confinement, Environment, Unprivileged, confine::MachinePolicy, tool::Releases,
    workspace::Limits,
};
use gantry_setup::identity::Prover;
use secrecy::SecretString;
use std::{collections::BTreeMap, path::PathBuf, time::Duration};
use url::Url;

/// Where the claim token is; never an argument, which everybody on the machine can read.
pub const CLAIM_TOKEN: &str = "GANTRY_CLAIM_TOKEN";

/// Settings as they are written. Each can also be given as an argument.
#[derive(Debug, clap::Parser)]
#[command(
    name = "gantry-runner",
    version,
    about = "Executes one phase of a Gantry run: claims it, runs Terraform or OpenTofu and reports \
             the result",
    after_help = "The claim token is read from the environment variable GANTRY_CLAIM_TOKEN."
)]
pub struct Arguments {
    /// Take runs from a pool, one after the other, until told to stop; the worker's key is read
    /// from GANTRY_WORKER_KEY
    #[arg(long)]
    poll: bool,
    /// Deliver to Gantry what runners that died on this machine have left, above all the state of
    /// an apply, then exit; for machines that are about to go away
    #[arg(long, conflicts_with = "poll")]
    rescue: bool,
    /// How many runs a worker executes at once
    #[arg(long, env = "GANTRY_RUNNER_SLOTS", default_value_t = 1)]
    slots: usize,
    /// How many runs to execute, one after the other, if more runs like the first are waiting; more
    /// than one requires a separate user for Terraform
    #[arg(long, env = "GANTRY_RUNNER_RUNS", default_value_t = 1)]
    runs: u32,
    /// How many minutes this machine will be available; runs that may take longer are not started
    #[arg(long, env = "GANTRY_RUNNER_MINUTES")]
    minutes: Option<u32>,
    /// The runner API's address, without /runner/v1
    #[arg(long, env = "GANTRY_RUNNER_API")]
    api: Url,
    /// The display name of this runner; by default its host name and process id
    #[arg(long, env = "GANTRY_RUNNER_NAME")]
    name: Option<String>,
    /// The folder for run files and downloaded programs; only this user may be able to write to it
    #[arg(long, env = "GANTRY_RUNNER_WORK")]
    work: PathBuf,
    /// The user that Terraform and hooks run as if the runner is root
    #[arg(long, env = "GANTRY_RUNNER_USER")]
    user: Option<String>,
    /// A file or folder that runs may read besides what they need; can be given several times
    #[arg(long, env = "GANTRY_RUNS_MAY_READ", value_delimiter = ':')]
    runs_may_read: Vec<String>,
    /// A file or folder that runs may read and change besides their own; can be given several times
    #[arg(long, env = "GANTRY_RUNS_MAY_WRITE", value_delimiter = ':')]
    runs_may_write: Vec<String>,
    /// Do not confine runs; code in a merge request can then read whatever their user can
    #[arg(
        long,
        env = "GANTRY_UNCONFINED_RUNS",
        value_parser = clap::builder::FalseyValueParser::new()
    )]
    unconfined_runs: bool,
    /// Another folder of Gantry that no run may see, besides --work; can be given several times
    #[arg(long, env = "GANTRY_RUNNER_PRIVATE", value_delimiter = ':')]
    private: Vec<String>,
    /// Names of further environment variables of the runner that runs may see, comma-separated
    #[arg(long, env = "GANTRY_RUNNER_PASS", value_delimiter = ',')]
    pass: Vec<String>,
    /// A file in the format of ~/.terraformrc: the CLI configuration of Terraform and OpenTofu for
    /// every run that does not bring its own
    #[arg(long, env = "GANTRY_TERRAFORM_CONFIG")]
    terraform_config: Option<String>,
    /// The Terraform version for runs that do not specify one, if no program is on PATH
    #[arg(long, env = "GANTRY_TERRAFORM_VERSION")]
    terraform_version: Option<String>,
    /// Where to download Terraform releases from
    #[arg(
        long,
        env = "GANTRY_TERRAFORM_RELEASES",
        default_value = "https://releases.hashicorp.com"
    )]
    terraform_releases: Url,
    /// Where to download OpenTofu releases from
    #[arg(
        long,
        env = "GANTRY_OPENTOFU_RELEASES",
        default_value = "https://github.com/opentofu/opentofu/releases/download"
    )]
    opentofu_releases: Url,
}

impl Arguments {
    /// What runs start may read and change whatever its user can.
    pub fn unconfined_runs(&self) -> bool {
        self.unconfined_runs
    }

    /// It is a worker, which takes runs of a pool.
    pub fn is_worker(&self) -> bool {
        self.poll
    }

    /// It looks after what a runner has left, and executes nothing.
    pub fn is_rescue(&self) -> bool {
        self.rescue
    }

    pub(crate) fn api(&self) -> &Url {
        &self.api
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.work.clone()
    }

    pub(crate) fn runs(&self) -> u32 {
        self.runs
    }

    pub(crate) fn minutes(&self) -> Option<u32> {
        self.minutes
    }

    pub(crate) fn slots(&self) -> usize {
        self.slots
    }

    /// The installation's CLI configuration, where it has one.
    pub(crate) fn terraform_config(&self) -> Option<PathBuf> {
        named_file(self.terraform_config.clone())
    }

    pub(crate) fn own_name(&self) -> String {
        self.name.clone().unwrap_or_else(own_name)
    }

    /// The same settings for a runner that executes one run.
    pub(crate) fn as_variables(&self) -> Vec<(String, String)> {
        let set = [
            ("GANTRY_RUNNER_API", Some(self.api.to_string())),
            ("GANTRY_RUNNER_WORK", Some(self.work.display().to_string())),
            ("GANTRY_RUNNER_USER", self.user.clone()),
            ("GANTRY_RUNNER_PASS", Some(self.pass.join(","))),
            ("GANTRY_RUNS_MAY_READ", Some(self.runs_may_read.join(":"))),
            ("GANTRY_RUNS_MAY_WRITE", Some(self.runs_may_write.join(":"))),
            ("GANTRY_RUNNER_PRIVATE", Some(self.private.join(":"))),
            ("GANTRY_UNCONFINED_RUNS", self.unconfined_runs.then(|| "true".to_owned())),
            ("GANTRY_TERRAFORM_CONFIG", self.terraform_config.clone()),
            ("GANTRY_TERRAFORM_VERSION", self.terraform_version.clone()),
            ("GANTRY_TERRAFORM_RELEASES", Some(self.terraform_releases.to_string())),
            ("GANTRY_OPENTOFU_RELEASES", Some(self.opentofu_releases.to_string())),
        ];
        let set = set.into_iter().filter_map(|(name, value)| Some((name, value?)));
        set.filter(|(_, value)| !value.is_empty()).map(|(n, v)| (n.to_owned(), v)).collect()
    }
}

/// What a runner needs to know.
#[derive(Clone)]
pub struct Config {
    /// The runner API's address, without `/runner/v1`.
    pub api: Url,
    /// Buys the phase, once.
    pub claim_token: SecretString,
    /// The runner's name, for people.
    pub name: String,
    /// The folder for runs' files.
    pub work: PathBuf,
    /// The folder for downloaded programs.
    pub tools: PathBuf,
    /// Where they come from.
    pub releases: Releases,
    /// What runs see of the runner's own environment.
    pub environment: Environment,
    /// The CLI configuration of Terraform and OpenTofu for runs that bring none.
    pub terraform_config: Option<PathBuf>,
    /// The version of runs that name none, where no program is on `PATH`.
    pub terraform_version: Option<String>,
    /// Proves the runner's cloud role, where it has one.
    pub identity: Option<Prover>,
    /// Who Terraform and hooks run as; the runner itself when empty.
    pub user: Option<Unprivileged>,
    /// How what runs start is confined; not at all when empty.
    pub confinement: Option<Confinement>,
    /// The runner's own program, which keeps a phase's processes together.
    pub program: PathBuf,
    /// This process executes nothing but runs, one after the other.
    pub own_process: bool,
    /// This process has mounts of its own (`gantry_engine::overlay`).
    pub own_mounts: bool,
    /// How large archives may be.
    pub limits: Limits,
    /// How long things take.
    pub timings: Timings,
}

/// How long things take.
#[derive(Debug, Clone, Copy)]
pub struct Timings {
    /// Between two heartbeats.
    pub heartbeat: Duration,
    /// Between a line of output and its way to the runner API.
    pub log: Duration,
    /// How long a preview lasts, and then its plan, before somebody is told that it goes on. Where this
    /// is 0, that it began is enough.
    pub passing: Duration,
    /// Between asking a plan to end and ending it.
    pub grace: Duration,
    /// How long the runner API is asked again before the run fails.
    pub patience: Duration,
    /// How long it is asked to take a state while Terraform waits.
    pub state_patience: Duration,
    /// How long it is asked to take the final report.
    pub report_patience: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(5),
            log: Duration::from_secs(1),
            passing: Duration::from_secs(3),
            grace: Duration::from_secs(30),
            patience: Duration::from_secs(3 * 60),
            state_patience: Duration::from_secs(5 * 60),
            report_patience: Duration::from_secs(60 * 60),
        }
    }
}

impl Config {
    /// The settings from arguments and environment. Errors name the setting.
    pub fn new(
        arguments: Arguments,
        mut variables: BTreeMap<String, String>,
    ) -> anyhow::Result<Self> {
        let claim_token =
            variables.remove(CLAIM_TOKEN).filter(|token| !token.is_empty()).ok_or_else(|| {
                anyhow::anyhow!("{CLAIM_TOKEN} is not set; it is needed to claim the phase to run")
            })?;
        let user = arguments
            .user
            .filter(|name| !name.is_empty())
            .map(|name| Unprivileged::named(&name))
            .transpose()?;
        let environment = Environment::allowed_of(variables, &arguments.pass);
        let machine = MachinePolicy {
            private: [vec![arguments.work.clone()], paths(arguments.private)].concat(),
            path: environment.get("PATH").unwrap_or_default().to_owned(),
            named: environment.named_files(),
            may_read: paths(arguments.runs_may_read),
            may_write: paths(arguments.runs_may_write),
            has_user: user.is_some(),
        };
        let confinement = match arguments.unconfined_runs {
            true => None,
            false => Confinement::by_this_program(machine.policy()?),
        };
        Ok(Self {
            api: arguments.api,
            claim_token: claim_token.into(),
            name: arguments.name.unwrap_or_else(own_name),
            tools: arguments.work.join("tools"),
            work: arguments.work,
            releases: Releases {
                terraform: arguments.terraform_releases,
                opentofu: arguments.opentofu_releases,
            },
            environment,
            terraform_config: named_file(arguments.terraform_config),
            terraform_version: arguments.terraform_version.filter(|version| !version.is_empty()),
            identity: None,
            user,
            confinement,
            program: PathBuf::from("/proc/self/exe"),
            own_process: true,
            own_mounts: false,
            limits: Limits::default(),
            timings: Timings::default(),
        })
    }
}

/// A variable that is empty names none.
fn paths(named: Vec<String>) -> Vec<PathBuf> {
    named.into_iter().filter(|path| !path.is_empty()).map(PathBuf::from).collect()
}

/// In a build, what is not set is empty.
fn named_file(name: Option<String>) -> Option<PathBuf> {
    name.filter(|name| !name.is_empty()).map(PathBuf::from)
}

fn own_name() -> String {
    let host = nix::sys::utsname::uname()
        .ok()
        .and_then(|name| name.nodename().to_str().map(str::to_owned))
        .unwrap_or_else(|| "runner".to_owned());
    format!("{host}-{}", std::process::id())
}
