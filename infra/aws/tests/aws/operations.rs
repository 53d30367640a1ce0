//! What operators and the cloud do to a running system: messages are given up and sent again,
//! builds do not start, the table is restored to an earlier time.

use crate::world::{World, eventually};
use gantry_aws::wire::Trouble;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;

/// While the records refuse the scheduler's writes, everything that it is sent is given up in the
/// end. Sent again, it becomes what it would have become.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_given_up_is_sent_again_as_if_nothing_had_happened() {
    let world = World::new("redrive").await;
    let write = "dynamodb:TransactWriteItems";
    world.cloud.wire.trouble("Scheduler", write, Trouble::Refuse, 0, usize::MAX);
    let commit = world.push("wider", "a");
    eventually("a dead letter", async || (world.dead().await > 0).then_some(())).await;
    assert!(world.status(&commit).is_none());

    world.cloud.wire.calm();
    let shown = world.operate(&["dead-letters"]);
    assert!(shown.starts_with("events\t"), "{shown}");
    let sent = world.operate(&["redrive"]);
    assert!(sent.contains("sent again") && !sent.contains("events: 0 "), "{sent}");
    let status = world.ended(&commit).await;
    assert_eq!(status.description.as_deref(), Some("1 to add, 0 to change, 0 to destroy"));
    eventually("no dead letter", async || (world.dead().await == 0).then_some(())).await;
    let runs = world.api(Method::GET, "/stacks/network/runs", Value::Null).await;
    let of_commit = |run: &&Value| run["commit"] == commit.as_str();
    assert_eq!(runs["runs"].as_array().unwrap().iter().filter(of_commit).count(), 1);
    let forbidden = world.cloud.forbidden_calls().unwrap();
    assert!(forbidden.is_empty(), "{forbidden:#?}");
}

/// A scheduler that dies in the middle of a batch, and a publisher that dies before it could say
/// what GitLab has taken, lose nothing and say nothing twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_die_in_the_middle_of_their_batches() {
    let world = World::new("killed").await;
    let hang = |function: &str, call: &str, after: usize| {
        world.cloud.wire.trouble(function, call, Trouble::Hang, after, 1);
    };
    hang("Scheduler", "dynamodb:TransactWriteItems", 1);
    let killed = async |function: &str| {
        world.cloud.wire.hung().await;
        world.cloud.lambda.kill(function);
    };
    let commits = ["a", "b", "c"].map(|name| world.push(name, name));
    killed("Scheduler").await;
    hang("Scheduler", "sqs:SendMessage", 0);
    killed("Scheduler").await;
    hang("Publisher", "dynamodb:PutItem", 0);
    killed("Publisher").await;
    hang("RunnerApi", "sqs:SendMessage", 0);
    killed("RunnerApi").await;
    for commit in &commits {
        assert_eq!(world.ended(commit).await.status, "success");
        // Each state was said once.
        let all = world.gitlab.statuses(world.project, commit);
        let ends = all.iter().filter(|s| s.name == "gantry/network" && s.status == "success");
        assert_eq!(ends.count(), 1);
    }
    let runs = world.api(Method::GET, "/stacks/network/runs", Value::Null).await;
    assert_eq!(runs["runs"].as_array().unwrap().len(), 3, "{runs}");
    assert_eq!(world.dead().await, 0);
}

/// What CodeBuild refuses for want of room waits, and is shown; what fails in its hands fails the
/// run with its words.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn builds_that_do_not_start() {
    let world = World::new("builds").await;
    let image = "BUILD_CONTAINER_UNABLE_TO_PULL_IMAGE: no such image";
    world.cloud.codebuild.set_broken(Some(image));
    let status = world.ended(&world.push("broken", "a")).await;
    assert_eq!(status.status, "failed");
    let text = status.description.unwrap();
    assert!(
        text.contains("before starting the run, 3 times") && text.contains("UNABLE_TO_PULL_IMAGE"),
        "{text}"
    );
    world.cloud.codebuild.set_broken(None);

    world.cloud.codebuild.set_quota(Some(0));
    let commit = world.push("crowded", "b");
    let shown = eventually("fewer runners", async || {
        let shown = world.api(Method::GET, "/operations", Value::Null).await;
        shown["fewer_runners"].is_object().then_some(shown)
    })
    .await;
    let words = shown["fewer_runners"]["words"].as_str().unwrap();
    assert!(words.starts_with("AccountLimitExceededException"), "{words}");
    assert_ne!(world.status(&commit).map(|status| status.status).as_deref(), Some("failed"));
    world.cloud.codebuild.set_quota(None);
    assert_eq!(world.ended(&commit).await.status, "success");
    let forbidden = world.cloud.forbidden_calls().unwrap();
    assert!(forbidden.is_empty(), "{forbidden:#?}");
}

