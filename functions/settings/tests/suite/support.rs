//! A world: the fake GitLab with one project, a table, and the router.

use crate::description;
use async_trait::async_trait;
use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request},
};
use gantry_domain::{
    RunId, StackId,
    run::{Run, RunState},
    stack::{Stack, StackHead},
};
use gantry_fake_gitlab::{Config, FakeGitlab, ProjectId, ProjectOptions, UserId};
use gantry_local_table::LocalTable;
use gantry_objects::Objects;
use gantry_queue::{
    Backlog, DeadLetter, DeadLetters, Envelope, Message, Outgoing, QueueName, Received, SendError,
    Sender, Transport,
};
use gantry_secrets::{FileSecrets, Sealer, SecretName, Secrets, Signer};
use gantry_settings::{Deps, RunsConfinement, ensure_first_admin_key, router};
use gantry_setup::{Clock, clock::ClockHand, web::ClientAddress};
use gantry_store::{
    Expect, Key, Store, Write, keys,
    scheduler::{ListedRun, RunEntry},
};
use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use serde::Serialize;
use serde_json::{Value, json};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tower::ServiceExt as _;

pub(crate) const START: &str = "2026-11-22T10:00:00Z";
/// Where all requests come from.
pub(crate) const ADDRESS: &str = "192.0.2.7";
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// Keeps what is sent; nobody receives it.
#[derive(Default)]
struct Recorder(Mutex<Vec<Message>>, Mutex<Vec<(QueueName, DeadLetter)>>);

#[async_trait]
impl DeadLetters for Recorder {
    async fn backlog(&self, _: QueueName) -> anyhow::Result<Backlog> {
        Ok(Backlog { waiting: self.0.lock().unwrap().len() as u64, ..Backlog::default() })
    }

    async fn count_dead_letters(&self, queue: QueueName) -> anyhow::Result<u64> {
        Ok(self.dead_letters(queue).await?.len() as u64)
    }

    async fn dead_letters(&self, queue: QueueName) -> anyhow::Result<Vec<DeadLetter>> {
        let dead = self.1.lock().unwrap();
        Ok(dead.iter().filter(|(of, _)| *of == queue).map(|(_, letter)| letter.clone()).collect())
    }

    async fn redrive(&self, queue: QueueName) -> anyhow::Result<usize> {
        let mut dead = self.1.lock().unwrap();
        let before = dead.len();
        dead.retain(|(of, _)| *of != queue);
        Ok(before - dead.len())
    }
}

#[async_trait]
impl Transport for Recorder {
    async fn send(&self, messages: Vec<Outgoing>) -> Vec<Result<(), SendError>> {
        let mut kept = self.0.lock().unwrap();
        messages
            .into_iter()
            .map(|message| {
                kept.push(Envelope::from_body(&message.body).unwrap().message);
                Ok(())
            })
            .collect()
    }

    async fn change_visibility(
        &self,
        _queue: QueueName,
        _receipt: &str,
        _delay: Duration,
    ) -> anyhow::Result<()> {
        Ok(())
    }

    async fn move_to_dead_letters(
        &self,
        _queue: QueueName,
        _message: &Received,
        _error: &str,
    ) -> anyhow::Result<()> {
        Ok(())
    }
}

/// How a world differs from the usual one.
#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) public_url: Option<&'static str>,
    pub(crate) command_wait: Duration,
    pub(crate) confinement: Option<RunsConfinement>,
    pub(crate) version: &'static str,
    pub(crate) project: ProjectOptions,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            public_url: Some("https://gantry.example.com"),
            command_wait: Duration::ZERO,
            confinement: None,
            version: "19.1.0-ee",
            project: ProjectOptions::default(),
        }
    }
}

pub(crate) struct World {
    pub(crate) gitlab: FakeGitlab,
    pub(crate) bot: UserId,
    pub(crate) token: String,
    pub(crate) project: ProjectId,
    pub(crate) store: Store,
    /// Where its records are: it counts what it is asked.
    pub(crate) table: LocalTable,
    pub(crate) secrets: Arc<dyn Secrets>,
    pub(crate) objects: Objects,
    pub(crate) hand: ClockHand,
    pub(crate) clock: Clock,
    pub(crate) admin: String,
    router: Router,
    sent: Arc<Recorder>,
    /// Where the objects are.
    pub(crate) folder: tempfile::TempDir,
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) body: Value,
}

