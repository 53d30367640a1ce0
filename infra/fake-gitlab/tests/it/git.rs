//! Real git against the server.

use std::path::Path;

use gantry_fake_gitlab::{CiMode, MergeRequestSpec, ProjectOptions, Protection, Visibility};
use serde_json::json;

use crate::support::{World, world, world_with};

/// Runs git; gives whether it worked, and what it said.
async fn git(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let output = tokio::process::Command::new("git")
        .current_dir(folder)
        .args(arguments)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .envs([("GIT_AUTHOR_NAME", "Ada"), ("GIT_AUTHOR_EMAIL", "ada@example.com")])
        .envs([("GIT_COMMITTER_NAME", "Ada"), ("GIT_COMMITTER_EMAIL", "ada@example.com")])
        .output()
        .await
        .unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    (output.status.success(), text)
}

#[track_caller]
fn works((ok, text): (bool, String)) -> String {
    assert!(ok, "{text}");
    text
}

fn address(w: &World, token: &str) -> String {
    let url = w.gitlab.clone_url(w.project);
    url.replace("http://", &format!("http://oauth2:{token}@"))
}

async fn hook_everything(w: &World) {
    let body = json!({
        "url": "http://127.0.0.1:1/", "tag_push_events": true, "merge_requests_events": true,
    });
    w.post(&w.path("/hooks"), body).await.expect(201);
}

#[tokio::test]
async fn clone_commit_push() {
    let w = world().await;
    hook_everything(&w).await;
    let folder = tempfile::tempdir().unwrap();
    works(git(folder.path(), &["clone", "-q", &address(&w, &w.token), "work"]).await);
    let work = folder.path().join("work");
    assert!(work.join("README.md").exists());
    works(git(&work, &["switch", "-qc", "feature/größe#1"]).await);
    for number in 0..3 {
        let name = format!("{number}.tf");
        std::fs::write(work.join(&name), "# nothing\n").unwrap();
        works(git(&work, &["add", &name]).await);
        works(git(&work, &["commit", "-qm", &format!("Commit {number}")]).await);
    }
    let said = works(git(&work, &["push", "-q", "origin", "HEAD"]).await);
    assert!(said.contains("To create a merge request for feature/größe#1, visit:"), "{said}");
    let hooks = w.gitlab.take_pending();
    assert_eq!(hooks.len(), 1);
    let body = hooks[0].json();
    assert_eq!(body["ref"], "refs/heads/feature/größe#1");
    assert_eq!(body["before"], "0".repeat(40));
    assert_eq!(body["checkout_sha"], body["after"]);
    assert_eq!(body["user_username"], "project_1_bot_abc");
}

#[tokio::test]
async fn a_push_moves_its_merge_request() {
    let w = world().await;
    let ada = w.gitlab.person("ada");
    let old = ada.push(w.project, "topic", "a.tf", "1").unwrap();
    let iid = ada.open_merge_request(w.project, MergeRequestSpec::from("topic")).unwrap();
    hook_everything(&w).await;
    let folder = tempfile::tempdir().unwrap();
    works(git(folder.path(), &["clone", "-qb", "topic", &address(&w, &w.token), "work"]).await);
    let work = folder.path().join("work");
    std::fs::write(work.join("a.tf"), "2").unwrap();
    works(git(&work, &["commit", "-qam", "Two", "--amend"]).await);
    let said = works(git(&work, &["push", "-qf"]).await);
    assert!(said.contains("View merge request for topic:"), "{said}");
    let new = w.gitlab.head(w.project, "topic").unwrap();
    assert_ne!(old, new);
    let hooks: Vec<_> = w.gitlab.take_pending().iter().map(|hook| hook.json()).collect();
    assert_eq!(hooks[0]["object_kind"], "push");
    assert_eq!(hooks[1]["object_attributes"]["action"], "update");
    assert_eq!(hooks[1]["object_attributes"]["oldrev"], old);
    assert_eq!(hooks[1]["object_attributes"]["last_commit"]["id"], new);
    assert_eq!(w.gitlab.mr(w.project, iid).unwrap().sha, new);
    let head = format!("refs/merge-requests/{iid}/head:refs/heads/review");
    works(git(&work, &["fetch", "-q", "origin", &head]).await);
}

#[tokio::test]
async fn more_than_three_refs_of_a_kind_fire_nothing() {
    let w = world().await;
    hook_everything(&w).await;
    let folder = tempfile::tempdir().unwrap();
    works(git(folder.path(), &["clone", "-q", &address(&w, &w.token), "work"]).await);
    let work = folder.path().join("work");
    for name in ["a", "b", "c", "d"] {
        works(git(&work, &["branch", name]).await);
    }
    works(git(&work, &["tag", "v1"]).await);
    works(git(&work, &["tag", "-am", "Two", "v2"]).await);
    works(git(&work, &["push", "-q", "origin", "a", "b", "c", "d", "v1", "v2"]).await);
    let hooks: Vec<_> = w.gitlab.take_pending().iter().map(|hook| hook.json()).collect();
    assert_eq!(hooks.len(), 2, "only the tags");
    let head = w.gitlab.head(w.project, "main").unwrap();
    assert_eq!(hooks[0]["after"], head);
    assert_ne!(hooks[1]["after"], head, "an annotated tag is an object of its own");
    assert_eq!(hooks[1]["checkout_sha"], head);
    works(git(&work, &["push", "-q", "origin", ":a", ":b", ":c"]).await);
    let hooks = w.gitlab.take_pending();
    assert_eq!(hooks.len(), 3);
    assert_eq!(hooks[0].json()["after"], "0".repeat(40));
    assert!(hooks[0].json()["checkout_sha"].is_null());
}

