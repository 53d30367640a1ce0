//! The command `gantry`: the whole system on one machine, alone or with its demo, and the commands
//! that talk to a Gantry elsewhere.

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use gantry_domain::stack::Tool;
use gantry_local::{Host, HostConfig, Intervals, Reach, Tls, demo};
use gantry_settings::PublicUrl;
use gantry_setup::{Environment, telemetry};
use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

/// Terraform and OpenTofu runs for a GitLab server: `run` starts a Gantry on this machine, most
/// other commands talk to one.
#[derive(Parser)]
#[command(name = "gantry", version, after_help = gantry_cli::EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start Gantry for your own GitLab.
    Run(Settings),
    /// Start Gantry together with a fake GitLab and show what it does.
    #[command(mut_arg("data_dir", |arg| arg.help(DEMO_DATA)))]
    Demo {
        #[command(flatten)]
        settings: Settings,
        /// Exit after the story, with code 0, or 1 if something was missing.
        #[arg(long)]
        once: bool,
        /// The tool to use in the story; by default Terraform if it is on PATH, otherwise OpenTofu.
        #[arg(long, value_parser = tool)]
        tool: Option<Tool>,
        /// The address on which the demo's GitLab listens.
        #[arg(long, env = "GANTRY_DEMO_GITLAB_ADDR", default_value = "127.0.0.1:8929")]
        gitlab_addr: SocketAddr,
    },
    #[command(flatten)]
    Client(gantry_cli::Command),
}

/// The SDK misses a connection after each error of the table, which has none.
const USUAL_LOG: &str = "warn,dynoxide=error,\
                         aws_smithy_runtime::client::http::connection_poisoning=off,gantry=info";

/// What the data folder is for the demo.
const DEMO_DATA: &str = "The folder to work in; its subfolder demo is emptied whenever the demo \
                         starts";

#[derive(Args)]
struct Settings {
    /// The address to listen on.
    #[arg(long, env = "GANTRY_ADDR", default_value = "127.0.0.1:8080")]
    addr: SocketAddr,
    /// Also serve HTTPS at this address, such as 0.0.0.0:443. Plain HTTP stays at --addr, where
    /// runs on this machine use it.
    #[arg(long, env = "GANTRY_TLS_ADDR", requires = "tls_cert", default_value = "0.0.0.0:8443")]
    tls_addr: SocketAddr,
    /// The certificate chain (PEM) for HTTPS. A renewed one is used within a minute.
    #[arg(long, env = "GANTRY_TLS_CERT", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The private key (PEM) of that certificate.
    #[arg(long, env = "GANTRY_TLS_KEY", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// The folder in which everything is stored; it survives restarts.
    #[arg(long, env = "GANTRY_DATA_DIR", default_value = ".gantry")]
    data_dir: PathBuf,
    /// The URL at which people and GitLab reach this machine (https://gantry.example.com), used in
    /// webhooks and links. Without it, changes are found by polling GitLab every 30 s.
    #[arg(long, env = "GANTRY_PUBLIC_URL")]
    public_url: Option<PublicUrl>,
    /// How many runs may execute at once; by default the number of CPUs.
    #[arg(long, env = "GANTRY_RUNNERS")]
    runners: Option<u32>,
    /// The runner program; by default the one next to this program.
    #[arg(long, env = "GANTRY_RUNNER")]
    runner: Option<PathBuf>,
    /// The user that Terraform and hooks run as if this runs as root; otherwise the same user.
    #[arg(long, env = "GANTRY_RUNNER_USER")]
    runner_user: Option<String>,
    /// A file in the format of ~/.terraformrc: the CLI configuration of Terraform and OpenTofu for
    /// every run that does not bring its own, for example to use a provider mirror.
    #[arg(long, env = "GANTRY_TERRAFORM_CONFIG")]
    terraform_config: Option<PathBuf>,
    #[command(flatten)]
    reach: ReachSettings,
    /// A file with the certificates (PEM) of your own authority, if it issued GitLab's certificate.
    #[arg(long, env = "GANTRY_CA_FILE")]
    ca_file: Option<PathBuf>,
    /// How many GitLab calls per minute may be made in the background: for polling GitLab and for
    /// retrying what it refused.
    #[arg(long, env = "GANTRY_COMPARE_CALLS", default_value_t = Intervals::default().compare_calls)]
    compare_calls: u32,
    /// What to log, in the syntax of RUST_LOG.
    #[arg(long, env = "RUST_LOG", default_value = USUAL_LOG)]
    log: String,
}

