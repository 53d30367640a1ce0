//! Environments and deployments.

use gantry_fake_gitlab::{Allowed, ProtectedEnvironment};
use serde_json::json;

use crate::support::world;

#[tokio::test]
async fn environments_have_names_addresses_and_an_end() {
    let w = world().await;
    let path = w.path("/environments");
    let url = "https://gantry.example/stacks/network";
    let body = json!({ "name": "gantry/network", "external_url": url });
    let made = w.post(&path, body.clone()).await.expect(201).body;
    let taken = w.post(&path, body).await.expect(400);
    assert_eq!(taken.body, json!({ "message": { "name": ["has already been taken"] } }));
    w.post(&path, json!({ "name": "a:b" })).await.expect(400);
    w.post(&path, json!({ "name": "x", "external_url": "javascript:x" })).await.expect(400);
    w.get(&format!("{path}?search=ga")).await.expect(400);
    let found = w.get(&format!("{path}?name=gantry%2Fnetwork")).await.expect(200);
    assert_eq!(found.body[0]["id"], made["id"]);
    let one = format!("{path}/{}", made["id"]);
    assert_eq!(w.get(&one).await.expect(200).body["name"], "gantry/network");
    w.delete(&one).await.expect(403);
    let stopped = w.post(&format!("{one}/stop"), json!({})).await.expect(200).body;
    assert_eq!(stopped["state"], "stopped");
    let other = "https://gantry.example/stacks/other";
    let changed = w.put(&one, json!({ "external_url": other })).await.expect(200).body;
    assert_eq!(changed["external_url"], other);
    w.put(&format!("{path}/1"), json!({})).await.expect(404);
    w.delete(&one).await.expect(204);
    w.get(&one).await.expect(404);
}

#[tokio::test]
async fn deployments_move_once() {
    let w = world().await;
    let sha = w.gitlab.head(w.project, "main").unwrap();
    let path = w.path("/deployments");
    let body = json!({
        "environment": "gantry/network", "sha": sha, "ref": "main", "tag": false,
        "status": "running",
    });
    let mut wrong = body.clone();
    wrong["ref"] = json!("gone");
    let refused = w.post(&path, wrong).await.expect(400);
    let text = json!({ "message": { "ref": ["The branch or tag does not exist"] } });
    assert_eq!(refused.body, text);
    assert_eq!(w.gitlab.environments(w.project).len(), 1, "made before the refusal");
    let mut wrong = body.clone();
    wrong["sha"] = json!("1".repeat(40));
    w.post(&path, wrong).await.expect(400);
    w.post(&path, json!({ "environment": "x" })).await.expect(400);
    let made = w.post(&path, body.clone()).await.expect(201).body;
    assert_eq!(made["environment"]["name"], "gantry/network");
    let one = format!("{path}/{}", made["id"]);
    assert_eq!(w.delete(&one).await.expect(400).message(), "Cannot destroy running deployment");
    w.put(&one, json!({ "status": "success" })).await.expect(200);
    w.put(&one, json!({ "status": "success" })).await.expect(400);
    w.put(&one, json!({ "status": "running" })).await.expect(400);
    let deployed = w.gitlab.deployments(w.project).remove(0);
    assert_eq!((&*deployed.environment, &*deployed.status), ("gantry/network", "success"));
    w.get(&format!("{path}?updated_after=2020-01-01")).await.expect(400);
    let ordered = format!("{path}?updated_after=2020-01-01&order_by=updated_at");
    assert_eq!(w.get(&ordered).await.expect(200).body.as_array().unwrap().len(), 1);
    let environment = w.path(&format!("/environments/{}", made["environment"]["id"]));
    let current = async || w.get(&environment).await.body["last_deployment"]["id"].clone();
    assert_eq!(current().await, made["id"]);
    let refused = w.delete(&one).await.expect(400);
    assert_eq!(refused.message(), "Deployment currently deployed to environment");
    let newer = w.post(&path, body).await.expect(201).body;
    w.put(&format!("{path}/{}", newer["id"]), json!({ "status": "success" })).await.expect(200);
    assert_eq!(current().await, newer["id"]);
    w.delete(&one).await.expect(204);
}

#[tokio::test]
async fn protected_environments_refuse() {
    let w = world().await;
    let ada = w.gitlab.create_user("ada");
    w.gitlab.configure(w.project, |options| {
        let rule = ProtectedEnvironment::new("gantry/network", vec![Allowed::User(ada)]);
        options.protected_environments.push(rule);
    });
    let sha = w.gitlab.head(w.project, "main").unwrap();
    let body = json!({
        "environment": "gantry/network", "sha": sha, "ref": "main", "tag": false,
        "status": "running",
    });
    w.post(&w.path("/deployments"), body).await.expect(403);
    let rules = w.get(&w.path("/protected_environments")).await.expect(200);
    assert_eq!(rules.body[0]["name"], "gantry/network");
}
