//! Merge requests: their life, their hooks, their gate.

use gantry_fake_gitlab::{Ci, CiMode, MergeRequestSpec, ProjectOptions};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::support::{World, world, world_with};

async fn hooked(options: ProjectOptions) -> World {
    let w = world_with(|_| (), options).await;
    let body = json!({
        "url": "http://127.0.0.1:1/", "push_events": false, "merge_requests_events": true,
    });
    w.post(&w.path("/hooks"), body).await.expect(201);
    w
}

fn actions(w: &World) -> Vec<(String, Value)> {
    w.gitlab
        .take_pending()
        .iter()
        .map(|hook| {
            let body = hook.json();
            let action = body["object_attributes"]["action"].as_str().unwrap().to_owned();
            (action, body)
        })
        .collect()
}

#[tokio::test]
async fn a_life() {
    let w = hooked(ProjectOptions::default()).await;
    let ada = w.gitlab.person("ada");
    let head = ada.push(w.project, "topic", "a.tf", "1").unwrap();
    let iid = ada.open_merge_request(w.project, MergeRequestSpec::from("topic")).unwrap();
    let opened = actions(&w);
    assert_eq!(opened[0].0, "open");
    assert_eq!(opened[0].1["object_attributes"]["last_commit"]["id"], head);
    assert!(opened[0].1["project_id"].is_null());
    ada.set_title(w.project, iid, "Draft: topic").unwrap();
    let draft = actions(&w);
    assert_eq!(draft[0].1["changes"]["draft"], json!({ "previous": false, "current": true }));
    assert!(draft[0].1["object_attributes"]["oldrev"].is_null());
    assert_eq!(w.gitlab.mr(w.project, iid).unwrap().merge_status, "draft_status");
    assert_eq!(ada.merge(w.project, iid).unwrap_err().status, 405);
    ada.set_title(w.project, iid, "topic").unwrap();
    ada.close(w.project, iid).unwrap();
    ada.reopen(w.project, iid).unwrap();
    ada.merge(w.project, iid).unwrap();
    let names: Vec<String> = actions(&w).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["update", "close", "reopen", "merge"]);
    let mr = w.gitlab.mr(w.project, iid).unwrap();
    assert_eq!(mr.merge_commit, w.gitlab.head(w.project, "main"));
    let list = w.get(&w.path("/merge_requests?state=opened")).await.expect(200);
    assert_eq!(list.body, json!([]));
}

#[tokio::test]
async fn a_second_one_for_the_same_branches_is_409() {
    let w = world().await;
    w.gitlab.person("ada").push(w.project, "topic", "a.tf", "1").unwrap();
    let body = json!({ "source_branch": "topic", "target_branch": "main", "title": "T" });
    let path = w.path("/merge_requests");
    w.post(&path, body.clone()).await.expect(201);
    let refused = w.post(&path, body).await.expect(409);
    assert!(refused.text.contains("Another open merge request already exists"));
    let body = json!({ "source_branch": "none", "target_branch": "main", "title": "T" });
    w.post(&path, body).await.expect(400);
}

#[tokio::test]
async fn preparing_takes_time() {
    let options =
        ProjectOptions { prepare_delay: SignedDuration::from_secs(5), ..Default::default() };
    let w = hooked(options).await;
    let ada = w.gitlab.person("ada");
    let head = ada.push(w.project, "topic", "a.tf", "1").unwrap();
    let iid = ada.open_merge_request(w.project, MergeRequestSpec::from("topic")).unwrap();
    let path = w.path(&format!("/merge_requests/{iid}"));
    let mr = w.get(&path).await.expect(200).body;
    assert!(mr["sha"].is_null() && mr["diff_refs"].is_null() && mr["prepared_at"].is_null());
    assert_eq!(mr["detailed_merge_status"], "preparing");
    let by_commit = w.path(&format!("/repository/commits/{head}/merge_requests"));
    assert_eq!(w.get(&by_commit).await.body, json!([]));
    assert!(actions(&w).is_empty());
    w.advance(SignedDuration::from_secs(5));
    let mr = w.get(&path).await.expect(200).body;
    assert_eq!(mr["sha"], head);
    assert_eq!(mr["changes_count"], "1");
    assert_eq!(w.get(&by_commit).await.body[0]["iid"], iid.0);
    assert_eq!(actions(&w)[0].0, "open");
}

