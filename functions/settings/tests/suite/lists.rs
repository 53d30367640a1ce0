//! Lists over all stacks: runs by filters, what wants attention, an event with its runs.

use crate::{
    browser::Browser,
    support::{World, connected},
};
use gantry_domain::{
    CommitLine,
    drift::Drift,
    event::{EventRecord, EventSource},
    run::{Interest, Run, RunState, RunType, Unpushed, Uploaded},
    stack::{Blocked, Stack, StackHead},
};
use gantry_store::{
    keys,
    scheduler::{BlockedStack, DecisionRecord, DriftedStack, FailedStack, Receipt, RunEntry},
};
use serde_json::json;

const OTHER: &str = "89abcdef0123456789abcdef0123456789abcdef";

async fn second_stack(w: &World) -> Stack {
    let body = json!({ "name": "Data base", "project": "acme/network", "branch": "main" });
    w.post("/api/v1/stacks", body).await.expect(201);
    w.stored_stack("data-base").await
}

/// Names of the runs, `network a`: the key that each was made with.
async fn found(w: &World, query: &str) -> Vec<String> {
    let body = w.get(&format!("/api/v1/runs?{query}")).await.expect(200).body;
    let names = body["runs"].as_array().unwrap().iter().map(|run| {
        format!("{} {}", run["stack"].as_str().unwrap(), run["commit_title"].as_str().unwrap())
    });
    names.collect()
}

/// Four runs of two stacks, each with its own title.
async fn four_runs(w: &World) -> [Run; 4] {
    let (network, data) = (w.stack().await, second_stack(w).await);
    let mut runs = [
        w.run(&network, "one", RunState::Finished).await,
        w.run(&data, "two", RunState::Failed).await,
        w.run(&network, "three", RunState::Unconfirmed).await,
        w.run(&data, "four", RunState::Planning).await,
    ];
    for run in &mut runs {
        run.commit_line = CommitLine::new(&run.key, "Ada Lovelace");
    }
    runs[1].run_type = RunType::Proposed;
    runs[1].git_ref = "feature/x".to_owned();
    runs[1].commit_line = CommitLine::new("two", "Grace <b>Hopper</b>");
    runs[3].commit = OTHER.parse().unwrap();
    runs[3].by = Some("Linus".to_owned());
    runs[1].unpushed = Some(Unpushed::Drift);
    runs[0].unpushed = Some(Unpushed::Schedule { name: "nightly".to_owned() });
    for run in &runs {
        w.save_run(run).await;
    }
    runs
}

#[tokio::test]
async fn runs_of_all_stacks_are_found_by_what_they_are() {
    let w = connected().await;
    four_runs(&w).await;
    let project = w.stored_stack("network").await.project().unwrap();
    let all = ["data-base four", "network three", "data-base two", "network one"];
    assert_eq!(found(&w, "").await, all);
    assert_eq!(found(&w, "state=&type=&stack=&branch=&author=&since=").await, all);
    let oldest: Vec<_> = all.iter().rev().copied().collect();
    assert_eq!(found(&w, "sort=oldest").await, oldest);
    let of_project = format!("project={project}");
    for (query, wanted) in [
        ("state=failed", &all[2..3]),
        ("state=active", &all[..2]),
        ("state=unconfirmed,finished", &[all[1], all[3]]),
        ("type=proposed", &all[2..3]),
        ("stack=network", &[all[1], all[3]]),
        ("stack=network&state=unconfirmed", &all[1..2]),
        ("branch=feature%2Fx", &all[2..3]),
        ("purpose=drift", &all[2..3]),
        ("purpose=schedule", &all[3..]),
        ("purpose=task", &[]),
        ("purpose=drift&stack=data-base", &all[2..3]),
        ("purpose=drift&stack=network", &[]),
        ("author=hopper", &all[2..3]),
        ("author=linus", &all[..1]),
        ("commit=89abcde", &all[..1]),
        ("since=2026-11-22", &all[..]),
        ("since=2026-11-22T10:00:02Z", &all[..2]),
        ("since=2026-11-22T10:00:02Z&sort=oldest", &[all[1], all[0]]),
        ("since=2026-11-23", &[]),
        ("project=1", &[]),
        (&of_project, &all[..]),
        (&format!("{of_project}&commit={OTHER}"), &all[..1]),
    ] {
        assert_eq!(found(&w, query).await, wanted, "{query}");
    }
    let refused =
        w.get("/api/v1/runs?state=lost&type=x&stack=nowhere&commit=abc&purpose=push").await;
    let refused = refused.expect(422);
    for field in ["state", "type", "commit", "purpose"] {
        assert!(!refused.error(field).is_empty());
    }
    assert!(refused.error("state").ends_with(", failed, stopped, canceled, discarded"));
    assert_eq!(refused.detail(), "Check: commit, purpose, state, type.");
    let refused = w.get("/api/v1/runs?stack=nowhere").await.expect(422);
    assert_eq!(refused.error("stack"), "No stack or module has this slug");
    w.get("/api/v1/runs?status=failed").await.expect(422);
}

