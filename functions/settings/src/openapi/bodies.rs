//! The bodies of requests. Handlers read them field by field, so that everything wrong is said at
//! once: a test compares the fields that they take with these.

#![expect(dead_code, reason = "they describe what is read field by field")]

use gantry_domain::{
    CommitSha, TargetName,
    approval::Decision,
    notification::{NotificationEvent, TargetKind},
    rights::Levels,
    schedule::Schedule,
    stack::Pool,
};
use gantry_store::config::Role;
use schemars::JsonSchema;
use semver::Version;
use std::collections::BTreeSet;

/// A server, and a token for it.
#[derive(JsonSchema)]
pub(crate) struct ConnectGitLab {
    /// The server's URL: `https://gitlab.com`.
    api_host: String,
    /// An access token with the scope `api`.
    token: String,
}

/// An OAuth application of GitLab, and what people may do who sign in with it.
#[derive(JsonSchema)]
pub(crate) struct SetUpSignIn {
    /// The application's ID, as GitLab shows it.
    application_id: String,
    /// The application's secret. It can be left out where the ID stays.
    secret: Option<String>,
    /// Full paths of groups: whoever is at least Maintainer in one of them is an admin here.
    #[schemars(length(max = 10))]
    admin_groups: Option<Vec<String>>,
    /// Which level of a stack's project gives which right. Each needs at least the level of the one
    /// before.
    levels: Option<Levels>,
    /// Whether the links to runs in GitLab open without signing in, where they carry a key; true if
    /// it was never set.
    run_links: Option<bool>,
}

/// How to replace the webhook secret.
#[derive(JsonSchema)]
pub(crate) struct RotateSecret {
    /// Revoke the previous secret instead.
    end: Option<bool>,
    /// Replace it even though the previous secret of the last rotation is still valid.
    force: Option<bool>,
}

/// A key to create.
#[derive(JsonSchema)]
pub(crate) struct MakeKey {
    /// A unique name, such as its holder's.
    #[schemars(length(min = 1, max = 64))]
    name: String,
    /// What it may do.
    role: Role,
    /// Required for worker keys, and only for them: the pool to take runs from.
    pool: Option<Pool>,
}

/// A notification target to create.
#[derive(JsonSchema)]
pub(crate) struct NewNotificationTarget {
    /// A unique name, such as that of the channel.
    name: TargetName,
    /// What understands its messages.
    kind: TargetKind,
    /// The URL that messages are sent to. It is kept encrypted, and never shown again.
    #[schemars(length(max = 2000))]
    url: String,
    /// What it is notified of; everything if omitted.
    events: Option<BTreeSet<NotificationEvent>>,
    /// Only of stacks that have one of these labels; of all stacks if omitted.
    #[schemars(length(max = 50))]
    labels: Option<Vec<String>>,
}

/// What to change of a notification target. What is omitted stays.
#[derive(JsonSchema)]
pub(crate) struct NotificationTargetChange {
    /// The URL that messages are sent to.
    #[schemars(length(max = 2000))]
    url: Option<String>,
    /// What it is notified of.
    events: Option<BTreeSet<NotificationEvent>>,
    /// Only of stacks that have one of these labels; of all stacks if empty.
    #[schemars(length(max = 50))]
    labels: Option<Vec<String>>,
    /// Replace the secret that a webhook's messages are signed with. For 24 hours, messages are
    /// signed with both.
    new_secret: Option<bool>,
}

/// Which messages to resend.
#[derive(JsonSchema)]
pub(crate) struct Redrive {
    /// All queues if omitted.
    #[schemars(extend("enum" = ["events", "source", "feedback", "starts", "later", null]))]
    queue: Option<String>,
}

/// Whether to pause runs.
#[derive(JsonSchema)]
pub(crate) struct HoldRunners {
    /// Start no new runs.
    paused: bool,
}

