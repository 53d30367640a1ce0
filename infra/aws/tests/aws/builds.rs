//! Builds that execute one run after the other.

use crate::world::{World, eventually};
use gantry_aws::codebuild::Build;
use reqwest::Method;
use serde_json::json;
use std::fs;

/// A build takes the next run that is like its first, and a run finds nothing that the one before
/// it has left. One with another role gets a build of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_takes_further_runs_on_a_clean_machine() {
    let world = World::new("further").await;
    if !world.cloud.codebuild.set_with_user() {
        // Without a user of its own for Terraform a build takes one run.
        gantry_terraform::left_out("a build that takes further runs: only root can give it a user");
        return;
    }
    let left = "/tmp/left-behind";
    let stack = json!({
        "name": "Network", "project": "acme/network", "branch": "main",
        "hooks": {"before_init": [
            format!("! ls {left}"),
            // A name that is no text does not hide it.
            format!("touch {left}; cp /bin/sleep \"$TMPDIR/$(printf 'gantry-left\\377')\""),
            "setsid $TMPDIR/gantry-left* 600 > /dev/null 2>&1 < /dev/null & sleep 0.2; kill -0 $!",
        ]},
    });
    world.api(Method::PUT, "/stacks/network", stack).await;
    // It may be late for a run, on a busy machine; then that run gets a build of its own.
    let mut runs = 0;
    while runs < world.cloud.codebuild.builds().len() + 2 {
        assert!(runs < 6, "builds take no further runs: {}", logs(&world));
        runs += 1;
        let name = format!("change-{runs}");
        let ended = world.ended(&world.push(&name, &name)).await;
        assert_eq!(ended.status, "success", "{name}: {ended:?} {}", logs(&world));
        eventually("a clean machine", async || {
            let logs = logs(&world);
            assert!(!logs.contains("not taking further runs"), "{logs}");
            Some(()).filter(|()| logs.matches("the machine is clean").count() == runs)
        })
        .await;
        assert_eq!(processes("gantry-left"), 0, "{name} has left a process behind");
    }
    let before = world.cloud.codebuild.builds().len();

    world.push("main", "tracked");
    let builds = eventually("a build with the other role", async || {
        Some(world.cloud.codebuild.builds()).filter(|builds| builds.len() > before)
    })
    .await;
    assert!(builds[..before].iter().all(|build| build.role == builds[0].role));
    assert_ne!(builds[0].role, builds[before].role);
    let forbidden = world.cloud.forbidden_calls().unwrap();
    assert!(forbidden.is_empty(), "{forbidden:#?}");
}

/// How many processes of this machine have a name that begins so.
fn processes(name: &str) -> usize {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let names = all.filter_map(|process| fs::read(process.path().join("comm")).ok());
    names.filter(|found| found.starts_with(name.as_bytes())).count()
}

/// What all builds have printed.
fn logs(world: &World) -> String {
    let print =
        |build: Build| fs::read_to_string(world.cloud.codebuild.log(&build.id)).unwrap_or_default();
    world.cloud.codebuild.builds().into_iter().map(print).collect()
}
