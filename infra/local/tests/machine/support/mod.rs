//! A world of its own for each test: a GitLab with one project, a host, and a person.

mod api;
mod before;
mod host;

pub(crate) use api::{Api, array, text};
pub(crate) use host::{Kind, free_address, program, runners_of, write_runner};

use gantry_domain::stack::Tool;
use gantry_fake_gitlab::{
    Config, FakeGitlab, Limits, MergeRequestIid, MergeRequestSpec, Person, ProjectId,
    ProjectOptions, StatusView, UserId,
};
use host::Running;
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// What takes longer than this failed. Real Terraform on a busy machine is slow.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The slug of the world's stack, and its status.
pub(crate) const SLUG: &str = "network";
pub(crate) const STATUS: &str = "gantry/network";
/// The status that stands for all stacks of a commit.
pub(crate) const GATE: &str = "gantry";
pub(crate) const BOT: &str = "gantry-bot";

/// Everything that a test works with.
pub(crate) struct World {
    pub(crate) gitlab: FakeGitlab,
    pub(crate) project: ProjectId,
    pub(crate) you: Person,
    /// GitLab's token as it was given to Gantry.
    pub(crate) token: String,
    pub(crate) bot: UserId,
    pub(crate) api: Api,
    /// The tool of its stacks and modules.
    pub(crate) tool: Tool,
    host: Running,
}

impl World {
    /// A GitLab with a project that holds `files`, connected with a host.
    pub(crate) async fn new(kind: Kind, files: &[(&str, &str)]) -> Self {
        Self::on(Tool::Terraform, kind, files).await
    }

    /// The same with stacks on a tool.
    pub(crate) async fn on(tool: Tool, kind: Kind, files: &[(&str, &str)]) -> Self {
        Self::configured(tool, kind, files, None).await
    }

    /// The same with a CLI configuration of the installation.
    pub(crate) async fn configured(
        tool: Tool,
        kind: Kind,
        files: &[(&str, &str)],
        terraform_config: Option<PathBuf>,
    ) -> Self {
        let limits = Limits { archives_per_minute: None, ..Limits::default() };
        let gitlab = FakeGitlab::start(Config { limits, ..Config::default() }).await.unwrap();
        let bot = gitlab.create_bot(BOT);
        let token = gitlab.create_token(bot, &["api"], None);
        let file = |(path, text): &(&str, &str)| ((*path).to_owned(), (*text).to_owned());
        let options =
            ProjectOptions { files: files.iter().map(file).collect(), ..ProjectOptions::default() };
        let project = gitlab.create_project("acme/network", options).unwrap();
        gitlab.set_member(project, bot, 40);
        let you = gitlab.person("you");
        let host = Running::start(kind, terraform_config).await;
        let api = Api::new(host.address(), &host.admin_key());
        let integration = json!({ "api_host": gitlab.base_url(), "token": token });
        api.put("/integration", &integration).await.good();
        Self { gitlab, project, you, token, bot, api, tool, host }
    }

    /// Makes the world's one stack; `more` are fields beside the usual ones. Changes of its branch
    /// count from when its environment is there.
    pub(crate) async fn stack(&self, more: Value) {
        let mut stack = json!({
            "name": "Network", "slug": SLUG, "project": "acme/network", "branch": "main",
            "tool": self.tool,
        });
        let (Some(fields), Value::Object(more)) = (stack.as_object_mut(), more) else {
            panic!("fields are an object")
        };
        fields.extend(more);
        self.api.post("/stacks", &stack).await.good();
        self.eventually("the stack's environment", async || {
            self.gitlab.environments(self.project).iter().any(|e| e.name == STATUS).then_some(())
        })
        .await;
    }

    /// Lets GitLab call the host.
    pub(crate) async fn webhook(&self) {
        self.api.post(&format!("/stacks/{SLUG}/webhook"), &json!({})).await.good();
    }

    /// Pushes `main.tf` to a branch; the commit.
    pub(crate) fn push(&self, branch: &str, main_tf: &str) -> String {
        self.you.push(self.project, branch, "main.tf", main_tf).unwrap()
    }

    pub(crate) fn open(&self, branch: &str) -> MergeRequestIid {
        self.you.open_merge_request(self.project, MergeRequestSpec::from(branch)).unwrap()
    }

