//! Drift and schedules: when, what was found, and what can be done about it.

use crate::{
    browser::{Browser, form_of},
    support::{COMMIT, connected},
    unpushed::{applied, asked, options, post_as},
};
use gantry_domain::{
    drift::Drift,
    run::{PlanMode, PlanOptions, RunState, RunType},
    stack::StackHead,
};
use gantry_queue::Command;
use gantry_store::keys;
use serde_json::{Value, json};

const STACK: &str = "/api/v1/stacks/network";
const LOOK: &str = "/api/v1/stacks/network/drift";

/// It has been looked at for drift.
fn with(drift: Drift) -> impl FnOnce(StackHead) -> StackHead {
    move |head| StackHead { drift: Some(drift), ..head }
}

#[tokio::test]
async fn a_look_for_drift_needs_something_that_was_applied_and_is_still_there() {
    let w = connected().await;
    let stack = w.stack().await;
    let (reader, deployer) = (w.key("read").await, w.key("deploy").await);
    let got = w.post(LOOK, json!({})).await.expect(409);
    assert!(got.detail().starts_with("Nothing was applied yet"), "{}", got.text);
    applied(&w, &stack, |head| head).await;
    w.sent();
    assert_eq!(post_as(&w, &reader, LOOK, json!({})).await, 403);
    w.post(LOOK, json!({ "plan": "full" })).await.expect(422);
    assert!(w.sent().is_empty());
    assert_eq!(post_as(&w, &deployer, LOOK, json!({})).await, 202);
    assert_eq!(asked(&w), Command::LookForDrift);
    let destroyed = |head: StackHead| StackHead { destroyed: head.last_applied.clone(), ..head };
    applied(&w, &stack, destroyed).await;
    let got = w.post(LOOK, json!({})).await.expect(409);
    assert_eq!(got.detail(), "Everything of the stack was destroyed.");
    let page = Browser::sign_in(&w, &reader).await.get("/stacks/network").await.expect(200).text;
    assert!(page.contains("<strong>Everything that this stack held was destroyed</strong>"));
}

