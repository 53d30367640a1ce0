//! Whatever fails, whenever the process dies: every message is handled, in its group's order, or
//! ends as a dead letter because it alone failed five times.

use crate::support::{name_of, nudge, queues};
use gantry_queue::{Context, DeadLetters, Driver, Failure, Handler, Message, QueueName, Sender};
use gantry_setup::failures::MemoryFailures;
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::Instant;

const Q: QueueName = QueueName::Events;

#[derive(Debug, Clone)]
struct Plan {
    /// The group of each message, in the order of sending.
    groups: Vec<u8>,
    /// Messages that never succeed.
    poison: BTreeSet<usize>,
    /// How often each other message fails first.
    failures: Vec<u8>,
    /// What happens in each round.
    rounds: Vec<Round>,
}

#[derive(Debug, Clone, Copy)]
enum Round {
    Fine,
    /// The process dies when all is handled and nothing is deleted.
    Dies,
    /// Only some of it is deleted.
    DeletesOne,
}

fn plan() -> impl Strategy<Value = Plan> {
    (1usize..25).prop_flat_map(|count| {
        let round = prop_oneof![
            4 => Just(Round::Fine),
            1 => Just(Round::Dies),
            1 => Just(Round::DeletesOne),
        ];
        (
            prop::collection::vec(0u8..4, count),
            prop::collection::btree_set(0..count, 0..3),
            prop::collection::vec(prop_oneof![3 => Just(0u8), 1 => 1u8..5], count),
            prop::collection::vec(round, 0..20),
        )
            .prop_map(|(groups, poison, failures, rounds)| Plan {
                groups,
                poison,
                failures,
                rounds,
            })
    })
}

fn messages(plan: &Plan) -> Vec<Message> {
    let message = |(at, group): (usize, &u8)| nudge(&format!("g{group}"), at as u64);
    plan.groups.iter().enumerate().map(message).collect()
}

/// Runs a plan to its end: the names in the order of their first success, and the dead ones.
async fn run(plan: &Plan) -> (Vec<String>, usize) {
    let (queues, hand) = queues();
    let all = messages(plan);
    Sender::new(queues.clone(), hand.now()).send_all(all.clone()).await.unwrap();

    let left: BTreeMap<String, u32> = all
        .iter()
        .enumerate()
        .map(|(at, message)| {
            let fails = if plan.poison.contains(&at) { u32::MAX } else { plan.failures[at].into() };
            (name_of(message), fails)
        })
        .collect();
    let (left, succeeded) = (Arc::new(Mutex::new(left)), Arc::new(Mutex::new(Vec::new())));
    let log = succeeded.clone();
    let handler: Arc<dyn Handler> = Arc::new(move |_: Context, message: Message| {
        let name = name_of(&message);
        let mut left = left.lock().unwrap();
        let left = left.get_mut(&name).unwrap();
        let result = if *left > 0 {
            *left -= 1;
            Err(Failure::from(anyhow::anyhow!("not yet")))
        } else {
            let mut log = log.lock().unwrap();
            if !log.contains(&name) {
                log.push(name);
            }
            Ok(())
        };
        async move { result }
    });

    let driver = Driver::new(queues.clone(), Arc::new(MemoryFailures::default()));
    let visibility = Duration::from_secs(30);
    let mut rounds = plan.rounds.iter().copied();
    for round in 0.. {
        assert!(round < 2000, "it does not end: {:?}", queues.counts(Q).unwrap());
        let batch = queues.receive(Q, 10, visibility).unwrap();
        if batch.is_empty() {
            match queues.next_visible_at(Q).unwrap() {
                Some(_) => hand.advance(Duration::from_secs(1)),
                None => break,
            }
            continue;
        }
        let deadline = Instant::now() + visibility;
        let outcome = driver.run_batch(Q, batch.clone(), deadline, &handler).await;
        let receipts: Vec<&str> = batch
            .iter()
            .filter(|m| !outcome.failed.contains(&m.message_id))
            .map(|m| m.receipt.as_str())
            .collect();
        let deleted = match rounds.next().unwrap_or(Round::Fine) {
            Round::Fine => receipts.len(),
            Round::Dies => 0,
            Round::DeletesOne => receipts.len().min(1),
        };
        queues.delete(Q, &receipts[..deleted]).unwrap();
    }
    let dead = queues.dead_letters(Q).await.unwrap().len();
    let succeeded = succeeded.lock().unwrap().clone();
    (succeeded, dead)
}

fn by_group(names: impl IntoIterator<Item = String>) -> BTreeMap<String, Vec<String>> {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in names {
        let (group, _) = name.split_once('-').unwrap();
        groups.entry(group.to_owned()).or_default().push(name.clone());
    }
    groups
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn nothing_is_lost_or_reordered_within_a_group(plan in plan()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (succeeded, dead) = runtime.block_on(run(&plan));
        let expected = messages(&plan)
            .iter()
            .enumerate()
            .filter(|(at, _)| !plan.poison.contains(at))
            .map(|(_, message)| name_of(message))
            .collect::<Vec<_>>();
        prop_assert_eq!(by_group(succeeded), by_group(expected));
        prop_assert_eq!(dead, plan.poison.len());
    }
}
