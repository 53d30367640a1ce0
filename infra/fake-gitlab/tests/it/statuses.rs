//! Commit statuses: which pipeline, which transitions, who.

use crate::support::{Got, World, world, world_with};
use gantry_fake_gitlab::{Ci, CiMode, MergeRequestSpec, ProjectOptions, Protection};
use serde_json::json;

async fn post(w: &World, sha: &str, state: &str, more: serde_json::Value) -> Got {
    let mut body = json!({ "state": state, "name": "gantry/network" });
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    w.post(&w.path(&format!("/statuses/{sha}")), body).await
}

#[tokio::test]
async fn the_first_status_makes_an_external_pipeline() {
    let w = world().await;
    let sha = w.gitlab.head(w.project, "main").unwrap();
    let made = post(&w, &sha, "pending", json!({ "ref": "main" })).await.expect(201);
    assert_eq!(made.body["ref"], "main");
    let pipelines = w.gitlab.pipelines(w.project);
    assert_eq!(pipelines.len(), 1);
    assert_eq!(pipelines[0].source, "external");
    assert_eq!(made.body["pipeline_id"], pipelines[0].id.0);
    let writes = w.gitlab.unread_writes();
    assert_eq!((writes.len(), &writes[0].line[..12]), (1, "status main@"));
}

#[tokio::test]
async fn transitions_are_refused_in_gitlabs_words() {
    let w = world().await;
    let sha = w.gitlab.head(w.project, "main").unwrap();
    let text = json!({ "description": "one" });
    let first = post(&w, &sha, "running", text).await.expect(201);
    let again = post(&w, &sha, "running", json!({ "description": "two" })).await.expect(400);
    assert_eq!(
        again.message(),
        "Cannot transition status via :run from :running (Reason(s): Status cannot transition \
         via \"run\")"
    );
    assert_eq!(w.gitlab.statuses(w.project, &sha)[0].description.as_deref(), Some("one"));
    let done = post(&w, &sha, "success", json!({})).await.expect(201);
    assert_eq!(done.body["id"], first.body["id"]);
    let twice = post(&w, &sha, "success", json!({})).await.expect(201);
    assert_ne!(twice.body["id"], first.body["id"]);
    assert_eq!(w.gitlab.pipelines(w.project)[0].jobs.len(), 2);
    assert_eq!(w.gitlab.statuses(w.project, &sha).len(), 1);
}

#[tokio::test]
async fn another_user_makes_a_second_record() {
    let w = world().await;
    let sha = w.gitlab.head(w.project, "main").unwrap();
    post(&w, &sha, "running", json!({})).await.expect(201);
    let other = w.gitlab.create_user("other");
    w.gitlab.set_member(w.project, other, 40);
    let token = w.gitlab.create_token(other, &["api"], None);
    let body = json!({ "state": "success", "name": "gantry/network" });
    let path = w.path(&format!("/statuses/{sha}"));
    w.send("POST", &path, Some(&token), Some(body)).await.expect(201);
    let jobs = &w.gitlab.pipelines(w.project)[0].jobs;
    assert_eq!(jobs.len(), 2);
    assert!(jobs[0].retried && jobs[0].status == "running");
}

#[tokio::test]
async fn fields_are_limited() {
    let w = world().await;
    let sha = w.gitlab.head(w.project, "main").unwrap();
    let long = "ä".repeat(256);
    let refused = post(&w, &sha, "pending", json!({ "description": long })).await.expect(400);
    assert_eq!(
        refused.body,
        json!({ "message": { "description": ["is too long (maximum is 255 characters)"] } })
    );
    post(&w, &sha, "pending", json!({ "name": long })).await.expect(400);
    post(&w, &sha, "pending", json!({ "target_url": "javascript:alert(1)" })).await.expect(400);
    let url = format!("https://example.com/{}", "x".repeat(250));
    post(&w, &sha, "pending", json!({ "target_url": url })).await.expect(400);
    post(&w, &sha, "error", json!({})).await.expect(400);
    assert!(w.gitlab.pipelines(w.project).is_empty());
}

#[tokio::test]
async fn unknown_commits_refs_and_pipelines_are_404() {
    let w = world().await;
    let sha = w.gitlab.head(w.project, "main").unwrap();
    let zero = "0".repeat(40);
    assert_eq!(
        post(&w, &zero, "pending", json!({})).await.expect(404).message(),
        "404 Commit Not Found"
    );
    post(&w, &sha[..10], "pending", json!({})).await.expect(404);
    let ada = w.gitlab.person("ada");
    let old = ada.push(w.project, "topic", "a.tf", "1").unwrap();
    ada.delete_branch(w.project, "topic").unwrap();
    let lost = post(&w, &old, "pending", json!({})).await.expect(404);
    assert_eq!(lost.message(), "404 References for commit Not Found");
    let made = post(&w, &sha, "pending", json!({ "ref": "main" })).await.expect(201);
    let id = made.body["pipeline_id"].clone();
    let wrong = json!({ "pipeline_id": id, "ref": "other" });
    let wrong = post(&w, &sha, "running", wrong).await.expect(404);
    assert_eq!(wrong.message(), "404 Pipeline for pipeline_id, sha and ref Not Found");
    post(&w, &old, "running", json!({ "pipeline_id": id })).await.expect(404);
    post(&w, &sha, "running", json!({ "pipeline_id": id })).await.expect(201);
}

