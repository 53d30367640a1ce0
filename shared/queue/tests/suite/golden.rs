//! Bodies as they travel. `golden/v<N>/` holds what builds of that version wrote; every one must
//! stay readable. A sample without a file gets one, and the test fails once.

use gantry_domain::{
    EventId, MergeRequestIid, ProjectId, Repository, RunId,
    event::{EventSource, Hook},
    module::Packed,
    plan::{Delta, Warning},
    protocol::{LeftBehind, Report, ReportKind},
    run::{Interest, Phase, RunType, Trigger},
};
use gantry_local_queues::LocalQueues;
use gantry_queue::{
    ClaimToken, Command, Envelope, FeedbackMessage, LaterMessage, Message, NotStarted, ParseError,
    ProjectMessage, QueueName, Sender, SlotsMessage, SourceMessage, StackMessage, StartMessage,
    VERSION,
};
use jiff::Timestamp;
use semver::Version;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{collections::BTreeSet, fs, path::PathBuf, sync::Arc, time::Duration};

fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const PROJECT: ProjectId = ProjectId(42);

fn hook(hook: Hook) -> Message {
    ProjectMessage::Hook {
        event: id("f8a4c2d0-1b2c-4d5e-8f90-a1b2c3d4e5f6"),
        received_at: id("2026-01-02T03:04:05.678Z"),
        source: EventSource::Webhook,
        hook,
    }
    .into()
}

fn trigger(run_type: RunType, interest: Option<Interest>, fork_of: Option<ProjectId>) -> Message {
    let trigger = Trigger {
        run_type,
        key: "decision-7".into(),
        commit: id(COMMIT),
        git_ref: "feature/subnets".into(),
        tracked_branch: "main".into(),
        fork_of,
        interest,
        stacks_touched: 3,
        reason: "infra/network/main.tf changed".into(),
        by: None,
        asked_at: None,
        version: None,
    };
    StackMessage::Trigger { stack: id("network"), event: id("push-1"), trigger }.into()
}

fn command(command: Command) -> Message {
    StackMessage::Command {
        stack: id("network"),
        request: id("req-1"),
        actor: "ops".into(),
        command,
    }
    .into()
}

fn report(what: ReportKind) -> Message {
    StackMessage::Report {
        stack: id("network"),
        run: id("run-1"),
        attempt: 2,
        report: Report::new(3, what),
    }
    .into()
}

