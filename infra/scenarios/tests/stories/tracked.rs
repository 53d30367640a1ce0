//! The tracked branch: decisions, the queue, confirmation, autodeploy.

use gantry_scenarios::{Mode, Planned, StackOptions, run_test_in, story};
use reqwest::Method;
use serde_json::json;
use std::time::Duration;

fn options(fields: serde_json::Value) -> StackOptions {
    StackOptions { fields }
}

story!(a_push_to_the_tracked_branch_is_planned_confirmed_and_applied, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    assert!(w.runs("network").await.is_empty(), "making a stack starts nothing");

    let commit = w.push(project, "main", "infra/main.tf", "# one").await;
    w.expect_status(
        project,
        &commit,
        "gantry/network",
        "running: 1 to add, 0 to change, 0 to destroy, applied once confirmed",
    );
    w.expect_status(project, &commit, "gantry", "pending");
    let run = w.run_in("network", "unconfirmed").await;
    w.hold("network");
    w.order(&format!("/runs/{run}/confirm"), json!({})).await;
    // GitLab keeps the text as long as it runs: it is still true.
    let status = w.status(project, &commit, "gantry/network").unwrap();
    let said = status.description.unwrap_or_default();
    assert!(status.status == "running" && !said.contains("waiting"), "{said}");
    w.release("network");
    w.settle().await;
    w.expect_status(project, &commit, "gantry/network", "success: Applied");
    w.expect_status(project, &commit, "gantry", "success");
    let deployments = w.gitlab.deployments(project);
    assert_eq!(deployments.len(), 1, "{deployments:?}");
    assert_eq!(deployments[0].status, "success");
    assert_eq!(w.executed(), ["network plan", "network apply"]);
    w
});

story!(a_push_right_after_the_stack_was_made_is_not_taken_for_its_beginning, |mut w| async move {
    let project = w.plain_project("acme/network");
    let stack = json!({ "name": "network", "project": project.0, "project_root": "infra" });
    let (status, answer) = w.api(Method::POST, "/stacks", Some(stack)).await;
    assert!(status.is_success(), "{answer}");
    if !w.is_without_webhooks() {
        let (status, answer) =
            w.api(Method::POST, "/stacks/network/webhook", Some(json!({}))).await;
        assert!(status.is_success(), "{answer}");
    }
    // Nobody has handled a message yet.
    let commit = w.push(project, "main", "infra/main.tf", "# one").await;
    assert_eq!(w.run_lines("network").await, [format!("tracked unconfirmed {}", &commit[..8])]);
    w
});

story!(a_run_that_no_runner_ever_takes_ends, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    w.without_runners();
    let commit = w.push(project, "main", "infra/main.tf", "# one").await;
    w.expect_status(project, &commit, "gantry/network", "pending");
    w.pass(Duration::from_secs(45 * 60)).await;
    w.expect_status(project, &commit, "gantry/network", "failed: No runner picked it up");
    w
});

story!(two_roots_in_one_project_run_only_what_is_touched, |mut w| async move {
    let files = gantry_scenarios::with_files(&["a/main.tf", "b/main.tf"]);
    let project = w.project("acme/two", files);
    w.stack(project, "a", "a", StackOptions::default()).await;
    w.stack(project, "b", "b", StackOptions::default()).await;
    let commit = w.push(project, "main", "a/main.tf", "# changed").await;
    assert_eq!(w.runs("a").await.len(), 1);
    assert!(w.runs("b").await.is_empty());
    w.expect_status(project, &commit, "gantry/a", "running");
    assert!(w.status(project, &commit, "gantry/b").is_none());
    w
});

story!(queued_tracked_runs_go_in_order, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    let one = w.push(project, "main", "infra/main.tf", "# one").await;
    let two = w.push(project, "main", "infra/main.tf", "# two").await;
    w.expect_status(project, &two, "gantry/network", "pending");
    let first = w.run_in("network", "unconfirmed").await;
    w.order(&format!("/runs/{first}/confirm"), json!({})).await;
    w.expect_status(project, &one, "gantry/network", "success");
    w.expect_status(project, &two, "gantry/network", "running: 1 to add");
    let second = w.run_in("network", "unconfirmed").await;
    w.order(&format!("/runs/{second}/discard"), json!({})).await;
    w.expect_status(project, &two, "gantry/network", "canceled: Discarded by");
    let states: Vec<_> = w.gitlab.deployments(project).into_iter().map(|d| d.status).collect();
    assert_eq!(states, ["success"], "what waits, and is discarded, was never deployed");
    w
});

story!(only_the_latest_queued_run_goes_where_that_is_asked_for, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", options(json!({"tracked_queue": "latest"}))).await;
    w.push(project, "main", "infra/main.tf", "# one").await;
    let two = w.push(project, "main", "infra/main.tf", "# two").await;
    let three = w.push(project, "main", "infra/main.tf", "# three").await;
    w.expect_status(
        project,
        &two,
        "gantry/network",
        &format!("canceled: Superseded by {}", &three[..8]),
    );
    w.expect_status(project, &three, "gantry/network", "pending");
    w
});

