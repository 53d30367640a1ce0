//! A fake with one project, and a client that speaks to it like a program would.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use gantry_fake_gitlab::{Config, FakeGitlab, ProjectId, ProjectOptions, UserId};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// A fake with a bot, its token, and a project where the bot is a maintainer.
pub(crate) struct World {
    pub(crate) gitlab: FakeGitlab,
    pub(crate) bot: UserId,
    pub(crate) token: String,
    pub(crate) project: ProjectId,
    clock: Arc<AtomicI64>,
}

pub(crate) const START: i64 = 1_790_000_000;

pub(crate) async fn world() -> World {
    world_with(|_| (), ProjectOptions::default()).await
}

pub(crate) async fn world_with(change: impl FnOnce(&mut Config), options: ProjectOptions) -> World {
    let clock = Arc::new(AtomicI64::new(START * 1000));
    let now = Arc::clone(&clock);
    let mut config =
        Config::for_tests(move || Timestamp::from_millisecond(now.load(Ordering::SeqCst)).unwrap());
    change(&mut config);
    let gitlab = FakeGitlab::start(config).await.unwrap();
    let bot = gitlab.create_bot("project_1_bot_abc");
    let token = gitlab.create_token(bot, &["api"], None);
    let project = gitlab.create_project("acme/network", options).unwrap();
    gitlab.set_member(project, bot, 40);
    World { gitlab, bot, token, project, clock }
}

/// An answer: status and body.
#[derive(Debug, Clone)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
    pub(crate) text: String,
}

impl Got {
    pub(crate) async fn of(response: reqwest::Response) -> Result<Self, reqwest::Error> {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await?;
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Self { status, headers, body, text })
    }

    pub(crate) fn header(&self, name: &str) -> String {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned()
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    /// The `message`, as text.
    pub(crate) fn message(&self) -> String {
        match &self.body["message"] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }
}

impl World {
    pub(crate) fn advance(&self, by: SignedDuration) {
        self.clock.fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }

    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/projects/{}{rest}", self.project)
    }

    pub(crate) async fn get(&self, path: &str) -> Got {
        self.send("GET", path, Some(&self.token), None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Got {
        self.send("POST", path, Some(&self.token), Some(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Got {
        self.send("PUT", path, Some(&self.token), Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Got {
        self.send("DELETE", path, Some(&self.token), None).await
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
    ) -> Got {
        self.try_send(method, path, token, body).await.unwrap()
    }

    pub(crate) async fn try_send(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
    ) -> Result<Got, reqwest::Error> {
        let client = client();
        let url = format!("{}/api/v4{path}", self.gitlab.base_url());
        let mut request = client.request(method.parse().unwrap(), url);
        if let Some(token) = token {
            request = request.header("PRIVATE-TOKEN", token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        Got::of(request.send().await?).await
    }
}

/// One client for all tests: making one reads the machine's certificates.
pub(crate) fn client() -> &'static reqwest::Client {
    static CLIENT: std::sync::OnceLock<reqwest::Client> = std::sync::OnceLock::new();
    CLIENT.get_or_init(|| {
        reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(std::time::Duration::from_secs(20))
            // Every test has its own runtime, and connections die with theirs.
            .pool_max_idle_per_host(0)
            .no_proxy()
            .build()
            .unwrap()
    })
}
