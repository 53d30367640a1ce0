//! What admins do, with the roles that the functions have.

use crate::world::World;
use gantry_fake_gitlab::ProjectOptions;
use reqwest::Method;
use serde_json::{Value, json};

/// Whatever the API offers and the story does not need: roles allow it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_functions_may_do_whatever_admins_ask_for() {
    let world = World::new("admin").await;
    let post = async |path: &str, body: Value| world.api(Method::POST, path, body).await;
    world.ended(&world.push("first", "a")).await;
    let run = post("/stacks/network/runs", json!({})).await;
    assert!(run.is_object(), "{run}");
    let key = post("/keys", json!({"name": "ci", "role": "read"})).await;
    world.api(Method::DELETE, &format!("/keys/{}", key["id"].as_str().unwrap()), json!({})).await;
    post("/integration/rotate-secret", json!({})).await;
    post("/integration/rotate-secret", json!({"end": true})).await;
    for paused in [true, false] {
        world.api(Method::PUT, "/operations/pause", json!({"paused": paused})).await;
    }
    for path in [
        "/integration",
        "/operations",
        "/keys",
        "/sessions",
        "/stacks",
        "/stacks/network",
        "/stacks/network/runs",
        "/stacks/network/state",
        "/modules",
        "/waiting",
        "/events",
        "/activity",
    ] {
        world.api(Method::GET, path, Value::Null).await;
    }

    // Whatever strangers ask for gets an answer of the function's own.
    for path in ["/stacks/a%20b", "/stacks/a%3Fb", "/stacks/100%25", "/stacks/%C3%A4"] {
        let (status, answer) = world.ask(Method::GET, path, Value::Null).await;
        assert_eq!((status.as_u16(), answer["title"].is_string()), (404, true), "{path}: {answer}");
    }

    // To another project and away; a module too.
    for name in ["acme/other", "acme/terraform-null-zone"] {
        let project = world.gitlab.create_project(name, ProjectOptions::default()).unwrap();
        world.gitlab.set_member(project, world.bot, 40);
        world.gitlab.person("you").push(project, "main", "main.tf", "# empty\n").unwrap();
    }
    let other = json!({"name": "Other", "project": "acme/other", "branch": "main"});
    post("/stacks", other).await;
    let moved = json!({"name": "Other", "project": "acme/network", "branch": "main"});
    world.api(Method::PUT, "/stacks/other", moved).await;
    world.api(Method::DELETE, "/stacks/other", json!({})).await;
    post("/modules", json!({"project": "acme/terraform-null-zone"})).await;
    world.api(Method::GET, "/modules/zone/versions", Value::Null).await;
    world.api(Method::DELETE, "/modules/zone", json!({})).await;
    world.api(Method::DELETE, "/integration", json!({})).await;
    let forbidden = world.cloud.forbidden_calls().unwrap();
    assert!(forbidden.is_empty(), "{forbidden:#?}");
}
