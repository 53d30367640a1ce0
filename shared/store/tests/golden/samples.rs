//! A record of each kind, with everything in it.

use crate::{Sample, sample};
use gantry_domain::{
    CommitSha, EventId, MergeRequestIid, PipelineId, ProjectId, Repository, RunId, StackId, UserId,
    event::{EventRecord, EventSource},
    feedback::{Pipeline, Posted, PostedStatus, Shows, Statuses},
    integration::{BotUser, Integration},
    module::{ModuleConfig, Packed, TestCase},
    plan::{Delta, Warning},
    protocol::{LockInfo, StateDoubt},
    run::{Effect, Ending, Interest, Phase, Position, Run, RunState, RunType, Step, TestOf},
    stack::{
        Blocked, CommentLevel, Hooks, LastApplied, Module, OnPush, OnTag, Pool, Retired, Roles,
        Settings, Stack, StackHead, Timeouts, Tool, TrackedQueue, Variable, VariableRuns,
        VariableValue,
    },
    state::StateForm,
    text::status::CommitState,
};
use gantry_store::{
    config::{
        Activity, AdminKey, FoundBy, Pause, ProjectEntry, ProjectStack, RegistryEntry, Role,
        SlugEntry,
    },
    feedback::Refusal,
    health::{Ended, Health},
    runner::{
        Beat, Claim, FreeRunner, HandedOn, LogHeld, LogPiece, StateLock, StatePin, StateUpload,
        StateVersion,
    },
    scheduler::{
        BlockedStack, BudgetUsed, CommandOutcome, ComparedFolder, Comparing, DecisionRecord,
        FetchedSource, Heard, MergeRequestRecord, Once, OpenDecision, ProjectPath, QueueEntry,
        Receipt, RefRecord, RunEntry, Sides, SlotEntry, SlotLimit, StartedBuild, Subject, Suite,
        TrackedBranch, VersionRecord, VersionState, Yanked,
    },
};
use jiff::Timestamp;
use semver::Version;
use std::collections::{BTreeMap, BTreeSet};

pub(crate) fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_767_323_045 + second).unwrap()
}

pub(crate) fn run_id() -> RunId {
    id("run-1")
}

pub(crate) fn stack_id() -> StackId {
    id("network")
}

fn commit() -> CommitSha {
    id("0123456789abcdef0123456789abcdef01234567")
}

fn older_commit() -> CommitSha {
    id("89abcdef0123456789abcdef0123456789abcdef")
}

fn event_id() -> EventId {
    id("f8a4c2d0-1b2c-4d5e-8f90-a1b2c3d4e5f6")
}

fn pool() -> Option<Pool> {
    Some(Pool::try_from("on-premises".to_owned()).unwrap())
}

fn digest() -> String {
    "ab".repeat(32)
}

const PROJECT: ProjectId = ProjectId(42);
const FORK: ProjectId = ProjectId(99);

fn test_case() -> TestCase {
    TestCase {
        name: id("Two.zones"),
        project_root: "tests/zones".into(),
        variables: BTreeMap::from([("TF_VAR_zones".into(), "2".into())]),
        negative: true,
        depends_on: vec![id("basic")],
        tool: Some(Tool::OpenTofu),
        tool_version: Some("1.9.0".into()),
    }
}

fn warning() -> Warning {
    let place = Some("with terraform_data.a, on main.tf line 3".into());
    Warning { summary: "Argument is deprecated".into(), place, count: 2 }
}