impl Got {
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    /// What is said of a field.
    #[track_caller]
    pub(crate) fn error(&self, field: &str) -> &str {
        self.body["errors"][field].as_str().unwrap_or_else(|| panic!("{field}: {}", self.text))
    }

    pub(crate) fn detail(&self) -> &str {
        self.body["detail"].as_str().unwrap_or_default()
    }
}

pub(crate) async fn world() -> World {
    world_with(Options::default()).await
}

/// A world whose GitLab is connected.
pub(crate) async fn connected() -> World {
    let w = world().await;
    w.connect().await.expect(200);
    w
}

pub(crate) async fn world_with(options: Options) -> World {
    let (clock, hand) = Clock::stopped_at(START.parse().unwrap());
    let config = Config { version: options.version.parse().unwrap(), ..fake_config(&clock) };
    let gitlab = FakeGitlab::start(config).await.unwrap();
    let bot = gitlab.create_bot("project_1_bot_abc");
    let token = gitlab.create_token(bot, &["api"], None);
    let project = gitlab.create_project("acme/network", options.project.clone()).unwrap();
    gitlab.set_member(project, bot, 40);

    let folder = tempfile::tempdir().unwrap();
    let secrets: Arc<dyn Secrets> = Arc::new(FileSecrets::new(folder.path().join("secrets.json")));
    let objects = Objects::in_folder(&folder.path().join("objects")).unwrap();
    let table = LocalTable::in_memory().unwrap();
    let store = store(&table).await;
    ensure_first_admin_key(&store, secrets.as_ref(), &clock).await.unwrap();
    ensure_first_admin_key(&store, secrets.as_ref(), &clock).await.unwrap();
    let admin = secrets.get(SecretName::AdminKey).await.unwrap().unwrap();
    let sent = Arc::new(Recorder::default());
    let admin = admin.expose_secret().to_owned();
    let mut world = World {
        gitlab,
        bot,
        token,
        project,
        store,
        table,
        secrets,
        objects,
        hand,
        clock,
        admin,
        router: Router::new(),
        sent,
        folder,
    };
    world.start(options);
    world
}

fn fake_config(clock: &Clock) -> Config {
    let clock = clock.clone();
    Config::for_tests(move || clock.now())
}

async fn store(table: &LocalTable) -> Store {
    let client = aws_sdk_dynamodb::Client::new(&table.config());
    let store = Store::new(client, "gantry".to_owned());
    store.create_table_if_missing().await.unwrap();
    store
}

pub(crate) fn signer() -> Signer {
    Signer::new(&"signing".into())
}

impl World {
    /// Starts the program, anew if it was started before: of the options, only those of the program
    /// count.
    pub(crate) fn start(&mut self, options: Options) {
        let (sent, now) = (&self.sent, self.clock.clone());
        self.router = router(Deps {
            store: self.store.clone(),
            sender: Sender::new(Arc::clone(sent) as _, Arc::new(move || now.now())),
            dead_letters: Arc::clone(sent) as _,
            secrets: Arc::clone(&self.secrets),
            sealer: Sealer::new(&"sealing".into()),
            signer: signer(),
            objects: self.objects.clone(),
            clock: self.clock.clone(),
            public_url: options.public_url.map(|url| url.parse().unwrap()),
            ca_pem: None,
            command_wait: options.command_wait,
            confinement: options.confinement,
        });
    }

