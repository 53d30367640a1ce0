//! What a fake is started with.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::version::ServerVersion;

/// Where the time comes from.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// When webhooks are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryMode {
    /// In the background, once each, like GitLab.
    Immediate,
    /// When a test says so; see [`crate::FakeGitlab::deliver_pending`].
    Manual,
}

/// Limits that tests make smaller to reach them.
#[derive(Clone, Debug)]
pub struct Limits {
    /// API requests a minute and user; `None` is no limit, as on a new self-managed server.
    pub requests_per_minute: Option<u32>,
    /// Notes a minute and user.
    pub notes_per_minute: Option<u32>,
    /// Archive downloads a minute, project and user; GitLab has 5 built in.
    pub archives_per_minute: Option<u32>,
    /// Hook tests and resends a minute, project and user.
    pub hook_tests_per_minute: Option<u32>,
    /// Refs of a kind that one push may move before their hooks are withheld.
    pub push_event_hooks_limit: usize,
    /// Hooks of a project.
    pub hooks_per_project: usize,
    /// Jobs of a pipeline (`ci_pipeline_size`).
    pub jobs_per_pipeline: usize,
    /// Files that compare and merge request diffs list; the rest is missing.
    pub diff_files: usize,
    /// Bytes of one file's patch; a larger one is empty and marked `too_large`.
    pub diff_file_bytes: usize,
    /// Characters of a note.
    pub note_characters: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests_per_minute: None,
            notes_per_minute: Some(300),
            archives_per_minute: Some(5),
            hook_tests_per_minute: Some(5),
            push_event_hooks_limit: 3,
            hooks_per_project: 100,
            jobs_per_pipeline: 500,
            diff_files: 3_000,
            diff_file_bytes: 200 * 1024,
            note_characters: 1_000_000,
        }
    }
}

/// See [`Config::gate`].
pub type Gate = Arc<dyn Fn(&str, &str) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// What a fake is started with.
#[derive(Clone)]
pub struct Config {
    /// Where repositories live; `None` is a temporary folder that goes with the fake.
    pub data_dir: Option<PathBuf>,
    /// The address to listen on; port 0 takes a free one.
    pub addr: SocketAddr,
    /// The path of a GitLab that does not live at the root of its host, such as `/gitlab`.
    pub relative_root: String,
    /// The address that people use, when it is not `addr` (a container, a tunnel); it includes
    /// the relative root. It is in every link and in `X-Gitlab-Instance`.
    pub external_url: Option<String>,
    /// The version that is pretended, with what it can and cannot do.
    pub version: ServerVersion,
    /// Where the time comes from.
    pub now: Clock,
    /// When webhooks are sent.
    pub delivery: DeliveryMode,
    /// How long a receiver of a webhook may take.
    pub webhook_timeout: Duration,
    /// Hooks are disabled after failures: on at gitlab.com, off on a new self-managed server.
    pub auto_disable_hooks: bool,
    /// Whether hooks may point at loopback and private addresses.
    pub allow_local_hooks: bool,
    /// Limits that tests make smaller to reach them.
    pub limits: Limits,
    /// Who somebody without a token acts as, in git and on the pages: for demos.
    pub anonymous_user: Option<String>,
    /// What each request passes before anything is done for it, with its method and its path below
    /// the relative root. One that it keeps is never carried out.
    pub gate: Option<Gate>,
}

impl Config {
    /// A fake for tests: temporary, on a free port, hooks sent by hand, with this clock.
    pub fn for_tests(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self { now: Arc::new(now), delivery: DeliveryMode::Manual, ..Self::default() }
    }
}

impl Default for Config {
    /// A fake for people: temporary, on a free port, hooks sent at once, with the machine's clock.
    fn default() -> Self {
        Self {
            data_dir: None,
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            relative_root: String::new(),
            external_url: None,
            version: ServerVersion::newest(),
            now: Arc::new(machine_clock),
            delivery: DeliveryMode::Immediate,
            webhook_timeout: Duration::from_secs(10),
            auto_disable_hooks: true,
            allow_local_hooks: true,
            limits: Limits::default(),
            anonymous_user: None,
            gate: None,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one clock of a fake that nobody sets by hand")]
fn machine_clock() -> Timestamp {
    Timestamp::now()
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("addr", &self.addr)
            .field("relative_root", &self.relative_root)
            .field("version", &self.version)
            .field("delivery", &self.delivery)
            .finish_non_exhaustive()
    }
}

/// Who can see a project.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Visibility {
    /// Members only; for others it does not exist.
    #[default]
    Private,
    /// Everybody with an account.
    Internal,
    /// Everybody.
    Public,
}

impl Visibility {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Internal => "internal",
            Self::Public => "public",
        }
    }

    pub(crate) fn level(self) -> u8 {
        match self {
            Self::Private => 0,
            Self::Internal => 10,
            Self::Public => 20,
        }
    }
}