/// No run is all of this at once: it has every field filled.
fn run() -> Run {
    Run {
        id: run_id(),
        stack: stack_id(),
        slug: id("network-eu"),
        repository: Repository::Gitlab(PROJECT),
        run_type: RunType::Tracked,
        number: 7,
        key: "decision-7".into(),
        commit: commit(),
        git_ref: "feature/subnets".into(),
        tracked_branch: "main".into(),
        fork_of: Some(FORK),
        stacks_touched: 3,
        event: Some(event_id()),
        reason: "infra/network/main.tf changed".into(),
        by: Some("ops".into()),
        state: RunState::Failed,
        history: vec![
            Step { state: RunState::Preparing, at: at(1), by: None },
            Step { state: RunState::Failed, at: at(2), by: Some("ops".into()) },
        ],
        interests: BTreeSet::from([
            Interest::Branch("feature/subnets".into()),
            Interest::MergeRequest(MergeRequestIid(12)),
            Interest::Tag("v1.2.0".into()),
            Interest::Person,
        ]),
        phase: Phase::Apply,
        attempt: 2,
        last_report: 5,
        runner: Some("gantry-runner:1f2e".into()),
        stop_asked: Some("ops".into()),
        delta: Some(Delta {
            add: 1,
            change: 2,
            destroy: 3,
            import: 4,
            moved: 5,
            forget: 6,
            invoke: 0,
            outputs: 7,
        }),
        partial: false,
        applied: true,
        plan_digest: Some(digest()),
        ending: Some(Ending {
            summary: "Invalid value".into(),
            errors: vec!["Error: Invalid value".into()],
            log_tail: vec!["Planning failed.".into()],
            in_terraform: true,
        }),
        lost: true,
        doubt: None,
        outstanding: BTreeSet::from([
            Effect::Feedback,
            Effect::Dispatch,
            Effect::Start,
            Effect::Advance,
            Effect::EndRunner,
        ]),
        autodeploy: true,
        created_at: at(0),
        pool: pool(),
        asked_at: Some(at(-1)),
        since: at(2),
        handed_out_at: Some(at(1)),
        role: Some("arn:aws:iam::123456789012:role/gantry/apply/r".into()),
        unclaimed: 1,
        position: Position::Slot,
        module: true,
        test: Some(TestOf { suite: id("run-0"), case: test_case(), tracked: true }),
        version: Some(Version::new(1, 2, 0)),
        verdict: Some("all 4 tests have passed".into()),
        left_behind: true,
        warnings: Vec::new(),
    }
}

/// No stack is all of this at once: it has every field filled.
fn stack() -> Stack {
    let variable = |name: &str, value, runs| Variable { name: name.into(), value, runs };
    Stack {
        id: stack_id(),
        slug: id("network-eu"),
        settings: Settings {
            name: "Network: EU".into(),
            description: Some("Of **all** regions.".into()),
            project_root: "infra/network".into(),
            project_globs: vec!["modules/**".into()],
            var_files: vec!["../eu.tfvars".into()],
            tool: Tool::OpenTofu,
            tool_version: Some("1.9.0".into()),
            autodeploy: true,
            allow_forks: vec!["partners".into()],
            on_push: OnPush::Proposed,
            on_tag: Some(OnTag { pattern: "v*".into(), run: OnPush::Tracked }),
            tracked_queue: TrackedQueue::Latest,
            comment: CommentLevel::Summary,
            manage_state: true,
            labels: vec!["network".into(), "eu".into()],
            hooks: Hooks {
                before_init: vec!["echo 1".into()],
                after_init: vec!["echo 2".into()],
                before_plan: vec!["echo 3".into()],
                after_plan: vec!["echo 4".into()],
                before_apply: vec!["echo 5".into()],
                after_apply: vec!["echo 6".into()],
            },
            pool: pool(),
            roles: Roles {
                plan: Some("arn:aws:iam::123456789012:role/gantry/plan/r".into()),
                apply: Some("arn:aws:iam::123456789012:role/gantry/apply/r".into()),
            },
        },
        repository: Repository::Gitlab(PROJECT),
        project_path: "infra/network".into(),
        generation: 2,
        project_is_public: true,
        branch: "main".into(),
        begins_at: Some(commit()),
        variables: vec![
            variable("TF_VAR_region", VariableValue::Plain("eu-1".into()), VariableRuns::All),
            variable("TOKEN", VariableValue::Sealed("v1.c2VhbGVk".into()), VariableRuns::Tracked),
        ],
        retired: vec![Retired {
            name: "TF_VAR_token".into(),
            sealed: "sealed-before".into(),
            since: at(3),
        }],
        timeouts: Timeouts { claim: 1, plan: 2, apply: 3, unconfirmed: 4 },
        created_at: at(0),
        deleted_at: Some(at(1)),
        state_kept_until: Some(at(2)),
        module: Some(Module {
            namespace: "platform".into(),
            terraform_provider: "aws".into(),
            tag_prefix: "network/".into(),
        }),
    }
}

