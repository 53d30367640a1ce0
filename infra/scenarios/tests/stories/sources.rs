//! GitLab gives five archives of a project a minute: who waits for one is in nobody's way.

use gantry_scenarios::{StackOptions, World, story};
use reqwest::Method;
use serde_json::Value;
use std::time::Duration;

const MOMENT: Duration = Duration::from_secs(1);
/// Within so many moments all is done that waits for nobody: a write that meets another one is tried
/// again a moment later.
const MOMENTS: usize = 6;

/// The stack's newest run.
async fn newest(w: &mut World, slug: &str) -> Value {
    let run = w.runs(slug).await.remove(0);
    let path = format!("/runs/{}", run["id"].as_str().unwrap());
    let (status, run) = w.api(Method::GET, &path, None).await;
    assert!(status.is_success(), "{run}");
    run
}

story!(
    a_run_that_waits_for_its_source_holds_no_runner_and_says_so,
    with_webhooks,
    |mut w| async move {
        let (busy, other) = (w.plain_project("acme/busy"), w.plain_project("acme/other"));
        w.stack(busy, "busy", "infra", StackOptions::default()).await;
        w.stack(other, "other", "infra", StackOptions::default()).await;
        // One more than GitLab gives for each of the four runners.
        for number in 1..=9 {
            let branch = format!("change-{number}");
            w.dev.push(busy, &branch, "infra/main.tf", &format!("# {number}")).unwrap();
            w.endure(MOMENT, MOMENT).await;
        }
        let commit = w.dev.push(other, "change", "infra/main.tf", "# other").unwrap();
        for _ in 0..MOMENTS {
            w.endure(MOMENT, MOMENT).await;
            if w.status(other, &commit, "gantry/other").is_some_and(|s| s.status == "success") {
                break;
            }
        }
        w.expect_status(other, &commit, "gantry/other", "success: 1 to add");

        let ended = w.runs("busy").await.iter().filter(|run| run["state"] == "finished").count();
        // One more is on its way where a process has ended over it.
        assert!(ended == 5 || (ended == 4 && !w.is_on_time()), "{ended}: {}", w.history());
        let waits = newest(&mut w, "busy").await;
        assert_eq!(waits["state"], "queued");
        let words = waits["waits_for"].as_str().unwrap_or_default();
        assert!(words.contains("five archive downloads per project per minute"), "{words:?}");

        w.settle().await;
        let last = newest(&mut w, "busy").await;
        assert_eq!((&last["state"], &last["waits_for"]), (&"finished".into(), &Value::Null));
        w
    }
);
