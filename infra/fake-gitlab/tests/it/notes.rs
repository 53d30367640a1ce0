//! Notes: quick actions, rights, pages.

use gantry_fake_gitlab::{MergeRequestIid, MergeRequestSpec, ProjectOptions};
use serde_json::json;

use crate::support::{World, world, world_with};

async fn with_mr(w: &World) -> (MergeRequestIid, String) {
    let ada = w.gitlab.person("ada");
    ada.push(w.project, "topic", "a.tf", "1").unwrap();
    let iid = ada.open_merge_request(w.project, MergeRequestSpec::from("topic")).unwrap();
    (iid, w.path(&format!("/merge_requests/{iid}/notes")))
}

#[tokio::test]
async fn commands_are_executed_and_only_commands_delete() {
    let w = world().await;
    let (iid, path) = with_mr(&w).await;
    let made = w.post(&path, json!({ "body": "Plan\n\n/label ~bug" })).await.expect(201);
    assert_eq!(made.body["body"], "Plan");
    let only = w.post(&path, json!({ "body": "/approve" })).await.expect(202);
    assert!(only.body["summary"].is_array());
    let note = format!("{path}/{}", made.body["id"]);
    w.put(&note, json!({ "body": "/close" })).await.expect(202);
    w.put(&note, json!({ "body": "text" })).await.expect(404);
    assert_eq!(w.gitlab.mr(w.project, iid).unwrap().state, "closed");
    assert_eq!(w.gitlab.executed_quick_actions(), ["label", "approve", "close"]);
    assert!(w.gitlab.notes(w.project, iid).is_empty());
}

#[tokio::test]
async fn only_the_author_or_a_maintainer_edits() {
    let w = world().await;
    let (iid, path) = with_mr(&w).await;
    let ada = w.gitlab.person("ada");
    let note = ada.comment(w.project, iid, "Hello").unwrap().unwrap();
    let path = format!("{path}/{note}");
    w.put(&path, json!({ "body": "x" })).await.expect(200);
    w.gitlab.set_member(w.project, w.bot, 30);
    w.put(&path, json!({ "body": "y" })).await.expect(403);
    w.delete(&path).await.expect(403);
    assert_eq!(w.gitlab.notes(w.project, iid)[0].body, "x");
    assert_eq!(w.get(&path).await.expect(200).body["author"]["username"], "ada");
    w.gitlab.set_member(w.project, w.bot, 40);
    w.delete(&path).await.expect(204);
    w.get(&path).await.expect(404);
}

#[tokio::test]
async fn notes_have_a_length_and_a_rate() {
    let small = |config: &mut gantry_fake_gitlab::Config| {
        config.limits.note_characters = 100;
        config.limits.notes_per_minute = Some(2);
    };
    let w = world_with(small, ProjectOptions::default()).await;
    let (_, path) = with_mr(&w).await;
    w.post(&path, json!({ "body": "x".repeat(101) })).await.expect(400);
    w.post(&path, json!({ "body": " " })).await.expect(400);
    w.post(&path, json!({ "body": "fine" })).await.expect(429);
}

#[tokio::test]
async fn pages_hold_system_notes_and_may_be_short() {
    let w = world().await;
    let (iid, path) = with_mr(&w).await;
    let ada = w.gitlab.person("ada");
    ada.push(w.project, "topic", "a.tf", "2").unwrap();
    for number in 0..3 {
        ada.comment(w.project, iid, &format!("note {number}")).unwrap();
    }
    w.post(&path, json!({ "body": "secret", "internal": true })).await.expect(201);
    let first = w.get(&format!("{path}?per_page=2")).await.expect(200);
    assert_eq!(first.body[0]["body"], "secret");
    assert_eq!(first.header("x-next-page"), "2");
    assert_eq!(first.header("x-total"), "5");
    let visitor = w.gitlab.create_user("visitor");
    w.gitlab.set_member(w.project, visitor, 20);
    w.gitlab.configure(w.project, |options| {
        options.visibility = gantry_fake_gitlab::Visibility::Public;
    });
    w.gitlab.set_member(w.project, visitor, 0);
    let token = w.gitlab.create_token(visitor, &["read_api"], None);
    let short = w.send("GET", &format!("{path}?per_page=2"), Some(&token), None).await;
    assert_eq!(short.body.as_array().unwrap().len(), 1, "a short page is not the last");
    assert_eq!(short.header("x-next-page"), "2");
    let last = w.get(&format!("{path}?per_page=2&page=3")).await;
    assert_eq!(last.body[0]["system"], true);
    assert_eq!(last.header("x-next-page"), "");
}

#[tokio::test]
async fn notes_echo() {
    let w = world().await;
    let (_, path) = with_mr(&w).await;
    let hook = json!({ "url": "http://127.0.0.1:1/", "push_events": false, "note_events": true });
    w.post(&w.path("/hooks"), hook).await.expect(201);
    let made = w.post(&path, json!({ "body": "one" })).await.expect(201).body;
    w.put(&format!("{path}/{}", made["id"]), json!({ "body": "two" })).await.expect(200);
    let hooks: Vec<_> = w.gitlab.take_pending().iter().map(|hook| hook.json()).collect();
    assert_eq!(hooks[0]["object_attributes"]["action"], "create");
    assert_eq!(hooks[1]["object_attributes"]["action"], "update");
    assert_eq!(hooks[1]["user"]["id"], w.bot.0);
}

#[tokio::test]
async fn commands_have_the_rights_of_their_author() {
    let w = world().await;
    let (iid, path) = with_mr(&w).await;
    w.gitlab.configure(w.project, |options| {
        options.visibility = gantry_fake_gitlab::Visibility::Public;
    });
    let visitor = w.gitlab.create_user("visitor");
    let token = w.gitlab.create_token(visitor, &["api"], None);
    let close = json!({ "body": "/close" });
    let refused = w.send("POST", &path, Some(&token), Some(close)).await.expect(400);
    assert_eq!(refused.message(), "400 Bad request - Failed to apply commands.");
    assert_eq!(w.gitlab.mr(w.project, iid).unwrap().state, "opened");
    assert!(w.gitlab.executed_quick_actions().is_empty());
    w.gitlab.configure(w.project, |options| options.pipelines_must_succeed = true);
    w.post(&path, json!({ "body": "/merge" })).await.expect(202);
    assert!(w.gitlab.mr(w.project, iid).unwrap().auto_merge);
}