    /// Merges; the commit that the tracked branch is at then.
    pub(crate) fn merge(&self, iid: MergeRequestIid) -> String {
        self.you.merge(self.project, iid).unwrap();
        self.gitlab.head(self.project, "main").unwrap()
    }

    /// The runs of the stack, the newest first.
    pub(crate) async fn runs(&self) -> Vec<Value> {
        let runs = self.api.get(&format!("/stacks/{SLUG}/runs?limit=100")).await.good();
        array(&runs, "/runs").to_vec()
    }

    pub(crate) async fn runs_of(&self, commit: &str) -> Vec<Value> {
        let of_commit = |run: &Value| text(run, "/commit") == commit;
        self.runs().await.into_iter().filter(of_commit).collect()
    }

    /// Waits until the newest run of a commit is in a state; its id. Another end fails.
    pub(crate) async fn run_is(&self, commit: &str, state: &str) -> String {
        self.run_in(SLUG, commit, state).await
    }

    /// The same of another stack, or of a module.
    pub(crate) async fn run_in(&self, slug: &str, commit: &str, state: &str) -> String {
        let finals = ["finished", "failed", "stopped", "canceled", "discarded"];
        let look = async || {
            let runs = self.api.get(&format!("/stacks/{slug}/runs?limit=100")).await.good();
            let mut runs = array(&runs, "/runs").iter();
            let run = runs.find(|run| text(run, "/commit") == commit)?.clone();
            let is = text(&run, "/state");
            (is == state || finals.contains(&is.as_str())).then_some(run)
        };
        let run = self.eventually(&format!("a run that is {state}"), look).await;
        let id = text(&run, "/id");
        if text(&run, "/state") != state {
            panic!("the run should be {state}: {run:#}\n{}\n{}", self.log(&id).await, self.told())
        }
        id
    }

    /// Confirms the run of a commit and waits until it is applied; its id.
    pub(crate) async fn apply(&self, commit: &str) -> String {
        let run = self.run_is(commit, "unconfirmed").await;
        self.confirm(&run).await;
        assert_eq!(self.run_is(commit, "finished").await, run);
        run
    }

    pub(crate) async fn confirm(&self, run: &str) {
        self.api.post(&format!("/runs/{run}/confirm"), &json!({})).await.good();
    }

    /// All that a run has logged so far.
    pub(crate) async fn log(&self, run: &str) -> String {
        let mut log = String::new();
        let mut after = String::new();
        loop {
            let part = self.api.get(&format!("/runs/{run}/log?{after}")).await.good();
            log.extend(array(&part, "/pieces").iter().map(|piece| text(piece, "/text")));
            if part["more"] != json!(true) {
                return log;
            }
            after = format!("after={}", text(&part, "/next"));
        }
    }

    /// Waits until a run has logged `line`.
    pub(crate) async fn logged(&self, run: &str, line: &str) {
        let what = format!("{line:?} in the log");
        self.eventually(&what, async || self.log(run).await.contains(line).then_some(())).await;
    }

    /// Waits until a status of a commit has ended; it must be `success`. Its description.
    pub(crate) async fn succeeded(&self, commit: &str, name: &str) -> String {
        let (status, description) = self.ended(commit, name).await;
        assert_eq!(status, "success", "{name}: {description}\n{}", self.told());
        description
    }

    /// Waits until a status of a commit has ended; its state and description.
    pub(crate) async fn ended(&self, commit: &str, name: &str) -> (String, String) {
        let ended = |status: &StatusView| {
            let ends = ["success", "failed", "canceled"];
            status.name == name && ends.contains(&status.status.as_str())
        };
        let look =
            async || self.gitlab.statuses(self.project, commit).into_iter().find(|s| ended(s));
        let status = self.eventually(&format!("the end of the status {name}"), look).await;
        (status.status, status.description.unwrap_or_default())
    }

    /// Every post of a status ended the same record: GitLab makes a new one after each end.
    pub(crate) fn jobs(&self, commit: &str, name: &str) -> Vec<StatusView> {
        let of_commit = self.gitlab.pipelines(self.project).into_iter().filter(|p| p.sha == commit);
        of_commit.flat_map(|pipeline| pipeline.jobs).filter(|job| job.name == name).collect()
    }

