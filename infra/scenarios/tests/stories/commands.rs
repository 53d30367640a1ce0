//! What people do with runs.

use gantry_fake_gitlab::{Fault, Matcher};
use gantry_scenarios::{Mode, Planned, StackOptions, World, run_test_in, story};
use reqwest::Method;
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

story!(what_is_said_about_a_decision_is_kept_with_it, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    for (what, state) in [("discard", "discarded"), ("confirm", "finished")] {
        w.order("/stacks/network/runs", json!({})).await;
        let run = w.run_in("network", "unconfirmed").await;
        let said = format!("We {what} it <now>.");
        w.order(&format!("/runs/{run}/{what}"), json!({ "comment": said })).await;
        w.settle().await;
        assert_eq!(w.run_in("network", state).await, run);
        let (_, shown) = w.api(Method::GET, &format!("/runs/{run}"), None).await;
        let steps = shown["history"].as_array().unwrap();
        let comments: Vec<_> = steps.iter().filter_map(|step| step["comment"].as_str()).collect();
        assert_eq!(comments, [said], "{shown:#}");
        let by = steps.iter().find(|step| step["comment"].is_string()).unwrap();
        assert_eq!(by["by"], "first-admin-key", "{shown:#}");
    }
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

#[tokio::test]
async fn a_run_by_hand_is_refused_with_what_to_do_where_gitlab_rejects_the_token() {
    run_test_in(&[Mode::PLAIN], |mut w| async move {
        let project = w.plain_project("acme/network");
        w.stack(project, "network", "infra", StackOptions::default()).await;
        w.gitlab.fail_always(Matcher::any(), Fault::status(401));
        let (done, said) = w.command("/stacks/network/runs", json!({})).await;
        let expected = "GitLab rejected the token: an admin must replace it (GitLab settings)";
        assert!(!done && said.contains(expected), "{said}");
        w.gitlab.clear_faults();
        w
    })
    .await;
}

story!(a_preview_by_hand_is_of_any_branch_and_a_deploy_of_the_tracked_one, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    let commit = w.push(project, "docs", "README.md", "# Words").await;
    assert_eq!(w.runs("network").await.len(), 0, "nothing of the stack changed");
    let body = json!({ "type": "proposed", "commit": "docs" });
    w.order("/stacks/network/runs", body).await;
    assert_eq!(w.run_lines("network").await, [format!("proposed finished {}", &commit[..8])]);
    w.expect_status(project, &commit, "gantry/network", "success: 1 to add");
    let run = w.runs("network").await.remove(0);
    assert_eq!(
        (&run["git_ref"], &run["commit_title"]),
        (&json!("docs"), &json!("Change README.md"))
    );
    let body = json!({ "commit": &commit[..10] });
    let (done, said) = w.command("/stacks/network/runs", body).await;
    assert!(!done && said.contains("is not on main"), "{said}");
    w
});

story!(all_runs_are_listed_with_how_they_ended, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    w.plans("network", Planned::Fails("no".to_owned()));
    let commit = w.push(project, "main", "infra/main.tf", "# one").await;
    let listed = async |w: &mut World, query: &str| {
        let (_, list) = w.api(Method::GET, &format!("/runs?{query}"), None).await;
        list["runs"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(listed(&mut w, "state=failed").await, 1);
    assert_eq!(listed(&mut w, &format!("state=active&commit={commit}")).await, 0);
    let failed = async |w: &mut World| {
        let (_, list) = w.api(Method::GET, "/stacks?state=failed", None).await;
        list["stacks"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(failed(&mut w).await, 1);
    w.plans("network", Planned::Clean);
    w.push(project, "main", "infra/main.tf", "# two").await;
    assert_eq!(listed(&mut w, "state=failed").await, 1);
    assert_eq!(listed(&mut w, "branch=main&type=tracked&sort=oldest").await, 2);
    assert_eq!(failed(&mut w).await, 0, "a deploy that went well ends it");
    w
});
