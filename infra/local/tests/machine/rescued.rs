//! The runner is killed while it applies, with the host or without it: nothing is made twice, the
//! state is with Gantry, and a person decides before anything is planned against the old one.

use crate::support::{Kind, SLUG, World, array, text};
use gantry_domain::stack::Tool;
use gantry_terraform::on_each_tool;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use std::path::PathBuf;

const ONE: &str = "resource \"terraform_data\" \"one\" {\n  input = \"one\"\n}\n";
/// Waits in the run's own folder until the test lets it go on, and says much afterwards.
const SLOW: &str = r#"resource "terraform_data" "slow" {
  provisioner "local-exec" {
    command = "echo it begins; until [ -e $TMPDIR/go ]; do sleep 0.05; done; seq 2000"
  }
}
"#;

/// Who is killed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Killed {
    Runner,
    /// The host first: nobody is there when the runner dies.
    Both,
}

async fn state(w: &World) -> Value {
    w.api.get(&format!("/stacks/{SLUG}/state")).await.good()
}

/// Where Terraform waits for the word to go on.
fn go(w: &World, run: &str) -> PathBuf {
    w.data_dir().join("runners").join(run).join("tmp/go")
}

async fn killed(tool: Tool, who: Killed) {
    let mut w = World::new(Kind::Program, &[("main.tf", ONE)]).await;
    // What comes next would be applied without a word.
    w.stack(json!({ "tool": tool, "autodeploy": true })).await;
    w.webhook().await;
    let commit = w.push("main", &format!("{ONE}{SLOW}"));
    let run = w.run_is(&commit, "applying").await;
    w.logged(&run, "it begins").await;
    if who == Killed::Both {
        w.kill().await;
    }
    let runner = w.runners().pop().unwrap();
    kill(Pid::from_raw(runner.try_into().unwrap()), Signal::SIGKILL).unwrap();
    // It goes on while nobody is there.
    std::fs::write(go(&w, &run), "").unwrap();
    if who == Killed::Both {
        w.start_again().await;
    }

    w.run_is(&commit, "failed").await;
    let shown = w.api.get(&format!("/runs/{run}")).await.good();
    let said = text(&shown, "/ending/summary");
    assert!(said.contains("its state was kept aside"), "{shown:#}");
    let stack = w.api.get(&format!("/stacks/{SLUG}")).await.good();
    assert!(text(&stack, "/status/blocked/reason").contains("kept aside"), "{stack:#}");
    let known = state(&w).await;
    let rescued = array(&known, "/versions").iter().find(|v| v["rescued"] == json!(true)).unwrap();
    assert_eq!(text(rescued, "/resources"), "2", "{known:#}");
    w.eventually("an empty folder", async || {
        let run = w.data_dir().join("runners").join(&run);
        (!run.exists()).then_some(())
    })
    .await;

    // The next commit waits for a person, who puts the state right first.
    let next = w.push("main", &format!("# The same.\n{ONE}{SLOW}"));
    w.run_is(&next, "queued").await;
    let restore = json!({ "restore": rescued["version"] });
    w.api.post(&format!("/stacks/{SLUG}/state"), &restore).await.good();
    assert_eq!(text(&w.runs_of(&next).await[0], "/state"), "queued", "it did not wait");
    let reason = json!({ "reason": "restored the state" });
    w.api.post(&format!("/stacks/{SLUG}/unblock"), &reason).await.good();
    w.run_is(&next, "finished").await;
    let again = w.runs_of(&next).await;
    assert_eq!(text(&again[0], "/delta/add"), "0", "it would be made again: {again:#?}");
    assert_eq!(w.runs().await.len(), 2);
}

on_each_tool! {
    async fn the_runner_is_killed(tool) {
        killed(tool, Killed::Runner).await;
    }

    async fn host_and_runner_are_killed(tool) {
        killed(tool, Killed::Both).await;
    }
}