story!(catching_up_makes_way_for_the_newest, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    let one = w.push(project, "main", "infra/main.tf", "# one").await;
    let two = w.push(project, "main", "infra/main.tf", "# two").await;
    let three = w.push(project, "main", "infra/main.tf", "# three").await;
    w.order("/stacks/network/catch-up", json!({})).await;
    w.expect_status(project, &one, "gantry/network", "canceled: Superseded by");
    w.expect_status(project, &two, "gantry/network", "canceled: Superseded by");
    w.expect_status(project, &three, "gantry/network", "running: 1 to add");
    w
});

story!(autodeploy_applies_without_asking, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", options(json!({"autodeploy": true}))).await;
    let commit = w.push(project, "main", "infra/main.tf", "# one").await;
    w.expect_status(project, &commit, "gantry/network", "success: Applied");
    assert_eq!(w.run_lines("network").await, [format!("tracked finished {}", &commit[..8])]);
    w
});

story!(a_plan_without_changes_ends_well_by_itself, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    w.plans("network", Planned::Clean);
    let commit = w.push(project, "main", "infra/main.tf", "# one").await;
    w.expect_status(project, &commit, "gantry/network", "success: No changes");
    assert_eq!(w.gitlab.deployments(project)[0].status, "success");
    w
});

story!(going_back_to_an_applied_commit_runs_it_again, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", options(json!({"autodeploy": true}))).await;
    let one = w.push(project, "main", "infra/main.tf", "# one").await;
    w.push(project, "main", "infra/main.tf", "# two").await;
    w.dev.set_branch(project, "main", &one).unwrap();
    w.catch_up().await;
    let lines = w.run_lines("network").await;
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(lines[0], format!("tracked finished {}", &one[..8]));
    w
});

story!(a_failed_plan_says_why, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    w.plans("network", Planned::Fails("Unsupported argument".to_owned()));
    let commit = w.push(project, "main", "infra/main.tf", "# broken").await;
    w.expect_status(
        project,
        &commit,
        "gantry/network",
        "failed: Plan failed: Unsupported argument",
    );
    w.expect_status(project, &commit, "gantry", "failed");
    w.plans("network", Planned::Adds(2));
    let fixed = w.push(project, "main", "infra/main.tf", "# fixed").await;
    w.expect_status(project, &fixed, "gantry/network", "running: 2 to add");
    w
});

#[tokio::test]
async fn a_stack_has_time_limits_of_its_own() {
    run_test_in(&[Mode::default()], |mut w| async move {
        let minutes = |count: u64| Duration::from_secs(count * 60);
        let project = w.plain_project("acme/network");
        // A process that ends delays what it was at by two minutes: each step is further from its limit.
        let fields = json!({ "timeouts": { "plan": "10m", "unconfirmed": "2h" } });
        w.stack(project, "network", "infra", StackOptions { fields }).await;
        w.hold("network");
        let slow = w.push(project, "main", "infra/main.tf", "# slow").await;
        w.pass(minutes(6)).await;
        assert_eq!(w.run_lines("network").await, [format!("tracked planning {}", &slow[..8])]);
        w.pass(minutes(6)).await;
        let run = w.run_in("network", "stopped").await;
        let (_, run) = w.api(Method::GET, &format!("/runs/{run}"), None).await;
        assert_eq!(run["stop_asked"], "the time limit of 10 minutes");
        w.release("network");
        let waits = w.push(project, "main", "infra/main.tf", "# waits").await;
        w.pass(minutes(110)).await;
        w.expect_status(project, &waits, "gantry/network", "running: 1 to add");
        // Raised while it waits, the limit counts for it too.
        let longer = json!({ "timeouts": { "unconfirmed": "3h" } });
        let (status, said) = w.api(Method::PUT, "/stacks/network", Some(longer)).await;
        assert!(status.is_success(), "{said}");
        w.pass(minutes(60)).await;
        w.expect_status(project, &waits, "gantry/network", "running: 1 to add");
        w.pass(minutes(15)).await;
        let ending = "canceled: Discarded because nobody confirmed it within 3 hours";
        w.expect_status(project, &waits, "gantry/network", ending);
        w
    })
    .await;
}

#[tokio::test]
async fn a_newer_run_never_goes_before_one_that_queues() {
    let shuffled = |seed| Mode { twice_and_shuffled: Some(seed), ..Mode::PLAIN };
    run_test_in(&[1, 2, 3, 4, 5, 6].map(shuffled), |mut w| async move {
        let project = w.plain_project("acme/network");
        w.stack(project, "network", "infra", StackOptions::default()).await;
        w.push(project, "main", "infra/main.tf", "# one").await;
        let two = w.push(project, "main", "infra/main.tf", "# two").await;
        // The end of the first and the third come at the same moment.
        let first = w.run_in("network", "unconfirmed").await;
        w.api(Method::POST, &format!("/runs/{first}/discard"), Some(json!({}))).await;
        let three = w.push(project, "main", "infra/main.tf", "# three").await;
        // A process that ends before it has itself called again leaves that to the sweep.
        w.pass(Duration::from_secs(180)).await;
        w.expect_status(project, &two, "gantry/network", "running: 1 to add");
        w.expect_status(project, &three, "gantry/network", "pending");
        w
    })
    .await;
}

