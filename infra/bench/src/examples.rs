//! What the examples of `domain` measure of themselves: each is a program, since it looks at its own
//! memory, and prints lines of what, how much, its unit, and how much it may be.

use crate::{
    build::Build,
    median,
    report::{Report, Target},
};
use anyhow::Context as _;
use std::path::Path;
use tokio::process::Command;

const ROUNDS: usize = 3;

struct Line {
    what: String,
    unit: String,
    limit: Option<f64>,
    /// By build, all rounds.
    values: Vec<Vec<f64>>,
}

pub(crate) async fn measure(
    example: &str,
    builds: &[Build],
    report: &mut Report,
) -> anyhow::Result<()> {
    let programs = Build::each(builds, &format!("examples/{example}"))?;
    let mut lines: Vec<Line> = Vec::new();
    for _ in 0..ROUNDS {
        for (at, program) in programs.iter().enumerate() {
            for (number, line) in run(program).await?.lines().enumerate() {
                let parts: Vec<&str> = line.split('\t').collect();
                let [what, value, unit, limit] = parts[..] else {
                    // An earlier one speaks to people alone.
                    anyhow::ensure!(at > 0, "{example} says {line:?}");
                    continue;
                };
                if lines.len() == number {
                    let (what, unit) = (what.to_owned(), unit.to_owned());
                    let values = vec![Vec::new(); programs.len()];
                    lines.push(Line { what, unit, limit: limit.parse().ok(), values });
                }
                lines[number].values[at].push(value.parse()?);
            }
        }
    }
    for Line { what, unit, limit, values } in lines {
        let values = values.into_iter().filter(|values| !values.is_empty());
        let values: Vec<f64> = values.map(median).collect();
        let targets: Vec<Target> = limit.into_iter().map(Target::AtMost).collect();
        report.add(&what, &unit, &values, &targets);
    }
    Ok(())
}

async fn run(program: &Path) -> anyhow::Result<String> {
    let output = Command::new(program).output().await;
    let output = output.with_context(|| format!("{} cannot be started", program.display()))?;
    anyhow::ensure!(output.status.success(), "{}: {}", program.display(), output.status);
    Ok(String::from_utf8(output.stdout)?)
}