fn of_settings() -> Vec<Sample> {
    vec![
        sample("stack", stack()),
        sample(
            "integration",
            Integration {
                api_host: "https://gitlab.example".into(),
                generation: 2,
                linked: true,
                server_version: Some("19.1.0-ee".into()),
                bot: BotUser { id: UserId(7), username: "gantry".into() },
                previous_bot: Some(BotUser { id: UserId(6), username: "gantry-old".into() }),
                token_scopes: vec!["api".into()],
                token_expires_on: Some("2027-01-31".into()),
                saved_at: at(0),
                installation: "1f2e3d4c".into(),
            },
        ),
        sample(
            "slug-entry",
            SlugEntry {
                stack: stack_id(),
                deleted: true,
                module: true,
                found_by: FoundBy {
                    name: "Network: EU".into(),
                    project: "infra/network".into(),
                    labels: vec!["eu".into()],
                },
            },
        ),
        sample("project-stack", ProjectStack { stack: stack_id(), branch: "main".into() }),
        sample("registry-entry", RegistryEntry { module: stack_id() }),
        sample(
            "project-entry",
            ProjectEntry {
                project: PROJECT,
                path: "infra/network".into(),
                hook: Some(11),
                statuses: Statuses::Gate,
            },
        ),
        sample(
            "admin-key",
            AdminKey { name: "ops".into(), role: Role::Worker, pool: pool(), created_at: at(0) },
        ),
        sample(
            "activity",
            Activity {
                actor: "ops".into(),
                what: "confirm run-1".into(),
                outcome: "done".into(),
                at: at(0),
            },
        ),
        sample("pause", Pause { by: "ops".into(), since: at(0) }),
    ]
}

