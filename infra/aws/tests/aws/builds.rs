//! Builds that execute one run after the other.

use crate::world::{World, eventually};
use reqwest::Method;
use serde_json::json;
use std::time::Duration;

/// A build takes the next run that is like its first, and a run finds nothing that the one before
/// it has left. One with another role gets a build of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_takes_further_runs_on_a_clean_machine() {
    let world = World::new("further").await;
    if !world.cloud.codebuild.set_with_user() {
        // Only root can give Terraform a user of its own; without one a build takes one run.
        return;
    }
    let left = "/tmp/gantry-left";
    let stack = json!({
        "name": "Network", "project": "acme/network", "branch": "main",
        "hooks": {"before_init": [
            format!("! ls {left}"),
            "! grep --files-with-matches gantry-left /proc/[0-9]*/comm",
            // A name that is no text does not hide it.
            format!("touch {left}; cp /bin/sleep \"$TMPDIR/$(printf 'gantry-left\\377')\""),
            "setsid $TMPDIR/gantry-left* 600 > /dev/null 2>&1 < /dev/null & sleep 0.2",
            "grep --quiet gantry-left /proc/[0-9]*/comm",
        ]},
    });
    world.api(Method::PUT, "/stacks/network", stack).await;
    for name in ["first", "second", "third"] {
        let ended = world.ended(&world.push(name, name)).await;
        assert_eq!(ended.status, "success", "{name}: {ended:?}");
        // The machine is cleaned.
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    let builds = world.cloud.codebuild.builds();
    assert_eq!(builds.len(), 1, "{builds:#?}");

    world.push("main", "tracked");
    let builds = eventually("a second build", async || {
        Some(world.cloud.codebuild.builds()).filter(|builds| builds.len() > 1)
    })
    .await;
    assert_ne!(builds[0].role, builds[1].role);
    let forbidden = world.cloud.forbidden_calls().unwrap();
    assert!(forbidden.is_empty(), "{forbidden:#?}");
}