#[tokio::test]
async fn pipelines_must_succeed() {
    let options = ProjectOptions { pipelines_must_succeed: true, ..Default::default() };
    let w = world_with(|_| (), options).await;
    let ada = w.gitlab.person("ada");
    let head = ada.push(w.project, "topic", "a.tf", "1").unwrap();
    let iid = ada.open_merge_request(w.project, MergeRequestSpec::from("topic")).unwrap();
    assert_eq!(w.gitlab.mr(w.project, iid).unwrap().merge_status, "ci_must_pass");
    let path = w.path(&format!("/statuses/{head}"));
    let status = |state: &str| json!({ "state": state, "name": "g", "ref": "topic" });
    w.post(&path, status("pending")).await.expect(201);
    assert_eq!(w.gitlab.mr(w.project, iid).unwrap().merge_status, "ci_still_running");
    ada.auto_merge(w.project, iid).unwrap();
    assert_eq!(w.gitlab.mr(w.project, iid).unwrap().state, "opened");
    w.post(&path, status("success")).await.expect(201);
    assert_eq!(w.gitlab.mr(w.project, iid).unwrap().state, "merged");
}

#[tokio::test]
async fn an_external_branch_pipeline_does_not_gate_beside_a_merge_request_pipeline() {
    let ci =
        Ci { mode: CiMode::MergeRequest, delay: SignedDuration::from_secs(3), ..Ci::default() };
    let options = ProjectOptions { pipelines_must_succeed: true, ci, ..Default::default() };
    let w = world_with(|_| (), options).await;
    let ada = w.gitlab.person("ada");
    let head = ada.push(w.project, "topic", "a.tf", "1").unwrap();
    let iid = ada.open_merge_request(w.project, MergeRequestSpec::from("topic")).unwrap();
    let path = w.path(&format!("/statuses/{head}"));
    let early = json!({ "state": "running", "name": "g", "ref": "topic" });
    let early = w.post(&path, early).await.expect(201).body["pipeline_id"].clone();
    let head_pipeline = || w.gitlab.mr(w.project, iid).unwrap().head_pipeline.unwrap().0;
    assert_eq!(early, head_pipeline());
    w.advance(SignedDuration::from_secs(3));
    w.gitlab.create_due_pipelines();
    assert_ne!(early, head_pipeline());
    w.gitlab.finish_all_ci(w.project, "success");
    assert_eq!(w.gitlab.mr(w.project, iid).unwrap().merge_status, "mergeable");
    let jobs = w.path(&format!("/pipelines/{}/jobs", head_pipeline()));
    assert_eq!(w.get(&jobs).await.expect(200).body[0]["name"], "build");
}

#[tokio::test]
async fn a_conflict_cannot_be_merged() {
    let w = world().await;
    let ada = w.gitlab.person("ada");
    ada.push(w.project, "topic", "README.md", "one\n").unwrap();
    ada.push(w.project, "main", "README.md", "two\n").unwrap();
    let iid = ada.open_merge_request(w.project, MergeRequestSpec::from("topic")).unwrap();
    assert_eq!(w.gitlab.mr(w.project, iid).unwrap().merge_status, "conflict");
    assert_eq!(ada.merge(w.project, iid).unwrap_err().status, 422);
}

#[tokio::test]
async fn retargeting_shows_only_in_the_changes() {
    let w = hooked(ProjectOptions::default()).await;
    let ada = w.gitlab.person("ada");
    ada.push(w.project, "release", "r.tf", "1").unwrap();
    ada.push(w.project, "topic", "a.tf", "1").unwrap();
    let iid = ada.open_merge_request(w.project, MergeRequestSpec::from("topic")).unwrap();
    ada.retarget(w.project, iid, "release").unwrap();
    let (action, body) = actions(&w).pop().unwrap();
    assert_eq!(action, "update");
    let expected = json!({ "previous": "main", "current": "release" });
    assert_eq!(body["changes"]["target_branch"], expected);
    assert!(body["object_attributes"]["oldrev"].is_null());
}

