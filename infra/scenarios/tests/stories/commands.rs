//! What people do with runs.

use gantry_scenarios::{Planned, StackOptions, story};
use serde_json::json;

story!(a_run_by_hand_is_of_the_live_head, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    w.order("/stacks/network/runs", json!({})).await;
    let head = w.gitlab.head(project, "main").unwrap();
    assert_eq!(w.run_lines("network").await, [format!("tracked unconfirmed {}", &head[..8])]);
    w.expect_status(project, &head, "gantry/network", "running: 1 to add");
    w
});

story!(what_is_not_possible_is_refused_with_the_reason, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    w.plans("network", Planned::Clean);
    w.order("/stacks/network/runs", json!({})).await;
    let run = w.run_in("network", "finished").await;
    let (done, said) = w.command(&format!("/runs/{run}/confirm"), json!({})).await;
    assert!(!done && said.contains("finished"), "{said}");
    let (done, said) = w.command("/stacks/network/unblock", json!({"reason": "?"})).await;
    assert!(!done && said.contains("not blocked"), "{said}");
    w
});

story!(a_retry_is_a_new_run_and_behind_the_head_needs_force, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    w.plans("network", Planned::Fails("no".to_owned()));
    let one = w.push(project, "main", "infra/main.tf", "# one").await;
    let run = w.run_in("network", "failed").await;
    w.plans("network", Planned::Clean);
    w.order(&format!("/runs/{run}/retry"), json!({})).await;
    w.expect_status(project, &one, "gantry/network", "success: No changes");
    w.push(project, "main", "infra/main.tf", "# two").await;
    let (done, said) = w.command(&format!("/runs/{run}/retry"), json!({})).await;
    assert!(!done && said.contains("force"), "{said}");
    w.order(&format!("/runs/{run}/retry"), json!({"force": true})).await;
    assert_eq!(w.runs("network").await.len(), 4);
    w
});

story!(stopping_a_plan_stops_it, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    w.hold("network");
    let commit = w.push(project, "main", "infra/main.tf", "# one").await;
    let run = w.run_in("network", "planning").await;
    w.order(&format!("/runs/{run}/stop"), json!({})).await;
    w.settle().await;
    w.expect_status(project, &commit, "gantry/network", "canceled: Stopped by first-admin-key");
    w.release("network");
    w
});

story!(a_run_by_hand_does_not_wait_for_a_gitlab_that_is_down, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    w.gitlab.set_down(true);
    let (done, said) = w.command("/stacks/network/runs", json!({})).await;
    assert!(!done && said.contains("GitLab is not available right now"), "{said}");
    w.gitlab.set_down(false);
    w.order("/stacks/network/runs", json!({})).await;
    w
});