/// A run to start.
#[derive(JsonSchema)]
pub(crate) struct StartRun {
    /// `tracked` (a deploy, the default) or `proposed` (a preview).
    #[schemars(extend("enum" = ["tracked", "proposed", null]))]
    r#type: Option<String>,
    /// A commit's SHA or the beginning of it, a branch, or a tag; the tracked branch's head if
    /// omitted. A deploy is of a commit on the tracked branch, a preview of one on any branch.
    commit: Option<String>,
    /// What is planned: `normal` (the default), `refresh_only` (the state becomes what there is) or
    /// `destroy` (nothing remains).
    #[schemars(extend("enum" = ["normal", "refresh_only", "destroy", null]))]
    mode: Option<String>,
    /// Addresses of resources or modules: only these are planned, and what they depend on
    /// (`-target`).
    #[schemars(length(max = 100))]
    targets: Option<Vec<String>>,
    /// Addresses of resources that are replaced whether they changed or not (`-replace`); only with
    /// the mode `normal`.
    #[schemars(length(max = 100))]
    replace: Option<Vec<String>>,
    /// Environment variables of this run, instead of the stack's where they have the same name.
    #[schemars(length(max = 50))]
    variables: Option<Vec<RunVariable>>,
    /// The stack's slug. Required for a deploy that destroys everything.
    confirm_slug: Option<String>,
}

/// A variable of one run.
#[derive(JsonSchema)]
#[schemars(inline)]
struct RunVariable {
    /// The environment variable; `TF_VAR_name` sets the input variable `name`.
    name: String,
    /// Its value. A secret must have at least 6 characters, because a shorter one cannot be masked.
    value: String,
    /// It is encrypted and never shown.
    secret: Option<bool>,
}

/// A command for a stack.
#[derive(JsonSchema)]
pub(crate) struct StartTask {
    /// What `sh -c` is given, in the project root, after init.
    #[schemars(length(min = 1, max = 8192))]
    command: String,
}

/// When stacks are looked at for drift that say nothing else.
#[derive(JsonSchema)]
#[schemars(rename = "SetDriftDefaults")]
pub(crate) struct SetDrift {
    /// When; never by themselves if omitted or null.
    schedule: Option<Schedule>,
    /// How many looks for drift may have one of the built-in runners at once: 2 if omitted.
    #[schemars(range(min = 1, max = 100))]
    at_most: Option<u32>,
}

/// An archive to upload: a `tar.gz` with everything below one top folder.
#[derive(JsonSchema)]
pub(crate) struct NewUpload {
    /// Its SHA-256, in lower-case hexadecimal digits.
    #[schemars(extend("pattern" = "^[0-9a-f]{64}$"))]
    digest: String,
    /// Its size in bytes.
    #[schemars(range(min = 0, max = 50_000_000))]
    size: u64,
}

/// A preview to start of an archive.
#[derive(JsonSchema)]
pub(crate) struct StartPreview {
    /// The full ID of the commit that the code is based on; the tracked branch's head if omitted.
    commit: Option<CommitSha>,
}

/// A confirmation.
#[derive(JsonSchema)]
pub(crate) struct ConfirmRun {
    /// What you want to say about it. Shown with the run and in the list of activities.
    #[schemars(length(max = 1000))]
    comment: Option<String>,
    /// Why the rules about who confirms do not count for once. Only for access keys with the role
    /// `admin`. Shown with the run and in the list of activities.
    #[schemars(length(max = 500))]
    override_reason: Option<String>,
}

/// A review of a plan.
#[derive(JsonSchema)]
pub(crate) struct ReviewRun {
    /// What you decide.
    decision: Decision,
    /// What you want to say about it. Shown with the run and in the list of activities.
    #[schemars(length(max = 1000))]
    comment: Option<String>,
}

/// A decision about a plan.
#[derive(JsonSchema)]
pub(crate) struct DecideRun {
    /// What you want to say about it. Shown with the run and in the list of activities.
    #[schemars(length(max = 1000))]
    comment: Option<String>,
}

/// How a run is repeated.
#[derive(JsonSchema)]
pub(crate) struct RetryRun {
    /// Repeat a deploy even if the branch has moved on.
    force: Option<bool>,
}

/// Why a stack may run again.
#[derive(JsonSchema)]
pub(crate) struct UnblockStack {
    /// What you found about the lost apply.
    #[schemars(length(min = 1, max = 500))]
    reason: String,
}

/// A version to create.
#[derive(JsonSchema)]
pub(crate) struct MakeVersion {
    /// A SemVer version without build metadata.
    version: Version,
    /// A commit on the tracked branch, by its SHA or the beginning of it, a branch, or a tag; the
    /// tracked branch's head if omitted.
    commit: Option<String>,
}

/// Whether a version may be used.
#[derive(JsonSchema)]
pub(crate) struct YankVersion {
    /// Why it should not be used; if omitted, the version is offered again.
    #[schemars(length(max = 500))]
    note: Option<String>,
}
