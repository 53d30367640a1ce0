//! Tokens, scopes, what is visible to whom.

use gantry_fake_gitlab::{ProjectOptions, Visibility};
use jiff::SignedDuration;
use jiff::civil::date;
use serde_json::json;

use crate::support::{world, world_with};

#[tokio::test]
async fn tokens_are_checked() {
    let w = world().await;
    let ask = |token: Option<&'static str>| w.send("GET", "/user", token, None);
    assert_eq!(ask(None).await.expect(401).message(), "401 Unauthorized");
    assert_eq!(ask(Some("glpat-wrong")).await.expect(401).message(), "401 Unauthorized");
    let me = w.get("/user").await.expect(200).body;
    assert_eq!((me["id"].as_u64(), &me["bot"]), (Some(w.bot.0), &json!(true)));
    let own = w.get("/personal_access_tokens/self").await.expect(200).body;
    assert_eq!(own["scopes"], json!(["api"]));
}

#[tokio::test]
async fn tokens_die_at_midnight() {
    let w = world().await;
    // The clock stands at 2026-09-21T14:13:20Z.
    let token = w.gitlab.create_token(w.bot, &["api"], Some(date(2026, 9, 22)));
    w.send("GET", "/user", Some(&token), None).await.expect(200);
    w.advance(SignedDuration::from_hours(10));
    let dead = w.send("GET", "/user", Some(&token), None).await.expect(401);
    assert_eq!(dead.body["error"], "invalid_token");
    assert!(dead.text.contains("Token is expired"));
}

#[tokio::test]
async fn scopes_and_roles() {
    let w = world().await;
    let read = w.gitlab.create_token(w.bot, &["read_api"], None);
    let hooks = w.path("/hooks");
    w.send("GET", &w.path(""), Some(&read), None).await.expect(200);
    let body = json!({ "url": "https://a.example" });
    let refused = w.send("POST", &hooks, Some(&read), Some(body)).await.expect(403);
    assert_eq!(refused.body["error"], "insufficient_scope");
    let stranger = w.gitlab.create_user("stranger");
    let token = w.gitlab.create_token(stranger, &["api"], None);
    let hidden = w.send("GET", &w.path(""), Some(&token), None).await.expect(404);
    assert_eq!(hidden.message(), "404 Project Not Found");
    w.send("GET", &w.path(""), None, None).await.expect(404);
    w.gitlab.configure(w.project, |options| options.visibility = Visibility::Public);
    w.send("GET", &w.path(""), Some(&token), None).await.expect(200);
    w.send("GET", &hooks, Some(&token), None).await.expect(403);
    w.send("GET", &w.path(""), None, None).await.expect(200);
    w.send("GET", &hooks, None, None).await.expect(401);
}

