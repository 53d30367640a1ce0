//! The webhook's function against its floor: warm, and from a cold start.

use crate::{
    lambda::{Function, aws, serve},
    median, ms, program, row,
};
use serde_json::Value;
use std::{
    path::Path,
    time::{Duration, Instant},
};

const EVENT: &str = include_str!("../../events/webhook.json");
/// Before measuring, so that connections are there.
const WARM_UP: usize = 200;
/// Taken in turns, so that a busy moment of the machine meets all programs.
const ROUNDS: usize = 20;
const REQUESTS_A_ROUND: usize = 100;
const STARTS: usize = 30;

pub(crate) async fn measure(programs: &Path) -> anyhow::Result<()> {
    let event: Value = serde_json::from_str(EVENT)?;
    let aws = serve(aws()).await?;
    let names = ["gantry-webhook", "gantry-bench-floor", "gantry-bench-empty"];
    let mut warm = Vec::new();
    for name in names {
        let mut function = Function::start(&program(programs, name)?, &aws).await?;
        for _ in 0..WARM_UP {
            function.invoke(&event).await?;
        }
        warm.push((function, Vec::new()));
    }
    for _ in 0..ROUNDS {
        for (function, times) in &mut warm {
            for _ in 0..REQUESTS_A_ROUND {
                times.push(function.invoke(&event).await?);
            }
        }
    }
    let medians: Vec<Duration> = warm.into_iter().map(|(_, times)| median(times)).collect();
    report("webhook, warm, one request", &medians, 1.25);

    let mut cold = vec![Vec::new(); names.len()];
    for _ in 0..STARTS {
        for (name, times) in names.iter().zip(&mut cold) {
            let started = Instant::now();
            let mut function = Function::start(&program(programs, name)?, &aws).await?;
            function.invoke(&event).await?;
            times.push(started.elapsed());
        }
    }
    let medians: Vec<Duration> = cold.into_iter().map(median).collect();
    report("webhook, start of the process to its first answer", &medians, 1.3);
    Ok(())
}

fn report(what: &str, medians: &[Duration], target: f64) {
    let [webhook, floor, empty] = medians else { return };
    let ratio = webhook.as_secs_f64() / floor.as_secs_f64();
    row(what, &ms(*webhook), "");
    row("  floor: the raw body to SQS", &ms(*floor), "");
    row("  a function that does nothing", &ms(*empty), "");
    row("  webhook / floor", &format!("{ratio:.2}"), &format!("≤ {target}"));
}