#[tokio::test]
async fn rights_are_checked() {
    let w = world().await;
    let folder = tempfile::tempdir().unwrap();
    let open = w.gitlab.clone_url(w.project);
    let (ok, said) = git(folder.path(), &["clone", "-q", &open, "a"]).await;
    assert!(!ok && said.contains("could not read Username"), "{said}");
    let stranger = w.gitlab.create_user("stranger");
    let token = w.gitlab.create_token(stranger, &["api"], None);
    let (ok, said) = git(folder.path(), &["clone", "-q", &address(&w, &token), "b"]).await;
    assert!(!ok && said.contains("not found"), "{said}");
    let read = w.gitlab.create_token(w.bot, &["read_repository"], None);
    works(git(folder.path(), &["clone", "-q", &address(&w, &read), "c"]).await);
    let work = folder.path().join("c");
    let (ok, _) = git(&work, &["push", "-q", "origin", "HEAD:refs/heads/x"]).await;
    assert!(!ok, "read_repository is not enough to push");
    w.gitlab.configure(w.project, |options| options.visibility = Visibility::Public);
    works(git(folder.path(), &["clone", "-q", &open, "d"]).await);
}

#[tokio::test]
async fn protected_branches_refuse_pushes() {
    let options = ProjectOptions {
        protected_branches: vec![Protection::maintainers("main"), Protection::no_push("release/*")],
        ..ProjectOptions::default()
    };
    let w = world_with(|_| (), options).await;
    let folder = tempfile::tempdir().unwrap();
    works(git(folder.path(), &["clone", "-q", &address(&w, &w.token), "work"]).await);
    let work = folder.path().join("work");
    let (ok, said) = git(&work, &["push", "-q", "origin", "HEAD:refs/heads/release/1"]).await;
    assert!(!ok && said.contains("not allowed to push code to protected branches"), "{said}");
    works(git(&work, &["commit", "-q", "--amend", "-m", "Rewritten"]).await);
    let (ok, said) = git(&work, &["push", "-qf", "origin", "HEAD:main"]).await;
    assert!(!ok && said.contains("not allowed to force push"), "{said}");
    let (ok, said) = git(&work, &["push", "-q", "origin", ":main"]).await;
    assert!(!ok && said.contains("default branch"), "{said}");
    assert!(w.gitlab.head(w.project, "release/1").is_none());
}

#[tokio::test]
async fn a_demo_takes_pushes_without_a_password() {
    let demo = |config: &mut gantry_fake_gitlab::Config| {
        config.anonymous_user = Some("root".to_owned());
    };
    let w = world_with(demo, ProjectOptions::default()).await;
    let folder = tempfile::tempdir().unwrap();
    works(git(folder.path(), &["clone", "-q", &w.gitlab.clone_url(w.project), "work"]).await);
    let work = folder.path().join("work");
    works(git(&work, &["push", "-q", "origin", "HEAD:refs/heads/x"]).await);
    assert!(w.gitlab.head(w.project, "x").is_some());
}

#[tokio::test]
async fn push_options_open_merge_requests_and_skip_ci() {
    let ci = gantry_fake_gitlab::Ci { mode: CiMode::Branch, ..Default::default() };
    let w = world_with(|_| (), ProjectOptions { ci, ..ProjectOptions::default() }).await;
    hook_everything(&w).await;
    let folder = tempfile::tempdir().unwrap();
    works(git(folder.path(), &["clone", "-q", &address(&w, &w.token), "work"]).await);
    let work = folder.path().join("work");
    works(git(&work, &["commit", "-q", "--allow-empty", "-m", "Work"]).await);
    let options = ["-o", "ci.skip", "-o", "merge_request.create", "-o", "merge_request.title=A b"];
    let push = ["push", "-q", "origin", "HEAD:refs/heads/topic"];
    works(git(&work, &[&push[..], &options[..]].concat()).await);
    let hooks: Vec<_> = w.gitlab.take_pending().iter().map(|hook| hook.json()).collect();
    assert_eq!(hooks[1]["object_attributes"]["title"], "A b");
    assert!(w.gitlab.pipelines(w.project).is_empty());
    works(git(&work, &["push", "-q", "origin", "HEAD:refs/heads/other"]).await);
    assert_eq!(w.gitlab.pipelines(w.project).len(), 1);
}

#[tokio::test]
async fn a_moved_project_is_still_cloned_from_its_old_address() {
    let w = world().await;
    let old = address(&w, &w.token);
    w.gitlab.move_project(w.project, "acme/moved").unwrap();
    let folder = tempfile::tempdir().unwrap();
    works(git(folder.path(), &["clone", "-q", &old, "work"]).await);
    assert!(folder.path().join("work/README.md").exists());
}
