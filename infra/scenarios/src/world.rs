//! One installation with its GitLab, for one story.

use crate::{
    installation::Installation,
    modes::Mode,
    programs::Programs,
    proxy::Proxy,
    pump::Pump,
    runner::{Planned, Runners, answer, sha256},
    stops::{self, Stops},
};
use gantry_domain::{
    RunId,
    protocol::{NextAnswer, Report, ReportKind},
    run::Run,
    stack::Tool,
};
use gantry_fake_gitlab::{
    Config, FakeGitlab, MergeRequestIid, MergeRequestSpec, Person, ProjectId, ProjectOptions,
    StatusView, UserId,
};
use gantry_local::System;
use gantry_local_table::LocalTable;
use gantry_queue::{Handler, NotStarted, QueueName, SlotsMessage, StackMessage};
use gantry_setup::{Clock, aws, clock::ClockHand};
use gantry_store::keys;
use jiff::Timestamp;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use std::{
    collections::{BTreeSet, HashMap},
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

/// What a story wants of a stack beyond the defaults.
#[derive(Debug, Clone, Default)]
pub struct StackOptions {
    /// Further fields of the API's request.
    pub fields: Value,
}

/// One installation with its GitLab.
pub struct World {
    /// GitLab.
    pub gitlab: FakeGitlab,
    /// A person who pushes and merges.
    pub dev: Person,
    /// The bot user of the token.
    pub bot: UserId,
    /// The tool of the stacks and modules that are made.
    pub tool: Tool,
    pub(crate) system: System,
    pub(crate) hand: ClockHand,
    pub(crate) mode: Mode,
    pub(crate) pump: Pump,
    pub(crate) runners: Runners,
    pub(crate) told: Vec<String>,
    pub(crate) programs: Programs,
    pub(crate) installation: Installation,
    pub(crate) stops: Stops,
    /// How many processes had ended when the present one began.
    pub(crate) ended: usize,
    /// A process has ended, and no timer has come by since.
    pub(crate) recovers: bool,
    /// The last request to the admin API was made a second time.
    asked_again: bool,
    /// How many moments of the story are over.
    pub(crate) moments: usize,
    pub(crate) http: Client,
    key: String,
    /// GitLab's token.
    token: String,
}

impl World {
    /// A linked installation without stacks.
    pub(crate) async fn new(mode: Mode) -> anyhow::Result<Self> {
        let start: Timestamp = "2026-03-02T09:00:00Z".parse()?;
        let (clock, hand) = Clock::stopped_at(start);
        let now = {
            let clock = clock.clone();
            move || clock.now()
        };
        let stops = Stops::new(mode.stops_before);
        let mut config = Config::for_tests(now);
        config.gate = Some(stops::before_gitlab(&stops));
        let gitlab = FakeGitlab::start(config).await?;
        let bot = gitlab.create_bot("gantry-bot");
        let token = gitlab.create_token(bot, &["api"], None);
        let dev = gitlab.person("dev");

        let table = LocalTable::in_memory()?;
        let table = match mode.stale_index || mode.counts_effects {
            true => aws::in_process(Proxy::new(table, stops.clone(), mode.stale_index)),
            false => table.config(),
        };
        let installation = Installation::new(clock, table, stops.clone()).await?;
        let system = installation.start().await?;
        let key = installation.admin_key().await?;
        let http = loopback_client()?;
        let mut world = Self {
            runners: Runners::new(http.clone(), installation.base.clone()),
            programs: Programs::default(),
            pump: Pump::new(mode),
            told: Vec::new(),
            tool: Tool::Terraform,
            gitlab,
            dev,
            bot,
            system,
            hand,
            mode,
            installation,
            stops,
            ended: 0,
            recovers: false,
            asked_again: false,
            moments: 0,
            http,
            key,
            token,
        };
        world.link().await;
        Ok(world)
    }

    /// Connects GitLab.
    pub async fn link(&mut self) {
        let body = json!({ "api_host": self.gitlab.base_url(), "token": self.token });
        let (status, answer) = self.api(Method::PUT, "/integration", Some(body)).await;
        assert!(status.is_success(), "connecting failed: {answer}");
        self.settle().await;
    }

    /// Unlinks GitLab. What should be shown there is tried again and again until it is back.
    pub async fn unlink(&mut self) {
        let (status, answer) = self.api(Method::DELETE, "/integration", None).await;
        assert!(status.is_success(), "unlinking failed: {answer}");
    }

    pub(crate) fn handler(&self, queue: QueueName) -> Arc<dyn Handler> {
        let found = self.system.handlers().find(|(known, _)| *known == queue);
        found.unwrap().1
    }

    /// The process ends, and another one takes over. Runners go on.
    pub async fn restart(&mut self) {
        self.ended = self.stops.ended();
        self.system = self.installation.start().await.unwrap();
    }

    /// From now on each phase is executed by the real runner program, on the real tool, which has
    /// no provider but the one for tests.
    pub fn with_real_runners(&mut self) {
        self.programs.start_from_now_on(&self.installation, &self.system.sender);
    }

    /// Where the provider for tests has its objects, of a story with real runners.
    pub fn outside(&self) -> PathBuf {
        self.programs.outside().unwrap().to_owned()
    }

    /// The host of this installation, with its port, as it stands in modules' addresses.
    pub fn host(&self) -> &str {
        self.installation.base.trim_start_matches("http://")
    }

    /// From now on a process may also end over what people change. They ask again then.
    pub fn watch_people(&mut self) {
        self.installation.front.people_are_watched.store(true, Ordering::Relaxed);
    }

    /// A request to the admin API. Who gets no answer, because the process ended, asks again: what
    /// was done before is refused then, or not there any more, which is as good.
    pub async fn api(
        &mut self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        self.take_over().await;
        let (mut status, mut answer) = self.ask(&method, path, body.as_ref()).await;
        // What the table's trouble makes of it. A person does what the answer says, too.
        for _ in 0..5 {
            if status == StatusCode::CONFLICT && answer["title"] == "Somebody else changed it" {
                (status, answer) = self.ask(&method, path, body.as_ref()).await;
            }
        }
        self.asked_again = self.take_over().await;
        if !self.asked_again {
            return (status, answer);
        }
        let (status, answer) = self.ask(&method, path, body.as_ref()).await;
        let is_done =
            [StatusCode::NOT_FOUND, StatusCode::CONFLICT, StatusCode::UNPROCESSABLE_ENTITY]
                .contains(&status);
        (if is_done { StatusCode::OK } else { status }, answer)
    }

    async fn ask(&self, method: &Method, path: &str, body: Option<&Value>) -> (StatusCode, Value) {
        let mut request = self
            .http
            .request(method.clone(), format!("{}/api/v1{path}", self.installation.base))
            .bearer_auth(&self.key);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// Uploads an archive for a preview of a stack. The path of the command that starts it, and the
    /// archive's SHA-256.
    pub async fn upload(&mut self, slug: &str, archive: &[u8]) -> (String, String) {
        let digest = sha256(archive);
        let path = format!("/stacks/{slug}/previews/{digest}");
        loop {
            self.take_over().await;
            let request = self.http.put(format!("{}/api/v1{path}", self.installation.base));
            let request = request.bearer_auth(&self.key).body(archive.to_vec());
            let answer = request.send().await.unwrap();
            let (status, said) = (answer.status(), answer.text().await.unwrap_or_default());
            // Who gets no answer, because the process ended, uploads it again.
            if !self.take_over().await {
                assert!(status.is_success(), "the upload was answered with {status}: {said}");
                return (format!("{path}/start"), digest);
            }
        }
    }

    /// The SHA-256 of the source that a run's runner got.
    pub fn source_of(&self, run: &str) -> Option<&str> {
        self.runners.sources.get(&run.parse::<RunId>().ok()?).map(String::as_str)
    }

    /// A worker of the pool comes by: runners take every run that waits for one.
    pub async fn worker(&mut self, pool: &str) {
        let name = format!("worker-{pool}-{}", self.told.len());
        let body = json!({ "name": name, "role": "worker", "pool": pool });
        let (status, made) = self.api(Method::POST, "/keys", Some(body)).await;
        assert!(status.is_success(), "{made}");
        let key = made.get("key").and_then(Value::as_str).unwrap().to_owned();
        loop {
            let url = format!("{}/runner/v1/next", self.installation.base);
            let answer = answer(self.http.post(url).bearer_auth(&key)).await;
            if answer.status() == StatusCode::NO_CONTENT {
                return;
            }
            let next: NextAnswer = answer.json().await.unwrap();
            self.runners.start(&next.run, 0, &next.claim_token).await;
            self.settle().await;
        }
    }

    /// A project whose members are the bot (Maintainer) and the developer.
    pub fn project(&self, path: &str, options: ProjectOptions) -> ProjectId {
        let project = self.gitlab.create_project(path, options).unwrap();
        self.gitlab.set_member(project, self.bot, 40);
        self.gitlab.set_member(project, self.dev.id(), 40);
        project
    }

    /// A project with Terraform code in `infra/` and no CI of its own.
    pub fn plain_project(&self, path: &str) -> ProjectId {
        self.project(path, with_files(&["infra/main.tf", "README.md"]))
    }

    /// A stack on `main`, with the project's webhook unless the story has none. Settles.
    pub async fn stack(
        &mut self,
        project: ProjectId,
        name: &str,
        root: &str,
        options: StackOptions,
    ) {
        let mut body = json!({
            "name": name,
            "project": project.0,
            "branch": "main",
            "project_root": root,
            "tool": self.tool,
        });
        if let Value::Object(fields) = options.fields {
            for (field, value) in fields {
                body[field] = value;
            }
        }
        let (status, answer) = self.api(Method::POST, "/stacks", Some(body)).await;
        assert!(status.is_success(), "the stack was refused: {answer}");
        if !self.mode.no_webhooks && self.gitlab.hooks(project).is_empty() {
            let path = format!("/stacks/{name}/webhook");
            let (status, answer) = self.api(Method::POST, &path, Some(json!({}))).await;
            assert!(status.is_success(), "the webhook was refused: {answer}");
        }
        self.settle().await;
    }

    /// What the next plans of a stack find.
    pub fn plans(&mut self, slug: &str, planned: Planned) {
        self.runners.plans.insert(slug.to_owned(), planned);
    }

    /// Runners of the stack stay in the middle of their phase.
    pub fn hold(&mut self, slug: &str) {
        self.runners.held.insert(slug.to_owned());
    }

    /// And go on.
    pub fn release(&mut self, slug: &str) {
        self.runners.held.remove(slug);
    }

    /// The runners of the stack die, and nobody tells.
    pub fn runners_die(&mut self, slug: &str) {
        self.runners.die(slug);
    }

    /// The message comes once more that a runner has the run.
    pub async fn claim_is_told_again(&mut self, run: &str) {
        self.take_over().await;
        let run: RunId = run.parse().unwrap();
        let known = self.system.store.get::<Run>(&keys::run(&run)).await.unwrap().unwrap().value;
        let said = ReportKind::Claimed { runner: "local-1".to_owned(), tells_again: false };
        let (stack, attempt, report) = (known.stack, known.attempt, Report::new(0, said));
        let message = StackMessage::Report { stack, run, attempt, report };
        self.system.sender.send(message).await.unwrap();
        self.settle().await;
    }

    /// Runner-api answers nobody from now on, or again.
    pub fn runner_api_is_away(&mut self, is_away: bool) {
        self.runners.cannot_speak = is_away;
        self.installation.front.runner_api_is_away.store(is_away, Ordering::Relaxed);
    }

    /// From now on what should make runs of any stack gets lost on its way to it.
    pub fn lose_all_triggers(&mut self) {
        self.pump.loses_all = true;
    }

    /// The stacks for which something got lost.
    pub fn lost_for(&self) -> BTreeSet<String> {
        let ids = self.pump.lost.iter().map(|message| message.ids().stack.unwrap().to_string());
        ids.collect()
    }

    /// From now on what should make runs of the stack gets lost on its way to it.
    pub async fn lose_triggers(&mut self, slug: &str) {
        let found = self.system.store.stack_by_slug(&slug.parse().unwrap()).await.unwrap();
        self.pump.loses.insert(found.unwrap().value.id);
    }

    /// What got lost comes after all.
    pub async fn find_triggers(&mut self) {
        self.pump.loses.clear();
        for message in std::mem::take(&mut self.pump.lost) {
            self.system.sender.send_later(message, Duration::ZERO).await.unwrap();
        }
        self.settle().await;
    }

    /// No runner comes up from now on.
    pub fn without_runners(&mut self) {
        self.runners.absent = true;
    }

    /// And they come up again.
    pub fn with_runners_again(&mut self) {
        self.runners.absent = false;
    }

    /// From now on the cloud starts no runner and says why; none lets it start them again.
    pub fn cloud_refuses(&mut self, why: Option<(NotStarted, &str)>) {
        self.runners.refused = why.map(|(why, words)| (why, words.to_owned()));
    }

    /// How many runners were ever active at once.
    pub fn most_runners_at_once(&self) -> usize {
        self.runners.most_at_once
    }

    /// Phases that runners executed, in order: `network plan`.
    pub fn executed(&self) -> &[String] {
        &self.runners.done
    }

    /// Pushes a file, and lets everything happen.
    #[track_caller]
    pub fn push(
        &mut self,
        project: ProjectId,
        branch: &str,
        path: &str,
        text: &str,
    ) -> impl Future<Output = String> {
        let commit = self.dev.push(project, branch, path, text).unwrap();
        async move {
            self.catch_up().await;
            commit
        }
    }

    /// Opens a merge request into `main`, and lets everything happen.
    pub async fn open(&mut self, project: ProjectId, branch: &str) -> MergeRequestIid {
        let iid = self.dev.open_merge_request(project, MergeRequestSpec::from(branch)).unwrap();
        self.catch_up().await;
        iid
    }

    /// Lets everything happen that GitLab told, or that comparing finds.
    pub async fn catch_up(&mut self) {
        self.settle().await;
        if self.mode.no_webhooks {
            self.pass(Duration::from_secs(31)).await;
        }
    }

    /// Lets time pass, sweeping now and then as the timer does.
    pub async fn pass(&mut self, time: Duration) {
        let step = (time / 10).max(Duration::from_secs(5)).min(time);
        let mut left = time;
        while !left.is_zero() {
            let now = step.min(left);
            self.hand.advance(now);
            self.gitlab.create_due_pipelines();
            left -= now;
            self.sweep().await;
            self.settle().await;
        }
    }

    /// Lets time pass in which nothing happens.
    pub fn skip(&self, time: Duration) {
        self.hand.advance(time);
    }

    /// The time in this world.
    pub fn now(&self) -> Timestamp {
        self.system.clock.now()
    }

    /// One sweep. With stale index reads, as many as it takes to see what is there now.
    pub async fn sweep(&mut self) {
        let times = if self.mode.stale_index { 3 } else { 1 };
        for i in 0..times {
            let cause = format!("{}.{i}", self.system.clock.now().as_millisecond());
            self.system.sender.send(SlotsMessage::Sweep { cause }).await.unwrap();
            self.settle().await;
        }
    }

    /// True unless a process has ended over its work, which comes again some time later.
    pub fn is_on_time(&self) -> bool {
        self.stops.ended() == 0
    }

    /// True when GitLab cannot call in this story.
    pub fn is_without_webhooks(&self) -> bool {
        self.mode.no_webhooks
    }

    /// The webhook's secret and address.
    pub async fn webhook(&mut self) -> (String, String) {
        let (status, answer) = self.api(Method::GET, "/integration", None).await;
        assert!(status.is_success(), "{answer}");
        let secret = answer.pointer("/webhook/secret").and_then(Value::as_str);
        (secret.unwrap().to_owned(), format!("{}/webhooks/gitlab", self.installation.base))
    }

    /// Posts a webhook as GitLab does, again where the process ended, and answers the status.
    pub async fn post_webhook(
        &mut self,
        url: &str,
        secret: &str,
        event: &str,
        body: &Value,
    ) -> u16 {
        loop {
            let request = self
                .http
                .post(url)
                .header("X-Gitlab-Token", secret)
                .header("X-Gitlab-Event", event)
                .json(body);
            let status = request.send().await.unwrap().status().as_u16();
            if !self.take_over().await {
                return status;
            }
        }
    }

    /// A second hook on the project, made by somebody by hand.
    pub async fn second_hook(&self, project: ProjectId, url: &str, secret: &str) {
        let token = self.gitlab.create_token(self.dev.id(), &["api"], None);
        let answer = self
            .http
            .post(format!("{}/api/v4/projects/{}/hooks", self.gitlab.base_url(), project.0))
            .header("PRIVATE-TOKEN", token)
            .json(&json!({
                "url": format!("{url}?again"),
                "token": secret,
                "push_events": true,
                "merge_requests_events": true,
            }))
            .send()
            .await
            .unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    }

    /// A command of the admin; true when it was carried out, and what was said.
    pub async fn command(&mut self, path: &str, body: Value) -> (bool, String) {
        let (status, answer) = self.api(Method::POST, path, Some(body)).await;
        let was_done = self.asked_again;
        if status != StatusCode::ACCEPTED {
            return (status.is_success(), answer.to_string());
        }
        self.settle().await;
        let outcome = answer.get("outcome").and_then(Value::as_str).unwrap();
        let url = outcome.trim_start_matches("/api/v1").to_owned();
        let (status, answer) = self.api(Method::GET, &url, None).await;
        assert!(status.is_success(), "the outcome of {path} is not there: {answer}");
        let done = answer.get("done").and_then(Value::as_bool).unwrap_or(false);
        (done || was_done, answer.to_string())
    }

    /// A command that is carried out.
    pub async fn order(&mut self, path: &str, body: Value) {
        let (done, said) = self.command(path, body).await;
        assert!(done, "{path}: {said}");
    }

    /// The runs of a stack, newest first.
    pub async fn runs(&mut self, slug: &str) -> Vec<Value> {
        let (status, answer) =
            self.api(Method::GET, &format!("/stacks/{slug}/runs?limit=100"), None).await;
        assert!(status.is_success(), "{answer}");
        answer.get("runs").and_then(Value::as_array).cloned().unwrap_or_default()
    }

    /// The runs of a stack as `type state commit`, newest first.
    pub async fn run_lines(&mut self, slug: &str) -> Vec<String> {
        let word = |run: &Value, name: &str| {
            run.get(name).and_then(Value::as_str).unwrap_or("?").to_owned()
        };
        self.runs(slug)
            .await
            .iter()
            .map(|run| {
                let commit = word(run, "commit");
                format!("{} {} {}", word(run, "type"), word(run, "state"), &commit[..8])
            })
            .collect()
    }

    /// The id of the newest run of a stack in the given state.
    pub async fn run_in(&mut self, slug: &str, state: &str) -> String {
        let runs = self.runs(slug).await;
        let found = runs.iter().find(|r| r.get("state").and_then(Value::as_str) == Some(state));
        match found.and_then(|r| r.get("id")).and_then(Value::as_str) {
            Some(id) => id.to_owned(),
            None => panic!("no run of {slug} is {state}: {runs:#?}\n{}", self.history()),
        }
    }

    /// The present status of a name on a commit.
    pub fn status(&self, project: ProjectId, commit: &str, name: &str) -> Option<StatusView> {
        let all = self.gitlab.statuses(project, commit);
        all.into_iter().rev().find(|s| s.name == name && !s.retried)
    }

    /// Expects the present status of a name on a commit: `success: 1 to add, …`.
    #[track_caller]
    pub fn expect_status(&self, project: ProjectId, commit: &str, name: &str, expected: &str) {
        let found = self.status(project, commit, name).map_or_else(
            || "nothing".to_owned(),
            |s| format!("{}: {}", s.status, s.description.unwrap_or_default()),
        );
        assert!(
            found.starts_with(expected),
            "{name} is {found:?}, expected {expected:?}\n{}",
            self.history()
        );
    }

    /// Gantry's note on a merge request.
    #[track_caller]
    pub fn note(&self, project: ProjectId, iid: MergeRequestIid) -> String {
        let mut notes = self.gitlab.notes(project, iid);
        notes.retain(|n| n.author == "gantry-bot" && !crate::writes::is_answer(&n.body));
        assert_eq!(notes.len(), 1, "one note was expected\n{}", self.history());
        notes.remove(0).body
    }

    /// What happened so far, for a story that went wrong.
    pub fn history(&self) -> String {
        let writes: Vec<String> =
            self.gitlab.unread_writes().iter().map(|w| format!("  {w:?}")).collect();
        let told = &self.told[self.told.len().saturating_sub(120)..];
        format!("messages:\n  {}\nwrites to GitLab:\n{}", told.join("\n  "), writes.join("\n"))
    }

    /// How many stacks the sweep knows as blocked.
    pub async fn blocked(&self) -> usize {
        self.system.store.query_all::<Value>(gantry_store::keys::BLOCKED, "").await.unwrap().len()
    }

    /// At the end nothing may be left: no message, no dead letter, no place in the room, no
    /// request that GitLab does not know.
    pub async fn expect_nothing_left(&mut self) {
        self.settle().await;
        for queue in [QueueName::Events, QueueName::Source, QueueName::Feedback, QueueName::Starts]
        {
            let left = self.system.queues.peek(queue).unwrap();
            assert!(left.is_empty(), "{queue} is not empty: {left:?}\n{}", self.history());
        }
        let room =
            self.system.store.query_all::<Value>(gantry_store::keys::SLOTS, "").await.unwrap();
        assert!(room.is_empty(), "places are still taken: {room:?}\n{}", self.history());
        let unknown = self.gitlab.unknown_requests();
        assert!(unknown.is_empty(), "GitLab was asked for what it does not have: {unknown:?}");
        assert!(self.gitlab.executed_quick_actions().is_empty());
        let runs = self.runs_by_commit().await;
        let wrong =
            crate::writes::unnecessary(&self.gitlab.unread_writes(), &runs, self.stops.ended());
        assert!(wrong.is_empty(), "written in vain:\n  {}\n{}", wrong.join("\n  "), self.history());
    }

    /// How many runs each commit had.
    async fn runs_by_commit(&mut self) -> HashMap<String, usize> {
        let mut all = Vec::new();
        for kind in ["stacks", "modules"] {
            let (_, answer) = self.api(Method::GET, &format!("/{kind}?limit=100"), None).await;
            all.extend(answer.get(kind).and_then(Value::as_array).cloned().unwrap_or_default());
        }
        let mut counts = HashMap::new();
        for stack in all {
            let slug = stack.get("slug").and_then(Value::as_str).unwrap_or_default().to_owned();
            for run in self.runs(&slug).await {
                let commit = run.get("commit").and_then(Value::as_str).unwrap_or_default();
                *counts.entry(commit.to_owned()).or_insert(0) += 1;
            }
        }
        counts
    }
}

/// A client for addresses of this machine. It reads no certificates: none will be asked for.
fn loopback_client() -> reqwest::Result<Client> {
    let builder = Client::builder().timeout(Duration::from_secs(30));
    builder.no_proxy().tls_certs_only([]).build()
}

/// A project's options with these files.
pub fn with_files(paths: &[&str]) -> ProjectOptions {
    ProjectOptions {
        files: paths.iter().map(|p| ((*p).to_owned(), format!("# {p}\n"))).collect(),
        ..ProjectOptions::default()
    }
}