#[tokio::test]
async fn projects_are_found_by_number_path_and_search() {
    let w = world().await;
    let other = w.gitlab.create_project("acme/sub/other", ProjectOptions::default()).unwrap();
    let by_path = w.get("/projects/acme%2Fnetwork").await.expect(200).body;
    assert_eq!(by_path["id"], w.project.0);
    assert_eq!(by_path["permissions"]["project_access"]["access_level"], 40);
    w.get(&format!("/projects/{other}")).await.expect(404);
    w.gitlab.set_member(other, w.bot, 30);
    let all = w.get("/projects?membership=true").await.expect(200);
    assert_eq!(all.body.as_array().unwrap().len(), 2);
    assert_eq!(all.header("x-total"), "2");
    let found = w.get("/projects?search=oth&per_page=1").await.expect(200);
    assert_eq!(found.body[0]["path_with_namespace"], "acme/sub/other");
    let first = w.get("/projects?order_by=id&sort=asc&per_page=1").await.expect(200);
    assert!(first.header("link").contains("rel=\"next\""));
    let member = w.get(&format!("/projects/{other}/members/all/{}", w.bot)).await.expect(200);
    assert_eq!(member.body["access_level"], 30);
    w.get(&format!("/projects/{other}/members/all/9999")).await.expect(404);
    let own = w.get("/projects?membership=true&min_access_level=40").await.expect(200);
    assert_eq!(own.body.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn projects_are_made_and_changed() {
    let w = world().await;
    let words = "name, path are missing, at least one parameter must be provided";
    assert_eq!(w.post("/projects", json!({})).await.expect(400).body["error"], words);
    w.post("/projects", json!({ "path": "a/b" })).await.expect(400);
    w.post("/projects", json!({ "name": "x", "visibility": "secret" })).await.expect(400);
    let body = json!({ "name": "My project", "visibility": "internal" });
    let made = w.post("/projects", body.clone()).await.expect(201).body;
    assert_eq!(made["path_with_namespace"], "project_1_bot_abc/my-project");
    assert_eq!(made["empty_repo"], true);
    let taken = w.post("/projects", body).await.expect(400);
    assert_eq!(taken.body["message"], json!({ "path": ["has already been taken"] }));
    let one = format!("/projects/{}", made["id"]);
    let stranger = w.gitlab.create_user("stranger");
    let token = w.gitlab.create_token(stranger, &["api"], None);
    w.send("GET", &one, Some(&token), None).await.expect(200);
    w.send("GET", &one, None, None).await.expect(404);
    w.send("PUT", &one, Some(&token), Some(json!({}))).await.expect(403);
    w.put(&one, json!({ "default_branch": "none" })).await.expect(400);
    let body = json!({ "path": "moved", "only_allow_merge_if_pipeline_succeeds": true });
    let moved = w.put(&one, body).await.expect(200).body;
    assert_eq!(moved["path_with_namespace"], "project_1_bot_abc/moved");
    assert_eq!(moved["only_allow_merge_if_pipeline_succeeds"], true);
    w.get("/projects/project_1_bot_abc%2Fmy-project").await.expect(301);
    let fork = w.post(&w.path("/fork"), json!({})).await.expect(201).body;
    assert_eq!(fork["forked_from_project"]["id"], w.project.0);
    w.post(&w.path("/fork"), json!({})).await.expect(409);
}

#[tokio::test]
async fn users_and_members() {
    let w = world().await;
    let ada = w.gitlab.create_user("ada");
    let found = w.get("/users?username=Ada").await.expect(200).body;
    assert_eq!(found[0]["id"], ada.0);
    // Alone it says more than in a list.
    let mut alone = w.get(&format!("/users/{ada}")).await.expect(200).body;
    assert_eq!(alone.as_object_mut().unwrap().remove("bot"), Some(json!(false)));
    assert_eq!(alone, found[0]);
    assert_eq!(w.get("/users/9999").await.expect(404).message(), "404 User Not Found");
    let path = w.path("/members");
    let add = |level: u8| json!({ "user_id": ada.0, "access_level": level });
    w.post(&path, add(31)).await.expect(400);
    w.post(&path, json!({ "user_id": 9999, "access_level": 30 })).await.expect(404);
    assert_eq!(w.post(&path, add(30)).await.expect(201).body["access_level"], 30);
    assert_eq!(w.post(&path, add(30)).await.expect(409).message(), "Member already exists");
    let members = w.get(&path).await.expect(200).body;
    assert!(members.as_array().unwrap().iter().any(|member| member["username"] == "ada"));
}

#[tokio::test]
async fn a_moved_project_is_found_however_its_old_path_is_written() {
    let w = world().await;
    w.gitlab.move_project(w.project, "acme/net-work_2.tf").unwrap();
    w.gitlab.move_project(w.project, "acme/net").unwrap();
    for path in ["acme%2Fnet-work_2.tf", "acme%2fnet-work_2.tf", "acme%2Fnet%2Dwork%5F2%2Etf"] {
        let moved = w.get(&format!("/projects/{path}/hooks?per_page=1")).await.expect(301);
        let expected =
            format!("{}/api/v4/projects/{}/hooks?per_page=1", w.gitlab.base_url(), w.project);
        assert_eq!(moved.header("location"), expected, "{path}");
    }
    let refused = w.post("/projects/acme%2Fnet-work_2.tf/hooks", json!({})).await.expect(405);
    assert_eq!(refused.message(), "Non GET methods are not allowed for moved projects");
}

#[tokio::test]
async fn versions() {
    let w =
        world_with(|config| config.version = "15.1.0".parse().unwrap(), Default::default()).await;
    assert_eq!(w.get("/version").await.expect(200).body["version"], "15.1.0");
    w.get("/metadata").await.expect(404);
    assert!(w.gitlab.unknown_requests().is_empty(), "an old server, not an unknown address");
    let w = world().await;
    assert_eq!(w.get("/metadata").await.expect(200).body["enterprise"], true);
    w.send("GET", "/version", None, None).await.expect(401);
}
