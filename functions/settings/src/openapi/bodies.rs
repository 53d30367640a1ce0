//! The bodies of requests. Handlers read them field by field, so that everything wrong is said at
//! once: a test compares the fields that they take with these.

#![expect(dead_code, reason = "they describe what is read field by field")]

use gantry_domain::{CommitSha, stack::Pool};
use gantry_store::config::Role;
use schemars::JsonSchema;
use semver::Version;

/// A server, and a token for it.
#[derive(JsonSchema)]
pub(crate) struct ConnectGitLab {
    /// The server's address: `https://gitlab.com`.
    api_host: String,
    /// An access token with the scope `api`.
    token: String,
}

/// How the webhooks' secret is replaced.
#[derive(JsonSchema)]
pub(crate) struct RotateSecret {
    /// End the previous secret instead.
    end: Option<bool>,
    /// Replace it although the last rotation's previous secret is still in use.
    force: Option<bool>,
}

/// A key to make.
#[derive(JsonSchema)]
pub(crate) struct MakeKey {
    /// What to call it, such as its holder's name. No other key has it.
    #[schemars(length(min = 1, max = 64))]
    name: String,
    /// What it may do.
    role: Role,
    /// Of a worker's key, which needs it: whose runs it takes.
    pool: Option<Pool>,
}

/// Which messages to send again.
#[derive(JsonSchema)]
pub(crate) struct Redrive {
    /// All queues when it is missing.
    #[schemars(extend("enum" = ["events", "source", "feedback", "starts", "later", null]))]
    queue: Option<String>,
}

/// Whether to hold runners back.
#[derive(JsonSchema)]
pub(crate) struct HoldRunners {
    /// No runner is to be started.
    paused: bool,
}

/// A run to start.
#[derive(JsonSchema)]
pub(crate) struct StartRun {
    /// `tracked` when missing.
    #[schemars(extend("enum" = ["tracked", "proposed", null]))]
    r#type: Option<String>,
    /// A full commit id of the tracked branch; its live head when missing.
    commit: Option<CommitSha>,
}

/// How a run is repeated.
#[derive(JsonSchema)]
pub(crate) struct RetryRun {
    /// Also a tracked run behind the branch's head.
    force: Option<bool>,
}

/// Why a stack may run again.
#[derive(JsonSchema)]
pub(crate) struct UnblockStack {
    /// What was found about the lost apply.
    #[schemars(length(min = 1, max = 500))]
    reason: String,
}

/// A version to make.
#[derive(JsonSchema)]
pub(crate) struct MakeVersion {
    /// As SemVer has them, without build metadata.
    version: Version,
    /// A commit of the tracked branch; its head when missing.
    commit: Option<CommitSha>,
}

/// Whether a version may be used.
#[derive(JsonSchema)]
pub(crate) struct YankVersion {
    /// Why nobody is to use it any more; without it, the version is offered again.
    #[schemars(length(max = 500))]
    note: Option<String>,
}
