//! The whole of Gantry in this process before the fake GitLab: from a push to what it causes.
//!
//! Runners are a program that ends at once: what is measured is Gantry, not Terraform.

use crate::{median, ms, row};
use anyhow::Context as _;
use gantry_fake_gitlab::{Config, FakeGitlab, ProjectId, ProjectOptions};
use gantry_local::{Host, HostConfig};
use gantry_secrets::{FileSecrets, SecretName, Secrets as _};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

const PUSHES: usize = 20;
const PATIENCE: Duration = Duration::from_secs(300);
const SIDE_BY_SIDE: usize = 4;

pub(crate) struct World {
    gitlab: FakeGitlab,
    pub(crate) host: Host,
    project: ProjectId,
    pub(crate) http: reqwest::Client,
    key: SecretString,
    _data: tempfile::TempDir,
}

/// The time until GitLab shows the first status, and what deciding reads.
pub(crate) async fn one_push() -> anyhow::Result<()> {
    let world = World::new(1_000).await?;
    world.stack(0).await?;
    world.hook(0).await?;
    world.quiet().await?;
    let you = world.gitlab.person("you");
    let (mut times, mut reads) = (Vec::new(), BTreeMap::<String, usize>::new());
    for number in 0..PUSHES {
        world.gitlab.take_requests();
        let (branch, text) = (format!("change-{number}"), format!("# {number}\n"));
        let started = Instant::now();
        let commit = you
            .push(world.project, &branch, "s0/main.tf", &text)
            .map_err(|refusal| anyhow::anyhow!("{refusal:?}"))?;
        wait("a status", async || !world.gitlab.statuses(world.project, &commit).is_empty())
            .await?;
        times.push(started.elapsed());
        world.quiet().await?;
        for request in world.gitlab.take_requests() {
            if request.method == "GET" {
                let kind = request.path.split('/').skip(3).take(2).collect::<Vec<_>>().join("/");
                *reads.entry(kind).or_default() += 1;
            }
        }
    }
    row("push to first status at GitLab, idle", &ms(median(times)), "< 300 ms");
    for (kind, count) in reads {
        let each = format!("{:.1}", count as f64 / PUSHES as f64);
        row(&format!("  GitLab reads a push: GET {kind}"), &each, "3 at most to decide");
    }
    world.host.stop().await;
    Ok(())
}

/// A push that touches many stacks.
pub(crate) async fn many_stacks(stacks: usize) -> anyhow::Result<()> {
    let world = World::new(1).await?;
    let started = Instant::now();
    for from in (0..stacks).step_by(SIDE_BY_SIDE) {
        let some = from..(from + SIDE_BY_SIDE).min(stacks);
        let mut some: JoinSet<_> = some.map(|number| world.stack(number)).collect();
        while let Some(made) = some.join_next().await {
            made??;
        }
    }
    let making = started.elapsed() / u32::try_from(stacks)?;
    world.hook(0).await?;
    world.quiet().await?;
    world.gitlab.take_requests();
    let you = world.gitlab.person("you");
    let started = Instant::now();
    you.push(world.project, "main", "shared/main.tf", "# all\n")
        .map_err(|refusal| anyhow::anyhow!("{refusal:?}"))?;
    let mut took = Duration::ZERO;
    for number in 0..stacks {
        while !world.has_run(number).await.unwrap_or(false) {
            anyhow::ensure!(started.elapsed() < PATIENCE, "the run of s{number} does not come");
            // Looking takes time from those who work.
            tokio::time::sleep(Duration::from_millis(100)).await;
            took = started.elapsed();
        }
    }
    let requests = world.gitlab.take_requests();
    let reads = requests.iter().filter(|request| request.method == "GET").count();
    let decided = format!("a push that touches {stacks} stacks: all runs recorded");
    row(&decided, &format!("{:.1} s", took.as_secs_f64()), "< 10 s");
    row("  GitLab reads until then", &reads.to_string(), "3 to decide; publisher's beside");
    row("  (making one stack, on the way there)", &ms(making), "");
    world.host.stop().await;
    Ok(())
}