fn samples() -> Vec<(&'static str, Message)> {
    let (stack, run) = (|| id("network"), || id::<RunId>("run-1"));
    let status =
        || FeedbackMessage::Status { project: PROJECT, commit: id(COMMIT), want: 9 }.into();
    vec![
        (
            "hook-push",
            hook(Hook::Push {
                project: PROJECT,
                branch: "main".into(),
                claimed_head: Some(COMMIT.into()),
            }),
        ),
        (
            "hook-tag",
            hook(Hook::Tag { project: PROJECT, tag: "v1.2.0".into(), claimed_commit: None }),
        ),
        (
            "hook-merge-request",
            hook(Hook::MergeRequest {
                project: PROJECT,
                iid: MergeRequestIid(12),
                action: Some("open".into()),
            }),
        ),
        ("hook-other", hook(Hook::Other { project: None, what: "Wiki Page Hook".into() })),
        ("compare", ProjectMessage::Compare { project: PROJECT, cause: "tick-29".into() }.into()),
        (
            "stack-changed",
            ProjectMessage::StackChanged {
                project: PROJECT,
                stack: stack(),
                cause: "req-9".into(),
            }
            .into(),
        ),
        ("trigger-tracked", trigger(RunType::Tracked, None, None)),
        (
            "trigger-proposed",
            trigger(
                RunType::Proposed,
                Some(Interest::MergeRequest(MergeRequestIid(12))),
                Some(ProjectId(99)),
            ),
        ),
        (
            "unwant",
            StackMessage::Release {
                stack: stack(),
                run: run(),
                interest: Interest::Branch("feature/subnets".into()),
                event: id("push-2"),
                because: "feature/subnets moved".into(),
            }
            .into(),
        ),
        ("command-confirm", command(Command::Confirm { run: run() })),
        ("command-discard", command(Command::Discard { run: run() })),
        ("command-stop", command(Command::Stop { run: run() })),
        ("command-retry", command(Command::Retry { run: run(), force: true })),
        ("command-catch-up", command(Command::CatchUp)),
        (
            "command-make-version",
            command(Command::MakeVersion { version: Version::new(1, 2, 0), commit: None }),
        ),
        (
            "command-yank",
            command(Command::Yank { version: Version::new(1, 2, 0), note: Some("broken".into()) }),
        ),
        ("command-unblock", command(Command::Unblock { reason: "state checked".into() })),
        (
            "command-trigger",
            command(Command::Trigger { run_type: RunType::Tracked, commit: Some(id(COMMIT)) }),
        ),
        ("report-claimed", report(ReportKind::Claimed { runner: "local-4711".into() })),
        (
            "report-planned",
            report(ReportKind::Planned {
                delta: Delta { add: 1, ..Delta::default() },
                plan_digest: Some("ab".repeat(32)),
                partial: false,
            }),
        ),
        (
            "report-planned-in-part",
            report(ReportKind::Planned {
                delta: Delta { add: 1, ..Delta::default() },
                plan_digest: Some("ab".repeat(32)),
                partial: true,
            }),
        ),
        (
            "report-apply-failed",
            report(ReportKind::ApplyFailed {
                summary: "Invalid value".into(),
                errors: vec!["Error: Invalid value".into()],
                log_tail: Vec::new(),
                in_terraform: true,
            }),
        ),
        ("report-destroyed", report(ReportKind::Destroyed { left: Vec::new() })),
        (
            "report-left-behind",
            report(ReportKind::Destroyed {
                left: vec![LeftBehind {
                    address: "terraform_data.kept".into(),
                    id: Some("i-1".into()),
                }],
            }),
        ),
        (
            "report-warned",
            StackMessage::Report {
                stack: stack(),
                run: run(),
                attempt: 2,
                report: Report {
                    warnings: vec![Warning {
                        summary: "Argument is deprecated".into(),
                        place: Some("on main.tf line 3".into()),
                        count: 2,
                    }],
                    ..Report::new(3, ReportKind::Applied { delta: Delta::default() })
                },
            }
            .into(),
        ),
        (
            "packaged",
            StackMessage::Packaged {
                stack: stack(),
                run: run(),
                packed: Packed::Done { digest: "ab".repeat(32) },
            }
            .into(),
        ),
        ("grant", StackMessage::Grant { stack: stack(), run: run(), grant: 17 }.into()),
        ("run-due", StackMessage::RunDue { stack: stack(), run: run(), version: 5 }.into()),
        ("stack-due", StackMessage::StackDue { stack: stack(), version: 6 }.into()),
        ("dispatch", SlotsMessage::Dispatch { cause: "run-1.finished".into() }.into()),
        ("sweep", SlotsMessage::Sweep { cause: "2026-01-02T03:04:00Z".into() }.into()),
        (
            "fetch",
            SourceMessage::Fetch {
                repository: Repository::Gitlab(PROJECT),
                commit: id(COMMIT),
                cause: "run-1.2".into(),
                waits: None,
            }
            .into(),
        ),
        (
            "fetch-for-run",
            SourceMessage::Fetch {
                repository: Repository::Gitlab(PROJECT),
                commit: id(COMMIT),
                cause: "run-1.2".into(),
                waits: Some((stack(), run())),
            }
            .into(),
        ),
        (
            "fetched",
            StackMessage::Fetched {
                stack: stack(),
                run: run(),
                is_there: true,
                cause: "run-1.2".into(),
            }
            .into(),
        ),
        (
            "package",
            SourceMessage::Package {
                stack: stack(),
                run: run(),
                repository: Repository::Gitlab(PROJECT),
                commit: id(COMMIT),
                root: "modules/network".into(),
            }
            .into(),
        ),
        ("status", status()),
        (
            "note",
            FeedbackMessage::Note { project: PROJECT, iid: MergeRequestIid(12), want: 4 }.into(),
        ),
        ("environment", FeedbackMessage::Environment { stack: stack(), want: 2 }.into()),
        (
            "start",
            StartMessage::Start {
                run: run(),
                stack: stack(),
                phase: Phase::Plan,
                attempt: 1,
                claim_token: ClaimToken::from("secret-claim".to_owned()),
                expires_at: id("2026-01-02T03:14:05Z"),
                role: None,
            }
            .into(),
        ),
        (
            "start_as",
            StartMessage::Start {
                run: run(),
                stack: stack(),
                phase: Phase::Apply,
                attempt: 1,
                claim_token: ClaimToken::from("secret-claim".to_owned()),
                expires_at: id("2026-01-02T03:14:05Z"),
                role: Some("arn:aws:iam::123456789012:role/gantry/apply/r".into()),
            }
            .into(),
        ),
        (
            "end_runner",
            StartMessage::EndRunner { run: run(), runner: Some("gantry-runner:1f2e".into()) }
                .into(),
        ),
        ("end_build", StartMessage::EndRunner { run: run(), runner: None }.into()),
        (
            "not_started",
            StackMessage::NotStarted {
                stack: stack(),
                run: run(),
                attempt: 1,
                why: NotStarted::Ended,
                words: "FAILED, PROVISIONING: no such image".into(),
            }
            .into(),
        ),
        (
            "resend",
            LaterMessage::Resend { message: Box::new(status()), cause: "1767323105000.3".into() }
                .into(),
        ),
    ]
}

