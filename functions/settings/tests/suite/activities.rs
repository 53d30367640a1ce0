//! What people did: listed, filtered, shown and exported.

use crate::{
    browser::Browser,
    support::{ADDRESS, World, connected},
};
use gantry_domain::{EventId, run::RunState};
use gantry_store::{Expect, Write, config::Activity, keys};
use jiff::SignedDuration;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

/// What the list has, sorted: some of it was done in the same millisecond.
async fn whats(w: &World, query: &str) -> Vec<String> {
    let got = w.get(&format!("/api/v1/activity?{query}")).await.expect(200).body;
    let all = got["activities"].as_array().unwrap().iter();
    let mut whats: Vec<_> = all.map(|one| one["what"].as_str().unwrap().to_owned()).collect();
    whats.sort_unstable();
    whats
}

/// Puts activities of `actor` into the records, one a millisecond.
async fn put_many(w: &World, actor: &str, count: i64, outcome: &str) {
    let put = |number: i64| {
        let at = w.clock.now() + SignedDuration::from_millis(number);
        let activity = Activity {
            actor: actor.to_owned(),
            what: format!("sign in {number}"),
            outcome: outcome.to_owned(),
            at,
            ..Activity::default()
        };
        let line = EventId::derive("activity", &[actor, &number.to_string()]);
        Write::put(keys::activity(at, &line), Expect::Any, &activity).unwrap()
    };
    let writes: Vec<_> = (0..count).map(put).collect();
    w.store.put_all(&writes).await.unwrap();
    w.hand.advance(Duration::from_secs(60));
}

/// The activities of an export, and where it goes on.
async fn export(w: &World, query: &str) -> (Vec<Value>, Value) {
    let got = w.get(&format!("/api/v1/activity/export?{query}")).await.expect(200);
    assert_eq!(got.headers["content-type"], "application/x-ndjson");
    assert!(got.text.ends_with('\n') && got.text.len() < 4_001_000, "{}", got.text.len());
    let lines = got.text.lines();
    let mut lines: Vec<Value> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = lines.pop().unwrap();
    (lines, last["next"].clone())
}

#[tokio::test]
async fn activities_come_newest_first_in_pages() {
    let w = connected().await;
    for name in ["one", "two", "three"] {
        w.hand.advance(Duration::from_secs(1));
        w.post("/api/v1/keys", json!({ "name": name, "role": "read" })).await.expect(201);
    }
    let page = w.get("/api/v1/activity?limit=2").await.expect(200).body;
    assert_eq!(page["activities"][0]["outcome"], "created the key \"three\"");
    let next = page["next"].as_str().unwrap();
    let page = w.get(&format!("/api/v1/activity?after={next}")).await.expect(200).body;
    let left: Vec<_> = page["activities"].as_array().unwrap().iter().collect();
    assert_eq!(left.len(), 2);
    assert_eq!(left[1]["what"], "connect GitLab");
    assert_eq!(page["next"], Value::Null);
}

#[tokio::test]
async fn activities_are_filtered_by_who_what_how_and_when() {
    let w = connected().await;
    let stack = w.stack().await;
    let run = w.run(&stack, "a", RunState::Unconfirmed).await;
    let (read, deploy) = (w.key("read").await, w.key("deploy").await);
    w.hand.advance(Duration::from_secs(24 * 60 * 60));
    let path = format!("/api/v1/runs/{}/confirm", run.id);
    w.ask("POST", &path, Some(&read), &[], "").await.expect(403);
    let mine = [("idempotency-key", "mine")];
    w.ask("POST", &path, Some(&deploy), &mine, "").await.expect(202);

    let confirm = format!("confirm the run network #{}", run.number);
    let (confirm, create, key) = (confirm.as_str(), "create a stack", "create a key");
    let before = ["connect GitLab", key, key, create];
    let of_run = format!("about=network%20%23{}", run.number);
    for (query, expected) in [
        ("actor=read", vec![confirm]),
        ("actor=rea", vec![]),
        ("about=network", vec![confirm, confirm, create]),
        (&of_run, vec![confirm, confirm]),
        ("about=network%20%231", vec![]),
        ("about=network-2", vec![]),
        ("outcome=refused", vec![confirm]),
        ("outcome=done&about=network", vec![confirm, create]),
        ("from=2026-11-23", vec![confirm, confirm]),
        ("from=2026-11-23T10:00:01Z", vec![confirm, confirm]),
        ("from=2026-11-23T10:00:02Z", vec![]),
        ("from=2026-11-24", vec![]),
        ("until=2026-11-22", before.to_vec()),
        ("from=2026-11-22&until=2026-11-22", before.to_vec()),
        ("until=2026-11-23T10:00:01Z", before.to_vec()),
        ("until=2026-11-22T10:00:00Z", vec![]),
        ("actor=deploy&from=2026-11-23&until=2030-01-01", vec![confirm]),
    ] {
        let mut expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
        expected.sort_unstable();
        assert_eq!(whats(&w, query).await, expected, "{query}");
        let exported = export(&w, query).await;
        assert_eq!((exported.0.len(), exported.1), (expected.len(), Value::Null), "{query}");
    }
    assert_eq!(whats(&w, "actor=&about=&outcome=&from=&until=").await.len(), 6);

    let of = async |actor: &str| {
        let got = w.get(&format!("/api/v1/activity?actor={actor}")).await.expect(200).body;
        got["activities"][0].clone()
    };
    let refused = of("read").await;
    for (name, value) in [
        ("role", json!("read")),
        ("stack", json!("network")),
        ("run", json!(run.id)),
        ("run_number", json!(run.number)),
        ("refused", json!(true)),
        ("status", json!(403)),
        ("address", json!(ADDRESS)),
    ] {
        assert_eq!(refused[name], value, "{name}");
    }
    assert!(refused["request"].is_string(), "{refused}");
    let done = of("deploy").await;
    let said = [&done["request"], &done["status"], &done["refused"]];
    assert_eq!(said, [&json!("mine"), &json!(202), &json!(false)]);
}

