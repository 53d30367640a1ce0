//! A machine that GitLab cannot call: there is no webhook, and everything is found by comparing.

use crate::support::{GATE, Kind, SLUG, STATUS, World, array, text};
use gantry_local::Intervals;
use jiff::SignedDuration;
use serde_json::json;
use std::time::Duration;

const ONE: &str = "resource \"terraform_data\" \"one\" {\n  input = \"one\"\n}\n";
const TWO: &str = "resource \"terraform_data\" \"two\" {\n  input = \"two\"\n}\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_request_is_found_and_its_merge_too() {
    let often = Intervals {
        sweep: Duration::from_millis(500),
        compare_unseen: SignedDuration::from_secs(1),
        ..Intervals::default()
    };
    let w = World::new(Kind::Inside(often), &[("main.tf", ONE)]).await;
    w.stack(json!({})).await;

    let commit = w.push("topic", &format!("{ONE}{TWO}"));
    let iid = w.open("topic");
    w.run_is(&commit, "finished").await;
    assert!(w.succeeded(&commit, STATUS).await.contains("2 to add"));
    w.succeeded(&commit, GATE).await;
    w.note(iid, "two").await;

    let head = w.merge(iid);
    let run = w.apply(&head).await;
    assert!(w.succeeded(&head, STATUS).await.contains("2 added"));
    w.note(iid, &run).await;
    w.settle().await;
    assert_eq!(w.runs_of(&commit).await.len(), 1);
    assert_eq!(w.runs_of(&head).await.len(), 1);
    assert_eq!(w.gitlab.hooks(w.project), []);
    let events = w.api.get("/events").await.good();
    let sources: Vec<_> = array(&events, "/events").iter().map(|e| text(e, "/source")).collect();
    assert!(!sources.is_empty() && sources.iter().all(|s| s == "comparing"), "{events:#}");
    assert_eq!(text(&w.api.get(&format!("/stacks/{SLUG}")).await.good(), "/status/blocked"), "");
}
