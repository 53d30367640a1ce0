//! Every function: how fast it begins and goes on, how large its program is, how much memory it
//! takes.

use crate::{
    lambda::{Function, aws, serve},
    median, ms, program, row,
};
use serde_json::{Value, json};
use std::{path::Path, time::Instant};

const STARTS: usize = 15;
/// Requests to each process after its first.
const REQUESTS: usize = 20;

pub(crate) async fn measure(programs: &Path) -> anyhow::Result<()> {
    let aws = serve(aws()).await?;
    let page = |path: &str| -> anyhow::Result<Value> {
        let mut event: Value = serde_json::from_str(include_str!("../../events/settings.json"))?;
        event["rawPath"] = json!(path);
        event["requestContext"]["http"] = json!({"method": "GET", "path": path});
        event["body"] = Value::Null;
        Ok(event)
    };
    let nothing = json!({ "Records": [] });
    let hook: Value = serde_json::from_str(include_str!("../../events/webhook.json"))?;
    let functions = [
        ("gantry-bench-empty", hook.clone()),
        ("gantry-bench-floor", hook.clone()),
        ("gantry-webhook", hook),
        ("gantry-scheduler", nothing.clone()),
        ("gantry-publisher", nothing.clone()),
        ("gantry-source", nothing),
        ("gantry-settings", page("/healthz")?),
        ("gantry-runner-api", page("/runner/v1/source")?),
    ];
    for (name, event) in functions {
        let path = program(programs, name)?;
        let (mut starts, mut warm, mut memory) = (Vec::new(), Vec::new(), 0);
        for _ in 0..STARTS {
            let started = Instant::now();
            let mut function = Function::start(&path, &aws).await?;
            function.invoke(&event).await?;
            starts.push(started.elapsed());
            for _ in 0..REQUESTS {
                warm.push(function.invoke(&event).await?);
            }
            memory = memory.max(function.peak_memory()?);
        }
        let size = std::fs::metadata(&path)?.len();
        let (size, memory) = (megabytes(size), megabytes(memory));
        let (starts, warm) = (ms(median(starts)), ms(median(warm)));
        let measured = format!("{starts} · {warm} · {size} · {memory}");
        row(&format!("{name}: cold · warm · program · peak memory"), &measured, "");
    }
    Ok(())
}

fn megabytes(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10)
}