/// Which pipelines a project's own CI makes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CiMode {
    /// None: there is no `.gitlab-ci.yml`.
    #[default]
    None,
    /// One for every pushed branch and tag.
    Branch,
    /// One for every head of a merge request, and one for pushes to the default branch.
    MergeRequest,
    /// As `MergeRequest`, but of a commit that merges source and target.
    MergedResults,
}

/// A project's own CI.
#[derive(Clone, Debug, Default)]
pub struct Ci {
    /// Which pipelines it makes.
    pub mode: CiMode,
    /// How long after the push or the merge request they appear.
    pub delay: SignedDuration,
    /// How long its job runs before it succeeds; `None` waits for
    /// [`crate::FakeGitlab::finish_ci`].
    pub duration: Option<SignedDuration>,
    /// The name of its one job; empty is `build`.
    pub job: String,
}

/// A protected branch or tag: who may do what. `*` in the name stands for anything.
#[derive(Clone, Debug)]
pub struct Protection {
    /// A name or a pattern.
    pub name: String,
    /// The access level that may push (or create the tag); `None` is nobody.
    pub push: Option<u8>,
    /// The access level that may merge; `None` is nobody.
    pub merge: Option<u8>,
    /// User names that may push whatever their level.
    pub push_users: Vec<String>,
    /// Whether those who may push may rewrite history.
    pub allow_force_push: bool,
}

impl Protection {
    /// GitLab's own default: maintainers push and merge.
    pub fn maintainers(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            push: Some(40),
            merge: Some(40),
            push_users: Vec::new(),
            allow_force_push: false,
        }
    }

    /// Maintainers push, developers and maintainers merge.
    pub fn developers_merge(name: impl Into<String>) -> Self {
        Self { merge: Some(30), ..Self::maintainers(name) }
    }

    /// Nobody pushes, maintainers merge.
    pub fn no_push(name: impl Into<String>) -> Self {
        Self { push: None, ..Self::maintainers(name) }
    }

    pub(crate) fn covers(&self, name: &str) -> bool {
        wildcard(&self.name, name)
    }
}

/// A protected environment: who may deploy to it.
#[derive(Clone, Debug)]
pub struct ProtectedEnvironment {
    /// The name of the environment.
    pub name: String,
    /// The access level that may deploy; `None` is nobody.
    pub level: Option<u8>,
    /// User names that may deploy whatever their level.
    pub users: Vec<String>,
}

/// Matches GitLab's branch patterns, in which `*` stands for anything.
pub(crate) fn wildcard(pattern: &str, name: &str) -> bool {
    let Some((before, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(name) = name.strip_prefix(before) else { return false };
    name.char_indices().map(|(at, _)| at).chain([name.len()]).any(|at| wildcard(rest, &name[at..]))
}

/// How a project is made.
#[derive(Clone, Debug)]
pub struct ProjectOptions {
    /// Who can see it.
    pub visibility: Visibility,
    /// The name of the default branch.
    pub default_branch: String,
    /// What the first commit holds: path and content. Empty makes an empty repository.
    pub files: Vec<(String, String)>,
    /// The project's own CI.
    pub ci: Ci,
    /// Where the file of the project's CI is; empty for `.gitlab-ci.yml`.
    pub ci_config_path: String,
    /// "Pipelines must succeed".
    pub pipelines_must_succeed: bool,
    /// "Skipped pipelines are considered successful".
    pub allow_merge_on_skipped_pipeline: bool,
    /// Whether CI/CD is enabled for the project.
    pub builds_enabled: bool,
    /// Protected branches; GitLab protects the default branch of a new project.
    pub protected_branches: Vec<Protection>,
    /// Protected tags.
    pub protected_tags: Vec<Protection>,
    /// Protected environments (Premium).
    pub protected_environments: Vec<ProtectedEnvironment>,
    /// How merge requests are merged.
    pub merge_method: MergeMethod,
    /// How long a new merge request stays without `sha`, `diff_refs` and `prepared_at`.
    pub prepare_delay: SignedDuration,
}

/// How merge requests of a project are merged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MergeMethod {
    /// Always a merge commit.
    #[default]
    MergeCommit,
    /// Fast-forward only; refused where that is impossible.
    FastForward,
}

impl Default for ProjectOptions {
    fn default() -> Self {
        Self {
            visibility: Visibility::Private,
            default_branch: "main".to_owned(),
            files: vec![("README.md".to_owned(), "# A project\n".to_owned())],
            ci: Ci::default(),
            ci_config_path: String::new(),
            pipelines_must_succeed: false,
            allow_merge_on_skipped_pipeline: false,
            builds_enabled: true,
            protected_branches: vec![Protection::maintainers("main")],
            protected_tags: Vec::new(),
            protected_environments: Vec::new(),
            merge_method: MergeMethod::MergeCommit,
            prepare_delay: SignedDuration::ZERO,
        }
    }
}
