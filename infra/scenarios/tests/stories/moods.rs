//! Whatever GitLab does for ten minutes, and whenever: in the end it shows what it would have shown.

use gantry_scenarios::{StackOptions, run_test_in_moods};
use serde_json::json;

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
