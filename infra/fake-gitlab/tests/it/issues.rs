//! Issues: who may do what, confidential ones, searching, moving and deleting.

use gantry_fake_gitlab::{ProjectOptions, Visibility};
use serde_json::{Value, json};

use crate::support::{Got, World, world, world_with};

async fn open(w: &World, body: Value) -> Value {
    w.post(&w.path("/issues"), body).await.expect(201).body
}

async fn listed(w: &World, query: &str) -> Vec<u64> {
    let got = w.get(&w.path(&format!("/issues?{query}"))).await.expect(200);
    got.body.as_array().unwrap().iter().map(|issue| issue["iid"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn an_issue_is_opened_changed_closed_and_opened_again() {
    let w = world().await;
    let ada = w.gitlab.create_user("ada");
    let made = open(
        &w,
        json!({
            "title": "Drift", "description": "two", "labels": "drift,ops, drift",
            "assignee_ids": [ada.0, 999], "confidential": true,
        }),
    )
    .await;
    assert_eq!((&made["iid"], &made["state"]), (&json!(1), &json!("opened")));
    assert_eq!(made["labels"], json!(["drift", "ops"]));
    assert_eq!(
        made["assignees"].as_array().unwrap().len(),
        1,
        "whoever is not there is left aside"
    );
    assert_eq!(made["confidential"], true);
    let path = w.path("/issues/1");
    w.put(&path, json!({})).await.expect(400);
    w.put(&path, json!({ "title": " " })).await.expect(400);
    w.put(&path, json!({ "state_event": "end" })).await.expect(400);
    let changed = json!({ "description": "three", "state_event": "close", "assignee_ids": [] });
    let changed = w.put(&path, changed).await.expect(200).body;
    assert_eq!((&changed["state"], &changed["description"]), (&json!("closed"), &json!("three")));
    assert!(changed["closed_at"].is_string() && changed["assignees"] == json!([]));
    let again = w.put(&path, json!({ "state_event": "reopen", "labels": ["x"] })).await.expect(200);
    assert_eq!(again.body["labels"], json!(["x"]));
    let view = &w.gitlab.issues(w.project)[0];
    assert_eq!((view.state.as_str(), view.author.as_str()), ("opened", "project_1_bot_abc"));
}

#[tokio::test]
async fn the_community_edition_knows_one_assignee() {
    let community =
        |config: &mut gantry_fake_gitlab::Config| config.version = "19.1.0".parse().unwrap();
    let w = world_with(community, ProjectOptions::default()).await;
    let people = ["ada", "bob"].map(|name| w.gitlab.create_user(name).0);
    let made = open(&w, json!({ "title": "Drift", "assignee_ids": people })).await;
    assert_eq!(made["assignees"].as_array().unwrap().len(), 1);
}

async fn as_member(w: &World, level: u8, method: &str, path: &str, body: Value) -> Got {
    let eve = w.gitlab.create_user("eve");
    w.gitlab.set_member(w.project, eve, level);
    let token = w.gitlab.create_token(eve, &["api"], None);
    w.send(method, path, Some(&token), Some(body)).await
}

#[tokio::test]
async fn what_somebody_may_do_depends_on_their_role() {
    let w = world().await;
    open(&w, json!({ "title": "Drift", "labels": ["ops"] })).await;
    let (all, one) = (w.path("/issues"), w.path("/issues/1"));
    as_member(&w, 0, "GET", &one, json!({})).await.expect(404);
    as_member(&w, 10, "GET", &one, json!({})).await.expect(200);
    as_member(&w, 10, "PUT", &one, json!({ "title": "x" })).await.expect(403);
    // A guest sets labels of a new issue, and changes their own without them.
    let own = json!({ "title": "Mine", "labels": ["a"] });
    let own = as_member(&w, 10, "POST", &all, own).await.expect(201).body;
    assert_eq!(own["labels"], json!(["a"]));
    let change = json!({ "title": "Still mine", "labels": ["b"] });
    let path = w.path(&format!("/issues/{}", own["iid"]));
    let changed = as_member(&w, 10, "PUT", &path, change).await.expect(200).body;
    assert_eq!((&changed["title"], &changed["labels"]), (&json!("Still mine"), &json!(["a"])));
    as_member(&w, 20, "PUT", &one, json!({ "labels": ["b"] })).await.expect(200);
    assert_eq!(w.gitlab.issues(w.project)[0].labels, ["b"]);
    as_member(&w, 40, "DELETE", &one, json!({})).await.expect(403);
    as_member(&w, 50, "DELETE", &one, json!({})).await.expect(204);
    w.get(&one).await.expect(404);
    // Its number is not used again.
    assert_eq!(open(&w, json!({ "title": "Next" })).await["iid"], 3);
}

#[tokio::test]
async fn confidential_issues_are_for_members() {
    let public = ProjectOptions { visibility: Visibility::Public, ..ProjectOptions::default() };
    let w = world_with(|_| (), public).await;
    open(&w, json!({ "title": "Drift", "confidential": true })).await;
    open(&w, json!({ "title": "Plain" })).await;
    let visitor = w.gitlab.create_token(w.gitlab.create_user("visitor"), &["api"], None);
    let seen = async |path: &str| w.send("GET", path, Some(&visitor), None).await;
    seen(&w.path("/issues/1")).await.expect(404);
    seen(&w.path("/issues/2")).await.expect(200);
    assert_eq!(seen(&w.path("/issues")).await.expect(200).body.as_array().unwrap().len(), 1);
    as_member(&w, 10, "GET", &w.path("/issues/1"), json!({})).await.expect(404);
    as_member(&w, 20, "GET", &w.path("/issues/1"), json!({})).await.expect(200);
}

#[tokio::test]
async fn issues_are_found_by_author_state_and_words() {
    let w = world().await;
    let marked = "<!-- gantry-drift:network -->\nDrift of network: 2 resources";
    open(&w, json!({ "title": "One", "description": marked, "labels": ["ops"] })).await;
    open(&w, json!({ "title": "Two", "description": "something else" })).await;
    w.gitlab.person("ada").open_issue(w.project, "Three", "Drift of network").unwrap();
    w.put(&w.path("/issues/1"), json!({ "state_event": "close" })).await.expect(200);
    let bot = w.bot;
    assert_eq!(listed(&w, "").await, [3, 2, 1]);
    assert_eq!(listed(&w, "state=opened").await, [3, 2]);
    assert_eq!(listed(&w, &format!("author_id={bot}&state=all")).await, [2, 1]);
    let by_bot = format!("author_id={bot}&in=description&state=all");
    assert_eq!(listed(&w, &format!("{by_bot}&search=drift%20network")).await, [1]);
    assert_eq!(listed(&w, &format!("{by_bot}&search=gantry-drift")).await, [0; 0]);
    assert_eq!(listed(&w, "in=title&search=drift").await, [0; 0]);
    assert_eq!(listed(&w, "labels=ops").await, [1]);
    w.get(&w.path("/issues?state=merged")).await.expect(400);
}

#[tokio::test]
async fn a_moved_issue_is_closed_and_names_its_copy() {
    let w = world().await;
    let other = w.gitlab.create_project("acme/other", ProjectOptions::default()).unwrap();
    open(&w, json!({ "title": "Drift", "description": "two" })).await;
    let path = w.path("/issues/1/move");
    w.post(&path, json!({ "to_project_id": other.0 })).await.expect(400);
    w.gitlab.set_member(other, w.bot, 30);
    let copy = w.post(&path, json!({ "to_project_id": other.0 })).await.expect(201).body;
    assert_eq!((&copy["project_id"], &copy["title"]), (&json!(other.0), &json!("Drift")));
    let old = w.get(&w.path("/issues/1")).await.expect(200).body;
    assert_eq!((&old["state"], &old["moved_to_id"]), (&json!("closed"), &copy["id"]));
    w.post(&path, json!({ "to_project_id": other.0 })).await.expect(400);
    assert_eq!(w.gitlab.issues(other)[0].author, "project_1_bot_abc");
}

#[tokio::test]
async fn people_do_the_same_from_rust() {
    let w = world().await;
    let ada = w.gitlab.person("ada");
    let iid = ada.open_issue(w.project, "Drift", "two").unwrap();
    ada.set_issue_open(w.project, iid, false).unwrap();
    assert_eq!(w.gitlab.issues(w.project)[0].state, "closed");
    ada.set_issue_open(w.project, iid, true).unwrap();
    let other = w.gitlab.create_project("acme/other", ProjectOptions::default()).unwrap();
    let copy = ada.move_issue(w.project, iid, other).unwrap();
    assert_eq!(w.gitlab.issues(other)[0].iid, copy);
    ada.delete_issue(w.project, iid).unwrap();
    assert!(w.gitlab.issues(w.project).is_empty());
    assert!(ada.delete_issue(w.project, iid).is_err());
    assert!(ada.open_issue(w.project, "", "").is_err());
}
