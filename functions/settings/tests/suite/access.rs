//! Keys, roles, and the list of what was done.

use crate::{
    description::routes,
    support::{World, connected, world},
};
use gantry_queue::{Message, QueueName, SlotsMessage};
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
    let denied = "Your key \"read\" has the role read; this requires deploy";
    line("confirm the run (not found)", denied);
    line("confirm the run (not found)", "There is no such run");
    line("create a stack", "this requires admin");
    line("create a key", "created the key \"deploy\"");
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
}

/// Whoever sends the key itself has shown it to somebody: it must not go on working.
#[tokio::test]
async fn a_key_is_deleted_by_itself_and_written_down_nowhere() {
    let w = world().await;
    let read = w.key("read").await;
    w.send("DELETE", &format!("/api/v1/keys/{read}"), json!({})).await.expect(204);
    w.ask("GET", "/api/v1/stacks", Some(&read), &[], "").await.expect(401);
    let done = w.activities().await;
    let deleted = ("delete a key".to_owned(), "deleted the key \"read\"".to_owned());
    assert!(done.iter().any(|done| (&done.1, &done.2) == (&deleted.0, &deleted.1)), "{done:?}");
    assert!(!format!("{done:?}").contains(&read), "{done:?}");
}

/// Every route, with a secret in place of each part of its path, as a field that is none, and as the
/// value of every field: neither what is refused nor what is written down has it.
#[tokio::test]
async fn what_is_put_into_the_wrong_place_is_not_repeated() {
    const SECRET: &str = "glpat-5ecret5ecret5ecret";
    let w = connected().await;
    w.stack().await;
    let body = json!({
        SECRET: SECRET, "type": SECRET, "commit": SECRET, "version": SECRET, "role": SECRET,
        "slug": SECRET, "provider": SECRET, "tool": SECRET, "on_tag": SECRET, "pool": SECRET,
        "queue": SECRET, "paused": SECRET, "force": SECRET, "api_host": SECRET, "branch": "a..b",
        "variables": [{ "name": format!("1{SECRET}"), "value": 3, SECRET: SECRET }],
    });
    for (method, path) in routes() {
        let path = path
            .split('/')
            .map(|part| if part.starts_with('{') { SECRET } else { part })
            .collect::<Vec<_>>()
            .join("/");
        let got = w.send(&method, &path, body.clone()).await;
        if got.status < 400 {
            // Who asks for an event of that name learns that nothing was decided for it.
            continue;
        }
        let mut said = got.body.clone();
        if let Some(errors) = said.get_mut("errors").and_then(|errors| errors.as_object_mut()) {
            // The caller learns which of its fields is none.
            errors.retain(|field, _| !field.contains(SECRET));
        }
        if let Some(fields) = said.as_object_mut().filter(|_| got.status == 422) {
            fields.remove("detail");
        }
        assert!(!said.to_string().contains(SECRET), "{method} {path}: {said}");
    }
    for path in ["/api/v1/stacks", "/api/v1/events", "/api/v1/stacks/network/runs"] {
        let got = w.get(&format!("{path}?limit={SECRET}")).await.expect(422);
        assert_eq!(got.error("limit"), "must be a positive integer");
        assert!(!got.text.contains(SECRET), "{path}: {}", got.text);
    }
    let done = w.activities().await;
    assert!(done.len() > 20, "{done:?}");
    assert!(!format!("{done:?}").contains(SECRET), "{done:?}");
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
    assert_eq!(got.error("name"), "Another key already has this name");
    assert!(got.error("role").contains("one of worker, read, deploy, admin"));
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
    w.get("/api/v1/stacks?limit=many").await.expect(422);
    w.get("/api/v1/activity?after=%00").await.expect(422);
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
    let held = json!({
        "queue": "events", "waiting": 1, "in_flight": 0, "failing": null, "oldest": null,
    });
    assert_eq!(w.get("/api/v1/operations").await.expect(200).body["queues"][0], held);
    assert!(matches!(w.sent()[..], [Message::Slots(SlotsMessage::Dispatch { .. })]));
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
