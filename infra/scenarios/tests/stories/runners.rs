//! Runners that do not start: because the cloud has no room, because it will not, because somebody
//! holds them back.

use gantry_fake_gitlab::ProjectId;
use gantry_scenarios::{Mode, NotStarted, StackOptions, World, run_test_in, story};
use reqwest::Method;
use serde_json::json;
use std::time::Duration;

story!(where_the_cloud_has_no_room_runs_wait_and_are_tried_again, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    w.stack(project, "cluster", "infra", StackOptions::default()).await;
    w.cloud_refuses(Some((NotStarted::NoCapacity, "AccountLimitExceededException: 0 builds")));
    let commit = w.push(project, "wider", "infra/main.tf", "# one").await;
    w.open(project, "wider").await;
    w.expect_status(project, &commit, "gantry/network", "pending");
    let runs = [w.run_in("network", "queued").await, w.run_in("cluster", "queued").await];
    // One of them may not have been tried yet.
    let said = [waits_for(&mut w, &runs[0]).await, waits_for(&mut w, &runs[1]).await];
    let words = "AccountLimitExceededException: 0 builds. Gantry keeps trying.";
    let why = format!("The cloud has no capacity for another runner: {words}");
    assert!(said.contains(&why), "{said:?}");
    let (_, shown) = w.api(Method::GET, "/operations", None).await;
    let fewer = shown.get("fewer_runners").unwrap();
    assert_eq!(fewer["words"], "AccountLimitExceededException: 0 builds", "{shown}");

    // It is tried again now and then, and waits as long as it takes.
    w.pass(Duration::from_secs(300)).await;
    w.run_in("network", "queued").await;
    w.cloud_refuses(None);
    w.pass(Duration::from_secs(300)).await;
    w.expect_status(project, &commit, "gantry/network", "success: 1 to add");
    w.expect_status(project, &commit, "gantry/cluster", "success: 1 to add");
    assert_eq!(w.executed().len(), 2, "{:?}", w.executed());
    for run in &runs {
        assert_eq!(waits_for(&mut w, run).await, "");
    }
    let (_, shown) = w.api(Method::GET, "/operations", None).await;
    assert!(shown["fewer_runners"].is_null(), "{shown}");
    w
});

/// Why a run has no runner yet, as it says.
async fn waits_for(w: &mut World, run: &str) -> String {
    let (_, shown) = w.api(Method::GET, &format!("/runs/{run}"), None).await;
    shown["waits_for"].as_str().unwrap_or_default().to_owned()
}

story!(a_runner_that_does_not_start_is_tried_again_and_the_run_says_why, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    w.cloud_refuses(Some((NotStarted::Delayed, "no such file")));
    let commit = w.push(project, "main", "infra/main.tf", "# one").await;
    let run = w.run_in("network", "preparing").await;
    let said = "A runner could not be started: no such file. Gantry keeps trying.";
    assert_eq!(waits_for(&mut w, &run).await, said);
    w.expect_status(project, &commit, "gantry/network", "pending");
    w.cloud_refuses(None);
    w.pass(Duration::from_secs(1200)).await;
    assert_eq!(w.run_in("network", "unconfirmed").await, run);
    assert_eq!(waits_for(&mut w, &run).await, "");

    // The apply's runner is another one.
    w.cloud_refuses(Some((NotStarted::Delayed, "no such file")));
    w.order(&format!("/runs/{run}/confirm"), json!({})).await;
    w.run_in("network", "confirmed").await;
    assert_eq!(waits_for(&mut w, &run).await, said);
    w.pass(Duration::from_secs(45 * 60)).await;
    w.run_in("network", "failed").await;
    let (_, shown) = w.api(Method::GET, &format!("/runs/{run}"), None).await;
    let told = json!(["A runner could not be started: no such file"]);
    assert_eq!(shown["ending"]["errors"], told, "{shown}");
    assert_eq!(waits_for(&mut w, &run).await, "");
    w.cloud_refuses(None);
    w
});

story!(what_the_cloud_will_not_start_fails_in_its_words, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    let image = "FAILED, PROVISIONING: no such image";
    w.cloud_refuses(Some((NotStarted::Ended, image)));
    let commit = w.push(project, "main", "infra/main.tf", "# one").await;
    let text = format!("failed: The runner ended before starting the run, 3 times: {image}");
    w.expect_status(project, &commit, "gantry/network", &text);
    // The stack is free for the next one.
    w.cloud_refuses(None);
    let next = w.push(project, "main", "infra/main.tf", "# two").await;
    w.expect_status(project, &next, "gantry/network", "running: 1 to add");
    let run = w.run_in("network", "unconfirmed").await;
    w.cloud_refuses(Some((NotStarted::Refused, "AccessDeniedException: no such role")));
    w.order(&format!("/runs/{run}/confirm"), json!({})).await;
    let text = "failed: The runner could not be started: AccessDeniedException: no such role";
    w.expect_status(project, &next, "gantry/network", text);
    w
});

