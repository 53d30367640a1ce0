//! A connected Gantry with one stack, and what tests do with it.

use gantry_aws::{Cloud, tools};
use gantry_fake_gitlab::{Config, FakeGitlab, ProjectId, ProjectOptions, StatusView, UserId};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use std::{
    process::Command,
    time::{Duration, Instant},
};

pub(crate) struct World {
    pub(crate) cloud: Cloud,
    pub(crate) gitlab: FakeGitlab,
    pub(crate) project: ProjectId,
    /// Whose token Gantry has.
    pub(crate) bot: UserId,
    pub(crate) http: Client,
    pub(crate) key: String,
}

impl World {
    /// A connected Gantry with the stack `network`, whose webhook is made.
    pub(crate) async fn new(name: &str) -> Self {
        Self::on(Cloud::start(name).await.unwrap()).await
    }

    /// The same on this cloud.
    pub(crate) async fn on(cloud: Cloud) -> Self {
        let gitlab = FakeGitlab::start(Config::default()).await.unwrap();
        let bot = gitlab.create_bot("gantry-bot");
        let token = gitlab.create_token(bot, &["api"], None);
        let project = gitlab.create_project("acme/network", ProjectOptions::default()).unwrap();
        gitlab.set_member(project, bot, 40);
        let person = gitlab.person("you");
        person.push(project, "main", "main.tf", "# empty\n").unwrap();
        let key = cloud.secret("admin-key").await.unwrap();
        let http = Client::builder().no_proxy().build().unwrap();
        let world = Self { cloud, gitlab, project, bot, http, key };
        let host = world.gitlab.base_url();
        world.api(Method::PUT, "/integration", json!({"api_host": host, "token": token})).await;
        let stack = json!({"name": "Network", "project": "acme/network", "branch": "main"});
        world.api(Method::POST, "/stacks", stack).await;
        world.api(Method::POST, "/stacks/network/webhook", json!({})).await;
        world
    }

    pub(crate) async fn ask(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let url = format!("{}/api/v1{path}", self.cloud.address);
        let mut request = self.http.request(method.clone(), url).bearer_auth(&self.key);
        if method != Method::GET {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub(crate) async fn api(&self, method: Method, path: &str, body: Value) -> Value {
        let (status, answer) = self.ask(method, path, body).await;
        assert!(status.is_success(), "{path}: {status} {answer}");
        answer
    }

    pub(crate) fn push(&self, branch: &str, name: &str) -> String {
        let code = format!("resource \"terraform_data\" \"{name}\" {{}}\n");
        self.gitlab.person("you").push(self.project, branch, "main.tf", &code).unwrap()
    }

    pub(crate) fn status(&self, commit: &str) -> Option<StatusView> {
        let all = self.gitlab.statuses(self.project, commit);
        all.into_iter().find(|status| status.name == "gantry/network" && !status.retried)
    }

    /// The last status of the stack for the commit.
    pub(crate) async fn ended(&self, commit: &str) -> StatusView {
        let end = |status: &StatusView| matches!(status.status.as_str(), "success" | "failed");
        eventually(&format!("the end of {commit}"), async || self.status(commit).filter(end)).await
    }

    /// What `infra/operate.py` says.
    pub(crate) fn operate(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("python3");
        command
            .arg(tools::repository().join("infra/operate.py"))
            .args(arguments)
            .env("GANTRY_URL", &self.cloud.address)
            .env("GANTRY_KEY", &self.key);
        let output = tokio::task::block_in_place(|| command.output()).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    pub(crate) async fn dead(&self) -> usize {
        let shown = self.api(Method::GET, "/operations", Value::Null).await;
        let queues = shown["dead_letters"].as_array().unwrap();
        queues.iter().map(|queue| queue["messages"].as_array().unwrap().len()).sum()
    }
}

pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(120), "{what} was not seen");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