fn envelope(message: Message) -> Envelope {
    Envelope { v: VERSION, hops: 2, sent_at: Some(id("2026-01-02T03:04:06Z")), message }
}

fn golden(version: u32) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("golden/v{version}"))
}

#[test]
fn every_message_is_written_as_it_was_and_read_back() {
    for (name, message) in samples() {
        let envelope = envelope(message);
        let path = golden(VERSION).join(format!("{name}.json"));
        let body = envelope.to_body();
        assert_eq!(Envelope::from_body(&body).unwrap(), envelope, "{name} there and back");
        let Ok(file) = fs::read_to_string(&path) else {
            let value: Value = serde_json::from_str(&body).unwrap();
            fs::write(&path, serde_json::to_string_pretty(&value).unwrap() + "\n").unwrap();
            panic!("{} was missing and is made now: look at it and commit it", path.display());
        };
        assert_eq!(Envelope::from_body(&file).unwrap(), envelope, "{name} as it was");
        let (written, before): (Value, Value) =
            (serde_json::from_str(&body).unwrap(), serde_json::from_str(&file).unwrap());
        assert_eq!(written, before, "{name} is written in another form: raise VERSION");
    }
}

#[test]
fn every_body_of_this_version_and_the_last_is_readable() {
    for version in VERSION.saturating_sub(1)..=VERSION {
        let Ok(files) = fs::read_dir(golden(version)) else { continue };
        for file in files {
            let path = file.unwrap().path();
            let body = fs::read_to_string(&path).unwrap();
            Envelope::from_body(&body).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        }
    }
}