#[tokio::test]
async fn a_filtered_list_goes_on_where_it_ended() {
    let w = connected().await;
    let stack = w.stack().await;
    let mut wanted = Vec::new();
    for i in 0..23 {
        let state = if i % 2 == 0 { RunState::Failed } else { RunState::Finished };
        let mut run = w.run(&stack, &i.to_string(), state).await;
        run.commit_line = CommitLine::new(&run.key, "");
        w.save_run(&run).await;
        if state == RunState::Failed {
            wanted.insert(0, format!("network {i}"));
        }
    }
    for list in ["", "&stack=network"] {
        let mut seen = Vec::new();
        let mut after = String::new();
        loop {
            let query = format!("state=failed&limit=5{list}{after}");
            let page = w.get(&format!("/api/v1/runs?{query}")).await.expect(200).body;
            assert!(page["runs"].as_array().unwrap().len() <= 5);
            seen.extend(found(&w, &query).await);
            let Some(next) = page["next"].as_str() else { break };
            after = format!("&after={next}");
        }
        assert_eq!(seen, wanted, "{list}");
    }
}

#[tokio::test]
async fn what_is_rare_is_looked_for_in_several_pages() {
    let w = connected().await;
    let stack = w.stack().await;
    let mut run = w.run(&stack, "rare", RunState::Failed).await;
    run.commit_line = CommitLine::new("rare", "");
    w.save_run(&run).await;
    for i in 0..2_400 {
        w.hand.advance(std::time::Duration::from_secs(1));
        let id = gantry_domain::RunId::derive(&stack.id, &format!("many {i}"));
        let usual = Run { id, state: RunState::Finished, created_at: w.clock.now(), ..run.clone() };
        let entry = gantry_store::scheduler::ListedRun::from(&usual);
        w.put(keys::listed(usual.created_at, &usual.id), &entry).await;
    }
    let first = w.get("/api/v1/runs?state=failed").await.expect(200).body;
    assert_eq!(first["runs"], json!([]));
    let next = first["next"].as_str().expect("the search goes on");
    assert_eq!(found(&w, &format!("state=failed&after={next}")).await, ["network rare"]);
    let browser = Browser::sign_in(&w, &w.admin).await;
    let page = browser.get("/runs?state=failed").await.expect(200).text;
    assert!(page.contains("No runs match</strong> among those back to 2026-11-22"), "{page}");
    assert!(page.contains("runs?state=failed&#38;after="), "{page}");
}

#[tokio::test]
async fn the_page_of_runs_keeps_its_filters_and_shows_who_wrote_what() {
    let w = connected().await;
    four_runs(&w).await;
    let browser = Browser::sign_in(&w, &w.admin).await;
    let page = browser.get("/runs?branch=feature%2Fx&author=Hopper").await.expect(200).text;
    assert!(page.contains("two · Grace &#60;b&#62;Hopper&#60;/b&#62;"), "{page}");
    assert!(page.contains("value=\"feature/x\"") && page.contains("value=\"Hopper\""), "{page}");
    assert!(page.contains("Remove filters") && !page.contains(">network #"), "{page}");
    let page = browser.get("/runs?purpose=drift").await.expect(200).text;
    assert!(page.contains("value=\"drift\" selected") && page.contains("Drift check"), "{page}");
    assert!(page.contains(">data-base #") && !page.contains(">network #"), "{page}");
    let none = browser.get("/runs?state=discarded").await.expect(200).text;
    assert!(none.contains("No runs match.") && none.contains("value=\"discarded\" selected"));
    browser.get("/runs?state=lost").await.expect(422);
    browser.get("/runs?x=1").await.expect(422);
}