story!(while_runners_are_held_back_everything_is_decided_and_nothing_starts, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    let pause = |paused: bool| Some(json!({ "paused": paused }));
    let (status, _) = w.api(Method::PUT, "/operations/pause", pause(true)).await;
    assert!(status.is_success());
    let commit = w.push(project, "wider", "infra/main.tf", "# one").await;
    w.open(project, "wider").await;
    w.pass(Duration::from_secs(1200)).await;
    w.expect_status(project, &commit, "gantry/network", "pending");
    assert!(w.executed().is_empty());
    let (status, _) = w.api(Method::PUT, "/operations/pause", pause(false)).await;
    assert!(status.is_success());
    w.settle().await;
    w.expect_status(project, &commit, "gantry/network", "success: 1 to add");
    w
});

// It may have been given up, and sent again by an operator.
story!(what_is_told_late_of_a_plans_runner_is_not_said_of_the_apply, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    let commit = w.push(project, "main", "infra/main.tf", "# one").await;
    let run = w.run_in("network", "unconfirmed").await;
    let pause = |paused: bool| Some(json!({ "paused": paused }));
    let (status, _) = w.api(Method::PUT, "/operations/pause", pause(true)).await;
    assert!(status.is_success());
    w.order(&format!("/runs/{run}/confirm"), json!({})).await;
    w.pass(Duration::from_secs(1200)).await;
    w.claim_is_told_again(&run).await;
    assert_eq!(w.run_in("network", "confirmed").await, run);
    let (status, _) = w.api(Method::PUT, "/operations/pause", pause(false)).await;
    assert!(status.is_success());
    w.settle().await;
    w.expect_status(project, &commit, "gantry/network", "success: Applied");
    assert_eq!(w.executed(), ["network plan", "network apply"]);
    w
});

story!(runs_of_a_pool_wait_for_a_worker_and_take_no_room, |mut w| async move {
    let project = w.plain_project("acme/network");
    // More of them than the installation has runners.
    for number in 1..=5 {
        let fields = json!({ "pool": "office" });
        let name = format!("office-{number}");
        w.stack(project, &name, "infra", StackOptions { fields }).await;
    }
    w.stack(project, "network", "infra", StackOptions::default()).await;
    let commit = w.push(project, "wider", "infra/main.tf", "# one").await;
    w.open(project, "wider").await;
    w.expect_status(project, &commit, "gantry/network", "success: 1 to add");
    assert_eq!(w.executed(), ["network plan"]);

    // No claim is waited for: it takes as long as it takes.
    w.pass(Duration::from_secs(3 * 3600)).await;
    w.run_in("office-1", "preparing").await;
    w.worker("office").await;
    for number in 1..=5 {
        w.expect_status(project, &commit, &format!("gantry/office-{number}"), "success: 1");
    }
    w
});

/// Previews of the stacks network and cluster wait for a worker of the pool office.
async fn two_wait_for_the_office(w: &mut World) -> ProjectId {
    let project = w.plain_project("acme/network");
    for name in ["network", "cluster"] {
        let fields = json!({ "pool": "office" });
        w.stack(project, name, "infra", StackOptions { fields }).await;
    }
    w.push(project, "wider", "infra/main.tf", "# one").await;
    w.open(project, "wider").await;
    project
}

#[tokio::test]
async fn a_run_that_waits_for_a_worker_is_in_nobodys_way() {
    // The index is asked for what is due now.
    run_test_in(&[Mode::PLAIN], |mut w| async move {
        let project = two_wait_for_the_office(&mut w).await;
        assert_eq!(w.taken_slots().await, 0, "they take no place");
        w.pass(Duration::from_secs(3 * 3600)).await;
        assert_eq!(w.due_runs().await, Vec::<String>::new(), "they need nothing");
        w.worker("office").await;
        assert_eq!(w.executed().len(), 2, "{:?}", w.executed());

        // So is one that is to be applied, and the other one can be discarded.
        w.push(project, "main", "infra/main.tf", "# two").await;
        w.worker("office").await;
        let run = w.run_in("network", "unconfirmed").await;
        let other = w.run_in("cluster", "unconfirmed").await;
        w.order(&format!("/runs/{run}/confirm"), json!({})).await;
        w.order(&format!("/runs/{other}/confirm"), json!({})).await;
        w.pass(Duration::from_secs(3 * 3600)).await;
        assert_eq!((w.taken_slots().await, w.due_runs().await.len()), (0, 0));
        w.order(&format!("/runs/{other}/discard"), json!({})).await;
        w.worker("office").await;
        w.run_in("network", "finished").await;
        w.run_in("cluster", "discarded").await;
        w
    })
    .await;
}

