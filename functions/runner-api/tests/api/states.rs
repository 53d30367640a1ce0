//! Which states become current.

use crate::support::{World, digest, stack_id, state_body};
use axum::http::Method;
use gantry_domain::{
    protocol::{STATE_SERIAL_HEADER, StateCommit, Upload, UploadAnswer, UploadRequest},
    run::{RunState, RunType},
    state::StateForm,
};
use gantry_store::{keys, runner::StateVersion};
use serde_json::json;

async fn versions(world: &World) -> Vec<StateVersion> {
    let partition = keys::state_partition(&stack_id());
    let all = world.store.query_all(&partition, keys::STATE_VERSIONS).await.unwrap();
    all.into_iter().map(|version| version.value).collect()
}

#[tokio::test]
async fn states_follow_each_other() {
    let world = World::new().await;
    let run = world.run("r1", RunType::Tracked).await;
    let token = world.claimed(&run).await;
    world.get("state", &token).await.expect(204);
    world.lock(&token, "a").await.expect(204);

    world.write_state(&token, Some("a"), &state_body(1, "l")).await.expect(204);
    world.write_state(&token, Some("a"), &state_body(1, "l")).await.expect(204);
    assert_eq!(versions(&world).await.len(), 1, "the same commit twice is one");
    let read = world.get("state", &token).await.expect(200);
    assert_eq!(read.text(), state_body(1, "l"));
    assert_eq!(read.headers[STATE_SERIAL_HEADER], "1");

    let other = state_body(1, "l").replace("\"a\"", "\"b\"");
    let refused = world.write_state(&token, Some("a"), &other).await.expect(409);
    assert_eq!(refused.text(), "the state has serial 1, but the current one already has 1");
    let refused = world.write_state(&token, Some("a"), &state_body(2, "other")).await.expect(409);
    assert!(refused.text().contains("a different lineage"), "{}", refused.text());

    world.write_state(&token, Some("a"), &state_body(5, "l")).await.expect(204);
    let all = versions(&world).await;
    let numbers: Vec<_> = all.iter().map(|v| (v.number, v.serial, v.resources)).collect();
    assert_eq!(numbers, [(1, 1, Some(1)), (2, 5, Some(1))]);
    assert_eq!(all[1].run, Some(run.id));
    assert_ne!(all[0].object, all[1].object);
}

#[tokio::test]
async fn a_state_is_written_under_the_runs_own_lock() {
    let world = World::new().await;
    let (one, two) =
        (world.run("r1", RunType::Tracked).await, world.run("r2", RunType::Tracked).await);
    let (first, second) = (world.claimed(&one).await, world.claimed(&two).await);
    world.write_state(&first, Some("a"), &state_body(1, "l")).await.expect(409);
    world.write_state(&first, None, &state_body(1, "l")).await.expect(204);
    world.lock(&first, "a").await.expect(204);
    world.write_state(&first, Some("b"), &state_body(2, "l")).await.expect(409);
    world.write_state(&second, Some("a"), &state_body(2, "l")).await.expect(409);
    world.write_state(&second, None, &state_body(2, "l")).await.expect(423);
    world.write_state(&first, Some("a"), &state_body(2, "l")).await.expect(204);
}

#[tokio::test]
async fn runs_that_change_nothing_read_one_version_and_write_none() {
    let world = World::new().await;
    let run = world.run("r1", RunType::Tracked).await;
    let tracked = world.claimed(&run).await;
    let run = world.run("r2", RunType::Proposed).await;
    let early = world.claimed(&run).await;
    world.get("state", &early).await.expect(204);
    world.write_state(&tracked, None, &state_body(1, "l")).await.expect(204);
    let run = world.run("r3", RunType::Proposed).await;
    let proposed = world.claimed(&run).await;
    assert_eq!(world.get("state", &proposed).await.expect(200).text(), state_body(1, "l"));
    world.write_state(&tracked, None, &state_body(2, "l")).await.expect(204);
    assert_eq!(world.get("state", &proposed).await.expect(200).text(), state_body(1, "l"));
    world.get("state", &early).await.expect(204);
    assert_eq!(world.get("state", &tracked).await.expect(200).text(), state_body(2, "l"));

    let body = state_body(3, "l");
    let path = format!("state/upload?digest={}", digest(&body));
    world.send(Method::PUT, &path, &proposed, body.clone().into()).await.expect(403);
    for rescued in [false, true] {
        let commit = StateCommit { lock_id: None, digest: digest(&body), rescued };
        world.json(Method::POST, "state", &proposed, &commit).await.expect(403);
    }
    let ask = UploadRequest { what: Upload::State, digest: digest(&body), size: 9 };
    world.json(Method::POST, "upload", &proposed, &ask).await.expect(403);
    assert_eq!(versions(&world).await.len(), 2);
}

