//! Fields of writes that GitLab refuses, and those that it leaves aside.

use gantry_fake_gitlab::MergeRequestSpec;
use serde_json::{Value, json};

use crate::support::world;

#[tokio::test]
async fn a_value_that_cannot_be_is_refused_and_a_field_that_nobody_knows_is_left_aside() {
    let w = world().await;
    let ada = w.gitlab.person("ada");
    let sha = ada.push(w.project, "topic", "b.tf", "1").unwrap();
    ada.open_merge_request(w.project, MergeRequestSpec::from("topic")).unwrap();
    let status = json!({ "state": "pending", "name": "gantry" });
    let deployment = json!({
        "environment": "prod", "sha": sha, "ref": "topic", "tag": false, "status": "running",
    });
    let hook = json!({ "url": "https://a.example", "token": "secret" });
    let writes = [
        (format!("/statuses/{sha}"), status),
        ("/merge_requests/1/notes".to_owned(), json!({ "body": "hello" })),
        ("/environments".to_owned(), json!({ "name": "staging" })),
        ("/deployments".to_owned(), deployment),
        ("/hooks".to_owned(), hook),
    ];
    let wrong: [(usize, &str, Value, &str); 16] = [
        (0, "state", json!("done"), "state does not have a valid value"),
        (0, "target_url", json!(["https://a.example"]), "target_url is invalid"),
        (0, "description", json!({ "text": "x" }), "description is invalid"),
        (0, "pipeline_id", json!("newest"), "pipeline_id is invalid"),
        (1, "body", json!(null), "body is missing"),
        (1, "body", json!(["hello"]), "body is invalid"),
        (1, "internal", json!("perhaps"), "internal is invalid"),
        (2, "name", json!({ "name": "x" }), "name is invalid"),
        (2, "tier", json!("best"), "tier does not have a valid value"),
        (2, "external_url", json!(["https://a.example"]), "external_url is invalid"),
        (3, "tag", json!("perhaps"), "tag is invalid"),
        (3, "tag", json!(["true"]), "tag is invalid"),
        (3, "status", json!("done"), "status does not have a valid value"),
        (3, "ref", json!(["topic"]), "ref is invalid"),
        (4, "token", json!(["secret"]), "token is invalid"),
        (4, "push_events", json!("perhaps"), "push_events is invalid"),
    ];
    for (write, field, value, words) in wrong {
        let (path, mut body) = writes[write].clone();
        body[field] = value;
        let refused = w.post(&w.path(&path), body.clone()).await.expect(400);
        assert_eq!(refused.body["error"], words, "{path} {body}");
    }
    for (path, mut body) in writes {
        body["nobody_knows"] = json!("this");
        w.post(&w.path(&path), body).await.expect(201);
    }
}
