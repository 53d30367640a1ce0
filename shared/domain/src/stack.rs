//! What a stack is: a project, a tracked branch and a folder in it, with how to run it.

use crate::{
    CommitSha, ProjectId, Repository, StackId, StackSlug, integration::Integration, run::RunType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod dot_env;
mod head;
mod paths;
mod settings;
mod timeouts;
mod variable_names;

pub use dot_env::DotEnv;
pub use head::{AppliedSince, Blocked, LastApplied, StackHead};
pub use paths::{InvalidRoot, InvalidVarFile, in_repository, normalize_root, normalize_var_file};
pub use settings::{Replan, Scheduled, Settings};
pub use timeouts::{InvalidTimeLimit, TimeLimit, Timeouts};
pub use variable_names::{VARIABLE_NAMES, is_variable_name};

/// A stack as its admin made it. The scheduler only reads this record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stack {
    /// The immutable id.
    pub id: StackId,
    /// The readable, unique name.
    pub slug: StackSlug,
    /// What its admin set.
    #[serde(flatten)]
    pub settings: Settings,
    /// Where its code lies.
    pub repository: Repository,
    /// The project's path when it was last looked up (`group/sub/name`), for people; the address
    /// of a repository that is not at GitLab.
    pub project_path: String,
    /// The integration's generation that the project belongs to; see
    /// [`crate::integration::Integration`].
    pub generation: u32,
    /// True when the project can be read without signing in, at the last look.
    pub project_is_public: bool,
    /// The tracked branch's bare name.
    pub branch: String,
    /// The branch's head when the stack was made or came to the branch, where GitLab said it:
    /// changes count from there. The branch may have moved before the scheduler first looks.
    #[serde(default)]
    pub begins_at: Option<CommitSha>,
    /// Environment variables of runs.
    pub variables: Vec<Variable>,
    /// Secret values that its variables had before, the oldest first. They are masked as long as
    /// Terraform's state may still hold them: see [`Retired::counts`].
    #[serde(default)]
    pub retired: Vec<Retired>,
    /// When it was made.
    pub created_at: jiff::Timestamp,
    /// Set when the stack was deleted; nothing runs any more.
    pub deleted_at: Option<jiff::Timestamp>,
    /// Until when a deleted stack's state can still be exported.
    #[serde(default)]
    pub state_kept_until: Option<jiff::Timestamp>,
    /// Set for a module: its code is tested, and nothing of it is applied for good.
    #[serde(default)]
    pub module: Option<Module>,
}

/// What a module has besides what it shares with stacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Module {
    /// The first part of its address in the registry; its name is the second.
    pub namespace: String,
    /// The main provider (`aws`), the last part of its address in the registry.
    pub terraform_provider: String,
    /// What its tags begin with before the version, where a project has several modules.
    pub tag_prefix: String,
}

impl Stack {
    /// The GitLab project; none where the code lies elsewhere.
    pub fn project(&self) -> Option<ProjectId> {
        self.repository.project()
    }

    /// True when its project belongs to the server that is linked now. What does not lie at GitLab
    /// needs no server.
    pub fn is_attached(&self, integration: Option<&Integration>) -> bool {
        match self.repository {
            Repository::Gitlab(_) => {
                integration.is_some_and(|now| now.linked && now.generation == self.generation)
            }
            Repository::Git(_) => true,
        }
    }
}

/// The program that executes a stack.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tool {
    /// HashiCorp Terraform, the command `terraform`.
    #[default]
    Terraform,
    /// OpenTofu, the command `tofu`.
    #[serde(rename = "opentofu")]
    OpenTofu,
}

impl Tool {
    /// Its name, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Terraform => "Terraform",
            Self::OpenTofu => "OpenTofu",
        }
    }

    /// The command's name on `PATH`.
    pub fn command(self) -> &'static str {
        match self {
            Self::Terraform => "terraform",
            Self::OpenTofu => "tofu",
        }
    }
}

