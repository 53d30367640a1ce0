//! What cannot be undone is asked once, with what it means, before it is done.

use crate::{browser::Browser, support::connected};
use gantry_domain::{run::RunState, state::StateForm};
use gantry_store::{
    config::Activity,
    keys,
    runner::{StateLock, StateVersion},
};
use serde_json::json;

/// What one interrupt does to a command of a provisioner.
const KILLED: &str = "A provisioner command is killed at once: its resource is tainted, and the \
                      next apply replaces it.";

/// Every form that is done once it is meant: where it goes, where it asks, a part of the question.
#[tokio::test]
async fn what_cannot_be_undone_is_asked_once_before_it_is_done() {
    let w = connected().await;
    let stack = w.stack().await;
    let run = w.run(&stack, "a", RunState::Applying).await;
    w.key("read").await;
    let keys = w.get("/api/v1/keys").await.body;
    let id = keys["keys"].as_array().unwrap().iter().find(|key| key["name"] == "read").unwrap();
    let id = id["id"].as_str().unwrap();
    w.give_up(gantry_queue::QueueName::Events, "no");
    let stop = format!("/runs/{}/stop", run.id);
    let browser = Browser::sign_in(&w, &w.admin).await;
    let page = browser.get("/operations").await.expect(200).text;
    assert!(page.contains("<a href=\"runs/run-1\">run run-1</a>"), "{page}");
    let integration = w.store.integration().await.unwrap().unwrap().version;
    w.sent();
    for (form, fields, words, button) in [
        ("/keys/delete", format!("key={id}"), "Revoke the key read?", "Revoke"),
        ("/gitlab/unlink", String::new(), "waiting runs are canceled", "Unlink"),
        ("/gitlab/rotate", "end=on".to_owned(), "The previous secret stops working now.", "Revoke"),
        ("/gitlab/rotate", String::new(), "works for seven more days", "Replace"),
        ("/operations/redrive", "queue=events".to_owned(), "Resend 1 message?", "Resend"),
        ("/stacks/network/catch-up", String::new(), "is discarded", "Catch up"),
        (&stop, String::new(), KILLED, "Stop"),
    ] {
        let asked = browser.send(form, &fields).await.expect(303);
        let last = form.rsplit('/').next().unwrap();
        let query = if fields.is_empty() { String::new() } else { format!("?{fields}") };
        assert_eq!(asked.headers["location"], format!("{last}{query}"), "{form}");
        let page = browser.get(&format!("{form}{query}")).await.expect(200).text;
        assert!(page.contains(words) && page.contains(&format!(">{button}</button>")), "{page}");
        assert!(page.contains("name=\"sure\"") && page.contains(">Cancel</a>"), "{page}");
    }
    assert!(w.sent().is_empty(), "nothing was done");
    assert_eq!(w.store.integration().await.unwrap().unwrap().version, integration);
    assert_eq!(w.get("/api/v1/keys").await.body, keys);
    for (form, fields) in
        [("/keys/delete", format!("key={id}&sure=yes")), ("/gitlab/unlink", "sure=yes".to_owned())]
    {
        browser.send(form, &fields).await.expect(303);
    }
    assert!(!w.store.integration().await.unwrap().unwrap().value.linked);
    assert_ne!(w.get("/api/v1/keys").await.body, keys);
}