impl World {
    pub(crate) async fn new(runners: u32) -> anyhow::Result<Self> {
        let data = tempfile::tempdir()?;
        let gitlab = FakeGitlab::start(Config::default()).await?;
        let bot = gitlab.create_bot("gantry-bot");
        let token = gitlab.create_token(bot, &["api"], None);
        let project = gitlab.create_project("acme/many", ProjectOptions::default())?;
        gitlab.set_member(project, bot, 40);
        gitlab.set_member(project, gitlab.create_user("you"), 40);
        let host = Host::start(HostConfig {
            address: "127.0.0.1:0".parse()?,
            tls: None,
            data_dir: data.path().join("gantry"),
            public_url: None,
            runners,
            runner_user: None,
            // Nothing is started.
            reach: gantry_local::Reach { unconfined: true, ..Default::default() },
            runner: "/bin/true".into(),
            path: String::new(),
            terraform_config: None,
            ca_file: None,
            intervals: gantry_local::Intervals::default(),
        })
        .await?;
        let secrets = FileSecrets::new(host.secrets_file.clone());
        let key = secrets.get(SecretName::AdminKey).await?.context("there is no admin key")?;
        let http =
            reqwest::Client::builder().timeout(Duration::from_secs(60)).no_proxy().build()?;
        let world = Self { gitlab, host, project, http, key, _data: data };
        let link = json!({ "api_host": world.gitlab.base_url(), "token": token });
        let url = format!("http://{}/api/v1/integration", world.host.address);
        answered(world.http.put(url).json(&link).bearer_auth(world.key.expose_secret())).await?;
        Ok(world)
    }

    pub(crate) fn key(&self) -> &str {
        self.key.expose_secret()
    }

    fn ask(&self, path: &str) -> reqwest::RequestBuilder {
        let url = format!("http://{}/api/v1{path}", self.host.address);
        self.http.get(url).bearer_auth(self.key.expose_secret())
    }

    fn tell(&self, path: &str, body: &Value) -> reqwest::RequestBuilder {
        let url = format!("http://{}/api/v1{path}", self.host.address);
        self.http.post(url).bearer_auth(self.key.expose_secret()).json(body)
    }

    pub(crate) fn stack(
        &self,
        number: usize,
    ) -> impl Future<Output = anyhow::Result<Value>> + Send + use<> {
        answered(self.tell(
            "/stacks",
            &json!({
                "name": format!("s{number}"),
                "project": self.gitlab.project_path(self.project),
                "branch": "main",
                "project_root": format!("s{number}"),
                "project_globs": ["shared/**"],
            }),
        ))
    }

    async fn hook(&self, number: usize) -> anyhow::Result<()> {
        answered(self.tell(&format!("/stacks/s{number}/webhook"), &json!({}))).await?;
        Ok(())
    }

    async fn has_run(&self, number: usize) -> anyhow::Result<bool> {
        let found = answered(self.ask(&format!("/stacks/s{number}/runs"))).await?;
        Ok(found["runs"].as_array().is_some_and(|runs| !runs.is_empty()))
    }

    /// Waits until nothing has been asked of GitLab for a while.
    pub(crate) async fn quiet(&self) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut seen = self.gitlab.requests().len();
        loop {
            tokio::time::sleep(Duration::from_millis(700)).await;
            let now = self.gitlab.requests().len();
            if now == seen {
                return Ok(());
            }
            seen = now;
            anyhow::ensure!(started.elapsed() < PATIENCE, "GitLab is asked without end");
        }
    }
}

async fn answered(request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
    let answer = request.send().await?;
    let status = answer.status();
    let text = answer.text().await?;
    anyhow::ensure!(status.is_success(), "{status}: {text}");
    Ok(serde_json::from_str(&text).unwrap_or_default())
}

async fn wait(what: &str, there: impl AsyncFn() -> bool) -> anyhow::Result<()> {
    let started = Instant::now();
    while !there().await {
        anyhow::ensure!(started.elapsed() < PATIENCE, "{what} does not come");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}
