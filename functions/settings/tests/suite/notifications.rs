//! Who is notified: made and changed by admins, with addresses and secrets that nobody sees again.

use crate::{
    browser::{Browser, form_of, hidden},
    support::{START, World, world},
};
use gantry_domain::notification::Occasion;
use gantry_queue::{FeedbackMessage, LaterMessage, Message};
use gantry_secrets::{new_target_secret, sign_webhook};
use gantry_setup::Clock;
use gantry_store::{
    keys,
    notifications::{
        Attempt, Delivery, DeliveryState, NotificationTarget, SendAgain, TargetHealth,
    },
};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

const TARGETS: &str = "/api/v1/notifications";
const OPS: &str = "/api/v1/notifications/ops";
const URL: &str = "https://hooks.example.com/services/T0ken-of-ours?key=als0-ours";

/// What must be shown nowhere.
const SECRET: [&str; 2] = ["T0ken-of-ours", "als0-ours"];

async fn target(w: &World, more: Value) -> Value {
    let mut body = json!({ "name": "ops", "kind": "webhook", "url": URL });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    w.post(TARGETS, body).await.expect(201).body
}

/// What became of a message, as the publisher writes it.
async fn delivered(w: &World, about: &str, state: DeliveryState, at: Timestamp) {
    let about: Occasion = about.parse().unwrap();
    let to = "ops".parse().unwrap();
    let mut delivery = Delivery { title: format!("about {about}"), ..Delivery::new(about, at) };
    delivery.tried(Attempt { at, status: Some(503), answer: "Busy <b>now</b>".to_owned() });
    let delivery = delivery.ended(state, Some("It is over".to_owned()));
    let nudge = FeedbackMessage::Notify { to, about: delivery.about.clone(), want: 0 };
    w.put(keys::feedback_memory(&nudge.target()), &delivery).await;
    let listed = keys::delivery(&"ops".parse().unwrap(), at, &delivery.about);
    w.put(listed, &delivery).await;
}

async fn stored(w: &World) -> NotificationTarget {
    w.store.notification_target(&"ops".parse().unwrap()).await.unwrap().unwrap().value
}

