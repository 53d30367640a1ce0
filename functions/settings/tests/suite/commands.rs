//! What people ask of stacks and runs.

use crate::{
    browser::Browser,
    support::{COMMIT, Options, World, connected, world_with},
};
use gantry_domain::{
    run::{PlanOptions, RunState, RunType},
    stack::{Blocked, StackHead},
};
use gantry_queue::{Command, Message, StackMessage};
use gantry_store::{
    keys,
    scheduler::{CommandOutcome, RunEntry, TrackedBranch},
};
use serde_json::{Value, json};
use std::time::Duration;

fn command(w: &World) -> Command {
    match w.sent().pop() {
        Some(Message::Stack(StackMessage::Command { command, .. })) => command,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_command_becomes_a_message_and_its_outcome_can_be_asked_for() {
    let w = connected().await;
    let stack = w.stack().await;
    let run = w.run(&stack, "a", RunState::Unconfirmed).await;
    w.sent();
    let path = format!("/api/v1/runs/{}/confirm", run.id);
    let admin = Some(w.admin.as_str());
    let got = w.ask("POST", &path, admin, &[("idempotency-key", "mine-1")], "").await.expect(202);
    assert_eq!(got.body["request"], "mine-1");
    let outcome = got.headers["location"].to_str().unwrap().to_owned();
    assert_eq!(outcome, "/api/v1/commands/network/mine-1");
    let sent = w.sent();
    let [Message::Stack(StackMessage::Command { stack: to, request, actor, person, command })] =
        &sent[..]
    else {
        panic!()
    };
    assert_eq!(*person, None, "a key is not a person");
    assert_eq!((to, request.as_str(), actor.as_str()), (&stack.id, "mine-1", "first-admin-key"));
    let confirm = Command::Confirm { run: run.id.clone(), comment: None, override_reason: None };
    assert_eq!(*command, confirm);
    assert_eq!(w.get(&outcome).await.expect(202).body["done"], json!(null));
    let known = CommandOutcome {
        actor: "first-admin-key".to_owned(),
        done: true,
        message: "confirmed".to_owned(),
        run: Some(run.id.clone()),
        at: w.clock.now(),
    };
    w.put(keys::command(&stack.id, request), &known).await;
    assert_eq!(w.get(&outcome).await.expect(200).body["message"], "confirmed");
    // The run has moved on; the same request gets its outcome and asks for nothing more.
    w.save_run(&gantry_domain::run::Run { state: RunState::Applying, ..run.clone() }).await;
    let got = w.ask("POST", &path, admin, &[("idempotency-key", "mine-1")], "").await.expect(200);
    assert_eq!(got.body["done"], true);
    let refused = CommandOutcome { done: false, message: "no".to_owned(), ..known };
    w.put(keys::command(&stack.id, request), &refused).await;
    let got = w.ask("POST", &path, admin, &[("idempotency-key", "mine-1")], "").await.expect(409);
    assert_eq!(got.detail(), "no");
    assert!(w.sent().is_empty());
    w.post(&path, json!({})).await.expect(409);
}

#[tokio::test]
async fn the_outcome_is_waited_for() {
    let wait = Duration::from_secs(20);
    let w = world_with(Options { command_wait: wait, ..Options::default() }).await;
    w.connect().await.expect(200);
    let stack = w.stack().await;
    let run = w.run(&stack, "a", RunState::Planning).await;
    let path = format!("/api/v1/runs/{}/stop", run.id);
    let admin = Some(w.admin.as_str());
    let asked = w.ask("POST", &path, admin, &[("idempotency-key", "k")], "");
    let answered = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let outcome = CommandOutcome {
            actor: "a".to_owned(),
            done: true,
            message: "stopping".to_owned(),
            run: None,
            at: w.clock.now(),
        };
        w.put(keys::command(&stack.id, &"k".parse().unwrap()), &outcome).await;
    };
    let (got, ()) = tokio::join!(asked, answered);
    assert_eq!(got.expect(200).body["message"], "stopping");
    assert_eq!(w.activities().await[0].2, "stopping");
}

#[tokio::test]
async fn what_is_certain_to_be_refused_is_said_at_once() {
    let w = connected().await;
    let stack = w.stack().await;
    let run = async |key, state| w.run(&stack, key, state).await.id.to_string();
    let queued = run("q", RunState::Queued).await;
    let planning = run("p", RunState::Planning).await;
    let unconfirmed = run("u", RunState::Unconfirmed).await;
    let confirmed = run("c", RunState::Confirmed).await;
    let failed = run("f", RunState::Failed).await;
    let ask = async |run: &str, action: &str| {
        let got = w.post(&format!("/api/v1/runs/{run}/{action}"), json!({})).await;
        assert!(matches!(got.status, 202 | 409), "{}", got.text);
        format!("{action}: {} {}", got.status, got.detail()).trim_end().to_owned()
    };
    let mut said = Vec::new();
    for run in [&queued, &planning, &unconfirmed, &confirmed, &failed] {
        for action in ["confirm", "discard", "stop", "retry"] {
            said.push(ask(run, action).await);
        }
    }
    insta::assert_snapshot!(said.join("\n"), @"
    confirm: 409 The run is queued, so there is nothing to confirm.
    discard: 409 The run is queued. Stop it instead.
    stop: 202
    retry: 409 The run is queued and has not ended yet.
    confirm: 409 The run is planning, so there is nothing to confirm.
    discard: 409 The run is planning. Stop it instead.
    stop: 202
    retry: 409 The run is planning and has not ended yet.
    confirm: 202
    discard: 202
    stop: 409 The run is unconfirmed. Discard it instead.
    retry: 409 The run is unconfirmed and has not ended yet.
    confirm: 409 The run is confirmed, so there is nothing to confirm.
    discard: 202
    stop: 409 The run is confirmed. Discard it instead.
    retry: 409 The run is confirmed and has not ended yet.
    confirm: 409 The run has already ended (failed).
    discard: 409 The run has already ended (failed).
    stop: 409 The run has already ended (failed).
    retry: 202
    ");
    w.post("/api/v1/runs/nowhere/stop", json!({})).await.expect(404);
}

#[tokio::test]
async fn a_run_is_started_at_the_head_or_at_a_commit() {
    let w = connected().await;
    let stack = w.stack().await;
    let start = async |body: Value| w.post("/api/v1/stacks/network/runs", body).await;
    start(json!({})).await.expect(202);
    let wanted = |run_type, commit| Command::Trigger {
        run_type,
        commit,
        branch: None,
        options: PlanOptions::default(),
    };
    assert_eq!(command(&w), wanted(RunType::Tracked, None));
    start(json!({ "type": "proposed", "commit": COMMIT })).await.expect(202);
    let commit = Some(COMMIT.parse().unwrap());
    assert_eq!(command(&w), wanted(RunType::Proposed, commit));
    let got = start(json!({ "type": "test", "commit": "abc", "now": true })).await.expect(422);
    assert_eq!(got.body["errors"].as_object().unwrap().len(), 2);
    let missing =
        TrackedBranch { decided: None, number: 1, open: None, missing: true, left: false };
    w.put(keys::tracked_branch(stack.project().unwrap(), "main"), &missing).await;
    let got = start(json!({})).await.expect(409);
    assert!(got.detail().contains("main does not exist"));
    let got = w.get("/api/v1/stacks/network").await.expect(200).body;
    assert_eq!(got["status"]["branch_missing"], true);
}

#[tokio::test]
async fn a_commit_can_be_named_by_a_branch_a_tag_or_its_first_digits() {
    let w = connected().await;
    w.stack().await;
    let dev = w.gitlab.person("ada");
    w.gitlab.set_member(w.project, dev.id(), 40);
    let sha = dev.push(w.project, "feature/x", "main.tf", "# x").unwrap();
    w.sent();
    for name in [&sha, &sha[..9], "feature/x"] {
        let body = json!({ "type": "proposed", "commit": name });
        w.post("/api/v1/stacks/network/runs", body).await.expect(202);
        let commit = Some(sha.parse().unwrap());
        let branch = (name == "feature/x").then(|| name.to_owned());
        let options = PlanOptions::default();
        let wanted = Command::Trigger { run_type: RunType::Proposed, commit, branch, options };
        assert_eq!(command(&w), wanted);
    }
    let body = json!({ "commit": "nothing/like-this" });
    let refused = w.post("/api/v1/stacks/network/runs", body).await.expect(422);
    let said = "acme/network has no commit, branch or tag with this name";
    assert_eq!((refused.error("commit"), w.sent().len()), (said, 0));
}

#[tokio::test]
async fn a_blocked_stack_waits_for_a_person_with_a_reason() {
    let w = connected().await;
    let stack = w.stack().await;
    let unblock = "/api/v1/stacks/network/unblock";
    w.post(unblock, json!({ "reason": "looked" })).await.expect(409);
    let blocked = Blocked {
        run: "r1".parse().unwrap(),
        reason: "result unknown".to_owned(),
        since: w.clock.now(),
    };
    let head = StackHead { blocked: Some(blocked), ..StackHead::default() };
    w.set_head(&stack.id, head).await;
    let got = w.post("/api/v1/stacks/network/runs", json!({})).await.expect(409);
    assert!(got.detail().contains("blocked by run r1"));
    let body = json!({ "type": "proposed" });
    w.post("/api/v1/stacks/network/runs", body).await.expect(202);
    w.post(unblock, json!({})).await.expect(422);
    w.post(unblock, json!({ "reason": "the state is right" })).await.expect(202);
    assert_eq!(command(&w), Command::Unblock { reason: "the state is right".to_owned() });
}

#[tokio::test]
async fn catching_up_needs_something_to_catch_up_with() {
    let w = connected().await;
    let stack = w.stack().await;
    let path = "/api/v1/stacks/network/catch-up";
    w.post(path, json!({})).await.expect(409);
    let holds = w.run(&stack, "a", RunState::Unconfirmed).await;
    let head = StackHead { tracked: Some(holds.id), ..StackHead::default() };
    w.set_head(&stack.id, head).await;
    let got = w.post(path, json!({})).await.expect(409);
    assert!(got.detail().contains("Discard the run instead"));
    let next = w.run(&stack, "b", RunState::Queued).await;
    let entry = RunEntry {
        run: next.id.clone(),
        stack: stack.id.clone(),
        run_type: RunType::Tracked,
        created_at: next.created_at,
    };
    w.put(keys::stack_queue(&stack.id, next.number), &entry).await;
    w.post(path, json!({})).await.expect(202);
    assert_eq!(command(&w), Command::CatchUp);
}

#[tokio::test]
async fn repeating_an_older_commit_has_to_be_insisted_on() {
    let w = connected().await;
    let stack = w.stack().await;
    let run = w.run(&stack, "a", RunState::Finished).await;
    let head = TrackedBranch {
        decided: Some("f".repeat(40).parse().unwrap()),
        number: 2,
        open: None,
        missing: false,
        left: false,
    };
    w.put(keys::tracked_branch(stack.project().unwrap(), "main"), &head).await;
    let path = format!("/api/v1/runs/{}/retry", run.id);
    let got = w.post(&path, json!({})).await.expect(409);
    assert!(got.detail().contains("main has moved to ffffffff"), "{}", got.detail());
    w.post(&path, json!({ "force": true })).await.expect(202);
    assert_eq!(command(&w), Command::Retry { run: run.id, force: true });
}

#[tokio::test]
async fn what_is_said_about_a_decision_goes_with_it() {
    let w = connected().await;
    let stack = w.stack().await;
    let mut run = w.run(&stack, "a", RunState::Unconfirmed).await;
    let (id, said) = (run.id.clone(), "Agreed with <ops>:\ngo on");
    let path = |what: &str| format!("/api/v1/runs/{id}/{what}");
    w.post(&path("confirm"), json!({ "comment": format!("  {said}\r\n\u{202e}") }))
        .await
        .expect(202);
    let comment = Some(said.to_owned());
    let confirmed =
        Command::Confirm { run: run.id.clone(), comment: comment.clone(), override_reason: None };
    assert_eq!(command(&w), confirmed);
    let last = w.activities().await.remove(0);
    assert_eq!(last.2, "requested. Comment: Agreed with <ops>: go on");
    w.post(&path("discard"), json!({ "comment": said })).await.expect(202);
    assert_eq!(command(&w), Command::Discard { run: run.id.clone(), comment: comment.clone() });
    w.post(&path("discard"), json!({ "comment": " " })).await.expect(202);
    assert_eq!(command(&w), Command::Discard { run: run.id.clone(), comment: None });
    w.post(&path("confirm"), json!({ "comment": "é".repeat(1_000) })).await.expect(202);
    w.sent();
    for what in ["confirm", "discard"] {
        let got = w.post(&path(what), json!({ "comment": "é".repeat(1_001) })).await.expect(422);
        assert_eq!(got.error("comment"), "Has 1001 characters; at most 1,000 are allowed");
        let got = w.post(&path(what), json!({ "comment": 7 })).await.expect(422);
        assert_eq!(got.error("comment"), "Must be a string, not a number");
    }
    w.post(&path("stop"), json!({ "comment": "no" })).await.expect(422);
    assert!(w.sent().is_empty(), "nothing of what was refused is asked for");

    // The page's form sends it too, and what was said stays with the step.
    let browser = Browser::sign_in(&w, &w.admin).await;
    let page = browser.get(&format!("/runs/{id}")).await.expect(200).text;
    assert!(page.contains("name=\"comment\"") && page.contains("maxlength=\"1000\""), "{page}");
    let fields = "_request=1&comment=Agreed+with+%3Cops%3E%3A%0D%0Ago+on";
    browser.send(&format!("/runs/{id}/discard"), fields).await.expect(303);
    assert_eq!(command(&w), Command::Discard { run: run.id.clone(), comment: comment.clone() });
    let long = format!("comment={}", "x".repeat(1_001));
    browser.send(&format!("/runs/{id}/confirm"), &long).await.expect(422);
    run.comment(comment);
    w.save_run(&run).await;
    let page = browser.get(&format!("/runs/{id}")).await.expect(200).text;
    let shown = "<p class=\"comment\">Agreed with &#60;ops&#62;:\ngo on</p>";
    assert!(page.contains(shown), "{page}");
    let got = w.get(&format!("/api/v1/runs/{id}")).await.expect(200).body;
    assert_eq!(got["history"][0]["comment"], said);
}
