//! What leaves a run is masked with all secrets of its stack, not only with those that it got.

use crate::support::{SEALING_KEY, World, digest, stack_id, state_body};
use axum::http::Method;
use gantry_domain::{
    masking::Masker,
    plan::{Change, Limits, PlannedModule, PlannedValue},
    protocol::{LogChunk, Report, ReportKind},
    run::{Run, RunType, Unpushed},
    stack::{Retired, Stack, StackHead, Tool, Variable, VariableRuns, VariableValue},
    state::StateForm,
};
use gantry_objects::keys as objects;
use gantry_queue::{Message, QueueName, StackMessage};
use gantry_secrets::Sealer;
use gantry_store::{
    config::Role,
    keys,
    runner::{LogHeld, LogPiece, StateLock, StateVersion},
};
use serde_json::json;
use std::collections::BTreeMap;

/// Only tracked runs get it.
const SECRET: &str = "correct-horse-1";
/// What it was before.
const BEFORE: &str = "battery-staple-2";

fn sealed(name: &str, value: &str) -> String {
    Sealer::new(&SEALING_KEY.into()).seal(&stack_id(), name, value).unwrap()
}

fn secret(value: &str) -> Variable {
    let value = VariableValue::Sealed(sealed("TF_VAR_p", value));
    Variable { name: "TF_VAR_p".to_owned(), value, runs: VariableRuns::Tracked }
}

impl World {
    async fn set_secret(&self, variables: Vec<Variable>, retired: Vec<Retired>) {
        let stack = Stack { variables, retired, ..crate::support::stack() };
        self.put(keys::stack_config(&stack_id()), &stack).await;
    }

    async fn retire(&self, value: &str) {
        let sealed = sealed("TF_VAR_p", value);
        let retired = Retired { name: "TF_VAR_p".to_owned(), sealed, since: self.clock.now() };
        self.set_secret(vec![secret(SECRET)], vec![retired]).await;
    }

    /// Sends the change of a plan that somebody read who knew no secret, and gives what is kept.
    async fn change(&self, run: &Run, token: &str) -> String {
        let plan = json!({"format_version": "1.2", "resource_changes": [{
            "address": "t.a", "type": "t",
            "change": {"actions": ["update"],
                "before": {"input": BEFORE, "url": format!("https://u:{SECRET}@h"), "long": format!("{}{SECRET}", "x".repeat(390))},
                "after": {"input": "none", "url": "https://u:other@h", "long": "short"}},
        }]});
        let (plan, masker) = (plan.to_string(), Masker::default());
        let read = Change::from_plan(plan.as_bytes(), Tool::Terraform, Limits::default(), &masker);
        let (mut change, _) = read.unwrap();
        let said = PlannedValue { description: Some(format!("as {SECRET}")), ..Default::default() };
        let values = BTreeMap::from([(format!("of {SECRET}"), said)]);
        let (inputs, outputs) = (values, BTreeMap::new());
        let folder = format!("../{SECRET}");
        change.modules = vec![PlannedModule { tool: Tool::Terraform, folder, inputs, outputs }];
        self.json(Method::PUT, "change", token, &change).await.expect(204);
        let kept = self.objects.get(&objects::change(&run.id, 1)).await.unwrap().unwrap();
        String::from_utf8(kept.to_vec()).unwrap()
    }

    /// Makes a body the current state.
    async fn hold(&self, body: &str, form: StateForm) {
        let object = format!("states/{}", digest(body));
        self.objects.put(&object, body.to_owned().into_bytes().into()).await.unwrap();
        let version = StateVersion {
            number: 1,
            serial: 1,
            lineage: "l".to_owned(),
            digest: digest(body),
            object,
            size: body.len() as u64,
            resources: None,
            form,
            run: None,
            by: "a test".to_owned(),
            rescued: false,
            found: false,
            at: self.clock.now(),
        };
        self.put(keys::state(&stack_id()), &version).await;
    }

    async fn send_log(&self, token: &str, offset: u64, text: &str) {
        let chunk = LogChunk { offset, text: text.to_owned() };
        self.json(Method::POST, "log", token, &chunk).await.expect(204);
    }

    async fn shown_log(&self, run: &Run) -> String {
        let all = self.store.query_all::<LogPiece>(&keys::log_partition(&run.id), "").await;
        let mut shown = String::new();
        for piece in all.unwrap() {
            assert_eq!(piece.value.offset, shown.len() as u64, "pieces follow each other");
            shown += &piece.value.text;
        }
        shown
    }
}

