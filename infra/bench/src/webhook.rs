//! The webhook's function against its floor: warm, and from a cold start.

use crate::{
    build::Build,
    lambda::{Function, aws, serve},
    median, ms,
    report::{Report, Target},
};
use serde_json::Value;
use std::{path::PathBuf, time::Instant};

const EVENT: &str = include_str!("../../events/webhook.json");
/// Before measuring, so that connections are there.
const WARM_UP: usize = 200;
/// Taken in turns, so that a busy moment of the machine meets all programs.
const ROUNDS: usize = 20;
const REQUESTS_A_ROUND: usize = 100;
const STARTS: usize = 30;

pub(crate) async fn measure(builds: &[Build], report: &mut Report) -> anyhow::Result<()> {
    let event: Value = serde_json::from_str(EVENT)?;
    let aws = serve(aws()).await?;
    let webhooks = builds.iter().map(|build| build.program("gantry-webhook"));
    let beside = ["gantry-bench-floor", "gantry-bench-empty"];
    let beside = beside.iter().map(|name| builds[0].program(name));
    let programs: Vec<PathBuf> = webhooks.chain(beside).collect::<Result<_, _>>()?;

    let mut warm = Vec::new();
    for program in &programs {
        let mut function = Function::start(program, &aws).await?;
        for _ in 0..WARM_UP {
            function.invoke(&event).await?;
        }
        warm.push((function, Vec::new()));
    }
    for _ in 0..ROUNDS {
        for (function, times) in &mut warm {
            for _ in 0..REQUESTS_A_ROUND {
                times.push(ms(function.invoke(&event).await?));
            }
        }
    }
    let warm = warm.into_iter().map(|(_, times)| times).collect();
    tell(report, "webhook, warm", warm, 1.0);

    let mut cold = vec![Vec::new(); programs.len()];
    for _ in 0..STARTS {
        for (program, times) in programs.iter().zip(&mut cold) {
            let started = Instant::now();
            let mut function = Function::start(program, &aws).await?;
            function.invoke(&event).await?;
            times.push(ms(started.elapsed()));
        }
    }
    tell(report, "webhook, cold", cold, 1.15);
    Ok(())
}

/// `times` are the builds', then the floor's, then the empty function's.
fn tell(report: &mut Report, what: &str, times: Vec<Vec<f64>>, target: f64) {
    let medians: Vec<f64> = times.into_iter().map(median).collect();
    let [webhooks @ .., floor, empty] = medians.as_slice() else { return };
    let ratios: Vec<f64> = webhooks.iter().map(|webhook| webhook / floor).collect();
    report.add(what, "ms", webhooks, &[]);
    report.add(&format!("{what}: its floor, the raw body to SQS"), "ms", &[*floor], &[]);
    report.add(&format!("{what}: a function that does nothing"), "ms", &[*empty], &[]);
    report.add(&format!("{what}: webhook / floor"), "", &ratios, &[Target::AtMost(target)]);
}
