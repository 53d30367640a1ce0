//! What runners and `runner-api` say to each other, under `/runner/v1/`.
//!
//! | request | token | meaning |
//! |---|---|---|
//! | `POST claim` [`ClaimRequest`] → [`ClaimAnswer`] | claim | take a phase of a run, once |
//! | `POST next` → [`NextAnswer`]; 204 when there is none | a worker's key | a run of the worker's pool |
//! | `POST further` [`FurtherRequest`] → [`NextAnswer`]; 204 while there is none | run, which has ended | another run for the same machine |
//! | `GET source` → the commit's `tar.gz`, or the uploaded one; 202 + `Retry-After` while it is fetched | run | 422 with a text for people: it cannot be had |
//! | `POST log` [`LogChunk`] | run | append to the log |
//! | `POST beat` → [`BeatAnswer`] | run | a sign of life, at least every 10 s; the claim is the first |
//! | `POST upload` [`UploadRequest`] → [`UploadAnswer`] | run | where the body of a plan or state goes |
//! | `PUT plan?digest=` / `GET plan`: a `tar.gz` of workspace and plan | run | saved by plan, read by apply |
//! | `PUT change` [`crate::plan::Change`] | run | what the plan found, masked |
//! | `POST report` [`Report`] | run | what happened; the scheduler moves the run |
//! | `GET state` → the state; 204 while there is none | run | |
//! | `POST state/lock`, `DELETE state/lock` [`LockInfo`] | run | 423 with the holder's [`LockInfo`]; the same lock again is no conflict |
//! | `PUT state/upload?digest=`, then `POST state` [`StateCommit`] | run | 409 with a text: not its successor |
//!
//! The runner answers a redirect (307) of a `GET` by reading the address without its token, so
//! that large bodies come from the storage itself. A token that is no longer good gets 410: the
//! runner stops. 429 and 5xx are tried again, other refusals are not; their body is a text for
//! people. Every request carries [`VERSION_HEADER`].

use crate::{
    CommitSha, RunId, StackSlug,
    drift::Tolerated,
    plan::{Delta, Warning, is_zero},
    run::{Phase, PlanOptions, RunType},
    stack::{Hooks, Tool},
};
use serde::{Deserialize, Serialize};

/// The header that carries [`VERSION`].
pub const VERSION_HEADER: &str = "gantry-protocol";
/// The version that this code speaks; it also reads the one before.
pub const VERSION: u32 = 1;

/// What the runner sends to take a phase. The claim token travels as the bearer token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClaimRequest {
    /// The runner's own name, for people (`local-4711`).
    pub runner: String,
    /// Random. A claim repeated with the same one is the same claim, whose answer got lost.
    #[serde(default)]
    pub nonce: String,
    /// Proof of the runner's cloud role, bound to [`claim_purpose`]. Start parameters, the token
    /// among them, can be read by whoever sees the cloud's console.
    #[serde(default)]
    pub identity: Option<String>,
    /// A preview that lasts longer than a moment is told again ([`ReportKind::Claimed`]), so that
    /// nobody need show it before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tells_again: bool,
    /// It plans as it is told, and executes tasks. A runner of an earlier release would plan, and
    /// apply, something else.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub heeds_options: bool,
}

/// What a runner sends that has ended its phase and takes another one, of a run with the same role
/// and type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FurtherRequest {
    /// The sequence of its last report. What it says must have been recorded before.
    pub last_report: u32,
    /// How long its machine is still there. A run that may take longer is not for it: with 0 it only
    /// says that it will be free in a moment.
    pub seconds_left: u32,
}

/// What is handed to whoever asked for a run (`POST next`, `POST further`): it takes the phase as
/// any runner does, with this token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextAnswer {
    /// The run.
    pub run: RunId,
    /// Buys the phase, once.
    pub claim_token: String,
}

/// What the proof in [`ClaimRequest::identity`] is bound to: the digest of the claim token.
pub fn claim_purpose(claim_token: &str) -> String {
    format!("claim.{}", crate::ids::short_digest(&[claim_token]))
}