#[tokio::test]
async fn forks_and_their_deleted_branches() {
    let w = hooked(ProjectOptions::default()).await;
    let eve = w.gitlab.person("eve");
    let fork = w.gitlab.fork(w.project, "eve/network", eve.id()).unwrap();
    let head = eve.push(fork, "topic", "a.tf", "1").unwrap();
    let spec = MergeRequestSpec::from("topic").of(fork);
    let iid = eve.open_merge_request(w.project, spec).unwrap();
    let ci = Ci { mode: CiMode::MergedResults, ..Ci::default() };
    w.gitlab.set_ci(w.project, ci);
    eve.close(w.project, iid).unwrap();
    eve.reopen(w.project, iid).unwrap();
    let mr = w.get(&w.path(&format!("/merge_requests/{iid}"))).await.expect(200).body;
    assert_eq!(mr["head_pipeline"]["project_id"], fork.0);
    assert_eq!(mr["head_pipeline"]["sha"], head);
    assert_eq!(mr["source_project_id"], fork.0);
    assert_eq!(mr["target_project_id"], w.project.0);
    w.get(&w.path(&format!("/repository/commits/{head}"))).await.expect(200);
    let status = json!({ "state": "pending" });
    w.post(&w.path(&format!("/statuses/{head}")), status).await.expect(404);
    actions(&w);
    eve.delete_branch(fork, "topic").unwrap();
    let (action, body) = actions(&w).pop().unwrap();
    assert_eq!(action, "update");
    assert_eq!(body["object_attributes"]["oldrev"], head);
    assert!(body["object_attributes"]["last_commit"].is_null());
}

#[tokio::test]
async fn pushing_the_head_to_the_target_merges() {
    let w = hooked(ProjectOptions::default()).await;
    let ada = w.gitlab.person("ada");
    let head = ada.push(w.project, "topic", "a.tf", "1").unwrap();
    let iid = ada.open_merge_request(w.project, MergeRequestSpec::from("topic")).unwrap();
    ada.set_branch(w.project, "main", &head).unwrap();
    assert_eq!(w.gitlab.mr(w.project, iid).unwrap().state, "merged");
    assert_eq!(actions(&w).pop().unwrap().0, "merge");
}

#[tokio::test]
async fn merging_over_the_api() {
    let w = world().await;
    let ada = w.gitlab.person("ada");
    let head = ada.push(w.project, "topic", "a.tf", "1").unwrap();
    ada.push(w.project, "main", "b.tf", "1").unwrap();
    let before = w.gitlab.head(w.project, "main").unwrap();
    let iid = ada.open_merge_request(w.project, MergeRequestSpec::from("topic")).unwrap();
    let path = w.path(&format!("/merge_requests/{iid}/merge"));
    w.put(&path, json!({ "sha": before })).await.expect(409);
    w.gitlab.set_member(w.project, w.bot, 30);
    w.put(&path, json!({ "sha": head })).await.expect(401);
    w.gitlab.set_member(w.project, w.bot, 40);
    let body = json!({ "sha": head, "squash": true, "should_remove_source_branch": true });
    let merged = w.put(&path, body).await.expect(200).body;
    assert_eq!(merged["state"], "merged");
    assert_eq!(
        w.gitlab.head(w.project, "main").unwrap(),
        merged["merge_commit_sha"].as_str().unwrap()
    );
    let commit = merged["merge_commit_sha"].as_str().unwrap();
    let commit = w.get(&w.path(&format!("/repository/commits/{commit}"))).await.body;
    assert_eq!(commit["parent_ids"], json!([before, merged["squash_commit_sha"]]));
    assert!(w.gitlab.head(w.project, "topic").is_none());
    for file in ["a.tf", "b.tf"] {
        w.get(&w.path(&format!("/repository/files/{file}?ref=main"))).await.expect(200);
    }
    w.put(&path, json!({})).await.expect(405);
}

