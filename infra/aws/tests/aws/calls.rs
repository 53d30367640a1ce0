//! What a run costs, in calls: docs/aws.md works out money from these figures.

use crate::world::World;
use gantry_aws::{Cloud, wire::Call};
use std::{collections::BTreeMap, time::Duration};

/// What is paid for: its name, and how many of it.
type Bill = BTreeMap<&'static str, usize>;

fn bill(calls: &[Call], invocations: usize) -> Bill {
    let mut bill = Bill::from([("Lambda invocations", invocations)]);
    for call in calls {
        let parts = call.requests.len().max(1);
        // Each part of a transaction costs twice what it costs alone.
        let (what, how_many) = match call.name.as_str() {
            "dynamodb:TransactWriteItems" => ("DynamoDB write units", 2 * parts),
            name if name.starts_with("dynamodb:") => match name {
                "dynamodb:GetItem" | "dynamodb:Query" | "dynamodb:BatchGetItem" => {
                    ("DynamoDB read units", parts)
                }
                _ => ("DynamoDB write units", parts),
            },
            name if name.starts_with("sqs:") => ("SQS requests", 1),
            "s3:PUT" | "s3:POST" => ("S3 writes", 1),
            name if name.starts_with("s3:") => ("S3 reads", 1),
            name if name.starts_with("secretsmanager:") => ("Secrets Manager calls", 1),
            _ => continue,
        };
        *bill.entry(what).or_default() += how_many;
    }
    bill
}

/// A push to a branch: webhook, decision, plan, statuses. A message costs a send, a share of a
/// receive, and a delete, of which only the send is the function's own call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_costs_what_the_guide_says() {
    let cloud = Cloud::deploy("calls").await.unwrap();
    for function in cloud.lambda.names() {
        cloud.lambda.spawn(&function).unwrap();
    }
    // Without the timer, whose cost does not depend on runs.
    cloud.feed_messages();
    let world = World::on(cloud).await;
    // The first run fills caches: secrets and connections.
    world.ended(&world.push("first", "a")).await;
    let before = (quiet(&world).await.len(), world.cloud.lambda.invocations());
    world.ended(&world.push("second", "b")).await;
    let calls = quiet(&world).await;
    let bill = bill(&calls[before.0..], world.cloud.lambda.invocations() - before.1);
    println!("{bill:#?}");
    for (what, said) in [
        ("Lambda invocations", 16),
        ("DynamoDB read units", 51),
        ("DynamoDB write units", 53),
        ("SQS requests", 10),
        ("S3 reads", 3),
        ("S3 writes", 5),
        ("Secrets Manager calls", 0),
    ] {
        let count = bill.get(what).copied().unwrap_or_default();
        // How a run's log is cut differs with the machine's speed.
        let (least, most) = (said * 4 / 5, said * 6 / 5 + 1);
        assert!(
            (least..=most).contains(&count),
            "{what}: {count}, and docs/aws.md says {said}\n{bill:#?}"
        );
    }
}

/// All calls, once there was none for a while.
async fn quiet(world: &World) -> Vec<Call> {
    loop {
        let before = world.cloud.wire.calls().len();
        tokio::time::sleep(Duration::from_secs(3)).await;
        let calls = world.cloud.wire.calls();
        if calls.len() == before {
            return calls;
        }
    }
}