story!(runs_that_waited_for_a_worker_in_the_version_before_are_taken, |mut w| async move {
    two_wait_for_the_office(&mut w).await;
    for (slug, taken_slots) in [("network", true), ("cluster", false)] {
        let run = w.run_in(slug, "preparing").await;
        w.waits_as_before(&run, taken_slots).await;
    }
    w.pass(Duration::from_secs(60)).await;
    assert_eq!(w.taken_slots().await, 0, "{}", w.history());
    w.worker("office").await;
    for slug in ["network", "cluster"] {
        w.run_in(slug, "finished").await;
    }
    w
});

/// Starts are held back, or let go.
async fn hold_back(w: &mut World, paused: bool) {
    let body = json!({ "paused": paused });
    let (status, said) = w.api(Method::PUT, "/operations/pause", Some(body)).await;
    assert!(status.is_success(), "{said}");
    w.settle().await;
}

/// A run's state, and how it ended.
async fn state_of(w: &mut World, run: &str) -> String {
    let (_, shown) = w.api(Method::GET, &format!("/runs/{run}"), None).await;
    let summary = shown["ending"]["summary"].as_str().unwrap_or_default();
    format!("{}: {summary}", shown["state"].as_str().unwrap_or_default())
}

story!(
    a_preview_that_waits_does_not_run_for_a_stack_that_is_gone_or_elsewhere,
    |mut w| async move {
        let project = w.plain_project("acme/network");
        w.plain_project("acme/other");
        let all = ["deleted", "moved", "another-branch", "kept"];
        for name in all {
            w.stack(project, name, "infra", StackOptions::default()).await;
        }
        hold_back(&mut w, true).await;
        w.push(project, "wider", "infra/main.tf", "# one").await;
        w.open(project, "wider").await;
        let mut runs = Vec::new();
        for name in all {
            runs.push(w.run_in(name, "queued").await);
        }
        let (status, said) = w.api(Method::DELETE, "/stacks/deleted", None).await;
        assert!(status.is_success(), "{said}");
        for (name, change) in [
            ("moved", json!({ "project": "acme/other" })),
            ("another-branch", json!({ "branch": "release" })),
        ] {
            let (status, said) = w.api(Method::PUT, &format!("/stacks/{name}"), Some(change)).await;
            assert!(status.is_success(), "{said}");
        }
        hold_back(&mut w, false).await;
        let mut ends = Vec::new();
        for run in &runs {
            ends.push(state_of(&mut w, run).await);
        }
        let moved = "canceled: The stack was moved to another project or branch";
        assert_eq!(ends, ["canceled: The stack was deleted", moved, moved, "finished: "]);
        assert_eq!(w.executed(), ["kept plan"]);
        w
    }
);

story!(nothing_that_waits_runs_once_gitlab_is_unlinked, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    w.push(project, "main", "infra/main.tf", "# one").await;
    let tracked = w.run_in("network", "unconfirmed").await;
    hold_back(&mut w, true).await;
    w.order(&format!("/runs/{tracked}/confirm"), json!({})).await;
    w.push(project, "wider", "infra/main.tf", "# two").await;
    w.open(project, "wider").await;
    let preview = w.run_in("network", "queued").await;
    let before = w.executed().len();
    w.unlink().await;
    let (status, said) =
        w.api(Method::PUT, "/operations/pause", Some(json!({ "paused": false }))).await;
    assert!(status.is_success(), "{said}");
    w.settle_until("network", "discarded").await;
    w.settle_until("network", "canceled").await;
    let why = "The stack was detached from its GitLab server";
    assert_eq!(state_of(&mut w, &tracked).await, format!("discarded: {why}"));
    assert_eq!(state_of(&mut w, &preview).await, format!("canceled: {why}"));
    assert_eq!(w.executed().len(), before, "{:?}", w.executed());
    w.link().await;
    w.pass(Duration::from_secs(120)).await;
    w
});

// Whoever gets a place before its stack is gone is refused at its claim.
story!(a_worker_gets_no_run_of_a_stack_that_is_gone, |mut w| async move {
    let project = w.plain_project("acme/network");
    let fields = json!({ "pool": "office" });
    w.stack(project, "network", "infra", StackOptions { fields }).await;
    w.push(project, "wider", "infra/main.tf", "# one").await;
    w.open(project, "wider").await;
    let run = w.run_in("network", "preparing").await;
    let (status, said) = w.api(Method::DELETE, "/stacks/network", None).await;
    assert!(status.is_success(), "{said}");
    w.worker("office").await;
    assert_eq!(state_of(&mut w, &run).await, "canceled: The stack was deleted");
    assert!(w.executed().is_empty(), "{:?}", w.executed());
    w
});

