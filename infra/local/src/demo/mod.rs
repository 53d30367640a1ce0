//! The demo: a GitLab of its own with sample projects, and the whole story on real Terraform.

mod api;
mod projects;
mod story;

use crate::{Host, HostConfig};
use anyhow::Context as _;
use api::Api;
use gantry_fake_gitlab::{Config, FakeGitlab, ProjectId};
use std::{io::Write as _, net::SocketAddr};

/// Writes a line for the person at the terminal.
pub fn say(text: &str) {
    // Nobody reads on: the story goes on all the same.
    let _closed = writeln!(std::io::stdout(), "{text}");
}

/// Everything that the story needs.
pub(crate) struct World {
    pub(crate) gitlab: FakeGitlab,
    pub(crate) host: Host,
    pub(crate) api: Api,
    pub(crate) token: String,
    /// A project without CI of its own.
    pub(crate) network: ProjectId,
    /// A project with CI of its own.
    pub(crate) platform: ProjectId,
    /// A module's project.
    pub(crate) module: ProjectId,
}

/// Starts both servers and tells the story. True when everything was there. Without `once` both
/// stay up until Ctrl-C.
pub async fn run(
    mut config: HostConfig,
    gitlab_addr: SocketAddr,
    once: bool,
) -> anyhow::Result<bool> {
    config.data_dir = config.data_dir.join("demo");
    if config.data_dir.exists() {
        std::fs::remove_dir_all(&config.data_dir).with_context(|| {
            format!("the last demo's folder {} cannot be removed", config.data_dir.display())
        })?;
    }
    let gitlab = FakeGitlab::start(Config {
        addr: gitlab_addr,
        data_dir: Some(config.data_dir.join("gitlab")),
        anonymous_user: Some("you".to_owned()),
        ..Config::default()
    })
    .await
    .with_context(|| {
        format!("{gitlab_addr} is not free: choose another with GANTRY_DEMO_GITLAB_ADDR")
    })?;
    let host = Host::start(config).await?;
    let api = Api::new(&host).await?;
    let bot = gitlab.create_bot("gantry-bot");
    let token = gitlab.create_token(bot, &["api"], None);
    let network = projects::network(&gitlab, bot)?;
    let platform = projects::platform(&gitlab, bot)?;
    let module = projects::module(&gitlab, bot)?;
    let world = World { gitlab, host, api, token, network, platform, module };
    let all_there = story::tell(&world).await;
    if !once {
        say(&afterwards(&world));
        crate::host::asked_to_stop().await?;
    }
    world.host.stop().await;
    Ok(all_there)
}

fn afterwards(world: &World) -> String {
    let clone = world.gitlab.clone_url(world.network);
    let (gitlab, gantry) = (world.gitlab.base_url(), world.host.address);
    let path = world.gitlab.project_path(world.network);
    format!(
        "\nNow it is yours. Both servers stay up until Ctrl-C.\n\
         \x20 GitLab     {gitlab}/{path}\n\
         \x20 Gantry     http://{gantry}   (sign in with \"admin-key\" from {})\n\n\
         Try it:\n\
         \x20 git clone {clone} network && cd network\n\
         \x20 git switch -c wider && sed -i 's/10.0/10.9/' network/main.tf\n\
         \x20 git commit -am 'Widen the network' && git push -u origin wider\n\
         and open a merge request on GitLab's page.",
        world.host.secrets_file.display()
    )
}
