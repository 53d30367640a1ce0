//! Who holds a state's lock.

use crate::support::{World, lock_info, stack_id};
use axum::http::Method;
use gantry_domain::{
    protocol::LockInfo,
    run::{Phase, RunState, RunType},
};
use gantry_store::{keys, runner::StateLock};

async fn holder(world: &World) -> Option<String> {
    let lock = world.store.get::<StateLock>(&keys::lock(&stack_id())).await.unwrap();
    lock.map(|lock| lock.value.info.id)
}

#[tokio::test]
async fn a_lock_has_one_holder() {
    let world = World::new().await;
    let (one, two) =
        (world.run("r1", RunType::Tracked).await, world.run("r2", RunType::Tracked).await);
    let (first, second) = (world.claimed(&one).await, world.claimed(&two).await);
    world.lock(&first, "a").await.expect(204);
    world.lock(&first, "a").await.expect(204);
    let refused: LockInfo = world.lock(&second, "b").await.expect(423).json();
    assert_eq!(refused, lock_info("a"));
    world.lock(&first, "c").await.expect(423);

    let unlock = async |token: &str, id: &str| {
        world.json(Method::DELETE, "state/lock", token, &lock_info(id)).await
    };
    unlock(&second, "a").await.expect(423);
    unlock(&first, "b").await.expect(423);
    unlock(&first, "a").await.expect(204);
    unlock(&first, "a").await.expect(204);
    assert_eq!(holder(&world).await, None);
    world.lock(&second, "b").await.expect(204);
    world.send(Method::DELETE, "state/lock", &second, vec![]).await.expect(204);
    world.send(Method::POST, "state/lock", &second, b"?".to_vec()).await.expect(400);
}

#[tokio::test]
async fn a_lock_falls_to_others_when_its_holder_is_over() {
    let world = World::new().await;
    let (one, two) =
        (world.run("r1", RunType::Tracked).await, world.run("r2", RunType::Tracked).await);
    let (first, second) = (world.claimed(&one).await, world.claimed(&two).await);
    world.lock(&first, "a").await.expect(204);
    world.edit(&one.id, |run| (run.state, run.lost) = (RunState::Failed, true)).await;
    world.lock(&second, "b").await.expect(423);
    world.lock(&first, "a").await.expect(204);
    world.edit(&one.id, |run| run.lost = false).await;
    world.lock(&first, "a").await.expect(410);
    world.lock(&second, "b").await.expect(204);
    assert_eq!(holder(&world).await.as_deref(), Some("b"));

    let next = world
        .edit(&two.id, |run| {
            (run.state, run.phase, run.attempt) = (RunState::Confirmed, Phase::Apply, 2);
        })
        .await;
    let apply = world.claimed(&next).await;
    world.lock(&apply, "c").await.expect(204);
    assert_eq!(holder(&world).await.as_deref(), Some("c"), "from the run's own earlier attempt");
}

#[tokio::test]
async fn a_preview_locks_nothing_and_a_test_only_what_is_its_own() {
    let world = World::new().await;
    let preview = world.run("r1", RunType::Proposed).await;
    let token = world.claimed(&preview).await;
    world.lock(&token, "a").await.expect(403);
    let tests = [world.run("r2", RunType::Test).await, world.run("r3", RunType::Test).await];
    for (test, id) in tests.iter().zip(["b", "c"]) {
        let token = world.claimed(test).await;
        world.lock(&token, id).await.expect(204);
    }
    assert_eq!(holder(&world).await, None, "the stack's own state is not locked");
}
