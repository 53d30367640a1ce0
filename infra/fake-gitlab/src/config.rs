//! What a fake is started with.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::model::{GroupId, UserId};
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
    /// Notes a minute and user.
    pub notes_per_minute: Option<u32>,
    /// Archive downloads a minute, project and user; GitLab has 5 built in.
    pub archives_per_minute: Option<u32>,
    /// Hooks of a project.
    pub hooks_per_project: usize,
    /// Jobs of a pipeline (`ci_pipeline_size`).
    pub jobs_per_pipeline: usize,
    /// Files that compare lists; the rest is missing.
    pub diff_files: usize,
    /// Characters of a note.
    pub note_characters: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            notes_per_minute: Some(300),
            archives_per_minute: Some(5),
            hooks_per_project: 100,
            jobs_per_pipeline: 500,
            diff_files: 3_000,
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
    /// The version that is pretended, with what it can and cannot do.
    pub version: ServerVersion,
    /// Where the time comes from.
    pub now: Clock,
    /// When webhooks are sent.
    pub delivery: DeliveryMode,
    /// Limits that tests make smaller to reach them.
    pub limits: Limits,
    /// Who somebody without a token acts as, in git and on the pages: for demos.
    pub anonymous_user: Option<String>,
    /// What each request passes before anything is done for it, with its method and its path. One
    /// that it keeps is never carried out.
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
            version: ServerVersion::newest(),
            now: Arc::new(machine_clock),
            delivery: DeliveryMode::Immediate,
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
    /// [`crate::FakeGitlab::finish_all_ci`].
    pub duration: Option<SignedDuration>,
    /// The name of its one job; empty is `build`.
    pub job: String,
}

/// A protected branch: who may do what. Nobody rewrites its history.
/// `*` in the name stands for anything.
#[derive(Clone, Debug)]
pub struct Protection {
    /// A name or a pattern.
    pub name: String,
    /// The access level that may push; `None` is nobody.
    pub push: Option<u8>,
    /// The access level that may merge; `None` is nobody.
    pub merge: Option<u8>,
}

impl Protection {
    /// GitLab's own default: maintainers push and merge.
    pub fn maintainers(name: impl Into<String>) -> Self {
        Self { name: name.into(), push: Some(40), merge: Some(40) }
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

/// One way of being allowed to deploy, or to approve a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// From this access level in the project: 30, 40, or 60 for administrators; 0 is nobody.
    Role(u8),
    /// This user, whatever its level.
    User(UserId),
    /// The members of a group.
    Group {
        /// The group.
        id: GroupId,
        /// Whether members of the groups that it lies in count too.
        inherited: bool,
    },
}

/// A protected environment: who may deploy to it, and who approves that.
#[derive(Clone, Debug)]
pub struct ProtectedEnvironment {
    /// The name of the environment.
    pub name: String,
    /// Who may deploy: one of these is enough.
    pub deploy: Vec<Allowed>,
    /// `required_approval_count`. Nobody has to approve a deployment here.
    pub required_approvals: u64,
    /// Who has to approve, and how many of them.
    pub approval_rules: Vec<(Allowed, u64)>,
}

impl ProtectedEnvironment {
    /// Only these may deploy, and nobody has to approve that.
    pub fn new(name: impl Into<String>, deploy: Vec<Allowed>) -> Self {
        Self { name: name.into(), deploy, required_approvals: 0, approval_rules: Vec::new() }
    }
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
    /// "All threads must be resolved".
    pub threads_must_be_resolved: bool,
    /// Whether CI/CD is enabled for the project.
    pub builds_enabled: bool,
    /// Protected branches; GitLab protects the default branch of a new project.
    pub protected_branches: Vec<Protection>,
    /// Protected environments (Premium).
    pub protected_environments: Vec<ProtectedEnvironment>,
    /// Whether who triggered a deployment may approve it (Premium).
    pub allows_own_approval: bool,
    /// How many have to approve a merge request before it can be merged (Premium).
    pub approvals_required: usize,
    /// Whether it is archived; writing to it goes on working.
    pub archived: bool,
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
            threads_must_be_resolved: false,
            builds_enabled: true,
            protected_branches: vec![Protection::maintainers("main")],
            protected_environments: Vec::new(),
            allows_own_approval: false,
            approvals_required: 0,
            archived: false,
        }
    }
}