/// What a push to the tracked branch starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnPush {
    /// A run that can be applied.
    #[default]
    Tracked,
    /// A preview only; applying is left to tags or to people.
    Proposed,
}

/// What a tag starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OnTag {
    /// A glob over the tag's bare name (`v*`).
    pub pattern: String,
    /// The type of run.
    pub run: OnPush,
}

/// What happens to queued deploys when a newer one arrives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TrackedQueue {
    /// All run, in order.
    #[default]
    Every,
    /// A newer one cancels the older queued ones.
    Latest,
}

/// How much of the change a merge request's note shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CommentLevel {
    /// Resource by resource, attribute by attribute.
    #[default]
    Full,
    /// Counts only.
    Summary,
    /// The stack does not appear in notes.
    None,
}

/// An environment variable of a stack's runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    /// The variable's name (`TF_VAR_region`, `AWS_PROFILE`).
    pub name: String,
    /// The value, in clear or sealed.
    pub value: VariableValue,
    /// Which runs get it.
    pub runs: VariableRuns,
}

/// A variable's value as it is stored.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VariableValue {
    /// Readable by everybody who may see the stack.
    Plain(String),
    /// Encrypted, bound to the stack's id and the variable's name; never shown again.
    Sealed(String),
}

impl std::fmt::Debug for VariableValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Plain(value) => f.debug_tuple("Plain").field(value).finish(),
            Self::Sealed(_) => f.write_str("Sealed"),
        }
    }
}

/// A secret value that a variable of the stack had before.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retired {
    /// The name of the variable, which may be gone.
    pub name: String,
    /// The value, sealed as it was.
    pub sealed: String,
    /// When it was replaced or removed.
    pub since: jiff::Timestamp,
}

impl std::fmt::Debug for Retired {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Retired({}, {})", self.name, self.since)
    }
}

impl Retired {
    /// The state still holds it: no run has been applied that was made after it had gone. After
    /// that only a state does which ignores the change, or an older one that was restored.
    /// `applied` is when the run was made that was applied last.
    pub fn counts(&self, applied: Option<jiff::Timestamp>) -> bool {
        applied.is_none_or(|made| made <= self.since)
    }
}

/// Which runs get a variable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VariableRuns {
    /// Every run. A preview executes the code of its branch, so anyone who can push one can read
    /// the value.
    #[default]
    All,
    /// Deploys only.
    Tracked,
}

/// Shell commands around the phases, each list run in order by `sh -c` in the project root.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "each is what its name says: when it runs")]
pub struct Hooks {
    pub before_init: Vec<String>,
    pub after_init: Vec<String>,
    pub before_plan: Vec<String>,
    pub after_plan: Vec<String>,
    pub before_apply: Vec<String>,
    pub after_apply: Vec<String>,
}

/// The name of a pool of workers: 1 to 40 of `a-z`, `0-9` and `-`.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(inline, extend("pattern" = "^[a-z0-9-]{1,40}$"))]
pub struct Pool(String);

impl Pool {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Pool> for String {
    fn from(pool: Pool) -> Self {
        pool.0
    }
}

impl TryFrom<String> for Pool {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        match (1..=40).contains(&name.len()) && name.chars().all(fits) {
            true => Ok(Self(name)),
            false => Err("Not a valid pool name: use 1 to 40 of a-z, 0-9 and -"),
        }
    }
}

/// The cloud roles (ARNs) that runs get; the installation's own where none is named. A preview
/// executes the code of its branch, so it never gets the role that may change things.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct Roles {
    /// For previews and tests.
    pub plan: Option<String>,
    /// For deploys.
    pub apply: Option<String>,
}

impl Roles {
    /// The role for runs of a type.
    pub fn of(&self, run_type: RunType) -> Option<&String> {
        match run_type {
            RunType::Proposed | RunType::Test => self.plan.as_ref(),
            RunType::Tracked => self.apply.as_ref(),
        }
    }
}
