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
    assert!(opened[0].1["object_attributes"]["oldrev"].is_null());
    ada.set_title(w.project, iid, "Draft: topic").unwrap();
    let draft = actions(&w);
    assert_eq!(draft[0].1["object_attributes"]["draft"], true);
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
async fn what_atlantis_reads_of_one() {
    let w = hooked(ProjectOptions::default()).await;
    let ada = w.gitlab.person("ada");
    let files = [("a.tf", Some("1")), ("b.tf", Some("2"))];
    let head = ada.push_files(w.project, "topic", &files, "Two").unwrap();
    let iid = ada.open_merge_request(w.project, MergeRequestSpec::from("topic")).unwrap();
    let hook = actions(&w).remove(0).1;
    let clone = w.gitlab.clone_url(w.project);
    assert_eq!(hook["project"]["git_http_url"], clone);
    assert_eq!(hook["object_attributes"]["source"]["git_http_url"], clone);

    let path = w.path(&format!("/merge_requests/{iid}"));
    assert_eq!(w.get(&path).await.expect(200).body["changes_count"], "2");
    let approvals = w.get(&format!("{path}/approvals")).await.expect(200).body;
    assert_eq!(approvals["approvals_left"], 0);

    let path = w.path(&format!("/repository/commits/{head}"));
    assert!(w.get(&path).await.expect(200).body["last_pipeline"].is_null());
    let status = json!({ "state": "running", "name": "plan", "ref": "topic" });
    w.post(&w.path(&format!("/statuses/{head}")), status).await.expect(201);
    assert_eq!(w.get(&path).await.expect(200).body["last_pipeline"]["sha"], head);
}

#[tokio::test]
async fn a_second_one_for_the_same_branches_is_409() {
    let w = world().await;
    let ada = w.gitlab.person("ada");
    ada.push(w.project, "topic", "a.tf", "1").unwrap();
    let body = json!({ "source_branch": "topic", "target_branch": "main", "title": "T" });
    let path = w.path("/merge_requests");
    w.post(&path, body.clone()).await.expect(201);
    let refused = w.post(&path, body).await.expect(409);
    assert!(refused.text.contains("Another open merge request already exists"));
    let body = json!({ "source_branch": "none", "target_branch": "main", "title": "T" });
    w.post(&path, body).await.expect(400);
    let body = json!({ "source_branch": "topic", "target_branch": "main" });
    assert_eq!(w.post(&path, body).await.expect(400).body["error"], "title is missing");
}

#[tokio::test]
async fn a_life_over_the_api() {
    let w = hooked(ProjectOptions::default()).await;
    w.gitlab.person("ada").push(w.project, "topic", "a.tf", "1").unwrap();
    let body = json!({
        "source_branch": "topic", "target_branch": "main", "title": "T", "description": "Why",
    });
    let made = w.post(&w.path("/merge_requests"), body).await.expect(201).body;
    assert_eq!((&made["iid"], &made["description"]), (&json!(1), &json!("Why")));
    let path = w.path("/merge_requests/1");
    let change = |field: &str, value: &str| {
        let (path, body) = (&path, json!({ field: value }));
        let w = &w;
        async move { w.put(path, body).await }
    };
    assert_eq!(change("title", "Draft: T").await.expect(200).body["draft"], true);
    assert_eq!(change("description", "So").await.expect(200).body["description"], "So");
    assert_eq!(change("state_event", "close").await.expect(200).body["state"], "closed");
    assert_eq!(change("state_event", "reopen").await.expect(200).body["state"], "opened");
    change("state_event", "burn").await.expect(400);
    change("target_branch", "none").await.expect(400);
    let names: Vec<String> = actions(&w).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["open", "update", "update", "close", "reopen"]);
    w.gitlab.set_member(w.project, w.bot, 20);
    change("title", "Mine").await.expect(200);
    let ada = w.gitlab.person("ada");
    ada.push(w.project, "other", "b.tf", "1").unwrap();
    ada.open_merge_request(w.project, MergeRequestSpec::from("other")).unwrap();
    w.put(&w.path("/merge_requests/2"), json!({ "title": "Mine" })).await.expect(403);
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
    for who in ["merge_user", "merged_by"] {
        assert_eq!(merged[who]["id"], w.bot.0, "{who}");
    }
    assert!(merged["merged_at"].is_string());
    for sha in ["merge_commit_sha", "squash_commit_sha", "sha"] {
        let sha = merged[sha].as_str().unwrap();
        let of = w.path(&format!("/repository/commits/{sha}/merge_requests"));
        assert_eq!(w.get(&of).await.expect(200).body[0]["iid"], merged["iid"], "{sha}");
    }
    let commit = merged["merge_commit_sha"].as_str().unwrap();
    assert_eq!(w.gitlab.head(w.project, "main").unwrap(), commit);
    let commit = w.get(&w.path(&format!("/repository/commits/{commit}"))).await.body;
    assert_eq!(commit["parent_ids"], json!([before, merged["squash_commit_sha"]]));
    let since = w.path(&format!("/repository/commits?ref_name={before}..main"));
    assert_eq!(w.get(&since).await.expect(200).body.as_array().unwrap().len(), 2);
    let merges = w.get(&format!("{since}&first_parent=true")).await.expect(200).body;
    assert_eq!((merges.as_array().unwrap().len(), &merges[0]["id"]), (1, &commit["id"]));
    assert!(w.gitlab.head(w.project, "topic").is_none());
    for file in ["a.tf", "b.tf"] {
        w.get(&w.path(&format!("/repository/files/{file}?ref=main"))).await.expect(200);
    }
    w.put(&path, json!({})).await.expect(405);
}