fn of_the_scheduler() -> Vec<Sample> {
    vec![
        sample("run", run()),
        sample("run-in-doubt", Run { doubt: Some(StateDoubt::KeptAside), ..run() }),
        sample("run-warned", Run { warnings: vec![warning()], ..run() }),
        sample(
            "stack-head",
            StackHead {
                last_number: 7,
                latest: Some(run_id()),
                tracked: Some(id("run-2")),
                applying: true,
                blocked: Some(Blocked {
                    run: id("run-3"),
                    reason: "the runner was lost while it applied".into(),
                    since: at(0),
                }),
                last_applied: Some(LastApplied { run: id("run-4"), commit: commit(), at: at(1) }),
                last_whole: None,
            },
        ),
        sample(
            "stack-head-applied",
            StackHead { last_whole: Some(id("run-3")), ..StackHead::default() },
        ),
        sample(
            "run-entry",
            RunEntry {
                run: run_id(),
                stack: stack_id(),
                run_type: RunType::Proposed,
                created_at: at(0),
            },
        ),
        sample("once", Once { run: run_id(), generation: 1 }),
        sample(
            "suite",
            Suite {
                config: ModuleConfig {
                    module_version: Some(Version::new(1, 2, 0)),
                    tests: vec![test_case()],
                },
                packed: Some(Packed::Done { digest: digest() }),
            },
        ),
        sample(
            "version-record",
            VersionRecord {
                version: Version::new(1, 2, 0),
                state: VersionState::Active,
                commit: commit(),
                run: run_id(),
                tag: Some("network/v1.2.0".into()),
                at: at(0),
                digest: Some(digest()),
                yanked: Some(Yanked { note: "broken".into(), by: "ops".into(), at: at(1) }),
            },
        ),
        sample(
            "subject",
            Subject {
                branch: "feature/subnets".into(),
                merge_request: Some(MergeRequestIid(12)),
                fork_of: Some(FORK),
                affected: 3,
                to_tracked: true,
                stacks: vec![stack_id()],
                decided_at: Some(at(0)),
            },
        ),
        sample(
            "tracked-branch",
            TrackedBranch {
                decided: Some(older_commit()),
                number: 6,
                open: Some(OpenDecision {
                    event: event_id(),
                    number: 7,
                    from: Some(older_commit()),
                    to: commit(),
                }),
                missing: true,
                left: true,
            },
        ),
        sample(
            "decision-record",
            DecisionRecord {
                stack: stack_id(),
                slug: id("network-eu"),
                runs: true,
                reason: "infra/network/main.tf changed".into(),
                commit: Some(commit()),
                at: at(0),
            },
        ),
        sample(
            "merge-request-record",
            MergeRequestRecord {
                iid: MergeRequestIid(12),
                state: "merged".into(),
                head: Some(older_commit()),
                source_branch: "feature/subnets".into(),
                source_project: Some(FORK),
                target_branch: "main".into(),
                affected: vec![stack_id()],
                merged_as: Some(commit()),
                updated_at: Some("2026-01-02T03:04:05.678Z".into()),
                event: Some(event_id()),
            },
        ),
        sample("ref-record", RefRecord { head: Some(commit()), affected: vec![stack_id()] }),
        sample(
            "event-record",
            EventRecord {
                id: event_id(),
                source: EventSource::Webhook,
                project: Some(PROJECT),
                what: "push to main (01234567)".into(),
                received_at: at(0),
                outcome: Some("no stack tracks it".into()),
            },
        ),
        sample(
            "command-outcome",
            CommandOutcome {
                actor: "ops".into(),
                done: true,
                message: "run-1 is confirmed".into(),
                run: Some(run_id()),
                at: at(0),
            },
        ),
        sample(
            "line-entry",
            QueueEntry {
                run: run_id(),
                stack: stack_id(),
                phase: Phase::Plan,
                attempt: 1,
                since: Some(at(0)),
                pool: pool(),
            },
        ),
        sample(
            "room-entry",
            SlotEntry {
                run: run_id(),
                stack: stack_id(),
                pool: pool(),
                taken: true,
                started: 2,
                at: at(0),
            },
        ),
        sample("blocked-stack", BlockedStack { stack: stack_id() }),
        sample("started-build", StartedBuild { id: "gantry-runner:1f2e".into(), attempt: 2 }),
        sample(
            "room-limit",
            SlotLimit { runners: 5, set: 20, since: at(0), words: "limit exceeded".into() },
        ),
        sample("fetched-source", FetchedSource { at: at(0) }),
        sample("heard", Heard { since: at(0), before: at(1), last: at(2) }),
        sample(
            "comparing",
            Comparing {
                last_at: Some(at(0)),
                updated_after: Some("2026-01-02T03:04:05.678Z".into()),
                webhook_at: Some(at(1)),
                tags_known: true,
                tags_from: Some(at(2)),
                tag_pages: 3,
                hook_status: Some("executable".into()),
                ..Comparing::default()
            },
        ),
        sample(
            "project-path",
            ProjectPath { project: ProjectId(7), generation: 2, path: "infra/core".into() },
        ),
        sample(
            "comparing-in-turn",
            Comparing {
                last_at: Some(at(0)),
                next_at: Some(at(1)),
                asked_at: Some(at(2)),
                changed_at: Some(at(3)),
                branches_from: Some(at(4)),
                calls: 5,
                ..Comparing::default()
            },
        ),
        sample(
            "comparing-other-branches",
            Comparing { branches_after: Some("branch#change".into()), ..Comparing::default() },
        ),
        sample(
            "compared-folder",
            ComparedFolder {
                folder: "live".into(),
                names: [
                    ("a", Sides::Same),
                    ("b", Sides::Different),
                    ("c", Sides::One),
                    ("d", Sides::Neither),
                ]
                .map(|(name, sides)| (name.to_owned(), sides))
                .into(),
            },
        ),
        sample("budget-used", BudgetUsed { until: at(0) }),
        sample("receipt", Receipt { at: at(0) }),
        sample(
            "refusal",
            Refusal {
                target: "note:5:7".into(),
                since: at(0),
                tried_at: at(1),
                words: "403 Forbidden".into(),
            },
        ),
        sample(
            "health",
            Health { broken: Some("401".into()), since: Some(at(0)), ..Health::default() },
        ),
        sample(
            "health-token-rejected",
            Health {
                broken: Some("401".into()),
                token_rejected: true,
                since: Some(at(0)),
                ..Health::default()
            },
        ),
        sample(
            "health-rate-limited",
            Health {
                broken: Some("429".into()),
                rate_limited: true,
                since: Some(at(2)),
                ended: Some(Ended { reason: "503".into(), since: Some(at(0)), at: at(1) }),
                ..Health::default()
            },
        ),
    ]
}