/// Everything a runner needs to execute one phase. Holds secrets: never logged, no `Debug`.
#[derive(Clone, Serialize, Deserialize)]
pub struct ClaimAnswer {
    /// Good for this run, phase and attempt alone.
    pub run_token: String,
    /// The run.
    pub run: RunId,
    /// What to do.
    pub phase: Phase,
    /// The run's type; a proposed run never applies.
    pub run_type: RunType,
    /// The stack's slug.
    pub stack: StackSlug,
    /// The commit whose source is run.
    pub commit: CommitSha,
    /// Who uploaded the source, where it is not the commit's, but based on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uploaded_by: Option<String>,
    /// The SHA-256 of what was uploaded, hex. The runner unpacks nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload_digest: Option<String>,
    /// A signed address of the storage, good for a few minutes, where the source is if it was fetched:
    /// `GET` it there without a token. Where it is not there, and where the storage cannot sign, there
    /// is `GET source`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_url: Option<String>,
    /// The branch (or tag) it was started for.
    pub branch: String,
    /// The folder in the source to run in.
    pub project_root: String,
    /// Files of values for Terraform's variables, relative to the project root, in the order in
    /// which Terraform gets them.
    #[serde(default)]
    pub var_files: Vec<String>,
    /// The program.
    pub tool: Tool,
    /// Its version; the one on `PATH` when empty.
    pub tool_version: Option<String>,
    /// Apply right after a plan with changes.
    pub autodeploy: bool,
    /// Gantry keeps the state: serve the `http` backend.
    pub manage_state: bool,
    /// Shell commands around the phases.
    pub hooks: Hooks,
    /// Environment variables; `secret` ones are masked in everything that leaves the runner.
    pub variables: Vec<RunVariable>,
    /// Seconds until the phase is stopped.
    pub timeout: u32,
    /// Seconds until an apply right after the plan is stopped (autodeploy).
    #[serde(default = "default_apply_timeout")]
    pub apply_timeout: u32,
    /// The module registry of this installation, where the run's code may find modules.
    #[serde(default)]
    pub registry: Option<Registry>,
    /// The most bytes that a state may have: what may become larger is not applied.
    #[serde(default = "default_largest_state")]
    pub largest_state: u64,
    /// How it plans, where that is not the usual way. Its variables are among `variables`.
    #[serde(default, skip_serializing_if = "PlanOptions::is_usual")]
    pub options: PlanOptions,
    /// It looks for drift: what may differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerate: Option<Vec<Tolerated>>,
    /// The command that is executed instead of a plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// For an apply: the digest that [`ReportKind::Planned`] brought. The runner applies nothing
    /// else.
    #[serde(default)]
    pub plan_digest: Option<String>,
    /// For an apply: what its plan found.
    #[serde(default)]
    pub planned: Option<Delta>,
}

fn default_apply_timeout() -> u32 {
    crate::stack::Timeouts::default().apply.seconds()
}

fn default_largest_state() -> u64 {
    256 << 20
}

/// How a run reaches the module registry. Its routes are below the runner API's own address.
#[derive(Clone, Serialize, Deserialize)]
pub struct Registry {
    /// The host in modules' addresses, with its port where it has one.
    pub host: String,
    /// Lets the run read, while it lasts.
    pub token: String,
}

/// A variable as a run gets it.
#[derive(Clone, Serialize, Deserialize)]
pub struct RunVariable {
    /// The name.
    pub name: String,
    /// The value in clear.
    pub value: String,
    /// Masked wherever it appears.
    pub secret: bool,
}

/// Asks where a body goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadRequest {
    /// What it is.
    pub what: Upload,
    /// The body's SHA-256, hex.
    pub digest: String,
    /// Its length in bytes.
    pub size: u64,
}

/// What can be uploaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Upload {
    /// The archive of plan and workspace: `PUT plan?digest=` where no address is given.
    Plan,
    /// A state's body: `PUT state/upload?digest=` where no address is given.
    State,
}

/// Where a body goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UploadAnswer {
    /// A signed address of the storage, good for a few minutes: `PUT` it there without a token.
    /// None where the storage cannot sign: `PUT` it to the runner API.
    pub url: Option<String>,
    /// Headers to send with it, part of what is signed.
    pub headers: std::collections::BTreeMap<String, String>,
}

/// A piece of the log. `offset` counts bytes from the start of this attempt's log, so that a
/// repeated chunk is recognised.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LogChunk {
    /// Bytes before this chunk.
    pub offset: u64,
    /// Masked UTF-8 text.
    pub text: String,
}

/// The answer to a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeatAnswer {
    /// Set when somebody wants the run to end: who or what, for the log.
    pub stop: Option<String>,
}

/// What happened in a phase. `sequence` rises by one with each report of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Starts at 1 for each attempt (the claim itself is 0).
    pub sequence: u32,
    /// What happened.
    pub what: ReportKind,
    /// Set where a person must look at the state before anything else is planned against it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doubt: Option<StateDoubt>,
    /// What the tool warned of that no plan's change tells, masked: before a plan that failed, and
    /// in an apply.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// For how many milliseconds it has been planned, where that may not have been told when it began
    /// ([`ReportKind::Planning`]): a preview's plan that lasts a moment is told with its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planning_for: Option<u32>,
}

