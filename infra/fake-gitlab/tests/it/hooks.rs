//! Hooks: the API, headers and signatures, limits, disabling.

use gantry_fake_gitlab::{Config, DeliveryMode, MergeRequestSpec, ProjectOptions};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::receiver::Receiver;
use crate::support::{START, World, world, world_with};

const SIGNING: &str = "whsec_dGVzdHRlc3R0ZXN0dGVzdHRlc3R0ZXN0dGVzdHRlc3Q=";

async fn hook(w: &World, url: &str, more: Value) -> Value {
    let mut body = json!({ "url": url });
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    w.post(&w.path("/hooks"), body).await.expect(201).body
}

#[tokio::test]
async fn secrets_are_write_only() {
    let w = world().await;
    let made =
        hook(&w, "https://a.example/", json!({ "token": "s3", "signing_token": SIGNING })).await;
    assert_eq!(made["push_events"], true);
    assert_eq!(made["note_events"], false);
    assert_eq!(made["token_present"], true);
    assert_eq!(made["signing_token_present"], true);
    assert!(made["token"].is_null() && made["signing_token"].is_null());
    let path = w.path(&format!("/hooks/{}", made["id"]));
    w.put(&path, json!({ "push_events": false })).await.expect(400);
    let same = json!({ "url": "https://a.example/", "note_events": true });
    let same = w.put(&path, same).await.expect(200).body;
    assert_eq!(same["token_present"], true);
    assert_eq!(same["note_events"], true);
    let moved = w.put(&path, json!({ "url": "https://b.example/" })).await.expect(200).body;
    assert_eq!(moved["token_present"], false);
    w.delete(&path).await.expect(204);
    w.delete(&path).await.expect(404);
}

#[tokio::test]
async fn bad_hooks_are_refused() {
    let w =
        world_with(|config| config.limits.hooks_per_project = 1, ProjectOptions::default()).await;
    let path = w.path("/hooks");
    w.post(&path, json!({})).await.expect(400);
    w.post(&path, json!({ "url": "ftp://a" })).await.expect(422);
    w.post(&path, json!({ "url": "https://a.example/", "signing_token": "whsec_x" }))
        .await
        .expect(422);
    w.post(&path, json!({ "url": "https://a.example/" })).await.expect(201);
    w.post(&path, json!({ "url": "https://b.example/" })).await.expect(422);
    w.gitlab.set_member(w.project, w.bot, 30);
    w.get(&path).await.expect(403);
}

#[tokio::test]
async fn old_servers_ignore_signing_tokens() {
    let old = |config: &mut Config| config.version = "18.11.2-ee".parse().unwrap();
    let w = world_with(old, ProjectOptions::default()).await;
    let receiver = Receiver::start().await;
    let made = hook(&w, &receiver.url, json!({ "signing_token": SIGNING })).await;
    assert!(made["signing_token_present"].is_null());
    w.gitlab.person("ada").push(w.project, "x", "a", "1").unwrap();
    w.gitlab.deliver_pending().await;
    let got = &receiver.take_all()[0];
    assert!(got.header("webhook-id").is_none() && got.header("webhook-signature").is_none());
    assert!(got.header("idempotency-key").is_some());
    assert_eq!(got.header("user-agent"), Some("GitLab/18.11.2-ee"));
}

#[tokio::test]
async fn deliveries_are_signed_and_resends_keep_their_id() {
    let w = world().await;
    let receiver = Receiver::start().await;
    hook(&w, &receiver.url, json!({ "token": "s3", "signing_token": SIGNING })).await;
    w.gitlab.person("ada").push(w.project, "x", "a", "1").unwrap();
    let delivery = w.gitlab.take_pending().remove(0);
    assert!(w.gitlab.deliver(delivery.clone()).await.is_success());
    w.advance(SignedDuration::from_secs(7));
    w.gitlab.deliver(delivery).await;
    let got = receiver.take_all();
    let stamps: Vec<_> = got.iter().map(|one| one.header("webhook-timestamp").unwrap()).collect();
    assert_eq!(stamps, [START.to_string(), (START + 7).to_string()]);
    assert_eq!(got[0].header("webhook-id"), got[1].header("webhook-id"));
    assert_eq!(got[0].header("webhook-id"), got[0].header("idempotency-key"));
    assert_ne!(got[0].header("webhook-signature"), got[1].header("webhook-signature"));
    assert_eq!(got[0].header("x-gitlab-event"), Some("Push Hook"));
    assert_eq!(got[0].header("x-gitlab-token"), Some("s3"));
    assert_eq!(got[0].header("x-gitlab-instance"), Some(w.gitlab.base_url()));
    assert_eq!(got[0].json()["project"]["id"], w.project.0);
}

