//! The host is killed in the middle of everything, and started again where it was.

use crate::support::{BOT, GATE, Kind, SLUG, STATUS, World, array, text};
use gantry_terraform::on_each_tool;
use serde_json::json;
use std::time::Duration;

const ONE: &str = "resource \"terraform_data\" \"one\" {\n  input = \"one\"\n}\n";
const TWO: &str = "resource \"terraform_data\" \"two\" {\n  input = \"two\"\n}\n";
/// Its apply takes a while, and writes the state after that.
const SLOW: &str = r#"resource "terraform_data" "slow" {
  provisioner "local-exec" {
    command = "echo it begins; sleep 4"
  }
}
"#;

on_each_tool! {
    async fn a_plan_goes_on_and_nothing_is_doubled(tool) {
        let mut w = World::on(tool, Kind::Program, &[("main.tf", ONE)]).await;
        w.stack(json!({ "hooks": { "before_plan": ["sleep 3"] } })).await;
        w.webhook().await;

        let commit = w.push("topic", &format!("{ONE}{TWO}"));
        let iid = w.open("topic");
        let run = w.run_is(&commit, "planning").await;
        w.logged(&run, "sleep 3").await;
        w.kill().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        w.start_again().await;

        assert_eq!(w.run_is(&commit, "finished").await, run);
        let done = "2 to add, 0 to change, 0 to destroy";
        assert!(w.succeeded(&commit, STATUS).await.contains(done));
        w.succeeded(&commit, GATE).await;
        w.note(iid, "two").await;
        w.settle().await;
        assert_eq!(w.runs().await.len(), 1);
        assert_eq!(w.runners().len(), 1, "{}", w.told());
        assert_eq!(w.gitlab.notes(w.project, iid).iter().filter(|n| n.author == BOT).count(), 1);
        for name in [STATUS, GATE] {
            assert_eq!(w.jobs(&commit, name).len(), 1, "{}", w.told());
        }
    }
}

on_each_tool! {
    async fn an_apply_goes_on_and_its_state_arrives(tool) {
        let mut w = World::on(tool, Kind::Program, &[("main.tf", ONE)]).await;
        w.stack(json!({})).await;
        w.webhook().await;

        let commit = w.push("main", &format!("{ONE}{SLOW}"));
        let run = w.run_is(&commit, "unconfirmed").await;
        w.confirm(&run).await;
        w.run_is(&commit, "applying").await;
        w.logged(&run, "it begins").await;
        w.kill().await;
        // Terraform writes its state while nobody takes it.
        tokio::time::sleep(Duration::from_secs(6)).await;
        w.start_again().await;

        assert_eq!(w.run_is(&commit, "finished").await, run);
        let done = "2 added, 0 changed, 0 destroyed";
        assert!(w.succeeded(&commit, STATUS).await.contains(done));
        w.settle().await;
        assert_eq!(w.runs().await.len(), 1);
        assert_eq!(w.jobs(&commit, STATUS).len(), 1, "{}", w.told());
        let deployments = w.gitlab.deployments(w.project);
        let ends: Vec<_> = deployments.iter().map(|d| d.status.as_str()).collect();
        assert_eq!(ends, ["success"]);

        let stack = w.api.get(&format!("/stacks/{SLUG}")).await.good();
        assert_eq!(text(&stack, "/status/blocked"), "");
        let state = w.api.get(&format!("/stacks/{SLUG}/state")).await.good();
        assert_eq!(text(&state, "/current/resources"), "2", "{state:#}");
        assert_eq!(text(&state, "/lock"), "");
        assert!(array(&state, "/versions").iter().all(|v| v["rescued"] == json!(false)), "{state:#}");

        let again = w.push("main", &format!("# The same.\n{ONE}{SLOW}"));
        w.run_is(&again, "finished").await;
        assert!(w.succeeded(&again, STATUS).await.contains("No changes"));
    }
}

/// The first one's runner waits meanwhile, and goes on when its host is killed.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_host_is_refused_until_the_first_is_gone() {
    let mut w = World::new(Kind::Program, &[("main.tf", ONE)]).await;
    let waits = "touch $TMPDIR/waits; until [ -e $TMPDIR/go ]; do sleep 0.05; done";
    w.stack(json!({ "hooks": { "before_plan": [waits] } })).await;
    w.webhook().await;
    let commit = w.push("topic", TWO);
    let run = w.run_is(&commit, "planning").await;
    let folder = w.data_dir().join("runners").join(&run).join("tmp");
    w.eventually("the hook", async || folder.join("waits").exists().then_some(())).await;

    let second = w.second_host().await;
    let said = String::from_utf8(second.stderr).unwrap();
    let expected = format!(
        "another Gantry (process {}) uses the folder {}; stop it, ",
        w.host_process(),
        w.data_dir().display()
    );
    assert!(!second.status.success() && said.contains(&expected), "{}\n{said}", second.status);

    w.kill().await;
    w.start_again().await;
    std::fs::write(folder.join("go"), "").unwrap();
    assert_eq!(w.run_is(&commit, "finished").await, run);
    assert_eq!(w.runners().len(), 1, "{}", w.told());
}

/// From the moment a run is known to the one in which it has ended.
#[tokio::test(flavor = "multi_thread")]
async fn at_any_moment_each_commit_gets_one_run_with_one_end() {
    let mut w = World::new(Kind::Program, &[("main.tf", ONE)]).await;
    w.stack(json!({})).await;
    w.webhook().await;

    let mut commits = Vec::new();
    for (at, wait) in [0, 100, 300, 700, 1500].into_iter().enumerate() {
        let commit = w.push(&format!("topic-{at}"), &format!("{ONE}{TWO}# {at}\n"));
        w.eventually("the run", async || w.runs_of(&commit).await.into_iter().next()).await;
        tokio::time::sleep(Duration::from_millis(wait)).await;
        w.kill().await;
        w.start_again().await;
        commits.push(commit);
    }
    for commit in &commits {
        w.run_is(commit, "finished").await;
        w.succeeded(commit, STATUS).await;
        w.succeeded(commit, GATE).await;
    }
    w.settle().await;
    for commit in &commits {
        assert_eq!(w.runs_of(commit).await.len(), 1);
        for name in [STATUS, GATE] {
            assert_eq!(w.jobs(commit, name).len(), 1, "{name} of {commit}\n{}", w.told());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_gitlab_told_while_nobody_listened_is_found() {
    let mut w = World::new(Kind::Program, &[("main.tf", ONE)]).await;
    w.stack(json!({})).await;
    w.webhook().await;
    // Hooks come: comparing is rare from here on.
    w.run_is(&w.push("before", TWO), "finished").await;

    w.kill().await;
    let topic = w.push("topic", &format!("{ONE}{TWO}"));
    let iid = w.open("topic");
    let main = w.push("main", &format!("{ONE}# Another line.\n"));
    w.start_again().await;
    w.run_is(&topic, "finished").await;
    w.run_is(&main, "unconfirmed").await;
    w.note(iid, "two").await;
    w.settle().await;
    assert_eq!(w.runs_of(&topic).await.len(), 1);
    assert_eq!(w.runs_of(&main).await.len(), 1);
}
