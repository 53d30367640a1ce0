//! Log, signs of life, reports.

use crate::support::World;
use axum::http::Method;
use gantry_domain::{
    RunId,
    protocol::{BeatAnswer, LogChunk, Report, ReportKind},
    run::{Phase, RunState, RunType},
};
use gantry_queue::{Message, QueueName, StackMessage};
use gantry_store::{
    keys,
    runner::{Beat, LogPiece},
};

async fn log_of(world: &World, run: &RunId) -> Vec<(u64, String)> {
    let all = world.store.query_all::<LogPiece>(&keys::log_partition(run), "").await.unwrap();
    all.into_iter().map(|piece| (piece.value.offset, piece.value.text)).collect()
}

#[tokio::test]
async fn a_log_is_written_once_however_often_it_is_sent() {
    let world = World::new().await;
    let run = world.run("r1", RunType::Proposed).await;
    let token = world.claimed(&run).await;
    let send = async |offset: u64, text: &str| {
        let chunk = LogChunk { offset, text: text.to_owned() };
        world.json(Method::POST, "log", &token, &chunk).await
    };
    send(0, "one\n").await.expect(204);
    send(0, "one\n").await.expect(204);
    send(4, "two\n").await.expect(204);
    // The answer was lost, and more has come since; then the first one arrives late.
    send(4, "two\nthree\n").await.expect(204);
    send(4, "two\n").await.expect(204);
    let log = log_of(&world, &run.id).await;
    let pieces = [(0, "one\n"), (4, "two\n"), (8, "three\n")];
    assert_eq!(log, pieces.map(|(offset, text)| (offset, text.to_owned())));

    // Each knows its line and when it came.
    let all = world.store.query_all::<LogPiece>(&keys::log_partition(&run.id), "").await.unwrap();
    let now = Some(world.clock.now());
    let told: Vec<_> = all.iter().map(|piece| (piece.value.lines, piece.value.at)).collect();
    assert_eq!(told, [(Some(0), now), (Some(1), now), (Some(2), now)]);

    let large = "x".repeat(700_000);
    send(14, &large).await.expect(204);
    let log = log_of(&world, &run.id).await;
    assert_eq!(log.len(), 6);
    assert_eq!(log[4].0, 14 + 262_144);
    let whole: String = log.into_iter().map(|(_, text)| text).collect();
    assert_eq!(whole.len(), 14 + large.len());
    send(1 << 40, "x").await.expect(413);
}

#[tokio::test]
async fn a_sign_of_life_is_answered_with_a_wish_to_stop() {
    let world = World::new().await;
    let run = world.run("r1", RunType::Tracked).await;
    let token = world.claimed(&run).await;
    let beat = async || {
        let answer = world.json(Method::POST, "beat", &token, &()).await.expect(200);
        answer.json::<BeatAnswer>().stop
    };
    assert_eq!(beat().await, None);
    let kept = world.store.get::<Beat>(&keys::beat(&run.id)).await.unwrap().unwrap().value;
    assert_eq!(kept, Beat { attempt: 1, at: world.clock.now() });
    world.edit(&run.id, |run| run.stop_asked = Some("ada".to_owned())).await;
    assert_eq!(beat().await.as_deref(), Some("ada"));
}

#[tokio::test]
async fn reports_go_to_the_stacks_queue() {
    let world = World::new().await;
    let run = world.run("r1", RunType::Proposed).await;
    let token = world.claimed(&run).await;
    let send = async |sequence, what: ReportKind| {
        world.json(Method::POST, "report", &token, &Report::new(sequence, what)).await
    };
    send(1, ReportKind::Planning).await.expect(204);
    send(1, ReportKind::Planning).await.expect(204);
    let failed = ReportKind::Failed {
        summary: "s".repeat(900),
        errors: vec!["e".repeat(30_000); 50],
        log_tail: (0..99).map(|line| line.to_string()).collect(),
        in_terraform: true,
    };
    send(2, failed).await.expect(204);
    let messages = world.messages(QueueName::Events);
    assert_eq!(messages.len(), 3, "the claim, and each report once");
    let Message::Stack(StackMessage::Report { report, attempt: 1, .. }) = &messages[2] else {
        panic!("{messages:?}")
    };
    let ReportKind::Failed { summary, errors, log_tail, .. } = &report.what else { panic!() };
    assert_eq!((summary.len(), errors.len(), log_tail.len()), (200, 10, 30));
    assert_eq!(log_tail[29], "98");

    send(0, ReportKind::Planning).await.expect(422);
    let claimed = || ReportKind::Claimed { runner: "x".to_owned(), tells_again: true };
    send(0, claimed()).await.expect(422);
    send(3, claimed()).await.expect(204);
    let Some(Message::Stack(StackMessage::Report { report, .. })) =
        world.messages(QueueName::Events).pop()
    else {
        panic!("it was not told")
    };
    assert_eq!(report.what, ReportKind::Claimed { runner: String::new(), tells_again: false });
    send(3, ReportKind::Applied { delta: Default::default() }).await.expect(403);
}

#[tokio::test]
async fn a_lost_run_may_still_report() {
    let world = World::new().await;
    let run = world.run("r1", RunType::Tracked).await;
    let run = world
        .edit(&run.id, |run| (run.state, run.phase) = (RunState::Confirmed, Phase::Apply))
        .await;
    let token = world.claimed(&run).await;
    world.edit(&run.id, |run| (run.state, run.lost) = (RunState::Failed, true)).await;
    let what = ReportKind::Applied { delta: Default::default() };
    let report = Report::new(1, what);
    world.json(Method::POST, "report", &token, &report).await.expect(204);
    world.edit(&run.id, |run| run.lost = false).await;
    world.json(Method::POST, "report", &token, &report).await.expect(410);
}

#[tokio::test]
async fn anybody_may_ask_whether_signs_of_life_are_taken() {
    let world = World::new().await;
    world.get("alive", "").await.expect(204);
}