impl Report {
    /// A report that leaves no doubt.
    pub fn new(sequence: u32, what: ReportKind) -> Self {
        Self { sequence, what, doubt: None, warnings: Vec::new(), planning_for: None }
    }
}

/// Why the current state may not be what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateDoubt {
    /// A state could not be made current and was kept aside.
    KeptAside,
    /// A state is still on the runner's machine, and not with Gantry.
    NotDelivered,
    /// The runner died while it applied, and no state of what was done was found.
    RunnerDied,
}

/// What happened in a phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ReportKind {
    /// A runner took the phase. `runner-api` says so with the number 0; with a later one the runner
    /// itself says that it still has the phase, after a moment.
    Claimed {
        /// The runner's name, where `runner-api` says it.
        runner: String,
        /// The runner will say so itself, if the phase lasts so long.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        tells_again: bool,
    },
    /// Init is done, the plan begins.
    Planning,
    /// The plan is done and, unless it is clean, saved.
    Planned {
        /// What it would change.
        delta: Delta,
        /// The digest (SHA-256, hex) of the saved archive of plan and workspace; none when there
        /// is nothing to apply: a plan without changes, or any plan of a run that is never applied.
        plan_digest: Option<String>,
        /// It covers only a part of the stack: what it left aside stays as it is.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        partial: bool,
        /// How many checks and conditions failed. Runners of earlier releases do not tell.
        #[serde(default, skip_serializing_if = "is_zero")]
        failed_checks: u32,
        /// Of a look for drift: resources that differ and may.
        #[serde(default, skip_serializing_if = "is_zero")]
        tolerated: u32,
    },
    /// The apply is done.
    Applied {
        /// What was changed.
        delta: Delta,
    },
    /// A test's apply failed or was interrupted; what it made is destroyed next.
    ApplyFailed {
        /// The first error's summary, masked: at most 200 characters.
        summary: String,
        /// The tool's diagnostics, masked.
        errors: Vec<String>,
        /// The last lines of the log, masked, at most 30.
        log_tail: Vec<String>,
        /// True when Terraform itself ran and said no.
        #[serde(default = "yes", skip_serializing_if = "is_true")]
        in_terraform: bool,
    },
    /// What a test made is destroyed.
    Destroyed {
        /// What is still there, because the code or arguments say not to destroy it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        left: Vec<LeftBehind>,
    },
    /// The phase failed.
    Failed {
        /// The first error's summary, masked: at most 200 characters.
        summary: String,
        /// The tool's diagnostics, masked.
        errors: Vec<String>,
        /// The last lines of the log, masked, at most 30.
        log_tail: Vec<String>,
        /// True when Terraform itself ran and said no; false when it never came to that.
        in_terraform: bool,
    },
    /// The phase ended because somebody asked it to, before anything was applied.
    Stopped,
    /// An apply was interrupted, by a stop or its time limit; its state was written as far as it
    /// came. Also when the apply had not begun yet.
    Interrupted {
        /// The first error's summary, the time limit, or that nothing was applied; masked.
        summary: String,
    },
}

fn yes() -> bool {
    true
}

fn is_true(value: &bool) -> bool {
    *value
}

/// An object that a destroy has left where it was.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LeftBehind {
    /// Its address, masked.
    pub address: String,
    /// Its id, masked, where it has one that may be shown.
    pub id: Option<String>,
}

impl std::fmt::Display for LeftBehind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.id {
            Some(id) => write!(f, "{} ({id})", self.address),
            None => f.write_str(&self.address),
        }
    }
}

/// Terraform's lock information, as the `http` backend sends it. Terraform's own field names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "Terraform's own fields: statemgr.LockInfo")]
pub struct LockInfo {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "Operation", default)]
    pub operation: String,
    #[serde(rename = "Info", default)]
    pub info: String,
    #[serde(rename = "Who", default)]
    pub who: String,
    #[serde(rename = "Version", default)]
    pub version: String,
    #[serde(rename = "Created", default)]
    pub created: String,
    #[serde(rename = "Path", default)]
    pub path: String,
}

/// A new state version whose body was uploaded before: `POST state`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateCommit {
    /// The lock this write is made under; none only where Terraform was told not to lock.
    pub lock_id: Option<String>,
    /// The body's SHA-256, hex: the name under which it was uploaded.
    pub digest: String,
    /// Keep it aside as *rescued*: never made current except by a person.
    pub rescued: bool,
}

/// The answer to `GET state` when the storage cannot sign addresses is the body itself; these
/// headers come with it.
pub const STATE_SERIAL_HEADER: &str = "gantry-state-serial";