#[tokio::test]
async fn what_a_lock_says_is_masked() {
    let world = World::new().await;
    world.set_secret(vec![secret(SECRET)], vec![]).await;
    let run = world.run("r1", RunType::Tracked).await;
    let token = world.claimed(&run).await;
    let info = json!({
        "ID": "1", "Operation": format!("apply {SECRET}"), "Who": format!("me@{SECRET}"),
        "Info": SECRET, "Version": SECRET, "Created": SECRET, "Path": SECRET,
    });
    let mut bad = info.clone();
    bad["ID"] = json!(format!("1-{SECRET}"));
    let refused = world.json(Method::POST, "state/lock", &token, &bad).await.expect(400).text();
    assert!(refused.contains("UUID") && !refused.contains(SECRET), "{refused}");
    world.json(Method::POST, "state/lock", &token, &info).await.expect(204);
    let key = world.admin(Role::Read).await;
    let shown = world.get("/api/v1/stacks/network/state", &key).await.expect(200).text();
    assert!(shown.contains("me@(secret)") && !shown.contains(SECRET), "{shown}");
    let lock = world.store.query_all::<StateLock>(&keys::lock(&stack_id()).pk, "").await.unwrap();
    assert!(!format!("{lock:?}").contains(SECRET), "{lock:?}");
}

