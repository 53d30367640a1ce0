//! Whatever GitLab does for ten minutes, and whenever: in the end it shows what it would have shown.

use gantry_fake_gitlab::{Fault, Matcher};
use gantry_scenarios::{Mode, StackOptions, run_test_in, run_test_in_moods};
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn ten_minutes_of_trouble_change_nothing_that_gitlab_shows_in_the_end() {
    run_test_in_moods(4, |mut w| async move {
        let project = w.plain_project("acme/network");
        let fields = json!({ "on_tag": { "pattern": "v*", "run": "proposed" } });
        w.stack(project, "network", "infra", StackOptions { fields }).await;

        w.dev.push(project, "change", "infra/main.tf", "# one").unwrap();
        let from = gantry_fake_gitlab::MergeRequestSpec::from("change");
        let iid = w.dev.open_merge_request(project, from).unwrap();
        w.moment().await;

        w.dev.merge(project, iid).unwrap();
        w.moment().await;

        let run = w.run_in("network", "unconfirmed").await;
        w.hold("network");
        w.order(&format!("/runs/{run}/confirm"), json!({})).await;
        w.release("network");
        w.moment().await;

        w.dev.push(project, "main", "infra/main.tf", "# two").unwrap();
        w.dev.tag(project, "v1", "main", None).unwrap();
        w.moment().await;
        w
    })
    .await;
}

/// What fails five times by its own fault is given up.
#[tokio::test]
async fn an_event_waits_for_a_gitlab_that_hangs_however_often_it_is_delivered() {
    run_test_in(&[Mode::PLAIN], |mut w| async move {
        let project = w.plain_project("acme/network");
        w.stack(project, "network", "infra", StackOptions::default()).await;
        w.gitlab.fail_always(Matcher::any(), Fault::Hang);
        let commit = w.dev.push(project, "change", "infra/main.tf", "# one").unwrap();
        w.gitlab.take_requests();
        w.endure(Duration::from_secs(7 * 20), Duration::from_secs(20)).await;
        let branch = format!("/projects/{}/repository/branches/change", project.0);
        let calls = w.gitlab.take_requests();
        let asked = calls.iter().filter(|call| call.path.ends_with(&branch)).count();
        assert!(asked > 5, "it was delivered {asked} times");
        w.gitlab.clear_faults();
        w.pass(Duration::from_secs(60)).await;
        assert_eq!(w.run_lines("network").await, [format!("proposed finished {}", &commit[..8])]);
        w
    })
    .await;
}
