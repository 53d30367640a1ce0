//! Discussions: replies, threads and whether they hold a merge back, emoji, and what hooks say.

use gantry_fake_gitlab::{Config, MergeRequestIid, MergeRequestSpec, NoteId, ProjectOptions};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::support::{World, world, world_with};

async fn with_mr(w: &World) -> (MergeRequestIid, NoteId, String) {
    let ada = w.gitlab.person("ada");
    ada.push(w.project, "topic", "a.tf", "1").unwrap();
    let iid = ada.open_merge_request(w.project, MergeRequestSpec::from("topic")).unwrap();
    let note = ada.comment(w.project, iid, "Hello").unwrap().unwrap();
    (iid, note, w.path(&format!("/merge_requests/{iid}")))
}

async fn discussion_of(w: &World, path: &str, note: NoteId) -> Value {
    let all = w.get(&format!("{path}/discussions")).await.expect(200).body;
    let has = |one: &&Value| one["notes"].as_array().unwrap().iter().any(|n| n["id"] == note.0);
    all.as_array().unwrap().iter().find(has).unwrap().clone()
}

#[tokio::test]
async fn a_reply_makes_a_thread_of_a_comment() {
    let w = world().await;
    let (iid, note, path) = with_mr(&w).await;
    let alone = discussion_of(&w, &path, note).await;
    assert_eq!(alone["individual_note"], true);
    assert_eq!(alone["notes"][0]["type"], Value::Null);
    let id = alone["id"].as_str().unwrap();
    let one = format!("{path}/discussions/{id}");
    w.advance(SignedDuration::from_secs(1));
    let reply = w.post(&format!("{one}/notes"), json!({ "body": "Hi" })).await.expect(201).body;
    assert_eq!(reply["type"], "DiscussionNote");
    let thread = w.get(&one).await.expect(200).body;
    let first = &thread["notes"][0];
    assert_ne!(first["updated_at"], first["created_at"], "as if it was edited");
    assert_eq!(thread["individual_note"], false);
    let bodies: Vec<_> = thread["notes"].as_array().unwrap().iter().map(|n| &n["body"]).collect();
    assert_eq!(bodies, ["Hello", "Hi"]);
    let notes = w.get(&format!("{one}/notes")).await.expect(200).body;
    assert_eq!(notes.as_array().unwrap().len(), 2);
    // It is a note like any other.
    let edited = json!({ "body": "Hi!" });
    w.put(&format!("{path}/notes/{}", reply["id"]), edited).await.expect(200);
    assert_eq!(w.gitlab.notes(w.project, iid)[1].body, "Hi!");
    assert_eq!(w.gitlab.notes(w.project, iid)[1].discussion, id);
}

#[tokio::test]
async fn what_is_gone_takes_no_reply() {
    let w = world().await;
    let (iid, note, path) = with_mr(&w).await;
    let id = discussion_of(&w, &path, note).await["id"].as_str().unwrap().to_owned();
    let one = format!("{path}/discussions/{id}");
    w.gitlab.person("ada").delete_comment(w.project, iid, note).unwrap();
    for got in [
        w.get(&one).await,
        w.post(&format!("{one}/notes"), json!({ "body": "Hi" })).await,
        w.put(&one, json!({ "resolved": true })).await,
    ] {
        assert_eq!(got.clone().expect(404).message(), "404 Discussion Not Found");
    }
    // GitLab's own lines take none either.
    w.gitlab.person("ada").push(w.project, "topic", "a.tf", "2").unwrap();
    let all = w.get(&format!("{path}/discussions")).await.expect(200).body;
    let system = all.as_array().unwrap().iter().find(|one| one["notes"][0]["system"] == true);
    let system = format!("{path}/discussions/{}", system.unwrap()["id"].as_str().unwrap());
    let got = w.post(&format!("{system}/notes"), json!({ "body": "Hi" })).await.expect(400);
    assert!(got.message().contains("can not be replied to"), "{}", got.text);
}