#[tokio::test]
async fn a_modules_run_is_no_deploy() {
    let w = connected().await;
    let stack = w.stack().await;
    let mut run = w.run(&stack, "tests", RunState::Finished).await;
    run.module = true;
    w.save_run(&run).await;
    let listed = w.get("/api/v1/runs").await.expect(200).body;
    assert_eq!(listed["runs"][0]["module"], true);
    let browser = Browser::sign_in(&w, &w.admin).await;
    let page = browser.get("/runs").await.expect(200).text;
    assert!(page.contains("<td>Module tests</td>") && page.contains("Passed"), "{page}");
}

#[tokio::test]
async fn a_script_waits_for_a_run() {
    let w = connected().await;
    let [done, _, _, planning] = four_runs(&w).await;
    let path = format!("/api/v1/runs/{}?wait=25", done.id);
    assert_eq!(w.get(&path).await.expect(200).body["state"], "finished");
    let path = format!("/api/v1/runs/{}?wait=1", planning.id);
    let begun = std::time::Instant::now();
    assert_eq!(w.get(&path).await.expect(200).body["state"], "planning", "the time is over");
    assert!(begun.elapsed().as_millis() >= 1_000);
    let path = format!("/api/v1/runs/{}?wait=20", planning.id);
    let end = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        w.save_run(&Run { state: RunState::Failed, ..planning.clone() }).await;
    };
    let (got, ()) = tokio::join!(w.get(&path), end);
    assert_eq!(got.expect(200).body["state"], "failed");
    for wrong in ["0", "26", "x"] {
        w.get(&format!("/api/v1/runs/{}?wait={wrong}", done.id)).await.expect(422);
    }
}

#[tokio::test]
async fn what_matters_is_counted_and_the_stacks_are_filtered_by_it() {
    let w = connected().await;
    let [_, _, unconfirmed, planning] = four_runs(&w).await;
    let (network, data) = (w.stored_stack("network").await, w.stored_stack("data-base").await);
    let browser = Browser::sign_in(&w, &w.admin).await;
    let page = browser.get("/").await.expect(200).text;
    assert!(page.contains("<title>Stacks · Gantry</title>"), "{page}");
    let counts = async || {
        let page = browser.get("/").await.expect(200).text;
        ["Needs confirmation", "Failed", "Blocked", "Drifted", "Running"].map(|text| {
            let (_, rest) = page.split_once(&format!("</span> {text} ")).expect(text);
            rest.split('<').next().unwrap().to_owned()
        })
    };
    assert_eq!(counts().await, ["0", "0", "0", "0", "0"]);
    let key = keys::waiting(unconfirmed.created_at, &unconfirmed.id);
    w.put(key, &RunEntry::from(&unconfirmed)).await;
    w.put(keys::slot(&planning.id), &RunEntry::from(&planning)).await;
    let failed = FailedStack { stack: data.id.clone(), run: planning.id.clone() };
    w.put(keys::failed(&data.id), &failed).await;
    w.put(keys::blocked(&network.id), &BlockedStack { stack: network.id.clone() }).await;
    w.put(keys::drifted(&data.id), &DriftedStack { stack: data.id.clone() }).await;
    let said = "the heads say that nothing is blocked, and nothing differs";
    assert_eq!(counts().await, ["1", "1", "0", "0", "1"], "{said}");
    let all = w.get("/api/v1/stacks").await.expect(200).body;
    let failed = |at: usize| all["stacks"][at]["status"]["failed"].as_str();
    assert_eq!([failed(0), failed(1)], [Some(planning.id.as_str()), None]);
    for (at, stack) in [(0, &data), (1, &network)] {
        let shown = w.get(&format!("/api/v1/stacks/{}", stack.slug)).await.expect(200).body;
        assert_eq!(shown["status"], all["stacks"][at]["status"]);
    }
    let blocked =
        Blocked { run: unconfirmed.id.clone(), reason: "lost".to_owned(), since: w.clock.now() };
    w.set_head(&network.id, StackHead { blocked: Some(blocked), ..StackHead::default() }).await;
    let now = w.clock.now();
    let drift = Drift {
        run: planning.id.clone(),
        at: now,
        found: 2,
        tolerated: 0,
        since: Some(now),
        failed: None,
    };
    w.set_head(&data.id, StackHead { drift: Some(drift), ..StackHead::default() }).await;
    assert_eq!(counts().await, ["1", "1", "1", "1", "1"]);

    let shown = async |query: &str| {
        let api = w.get(&format!("/api/v1/stacks?{query}")).await.expect(200).body;
        let slugs = api["stacks"].as_array().unwrap().iter();
        let slugs: Vec<_> = slugs.map(|stack| stack["slug"].as_str().unwrap().to_owned()).collect();
        let page = browser.get(&format!("/?{query}")).await.expect(200).text;
        let (_, table) = page.split_once("id=\"rows\"").unwrap();
        for slug in ["network", "data-base"] {
            let there = table.contains(&format!("stacks/{slug}\""));
            assert_eq!(there, slugs.iter().any(|one| one == slug), "{query}: {slug}");
        }
        slugs.join(" ")
    };
    assert_eq!(shown("state=unconfirmed").await, "network");
    assert_eq!(shown("state=failed").await, "data-base");
    assert_eq!(shown("state=blocked").await, "network");
    assert_eq!(shown("state=drifted").await, "data-base");
    assert_eq!(shown("state=running").await, "data-base");
    assert_eq!(shown("state=failed&search=network+x").await, "");
    assert_eq!(shown("state=").await, "data-base network");
    w.get("/api/v1/stacks?state=odd").await.expect(422);
    let page = browser.get("/events").await.expect(200).text;
    assert!(page.contains("<title>(1) Events · Gantry</title>"), "{page}");
    assert!(page.contains(">1<span class=\"hidden\"> need confirmation</span>"), "{page}");
}

