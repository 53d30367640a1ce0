//! Measures the numbers that Gantry holds, and prints each beside its target. Nothing else should
//! run on the machine meanwhile.
//!
//! `make bench` builds what it needs with the release profile. Words after it choose parts:
//! `masking`, `plan`, `webhook`, `functions`, `start`, `confined`, `push`, `many`, `cut`, `sweep`,
//! `pages`, `run`; and, which take long and are measured only when they are named, `atlantis`,
//! `growth`, `note` and `large`.
//! `--atlantis` is the part of that name. `--baseline FOLDER` measures the programs of another build
//! in the same run, in turn with these, and prints the ratio. `--write-docs` writes the figures and
//! the picture of growth into `docs/`.
//!
//! All figures are in `target/bench.json` afterwards. The exit code is 1 when a target was missed,
//! and 2 when something could not be measured.

mod atlantis;
mod build;
mod confined;
mod cut;
mod examples;
mod functions;
mod lambda;
mod large;
mod local;
mod note;
mod pages;
mod picture;
mod process;
mod push;
mod report;
mod run;
mod start;
mod sweep;
mod webhook;
mod world;

use anyhow::Context as _;
use build::Build;
use report::Report;
use std::{
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

/// What is measured when nothing is named.
const PARTS: [&str; 12] = [
    "masking",
    "plan",
    "webhook",
    "functions",
    "start",
    "confined",
    "push",
    "many",
    "cut",
    "sweep",
    "pages",
    "run",
];
/// What is measured only when it is named.
const LONG: [&str; 4] = ["atlantis", "growth", "note", "large"];
const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs");

#[tokio::main]
async fn main() -> ExitCode {
    // Fails only when somebody has chosen already.
    let _chosen_before = rustls::crypto::ring::default_provider().install_default();
    match measure().await {
        Ok(code) => code,
        Err(error) => {
            // Nobody reads it.
            let _closed = writeln!(std::io::stderr(), "{error:#}");
            ExitCode::from(2)
        }
    }
}

async fn measure() -> anyhow::Result<ExitCode> {
    let asked = Asked::read(std::env::args().skip(1))?;
    let builds = Build::all(asked.baseline)?;
    let mut report = Report::begin();
    let mut growth = None;
    for part in &asked.parts {
        let measured = match part.as_str() {
            "webhook" => webhook::measure(&builds, &mut report).await,
            "functions" => functions::measure(&builds, &mut report).await,
            "start" => start::measure(&builds, &mut report).await,
            "confined" => confined::measure(&builds[0], &mut report).await,
            "push" => push::one(&builds, &mut report).await,
            "many" => push::many(&builds, &mut report).await,
            "cut" => cut::measure(&builds, &mut report).await,
            "sweep" => sweep::measure(&builds[0], &mut report).await,
            "pages" => pages::measure(&builds[0], &mut report).await,
            "run" => run::measure(&builds, &mut report).await,
            "atlantis" => atlantis::measure(&builds, &mut report).await,
            "note" => note::measure(&builds, &mut report).await,
            "large" => large::measure(&builds[0], &mut report).await,
            "growth" => push::growth(&builds[0], &mut report).await.map(|sizes| {
                growth = Some(sizes);
            }),
            example => examples::measure(example, &builds, &mut report).await,
        };
        if let Err(error) = measured {
            report.could_not(part, &error);
        }
    }
    report.write(&builds[0].in_target("bench.json"))?;
    if asked.writes_docs {
        write_table(&report.markdown())?;
        if let Some(sizes) = growth {
            std::fs::write(Path::new(DOCS).join("pictures/growth.svg"), picture::of(&sizes))?;
        }
    }
    Ok(report.exit_code())
}

/// What the command line asks for.
#[derive(Default)]
struct Asked {
    parts: Vec<String>,
    baseline: Option<PathBuf>,
    writes_docs: bool,
}

impl Asked {
    fn read(mut words: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let mut asked = Self::default();
        while let Some(word) = words.next() {
            let part = word.trim_start_matches("--");
            match word.as_str() {
                "--baseline" => {
                    let folder = words.next().context("--baseline needs a folder of programs")?;
                    asked.baseline = Some(folder.into());
                }
                "--write-docs" => asked.writes_docs = true,
                _ if PARTS.contains(&part) || LONG.contains(&part) => {
                    asked.parts.push(part.to_owned());
                }
                _ => anyhow::bail!("{word} is none of {}, {}", PARTS.join(", "), LONG.join(", ")),
            }
        }
        if asked.parts.is_empty() {
            asked.parts = PARTS.map(str::to_owned).into();
        }
        Ok(asked)
    }
}

/// Puts the figures into the documentation, where it marks their place.
fn write_table(table: &str) -> anyhow::Result<()> {
    const BEGIN: &str = "<!-- figures: `make bench` writes them -->\n";
    const END: &str = "<!-- end of figures -->\n";
    let file = Path::new(DOCS).join("performance.md");
    let text = std::fs::read_to_string(&file)?;
    let parts = text.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some((before, after))
    });
    let (before, after) = parts.context("docs/performance.md marks no place for figures")?;
    Ok(std::fs::write(file, format!("{before}{BEGIN}\n{table}\n{END}{after}"))?)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Milliseconds.
fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// An address that is free now, and after a restart of who listens there: its port is below those
/// that outgoing connections are given.
fn free_address() -> anyhow::Result<SocketAddr> {
    let mut all = (20_000..30_000).map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    all.find(|address| TcpListener::bind(address).is_ok()).context("no port is free")
}
