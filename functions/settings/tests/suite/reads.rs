//! Runs, logs, events.

use crate::{
    browser::Browser,
    support::{World, connected},
};
use bytes::Bytes;
use gantry_domain::{
    EventId,
    event::{EventRecord, EventSource},
    plan::{Change, Delta, Warning},
    run::{Ending, Interest, Position, Run, RunState, RunType},
    source::SourceWaits,
};
use gantry_store::{keys, scheduler::DecisionRecord};
use serde_json::{Value, json};
use std::time::Duration;

async fn put_change(w: &World, run: &Run, attempt: u32, add: u32) {
    let delta = Delta { add, ..Delta::default() };
    let change = Change { v: 1, delta, ..Change::default() };
    let body = Bytes::from(serde_json::to_vec(&change).unwrap());
    w.objects.put(&gantry_objects::keys::change(&run.id, attempt), body).await.unwrap();
}

#[tokio::test]
async fn a_run_says_what_it_waits_for() {
    let w = connected().await;
    let stack = w.stack().await;
    let mut run = w.run(&stack, "one", RunState::Queued).await;
    let path = format!("/api/v1/runs/{}", run.id);
    assert_eq!(w.get(&path).await.expect(200).body["waits_for"], Value::Null);
    run.position = Position::Source;
    w.save_run(&run).await;
    let said = |answer: &Value| answer["waits_for"].as_str().unwrap().to_owned();
    let usual = said(&w.get(&path).await.expect(200).body);
    assert_eq!(usual, SourceWaits::to_text(None, w.clock.now()));
    let waits = SourceWaits::for_limit(w.clock.now());
    let key = gantry_objects::keys::source_waits(run.repository.key());
    w.objects.put(&key, waits.to_json().into()).await.unwrap();
    let words = SourceWaits::to_text(Some(&waits), w.clock.now());
    assert_eq!(said(&w.get(&path).await.expect(200).body), words);
    let browser = Browser::sign_in(&w, &w.admin).await;
    let page = browser.get(&format!("/runs/{}", run.id)).await.expect(200).text;
    assert!(page.contains("GitLab allows five archive downloads per project per minute"), "{page}");
    assert!(page.contains("The log begins once the source is available"), "{page}");
}

#[tokio::test]
async fn a_run_says_why_no_runner_could_be_started() {
    let w = connected().await;
    let stack = w.stack().await;
    let mut run = w.run(&stack, "one", RunState::Preparing).await;
    run.position = Position::Slot;
    w.save_run(&run).await;
    let path = format!("/api/v1/runs/{}", run.id);
    assert_eq!(w.get(&path).await.expect(200).body["waits_for"], Value::Null);
    run.not_started = Some("A runner could not be started: <no> such file".to_owned());
    w.save_run(&run).await;
    let said = "A runner could not be started: <no> such file. Gantry keeps trying.";
    assert_eq!(w.get(&path).await.expect(200).body["waits_for"], said);
    let browser = Browser::sign_in(&w, &w.admin).await;
    let page = browser.get(&format!("/runs/{}", run.id)).await.expect(200).text;
    let shown = "A runner could not be started: &#60;no&#62; such file. Gantry keeps trying.";
    assert!(page.contains(shown), "{page}");
}

#[tokio::test]
async fn a_run_shows_its_state_and_what_can_be_asked_of_it() {
    let w = connected().await;
    let stack = w.stack().await;
    let mut run = w.run(&stack, "a", RunState::Unconfirmed).await;
    run.interests = [Interest::Branch("x".to_owned()), Interest::Person].into();
    run.event = Some("e1".parse().unwrap());
    run.attempt = 3;
    run.failed_checks = 2;
    w.save_run(&run).await;
    put_change(&w, &run, 1, 7).await;
    put_change(&w, &run, 2, 1).await;
    let path = format!("/api/v1/runs/{}", run.id);
    let got = w.get(&path).await.expect(200).body;
    assert_eq!(got["actions"], json!(["confirm", "discard"]));
    assert_eq!(got["change"]["delta"]["add"], 1, "the last attempt that planned counts");
    assert_eq!(got["failing_checks"], 2);
    let page = format!("https://gantry.example.com/runs/{}", run.id);
    assert_eq!(got["page"], json!(page));
    let commit = got["links"]["commit"].as_str().unwrap();
    assert!(commit.ends_with(&format!("/acme/network/-/commit/{}", run.commit)), "{commit}");
    let change = w.get(got["links"]["change"].as_str().unwrap()).await.expect(200).body;
    assert_eq!(change["delta"]["add"], 1);
    run.delta = None;
    run.state = RunState::Failed;
    run.ending = Some(Ending {
        errors: vec!["Error: no".to_owned()],
        in_terraform: true,
        ..Ending::new("no")
    });
    w.save_run(&run).await;
    let got = w.get(&path).await.expect(200).body;
    assert_eq!((&got["change"], &got["summary"]), (&json!(null), &json!("no")));
    assert_eq!(got["actions"], json!(["retry"]));
    w.get(&format!("{path}/change")).await.expect(404);
    w.get("/api/v1/runs/nowhere").await.expect(404);
    w.get("/api/v1/runs/NO%20WHERE").await.expect(404);
}

