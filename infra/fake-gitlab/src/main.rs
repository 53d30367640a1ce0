//! The `gantry-fake-gitlab` command: a GitLab for trying things, on this machine.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use gantry_fake_gitlab::{Config, FakeGitlab, ProjectOptions, ServerVersion, Visibility};
use jiff::SignedDuration;
use tokio::signal::unix::{SignalKind, signal};

/// A fake GitLab for trying things out: git over HTTP, the REST API, webhooks and a few pages.
///
/// Everything is in memory and gone when it stops. Anyone who can reach it can do everything.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The address to listen on; port 0 picks a free port
    #[arg(long, default_value = "127.0.0.1:8929")]
    addr: SocketAddr,
    /// Where the repositories are stored while it runs [default: a temporary folder]
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// The GitLab version to imitate, which determines what it can do
    #[arg(long, value_name = "VERSION", default_value_t)]
    version_of_gitlab: ServerVersion,
    /// Create a project at this path
    #[arg(long, value_name = "NAMESPACE/NAME", default_value = "demo/network")]
    demo_project: String,
    /// Give that project its own CI: a pipeline for each push that takes five seconds
    #[arg(long)]
    with_ci: bool,
    /// Create an OAuth application that sends people back to this address
    #[arg(long, value_name = "ADDRESS")]
    application: Option<String>,
    /// Only allow pushes with a token
    #[arg(long)]
    require_token: bool,
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the address and the token are what the command is for")]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let config = Config {
        addr: arguments.addr,
        data_dir: arguments.data_dir,
        version: arguments.version_of_gitlab,
        anonymous_user: (!arguments.require_token).then(|| "root".to_owned()),
        ..Config::default()
    };
    // From here on its folder is removed however it is asked to end.
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for Ctrl-C")?;
    let gitlab = FakeGitlab::start(config).await?;
    let root = gitlab.create_user("root");
    gitlab.make_admin(root);
    let mut options = ProjectOptions {
        visibility: Visibility::Public,
        files: sample(),
        ..ProjectOptions::default()
    };
    if arguments.with_ci {
        options.ci.mode = gantry_fake_gitlab::CiMode::Branch;
        options.ci.delay = SignedDuration::from_secs(1);
        options.ci.duration = Some(SignedDuration::from_secs(5));
    }
    let project = gitlab.create_project(&arguments.demo_project, options)?;
    let bot = gitlab.create_bot("demo_bot");
    gitlab.set_member(project, bot, 40);
    println!("GitLab    {}", gitlab.base_url());
    println!("API       {}/api/v4", gitlab.base_url());
    println!("Token     {}", gitlab.create_token(bot, &["api"], None));
    println!("Project   {} (id {project})", arguments.demo_project);
    println!("Clone     git clone {}", gitlab.clone_url(project));
    if let Some(address) = &arguments.application {
        let scopes = "openid profile email read_api";
        let made = gitlab.create_application("Demo", address, scopes, true)?;
        println!("Client    {} (secret {})", made.application_id, made.secret);
    }
    println!("Stop      Ctrl-C");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Code that needs no provider: `terraform_data` is built in.
fn sample() -> Vec<(String, String)> {
    let readme = "# A project for trying things out\n\nTerraform code lives in `network/`.\n";
    let code = r#"resource "terraform_data" "network" {
  input = { name = "office", cidr = "10.0.0.0/16" }
}
"#;
    let files = [("README.md", readme), ("network/main.tf", code)];
    files.map(|(path, text)| (path.to_owned(), text.to_owned())).to_vec()
}