#[tokio::test]
async fn a_rescued_state_stays_aside() {
    let world = World::new().await;
    let run = world.run("r1", RunType::Tracked).await;
    let token = world.claimed(&run).await;
    world.write_state(&token, None, &state_body(1, "l")).await.expect(204);
    // Late, after the run was lost, twice, and behind the current one.
    world.edit(&run.id, |run| (run.state, run.lost) = (RunState::Failed, true)).await;
    let body = state_body(0, "l");
    let path = format!("state/upload?digest={}", digest(&body));
    world.send(Method::PUT, &path, &token, body.clone().into()).await.expect(204);
    let commit = StateCommit { lock_id: None, digest: digest(&body), rescued: true };
    for _ in 0..2 {
        world.json(Method::POST, "state", &token, &commit).await.expect(204);
    }
    let all = versions(&world).await;
    let seen: Vec<_> = all.iter().map(|v| (v.number, v.serial, v.rescued)).collect();
    assert_eq!(seen, [(1, 1, false), (2, 0, true)]);
    assert_eq!(world.get("state", &token).await.expect(200).text(), state_body(1, "l"));
    world.write_state(&token, None, &state_body(2, "l")).await.expect(204);
    world.edit(&run.id, |run| run.lost = false).await;
    world.get("state", &token).await.expect(410);
}

#[tokio::test]
async fn a_state_that_nobody_can_list_is_kept_as_it_is() {
    let world = World::new().await;
    let run = world.run("r1", RunType::Tracked).await;
    let token = world.claimed(&run).await;
    let encrypted = |serial: u64| {
        let body = json!({"serial": serial, "lineage": "l", "meta": {"key_provider.pbkdf2.k": "e30="},
            "encrypted_data": "aGlkZGVu", "encryption_version": "v0"});
        body.to_string()
    };
    // Turned on, written again, and turned off.
    world.write_state(&token, None, &state_body(1, "l")).await.expect(204);
    world.write_state(&token, None, &encrypted(2)).await.expect(204);
    assert_eq!(world.get("state", &token).await.expect(200).text(), encrypted(2));
    world.write_state(&token, None, &encrypted(1)).await.expect(409);
    world.write_state(&token, None, &encrypted(3)).await.expect(204);
    world.write_state(&token, None, &state_body(4, "l")).await.expect(204);
    let seen: Vec<_> = versions(&world).await.iter().map(|v| (v.form, v.resources)).collect();
    let (plain, hidden) = ((StateForm::Plain, Some(1)), (StateForm::Encrypted, None));
    assert_eq!(seen, [plain, hidden, hidden, plain]);
}

#[tokio::test]
async fn what_is_no_state_is_kept_aside() {
    let world = World::new().await;
    let run = world.run("r1", RunType::Tracked).await;
    let token = world.claimed(&run).await;
    world.write_state(&token, None, &state_body(1, "l")).await.expect(204);
    let body = r#"{"written": "by a tool of the future"}"#;
    for _ in 0..2 {
        let refused = world.write_state(&token, None, body).await.expect(422);
        assert!(refused.text().ends_with("It was set aside"), "{}", refused.text());
    }
    // The runner rescues what was refused.
    let commit = StateCommit { lock_id: None, digest: digest(body), rescued: true };
    world.json(Method::POST, "state", &token, &commit).await.expect(204);
    let seen: Vec<_> = versions(&world).await.iter().map(|v| (v.number, v.rescued)).collect();
    assert_eq!(seen, [(1, false), (2, true)]);
    assert_eq!(world.get("state", &token).await.expect(200).text(), state_body(1, "l"));
}

#[tokio::test]
async fn what_is_no_state_is_refused() {
    let world = World::new().await;
    let run = world.run("r1", RunType::Tracked).await;
    let token = world.claimed(&run).await;
    world.write_state(&token, None, "").await.expect(422);
    assert_eq!(versions(&world).await.len(), 0);
    let commit = StateCommit { lock_id: None, digest: digest("never sent"), rescued: false };
    world.json(Method::POST, "state", &token, &commit).await.expect(422);
    let wrong = format!("state/upload?digest={}", digest("x"));
    world.send(Method::PUT, &wrong, &token, b"y".to_vec()).await.expect(422);
    let large = "x".repeat(65 << 10);
    let path = format!("state/upload?digest={}", digest(&large));
    world.send(Method::PUT, &path, &token, large.into()).await.expect(413);
    let ask = UploadRequest { what: Upload::State, digest: digest("x"), size: 1 };
    let answer = world.json(Method::POST, "upload", &token, &ask).await.expect(200);
    assert_eq!(answer.json::<UploadAnswer>(), UploadAnswer::default(), "a folder cannot sign");
    world.edit(&run.id, |run| run.state = RunState::Unconfirmed).await;
    world.json(Method::POST, "upload", &token, &ask).await.expect(403);
}