#[tokio::test]
async fn an_event_leads_to_its_runs_and_a_run_to_its_event_and_comment() {
    let w = connected().await;
    let [mut run, ..] = four_runs(&w).await;
    let project = run.project().unwrap();
    let event: gantry_domain::EventId = "e1".parse().unwrap();
    let at = w.clock.now();
    run.event = Some(event.clone());
    run.interests = [Interest::MergeRequest(gantry_domain::MergeRequestIid(7))].into();
    w.save_run(&run).await;
    let record = EventRecord {
        id: event.clone(),
        source: EventSource::Webhook,
        project: Some(project),
        what: "push to main".to_owned(),
        received_at: at,
        outcome: Some("1 of 2 stacks affected".to_owned()),
    };
    let decision = DecisionRecord {
        stack: run.stack.clone(),
        slug: run.slug.clone(),
        runs: true,
        reason: "it changed".to_owned(),
        commit: Some(run.commit.clone()),
        at,
    };
    w.put(keys::event(at, &event), &record).await;
    w.put(keys::receipt(&event), &Receipt { at }).await;
    w.put(keys::decision(&event, &run.stack), &decision).await;
    let target = gantry_queue::FeedbackMessage::Note {
        project,
        iid: gantry_domain::MergeRequestIid(7),
        want: 0,
    };
    w.put(keys::feedback_memory(&target.target()), &json!({ "note": 31, "body": null })).await;
    let browser = Browser::sign_in(&w, &w.admin).await;
    let page = browser.get("/events/e1").await.expect(200).text;
    assert!(page.contains(&format!("../runs/{}", run.id)), "{page}");
    // What was uploaded is only based on the commit.
    let upload = Some(Uploaded { digest: "0".repeat(64), by: "ada".to_owned() });
    w.save_run(&Run { upload, ..run.clone() }).await;
    let page = browser.get("/events/e1").await.expect(200).text;
    assert!(!page.contains(&format!("../runs/{}", run.id)), "{page}");
    w.save_run(&run).await;
    browser.get("/events/e2").await.expect(404);
    let list = browser.get("/events").await.expect(200).text;
    assert!(list.contains("events/e1") && list.contains("runs?project="), "{list}");
    let page = browser.get(&format!("/runs/{}", run.id)).await.expect(200).text;
    assert!(page.contains("../events/e1"), "{page}");
    assert!(page.contains("/-/merge_requests/7#note_31"), "{page}");
    assert!(page.contains("one · Ada Lovelace"), "{page}");
}
