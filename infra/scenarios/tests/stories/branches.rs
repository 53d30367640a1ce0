//! Branches that are not tracked, and tags.

use gantry_scenarios::{Mode, StackOptions, run_test, run_test_in};
use serde_json::json;

#[tokio::test]
async fn a_branch_forced_away_and_back_is_planned_again() {
    run_test_in(&Mode::WITH_WEBHOOKS, |mut w| async move {
        let project = w.plain_project("acme/network");
        w.stack(project, "network", "infra", StackOptions::default()).await;
        w.hold("network");
        let one = w.push(project, "change", "infra/main.tf", "# one").await;
        w.dev.set_branch(project, "change", "main").unwrap();
        w.settle().await;
        w.expect_status(project, &one, "gantry/network", "canceled");
        w.release("network");
        w.dev.set_branch(project, "change", &one).unwrap();
        w.settle().await;
        let lines = w.run_lines("network").await;
        assert_eq!(lines[0], format!("proposed finished {}", &one[..8]), "{lines:?}");
        w.expect_status(project, &one, "gantry/network", "success");
        w
    })
    .await;
}

#[tokio::test]
async fn a_deleted_branch_cancels_its_run() {
    run_test_in(&Mode::WITH_WEBHOOKS, |mut w| async move {
        let project = w.plain_project("acme/network");
        w.stack(project, "network", "infra", StackOptions::default()).await;
        w.hold("network");
        let one = w.push(project, "change", "infra/main.tf", "# one").await;
        w.dev.delete_branch(project, "change").unwrap();
        w.settle().await;
        let lines = w.run_lines("network").await;
        assert_eq!(lines, [format!("proposed stopped {}", &one[..8])]);
        w.release("network");
        w
    })
    .await;
}

#[tokio::test]
async fn a_tag_starts_what_the_stack_says() {
    run_test(|mut w| async move {
        let project = w.plain_project("acme/network");
        let fields =
            json!({ "on_tag": { "pattern": "v*", "run": "tracked" }, "on_push": "proposed" });
        w.stack(project, "network", "infra", StackOptions { fields }).await;
        if w.is_without_webhooks() {
            // The tags that are there before are learnt by the first comparison.
            w.catch_up().await;
        }
        let commit = w.push(project, "main", "infra/main.tf", "# one").await;
        assert_eq!(w.run_lines("network").await, [format!("proposed finished {}", &commit[..8])]);
        w.dev.tag(project, "other", &commit, None).unwrap();
        w.dev.tag(project, "v1", &commit, Some("the first")).unwrap();
        w.catch_up().await;
        let lines = w.run_lines("network").await;
        assert_eq!(lines[0], format!("tracked unconfirmed {}", &commit[..8]), "{lines:?}");
        assert_eq!(lines.len(), 2, "{lines:?}");
        w
    })
    .await;
}
