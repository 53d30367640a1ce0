//! People change something, and the process ends over it. They ask again, and in the end it is as if
//! nothing had been.

use gantry_scenarios::{Mode, StackOptions, World, run_test_in};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

/// Changes something, and lets everything happen that follows.
async fn change(w: &mut World, method: Method, path: &str, body: Value) {
    let (status, said) = w.api(method, path, Some(body)).await;
    assert!(status.is_success(), "{path}: {said}\n{}", w.history());
    w.settle().await;
}

#[tokio::test]
async fn what_people_change_is_whole_though_the_process_ends_over_it() {
    run_test_in(&[Mode::PLAIN], |mut w| async move {
        w.watch_people();
        w.link().await;
        let project = w.plain_project("acme/network");
        w.stack(project, "network", "infra", StackOptions::default()).await;
        let variable =
            json!({ "variables": [{ "name": "TF_VAR_a", "value": "x", "runs": "all" }] });
        change(&mut w, Method::PUT, "/stacks/network", json!({ "labels": ["core"] })).await;
        change(&mut w, Method::PUT, "/stacks/network", variable).await;
        change(&mut w, Method::PUT, "/operations/pause", json!({ "paused": true })).await;
        w.push(project, "change", "infra/main.tf", "# one").await;
        let iid = w.open(project, "change").await;
        change(&mut w, Method::PUT, "/operations/pause", json!({ "paused": false })).await;
        assert!(w.note(project, iid).contains("1 to add"));
        // What is applied next is applied later than this plan, however long it took.
        w.pass(Duration::from_secs(60)).await;

        w.push(project, "main", "infra/main.tf", "# main").await;
        let run = w.run_in("network", "unconfirmed").await;
        w.order(&format!("/runs/{run}/confirm"), json!({})).await;
        w.push(project, "main", "infra/main.tf", "# two").await;
        let run = w.run_in("network", "unconfirmed").await;
        w.order(&format!("/runs/{run}/discard"), json!({})).await;

        // Another one goes, and takes with it what it shows at GitLab.
        w.stack(project, "gone", "infra", StackOptions::default()).await;
        w.push(project, "main", "infra/main.tf", "# three").await;
        let run = w.run_in("gone", "unconfirmed").await;
        w.order(&format!("/runs/{run}/confirm"), json!({})).await;
        change(&mut w, Method::DELETE, "/stacks/gone", json!({})).await;
        w.unlink().await;
        w.link().await;
        w.pass(Duration::from_secs(60)).await;
        w
    })
    .await;
}