#[tokio::test]
async fn fast_forward_only() {
    let options = ProjectOptions {
        merge_method: gantry_fake_gitlab::MergeMethod::FastForward,
        ..ProjectOptions::default()
    };
    let w = world_with(|_| (), options).await;
    let ada = w.gitlab.person("ada");
    let head = ada.push(w.project, "topic", "a.tf", "1").unwrap();
    let other = ada.push(w.project, "other", "b.tf", "1").unwrap();
    assert_ne!(head, other);
    let topic = ada.open_merge_request(w.project, MergeRequestSpec::from("topic")).unwrap();
    let late = ada.open_merge_request(w.project, MergeRequestSpec::from("other")).unwrap();
    ada.merge(w.project, topic).unwrap();
    assert_eq!(w.gitlab.head(w.project, "main"), Some(head));
    assert!(w.gitlab.mr(w.project, topic).unwrap().merge_commit.is_none());
    assert_eq!(w.gitlab.mr(w.project, late).unwrap().merge_status, "need_rebase");
}

#[tokio::test]
async fn rewriting_the_target_changes_the_diff() {
    let w = hooked(ProjectOptions::default()).await;
    let ada = w.gitlab.person("ada");
    let start = w.gitlab.head(w.project, "main").unwrap();
    ada.push(w.project, "main", "b.tf", "1").unwrap();
    ada.push(w.project, "topic", "a.tf", "1").unwrap();
    let iid = ada.open_merge_request(w.project, MergeRequestSpec::from("topic")).unwrap();
    let path = w.path(&format!("/merge_requests/{iid}"));
    assert_eq!(w.get(&path).await.body["changes_count"], "1");
    actions(&w);
    ada.set_branch(w.project, "main", &start).unwrap();
    assert_eq!(w.get(&path).await.body["changes_count"], "2");
    assert!(actions(&w).is_empty());
}

#[tokio::test]
async fn the_parts_of_a_merge_request() {
    let ci = Ci { mode: CiMode::Branch, ..Ci::default() };
    let w = world_with(|_| (), ProjectOptions { ci, ..Default::default() }).await;
    let ada = w.gitlab.person("ada");
    ada.push(w.project, "topic", "a.tf", "1").unwrap();
    let head = ada.push(w.project, "topic", "b.tf", "1").unwrap();
    let iid = ada.open_merge_request(w.project, MergeRequestSpec::from("topic")).unwrap();
    let part = |part: &str| w.path(&format!("/merge_requests/{iid}/{part}"));
    let diffs = w.get(&part("diffs?per_page=1")).await.expect(200);
    assert_eq!(
        (diffs.header("x-next-page").as_str(), &diffs.body[0]["new_path"]),
        ("2", &json!("a.tf"))
    );
    let commits = w.get(&part("commits")).await.expect(200).body;
    assert_eq!((commits.as_array().unwrap().len(), &commits[0]["id"]), (2, &json!(head)));
    let pipelines = w.get(&part("pipelines")).await.expect(200).body;
    assert_eq!(pipelines[0]["sha"], head);
    w.gitlab.set_limits(|limits| limits.diff_files = 1);
    let mr = w.get(&w.path(&format!("/merge_requests/{iid}"))).await.body;
    assert_eq!(mr["changes_count"], "1+");
    assert_eq!(w.get(&part("changes")).await.body["overflow"], true);
    let listed = w.get(&w.path("/merge_requests?source_branch=topic&state=opened")).await;
    assert_eq!(listed.body[0]["iid"], iid.0);
    let later = w.get(&w.path("/merge_requests?updated_after=2100-01-01T00:00:00Z")).await;
    assert_eq!(later.body, json!([]));
    w.get(&w.path("/merge_requests?updated_after=yesterday")).await.expect(400);
}