#[tokio::test]
async fn a_thread_may_have_to_be_resolved_before_a_merge() {
    let options = ProjectOptions { threads_must_be_resolved: true, ..ProjectOptions::default() };
    let w = world_with(|_| (), options).await;
    let (iid, note, path) = with_mr(&w).await;
    let project = w.get(&w.path("")).await.expect(200).body;
    assert_eq!(project["only_allow_merge_if_all_discussions_are_resolved"], true);
    let status = || w.gitlab.mr(w.project, iid).unwrap().merge_status;
    assert_eq!(status(), "mergeable", "a comment alone holds nothing back");
    let id = discussion_of(&w, &path, note).await["id"].as_str().unwrap().to_owned();
    let one = format!("{path}/discussions/{id}");
    // What is no thread cannot be resolved.
    w.put(&one, json!({ "resolved": true })).await.expect(403);
    w.post(&format!("{one}/notes"), json!({ "body": "Hi" })).await.expect(201);
    assert_eq!(status(), "discussions_not_resolved");
    assert_eq!(w.gitlab.person("ada").merge(w.project, iid).unwrap_err().status, 405);
    w.gitlab.set_member(w.project, w.bot, 20);
    w.put(&one, json!({ "resolved": true })).await.expect(403);
    w.gitlab.set_member(w.project, w.bot, 30);
    let resolved = w.put(&one, json!({ "resolved": true })).await.expect(200).body;
    assert_eq!(resolved["notes"][0]["resolved"], true);
    assert_eq!(status(), "mergeable");
    assert!(w.gitlab.notes(w.project, iid).iter().all(|note| note.resolved));
}

#[tokio::test]
async fn a_thread_can_be_begun_and_its_comments_changed_below_it() {
    let w = world().await;
    let (iid, _, path) = with_mr(&w).await;
    let made = w.post(&format!("{path}/discussions"), json!({ "body": "Look" })).await.expect(201);
    let (id, note) = (made.body["id"].as_str().unwrap(), &made.body["notes"][0]["id"]);
    assert_eq!(made.body["individual_note"], false);
    let one = format!("{path}/discussions/{id}/notes/{note}");
    w.put(&one, json!({})).await.expect(400);
    w.put(&one, json!({ "body": "Look!" })).await.expect(200);
    w.put(&one, json!({ "resolved": true })).await.expect(200);
    w.delete(&one).await.expect(204);
    assert_eq!(w.gitlab.notes(w.project, iid).len(), 1);
    let with_command = json!({ "body": "/close" });
    w.post(&format!("{path}/discussions"), with_command).await.expect(202);
}

#[tokio::test]
async fn an_emoji_is_given_once_and_changes_the_comments_time() {
    let w = world().await;
    let (iid, note, path) = with_mr(&w).await;
    let awards = format!("{path}/notes/{note}/award_emoji");
    w.advance(SignedDuration::from_secs(5));
    let given = w.post(&awards, json!({ "name": "eyes" })).await.expect(201).body;
    assert_eq!((&given["name"], &given["user"]["id"]), (&json!("eyes"), &json!(w.bot.0)));
    let again = w.post(&awards, json!({ "name": "eyes" })).await.expect(404);
    assert_eq!(again.message(), "404 Award Emoji Name has already been taken Not Found");
    w.post(&awards, json!({})).await.expect(400);
    w.post(&awards, json!({ "name": "No Emoji" })).await.expect(404);
    w.gitlab.person("ada").react(w.project, iid, note, "eyes").unwrap();
    assert_eq!(w.get(&awards).await.expect(200).body.as_array().unwrap().len(), 2);
    let read = w.get(&format!("{path}/notes/{note}")).await.expect(200).body;
    assert_ne!(read["created_at"], read["updated_at"], "as if it was edited");
    let seen = &w.gitlab.notes(w.project, iid)[0].awards;
    assert_eq!(seen, &["eyes by project_1_bot_abc", "eyes by ada"]);
}

