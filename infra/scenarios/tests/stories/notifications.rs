//! Who is notified outside of GitLab, whatever becomes of whoever is to be told.

use gantry_fake_gitlab::{Fault, Matcher};
use gantry_scenarios::{Answer, Mode, Planned, StackOptions, Target, World, run_test_in, story};
use jiff::civil::date;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

/// The stack `network`, whose plan waits for somebody; its run.
async fn waits(w: &mut World) -> String {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    w.push(project, "main", "infra/main.tf", "# one").await;
    w.run_in("network", "unconfirmed").await
}

async fn confirm(w: &mut World, run: &str) {
    w.order(&format!("/runs/{run}/confirm"), json!({})).await;
    w.settle().await;
    w.run_in("network", "finished").await;
}

/// The headings of what a target was told.
#[track_caller]
fn expect(w: &World, target: &Target, expected: &[&str]) {
    assert_eq!(target.told(), expected, "{}", w.history());
}

story!(each_thing_is_told_once_and_signed, |mut w| async move {
    let target = w.target("ops", json!({})).await;
    let run = waits(&mut w).await;
    let needs = "waits_for_person: network #1 needs confirmation";
    expect(&w, &target, &[needs]);
    confirm(&mut w, &run).await;
    let applied = "applied: network #1 was applied";
    expect(&w, &target, &[needs, applied]);

    w.plans("network", Planned::Fails("no such zone as Z9".to_owned()));
    w.order("/stacks/network/runs", json!({})).await;
    w.settle().await;
    expect(&w, &target, &[needs, applied, "failed: network #2 failed"]);
    let requests = target.requests();
    for message in &requests {
        assert!(message.is_signed_with(&target.secret), "{message:?}");
        assert!(!message.is_signed_with("whsec_AAAA"), "{message:?}");
        assert!(!message.body.contains("Z9"), "an error is for those who may see it: {message:?}");
    }
    let first = requests[0].json();
    assert_eq!(first["data"]["run"]["id"], run.as_str());
    assert_eq!(first["data"]["run"]["delta"]["add"], 1);
    assert!(first["data"]["url"].as_str().unwrap().ends_with(&format!("/runs/{run}")), "{first}");
    // Time changes nothing, and neither do previews.
    let told = target.told().len();
    w.pass(30 * MINUTE).await;
    assert_eq!(target.told().len(), told);
    let mut all = w.delivery_lines("ops").await;
    all.sort();
    assert_eq!(all, ["applied delivered", "failed delivered", "waits_for_person delivered"]);
    w
});

story!(a_target_gets_what_it_asks_for, |mut w| async move {
    let all = w.target("all", json!({ "kind": "slack" })).await;
    let failed = w.target("failed", json!({ "events": ["failed"] })).await;
    let production = w.target("production", json!({ "labels": ["production"] })).await;
    let project = w.plain_project("acme/network");
    for (name, labels) in [("network", json!(["production"])), ("other", json!(["test"]))] {
        let fields = json!({ "labels": labels });
        w.stack(project, name, "infra", StackOptions { fields }).await;
    }
    w.push(project, "main", "infra/main.tf", "# one").await;
    w.run_in("other", "unconfirmed").await;
    assert_eq!(failed.told(), [""; 0]);
    expect(&w, &production, &["waits_for_person: network #1 needs confirmation"]);
    let texts: Vec<Value> = all.requests().iter().map(|message| message.json()).collect();
    for name in ["network", "other"] {
        let has = |text: &Value| {
            let text = text["text"].as_str().unwrap_or_default();
            text.contains(&format!("|{name} #1 needs confirmation>*"))
        };
        assert!(texts.iter().any(has), "{texts:?}");
    }
    assert!(all.requests().iter().all(|message| message.signature.is_empty()));
    w
});

story!(who_is_busy_is_told_later_and_holds_nobody_up, |mut w| async move {
    let target = w.target("ops", json!({})).await;
    let other = w.target("other", json!({ "events": ["waits_for_person"] })).await;
    target.answers(Answer::TooMany(200));
    let run = waits(&mut w).await;
    let project = w.gitlab.projects()[0];
    let commit = w.gitlab.head(project, "main").unwrap();
    w.expect_status(project, &commit, "gantry/network", "running: 1 to add");
    expect(&w, &other, &["waits_for_person: network #1 needs confirmation"]);
    let [waiting]: [Value; 1] = w.deliveries("ops").await.try_into().unwrap();
    assert_eq!(waiting["state"], "waiting", "{waiting}");
    assert_eq!(waiting["attempts"][0]["status"], 429, "{waiting}");

    target.answers(Answer::Status(200));
    w.pass(15 * MINUTE).await;
    let [delivered]: [Value; 1] = w.deliveries("ops").await.try_into().unwrap();
    assert_eq!((&delivered["state"], &delivered["next_at"]), (&json!("delivered"), &Value::Null));
    let attempts = delivered["attempts"].as_array().unwrap();
    assert!(attempts.len() > 1, "{delivered}");
    assert_eq!(attempts.last().unwrap()["answer"], "Said for ***: 200 OK");
    let ids = target.requests();
    assert!(ids.iter().all(|message| message.id == ids[0].id), "it is the same message");
    confirm(&mut w, &run).await;
    assert_eq!(target.told().len(), 2);
    w
});

