//! A GitLab with one project, and the program before it.

use crate::{
    build::Build,
    free_address,
    local::{Local, Settings},
};
use gantry_domain::text::grouped;
use gantry_fake_gitlab::{
    Config, FakeGitlab, Gate, Limits, MergeRequestIid, MergeRequestSpec, Person, ProjectId,
    ProjectOptions, Refusal,
};
use serde_json::{Value, json};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::{process::Command, task::JoinSet};

/// What takes longer is not measured.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1_800);
/// How many stacks are made at the same time.
const SIDE_BY_SIDE: usize = 4;
/// Where calls are counted, nothing must be asked for as long: Gantry looks again at a new commit 5 s
/// after its first status, and edits a comment every 5 s at most.
pub(crate) const UNTIL_SETTLED: Duration = Duration::from_secs(6);
/// The user of the token.
pub(crate) const BOT: &str = "gantry-bot";

/// A GitLab with one project, and the person who works in it.
pub(crate) struct Forge {
    pub(crate) gitlab: FakeGitlab,
    pub(crate) project: ProjectId,
    /// Of the bot, which is a maintainer.
    pub(crate) token: String,
    you: Person,
    folder: TempDir,
    /// Milliseconds that GitLab takes for each call besides its work.
    slowness: Arc<AtomicU64>,
}