/// The build of a run that ended before its claim is ended, and that of a runner that was lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn builds_that_nobody_needs_are_ended() {
    let world = World::new("stopped").await;
    let run_of = async |commit: &str, state: &str| {
        eventually(&format!("{commit} {state}"), async || {
            let runs = world.api(Method::GET, "/stacks/network/runs", Value::Null).await;
            let mut runs = runs["runs"].as_array().unwrap().iter();
            let run = runs.find(|run| run["commit"] == commit && run["state"] == state)?;
            Some(run["id"].as_str().unwrap().to_owned())
        })
        .await
    };
    let stopped = async |number: usize| {
        eventually("StopBuild", async || {
            world.cloud.codebuild.builds()[number].stopped.then_some(())
        })
        .await;
    };
    world.cloud.codebuild.set_waiting(true);
    let commit = world.push("canceled", "a");
    let run = run_of(&commit, "preparing").await;
    eventually("a build", async || (!world.cloud.codebuild.builds().is_empty()).then_some(()))
        .await;
    world.api(Method::POST, &format!("/runs/{run}/stop"), json!({})).await;
    stopped(0).await;
    world.cloud.codebuild.set_waiting(false);

    let stack = json!({
        "name": "Network", "project": "acme/network", "branch": "main",
        "hooks": {"before_plan": ["sleep 600"]},
    });
    world.api(Method::PUT, "/stacks/network", stack).await;
    let lost = async |branch: &str, name: &str, number: usize| {
        let commit = world.push(branch, name);
        run_of(&commit, "planning").await;
        world.cloud.codebuild.freeze(&world.cloud.codebuild.builds()[number].id);
        commit
    };
    let commit = lost("lost", "b", 1).await;
    // One that applies without another word may have begun with it.
    let stack = json!({
        "name": "Network", "project": "acme/network", "branch": "main", "autodeploy": true,
        "hooks": {"before_plan": ["sleep 600"]},
    });
    world.api(Method::PUT, "/stacks/network", stack).await;
    let tracked = lost("main", "c", 2).await;
    run_of(&commit, "failed").await;
    stopped(1).await;
    run_of(&tracked, "failed").await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!world.cloud.codebuild.builds()[2].stopped, "it may be applying");
    let forbidden = world.cloud.forbidden_calls().unwrap();
    assert!(forbidden.is_empty(), "{forbidden:#?}");
}

/// After the table was restored to an hour ago, no stack stays on an older state than object
/// storage holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn states_are_found_again_after_the_table_was_restored() {
    let world = World::new("restore").await;
    let state = |serial: u64, lineage: &str| json!({"version": 4, "serial": serial, "lineage": lineage, "resources": []});
    let current = async || {
        let shown = world.api(Method::GET, "/stacks/network/state", Value::Null).await;
        (shown["current"]["serial"].as_u64(), shown["versions"].as_array().unwrap().len())
    };
    world.api(Method::POST, "/stacks/network/state", state(4, "l")).await;
    let an_hour_ago = world.cloud.items().await.unwrap();
    for serial in [5, 6] {
        world.api(Method::POST, "/stacks/network/state", state(serial, "l")).await;
    }
    world.api(Method::POST, "/stacks/network/state?force=true", state(1, "other")).await;
    world.cloud.restore(an_hour_ago).await.unwrap();
    assert_eq!(current().await, (Some(4), 1));

    let restore = "/operations/restore-states";
    let (refused, why) = world.ask(Method::POST, restore, Value::Null).await;
    assert_eq!(refused, StatusCode::CONFLICT, "{why}");
    let paused = "no runner is started from now on; no run executes";
    assert_eq!(world.operate(&["pause"]), paused);
    let waiting = world.push("while-paused", "a");
    let restored = world.api(Method::POST, restore, Value::Null).await;
    assert_eq!(
        restored["stacks"],
        json!([{
            "stack": "network", "before": 4, "current": 6, "found": 3,
            "conflict": "states of 1 other lineages were set aside",
        }])
    );
    // The four of before, and the newest once more, as the current one.
    assert_eq!(current().await, (Some(6), 5));
    let again = "0 stacks had states that the records did not know, 0 wait for your decision";
    assert_eq!(world.operate(&["restore"]), again);

    // Nothing was started meanwhile, and nothing is forgotten.
    assert!(world.cloud.codebuild.builds().is_empty());
    assert_eq!(world.operate(&["resume"]), "runners are started again");
    assert_eq!(world.ended(&waiting).await.status, "success");
    let forbidden = world.cloud.forbidden_calls().unwrap();
    assert!(forbidden.is_empty(), "{forbidden:#?}");
}
