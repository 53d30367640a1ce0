//! Every function: how fast it begins and goes on, how large its program is, how much memory it
//! takes.

use crate::{
    build::Build,
    lambda::{Function, aws, serve},
    median, ms, process,
    report::{Report, Target},
};
use serde_json::{Value, json};
use std::{path::PathBuf, time::Instant};

const STARTS: usize = 15;
/// Requests to each process after its first.
const REQUESTS: usize = 20;

/// What one program takes.
struct Taken {
    program: PathBuf,
    starts: Vec<f64>,
    warm: Vec<f64>,
    memory: f64,
}

pub(crate) async fn measure(builds: &[Build], report: &mut Report) -> anyhow::Result<()> {
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
        let programs = Build::each(builds, name)?.into_iter();
        let begin = |program| Taken { program, starts: vec![], warm: vec![], memory: 0.0 };
        let mut all: Vec<Taken> = programs.map(begin).collect();
        for _ in 0..STARTS {
            for taken in &mut all {
                let started = Instant::now();
                let mut function = Function::start(&taken.program, &aws).await?;
                function.invoke(&event).await?;
                taken.starts.push(ms(started.elapsed()));
                for _ in 0..REQUESTS {
                    taken.warm.push(ms(function.invoke(&event).await?));
                }
                taken.memory = taken.memory.max(process::memory(function.id(), "VmHWM")?);
            }
        }
        let (mut starts, mut warm, mut sizes, mut memory) = (vec![], vec![], vec![], vec![]);
        for taken in all {
            starts.push(median(taken.starts));
            warm.push(median(taken.warm));
            sizes.push(std::fs::metadata(&taken.program)?.len() as f64 / 1e6);
            memory.push(taken.memory);
        }
        let most = |limit| match name {
            "gantry-webhook" => vec![Target::AtMost(limit)],
            _ => Vec::new(),
        };
        report.add(&format!("{name}: cold"), "ms", &starts, &[]);
        report.add(&format!("{name}: warm"), "ms", &warm, &[]);
        report.add(&format!("{name}: program"), "MB", &sizes, &most(9.0));
        report.add(&format!("{name}: peak memory"), "MB", &memory, &most(10.0));
    }
    Ok(())
}
