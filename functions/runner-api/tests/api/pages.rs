//! The forms of a stack's page that change its state: one click asks, the answer does it.

use crate::support::{Answer, World, lock_info, stack_id, state_body};
use axum::http::Method;
use gantry_domain::{
    run::{RunState, RunType},
    stack::StackHead,
};
use gantry_store::{
    config::{Activity, Role},
    keys,
    runner::StateLock,
};
use serde_json::Value;

const STATE: &str = "/api/v1/stacks/network/state";
const RESTORE: &str = "/stacks/network/state/restore";
const UNLOCK: &str = "/stacks/network/state/unlock";

/// Where an answer leads.
#[track_caller]
fn leads_to(answer: Answer) -> String {
    let answer = answer.expect(303);
    answer.headers["location"].to_str().unwrap().to_owned()
}

async fn current(world: &World, key: &str) -> Value {
    world.get(STATE, key).await.expect(200).json::<Value>()["current"]["serial"].clone()
}

async fn is_locked(world: &World) -> bool {
    world.store.get::<StateLock>(&keys::lock(&stack_id())).await.unwrap().is_some()
}

/// What the stack's page says of it.
async fn said(world: &World) -> Vec<String> {
    let all = world.store.query_all::<Activity>(keys::ACTIVITY, "").await.unwrap();
    let of_state = all.into_iter().filter(|a| a.value.what.ends_with(" the state of network"));
    of_state.map(|a| format!("{}: {}", a.value.what, a.value.outcome)).collect()
}

#[tokio::test]
async fn a_state_is_restored_once_it_is_meant() {
    let world = World::new().await;
    let admin = world.admin(Role::Admin).await;
    for serial in [4, 5] {
        let body = state_body(serial, "l").into();
        world.send(Method::POST, STATE, &admin, body).await.expect(200);
    }
    let asked = world.form(RESTORE, &admin, "version=1").await;
    assert_eq!(leads_to(asked), "../restore?version=1");
    assert_eq!(current(&world, &admin).await, 5);
    assert!(said(&world).await.is_empty());

    let done = world.form(RESTORE, &admin, "sure=yes&version=1").await;
    assert_eq!(leads_to(done), "../../network?state=done#state");
    assert_eq!(current(&world, &admin).await, 4);
    let lines = said(&world).await;
    assert_eq!(lines, ["restored version 1 of the state of network: now version 3 (serial 4)"]);

    let refused = world.form(RESTORE, &admin, "sure=yes&version=77").await;
    assert_eq!(leads_to(refused), "../../network?state=refused#state");
    assert!(
        said(&world)
            .await
            .iter()
            .any(|line| line.contains("version 77") && line.contains("refused"))
    );
    assert_eq!(current(&world, &admin).await, 4);
}

#[tokio::test]
async fn a_state_is_unlocked_once_it_is_meant() {
    let world = World::new().await;
    let admin = world.admin(Role::Admin).await;
    let run = world.run("r1", RunType::Tracked).await;
    let token = world.claimed(&run).await;
    world.lock(&token, &lock_info("a").id).await.expect(204);

    assert_eq!(leads_to(world.form(UNLOCK, &admin, "").await), "../unlock");
    assert!(is_locked(&world).await && said(&world).await.is_empty());

    // Not even then while a run works on it.
    let head = keys::stack_head(&stack_id());
    let held = StackHead { tracked: Some(run.id.clone()), ..StackHead::default() };
    world.put(head.clone(), &held).await;
    let refused = world.form(UNLOCK, &admin, "sure=yes").await;
    assert_eq!(leads_to(refused), "../../network?state=refused#state");
    assert!(is_locked(&world).await);

    world.edit(&run.id, |run| run.state = RunState::Failed).await;
    world.put(head, &StackHead::default()).await;
    let done = world.form(UNLOCK, &admin, "sure=yes").await;
    assert_eq!(leads_to(done), "../../network?state=done#state");
    assert!(!is_locked(&world).await);
    assert!(said(&world).await.contains(&"unlocked the state of network: done".to_owned()));
}

#[tokio::test]
async fn a_form_that_nobody_here_sent_changes_nothing() {
    let world = World::new().await;
    let (admin, deploy) = (world.admin(Role::Admin).await, world.admin(Role::Deploy).await);
    for serial in [4, 5] {
        let body = state_body(serial, "l").into();
        world.send(Method::POST, STATE, &admin, body).await.expect(200);
    }
    // The last token counts where there are two: a form has one.
    for (key, fields) in [("nobody", "sure=yes&version=1"), (&deploy, "sure=yes&version=1")] {
        let answer = world.form(RESTORE, key, fields).await;
        let refused = answer.status == 401 || leads_to(answer).contains("state=refused");
        assert!(refused, "{key}");
    }
    assert_eq!(current(&world, &admin).await, 5);
    let lines = said(&world).await;
    assert!(lines.iter().any(|line| line.starts_with("replace the state of network: refused: ")));
}