#[tokio::test]
async fn a_template_of_ones_own_is_filled_in() {
    let w = world().await;
    let receiver = Receiver::start().await;
    let template = r#"{ "what": "{{object_kind}} to {{project.path_with_namespace}}",
        "project": {{project}}, "id": {{project.id}}, "none": {{nothing.there}} }"#;
    let fields = json!({ "custom_webhook_template": template, "signing_token": SIGNING });
    let made = hook(&w, &receiver.url, fields).await;
    let ada = w.gitlab.person("ada");
    ada.push(w.project, "x", "a", "1").unwrap();
    w.gitlab.deliver_pending().await;
    let got = receiver.take_all().remove(0);
    let body = got.json();
    assert_eq!(body["what"], "push to acme/network");
    assert_eq!(body["project"]["path_with_namespace"], "acme/network");
    assert_eq!((&body["id"], &body["none"]), (&json!(w.project.0), &Value::Null));
    assert!(got.header("webhook-signature").is_some());

    // One that gives no JSON sends nothing, and counts as a failure.
    let path = w.path(&format!("/hooks/{}", made["id"]));
    for (template, why) in [
        (r#"{ "kind": {{object_kind}} }"#, "expected value"),
        (r#"{ "first": "{{object_kind.0}}" }"#, "array value, which is not supported"),
    ] {
        let fields = json!({ "url": receiver.url, "custom_webhook_template": template });
        w.put(&path, fields).await.expect(200);
        ada.push(w.project, "x", "a", why).unwrap();
        let result = w.gitlab.deliver_pending().await.remove(0);
        let error = result.error.unwrap();
        assert!(error.starts_with("Error while parsing rendered custom webhook template: "));
        assert!(error.contains(why), "{error}");
    }
    assert!(receiver.take_all().is_empty());
    let log = w.get(&format!("{path}/events")).await.expect(200).body;
    assert_eq!(log[0]["response_status"], "internal error");
}

#[tokio::test]
async fn failures_disable_a_hook_and_a_success_enables_it() {
    let w = world().await;
    let receiver = Receiver::start().await;
    hook(&w, &receiver.url, json!({})).await;
    receiver.answer(500);
    let ada = w.gitlab.person("ada");
    for number in 0..5 {
        ada.push(w.project, "x", "a", &number.to_string()).unwrap();
    }
    let results = w.gitlab.deliver_pending().await;
    assert_eq!(receiver.take_all().len(), 4, "the fifth is not sent");
    assert_eq!(results[4].error.as_deref(), Some("the hook is disabled"));
    let health = async || w.get(&w.path("/hooks")).await.body[0]["alert_status"].clone();
    assert_eq!(health().await, "temporarily_disabled");
    w.advance(SignedDuration::from_secs(61));
    assert_eq!(health().await, "executable");
    ada.push(w.project, "x", "a", "again").unwrap();
    w.gitlab.deliver_pending().await;
    w.advance(SignedDuration::from_secs(61));
    assert_eq!(health().await, "temporarily_disabled", "now 2 minutes");
    w.advance(SignedDuration::from_secs(60));
    receiver.answer(204);
    ada.push(w.project, "x", "a", "once more").unwrap();
    w.gitlab.deliver_pending().await;
    receiver.answer(500);
    for number in 0..3 {
        ada.push(w.project, "x", "a", &number.to_string()).unwrap();
    }
    w.gitlab.deliver_pending().await;
    assert_eq!(health().await, "executable", "counted anew");
}

#[tokio::test]
async fn a_test_goes_to_a_disabled_hook_and_enables_it() {
    let w = world().await;
    let receiver = Receiver::start().await;
    let made = hook(&w, &receiver.url, json!({})).await;
    receiver.answer(500);
    let ada = w.gitlab.person("ada");
    for number in 0..4 {
        ada.push(w.project, "x", "a", &number.to_string()).unwrap();
    }
    w.gitlab.deliver_pending().await;
    let path = w.path(&format!("/hooks/{}", made["id"]));
    assert_eq!(w.get(&path).await.body["alert_status"], "temporarily_disabled");
    let test = format!("{path}/test/push_events");
    let failed = w.post(&test, json!({})).await.expect(422);
    assert_eq!(failed.message(), "Hook executed successfully but returned HTTP 500");
    receiver.answer(204);
    receiver.take_all();
    w.post(&test, json!({})).await.expect(201);
    let body = receiver.take_all().remove(0).json();
    assert_eq!(body["after"], json!(w.gitlab.head(w.project, "main")));
    assert_eq!(w.get(&path).await.body["alert_status"], "executable");
    w.post(&format!("{path}/test/merge_requests_events"), json!({})).await.expect(422);
    w.post(&format!("{path}/test/job_events"), json!({})).await.expect(400);
}

#[tokio::test]
async fn the_log_can_be_read_and_resent() {
    let w = world().await;
    let receiver = Receiver::start().await;
    let made = hook(&w, &receiver.url, json!({ "token": "s3" })).await;
    receiver.answer(503);
    w.gitlab.person("ada").push(w.project, "x", "a", "1").unwrap();
    w.gitlab.deliver_pending().await;
    let path = w.path(&format!("/hooks/{}/events", made["id"]));
    let failed = w.get(&format!("{path}?status=server_failure")).await.expect(200);
    assert!(!failed.text.contains("s3\""), "secrets are not shown");
    assert_eq!(failed.body.as_array().unwrap().len(), 1);
    assert_eq!(failed.body[0]["trigger"], "push_events");
    receiver.answer(200);
    let resend = format!("{path}/{}/resend", failed.body[0]["id"]);
    w.post(&resend, json!({})).await.expect(201);
    let got = receiver.take_all();
    assert_eq!(got.len(), 2);
    assert_eq!(got[0].header("webhook-id"), got[1].header("webhook-id"));
    for _ in 0..4 {
        w.post(&resend, json!({})).await.expect(201);
    }
    w.post(&resend, json!({})).await.expect(429);
}

#[tokio::test]
async fn forty_failures_disable_for_good() {
    let w = world().await;
    let receiver = Receiver::start().await;
    hook(&w, &receiver.url, json!({})).await;
    receiver.answer(401);
    w.gitlab.person("ada").push(w.project, "x", "a", "1").unwrap();
    let delivery = w.gitlab.take_pending().remove(0);
    for _ in 0..40 {
        w.gitlab.deliver(delivery.clone()).await;
        w.advance(SignedDuration::from_hours(25));
    }
    assert_eq!(w.get(&w.path("/hooks")).await.body[0]["alert_status"], "disabled");
}

#[tokio::test]
async fn branch_filters_are_for_pushes_only() {
    let w = world().await;
    let more = json!({ "push_events_branch_filter": "release/*", "merge_requests_events": true });
    hook(&w, "http://127.0.0.1:1/", more).await;
    let tags = json!({ "push_events": false, "tag_push_events": true });
    hook(&w, "http://a.example", tags).await;
    assert_eq!(w.gitlab.hooks(w.project)[1].events, ["tag_push_events"]);
    let ada = w.gitlab.person("ada");
    ada.push(w.project, "x", "a", "1").unwrap();
    assert_eq!(w.gitlab.drop_pending(), 0);
    ada.open_merge_request(w.project, MergeRequestSpec::from("x")).unwrap();
    ada.push(w.project, "release/1", "a", "1").unwrap();
    assert_eq!(w.gitlab.drop_pending(), 2);
}

#[tokio::test]
async fn immediate_hooks_come_by_themselves() {
    let now = |config: &mut Config| config.delivery = DeliveryMode::Immediate;
    let w = world_with(now, ProjectOptions::default()).await;
    let receiver = Receiver::start().await;
    hook(&w, &receiver.url, json!({})).await;
    w.gitlab.person("ada").push(w.project, "x", "a", "1").unwrap();
    for _ in 0..200 {
        if let Some(got) = receiver.take_all().first() {
            assert_eq!(got.json()["ref"], "refs/heads/x");
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("no hook came");
}
