//! How the program starts: what it refuses to start with, and what it says when it is up.

use crate::support::{BOT, Kind, World, free_address, program, text, write_runner};
use gantry_local::Intervals;
use serde_json::json;
use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Stdio,
    time::Duration,
};
use tokio::io::{AsyncBufReadExt as _, BufReader};

const PATIENCE: Duration = Duration::from_secs(30);

/// What it says when it refuses to start.
async fn refusal(folder: &Path, unconfined: &str) -> String {
    let mut gantry = program(folder, "run", free_address());
    gantry.env("GANTRY_UNCONFINED_RUNS", unconfined);
    gantry.stdout(Stdio::piped()).stderr(Stdio::piped());
    let ended = gantry.spawn().unwrap().wait_with_output();
    let ended = tokio::time::timeout(PATIENCE, ended).await.expect("it stays up").unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    said
}

#[tokio::test]
async fn a_runner_that_is_none_stops_the_start_whether_runs_are_confined_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let runner = folder.path().join("runner.sh");
    let is_refused = async |why: &str| {
        let runner = runner.display();
        let expected = format!("the runner {runner} {why}: set --runner (GANTRY_RUNNER)\n");
        for unconfined in ["false", "true"] {
            let said = refusal(folder.path(), unconfined).await;
            assert!(said.ends_with(&expected), "{said}");
            assert!(!said.contains('\u{1b}'), "{said:?}");
        }
    };
    is_refused("cannot be started (No such file or directory)").await;
    fs::create_dir(&runner).unwrap();
    is_refused("cannot be started (it is a folder)").await;
    fs::remove_dir(&runner).unwrap();
    fs::write(&runner, "#!/bin/sh\necho another 1.0\n").unwrap();
    is_refused("cannot be started (Permission denied)").await;
    fs::set_permissions(&runner, Permissions::from_mode(0o755)).unwrap();
    is_refused("is not gantry-runner (it answers \"another 1.0\" to --version)").await;
}

#[tokio::test]
async fn a_path_without_a_tool_is_told_before_a_run_needs_one() {
    let folder = tempfile::tempdir().unwrap();
    write_runner(folder.path());
    let mut gantry = program(folder.path(), "run", free_address());
    gantry.env("PATH", "/nowhere").stdout(Stdio::null()).stderr(Stdio::piped());
    let mut gantry = gantry.spawn().unwrap();
    let mut lines = BufReader::new(gantry.stderr.take().unwrap()).lines();
    let warned = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains("neither `terraform` nor `tofu` is on PATH") {
                return line;
            }
        }
        panic!("it has ended")
    };
    let line = tokio::time::timeout(PATIENCE, warned).await.expect("nothing is said of it");
    assert!(line.contains(" WARN "), "{line}");
    gantry.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn it_asks_for_a_gitlab_until_one_is_connected() {
    let mut w = World::new(Kind::Program, &[("main.tf", "# Nothing yet.\n")]).await;
    let said = async |w: &World, what: &str| {
        w.eventually(what, async || w.operator_logs().contains(what).then_some(())).await;
    };
    said(&w, "connect your GitLab").await;
    w.kill().await;
    w.start_again().await;
    let host = w.gitlab.base_url().trim_start_matches("http://");
    said(&w, &format!("\nConnected to {host} as @{BOT}.\n")).await;
    assert_eq!(w.operator_logs().matches("connect your GitLab").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_says_why_its_runner_cannot_be_started_until_one_is() {
    let w =
        World::new(Kind::Inside(Intervals::default()), &[("main.tf", "# Nothing yet.\n")]).await;
    w.stack(json!({})).await;
    w.webhook().await;
    let runner = w.data_dir().with_file_name("runner.sh");
    let set_mode = |mode| fs::set_permissions(&runner, Permissions::from_mode(mode)).unwrap();
    set_mode(0o644);
    let commit = w.push("topic", "# Something.\n");
    let waits_for = async || {
        let run = w.runs_of(&commit).await.into_iter().next()?;
        let run = w.api.get(&format!("/runs/{}", text(&run, "/id"))).await.good();
        Some(text(&run, "/waits_for"))
    };
    let said = w
        .eventually("the reason", async || {
            waits_for().await.filter(|said| said.contains("could not be started"))
        })
        .await;
    let why =
        "A runner could not be started: Permission denied (os error 13). Gantry keeps trying.";
    assert_eq!(said, why);
    set_mode(0o755);
    w.run_is(&commit, "finished").await;
    assert_eq!(waits_for().await.unwrap(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_says_that_its_runner_ended_before_it_began() {
    let w =
        World::new(Kind::Inside(Intervals::default()), &[("main.tf", "# Nothing yet.\n")]).await;
    w.stack(json!({})).await;
    w.webhook().await;
    let runner = w.data_dir().with_file_name("runner.sh");
    fs::write(&runner, "#!/bin/sh\necho secret >&2\nexit 7\n").unwrap();
    let commit = w.push("topic", "# Something.\n");
    let said = w
        .eventually("the reason", async || {
            let run = w.runs_of(&commit).await.into_iter().next()?;
            let run = w.api.get(&format!("/runs/{}", text(&run, "/id"))).await.good();
            Some(text(&run, "/waits_for")).filter(|said| said.contains("could not be started"))
        })
        .await;
    let why = "it ended with exit status: 7; its log says why. Gantry keeps trying.";
    assert_eq!(said, format!("A runner could not be started: {why}"));
}