#[tokio::test]
async fn a_preview_shows_no_secret_that_it_did_not_get() {
    let world = World::new().await;
    world.retire(BEFORE).await;
    let run = world.run("r1", RunType::Proposed).await;
    let token = world.claimed(&run).await;
    let kept = world.change(&run, &token).await;
    for part in [SECRET, BEFORE, &SECRET[..10], "other@h"] {
        assert!(!kept.contains(part), "{part} in {kept}");
    }
    assert!(kept.contains("https://u:(secret)@h"), "{kept}");

    world.send_log(&token, 0, &format!("p = {BEFORE} -> {SECRET}\n")).await;
    assert_eq!(world.shown_log(&run).await, "p = (secret) -> (secret)\n");
    let what = ReportKind::Failed {
        summary: format!("no {SECRET} and no {}…", &SECRET[..8]),
        errors: vec![format!("Error: {BEFORE}")],
        log_tail: vec!["one".to_owned(), format!("t {token} {SECRET}")],
        in_terraform: true,
    };
    world.json(Method::POST, "report", &token, &Report::new(1, what)).await.expect(204);
    let messages = world.messages(QueueName::Events);
    let Message::Stack(StackMessage::Report { report, .. }) = &messages[1] else {
        panic!("{messages:?}")
    };
    insta::assert_debug_snapshot!(report.what, @r#"
    Failed {
        summary: "no (secret) and no (secret)…",
        errors: [
            "Error: (secret)",
        ],
        log_tail: [
            "one",
            "t (secret) (secret)",
        ],
        in_terraform: true,
    }
    "#);
}

#[tokio::test]
async fn an_earlier_value_is_hidden_until_an_apply_without_it() {
    let world = World::new().await;
    let old = world.run("r0", RunType::Tracked).await;
    world.retire(BEFORE).await;
    let applied = async |run: &Run| {
        let head = StackHead { last_whole: Some(run.id.clone()), ..Default::default() };
        world.put(keys::stack_head(&stack_id()), &head).await;
    };
    let shows = async |id: &str| {
        let run = world.run(id, RunType::Proposed).await;
        let token = world.claimed(&run).await;
        world.change(&run, &token).await.contains(BEFORE)
    };
    assert!(!shows("r1").await);
    // It was made before the value was replaced, so its plan may hold it.
    applied(&old).await;
    assert!(!shows("r2").await);
    world.hand.advance(std::time::Duration::from_secs(1));
    let new = world.run("r3", RunType::Tracked).await;
    applied(&new).await;
    // Nobody can look into a state that is kept elsewhere.
    assert!(!shows("r4").await);
    world.hold(&state_body(1, "l"), StateForm::Plain).await;
    assert!(shows("r5").await, "what is in no state is no secret any more");
}

#[tokio::test]
async fn an_earlier_value_is_hidden_as_long_as_the_state_may_hold_it() {
    let world = World::new().await;
    world.retire(BEFORE).await;
    world.hand.advance(std::time::Duration::from_secs(1));
    let applied = world.run("r0", RunType::Tracked).await;
    let head = StackHead { last_whole: Some(applied.id.clone()), ..Default::default() };
    world.put(keys::stack_head(&stack_id()), &head).await;
    let without = state_body(1, "l");
    let with =
        |value: &str| without.replace("{}", &format!("{{\"url\": \"https://u:{value}@h\"}}"));
    let encrypted = r#"{"serial": 2, "lineage": "l", "encrypted_data": "aGlkZGVu"}"#;
    for (number, (body, form, shown)) in [
        (without.as_str(), StateForm::Plain, true),
        (&with(BEFORE), StateForm::Plain, false),
        (&with("other"), StateForm::Plain, true),
        (encrypted, StateForm::Encrypted, false),
        ("{\"version\": 5}", StateForm::Unknown, false),
    ]
    .into_iter()
    .enumerate()
    {
        world.hold(body, form).await;
        let run = world.run(&format!("r{}", number + 1), RunType::Proposed).await;
        let token = world.claimed(&run).await;
        let kept = world.change(&run, &token).await;
        assert_eq!(kept.contains(BEFORE), shown, "{body}\n{kept}");
        assert!(!kept.contains(SECRET), "{kept}");
    }
    // What Gantry kept before another backend did says nothing of the state of today.
    world.hold(&without, StateForm::Plain).await;
    let config = keys::stack_config(&stack_id());
    let stack = world.store.get::<Stack>(&config).await.unwrap().unwrap();
    let mut elsewhere = stack.value;
    elsewhere.settings.manage_state = false;
    world.put(config, &elsewhere).await;
    let run = world.run("r9", RunType::Proposed).await;
    let token = world.claimed(&run).await;
    let kept = world.change(&run, &token).await;
    assert!(!kept.contains(BEFORE), "{kept}");
}

#[tokio::test]
async fn what_cannot_be_masked_is_not_begun() {
    let world = World::new().await;
    let broken = |name: &str| Variable {
        name: name.to_owned(),
        value: VariableValue::Sealed("nonsense".to_owned()),
        runs: VariableRuns::Tracked,
    };
    world.set_secret(vec![broken("TF_VAR_p")], vec![]).await;
    let run = world.run("r1", RunType::Proposed).await;
    insta::assert_snapshot!(world.claim(&run, "n").await.expect(422).text(), @"The secret variable TF_VAR_p cannot be decrypted with this installation's key. Set it again");
    let messages = world.messages(QueueName::Events);
    assert!(
        matches!(&messages[1], Message::Stack(StackMessage::Report { report, .. }) if report.sequence == 1)
    );

    let since = world.clock.now();
    let retired = Retired { name: "TF_VAR_q".to_owned(), sealed: "nonsense".to_owned(), since };
    world.set_secret(vec![], vec![retired.clone()]).await;
    let run = world.run("r2", RunType::Proposed).await;
    insta::assert_snapshot!(world.claim(&run, "n").await.expect(422).text(), @"An earlier value of the secret variable TF_VAR_q cannot be decrypted with this installation's key, so it cannot be masked. Save the stack again to drop it");

    // It breaks while the run goes on: nothing of it is kept, and its end is told even so.
    world.set_secret(vec![], vec![]).await;
    let run = world.run("r3", RunType::Proposed).await;
    let token = world.claimed(&run).await;
    world.set_secret(vec![], vec![retired]).await;
    let chunk = LogChunk { offset: 0, text: "x".to_owned() };
    world.json(Method::POST, "log", &token, &chunk).await.expect(422);
    world.json(Method::PUT, "change", &token, &Change::default()).await.expect(422);
    let what = ReportKind::Interrupted { summary: "what it says".to_owned() };
    world.json(Method::POST, "report", &token, &Report::new(1, what)).await.expect(403);
    let what = ReportKind::Failed {
        summary: "what it says".to_owned(),
        errors: vec![],
        log_tail: vec!["what it says".to_owned()],
        in_terraform: true,
    };
    world.json(Method::POST, "report", &token, &Report::new(1, what)).await.expect(204);
    let last = format!("{:?}", world.messages(QueueName::Events).last());
    assert!(!last.contains("what it says") && last.contains("TF_VAR_q"), "{last}");
}

#[tokio::test]
async fn a_secret_of_one_run_alone_is_hidden_in_that_run_and_in_no_other() {
    let world = World::new().await;
    let own = Variable { runs: VariableRuns::All, ..secret(SECRET) };
    let said = format!("p = {SECRET}\n");
    for (id, variables, shown) in
        [("r1", vec![own], "p = (secret)\n"), ("r2", vec![], said.as_str())]
    {
        let run = world.run(id, RunType::Tracked).await;
        let run = world.edit(&run.id, |run| run.options.variables = variables).await;
        let token = world.claimed(&run).await;
        world.send_log(&token, 0, &said).await;
        assert_eq!(world.shown_log(&run).await, shown);
    }
    let value = VariableValue::Sealed("nonsense".to_owned());
    let broken = Variable { value, ..secret(SECRET) };
    let run = world.run("r3", RunType::Tracked).await;
    let run = world.edit(&run.id, |run| run.options.variables = vec![broken]).await;
    let refused = world.claim(&run, "n").await.expect(422).text();
    assert!(refused.contains("TF_VAR_p"), "{refused}");
}

/// What was held back of its log comes when the command has ended, and not before it has begun.
#[tokio::test]
async fn the_log_of_a_task_goes_on_after_its_init() {
    let world = World::new().await;
    world.set_secret(vec![secret(SECRET)], vec![]).await;
    let planned = ReportKind::Planned {
        delta: Default::default(),
        plan_digest: None,
        partial: false,
        failed_checks: 0,
        tolerated: 0,
    };
    let task = Unpushed::Task { command: "true".to_owned(), schedule: None };
    let (begin, end) = SECRET.split_at(8);
    for (id, unpushed, shown) in [("r1", Some(task), "a (secret)\n"), ("r2", None, "a (secret)")] {
        let run = world.run(id, RunType::Tracked).await;
        let run = world.edit(&run.id, |run| run.unpushed = unpushed).await;
        let token = world.claimed(&run).await;
        world.send_log(&token, 0, &format!("a {begin}")).await;
        let report = Report::new(1, planned.clone());
        world.json(Method::POST, "report", &token, &report).await.expect(204);
        if run.task().is_some() {
            assert_eq!(world.shown_log(&run).await, "a ", "more may come");
            world.send_log(&token, 2 + begin.len() as u64, &format!("{end}\n")).await;
        }
        assert_eq!(world.shown_log(&run).await, shown);
    }
}

#[tokio::test]
async fn a_secret_that_is_cut_by_pieces_of_log_is_hidden() {
    let world = World::new().await;
    world.set_secret(vec![secret(SECRET)], vec![]).await;
    let text = format!("one {SECRET} two\nthree {SECRET}{SECRET}\n");
    // Cut once, at each place; sent as it is sent when answers get lost.
    for cut in 1..text.len() {
        let run = world.run(&format!("r{cut}"), RunType::Proposed).await;
        let token = world.claimed(&run).await;
        let (first, second) = text.split_at(cut);
        world.send_log(&token, 0, first).await;
        let visible = world.shown_log(&run).await;
        assert!(visible.len() + SECRET.len() >= first.replace(SECRET, "(secret)").len());
        tokio::join!(
            world.send_log(&token, 0, &text),
            world.send_log(&token, cut as u64, second),
            world.send_log(&token, 0, first),
        );
        let shown = "one (secret) two\nthree (secret)\n";
        assert_eq!(world.shown_log(&run).await, shown, "cut at {cut}");
    }
}

#[tokio::test]
async fn what_is_held_back_is_sealed_and_comes_with_the_end() {
    let world = World::new().await;
    // It begins with what no sealed text, which is base64, can have by chance.
    world.set_secret(vec![secret("!?-correct-horse")], vec![]).await;
    let held = async |run: &Run| {
        let held = world.store.get::<LogHeld>(&keys::log_held(&run.id, 1)).await.unwrap();
        serde_json::to_string(&held.unwrap().value).unwrap()
    };
    let failed = |sequence| {
        let (summary, errors, log_tail) = ("no".to_owned(), vec![], vec![]);
        let what = ReportKind::Failed { summary, errors, log_tail, in_terraform: true };
        Report::new(sequence, what)
    };
    for (id, said, shown) in [("r1", "a !?", "a !?"), ("r2", "a !?-correct", "a (secret)")] {
        let run = world.run(id, RunType::Proposed).await;
        let token = world.claimed(&run).await;
        world.send_log(&token, 0, said).await;
        assert_eq!(world.shown_log(&run).await, "a ");
        assert!(!held(&run).await.contains("!?"), "{}", held(&run).await);
        let planning = Report::new(1, ReportKind::Planning);
        world.json(Method::POST, "report", &token, &planning).await.expect(204);
        assert_eq!(world.shown_log(&run).await, "a ", "more may come");
        for _ in 0..2 {
            world.json(Method::POST, "report", &token, &failed(2)).await.expect(204);
            assert_eq!(world.shown_log(&run).await, shown);
        }
    }
}

#[tokio::test]
async fn long_lines_are_masked_too() {
    let world = World::new().await;
    world.set_secret(vec![secret(SECRET)], vec![]).await;
    let run = world.run("r1", RunType::Proposed).await;
    let token = world.claimed(&run).await;
    let line = format!("{SECRET}{}", "x".repeat(262_144 - 8 - SECRET.len())).repeat(12);
    world.send_log(&token, 0, &line).await;
    world.send_log(&token, line.len() as u64, "\n").await;
    assert_eq!(world.shown_log(&run).await, line.replace(SECRET, "(secret)") + "\n");
}