#[tokio::test]
async fn what_the_tool_warned_of_is_on_the_page_and_counted() {
    let w = connected().await;
    let stack = w.stack().await;
    let mut run = w.run(&stack, "a", RunState::Unconfirmed).await;
    run.attempt = 1;
    w.save_run(&run).await;
    let place = Some("with a.b[\"<x>\"], on main.tf line 3".to_owned());
    let summary = "Argument is deprecated".to_owned();
    let warnings = vec![Warning { summary, place, count: 120 }];
    let change =
        Change { v: 1, tool_warnings: warnings, tool_warnings_cut: 2, ..Change::default() };
    let body = Bytes::from(serde_json::to_vec(&change).unwrap());
    w.objects.put(&gantry_objects::keys::change(&run.id, 1), body).await.unwrap();
    let path = format!("/api/v1/runs/{}", run.id);
    assert_eq!(w.get(&path).await.expect(200).body["change"]["tool_warnings"], 122);
    let whole = w.get(&format!("{path}/change")).await.expect(200).body;
    assert_eq!(whole["tool_warnings"][0]["count"], 120);
    let browser = Browser::sign_in(&w, &w.admin).await;
    let page = browser.get(&format!("/runs/{}", run.id)).await.expect(200).text;
    assert!(page.contains("<summary>122 warnings in the plan</summary>"), "{page}");
    let line = "Argument is deprecated (120×), with a.b[&#34;&#60;x&#62;&#34;], on main.tf line 3";
    assert!(page.contains(line), "{page}");
    assert!(page.contains("2 more warnings: see the log"), "{page}");

    // What an apply warned of is with the run.
    let mut run = w.run(&stack, "b", RunState::Finished).await;
    let place = Some("on main.tf line 4".to_owned());
    run.warnings = vec![Warning { summary: "Old region".to_owned(), place, count: 2 }];
    run.delta = Some(Delta { add: 1, ..Delta::default() });
    w.save_run(&run).await;
    let got = w.get(&format!("/api/v1/runs/{}", run.id)).await.expect(200).body;
    assert_eq!(got["warnings"][0]["summary"], "Old region");
    let page = browser.get(&format!("/runs/{}", run.id)).await.expect(200).text;
    assert!(page.contains("<summary>2 warnings while applying</summary>"), "{page}");
    assert!(page.contains("Old region (2×), on main.tf line 4"), "{page}");
    // A preview applies nothing.
    run.run_type = RunType::Proposed;
    w.save_run(&run).await;
    let page = browser.get(&format!("/runs/{}", run.id)).await.expect(200).text;
    assert!(page.contains("<summary>2 warnings</summary>"), "{page}");
    // Where there is no plan, it is what came before it failed.
    (run.run_type, run.delta) = (RunType::Tracked, None);
    w.save_run(&run).await;
    let page = browser.get(&format!("/runs/{}", run.id)).await.expect(200).text;
    assert!(page.contains("<summary>2 warnings</summary>"), "{page}");
}

#[tokio::test]
async fn a_stacks_runs_come_newest_first_in_pages() {
    let w = connected().await;
    let stack = w.stack().await;
    let mut wanted = Vec::new();
    for key in ["a", "b", "c", "d", "e"] {
        wanted.insert(0, w.run(&stack, key, RunState::Finished).await.id.to_string());
    }
    let mut seen = Vec::new();
    let mut path = "/api/v1/stacks/network/runs?limit=2".to_owned();
    loop {
        let page = w.get(&path).await.expect(200).body;
        let runs = page["runs"].as_array().unwrap();
        seen.extend(runs.iter().map(|run| run["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/v1/stacks/network/runs?limit=2&after={next}");
    }
    assert_eq!(seen, wanted);
    w.get("/api/v1/stacks/network/runs?after=x").await.expect(422);
}

async fn put_event(w: &World, id: &str, project: u64) {
    let record = EventRecord {
        id: id.parse().unwrap(),
        source: EventSource::Webhook,
        project: Some(gantry_domain::ProjectId(project)),
        what: format!("push {id}"),
        received_at: w.clock.now(),
        outcome: None,
    };
    w.put(keys::event(record.received_at, &record.id), &record).await;
}

#[tokio::test]
async fn events_tell_why_something_ran_or_did_not() {
    let w = connected().await;
    let stack = w.stack().await;
    for (id, project) in [("e:1", 7), ("e_2", 8), ("e.3", 7)] {
        put_event(&w, id, project).await;
        w.hand.advance(Duration::from_secs(30 * 60 * 60));
    }
    let event: EventId = "e.3".parse().unwrap();
    let decision = DecisionRecord {
        stack: stack.id.clone(),
        slug: stack.slug.clone(),
        runs: false,
        reason: "no file changed".to_owned(),
        commit: None,
        at: w.clock.now(),
    };
    w.put(keys::decision(&event, &stack.id), &decision).await;
    let ids = async |path: &str| {
        let got = w.get(path).await.expect(200).body;
        let events = got["events"].as_array().unwrap();
        let ids: Vec<_> = events.iter().map(|e| e["id"].as_str().unwrap().to_owned()).collect();
        (ids, got)
    };
    let (all, got) = ids("/api/v1/events").await;
    assert_eq!(all, ["e.3", "e_2", "e:1"]);
    assert_eq!(got["events"][0]["decisions"][0]["reason"], "no file changed");
    assert_eq!(ids("/api/v1/events?project=7").await.0, ["e.3", "e:1"]);
    let (first, got) = ids("/api/v1/events?limit=1&project=7").await;
    assert_eq!(first, ["e.3"]);
    let next = got["next"].as_str().unwrap();
    let (second, got) = ids(&format!("/api/v1/events?project=7&limit=5&after={next}")).await;
    assert_eq!((second, &got["next"]), (vec!["e:1".to_owned()], &json!(null)));
    let got = w.get("/api/v1/events/e.3").await.expect(200).body;
    assert_eq!(got["decisions"][0]["stack"], "network");
    w.get("/api/v1/events?after=soon").await.expect(422);
}