#[tokio::test]
async fn an_admin_says_when_all_stacks_are_looked_at() {
    let w = connected().await;
    let path = "/api/v1/drift";
    let usual = json!({ "schedule": null, "at_most": 2 });
    assert_eq!(w.get(path).await.expect(200).body, usual);
    let daily = json!({ "cron": "0 3 * * *", "time_zone": "Europe/Berlin" });
    let set = json!({ "schedule": daily, "at_most": 7 });
    assert_eq!(w.send("PUT", path, set.clone()).await.expect(200).body, set);
    let deployer = w.key("deploy").await;
    let got = w.ask("GET", path, Some(&deployer), &[], "").await.expect(200);
    assert_eq!(got.body, set);
    w.ask("PUT", path, Some(&deployer), &[], "{}").await.expect(403);
    for (body, field) in [
        (json!({ "at_most": 0 }), "at_most"),
        (json!({ "at_most": 101 }), "at_most"),
        (json!({ "at_most": "7" }), "at_most"),
        (json!({ "schedule": { "cron": "noon" } }), "schedule.cron"),
        (json!({ "schedule": { "cron": "*/5 * * * *" } }), "schedule.cron"),
        (json!({ "schedule": { "cron": "0 3 * * *", "time_zone": "Mars" } }), "schedule.time_zone"),
        (json!({ "schedule": "daily" }), "schedule"),
        (json!({ "limit": 1 }), "limit"),
    ] {
        assert!(!w.send("PUT", path, body).await.expect(422).error(field).is_empty());
    }
    assert_eq!(w.get(path).await.expect(200).body, set, "what was refused changes nothing");

    let browser = Browser::sign_in(&w, &w.admin).await;
    let page = browser.get("/operations").await.expect(200).text;
    for part in ["value=\"0 3 * * *\"", "value=\"Europe/Berlin\"", "(Europe/Berlin)"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let got = browser.send("/operations/drift", "cron=noon&time_zone=&at_most=3").await;
    assert!(got.expect(422).text.contains("Not a cron pattern"));
    browser.send("/operations/drift", "cron=&time_zone=UTC&at_most=many").await.expect(422);
    let got = browser.send("/operations/drift", "cron=30+2+*+*+1-5&time_zone=&at_most=3").await;
    assert_eq!(got.expect(303).headers["location"], "../operations?done=drift");
    let set = json!({ "schedule": { "cron": "30 2 * * 1-5", "time_zone": "UTC" }, "at_most": 3 });
    assert_eq!(w.get(path).await.expect(200).body, set);
    let activities = w.activities().await;
    let is_said = |(_, what, outcome): &(String, String, String)| {
        what == "set when stacks are looked at for drift"
            && outcome.starts_with("stacks are looked at for drift: At 02:30")
    };
    assert!(activities.iter().any(is_said), "{activities:?}");
    browser.send("/operations/drift", "cron=&time_zone=UTC&at_most=").await.expect(303);
    assert_eq!(w.get(path).await.expect(200).body, usual);
    let said = "stacks are looked at for drift: never by themselves";
    let outcomes = w.outcomes().await;
    assert!(outcomes.contains(&said.to_owned()), "{outcomes:?}");
}

#[tokio::test]
async fn a_stacks_own_times_are_set_and_sent_back() {
    let w = connected().await;
    w.stack().await;
    let drift = json!({
        "schedule": { "own": { "cron": "30 6 * * 1-5", "time_zone": "Europe/Berlin" } },
        "plan": "full", "issue": true, "labels": ["drift"], "assignees": ["ada"],
        "tolerate": [{ "address": "module.asg.*", "attributes": ["desired"] }],
    });
    let schedules = json!([
        { "name": "nightly", "when": { "cron": "0 3 * * *", "time_zone": "UTC" }, "task": null },
    ]);
    let usual = w.get(STACK).await.expect(200).body;
    let body = json!({ "drift": drift, "schedules": schedules, "replan": "relevant" });
    let refused = w.send("PUT", STACK, body).await.expect(422);
    assert_eq!(refused.error("replan"), "Must be one of all, mergeable, none");
    let body = json!({ "drift": drift, "schedules": schedules, "replan": "all" });
    let got = w.send("PUT", STACK, body).await.expect(200).body;
    assert_eq!((&got["replan"], &usual["replan"]), (&json!("all"), &json!("mergeable")));
    assert_eq!((&got["drift"], &got["schedules"]), (&drift, &schedules));
    let next = |got: &Value, field: &str| got["status"][field].as_str().map(str::to_owned);
    // The first working day after a Sunday, at half past six in Berlin, or a little later.
    let looks = next(&got, "drift_next_at").unwrap();
    assert!(looks.starts_with("2026-11-23T0"), "{looks}");
    let nightly = json!({
        "name": "nightly", "next_at": "2026-11-23T03:00:00Z", "run": null, "skipped": null,
    });
    assert_eq!(got["status"]["schedules"], json!([nightly]));
    // What was answered can be sent back, and the list says the same.
    let again = w.send("PUT", STACK, got.clone()).await.expect(200).body;
    assert_eq!(again["drift"], drift);
    let list = w.get("/api/v1/stacks").await.expect(200).body;
    assert_eq!(list["stacks"][0]["status"], again["status"]);
    w.send("PUT", STACK, json!({ "drift": null, "schedules": null })).await.expect(200);
    let got = w.get(STACK).await.expect(200).body;
    assert_eq!((&got["drift"], &got["schedules"]), (&usual["drift"], &json!([])));
    assert_eq!(next(&got, "drift_next_at"), None);
}

#[tokio::test]
async fn the_form_of_a_stack_has_them_and_says_what_is_wrong() {
    let w = connected().await;
    w.stack().await;
    let browser = Browser::sign_in(&w, &w.admin).await;
    let fields = |cron: &str| {
        form_of(&[
            ("version", "1"),
            ("name", "Network"),
            ("project", "acme/network"),
            ("branch", "main"),
            ("manage_state", "on"),
            ("drift.schedule", "own"),
            ("drift.schedule.own.cron", "30 6 * * 1-5"),
            ("drift.schedule.own.time_zone", "Europe/Berlin"),
            ("drift.plan", "refresh_only"),
            ("drift.labels", "drift\r\ninfra"),
            ("drift.tolerate[0].address", "module.asg.*"),
            ("drift.tolerate[0].attributes", "desired\r\ntags.*"),
            ("schedules[0].name", "nightly"),
            ("schedules[0].when.cron", cron),
            ("schedules[0].when.time_zone", ""),
            ("schedules[0].task", "one\r\ntwo"),
        ])
    };
    let refused = browser.send("/stacks/network/edit", &fields("noon")).await.expect(422).text;
    for part in ["value=\"noon\"", "Not a cron pattern", "value=\"module.asg.*\"", "one\ntwo"] {
        assert!(refused.contains(part), "{part}: {refused}");
    }
    browser.send("/stacks/network/edit", &fields("0 3 * * *")).await.expect(303);
    let settings = w.stored_stack("network").await.settings;
    assert_eq!(
        json!({ "drift": settings.drift, "schedules": settings.schedules }),
        json!({
            "drift": {
                "schedule": { "own": { "cron": "30 6 * * 1-5", "time_zone": "Europe/Berlin" } },
                "plan": "refresh_only", "issue": false, "labels": ["drift", "infra"],
                "assignees": [],
                "tolerate": [{ "address": "module.asg.*", "attributes": ["desired", "tags.*"] }],
            },
            "schedules": [{
                "name": "nightly", "when": { "cron": "0 3 * * *", "time_zone": "UTC" },
                "task": "one\ntwo",
            }],
        })
    );
    let page = browser.get("/stacks/network/edit").await.expect(200).text;
    for part in [
        "value=\"own\" selected",
        "name=\"drift.schedule.own.cron\" value=\"30 6 * * 1-5\"",
        "(Europe/Berlin)",
        "name=\"schedules[1].name\"",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
}

#[tokio::test]
async fn a_stacks_page_says_what_differs_and_what_can_be_done() {
    let w = connected().await;
    let stack = w.stack().await;
    let settings = json!({
        "drift": { "schedule": { "own": { "cron": "30 6 * * *", "time_zone": "Europe/Berlin" } } },
        "schedules": [{
            "name": "nightly", "when": { "cron": "0 3 * * *" }, "task": "terraform state list",
        }],
    });
    w.send("PUT", STACK, settings).await.expect(200);
    let admin = Browser::sign_in(&w, &w.admin).await;
    let reader = Browser::sign_in(&w, &w.key("read").await).await;
    let deployer = Browser::sign_in(&w, &w.key("deploy").await).await;
    let page = admin.get("/stacks/network").await.expect(200).text;
    assert!(!page.contains("Look now"), "nothing was applied: {page}");

    let looked = w.run(&stack, "look", RunState::Finished).await;
    let now = w.clock.now();
    let drift = Drift {
        run: looked.id.clone(),
        at: now,
        found: 2,
        tolerated: 1,
        since: Some(now),
        failed: None,
    };
    applied(&w, &stack, with(drift.clone())).await;
    let timer = json!({
        "stack": stack.id,
        "drift": {
            "of": "30 6 * * * Europe/Berlin", "next_at": "2026-11-24T06:00:00Z",
            "skipped": { "at": now, "why": "The stack is <blocked>" },
        },
        "schedules": {
            "nightly": { "of": "0 3 * * * UTC", "next_at": "2026-11-25T03:00:00Z", "run": looked.id },
        },
    });
    w.put(keys::stack_timer(&stack.id), &timer).await;
    let page = admin.get("/stacks/network").await.expect(200).text;
    for part in [
        "<strong>2 differences</strong> from what was applied, known since <time",
        &format!("<a href=\"../runs/{}\">see what differs</a>", looked.id),
        "1 difference tolerated.",
        "Bring back</button>",
        "Accept</button>",
        "Look now</button>",
        "next look <time title=\"2026-11-24 06:00:00 UTC\">",
        "the last time was skipped: The stack is &#60;blocked&#62;",
        "<td>nightly</td>",
        "<td>Task: terraform state list</td>",
        "<time title=\"2026-11-25 03:00:00 UTC\">",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let page = reader.get("/stacks/network").await.expect(200).text;
    assert!(page.contains("2 differences"), "{page}");
    for part in ["Bring back", "Accept</button>", "Look now", "Run a task", "Start a run"] {
        assert!(!page.contains(part), "{part}: {page}");
    }
    let page = deployer.get("/stacks/network").await.expect(200).text;
    assert!(page.contains("Bring back</button>") && !page.contains("Run a task"), "{page}");
    let overview = reader.get("/").await.expect(200).text;
    assert!(overview.contains("title=\"Drifted: 2 differences\""), "{overview}");
    let status = w.get(STACK).await.expect(200).body["status"].clone();
    assert_eq!(
        status["drift"],
        json!({ "run": looked.id, "at": now, "found": 2, "tolerated": 1, "since": now })
    );
    assert_eq!(status["drift_next_at"], "2026-11-24T06:00:00Z");
    assert_eq!(status["schedules"][0]["run"], json!(looked.id));

    // The two answers, as the page's forms send them.
    let back = format!("type=tracked&commit={COMMIT}");
    deployer.send("/stacks/network/runs", &back).await.expect(303);
    let commit = Some(COMMIT.parse().unwrap());
    let wanted = Command::Trigger {
        run_type: RunType::Tracked,
        commit,
        branch: None,
        options: PlanOptions::default(),
    };
    assert_eq!(asked(&w), wanted);
    let accept = format!("type=tracked&mode=refresh_only&commit={COMMIT}");
    deployer.send("/stacks/network/runs", &accept).await.expect(303);
    assert_eq!(options(&w).mode, PlanMode::RefreshOnly);

    let failed = Drift { failed: Some(looked.id.clone()), ..drift.clone() };
    applied(&w, &stack, with(failed)).await;
    let page = admin.get("/stacks/network").await.expect(200).text;
    assert!(page.contains("<strong>The last look failed</strong>"), "{page}");
    assert!(page.contains("2 differences"), "what was found is not forgotten: {page}");
    let none = Drift { found: 0, tolerated: 0, since: None, ..drift };
    applied(&w, &stack, with(none)).await;
    let page = admin.get("/stacks/network").await.expect(200).text;
    assert!(page.contains("Nothing differs from what was applied, as of <time"), "{page}");
    assert!(!page.contains("Bring back") && page.contains("Look now"), "{page}");
}