    /// Waits for the comment on a merge request that says `part`.
    pub(crate) async fn note(&self, iid: MergeRequestIid, part: &str) -> String {
        self.eventually(&format!("the comment with {part:?}"), async || {
            let notes = self.gitlab.notes(self.project, iid);
            notes.into_iter().find(|n| n.author == BOT && n.body.contains(part)).map(|n| n.body)
        })
        .await
    }

    /// Waits until nothing has been written to GitLab for a while.
    pub(crate) async fn settle(&self) {
        let mut writes = self.gitlab.unread_writes().len();
        let mut since = Instant::now();
        while since.elapsed() < Duration::from_secs(2) {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = self.gitlab.unread_writes().len();
            if now != writes {
                (writes, since) = (now, Instant::now());
            }
        }
        assert_eq!(self.gitlab.unknown_requests(), [], "requests that GitLab does not know");
    }

    /// Waits until there is something. What took too long fails with all that is known.
    pub(crate) async fn eventually<T>(
        &self,
        what: &str,
        mut look: impl AsyncFnMut() -> Option<T>,
    ) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = look().await {
                return found;
            }
            if began.elapsed() > PATIENCE {
                let runs = serde_json::to_string_pretty(&self.runs().await).unwrap();
                panic!("never seen: {what}\n{runs}\n{}", self.told());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Makes a worker's key for a pool.
    pub(crate) async fn worker_key(&self, pool: &str) -> String {
        let key = json!({ "name": format!("{pool}-1"), "role": "worker", "pool": pool });
        text(&self.api.post("/keys", &key).await.good(), "/key")
    }

    /// A private worker that keeps its runs in `work` and its log beside it, to be started. It ends
    /// with what this starts.
    pub(crate) fn worker(&self, key: &str, work: &Path) -> tokio::process::Command {
        std::fs::create_dir_all(work).unwrap();
        let log = work.with_extension("log");
        let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
        let mut command = tokio::process::Command::new(gantry_terraform::runner());
        command
            .arg("--poll")
            .env_clear()
            .env("PATH", gantry_terraform::path())
            .env("GANTRY_RUNNER_API", format!("http://{}", self.address()))
            .env("GANTRY_RUNNER_WORK", work)
            .env("GANTRY_WORKER_KEY", key)
            .envs(host::needs().map(|needs| ("GANTRY_RUNS_MAY_READ", needs)))
            .stdin(std::process::Stdio::null())
            .stderr(log)
            .kill_on_drop(true);
        command
    }

    /// What was written to GitLab, and what host and runners said.
    pub(crate) fn told(&self) -> String {
        let writes = self.gitlab.unread_writes();
        let writes: Vec<_> = writes.iter().map(ToString::to_string).collect();
        format!("written to GitLab:\n{}\n{}", writes.join("\n"), self.host.logs())
    }

    /// `kill -9`.
    pub(crate) async fn kill(&mut self) {
        self.host.kill().await;
    }

    /// Starts the host again where it was.
    pub(crate) async fn start_again(&mut self) {
        self.host.start_again().await;
    }

    /// The same with further settings, as variables.
    pub(crate) async fn start_again_with(&mut self, settings: &[(&'static str, &'static str)]) {
        self.host.set(settings);
        self.host.start_again().await;
    }

    /// What another program says that is started beside the host, on its data folder. One that
    /// stays up is ended after a while.
    pub(crate) async fn second_host(&self) -> std::process::Output {
        self.host.second().await
    }

    /// The process id of the host.
    pub(crate) fn host_process(&self) -> u32 {
        self.host.process()
    }

    /// Where the host listens.
    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.host.address()
    }

    /// The first key, as a person finds it.
    pub(crate) fn admin_key(&self) -> String {
        self.host.admin_key()
    }

    /// Where the host keeps everything.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.host.data_dir()
    }

    /// The process ids of the runners that were started so far.
    pub(crate) fn runners(&self) -> Vec<u32> {
        self.host.runners()
    }

    /// Everything that host and runners have logged for operators.
    pub(crate) fn operator_logs(&self) -> String {
        self.host.logs()
    }
}