#[tokio::test]
async fn internal_comments_have_internal_replies() {
    let w = world().await;
    let (iid, _, path) = with_mr(&w).await;
    let secret = w.gitlab.person("ada").comment_internally(w.project, iid, "secret").unwrap();
    let id = discussion_of(&w, &path, secret.unwrap()).await["id"].as_str().unwrap().to_owned();
    let one = format!("{path}/discussions/{id}");
    let reply = w.post(&format!("{one}/notes"), json!({ "body": "Hi" })).await.expect(201).body;
    assert_eq!(reply["internal"], true);
    w.gitlab.set_member(w.project, w.bot, 0);
    w.gitlab.configure(w.project, |options| {
        options.visibility = gantry_fake_gitlab::Visibility::Public;
    });
    w.get(&one).await.expect(404);
}

#[tokio::test]
async fn a_comment_within_a_minute_of_a_change_is_not_seen_by_the_merge_requests_time() {
    let w = world().await;
    let (iid, _, path) = with_mr(&w).await;
    let time = async || w.get(&path).await.expect(200).body["updated_at"].clone();
    let before = time().await;
    let ada = w.gitlab.person("ada");
    w.advance(SignedDuration::from_secs(60));
    ada.comment(w.project, iid, "two").unwrap();
    assert_eq!(time().await, before);
    w.advance(SignedDuration::from_secs(1));
    ada.comment(w.project, iid, "three").unwrap();
    assert_ne!(time().await, before);
}

/// The hooks that wait, for a project whose hook wants comments.
async fn hooked(w: &World) -> Vec<Value> {
    let hook = json!({ "url": "http://127.0.0.1:1/", "push_events": false, "note_events": true });
    w.post(&w.path("/hooks"), hook).await.expect(201);
    let (iid, note, _) = with_mr(w).await;
    let ada = w.gitlab.person("ada");
    ada.reply(w.project, iid, note, "/gantry why").unwrap();
    ada.edit_comment(w.project, iid, note, "Hello!").unwrap();
    ada.comment_internally(w.project, iid, "secret").unwrap();
    w.gitlab.take_pending().iter().map(|hook| hook.json()).collect()
}

#[tokio::test]
async fn hooks_name_the_discussion_and_say_what_is_new() {
    let w = world().await;
    let hooks = hooked(&w).await;
    let of = |hook: &Value| hook["object_attributes"].clone();
    let [first, reply, edit] = hooks.as_slice() else { panic!("{hooks:#?}") };
    assert_eq!(of(reply)["discussion_id"], of(first)["discussion_id"]);
    assert_eq!(of(reply)["discussion_id"].as_str().unwrap().len(), 40);
    assert_eq!((&of(reply)["note"], &of(reply)["system"]), (&json!("/gantry why"), &json!(false)));
    assert_eq!(reply["merge_request"]["iid"], 1);
    let actions = [first, reply, edit].map(|hook| of(hook)["action"].clone());
    assert_eq!(actions, ["create", "create", "update"]);
}

#[tokio::test]
async fn old_servers_tell_of_new_comments_only_and_do_not_say_so() {
    let old = |config: &mut Config| config.version = "16.10.0".parse().unwrap();
    let w = world_with(old, ProjectOptions::default()).await;
    let hooks = hooked(&w).await;
    assert_eq!(hooks.len(), 2, "{hooks:#?}");
    assert!(hooks.iter().all(|hook| hook["object_attributes"].get("action").is_none()));
}

#[tokio::test]
async fn a_reply_by_mail_quotes_what_it_replies_to() {
    let w = world().await;
    let (iid, note, _) = with_mr(&w).await;
    let ada = w.gitlab.person("ada");
    ada.reply_by_mail(w.project, iid, note, "Fine.").unwrap();
    let body = &w.gitlab.notes(w.project, iid)[1].body;
    assert!(body.starts_with("Fine.\n\nOn ") && body.contains("Ada wrote:\n\n> Hello"), "{body}");
}