#[tokio::test]
async fn merging_can_wait_for_the_pipeline() {
    let ci = Ci { mode: CiMode::Branch, ..Ci::default() };
    let options = ProjectOptions { pipelines_must_succeed: true, ci, ..Default::default() };
    let w = world_with(|_| (), options).await;
    let ada = w.gitlab.person("ada");
    ada.push(w.project, "topic", "a.tf", "1").unwrap();
    let iid = ada.open_merge_request(w.project, MergeRequestSpec::from("topic")).unwrap();
    let path = w.path(&format!("/merge_requests/{iid}"));
    let (merge, wait) = (format!("{path}/merge"), json!({ "merge_when_pipeline_succeeds": true }));
    w.put(&merge, json!({})).await.expect(405);
    let waits = w.put(&merge, wait.clone()).await.expect(200).body;
    assert_eq!(waits["merge_when_pipeline_succeeds"], true);
    let cancel = format!("{path}/cancel_merge_when_pipeline_succeeds");
    w.post(&cancel, json!({})).await.expect(201);
    w.post(&cancel, json!({})).await.expect(406);
    w.put(&merge, wait).await.expect(200);
    w.gitlab.finish_all_ci(w.project, "success");
    assert_eq!(w.get(&path).await.body["state"], "merged");
}

#[tokio::test]
async fn the_parts_of_a_merge_request() {
    let ci = Ci { mode: CiMode::Branch, ..Ci::default() };
    let options = ProjectOptions { ci, ..Default::default() };
    let w = world_with(|config| config.limits.diff_files = 1, options).await;
    let ada = w.gitlab.person("ada");
    ada.push(w.project, "topic", "a.tf", "1").unwrap();
    let head = ada.push(w.project, "topic", "b.tf", "1").unwrap();
    let iid = ada.open_merge_request(w.project, MergeRequestSpec::from("topic")).unwrap();
    let part = |part: &str| w.path(&format!("/merge_requests/{iid}/{part}"));
    let diffs = w.get(&part("diffs")).await.expect(200).body;
    assert_eq!((diffs.as_array().unwrap().len(), &diffs[0]["new_path"]), (1, &json!("a.tf")));
    assert_eq!(w.get(&part("changes")).await.body["overflow"], true);
    let commits = w.get(&part("commits")).await.expect(200).body;
    assert_eq!((commits.as_array().unwrap().len(), &commits[0]["id"]), (2, &json!(head)));
    let pipelines = w.get(&part("pipelines")).await.expect(200).body;
    assert_eq!(pipelines[0]["sha"], head);
    let one = w.path(&format!("/pipelines/{}", pipelines[0]["id"]));
    assert_eq!(w.get(&one).await.expect(200).body["status"], "running");
    let latest = w.get(&w.path("/pipelines/latest?ref=topic")).await.expect(200).body;
    assert_eq!(latest["id"], pipelines[0]["id"]);
    assert_eq!(w.get(&format!("{one}/jobs")).await.expect(200).body[0]["name"], "build");
    w.get(&w.path("/pipelines/1")).await.expect(404);
    let by_commit = w.path(&format!("/repository/commits/{head}/merge_requests"));
    assert_eq!(w.get(&by_commit).await.expect(200).body[0]["iid"], iid.0);
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
    let pipelines = w.gitlab.pipelines(w.project);
    let gate = pipelines.iter().find(|known| known.id.0 == head_pipeline()).unwrap();
    assert_eq!(gate.jobs[0].name, "build");
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
async fn retargeting_is_an_update_without_new_commits() {
    let w = hooked(ProjectOptions::default()).await;
    let ada = w.gitlab.person("ada");
    ada.push(w.project, "release", "r.tf", "1").unwrap();
    ada.push(w.project, "topic", "a.tf", "1").unwrap();
    let iid = ada.open_merge_request(w.project, MergeRequestSpec::from("topic")).unwrap();
    ada.retarget(w.project, iid, "release").unwrap();
    let (action, body) = actions(&w).pop().unwrap();
    assert_eq!(action, "update");
    assert_eq!(body["object_attributes"]["target_branch"], "release");
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
    w.gitlab.configure(w.project, |options| options.ci = ci);
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
async fn rewriting_the_target_changes_the_diff() {
    let w = hooked(ProjectOptions::default()).await;
    let ada = w.gitlab.person("ada");
    let start = w.gitlab.head(w.project, "main").unwrap();
    ada.push(w.project, "main", "b.tf", "1").unwrap();
    ada.push(w.project, "topic", "a.tf", "1").unwrap();
    let iid = ada.open_merge_request(w.project, MergeRequestSpec::from("topic")).unwrap();
    let path = w.path(&format!("/merge_requests/{iid}"));
    let base = async || w.get(&path).await.body["diff_refs"]["base_sha"].clone();
    assert_ne!(base().await, start);
    actions(&w);
    ada.set_branch(w.project, "main", &start).unwrap();
    assert_eq!(base().await, start);
    assert!(actions(&w).is_empty());
}

#[tokio::test]
async fn merging_takes_both_sides_and_is_done_once() {
    let w = world().await;
    let ada = w.gitlab.person("ada");
    let head = ada.push(w.project, "topic", "a.tf", "1").unwrap();
    ada.push(w.project, "main", "b.tf", "1").unwrap();
    let before = w.gitlab.head(w.project, "main").unwrap();
    let iid = ada.open_merge_request(w.project, MergeRequestSpec::from("topic")).unwrap();
    let path = w.path(&format!("/merge_requests/{iid}?include_diverged_commits_count=true"));
    assert_eq!(w.get(&path).await.expect(200).body["diverged_commits_count"], 1);
    ada.merge(w.project, iid).unwrap();
    let merged = w.gitlab.head(w.project, "main").unwrap();
    let commit = w.get(&w.path(&format!("/repository/commits/{merged}"))).await.expect(200).body;
    assert_eq!(commit["parent_ids"], json!([before, head]));
    for file in ["a.tf", "b.tf"] {
        w.get(&w.path(&format!("/repository/files/{file}/raw?ref=main"))).await.expect(200);
    }
    assert_eq!(ada.merge(w.project, iid).unwrap_err().status, 405);
}

#[tokio::test]
async fn lines_that_both_sides_changed_apart_are_merged() {
    let lines = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
    let files = vec![("deep/a.tf".to_owned(), lines.to_owned())];
    let w = world_with(|_| (), ProjectOptions { files, ..ProjectOptions::default() }).await;
    let ada = w.gitlab.person("ada");
    ada.push(w.project, "topic", "deep/a.tf", &lines.replace('1', "one")).unwrap();
    ada.push(w.project, "main", "deep/a.tf", &lines.replace('9', "nine")).unwrap();
    let iid = ada.open_merge_request(w.project, MergeRequestSpec::from("topic")).unwrap();
    ada.merge(w.project, iid).unwrap();
    let file = w.get(&w.path("/repository/files/deep%2Fa.tf/raw?ref=main")).await.expect(200);
    assert_eq!(file.text, lines.replace('1', "one").replace('9', "nine"));
}

#[tokio::test]
async fn lists_are_narrowed() {
    let w = world().await;
    let ada = w.gitlab.person("ada");
    ada.push(w.project, "topic", "a.tf", "1").unwrap();
    let iid = ada.open_merge_request(w.project, MergeRequestSpec::from("topic")).unwrap();
    let list = |query: &str| {
        let path = w.path(&format!("/merge_requests?{query}"));
        let w = &w;
        async move { w.get(&path).await }
    };
    let listed = list("source_branch=topic&state=opened&iids[]=1").await.expect(200);
    assert_eq!(listed.body[0]["iid"], iid.0);
    assert_eq!(list("updated_after=2100-01-01T00:00:00Z").await.body, json!([]));
    list("updated_after=yesterday").await.expect(400);
}
