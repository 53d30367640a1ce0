//! Runs for runners that have ended their own.

use crate::support::{World, stack_id};
use axum::http::Method;
use gantry_domain::{
    protocol::{FurtherRequest, NextAnswer},
    run::{Run, RunState, RunType},
};
use gantry_store::{keys, runner::FreeRunner, scheduler::SlotEntry};

const ROLE: &str = "arn:aws:iam::123456789012:role/gantry/plan/gantry-PlanRole-1X";

async fn place(world: &World, run: &Run, started: u32) {
    let place = SlotEntry {
        run: run.id.clone(),
        stack: stack_id(),
        pool: None,
        taken: true,
        started,
        at: world.clock.now(),
        drift: false,
    };
    world.put(keys::slot(&run.id), &place).await;
}

/// A run with a place and a role, that waits for a runner.
async fn waiting(world: &World, id: &str, run_type: RunType) -> Run {
    let run = world.run(id, run_type).await;
    place(world, &run, 0).await;
    world.edit(&run.id, |run| run.role = Some(ROLE.to_owned())).await
}

/// The token of a run that has ended and was reported with this sequence.
async fn ended(world: &World, id: &str) -> String {
    let run = world.run(id, RunType::Proposed).await;
    let token = world.claimed(&run).await;
    world
        .edit(&run.id, |run| {
            (run.role, run.last_report) = (Some(ROLE.to_owned()), 3);
            run.state = RunState::Finished;
        })
        .await;
    token
}

async fn ask(world: &World, token: &str, seconds_left: u32) -> (u16, Option<NextAnswer>) {
    let request = FurtherRequest { last_report: 3, seconds_left };
    let answer = world.json(Method::POST, "further", token, &request).await;
    let status = answer.status.as_u16();
    (status, (status == 200).then(|| answer.json()))
}

#[tokio::test]
async fn a_run_goes_to_one_runner_that_is_free() {
    let world = World::new().await;
    let (first, second) = (ended(&world, "e1").await, ended(&world, "e2").await);
    assert_eq!(ask(&world, &first, 20_000).await.0, 204);
    let run = waiting(&world, "r1", RunType::Proposed).await;
    assert_eq!(ask(&world, &first, 600).await.0, 204, "it may take longer");

    let (_, answer) = ask(&world, &first, 20_000).await;
    assert_eq!(answer.as_ref().unwrap().run, run.id);
    assert_eq!(ask(&world, &first, 20_000).await, (200, answer.clone()), "its answer was lost");
    assert_eq!(ask(&world, &second, 20_000).await.0, 204);

    let claim = serde_json::json!({"runner": "x", "nonce": "n"});
    // Its role is not proven here.
    world.json(Method::POST, "claim", &answer.unwrap().claim_token, &claim).await.expect(403);
}

#[tokio::test]
async fn a_run_that_is_unlike_or_has_a_runner_is_for_others() {
    let world = World::new().await;
    let token = ended(&world, "e1").await;
    waiting(&world, "r1", RunType::Tracked).await;
    let other = waiting(&world, "r2", RunType::Proposed).await;
    world.edit(&other.id, |run| run.role = Some(format!("{ROLE}2"))).await;
    let started = waiting(&world, "r3", RunType::Proposed).await;
    place(&world, &started, started.attempt).await;
    let begun = waiting(&world, "r4", RunType::Proposed).await;
    world.edit(&begun.id, |run| run.state = RunState::Planning).await;
    assert_eq!(ask(&world, &token, 20_000).await.0, 204);
}

#[tokio::test]
async fn only_a_run_that_ended_as_it_said_speaks_for_its_machine() {
    let world = World::new().await;
    let token = ended(&world, "e1").await;
    waiting(&world, "r1", RunType::Proposed).await;
    let id = "e1".parse().unwrap();
    let free = async || {
        let now = keys::free_at(world.clock.now());
        let free = world.store.query::<FreeRunner>(keys::FREE_RUNNERS, "", Some(&now), false, 9);
        free.await.unwrap().items.len()
    };
    // Its last report is still on its way.
    world.edit(&id, |run| (run.state, run.last_report) = (RunState::Planning, 2)).await;
    assert_eq!(ask(&world, &token, 20_000).await.0, 204);
    assert_eq!(free().await, 1, "the scheduler knows that it will be free");
    world.hand.advance(std::time::Duration::from_secs(4));
    assert_eq!(free().await, 0);

    // It was taken for lost before: its machine is being ended.
    world.edit(&id, |run| run.state = RunState::Failed).await;
    assert_eq!(ask(&world, &token, 20_000).await.0, 410);
    world.edit(&id, |run| (run.last_report, run.lost) = (3, true)).await;
    assert_eq!(ask(&world, &token, 20_000).await.0, 410);
    world.edit(&id, |run| (run.attempt, run.lost) = (2, false)).await;
    assert_eq!(ask(&world, &token, 20_000).await.0, 410);
    assert_eq!(ask(&world, "x", 20_000).await.0, 401);
}
