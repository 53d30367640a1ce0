//! Source, plan and change.

use crate::support::{COMMIT, PROJECT, World, digest, stack};
use axum::http::Method;
use gantry_domain::{
    Repository,
    plan::Change,
    protocol::{ClaimAnswer, Report, ReportKind},
    run::{Phase, Run, RunState, RunType, Uploaded},
    source::{SourceFailed, SourceWaits},
};
use gantry_objects::keys;
use gantry_queue::{Message, QueueName, SourceMessage};
use std::time::Duration;

#[tokio::test]
async fn source_is_asked_for_until_it_is_there() {
    let world = World::new().await;
    let run = world.run("r1", RunType::Proposed).await;
    let token = world.claimed(&run).await;
    for _ in 0..3 {
        let answer = world.get("source", &token).await.expect(202);
        assert_eq!(answer.headers["retry-after"], "1");
    }
    let asked = world.messages(QueueName::Source);
    assert!(
        matches!(&asked[..], [Message::Source(SourceMessage::Fetch { repository: Repository::Gitlab(PROJECT), commit, .. })] if commit.as_str() == COMMIT)
    );
    world.hand.advance(Duration::from_secs(61));
    world.get("source", &token).await.expect(202);
    assert_eq!(world.messages(QueueName::Source).len(), 2, "asked again after a minute");

    let waits = SourceWaits::for_limit(world.clock.now());
    world.objects.put(&keys::source_waits(PROJECT), waits.to_json().into()).await.unwrap();
    let said = world.get("source", &token).await.expect(202).text();
    assert_eq!(said, SourceWaits::to_text(Some(&waits), world.clock.now()));

    world.objects.put(&keys::source(PROJECT, COMMIT), "archive".into()).await.unwrap();
    let answer = world.get("source", &token).await.expect(200);
    assert_eq!(answer.text(), "archive");
    assert_eq!(answer.headers["content-length"], "7");
}

#[tokio::test]
async fn source_that_cannot_be_had_says_why() {
    let world = World::new().await;
    let run = world.run("r1", RunType::Proposed).await;
    let token = world.claimed(&run).await;
    let failed = SourceFailed::too_large(500_000_000, world.clock.now());
    let marker = keys::source_failed(PROJECT, COMMIT);
    world.objects.put(&marker, failed.to_json().into()).await.unwrap();
    assert_eq!(world.get("source", &token).await.expect(422).text(), failed.reason);

    // Mended meanwhile: a run that is handed out later asks again.
    world.hand.advance(Duration::from_secs(601));
    let run = world.run("r2", RunType::Proposed).await;
    let token = world.claimed(&run).await;
    world.get("source", &token).await.expect(202);
}

#[tokio::test]
async fn a_run_of_an_upload_gets_that_and_never_the_commits_source() {
    let world = World::new().await;
    let uploaded = |run: &mut Run| {
        run.upload = Some(Uploaded { digest: digest("mine"), by: "ada".to_owned() });
    };
    let run = world.run("r1", RunType::Proposed).await;
    let token = world.claimed(&run).await;
    world.edit(&run.id, uploaded).await;
    world.objects.put(&keys::source(PROJECT, COMMIT), "the commit's".into()).await.unwrap();
    let said = world.get("source", &token).await.expect(422).text();
    assert!(said.contains("Upload the folder again"), "{said}");
    let key = keys::upload(&run.stack, digest("mine"));
    world.objects.put(&key, "mine".into()).await.unwrap();
    assert_eq!(world.get("source", &token).await.expect(200).text(), "mine");
    assert_eq!(world.messages(QueueName::Source).len(), 0);

    // The stack does not allow it, or not any more: no runner gets it.
    let run = world.run("r2", RunType::Proposed).await;
    let run = world.edit(&run.id, uploaded).await;
    let said = world.claim(&run, "n").await.expect(410).text();
    assert!(said.contains("no longer allows previews of uploaded code"), "{said}");

    // Its runner is told what it must get.
    let mut allowing = stack();
    allowing.settings.local_previews = true;
    world.put(gantry_store::keys::stack_config(&run.stack), &allowing).await;
    let answer: ClaimAnswer = world.claim(&run, "n").await.expect(200).json();
    let told = (answer.uploaded_by.as_deref(), answer.upload_digest);
    assert_eq!(told, (Some("ada"), Some(digest("mine"))));
}

#[tokio::test]
async fn the_plan_that_was_shown_is_the_plan_that_is_read() {
    let world = World::new().await;
    let run = world.run("r1", RunType::Tracked).await;
    let token = world.claimed(&run).await;
    let put = async |token: &str, digest: &str, body: &str| {
        world.send(Method::PUT, &format!("plan?digest={digest}"), token, body.into()).await
    };
    let what = ReportKind::Planned {
        delta: Default::default(),
        plan_digest: Some(digest("plan")),
        partial: false,
        failed_checks: 0,
        tolerated: 0,
    };
    let planned = Report::new(1, what);
    world.json(Method::POST, "report", &token, &planned).await.expect(422);
    put(&token, "../..", "plan").await.expect(422);
    put(&token, &digest("plan"), "other").await.expect(422);
    put(&token, &digest("large"), &"x".repeat((1 << 20) + 1)).await.expect(413);
    assert!(!world.objects.exists(&keys::plan("r1", digest("plan"))).await.unwrap());
    put(&token, &digest("plan"), "plan").await.expect(204);
    put(&token, &digest("plan"), "plan").await.expect(204);
    world.json(Method::POST, "report", &token, &planned).await.expect(204);
    world.get("plan", &token).await.expect(403);

    let run = world
        .edit(&run.id, |run| {
            (run.state, run.phase, run.attempt) = (RunState::Confirmed, Phase::Apply, 2);
            run.plan_digest = Some(digest("plan"));
        })
        .await;
    let apply = world.claimed(&run).await;
    assert_eq!(world.get("plan", &apply).await.expect(200).text(), "plan");
    put(&apply, &digest("p"), "p").await.expect(403);
    let other = world.run("r2", RunType::Proposed).await;
    let other = world.claimed(&other).await;
    world.get("plan", &other).await.expect(403);
    put(&other, &digest("p"), "p").await.expect(403);
}

#[tokio::test]
async fn a_change_is_kept_for_its_attempt() {
    let world = World::new().await;
    let run = world.run("r1", RunType::Proposed).await;
    let token = world.claimed(&run).await;
    let change = Change::default();
    world.json(Method::PUT, "change", &token, &change).await.expect(204);
    let kept = world.objects.get(&keys::change("r1", 1)).await.unwrap().unwrap();
    assert_eq!(serde_json::from_slice::<Change>(&kept).unwrap(), change);
    world.send(Method::PUT, "change", &token, b"[".to_vec()).await.expect(400);
}