/// Log lines of one thread.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Those who collect logs find what was done by these names, which `docs/operator.md` has.
#[tokio::test]
async fn each_activity_is_a_line_of_the_log() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_writer(move || writer.clone())
        .finish();
    let w = connected().await;
    let stack = w.stack().await;
    let run = w.run(&stack, "a", RunState::Unconfirmed).await;
    let read = w.key("read").await;
    let guard = tracing::subscriber::set_default(subscriber);
    let path = format!("/api/v1/runs/{}/confirm", run.id);
    let mine = [("idempotency-key", "mine")];
    w.ask("POST", &path, Some(&read), &mine, "").await.expect(403);
    drop(guard);
    let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let all = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let all: Vec<Value> = all.filter(|line| line["target"] == "gantry::activity").collect();
    let [line] = all.as_slice() else { panic!("{log}") };
    let about = format!("network #{}", run.number);
    for (name, value) in [
        ("level", json!("INFO")),
        ("message", json!("an access key was used")),
        ("actor", json!("read")),
        ("role", json!("read")),
        ("what", json!(format!("confirm the run {about}"))),
        ("about", json!(about)),
        ("refused", json!(true)),
        ("status", json!(403)),
        ("address", json!(ADDRESS)),
        ("request", json!("mine")),
    ] {
        assert_eq!(line[name], value, "{name}: {line}");
    }
    let outcome = line["outcome"].as_str().unwrap();
    assert!(outcome.starts_with("refused: You don't have permission."), "{outcome}");
}

#[tokio::test]
async fn filters_that_cannot_be_read_are_named() {
    let w = connected().await;
    let query = "about=a%20b&outcome=maybe&from=soon&until=2026-13-01";
    for list in ["activity", "activity/export"] {
        let got = w.get(&format!("/api/v1/{list}?{query}")).await.expect(422);
        assert_eq!(got.error("outcome"), "Must be done or refused");
        assert!(got.error("about").contains("network #6"), "{}", got.text);
        for time in ["from", "until"] {
            assert!(got.error(time).starts_with("Must be a date"), "{}", got.text);
        }
    }
    let got = w.get("/api/v1/activity?from=2026-11-02&until=2026-11-01").await.expect(422);
    assert_eq!(got.error("until"), "Must be later than from");
    w.get("/api/v1/activity/export?limit=5").await.expect(422);
}

/// Records of older versions say only in words that something was refused.
#[tokio::test]
async fn what_was_recorded_before_is_listed_and_filtered() {
    let w = connected().await;
    w.hand.advance(Duration::from_secs(1));
    put_many(&w, "grace", 1, "refused: no").await;
    put_many(&w, "grace", 1, "done").await;
    let got = w.get("/api/v1/activity?actor=grace&outcome=refused").await.expect(200).body;
    let old = &got["activities"][0];
    assert_eq!((&old["outcome"], &old["refused"]), (&json!("refused: no"), &json!(true)));
    for missing in ["role", "stack", "run", "run_number", "status", "address", "request"] {
        assert_eq!(old[missing], Value::Null, "{missing}");
    }
    assert_eq!(got["activities"].as_array().unwrap().len(), 1);
    assert_eq!(whats(&w, "actor=grace&outcome=done").await.len(), 1);
}