fn of_runners() -> Vec<Sample> {
    vec![
        sample("beat", Beat { attempt: 2, at: at(0) }),
        sample(
            "claim",
            Claim {
                phase: Phase::Plan,
                runner: "gantry-runner:1f2e".into(),
                nonce: "4d5e6f".into(),
                at: at(0),
            },
        ),
        sample("handed-on", HandedOn { to: run_id(), attempt: 2 }),
        sample(
            "free-runner",
            FreeRunner {
                role: "arn:aws:iam::123456789012:role/gantry/plan/r".into(),
                run_type: RunType::Proposed,
            },
        ),
        sample(
            "state-lock",
            StateLock {
                info: LockInfo {
                    id: "6f2c".into(),
                    operation: "OperationTypeApply".into(),
                    info: "by hand".into(),
                    who: "ops@host".into(),
                    version: "1.9.0".into(),
                    created: "2026-01-02T03:04:05.678Z".into(),
                    path: "network".into(),
                },
                run: run_id(),
                attempt: 2,
                at: at(0),
            },
        ),
        sample(
            "state-version",
            StateVersion {
                number: 3,
                serial: 9,
                lineage: "3f2b".into(),
                digest: digest(),
                object: "state/network/3".into(),
                size: 4096,
                resources: Some(12),
                form: StateForm::Plain,
                run: Some(run_id()),
                by: "run-1".into(),
                rescued: true,
                found: true,
                at: at(0),
            },
        ),
        sample(
            "state-version-encrypted",
            StateVersion {
                number: 4,
                serial: 10,
                lineage: "3f2b".into(),
                digest: digest(),
                object: "state/network/4".into(),
                size: 4096,
                resources: None,
                form: StateForm::Encrypted,
                run: Some(run_id()),
                by: "run-1".into(),
                rescued: false,
                found: false,
                at: at(0),
            },
        ),
        sample("state-pin", StatePin { number: Some(3) }),
        sample("state-upload", StateUpload { object: "state/network/3".into() }),
        sample(
            "log-piece",
            LogPiece { phase: Phase::Apply, attempt: 2, offset: 512, text: "Applying\n".into() },
        ),
        sample(
            "log-held",
            LogHeld {
                received: 640,
                given: 512,
                held: VariableValue::Sealed("sealed-part".into()),
                open: Some(3),
            },
        ),
    ]
}

fn of_the_publisher() -> Vec<Sample> {
    let pipeline = Pipeline {
        fork: Some(FORK),
        id: Some(PipelineId(77)),
        sha: commit(),
        git_ref: Some("feature/subnets".into()),
        shows: Shows::Previews,
    };
    let status = PostedStatus {
        pipeline,
        name: "gantry/network-eu".into(),
        state: CommitState::Success,
        description: "+1 ~0 −0".into(),
        run: Some(run_id()),
        by: Some(UserId(7)),
    };
    vec![sample("posted", Posted { v: 1, statuses: vec![status] })]
}

/// The words for what has a few values only, and what comes in several forms.
fn words() -> Vec<Sample> {
    vec![
        sample(
            "run-states",
            [
                RunState::Queued,
                RunState::Preparing,
                RunState::Initializing,
                RunState::Planning,
                RunState::Unconfirmed,
                RunState::Confirmed,
                RunState::Applying,
                RunState::Destroying,
                RunState::Testing,
                RunState::Finished,
                RunState::Failed,
                RunState::Stopped,
                RunState::Canceled,
                RunState::Discarded,
            ],
        ),
        sample("run-types", [RunType::Proposed, RunType::Tracked, RunType::Test]),
        sample("phases", [Phase::Plan, Phase::Apply]),
        sample(
            "places",
            [
                Position::Nowhere,
                Position::StackQueue,
                Position::Waiting,
                Position::Source,
                Position::Queue,
                Position::Slot,
                Position::Person,
                Position::Tests,
            ],
        ),
        sample(
            "repositories",
            [
                Repository::Gitlab(PROJECT),
                Repository::Git(id("https://git.example/infra/network.git")),
            ],
        ),
        sample(
            "packed",
            [
                Packed::Done { digest: digest() },
                Packed::Impossible { reason: "it holds a link out of its folder".into() },
            ],
        ),
        sample("tools", [Tool::Terraform, Tool::OpenTofu]),
        sample("on-push", [OnPush::Tracked, OnPush::Proposed]),
        sample("tracked-queues", [TrackedQueue::Every, TrackedQueue::Latest]),
        sample("comment-levels", [CommentLevel::Full, CommentLevel::Summary, CommentLevel::None]),
        sample("roles", [Role::Worker, Role::Read, Role::Deploy, Role::Admin]),
        sample("statuses", [Statuses::Both, Statuses::Gate, Statuses::Stacks]),
        sample("shows", [Shows::Everything, Shows::Previews, Shows::Tracked]),
        sample(
            "commit-states",
            [
                CommitState::Pending,
                CommitState::Running,
                CommitState::Success,
                CommitState::Failed,
                CommitState::Canceled,
            ],
        ),
        sample(
            "event-sources",
            [EventSource::Webhook, EventSource::Comparing, EventSource::Person],
        ),
        sample("version-states", [VersionState::Active, VersionState::Failed]),
    ]
}

pub(crate) fn samples() -> Vec<Sample> {
    [of_settings(), of_the_scheduler(), of_runners(), of_the_publisher(), words()]
        .into_iter()
        .flatten()
        .collect()
}