story!(while_a_target_is_away_one_message_finds_out_whether_it_is_back, |mut w| async move {
    let target = w.target("ops", json!({ "events": ["failed"] })).await;
    target.answers(Answer::Status(503));
    let project = w.plain_project("acme/network");
    let fails = || Planned::Fails("no".to_owned());
    for number in 0..6 {
        let name = format!("network-{number}");
        w.stack(project, &name, "infra", StackOptions::default()).await;
        w.plans(&name, fails());
    }
    w.push(project, "main", "infra/main.tf", "# one").await;
    w.pass(60 * MINUTE).await;
    // Each alone would have been sent six times by now, and all of them 36 times.
    let sent = target.requests().len();
    assert!(sent < 20, "{sent}");
    assert!(target.told().len() <= 6);
    target.answers(Answer::Status(204));
    w.pass(120 * MINUTE).await;
    assert_eq!(w.delivery_lines("ops").await, ["failed delivered"; 6]);
    let (_, view) = w.api(Method::GET, "/notifications/ops", None).await;
    assert!(view["failing_since"].is_null(), "{view}");
    w
});

story!(who_is_gone_is_left_alone_until_somebody_saves_it, |mut w| async move {
    let target = w.target("ops", json!({})).await;
    target.answers(Answer::Status(410));
    let run = waits(&mut w).await;
    assert_eq!(w.delivery_lines("ops").await, ["waits_for_person dropped"]);
    let (_, view) = w.api(Method::GET, "/notifications/ops", None).await;
    assert!(view["disabled"].as_str().unwrap().contains("410 Gone"), "{view}");
    target.answers(Answer::Status(204));
    confirm(&mut w, &run).await;
    let lines = w.delivery_lines("ops").await;
    assert!(lines.contains(&"applied dropped".to_owned()), "{lines:?}");
    assert_eq!(target.told().len(), 1);

    w.pass(MINUTE).await;
    let (status, saved) = w.api(Method::PUT, "/notifications/ops", Some(json!({}))).await;
    assert!(status.is_success() && saved["disabled"].is_null(), "{saved}");
    w.plans("network", Planned::Fails("no".to_owned()));
    w.order("/stacks/network/runs", json!({})).await;
    w.settle().await;
    assert_eq!(target.told().last().unwrap(), "failed: network #2 failed");
    w
});

story!(what_is_no_longer_so_is_not_told, |mut w| async move {
    let target = w.target("ops", json!({})).await;
    target.answers(Answer::Status(500));
    let run = waits(&mut w).await;
    w.order(&format!("/runs/{run}/discard"), json!({})).await;
    target.answers(Answer::Status(204));
    let before = target.requests().len();
    w.pass(60 * MINUTE).await;
    assert_eq!(w.delivery_lines("ops").await, ["waits_for_person dropped"]);
    assert_eq!(target.requests().len(), before, "{}", w.history());
    w
});

story!(a_message_is_tried_for_a_day, |mut w| async move {
    let target = w.target("ops", json!({ "events": ["failed"] })).await;
    target.answers(Answer::Redirect);
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    w.plans("network", Planned::Fails("no".to_owned()));
    w.push(project, "main", "infra/main.tf", "# one").await;
    w.pass(30 * 60 * MINUTE).await;
    let [given_up]: [Value; 1] = w.deliveries("ops").await.try_into().unwrap();
    assert_eq!(given_up["state"], "given_up", "{given_up}");
    assert_eq!(given_up["attempts"][0]["status"], 307, "a redirect is not followed: {given_up}");
    let sent = target.requests().len();
    w.pass(30 * 60 * MINUTE).await;
    assert_eq!(target.requests().len(), sent);

    // Unless somebody asks.
    target.answers(Answer::Status(200));
    let id = given_up["id"].as_str().unwrap();
    let path = format!("/notifications/ops/deliveries/{id}/send");
    let (status, _) = w.api(Method::POST, &path, Some(json!({}))).await;
    assert!(status.is_success());
    w.settle().await;
    assert_eq!(w.delivery_lines("ops").await, ["failed delivered"]);
    assert_eq!(target.told(), ["failed: network #1 failed"], "with the same ID");
    w
});