impl Forge {
    /// A project that holds these files, on a GitLab with these limits.
    pub(crate) async fn new(limits: Limits, files: Vec<(String, String)>) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let data_dir = Some(folder.path().to_owned());
        let slowness = Arc::<AtomicU64>::default();
        let gate = Some(after(&slowness));
        let config = Config { data_dir, limits, gate, ..Config::default() };
        let gitlab = FakeGitlab::start(config).await?;
        let bot = gitlab.create_bot(BOT);
        let token = gitlab.create_token(bot, &["api"], None);
        let mut options = ProjectOptions::default();
        options.files.extend(files);
        let project = gitlab.create_project("acme/many", options)?;
        let you = gitlab.person("you");
        gitlab.set_member(project, bot, 40);
        gitlab.set_member(project, you.id(), 40);
        Ok(Self { gitlab, project, token, you, folder, slowness })
    }

    /// From now on each call takes GitLab this much longer.
    pub(crate) fn takes(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.slowness.store(millis, Ordering::Relaxed);
    }

    /// Packs the repository, as GitLab does after a while: reading thousands of files that lie
    /// loose is slow.
    pub(crate) async fn pack(&self) -> anyhow::Result<()> {
        let repositories = self.folder.path().join("fake-gitlab/repositories");
        let repository = repositories.join(format!("{}.git", self.project));
        let mut repack = Command::new("git");
        repack.arg("-C").arg(repository).args(["repack", "-adq"]);
        let packed = repack.status().await?;
        anyhow::ensure!(packed.success(), "git repack: {packed}");
        Ok(())
    }

    /// Pushes a commit with these files to a branch; the commit.
    pub(crate) fn push(&self, branch: &str, files: &[(String, String)]) -> anyhow::Result<String> {
        let files: Vec<(&str, Option<&str>)> =
            files.iter().map(|(path, text)| (path.as_str(), Some(text.as_str()))).collect();
        accepted(self.you.push_files(self.project, branch, &files, "Change what is measured"))
    }

    /// Opens a merge request of a branch.
    pub(crate) fn open(&self, branch: &str) -> anyhow::Result<MergeRequestIid> {
        accepted(self.you.open_merge_request(self.project, MergeRequestSpec::from(branch)))
    }

    pub(crate) fn close(&self, iid: MergeRequestIid) -> anyhow::Result<()> {
        accepted(self.you.close(self.project, iid))
    }

    /// Waits until `is_it` takes a comment of the bot on a merge request.
    pub(crate) async fn comment(
        &self,
        iid: MergeRequestIid,
        is_it: impl Fn(&str) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            for note in self.gitlab.notes(self.project, iid) {
                if note.author == BOT && is_it(&note.body)? {
                    return Ok(());
                }
            }
            anyhow::ensure!(started.elapsed() < PATIENCE, "the comment does not come");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until a commit has a status.
    pub(crate) async fn status(&self, commit: &str) -> anyhow::Result<()> {
        let started = Instant::now();
        while self.gitlab.statuses(self.project, commit).is_empty() {
            anyhow::ensure!(started.elapsed() < PATIENCE, "no status comes");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    /// Waits until nothing has been asked of GitLab for a while.
    pub(crate) async fn quiet(&self, pause: Duration) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut seen = self.gitlab.requests().len();
        loop {
            tokio::time::sleep(pause).await;
            let now = self.gitlab.requests().len();
            if now == seen {
                return Ok(());
            }
            seen = now;
            anyhow::ensure!(started.elapsed() < PATIENCE, "GitLab is asked without end");
        }
    }
}

/// Lets each call wait for so many milliseconds.
fn after(slowness: &Arc<AtomicU64>) -> Gate {
    let slowness = Arc::clone(slowness);
    Arc::new(move |_, _| {
        let wait = Duration::from_millis(slowness.load(Ordering::Relaxed));
        Box::pin(async move {
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
        })
    })
}

/// The note of a merge request has the result of so many stacks.
pub(crate) fn is_complete(note: &str, stacks: usize) -> anyhow::Result<bool> {
    let heading = note.lines().find_map(|line| line.strip_prefix("### Gantry: "));
    let heading = heading.unwrap_or_default();
    let wrong = [" failed", " canceled"].iter().any(|word| heading.contains(word));
    anyhow::ensure!(!wrong, "Gantry says: {heading}");
    Ok(heading.starts_with(&format!("{} stack", grouped(stacks))))
}

fn accepted<T>(done: Result<T, Refusal>) -> anyhow::Result<T> {
    done.map_err(|refusal| anyhow::anyhow!("{refusal:?}"))
}

/// A GitLab, and a Gantry that is connected to it.
pub(crate) struct World {
    pub(crate) forge: Forge,
    pub(crate) local: Local,
    pub(crate) http: reqwest::Client,
    pub(crate) key: String,
    settings: Settings,
    data: TempDir,
}

impl World {
    pub(crate) async fn new(
        build: &Build,
        settings: Settings,
        forge: Forge,
    ) -> anyhow::Result<Self> {
        let data = tempfile::tempdir()?;
        let folder = data.path().join("gantry");
        let local = Local::start(build, &folder, free_address()?, settings).await?;
        let key = local.admin_key()?;
        let http =
            reqwest::Client::builder().timeout(Duration::from_secs(60)).no_proxy().build()?;
        let world = Self { forge, local, http, key, settings, data };
        let link = json!({ "api_host": world.forge.gitlab.base_url(), "token": world.forge.token });
        let url = world.url("/api/v1/integration");
        answered(world.http.put(url).json(&link).bearer_auth(&world.key)).await?;
        Ok(world)
    }

    /// Ends the program, does something with its data folder, and starts it again where it was.
    pub(crate) async fn restart<T>(
        self,
        build: &Build,
        between: impl AsyncFnOnce(&Path) -> anyhow::Result<T>,
    ) -> anyhow::Result<(Self, T)> {
        let Self { forge, local, http, key, settings, data } = self;
        let (folder, address) = (data.path().join("gantry"), local.address);
        local.stop().await?;
        let done = between(&folder).await?;
        let local = Local::start(build, &folder, address, settings).await?;
        Ok((Self { forge, local, http, key, settings, data }, done))
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.local.address)
    }

    /// Asks the API.
    pub(crate) async fn ask(&self, path: &str) -> anyhow::Result<Value> {
        let url = self.url(&format!("/api/v1{path}"));
        answered(self.http.get(url).bearer_auth(&self.key)).await
    }

    fn tell(&self, path: &str, body: &Value) -> reqwest::RequestBuilder {
        let url = self.url(&format!("/api/v1{path}"));
        self.http.post(url).bearer_auth(&self.key).json(body)
    }

    /// Makes stacks, `s0` and so on, each of the folder with its name, and the project's webhook,
    /// and waits until all of it is at GitLab.
    pub(crate) async fn stacks(&self, stacks: usize) -> anyhow::Result<()> {
        self.stacks_in(stacks, |number| format!("s{number}"), &["shared/**"]).await
    }

    /// The same with other folders and globs.
    pub(crate) async fn stacks_in(
        &self,
        stacks: usize,
        root: impl Fn(usize) -> String,
        globs: &[&str],
    ) -> anyhow::Result<()> {
        for from in (0..stacks).step_by(SIDE_BY_SIDE) {
            let some = from..(from + SIDE_BY_SIDE).min(stacks);
            let some = some.map(|number| self.stack(number, &root(number), globs));
            let mut some: JoinSet<_> = some.collect();
            while let Some(made) = some.join_next().await {
                made??;
            }
        }
        answered(self.tell("/stacks/s0/webhook", &json!({}))).await?;
        self.quiet().await
    }

    fn stack(
        &self,
        number: usize,
        root: &str,
        globs: &[&str],
    ) -> impl Future<Output = anyhow::Result<Value>> + Send + use<> {
        answered(self.tell(
            "/stacks",
            &json!({
                "name": format!("s{number}"),
                "project": self.forge.gitlab.project_path(self.forge.project),
                "branch": "main",
                "project_root": root,
                "project_globs": globs,
            }),
        ))
    }

    /// Waits until no call follows from another.
    pub(crate) async fn quiet(&self) -> anyhow::Result<()> {
        self.forge.quiet(Duration::from_millis(700)).await
    }
}

async fn answered(request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
    let answer = request.send().await?;
    let status = answer.status();
    let text = answer.text().await?;
    anyhow::ensure!(status.is_success(), "{status}: {text}");
    Ok(serde_json::from_str(&text).unwrap_or_default())
}