#[test]
fn every_kind_of_message_has_a_sample() {
    fn kinds<M: DeserializeOwned + std::fmt::Debug>() -> Vec<String> {
        let unknown = serde_json::from_str::<M>(r#"{"kind": "?"}"#).unwrap_err().to_string();
        let (_, kinds) = unknown.split_once("expected ").unwrap();
        let names = kinds.split('`').skip(1).step_by(2);
        names.map(str::to_owned).collect()
    }
    let kinds: BTreeSet<String> = [
        kinds::<ProjectMessage>(),
        kinds::<StackMessage>(),
        kinds::<SlotsMessage>(),
        kinds::<SourceMessage>(),
        kinds::<FeedbackMessage>(),
        kinds::<StartMessage>(),
        kinds::<LaterMessage>(),
    ]
    .concat()
    .into_iter()
    .collect();
    let kind = |message: &Message| serde_json::to_value(message).unwrap()["kind"].clone();
    let seen: BTreeSet<String> =
        samples().iter().map(|(_, message)| kind(message).as_str().unwrap().to_owned()).collect();
    assert_eq!(seen, kinds);
}

#[test]
fn what_it_does_not_know_does_not_stop_a_reader() {
    let body = r#"{"v": 1, "new": true, "message": {"kind": "dispatch", "cause": "x", "new": 1}}"#;
    let read = Envelope::from_body(body).unwrap();
    assert_eq!(read.message, Message::from(SlotsMessage::Dispatch { cause: "x".into() }));
    assert_eq!((read.hops, read.sent_at), (0, None));
}

#[test]
fn what_cannot_be_read_says_why_without_quoting() {
    let newer = r#"{"v": 2, "message": {"kind": "dispatch", "cause": "x"}}"#;
    assert!(matches!(Envelope::from_body(newer), Err(ParseError::Version(2))));
    for body in ["", "[]", "secret", r#"{"v":1}"#, r#"{"v":1,"message":{"kind":"secret"}}"#] {
        let error = Envelope::from_body(body).unwrap_err();
        assert!(matches!(error, ParseError::Malformed(_)), "{body}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn whatever_people_write_is_taken() {
    let all: String = (0..0x3000).chain(0xfff0..0x10010).filter_map(char::from_u32).collect();
    let what = ReportKind::Interrupted { summary: all };
    let message = report(what);
    let queues = Arc::new(LocalQueues::in_memory(Arc::new(|| Timestamp::UNIX_EPOCH)).unwrap());
    Sender::new(queues.clone(), Arc::new(|| Timestamp::UNIX_EPOCH))
        .send(message.clone())
        .await
        .unwrap();
    let minute = Duration::from_secs(60);
    let received = queues.receive(QueueName::Events, 1, minute).unwrap();
    assert_eq!(Envelope::from_body(&received[0].body).unwrap().message, message);
}

#[test]
fn where_each_message_goes() {
    let mut lines = Vec::new();
    for (name, message) in samples() {
        let none = || "-".to_owned();
        lines.push(format!(
            "{name}: {} | {} | {}",
            message.queue(),
            message.group().unwrap_or_else(none),
            message.dedup_id().unwrap_or_else(none),
        ));
    }
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn groups_and_deduplication_ids_fit_however_long_the_ids_are() {
    let long: EventId = "e".repeat(128).parse().unwrap();
    let message: Message = StackMessage::Command {
        stack: id(&"s".repeat(64)),
        request: long.clone(),
        actor: "ops".into(),
        command: Command::CatchUp,
    }
    .into();
    for id in [
        message.group().unwrap(),
        message.dedup_id().unwrap(),
        Message::from(SlotsMessage::Dispatch { cause: "ein Anlaß".into() }).dedup_id().unwrap(),
        Message::from(FeedbackMessage::Status {
            project: ProjectId(u64::MAX),
            commit: id(&"a".repeat(64)),
            want: 1,
        })
        .group()
        .unwrap(),
    ] {
        assert!(id.len() <= 128 && id.bytes().all(|b| b.is_ascii_graphic()), "{id}");
    }
    let other: Message = StackMessage::Command {
        stack: id("s"),
        request: format!("{}f", "e".repeat(127)).parse().unwrap(),
        actor: "ops".into(),
        command: Command::CatchUp,
    }
    .into();
    assert_ne!(message.dedup_id(), other.dedup_id());
}

#[test]
fn two_runs_for_one_event_are_two_messages() {
    let by_branch = trigger(RunType::Proposed, Some(Interest::Branch("x".into())), None);
    let by_request =
        trigger(RunType::Proposed, Some(Interest::MergeRequest(MergeRequestIid(1))), None);
    assert_ne!(by_branch.dedup_id(), by_request.dedup_id());
    assert_eq!(by_branch.dedup_id(), by_branch.clone().dedup_id());
}

#[test]
fn a_claim_token_is_not_shown() {
    let (_, start) = samples().into_iter().find(|(name, _)| *name == "start").unwrap();
    let shown = format!("{:?}", envelope(start));
    assert!(!shown.contains("secret-claim"), "{shown}");
}