#[derive(Args)]
struct ReachSettings {
    /// A file or folder that runs may read in addition to what they need, such as a kubeconfig. Can
    /// be given several times; in the environment, separate with colons.
    #[arg(long, env = "GANTRY_RUNS_MAY_READ", value_delimiter = ':')]
    runs_may_read: Vec<String>,
    /// The same for files and folders that runs may read and change.
    #[arg(long, env = "GANTRY_RUNS_MAY_WRITE", value_delimiter = ':')]
    runs_may_write: Vec<String>,
    /// Do not confine runs. Code in a merge request can then read whatever their user can.
    #[arg(
        long,
        env = "GANTRY_UNCONFINED_RUNS",
        value_parser = clap::builder::FalseyValueParser::new()
    )]
    unconfined_runs: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let ended = match Cli::parse().command {
        Command::Client(command) => {
            let around = gantry_cli::Surroundings::of_process();
            let ended = gantry_cli::run(command, Cli::command(), around).await;
            return ExitCode::from(ended.code());
        }
        Command::Run(settings) => {
            gantry_local::folder::write_for_owner_only();
            run(settings).await.map(|()| true)
        }
        Command::Demo { settings, once, tool, gitlab_addr } => {
            gantry_local::folder::write_for_owner_only();
            telemetry::start(telemetry::LogFormat::Text, Some("error"));
            match host_config(settings) {
                Ok(config) => demo::run(config, gitlab_addr, tool, once).await,
                Err(error) => Err(error),
            }
        }
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn tool(name: &str) -> Result<Tool, &'static str> {
    match name {
        "terraform" => Ok(Tool::Terraform),
        "opentofu" => Ok(Tool::OpenTofu),
        _ => Err("must be terraform or opentofu"),
    }
}

async fn run(settings: Settings) -> anyhow::Result<()> {
    telemetry::start(telemetry::LogFormat::Text, Some(&settings.log));
    let config = host_config(settings)?;
    let public_url = config.public_url.clone();
    let host = Host::start(config).await?;
    let integration = host.system.store.integration().await?.map(|known| known.value);
    demo::say(&gantry_local::host::welcome(&host, public_url.as_ref(), integration.as_ref()));
    gantry_local::host::asked_to_stop().await?;
    host.stop().await;
    Ok(())
}

fn host_config(settings: Settings) -> anyhow::Result<HostConfig> {
    let beside = std::env::current_exe()?.with_file_name("gantry-runner");
    let cpus = std::thread::available_parallelism().map_or(2, |n| n.get());
    let tls = settings.tls_cert.zip(settings.tls_key);
    Ok(HostConfig {
        address: settings.addr,
        tls: tls.map(|(certificate, key)| Tls { address: settings.tls_addr, certificate, key }),
        data_dir: settings.data_dir,
        public_url: settings.public_url,
        runners: settings.runners.unwrap_or_else(|| u32::try_from(cpus).unwrap_or(2)),
        runner: settings.runner.unwrap_or(beside),
        path: Environment.optional("PATH").unwrap_or_default(),
        terraform_config: settings.terraform_config,
        runner_user: settings.runner_user.filter(|user| !user.is_empty()),
        reach: Reach {
            may_read: paths(settings.reach.runs_may_read),
            may_write: paths(settings.reach.runs_may_write),
            unconfined: settings.reach.unconfined_runs,
        },
        ca_file: settings.ca_file,
        intervals: Intervals { compare_calls: settings.compare_calls, ..Intervals::default() },
    })
}

/// A variable that is empty names none.
fn paths(named: Vec<String>) -> Vec<PathBuf> {
    named.into_iter().filter(|path| !path.is_empty()).map(PathBuf::from).collect()
}
