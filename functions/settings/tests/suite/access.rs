//! Keys, roles, and the list of what was done.

use crate::support::{World, world};
use gantry_queue::{Message, QueueName};
use gantry_secrets::SecretName;
use gantry_settings::ensure_first_admin_key;
use secrecy::ExposeSecret as _;
use serde_json::json;

#[tokio::test]
async fn without_a_key_there_is_nothing() {
    let w = world().await;
    for key in [None, Some("wrong"), Some("")] {
        let got = w.ask("GET", "/api/v1/stacks", key, &[], "").await.expect(401);
        assert_eq!(got.headers["content-type"], "application/problem+json");
        assert_eq!(got.headers["www-authenticate"], "Bearer");
        w.ask("DELETE", "/api/v1/integration", key, &[], "").await.expect(401);
    }
    assert!(w.activities().await.is_empty());
}

#[tokio::test]
async fn a_role_may_what_its_name_says() {
    let w = world().await;
    let (read, deploy) = (w.key("read").await, w.key("deploy").await);
    let ask = async |key: &str, method: &str, path: &str| {
        w.ask(method, path, Some(key), &[], "").await.status
    };
    assert_eq!(ask(&read, "GET", "/api/v1/stacks").await, 200);
    assert_eq!(ask(&read, "POST", "/api/v1/runs/x/confirm").await, 403);
    assert_eq!(ask(&deploy, "POST", "/api/v1/runs/x/confirm").await, 404);
    assert_eq!(ask(&deploy, "GET", "/api/v1/keys").await, 403);
    assert_eq!(ask(&deploy, "POST", "/api/v1/stacks").await, 403);
    let done = w.activities().await;
    let line = |what: &str, outcome: &str| {
        assert!(done.iter().any(|d| d.1 == what && d.2.contains(outcome)), "{what}: {done:?}");
    };
    line("confirm the run x", "The key \"read\" has the role read, this needs deploy");
    line("confirm the run x", "There is no run \"x\"");
    line("make a stack", "this needs admin");
    line("make a key", "made the key \"deploy\"");
}

#[tokio::test]
async fn a_key_dies_when_it_is_deleted() {
    let w = world().await;
    let read = w.key("read").await;
    let list = w.get("/api/v1/keys").await.expect(200).body;
    let keys = list["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 2);
    assert!(!list.to_string().contains(&read));
    let id = keys.iter().find(|key| key["name"] == "read").unwrap()["id"].as_str().unwrap();
    w.send("DELETE", &format!("/api/v1/keys/{id}"), json!({})).await.expect(204);
    w.ask("GET", "/api/v1/stacks", Some(&read), &[], "").await.expect(401);
    w.send("DELETE", "/api/v1/keys/read", json!({})).await.expect(404);
    w.send("DELETE", "/api/v1/keys/first-admin-key", json!({})).await.expect(409);
    w.send("DELETE", &format!("/api/v1/keys/{read}"), json!({})).await.expect(404);
    let done = w.activities().await;
    assert!(done.iter().any(|done| done.1 == "delete the key (a key)"), "{done:?}");
}

#[tokio::test]
async fn the_first_key_does_not_come_back() {
    let w = world().await;
    let other = w.key("admin").await;
    let got = w.ask("DELETE", "/api/v1/keys/first-admin-key", Some(&other), &[], "").await;
    got.expect(204);
    ensure_first_admin_key(&w.store, w.secrets.as_ref(), &w.clock).await.unwrap();
    w.get("/api/v1/stacks").await.expect(401);
    let new = w.secrets.get(SecretName::AdminKey).await.unwrap().unwrap();
    w.ask("GET", "/api/v1/keys", Some(new.expose_secret()), &[], "").await.expect(200);
}

#[tokio::test]
async fn a_new_key_needs_a_name_of_its_own_and_a_role() {
    let w = world().await;
    let got = w.post("/api/v1/keys", json!({ "name": "first-admin-key", "role": "boss" })).await;
    let got = got.expect(422);
    assert_eq!(got.error("name"), "is the name of another key");
    assert!(got.error("role").contains("one of `worker`, `read`, `deploy`, `admin`"));
}

#[tokio::test]
async fn what_is_no_request_is_refused_readably() {
    let w: World = world().await;
    let got = w.get("/api/v1/nothing").await.expect(404);
    assert_eq!(got.headers["content-type"], "application/problem+json");
    w.send("PATCH", "/api/v1/stacks", json!({})).await.expect(405);
    let admin = Some(w.admin.as_str());
    let got = w.ask("POST", "/api/v1/keys", admin, &[], "{\n  \"name\" 3}").await.expect(400);
    assert!(got.detail().contains("line 2 column 10"), "{}", got.detail());
    let large = format!("{{\"name\": \"{}\"}}", "x".repeat(400 * 1024));
    let got = w.ask("POST", "/api/v1/keys", admin, &[], large).await;
    assert_eq!(got.status, 413);
    w.get("/api/v1/stacks?limit=many").await.expect(400);
    w.get("/api/v1/activity?before=%00").await.expect(422);
}

#[tokio::test]
async fn operators_hold_runners_back_and_send_messages_again() {
    let w = world().await;
    let deploy = w.key("deploy").await;
    w.ask("GET", "/api/v1/operations", Some(&deploy), &[], "").await.expect(403);
    w.send("PUT", "/api/v1/operations/pause", json!({})).await.expect(422);
    w.send("PUT", "/api/v1/operations/pause", json!({"paused": true})).await.expect(200);
    let shown = w.get("/api/v1/operations").await.expect(200).body;
    assert_eq!(shown["pause"]["by"], "first-admin-key");
    assert!(w.sent().is_empty());
    w.send("PUT", "/api/v1/operations/pause", json!({"paused": false})).await.expect(200);
    assert!(matches!(w.sent()[..], [Message::Dispatch { .. }]));
    assert_eq!(w.get("/api/v1/operations").await.expect(200).body["pause"], json!(null));

    for queue in [QueueName::Events, QueueName::Events, QueueName::Later] {
        w.give_up(queue, "the table was gone");
    }
    let shown = w.get("/api/v1/operations").await.expect(200).body;
    assert_eq!(shown["dead_letters"][0]["queue"], "events");
    assert_eq!(shown["dead_letters"][0]["messages"][1]["error"], "the table was gone");
    let redrive = "/api/v1/operations/redrive";
    w.post(redrive, json!({"queue": "no-such"})).await.expect(422);
    let sent = w.post(redrive, json!({"queue": "events"})).await.expect(200).body;
    assert_eq!(sent, json!({"events": 2}));
    let sent = w.post(redrive, json!({})).await.expect(200).body;
    assert_eq!((&sent["events"], &sent["later"]), (&json!(0), &json!(1)));
}