/// The questions on states are asked here; runner-api sends its forms here and does what they say.
#[tokio::test]
async fn restoring_and_unlocking_a_state_are_asked_with_what_they_mean() {
    let w = connected().await;
    let stack = w.stack().await;
    let browser = Browser::sign_in(&w, &w.admin).await;
    let at = w.clock.now();
    let version = |number: u64| StateVersion {
        number,
        serial: number + 10,
        lineage: "l".to_owned(),
        digest: String::new(),
        object: String::new(),
        size: 2,
        resources: Some(3),
        form: StateForm::Plain,
        run: None,
        by: "Ada".to_owned(),
        rescued: false,
        found: false,
        at,
    };
    for number in [1, 2] {
        w.put(keys::state_version(&stack.id, number), &version(number)).await;
    }
    w.put(keys::state(&stack.id), &version(2)).await;

    // The page leads to the question, and the question to what does it.
    let page = browser.get("/stacks/network").await.expect(200).text;
    assert!(page.contains("action=\"../stacks/network/restore\""), "{page}");
    assert!(!page.contains("state/restore") && !page.contains("unlock"), "{page}");
    let asked = browser.get("/stacks/network/restore?version=1").await.expect(200).text;
    for part in [
        "Restore version 1 of the state?",
        "serial 11, 3 resources, by Ada",
        "the next apply would create them a second time",
        "action=\"../../stacks/network/state/restore\"",
        "name=\"sure\"",
        "name=\"version\" value=\"1\"",
        ">Cancel</a>",
    ] {
        assert!(asked.contains(part), "{part}: {asked}");
    }
    for missing in ["?version=7", "", "?version="] {
        let got = browser.get(&format!("/stacks/network/restore{missing}")).await;
        assert!([422, 404].contains(&got.status), "{missing}: {}", got.text);
    }

    browser.get("/stacks/network/unlock").await.expect(409);
    let info = json!({
        "ID": "a", "Operation": "OperationTypeApply", "Info": "", "Who": "root@runner",
        "Version": "1", "Created": "2026-01-02T03:04:05Z", "Path": "",
    });
    let info = serde_json::from_value(info).unwrap();
    let lock = StateLock { info, run: "run-1".parse().unwrap(), attempt: 1, at };
    w.put(keys::lock(&stack.id), &lock).await;
    let page = browser.get("/stacks/network").await.expect(200).text;
    assert!(page.contains("action=\"../stacks/network/unlock\""), "{page}");
    assert!(!page.contains("state/unlock"), "{page}");
    let asked = browser.get("/stacks/network/unlock").await.expect(200).text;
    for part in [
        "Unlock the state?",
        "The run run-1 has held the lock",
        "can no longer write its state",
        "action=\"../../stacks/network/state/unlock\"",
        "name=\"sure\"",
        ">Cancel</a>",
    ] {
        assert!(asked.contains(part), "{part}: {asked}");
    }

    let deploy = w.key("deploy").await;
    let other = Browser::sign_in(&w, &deploy).await;
    for question in ["/stacks/network/restore?version=1", "/stacks/network/unlock"] {
        other.get(question).await.expect(403);
    }
}

/// What became of it is said by the page that comes next: of this stack, and once.
#[tokio::test]
async fn a_page_says_what_became_of_a_change_of_its_state() {
    let w = connected().await;
    w.stack().await;
    let browser = Browser::sign_in(&w, &w.admin).await;
    let write = async |number: i64, what: &str, outcome: &str| {
        let at = w.clock.now() + jiff::SignedDuration::from_secs(number);
        let slug = what.rsplit(' ').next().unwrap().parse().unwrap();
        let activity = Activity {
            actor: "Ada".to_owned(),
            what: what.to_owned(),
            stack: Some(slug),
            outcome: outcome.to_owned(),
            at,
            ..Activity::default()
        };
        let id = format!("request-{number}");
        let id = gantry_domain::EventId::derive("request", &[&id]);
        w.put(keys::activity(at, &id), &activity).await;
    };
    write(1, "restored version 1 of the state of network", "it is version 3, serial 11").await;
    write(2, "unlocked the state of network-2", "done").await;
    let said = "restored version 1 of the state of network: it is version 3, serial 11";
    let page = browser.get("/stacks/network?state=done").await.expect(200).text;
    assert!(page.contains(said) && !page.contains("network-2"), "{page}");
    let page = browser.get("/stacks/network").await.expect(200).text;
    assert!(!page.contains(said), "{page}");
    write(3, "unlocked the state of network", "refused: it is in use").await;
    let page = browser.get("/stacks/network?state=refused").await.expect(200).text;
    assert!(page.contains("unlocked the state of network: refused: it is in use"), "{page}");
}
