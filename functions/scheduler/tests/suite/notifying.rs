//! What is noticed is raised for each target that asks for it.

use crate::sweep::World;
use gantry_domain::{
    drift::Drift,
    integration::{BotUser, Integration},
    notification::{Filter, NotificationEvent, TargetKind},
    run::{Effect, Run, RunState, RunType, Unpushed},
    stack::{Stack, StackHead},
};
use gantry_queue::{FeedbackMessage, Message, SlotsMessage, StackMessage};
use gantry_store::{Expect, Write, health::Health, keys, notifications::NotificationTarget};
use jiff::SignedDuration;
use std::{collections::BTreeSet, time::Duration};

async fn target(w: &World, name: &str, events: &[NotificationEvent], labels: &[&str]) {
    let now = w.clock.now();
    let target = NotificationTarget {
        name: name.parse().unwrap(),
        kind: TargetKind::Slack,
        address: "sealed".to_owned(),
        shown: "https://chat.example.com".to_owned(),
        secret: None,
        previous: None,
        filter: Filter {
            events: events.iter().copied().collect(),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        },
        created_at: now,
        saved_at: now,
    };
    let key = keys::notification_target(&target.name);
    w.write(Write::put(key, Expect::Any, &target).unwrap()).await;
}

/// Who was to be told what since this was asked last.
fn told(w: &World) -> BTreeSet<String> {
    let target = |message| match message {
        Message::Feedback(nudge @ FeedbackMessage::Notify { .. }) => Some(nudge.target()),
        _ => None,
    };
    w.queue.take_sent().into_iter().filter_map(target).collect()
}

/// A look for drift that has ended, and is not told yet.
async fn looked(w: &World) -> Run {
    let golden = include_str!("../../../../shared/store/golden/v1/run.json");
    let run: Run = serde_json::from_str(golden).unwrap();
    let run = Run {
        run_type: RunType::Proposed,
        unpushed: Some(Unpushed::Drift),
        test: None,
        module: false,
        state: RunState::Finished,
        outstanding: [Effect::Feedback].into(),
        ..run
    };
    w.write(Write::put(keys::run(&run.id), Expect::Any, &run).unwrap()).await;
    run
}

#[tokio::test]
async fn drift_is_told_to_whom_the_stack_concerns_by_the_time_that_it_began() {
    let w = World::new().await;
    let drifted = [NotificationEvent::Drifted];
    target(&w, "all", &drifted, &[]).await;
    target(&w, "eu", &drifted, &["eu", "ap"]).await;
    target(&w, "us", &drifted, &["us"]).await;
    target(&w, "deploys", &[NotificationEvent::Applied], &[]).await;
    let golden = include_str!("../../../../shared/store/golden/v1/stack.json");
    let stack: Stack = serde_json::from_str(golden).unwrap();
    let run = looked(&w).await;
    w.write(Write::put(keys::stack_config(&run.stack), Expect::Any, &stack).unwrap()).await;
    let drift = Drift {
        run: run.id.clone(),
        at: w.clock.now(),
        found: 2,
        tolerated: 0,
        since: Some("2026-03-01T00:00:00Z".parse().unwrap()),
        failed: None,
    };
    let head = StackHead { drift: Some(drift.clone()), ..StackHead::default() };
    w.write(Write::put(keys::stack_head(&run.stack), Expect::Any, &head).unwrap()).await;
    let due = || StackMessage::RunDue { stack: run.stack.clone(), run: run.id.clone(), version: 1 };
    w.handle(due()).await;
    let about = "drifted.network.1772323200000";
    let expected = ["all", "eu"].map(|name| format!("notify:{name}:{about}"));
    assert_eq!(told(&w), expected.into());
    // It was written down as done.
    w.handle(due()).await;
    assert_eq!(told(&w), BTreeSet::new());

    // A look that found nothing is no news.
    let gone = Drift { found: 0, since: None, ..drift };
    let head = StackHead { drift: Some(gone), ..StackHead::default() };
    w.write(Write::put(keys::stack_head(&run.stack), Expect::Any, &head).unwrap()).await;
    looked(&w).await;
    w.handle(due()).await;
    assert_eq!(told(&w), BTreeSet::new());
}

#[tokio::test]
async fn trouble_that_lasts_is_told_once_and_a_token_that_ends_in_time() {
    let w = World::new().await;
    let events = [NotificationEvent::IntegrationBroken, NotificationEvent::TokenExpires];
    target(&w, "ops", &events, &["eu"]).await;
    let integration = Integration {
        // The base of every address of it: nobody is there.
        api_host: "http://127.0.0.1:1".to_owned(),
        generation: 1,
        linked: true,
        server_version: None,
        bot: BotUser { id: gantry_domain::UserId(1), username: "bot".to_owned() },
        previous_bot: None,
        token_scopes: Vec::new(),
        token_expires_on: Some("2026-03-20".to_owned()),
        saved_at: w.clock.now(),
        installation: "i".to_owned(),
    };
    let key = keys::integration();
    w.write(Write::put(key, Expect::Any, &integration).unwrap()).await;
    let broken = Health {
        broken: Some("503".to_owned()),
        since: Some(w.clock.now() - SignedDuration::from_mins(1)),
        ..Health::default()
    };
    let health = keys::health("publisher");
    w.write(Write::put(health.clone(), Expect::Any, &broken).unwrap()).await;
    let sweep = || SlotsMessage::Sweep { cause: "test".to_owned() };
    w.handle(sweep()).await;
    assert_eq!(told(&w), BTreeSet::new(), "it may be over soon, and the token lasts");
    w.hand.advance(Duration::from_secs(4 * 60));
    w.handle(sweep()).await;
    let since = broken.since.unwrap().as_millisecond();
    let trouble = format!("notify:ops:integration_broken.{since}");
    assert_eq!(told(&w), [trouble.clone()].into());
    w.handle(sweep()).await;
    assert_eq!(told(&w), BTreeSet::new());

    // Who has to do something is told at once.
    let rejected = Health { token_rejected: true, since: Some(w.clock.now()), ..broken };
    w.write(Write::put(health.clone(), Expect::Any, &rejected).unwrap()).await;
    w.handle(sweep()).await;
    assert_eq!(told(&w).len(), 1);
    w.write(Write::put(health, Expect::Any, &Health::default()).unwrap()).await;
    w.hand.advance(Duration::from_secs(10 * 24 * 3600));
    w.handle(sweep()).await;
    let token = "notify:ops:token_expires.2026-03-20.14".to_owned();
    assert_eq!(told(&w), [token].into());
}