/// A tracked run and a preview, each with its runner in the middle of its phase.
async fn two_at_work(w: &mut World) {
    let project = w.plain_project("acme/network");
    for slug in ["network", "cluster"] {
        w.stack(project, slug, "infra", StackOptions::default()).await;
    }
    w.push(project, "main", "infra/main.tf", "# one").await;
    let run = w.run_in("network", "unconfirmed").await;
    let other = w.run_in("cluster", "unconfirmed").await;
    w.order(&format!("/runs/{other}/discard"), json!({})).await;
    w.hold("network");
    w.hold("cluster");
    w.order(&format!("/runs/{run}/confirm"), json!({})).await;
    w.push(project, "wider", "infra/main.tf", "# two").await;
    w.open(project, "wider").await;
    w.pass(Duration::from_secs(30)).await;
    w.run_in("network", "applying").await;
    w.run_in("cluster", "planning").await;
}

story!(a_runner_that_dies_is_missed_when_it_is_said, |mut w| async move {
    two_at_work(&mut w).await;
    for slug in ["network", "cluster"] {
        w.runners_die(slug);
    }
    w.pass(Duration::from_secs(55)).await;
    if w.is_on_time() {
        w.run_in("cluster", "planning").await;
    }
    w.pass(Duration::from_secs(10)).await;
    let run = w.run_in("cluster", "failed").await;
    assert!(state_of(&mut w, &run).await.contains("no sign of life for 60 seconds"));
    w.pass(Duration::from_secs(230)).await;
    if w.is_on_time() {
        w.run_in("network", "applying").await;
    }
    w.pass(Duration::from_secs(10)).await;
    w.run_in("network", "failed").await;
    assert_eq!(w.blocked().await, 1);
    for slug in ["network", "cluster"] {
        w.release(slug);
    }
    let looked = json!({ "reason": "looked" });
    w.order("/stacks/network/unblock", looked).await;
    w
});

story!(a_deploy_whose_result_is_unknown_says_what_comes_next_until_it_is_unblocked, |mut w| {
    async move {
        let project = w.plain_project("acme/network");
        w.stack(project, "network", "infra", StackOptions::default()).await;
        w.push(project, "wider", "infra/main.tf", "# one").await;
        let iid = w.open(project, "wider").await;
        w.dev.merge(project, iid).unwrap();
        w.catch_up().await;
        let run = w.run_in("network", "unconfirmed").await;
        w.hold("network");
        w.order(&format!("/runs/{run}/confirm"), json!({})).await;
        w.pass(Duration::from_secs(30)).await;
        w.run_in("network", "applying").await;
        w.runners_die("network");
        w.pass(Duration::from_secs(600)).await;
        w.run_in("network", "failed").await;
        let asked = "**Next:** `network` blocked its stack because the result of its apply is not";
        let note = w.note(project, iid);
        assert!(note.contains(asked) && !note.contains("choose “Plan again”"), "{note}");
        let (_, shown) = w.api(Method::GET, &format!("/runs/{run}"), None).await;
        let reason = "the runner was lost during an apply, so the result is unknown";
        assert_eq!(shown["blocks_stack"]["reason"], reason, "{shown}");

        w.release("network");
        w.order("/stacks/network/unblock", json!({ "reason": "looked" })).await;
        let note = w.note(project, iid);
        assert!(!note.contains("blocked its stack") && note.contains("choose “Plan again”"));
        let (_, shown) = w.api(Method::GET, &format!("/runs/{run}"), None).await;
        assert!(shown["blocks_stack"].is_null(), "{shown}");
        w
    }
});

story!(while_nobody_can_be_heard_nobody_is_missed, |mut w| async move {
    two_at_work(&mut w).await;
    w.runner_api_is_away(true);
    w.pass(Duration::from_secs(600)).await;
    w.run_in("network", "applying").await;
    w.run_in("cluster", "planning").await;
    // One of them has died meanwhile: it is missed from now on.
    w.runners_die("cluster");
    w.runner_api_is_away(false);
    w.pass(Duration::from_secs(50)).await;
    if w.is_on_time() {
        w.run_in("cluster", "planning").await;
    }
    w.pass(Duration::from_secs(20)).await;
    w.run_in("cluster", "failed").await;
    w.run_in("network", "applying").await;
    w.release("network");
    w.settle().await;
    w.run_in("network", "finished").await;
    w
});