#[tokio::test]
async fn a_target_is_made_changed_and_deleted_and_its_address_is_shown_nowhere() {
    let w = world().await;
    let made = target(&w, json!({ "labels": ["b", "a", "a"] })).await;
    let secret = made["secret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("whsec_"), "{made}");
    assert_eq!(made["server"], "https://hooks.example.com");
    assert_eq!(made["events"].as_array().unwrap().len(), 7, "all, where none is named");
    assert_eq!(made["labels"], json!(["a", "b"]));
    let before = stored(&w).await;

    let change = json!({ "events": ["failed"], "labels": [], "url": "http://10.0.0.7:8065/x#y" });
    let changed = w.send("PUT", OPS, change).await.expect(200).body;
    assert_eq!((&changed["secret"], &changed["events"]), (&Value::Null, &json!(["failed"])));
    assert_eq!(changed["server"], "http://10.0.0.7:8065");
    w.send("PUT", OPS, json!({})).await.expect(200);
    let after = stored(&w).await;
    assert_eq!(
        (&after.secret, after.filter.events.len()),
        (&before.secret, 1),
        "what is left out stays"
    );
    assert_ne!(after.address, before.address);

    let renewed = w.send("PUT", OPS, json!({ "new_secret": true })).await.expect(200).body;
    assert_ne!(renewed["secret"], secret);
    assert_eq!(renewed["previous_secret_until"], "2026-11-23T10:00:00Z");
    let kept = stored(&w).await;
    assert_eq!(kept.previous.unwrap().sealed, before.secret.unwrap());
    w.hand.advance(Duration::from_secs(24 * 3600));
    assert_eq!(w.get(OPS).await.expect(200).body["previous_secret_until"], Value::Null);

    let shown = [w.get(TARGETS).await.expect(200).text, w.get(OPS).await.expect(200).text];
    let said = format!("{shown:?} {:?} {kept:?}", w.activities().await, kept = stored(&w).await);
    for hidden in SECRET.iter().copied().chain([secret.as_str()]) {
        assert!(!said.contains(hidden), "{hidden}: {said}");
    }
    w.send("DELETE", OPS, json!({})).await.expect(204);
    w.send("DELETE", OPS, json!({})).await.expect(404);
    w.get(OPS).await.expect(404);
    let done: Vec<String> = w.activities().await.into_iter().map(|done| done.1).collect();
    for what in ["create a notification target", "change the notification target ops"] {
        assert!(done.iter().any(|done| done == what), "{done:?}");
    }
    assert!(done.contains(&"delete the notification target (not found)".to_owned()), "{done:?}");
}

#[tokio::test]
async fn only_admins_see_and_change_who_is_notified() {
    let w = world().await;
    target(&w, json!({})).await;
    let deploy = w.key("deploy").await;
    for (method, path) in [
        ("GET", TARGETS),
        ("POST", TARGETS),
        ("GET", OPS),
        ("PUT", OPS),
        ("DELETE", OPS),
        ("POST", "/api/v1/notifications/ops/test"),
        ("GET", "/api/v1/notifications/ops/deliveries"),
        ("POST", "/api/v1/notifications/ops/deliveries/test.a/send"),
    ] {
        w.ask(method, path, Some(&deploy), &[], "{}").await.expect(403);
    }
    assert!(w.sent().is_empty());
}

#[tokio::test]
async fn what_is_wrong_is_said_without_repeating_the_address() {
    let w = world().await;
    target(&w, json!({ "kind": "slack" })).await;
    let got = w
        .post(
            TARGETS,
            json!({
                "name": "Ops!", "kind": "pager", "url": "hooks.example.com/T0ken-of-ours",
                "events": ["failed", "als0-ours"], "labels": [""],
            }),
        )
        .await
        .expect(422);
    assert!(got.error("name").contains("1 to 40 of a-z, 0-9 and -"));
    assert!(got.error("kind").contains("one of webhook, slack, teams"), "{}", got.text);
    assert!(got.error("url").contains("begins with https:// or http://"));
    assert!(got.error("events[1]").contains("waits_for_person"), "{}", got.text);
    assert!(got.error("labels[0]").contains("1 to 64"));
    for hidden in SECRET {
        assert!(!got.text.contains(hidden), "{}", got.text);
    }
    let body = json!({ "name": "ops", "kind": "teams", "url": URL, "events": [] });
    let got = w.post(TARGETS, body).await.expect(422);
    assert_eq!(got.error("name"), "Another target already has this name");
    assert_eq!(got.error("events"), "Choose at least one.");
    let got = w.send("PUT", OPS, json!({ "new_secret": true })).await.expect(422);
    assert_eq!(got.error("new_secret"), "Only webhooks have a secret");
}

#[tokio::test]
async fn a_test_is_sent_once_for_a_request() {
    let w = world().await;
    target(&w, json!({})).await;
    let path = "/api/v1/notifications/ops/test";
    let headers = [("idempotency-key", "one")];
    let mut ids = Vec::new();
    for _ in 0..2 {
        let got = w.ask("POST", path, Some(&w.admin), &headers, "").await.expect(202);
        ids.push(got.body["id"].clone());
    }
    assert_eq!(ids[0], ids[1]);
    let sent = w.sent();
    let [Message::Feedback(first), Message::Feedback(second)] = sent.as_slice() else {
        panic!("{sent:?}")
    };
    assert_eq!((first, first.number()), (second, None));
    let target = format!("notify:ops:{}", ids[0].as_str().unwrap());
    assert_eq!(first.target(), target);
    let other = w.post(path, json!({})).await.expect(202).body;
    assert_ne!(other["id"], ids[0]);
    w.post("/api/v1/notifications/nobody/test", json!({})).await.expect(404);
}

#[tokio::test]
async fn messages_are_listed_page_by_page_and_sent_again() {
    let w = world().await;
    target(&w, json!({})).await;
    let start: Timestamp = START.parse().unwrap();
    for second in 0..3 {
        let at = start + jiff::SignedDuration::from_secs(second);
        delivered(&w, &format!("failed.r-{second}"), DeliveryState::GivenUp, at).await;
    }
    let list = "/api/v1/notifications/ops/deliveries";
    let first = w.get(&format!("{list}?limit=2")).await.expect(200).body;
    let id = |page: &Value, at: usize| page["deliveries"][at]["id"].clone();
    assert_eq!([id(&first, 0), id(&first, 1)], ["failed.r-2", "failed.r-1"]);
    let next = first["next"].as_str().unwrap();
    let last = w.get(&format!("{list}?limit=2&after={next}")).await.expect(200).body;
    assert_eq!((id(&last, 0), &last["next"]), (json!("failed.r-0"), &Value::Null));
    assert_eq!(last["deliveries"][0]["attempts"][0]["status"], 503);

    w.hand.advance(Duration::from_secs(60));
    let again = format!("{list}/failed.r-1/send");
    w.post(&again, json!({})).await.expect(202);
    let sent = w.sent();
    let [Message::Later(LaterMessage::Resend { message, .. })] = sent.as_slice() else {
        panic!("{sent:?}")
    };
    assert_eq!(message.group().unwrap(), "notify:ops:failed.r-1");
    let about = "failed.r-1".parse().unwrap();
    let asked = keys::send_again(&"ops".parse().unwrap(), &about);
    let asked = w.store.get::<SendAgain>(&asked).await.unwrap().unwrap();
    assert_eq!(asked.value.asked_at, w.clock.now());
    for missing in ["failed.r-9", "nonsense", "failed.r-1.x"] {
        w.post(&format!("{list}/{missing}/send"), json!({})).await.expect(404);
    }
    assert!(w.sent().is_empty());
}

#[tokio::test]
async fn a_target_that_is_gone_says_so_until_it_is_saved() {
    let w = world().await;
    target(&w, json!({})).await;
    let target = stored(&w).await;
    let gone = TargetHealth {
        disabled: Some("The target answered 410 Gone".to_owned()),
        failing_since: Some(target.saved_at),
        ..TargetHealth::well(&target)
    };
    w.put(keys::target_health(&"ops".parse().unwrap()), &gone).await;
    assert_eq!(w.get(OPS).await.expect(200).body["disabled"], "The target answered 410 Gone");
    let browser = Browser::sign_in(&w, &w.admin).await;
    assert!(browser.get("/notifications").await.expect(200).text.contains("Disabled"));
    w.hand.advance(Duration::from_secs(1));
    w.send("PUT", OPS, json!({})).await.expect(200);
    let view = w.get(OPS).await.expect(200).body;
    assert_eq!((&view["disabled"], &view["failing_since"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn the_pages_make_try_and_delete_a_target() {
    let w = world().await;
    let browser = Browser::sign_in(&w, &w.admin).await;
    let fields = [("name", "Ops"), ("kind", "webhook"), ("url", URL), ("events.failed", "on")];
    let refused = browser.send("/notifications", &form_of(&fields)).await.expect(422).text;
    assert!(refused.contains("1 to 40 of a-z"), "{refused}");
    assert!(refused.contains(r#"name="events.failed" checked"#), "{refused}");
    assert!(!refused.contains(r#"name="events.applied" checked"#), "{refused}");
    for hidden in SECRET {
        assert!(!refused.contains(hidden), "in clear text: {refused}");
    }
    // What was typed counts, sealed as it came back.
    let kept = hidden(&refused, "url.kept");
    let fields = [
        ("name", "ops"),
        ("kind", "webhook"),
        ("url", ""),
        ("url.kept", kept.as_str()),
        ("events.failed", "on"),
        ("labels", "production\r\n\r\neu"),
    ];
    let made = browser.send("/notifications", &form_of(&fields)).await.expect(201).text;
    assert!(made.contains("whsec_") && made.contains("shown again"), "{made}");
    let view = w.get(OPS).await.expect(200).body;
    assert_eq!(view["server"], "https://hooks.example.com");
    assert_eq!(
        (&view["events"], &view["labels"]),
        (&json!(["failed"]), &json!(["eu", "production"]))
    );

    let page = browser.get("/notifications/ops").await.expect(200).text;
    assert!(page.contains("Send a test") && !page.contains("whsec_"), "{page}");
    let got = browser.send("/notifications/ops/test", "").await.expect(303);
    assert_eq!(got.headers["location"], "../../notifications/ops?done=target-tested");
    assert_eq!(w.sent().len(), 1);

    delivered(&w, "failed.r-1", DeliveryState::Dropped, w.clock.now()).await;
    let page = browser.get("/notifications/ops").await.expect(200).text;
    for shown in ["about failed.r-1", "Not sent", "It is over.", "503", "Busy &#60;b&#62;now"] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    let fields = form_of(&[("delivery", "failed.r-1")]);
    browser.send("/notifications/ops/send", &fields).await.expect(303);
    assert_eq!(w.sent().len(), 1);

    let fields = form_of(&[("events.applied", "on"), ("url", "")]);
    browser.send("/notifications/ops", &fields).await.expect(303);
    let view = w.get(OPS).await.expect(200).body;
    assert_eq!((&view["events"], &view["labels"]), (&json!(["applied"]), &json!([])));
    let renewed = form_of(&[("events.applied", "on"), ("new_secret", "on")]);
    let shown = browser.send("/notifications/ops", &renewed).await.expect(200).text;
    assert!(shown.contains("whsec_"), "{shown}");

    let asked = browser.send("/notifications/ops/delete", "").await.expect(303);
    assert_eq!(asked.headers["location"], "delete");
    let question = browser.get("/notifications/ops/delete").await.expect(200).text;
    assert!(question.contains("Delete the notification target ops?"), "{question}");
    browser.send("/notifications/ops/delete", "sure=yes").await.expect(303);
    w.get(OPS).await.expect(404);
}

/// The block of code in a language that the documentation has.
fn documented(language: &str) -> String {
    let text = include_str!("../../../../docs/notifications.md");
    let (_, rest) = text.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

/// Whether a documented program takes a message for Gantry's.
fn takes(
    program: &str,
    file: &Path,
    secret: &str,
    id: &str,
    at: i64,
    signed: &str,
    body: &str,
) -> bool {
    let mut child = Command::new(program)
        .arg(file)
        .env("WEBHOOK_SECRET", secret)
        .env("WEBHOOK_ID", id)
        .env("WEBHOOK_TIMESTAMP", at.to_string())
        .env("WEBHOOK_SIGNATURE", signed)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("the tests need {program}: {error}"));
    // A program that refuses by the time alone need not read it.
    let _not_read = child.stdin.take().unwrap().write_all(body.as_bytes());
    child.wait().unwrap().success()
}

#[test]
fn the_documented_programs_take_what_gantry_signs_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let now = Clock::system().now();
    let (old, new) = (new_target_secret(), new_target_secret());
    let (id, body) = ("ops.failed.r-1", r#"{ "title": "Größe", "n": 1 }"#);
    let signed = sign_webhook(&[new.clone(), old.clone()], id, now, body);
    let long_ago = now - jiff::SignedDuration::from_mins(20);
    let late = sign_webhook(std::slice::from_ref(&new), id, long_ago, body);
    for (language, program) in [("python", "python3"), ("javascript", "node"), ("sh", "sh")] {
        let file = folder.path().join(format!("verify-{language}.cjs"));
        std::fs::write(&file, documented(language)).unwrap();
        let takes = |secret: &SecretString, id: &str, at: Timestamp, signed: &str, body: &str| {
            takes(program, &file, secret.expose_secret(), id, at.as_second(), signed, body)
        };
        assert!(takes(&new, id, now, &signed, body), "{language}");
        assert!(takes(&old, id, now, &signed, body), "{language}: the secret before");
        assert!(!takes(&new_target_secret(), id, now, &signed, body), "{language}: another secret");
        assert!(!takes(&new, "ops.failed.r-2", now, &signed, body), "{language}: another ID");
        assert!(
            !takes(&new, id, now, &signed, &body.replace('1', "2")),
            "{language}: another body"
        );
        assert!(!takes(&new, id, now, "", body), "{language}: no signature");
        assert!(!takes(&new, id, long_ago, &late, body), "{language}: too old");
    }
}