#[tokio::test]
async fn what_is_rare_is_looked_for_in_several_pages() {
    let w = connected().await;
    w.hand.advance(Duration::from_secs(1));
    put_many(&w, "ada", 1, "done").await;
    put_many(&w, "robot", 2_100, "done").await;
    let page = w.get("/api/v1/activity?actor=ada").await.expect(200).body;
    assert_eq!(page["activities"], json!([]));
    let next = page["next"].as_str().unwrap();
    let page = w.get(&format!("/api/v1/activity?actor=ada&after={next}")).await.expect(200).body;
    assert_eq!(page["activities"][0]["what"], "sign in 0");
    assert_eq!(page["next"], Value::Null);
    // An export looks on by itself.
    let (found, next) = export(&w, "actor=ada").await;
    assert_eq!((found.len(), next), (1, Value::Null));

    let browser = Browser::sign_in(&w, &w.admin).await;
    let page = browser.get("/activity?actor=ada").await.expect(200).text;
    assert!(
        page.contains("<strong>Nothing matches</strong> among what was done back to"),
        "{page}"
    );
    assert!(
        page.contains(">Older</a>") && page.contains("activity?actor=ada&#38;after="),
        "{page}"
    );
}

#[tokio::test]
async fn an_export_ends_at_a_bound_and_goes_on_behind_it() {
    let w = connected().await;
    w.hand.advance(Duration::from_secs(1));
    put_many(&w, "robot", 100, &"x".repeat(50_000)).await;
    let (first, next) = export(&w, "actor=robot").await;
    assert!((70..80).contains(&first.len()), "{}", first.len());
    assert_eq!(first[0]["what"], "sign in 99", "the newest first");
    let next = next.as_str().unwrap();
    let (second, end) = export(&w, &format!("actor=robot&after={next}")).await;
    assert_eq!(end, Value::Null);
    let all: BTreeSet<&str> =
        first.iter().chain(&second).map(|one| one["what"].as_str().unwrap()).collect();
    assert_eq!((first.len() + second.len(), all.len()), (100, 100));
}

#[tokio::test]
async fn the_page_filters_says_what_is_wrong_and_leads_to_the_export() {
    let w = connected().await;
    let read = w.key("read").await;
    let reader = Browser::sign_in(&w, &read).await;
    reader.send("/keys", "name=other&role=read").await.expect(403);
    let page = reader.get("/activity?actor=read&outcome=refused&about=").await.expect(200).text;
    for part in [
        "name=\"actor\" value=\"read\"",
        "<option value=\"refused\" selected>Refused</option>",
        "<td>create a key</td><td class=\"warn\">refused: ",
        ADDRESS,
        "<a href=\"activity\">Remove filters</a>",
        "<a href=\"activity/export?actor=read&#38;outcome=refused\">Export</a>",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains("<td>sign in</td>"), "{page}");
    let exported = reader.get("/activity/export?actor=read&outcome=refused").await.expect(200);
    assert_eq!(exported.headers["content-type"], "application/x-ndjson");
    let file = exported.headers["content-disposition"].to_str().unwrap();
    assert!(file.contains("gantry-activity.ndjson"), "{file}");
    assert_eq!(exported.text.lines().count(), 2);

    let page = reader.get("/activity").await.expect(200).text;
    assert!(page.contains("<td>sign in</td>") && !page.contains("Remove filters"), "{page}");
    assert!(page.contains("<a href=\"activity/export\">Export</a>"), "{page}");
    let page = reader.get("/activity?actor=nobody").await.expect(200).text;
    assert!(page.contains("<strong>Nothing matches.</strong>"), "{page}");
    assert!(page.contains("<a href=\"activity\">Remove the filters</a>"), "{page}");
    let page = reader.get("/activity?from=soon&about=network%20%236").await.expect(422).text;
    assert!(page.contains("role=\"alert\"><strong>from:</strong> Must be a date"), "{page}");
    assert!(page.contains("<input name=\"from\" value=\"soon\">"), "{page}");
    assert!(page.contains("value=\"network #6\"") && !page.contains("Export"), "{page}");
    let page = reader.get("/activity?from=2026-11-22").await.expect(200).text;
    assert!(page.contains("<input type=\"date\" name=\"from\" value=\"2026-11-22\">"), "{page}");
}