story!(who_is_tried_answers_once, |mut w| async move {
    let target = w.target("ops", json!({ "kind": "teams", "events": ["failed"] })).await;
    let send = async |w: &mut World| {
        let body = Some(json!({}));
        let (status, said) = w.api(Method::POST, "/notifications/ops/test", body).await;
        assert!(status.is_success(), "{said}");
        w.settle().await;
    };
    send(&mut w).await;
    assert_eq!(w.delivery_lines("ops").await, ["test delivered"]);
    let card = target.requests()[0].json();
    let title = &card["attachments"][0]["content"]["body"][0]["text"];
    assert_eq!(title, "This is a test");
    target.answers(Answer::Status(404));
    w.pass(MINUTE).await;
    send(&mut w).await;
    assert_eq!(w.delivery_lines("ops").await, ["test given_up", "test delivered"]);
    let (_, view) = w.api(Method::GET, "/notifications/ops", None).await;
    assert!(view["failing_since"].is_null(), "who only tries says nothing of it: {view}");
    let sent = target.requests().len();
    w.pass(10 * MINUTE).await;
    assert_eq!(target.requests().len(), sent);
    w
});

story!(a_stack_that_is_blocked_is_told_once, |mut w| async move {
    let target = w.target("ops", json!({ "events": ["blocked"] })).await;
    let run = waits(&mut w).await;
    w.hold("network");
    w.order(&format!("/runs/{run}/confirm"), json!({})).await;
    w.pass(Duration::from_secs(30)).await;
    w.run_in("network", "applying").await;
    w.runners_die("network");
    w.pass(10 * MINUTE).await;
    w.run_in("network", "failed").await;
    w.pass(10 * MINUTE).await;
    expect(&w, &target, &["blocked: network is blocked"]);
    w.release("network");
    w.order("/stacks/network/unblock", json!({ "reason": "looked" })).await;
    w.pass(10 * MINUTE).await;
    assert_eq!(target.told().len(), 1);
    w
});

story!(a_gitlab_that_does_not_work_is_told_although_it_does_not_work, |mut w| async move {
    let target = w.target("ops", json!({ "events": ["integration_broken"] })).await;
    waits(&mut w).await;
    w.gitlab.fail_always(Matcher::any(), Fault::status(503));
    w.endure(3 * MINUTE, MINUTE).await;
    assert_eq!(target.told(), [""; 0], "it may be over soon");
    w.endure(30 * MINUTE, MINUTE).await;
    expect(&w, &target, &["integration_broken: GitLab is not responding as expected"]);
    w.gitlab.clear_faults();
    w.pass(30 * MINUTE).await;
    assert_eq!(target.told().len(), 1);
    w
});

story!(a_token_that_ends_is_told_in_time, |mut w| async move {
    let target = w.target("ops", json!({ "events": ["token_expires"] })).await;
    w.pass(MINUTE).await;
    assert_eq!(target.told(), [""; 0], "this one never ends");
    let token = w.gitlab.create_token(w.bot, &["api"], Some(date(2026, 3, 8)));
    let body = json!({ "api_host": w.gitlab.base_url(), "token": token });
    let (status, said) = w.api(Method::PUT, "/integration", Some(body)).await;
    assert!(status.is_success(), "{said}");
    w.pass(5 * MINUTE).await;
    let told = "token_expires: Gantry's GitLab token expires on 2026-03-08";
    expect(&w, &target, &[told]);
    w.pass(5 * 24 * 60 * MINUTE).await;
    expect(&w, &target, &[told, told]);
    w
});

/// Each call that nobody answers takes a second of real time.
#[tokio::test]
async fn who_never_answers_holds_nobody_up() {
    run_test_in(&[Mode::PLAIN], |mut w| async move {
        let target = w.target("ops", json!({})).await;
        target.answers(Answer::Never);
        let project = w.plain_project("acme/network");
        w.stack(project, "network", "infra", StackOptions::default()).await;
        let commit = w.dev.push(project, "main", "infra/main.tf", "# one").unwrap();
        w.endure(2 * MINUTE, Duration::from_secs(30)).await;
        w.expect_status(project, &commit, "gantry/network", "running: 1 to add");
        let [waiting]: [Value; 1] = w.deliveries("ops").await.try_into().unwrap();
        assert_eq!(waiting["attempts"][0]["answer"], "No answer within 10 seconds");
        assert!(waiting["attempts"][0]["status"].is_null(), "{waiting}");
        target.answers(Answer::Status(200));
        w.pass(30 * MINUTE).await;
        assert_eq!(w.delivery_lines("ops").await, ["waits_for_person delivered"]);
        w
    })
    .await;
}