    /// Asks, and compares the answer with the description.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        key: Option<&str>,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Got {
        let from = ClientAddress(ADDRESS.to_owned());
        let mut request = Request::builder().method(method).uri(path).extension(from);
        if let Some(key) = key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).unwrap();
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let bytes = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let body = serde_json::from_str(&text).unwrap_or_default();
        let got = Got { status, headers, text, body };
        description::check(method, path, &got);
        got
    }

    /// Asks, and answers headers and the body's size.
    pub(crate) async fn raw(&self, request: Request<Body>) -> (HeaderMap, usize) {
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let headers = answer.headers().clone();
        (headers, to_bytes(answer.into_body(), usize::MAX).await.unwrap().len())
    }

    pub(crate) async fn get(&self, path: &str) -> Got {
        self.ask("GET", path, Some(&self.admin), &[], "").await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: Value) -> Got {
        self.ask(method, path, Some(&self.admin), &[], body.to_string()).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Got {
        self.send("POST", path, body).await
    }

    pub(crate) async fn connect(&self) -> Got {
        let body = json!({ "api_host": self.gitlab.base_url(), "token": self.token });
        self.send("PUT", "/api/v1/integration", body).await
    }

    /// A key of a role.
    pub(crate) async fn key(&self, role: &str) -> String {
        let body = json!({ "name": role, "role": role });
        let made = self.post("/api/v1/keys", body).await.expect(201);
        made.body["key"].as_str().unwrap().to_owned()
    }

    /// Makes the stack `network`.
    pub(crate) async fn stack(&self) -> Stack {
        let body = json!({ "name": "Network", "project": "acme/network", "branch": "main" });
        self.post("/api/v1/stacks", body).await.expect(201);
        self.stored_stack("network").await
    }

    pub(crate) async fn stored_stack(&self, slug: &str) -> Stack {
        self.store.stack_by_slug(&slug.parse().unwrap()).await.unwrap().unwrap().value
    }

    /// The messages since the last look.
    pub(crate) fn sent(&self) -> Vec<Message> {
        std::mem::take(&mut self.sent.0.lock().unwrap())
    }

    /// A message of the queue was given up.
    pub(crate) fn give_up(&self, queue: QueueName, error: &str) {
        let letter = DeadLetter {
            id: "m".to_owned(),
            group: None,
            kind: Some("hook"),
            stack: None,
            run: Some("run-1".parse().unwrap()),
            error: Some(error.to_owned()),
            sent_at: None,
        };
        self.sent.1.lock().unwrap().push((queue, letter));
    }

    pub(crate) async fn put<T: Serialize>(&self, key: Key, value: &T) {
        let write = Write::put(key, Expect::Any, value).unwrap();
        let _written = self.store.write(vec![write]).await.unwrap();
    }

    pub(crate) async fn set_head(&self, stack: &StackId, head: StackHead) {
        let key = keys::stack_head(stack);
        let known = self.store.get::<StackHead>(&key).await.unwrap();
        let expect = known.map_or(Expect::Absent, |known| known.unchanged());
        let write = Write::put(key, expect, &head).unwrap();
        let _written = self.store.write(vec![write]).await.unwrap();
    }

    /// Puts a run into the records, as the scheduler would.
    pub(crate) async fn run(&self, stack: &Stack, key: &str, state: RunState) -> Run {
        let created_at: Timestamp = self.clock.now();
        self.hand.advance(Duration::from_secs(1));
        let run: Run = serde_json::from_value(json!({
            "id": RunId::derive(&stack.id, key), "stack": stack.id, "slug": stack.slug,
            "repository": stack.repository, "run_type": "tracked",
            "number": created_at.as_second(), "key": key, "commit": COMMIT,
            "git_ref": "main", "tracked_branch": "main", "fork_of": null, "stacks_touched": 1,
            "event": null, "reason": "main moved", "by": null, "state": state,
            "history": [{ "state": state, "at": created_at, "by": "somebody" }], "wants": [],
            "phase": "plan", "attempt": 2, "last_report": 0, "runner": null, "stop_asked": null,
            "delta": (state == RunState::Unconfirmed).then(|| json!({ "add": 1 })),
            "applied": false, "plan_digest": null, "ending": null, "lost": false,
            "outstanding": [], "autodeploy": false, "created_at": created_at,
            "since": created_at, "handed_out_at": null, "place": "nowhere",
        }))
        .unwrap();
        self.save_run(&run).await;
        run
    }

    pub(crate) async fn save_run(&self, run: &Run) {
        let entry = RunEntry {
            run: run.id.clone(),
            stack: run.stack.clone(),
            run_type: run.run_type,
            created_at: run.created_at,
        };
        self.put(keys::run(&run.id), run).await;
        self.put(keys::stack_run(&run.stack, run.number), &entry).await;
        self.put(keys::listed(run.created_at, &run.id), &ListedRun::from(run)).await;
        if let Some(project) = run.project() {
            self.put(keys::commit_run(project, &run.commit, &run.id), &entry).await;
        }
    }

    /// How each thing ended that was done, in no order: the clock stands still.
    pub(crate) async fn outcomes(&self) -> Vec<String> {
        self.activities().await.into_iter().map(|(_, _, outcome)| outcome).collect()
    }

    pub(crate) async fn activities(&self) -> Vec<(String, String, String)> {
        let list = self.get("/api/v1/activity").await.expect(200).body;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let all = list["activities"].as_array().unwrap().iter();
        all.map(|a| (text(&a["actor"]), text(&a["what"]), text(&a["outcome"]))).collect()
    }
}
