//! What was measured: each figure is printed as it comes, and all are written to a file at the end.

use serde_json::{Value, json};
use std::{fmt::Write as _, fs, io::Write as _, path::Path, process::ExitCode};

/// What a figure is held against.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    /// It is this at most.
    AtMost(f64),
    /// It is this share at most of what stands beside it. Where nothing does, it is not judged.
    Share(f64),
}

/// What is measured twice stands beside this.
const BASELINE: &str = "the baseline";

/// The figures so far, and the parts that could not be measured.
#[derive(Default)]
pub(crate) struct Report {
    figures: Vec<Figure>,
    failures: Vec<String>,
}

struct Figure {
    what: String,
    measured: f64,
    unit: String,
    /// What is beside it, and its value there.
    beside: Option<(&'static str, f64)>,
    target: String,
    /// None where there is no target, or nothing to judge it by.
    met: Option<bool>,
}

impl Report {
    /// The head of the table.
    pub(crate) fn begin() -> Self {
        line("what", "measured", "beside", "target");
        line("----", "--------", "------", "------");
        Self::default()
    }

    /// A figure. The first value is this build's, the second, where there is one, the baseline's.
    pub(crate) fn add(&mut self, what: &str, unit: &str, values: &[f64], targets: &[Target]) {
        self.beside(BASELINE, what, unit, values, targets);
    }

    /// The same with something else beside it.
    pub(crate) fn beside(
        &mut self,
        other: &'static str,
        what: &str,
        unit: &str,
        values: &[f64],
        targets: &[Target],
    ) {
        let Some(measured) = values.first().copied() else { return };
        let beside = values.get(1).map(|value| (other, *value));
        let ratio = beside.map(|(_, value)| measured / value);
        let judge = |target: &Target| match *target {
            Target::AtMost(most) => Some(measured <= most),
            Target::Share(most) => ratio.map(|ratio| ratio <= most),
        };
        let judged: Vec<bool> = targets.iter().filter_map(judge).collect();
        let told = targets.iter().map(|target| match target {
            Target::AtMost(most) => format!("≤ {}", with_unit(*most, unit)),
            Target::Share(most) => format!("≤ {} of {other}", short(*most)),
        });
        let figure = Figure {
            what: what.to_owned(),
            measured,
            unit: unit.to_owned(),
            beside,
            target: told.collect::<Vec<_>>().join(", "),
            met: (!judged.is_empty()).then(|| judged.iter().all(|met| *met)),
        };
        let missed = if figure.met == Some(false) { "MISSED " } else { "" };
        let target = format!("{missed}{}", figure.target);
        line(what, &with_unit(measured, unit), &figure.told_beside(), &target);
        self.figures.push(figure);
    }

    /// A part that ended before it was measured.
    pub(crate) fn could_not(&mut self, part: &str, error: &anyhow::Error) {
        let told = format!("{part} could not be measured: {error:#}");
        line(&told, "", "", "");
        self.failures.push(told);
    }

    /// Writes everything as JSON.
    pub(crate) fn write(&self, file: &Path) -> anyhow::Result<()> {
        let figures: Vec<Value> = self.figures.iter().map(Figure::json).collect();
        let all = json!({ "figures": figures, "not_measured": self.failures });
        Ok(fs::write(file, format!("{all:#}\n"))?)
    }

    /// The figures as a table in Markdown.
    pub(crate) fn markdown(&self) -> String {
        let mut table = "| what | measured | beside | target |\n|---|---:|---:|---|\n".to_owned();
        for figure in &self.figures {
            let Figure { what, measured, unit, target, .. } = figure;
            let (measured, beside) = (with_unit(*measured, unit), figure.told_beside());
            // Writing into a text does not fail.
            let _written = writeln!(table, "| {what} | {measured} | {beside} | {target} |");
        }
        table
    }

    /// 2 when something could not be measured, 1 when a target was missed.
    pub(crate) fn exit_code(&self) -> ExitCode {
        let missed = self.figures.iter().any(|figure| figure.met == Some(false));
        ExitCode::from(if self.failures.is_empty() { u8::from(missed) } else { 2 })
    }
}

impl Figure {
    fn ratio(&self) -> Option<f64> {
        self.beside.map(|(_, value)| self.measured / value)
    }

    fn told_beside(&self) -> String {
        let Some((other, value)) = self.beside else { return String::new() };
        let ratio = short(self.ratio().unwrap_or_default());
        let other = if other == BASELINE { String::new() } else { format!("{other} ") };
        format!("{other}{} × {ratio}", with_unit(value, &self.unit))
    }

    fn json(&self) -> Value {
        json!({
            "what": self.what,
            "measured": self.measured,
            "unit": self.unit,
            "target": Some(&self.target).filter(|target| !target.is_empty()),
            "met": self.met,
            "beside": self.beside.map(|(other, _)| other),
            "baseline": self.beside.map(|(_, value)| value),
            "ratio": self.ratio(),
        })
    }
}

fn line(what: &str, measured: &str, beside: &str, target: &str) {
    // Nobody reads on: the measuring goes on all the same.
    let _closed = writeln!(std::io::stdout(), "{what:<66} {measured:>12} {beside:>24}   {target}");
}

fn with_unit(value: f64, unit: &str) -> String {
    format!("{} {unit}", short(value)).trim_end().to_owned()
}

/// As many digits as somebody compares: 0.58, 12.4, 419.
fn short(value: f64) -> String {
    let text = match value.abs() {
        large if large >= 100.0 => return format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