#[tokio::test]
async fn a_deployment_is_ended_however_many_previews_came_since() {
    run_test_in(&[Mode::default()], |mut w| async move {
        let project = w.plain_project("acme/network");
        w.stack(project, "network", "infra", StackOptions::default()).await;
        w.push(project, "main", "infra/main.tf", "# one").await;
        for i in 0..21 {
            w.push(project, "change", "infra/main.tf", &format!("# {i}")).await;
        }
        let run = w.run_in("network", "unconfirmed").await;
        w.order(&format!("/runs/{run}/confirm"), json!({})).await;
        let states: Vec<_> = w.gitlab.deployments(project).into_iter().map(|d| d.status).collect();
        assert_eq!(states, ["success"]);
        w
    })
    .await;
}

story!(a_tracked_branch_that_is_a_merge_requests_source_shows_both, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.dev.set_branch(project, "develop", "main").unwrap();
    w.gitlab.drop_pending();
    w.stack(project, "live", "infra", StackOptions::default()).await;
    w.stack(project, "trial", "infra", options(json!({"branch": "develop"}))).await;
    w.push(project, "develop", "infra/main.tf", "# one").await;
    let iid = w.open(project, "develop").await;
    let commit = w.push(project, "develop", "infra/main.tf", "# two").await;
    let first = w.run_in("trial", "unconfirmed").await;
    w.order(&format!("/runs/{first}/discard"), json!({})).await;
    w.expect_status(project, &commit, "gantry/live", "success: 1 to add");
    w.expect_status(project, &commit, "gantry/trial", "running: 1 to add");
    let run = w.run_in("trial", "unconfirmed").await;
    w.order(&format!("/runs/{run}/confirm"), json!({})).await;
    w.expect_status(project, &commit, "gantry/trial", "success: Applied");
    w.expect_status(project, &commit, "gantry", "success: 2 stacks");
    assert!(w.note(project, iid).contains("live"));
    w
});

story!(a_branch_that_was_left_is_begun_anew, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "old", "infra", StackOptions::default()).await;
    let (status, answer) = w.api(Method::DELETE, "/stacks/old", Some(json!({}))).await;
    assert!(status.is_success(), "{answer}");
    w.settle().await;
    w.push(project, "main", "infra/main.tf", "# nobody looks").await;
    w.stack(project, "new", "infra", StackOptions::default()).await;
    w.pass(Duration::from_secs(660)).await;
    assert!(w.runs("new").await.is_empty(), "making a stack starts nothing");
    let commit = w.push(project, "main", "infra/main.tf", "# two").await;
    assert_eq!(w.run_lines("new").await, [format!("tracked unconfirmed {}", &commit[..8])]);
    w
});

story!(a_restart_in_the_middle_of_everything_changes_nothing, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    w.dev.push(project, "topic", "infra/main.tf", "# topic").unwrap();
    w.hold("network");
    // GitLab has told it; nobody has listened yet.
    w.restart().await;
    w.open(project, "topic").await;
    let commit = w.push(project, "main", "infra/main.tf", "# one").await;
    w.expect_status(project, &commit, "gantry/network", "pending: Queued or planning");
    // Two runners are in the middle of their plans, and come back to another process.
    w.restart().await;
    w.release("network");
    w.settle().await;
    w.expect_status(project, &commit, "gantry/network", "running: 1 to add");
    let run = w.run_in("network", "unconfirmed").await;
    w.restart().await;
    // The apply is later than the preview.
    w.pass(Duration::from_secs(60)).await;
    w.hold("network");
    w.order(&format!("/runs/{run}/confirm"), json!({})).await;
    // In the middle of the apply.
    w.run_in("network", "applying").await;
    w.restart().await;
    w.settle().await;
    w.run_in("network", "applying").await;
    w.release("network");
    w.settle().await;
    w.expect_status(project, &commit, "gantry/network", "success: Applied");
    assert_eq!(w.runs("network").await.len(), 2);
    assert_eq!(w.executed().iter().filter(|done| *done == "network apply").count(), 1);
    w
});

#[tokio::test]
async fn all_that_wait_for_a_stack_ask_for_one_look() {
    const WAITING: usize = 12;
    run_test_in(&[Mode::PLAIN], |mut w| async move {
        let project = w.plain_project("acme/network");
        w.stack(project, "network", "infra", StackOptions::default()).await;
        for number in 0..=WAITING {
            w.push(project, "main", "infra/main.tf", &format!("# {number}")).await;
        }
        let before = w.handled("stack_due");
        w.pass(Duration::from_secs(20 * 60)).await;
        let looks = w.handled("stack_due") - before;
        assert!((1..=6).contains(&looks), "{looks} looks in 20 minutes");
        assert_eq!(w.due_runs().await, Vec::<String>::new(), "each has its next time");
        w.order("/stacks/network/catch-up", json!({})).await;
        w.run_in("network", "unconfirmed").await;
        w
    })
    .await;
}
