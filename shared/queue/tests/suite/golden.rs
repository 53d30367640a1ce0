//! Bodies as they travel. `golden/v<N>/` holds what builds of that version wrote; every one must
//! stay readable. The files are the samples: nothing here builds a message for them.

use gantry_domain::{
    EventId, ProjectId,
    approval::Person,
    event::NoteHint,
    module::Packed,
    plan::Warning,
    protocol::{LeftBehind, Report, ReportKind},
    run::Trigger,
};
use gantry_golden::Golden;
use gantry_local_queues::LocalQueues;
use gantry_queue::{
    Command, Envelope, FeedbackMessage, LaterMessage, Message, NotStarted, ParseError,
    ProjectMessage, QueueName, Sender, SlotsMessage, SourceMessage, StackMessage, StartMessage,
    VERSION,
};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{collections::BTreeSet, sync::Arc, time::Duration};

fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn golden() -> Golden {
    assert_eq!(VERSION, 1, "samples of another version have a folder of their own");
    Golden::of("shared/queue/golden/v1")
}

fn message(name: &str) -> Message {
    Envelope::from_body(&golden().text(name)).unwrap_or_else(|e| panic!("{name}: {e}")).message
}

fn samples() -> Vec<(String, Message)> {
    let names = golden().names().into_iter();
    names.map(|name| (name.clone(), message(&name))).collect()
}

/// What a message without a field means is what it meant when the field came: a line here that
/// changes, or a new one that says "needed", is a message that cannot be read as it was meant.
#[test]
fn every_message_is_read_and_written_as_it_was_and_has_a_meaning_without_its_newer_fields() {
    let mut golden = golden();
    for name in golden.names() {
        golden.check::<Envelope>(&name);
        let sample: Value = serde_json::from_str(&golden.text(&name)).unwrap();
        // What stands in a variant is read without its names: once more for itself.
        let has = |part: &str| sample["message"].get(part).is_some();
        if has("trigger") {
            golden.check_part::<Trigger>(&name, "/message/trigger");
        }
        if has("report") {
            golden.check_part::<Report>(&name, "/message/report");
        }
        if has("packed") {
            golden.check_part::<Packed>(&name, "/message/packed");
        }
        if has("person") {
            golden.check_part::<Person>(&name, "/message/person");
        }
        if has("why") {
            golden.check_part::<NotStarted>(&name, "/message/why");
        }
        if sample.pointer("/message/hook/note").is_some() {
            golden.check_part::<NoteHint>(&name, "/message/hook/note");
        }
    }
    golden.check_part::<Vec<LeftBehind>>("report-left-behind", "/message/report/what/left");
    golden.check_part::<Vec<Warning>>("report-warned", "/message/report/warnings");
    insta::assert_snapshot!("without_a_field", golden.end());
}

fn kinds<M: DeserializeOwned + std::fmt::Debug>() -> BTreeSet<String> {
    let unknown = serde_json::from_str::<M>(r#"{"kind": "?"}"#).unwrap_err().to_string();
    let (_, kinds) = unknown.split_once("expected ").unwrap();
    let names = kinds.split('`').skip(1).step_by(2);
    names.map(str::to_owned).collect()
}

#[test]
fn every_kind_of_message_and_command_has_a_sample() {
    let messages = [
        kinds::<ProjectMessage>(),
        kinds::<StackMessage>(),
        kinds::<SlotsMessage>(),
        kinds::<SourceMessage>(),
        kinds::<FeedbackMessage>(),
        kinds::<StartMessage>(),
        kinds::<LaterMessage>(),
    ];
    let written: Vec<_> =
        samples().iter().map(|(_, message)| serde_json::to_value(message).unwrap()).collect();
    let seen = |pointer: &str| -> BTreeSet<String> {
        let found = written.iter().filter_map(|message| message.pointer(pointer)?.as_str());
        found.map(str::to_owned).collect()
    };
    assert_eq!(seen("/kind"), messages.into_iter().flatten().collect());
    assert_eq!(seen("/command/kind"), kinds::<Command>());
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
    let report = Report::new(3, what);
    let message: Message =
        StackMessage::Report { stack: id("network"), run: id("run-1"), attempt: 2, report }.into();
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
        person: None,
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
        person: None,
        command: Command::CatchUp,
    }
    .into();
    assert_ne!(message.dedup_id(), other.dedup_id());
}

#[test]
fn two_runs_for_one_event_are_two_messages() {
    let by_request = message("trigger-proposed");
    let mut other: Value = serde_json::from_str(&golden().text("trigger-proposed")).unwrap();
    other["message"]["trigger"]["want"] = serde_json::json!({ "kind": "branch", "of": "x" });
    let by_branch = Envelope::from_body(&other.to_string()).unwrap().message;
    assert_ne!(by_branch, by_request);
    assert_ne!(by_branch.dedup_id(), by_request.dedup_id());
    assert_eq!(by_branch.dedup_id(), by_branch.clone().dedup_id());
}

#[test]
fn a_claim_token_is_not_shown() {
    let body = golden().text("start");
    assert!(body.contains("secret-claim"));
    let shown = format!("{:?}", Envelope::from_body(&body).unwrap());
    assert!(!shown.contains("secret-claim"), "{shown}");
}