#[tokio::test]
async fn the_newest_pipeline_of_the_commit_is_taken() {
    let ci = Ci { mode: CiMode::Branch, ..Ci::default() };
    let w = world_with(|_| (), ProjectOptions { ci, ..ProjectOptions::default() }).await;
    let ada = w.gitlab.person("ada");
    let sha = ada.push(w.project, "one", "a.tf", "1").unwrap();
    ada.set_branch(w.project, "two", &sha).unwrap();
    let pipelines = w.gitlab.pipelines(w.project);
    assert_eq!(pipelines.len(), 2);
    let anywhere = post(&w, &sha, "pending", json!({})).await.expect(201);
    assert_eq!(anywhere.body["pipeline_id"], pipelines[1].id.0);
    let at_one = post(&w, &sha, "pending", json!({ "ref": "one" })).await.expect(201);
    assert_eq!(at_one.body["pipeline_id"], pipelines[0].id.0);
    let taken = post(&w, &sha, "pending", json!({ "name": "build" })).await.expect(400);
    assert_eq!(taken.body, json!({ "message": { "name": ["has already been taken"] } }));
}

#[tokio::test]
async fn merged_results_need_their_own_commit() {
    let ci = Ci { mode: CiMode::MergedResults, ..Ci::default() };
    let w = world_with(|_| (), ProjectOptions { ci, ..ProjectOptions::default() }).await;
    let ada = w.gitlab.person("ada");
    let sha = ada.push(w.project, "topic", "a.tf", "1").unwrap();
    let iid = ada.open_merge_request(w.project, MergeRequestSpec::from("topic")).unwrap();
    let mr = w.get(&w.path(&format!("/merge_requests/{iid}"))).await.expect(200).body;
    let (id, merged) = (&mr["head_pipeline"]["id"], mr["head_pipeline"]["sha"].as_str().unwrap());
    assert_eq!(mr["sha"], sha);
    assert_ne!(mr["head_pipeline"]["sha"], sha);
    post(&w, &sha, "pending", json!({ "pipeline_id": id })).await.expect(404);
    post(&w, merged, "pending", json!({ "pipeline_id": id })).await.expect(201);
    let commit = w.get(&w.path(&format!("/repository/commits/{merged}"))).await.expect(200).body;
    assert_eq!(commit["parent_ids"][1], sha);
}

#[tokio::test]
async fn protected_branches_need_the_right_to_push_or_merge() {
    let options = ProjectOptions {
        protected_branches: vec![Protection::maintainers("main")],
        ..ProjectOptions::default()
    };
    let w = world_with(|_| (), options).await;
    w.gitlab.set_member(w.project, w.bot, 30);
    let sha = w.gitlab.head(w.project, "main").unwrap();
    post(&w, &sha, "pending", json!({ "ref": "main" })).await.expect(403);
    w.gitlab.configure(w.project, |options| {
        options.protected_branches = vec![Protection::developers_merge("main")];
    });
    post(&w, &sha, "pending", json!({ "ref": "main" })).await.expect(201);
    w.gitlab.set_member(w.project, w.bot, 20);
    post(&w, &sha, "running", json!({ "ref": "main" })).await.expect(403);
}

#[tokio::test]
async fn a_full_pipeline_is_422_or_a_new_one() {
    let w =
        world_with(|config| config.limits.jobs_per_pipeline = 1, ProjectOptions::default()).await;
    let sha = w.gitlab.head(w.project, "main").unwrap();
    let made = post(&w, &sha, "pending", json!({ "name": "a" })).await.expect(201);
    let id = made.body["pipeline_id"].clone();
    post(&w, &sha, "running", json!({ "name": "a", "pipeline_id": id })).await.expect(201);
    post(&w, &sha, "pending", json!({ "name": "b", "pipeline_id": id })).await.expect(422);
    let other = post(&w, &sha, "pending", json!({ "name": "b" })).await.expect(201);
    assert_ne!(other.body["pipeline_id"], id);
}

#[tokio::test]
async fn skipped_and_pipeline_id_depend_on_the_version() {
    let old = |config: &mut gantry_fake_gitlab::Config| config.version = "15.11.0".parse().unwrap();
    let w = world_with(old, ProjectOptions::default()).await;
    let sha = w.gitlab.head(w.project, "main").unwrap();
    post(&w, &sha, "skipped", json!({})).await.expect(400);
    let made = post(&w, &sha, "pending", json!({})).await.expect(201);
    assert!(made.body["pipeline_id"].is_null());
}
