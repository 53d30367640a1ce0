//! Private workers: the real program with `--poll`, on a machine that CodeBuild knows nothing of.

use crate::world::{World, eventually};
use gantry_aws::tools;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::{
    fs::File,
    process::{Child, Command, Stdio},
};

fn worker(world: &World, key: &str) -> Child {
    let log = File::create(world.cloud.folder.join("worker.log")).unwrap();
    Command::new(tools::program("gantry-runner").unwrap())
        .args(["--poll", "--slots", "2"])
        .env_clear()
        .env("PATH", gantry_terraform::path())
        .env("GANTRY_RUNNER_API", &world.cloud.address)
        .env("GANTRY_RUNNER_WORK", world.cloud.folder.join("worker"))
        .env("GANTRY_RUNNER_NAME", "office-1")
        .env("GANTRY_WORKER_KEY", key)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_take_the_runs_of_their_pool_and_end_when_they_are_asked_to() {
    let world = World::new("workers").await;
    std::fs::create_dir_all(world.cloud.folder.join("worker")).unwrap();
    let key = json!({"name": "office-1", "role": "worker"});
    let (refused, _) = world.ask(Method::POST, "/keys", key).await;
    assert_eq!(refused, StatusCode::UNPROCESSABLE_ENTITY);
    let key = json!({"name": "office-1", "role": "worker", "pool": "office"});
    let key = world.api(Method::POST, "/keys", key).await;
    let key = key["key"].as_str().unwrap();
    let other = json!({"name": "home", "role": "worker", "pool": "home"});
    let other = world.api(Method::POST, "/keys", other).await;
    let stack = json!({
        "name": "Network", "project": "acme/network", "branch": "main", "pool": "office",
        "hooks": {"before_plan": ["sleep 2"]},
    });
    world.api(Method::PUT, "/stacks/network", stack).await;

    // Nobody takes it, and no build is started for it.
    let first = world.push("first", "a");
    eventually("a run that waits", async || {
        let runs = world.api(Method::GET, "/stacks/network/runs", Value::Null).await;
        runs["runs"].as_array().unwrap().iter().any(|run| run["state"] == "preparing").then_some(())
    })
    .await;
    let next = async |key: &str| {
        let url = format!("{}/runner/v1/next", world.cloud.address);
        world.http.post(url).bearer_auth(key).send().await.unwrap().status()
    };
    assert_eq!(next(other["key"].as_str().unwrap()).await, StatusCode::NO_CONTENT);
    assert_eq!(next(&world.key).await, StatusCode::UNAUTHORIZED);
    // A worker's key does nothing else.
    let stacks = world.http.get(format!("{}/api/v1/stacks", world.cloud.address));
    assert_eq!(stacks.bearer_auth(key).send().await.unwrap().status(), StatusCode::FORBIDDEN);

    // Nothing starts while starts are paused, here neither.
    world.api(Method::PUT, "/operations/pause", json!({"paused": true})).await;
    assert_eq!(next(key).await, StatusCode::NO_CONTENT);
    world.api(Method::PUT, "/operations/pause", json!({"paused": false})).await;
    assert_eq!(next(key).await, StatusCode::OK);

    let mut process = worker(&world, key);
    assert_eq!(world.ended(&first).await.status, "success");
    // Several at once, and no more once it was asked to end.
    let (second, third) = (world.push("second", "b"), world.push("third", "c"));
    eventually("two runs at once", async || {
        let runs = world.api(Method::GET, "/stacks/network/runs", Value::Null).await;
        let busy = |run: &&Value| run["state"] == "initializing" || run["state"] == "planning";
        (runs["runs"].as_array().unwrap().iter().filter(busy).count() == 2).then_some(())
    })
    .await;
    kill(Pid::from_raw(process.id().cast_signed()), Signal::SIGTERM).unwrap();
    let last = world.push("last", "d");
    assert_eq!(world.ended(&second).await.status, "success");
    assert_eq!(world.ended(&third).await.status, "success");
    eventually("the worker's end", async || process.try_wait().unwrap()).await;
    assert_ne!(world.status(&last).map(|status| status.status).as_deref(), Some("success"));
    assert!(world.cloud.codebuild.builds().is_empty());

    // Another one goes on.
    let mut process = worker(&world, key);
    assert_eq!(world.ended(&last).await.status, "success");
    kill(Pid::from_raw(process.id().cast_signed()), Signal::SIGTERM).unwrap();
    eventually("the worker's end", async || process.try_wait().unwrap()).await;
    let forbidden = world.cloud.forbidden_calls().unwrap();
    assert!(forbidden.is_empty(), "{forbidden:#?}");
}
