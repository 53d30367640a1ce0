//! Beside Atlantis: the same merge requests on the same fake GitLab, two runs at a time in both, from
//! the commit to the finished comment.

use crate::{
    build::Build,
    free_address,
    local::Settings,
    median, process,
    report::{Report, Target},
    world::{BOT, Forge, UNTIL_SETTLED, World, is_complete},
};
use anyhow::Context as _;
use gantry_fake_gitlab::Limits;
use gantry_setup::Environment;
use std::{
    fs::File,
    process::Stdio,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// Merge requests of each row.
const ROUNDS: usize = 3;
const OTHERS_IN_A_FOLDER: usize = 100;
const PATIENCE: Duration = Duration::from_secs(60);
const SECRET: &str = "bench";

/// A size, and what Gantry may take beside Atlantis.
struct Row {
    roots: usize,
    /// Other files in the repository.
    others: usize,
    time: f64,
    processor: f64,
    calls: Target,
}

const ROWS: [Row; 6] = [
    Row { roots: 1, others: 0, time: 0.15, processor: 0.8, calls: Target::AtMost(12.0) },
    Row { roots: 10, others: 0, time: 0.4, processor: 0.7, calls: Target::AtMost(30.0) },
    Row { roots: 50, others: 0, time: 0.6, processor: 0.6, calls: Target::AtMost(120.0) },
    Row { roots: 200, others: 0, time: 1.0, processor: 1.0, calls: Target::Share(1.0) },
    Row { roots: 10, others: 10_000, time: 0.5, processor: 0.6, calls: Target::AtMost(30.0) },
    Row { roots: 10, others: 50_000, time: 1.0, processor: 1.0, calls: Target::Share(1.0) },
];

pub(crate) async fn measure(builds: &[Build], report: &mut Report) -> anyhow::Result<()> {
    for row in &ROWS {
        let mut worlds = Vec::new();
        for build in builds {
            let settings = Settings { runners: 2, executes: true, tells: false };
            let world = World::new(build, settings, row.forge().await?).await?;
            world.stacks(row.roots).await?;
            worlds.push(world);
        }
        let atlantis = Atlantis::start(row.forge().await?).await?;
        let gantries = worlds.iter().map(|world| Side {
            forge: &world.forge,
            process: world.local.id(),
            is_finished: is_complete,
        });
        let beside = Side {
            forge: &atlantis.forge,
            process: atlantis.id,
            is_finished: is_finished_by_atlantis,
        };
        let sides: Vec<Side<'_>> = gantries.chain([beside]).collect();
        let mut costs = vec![Vec::new(); sides.len()];
        for round in 1..=ROUNDS {
            for (side, costs) in sides.iter().zip(&mut costs) {
                costs.push(side.merge_request(row.roots, round).await?);
            }
        }
        row.tell(report, &costs);
    }
    Ok(())
}

impl Row {
    /// A GitLab with a project of this size.
    async fn forge(&self) -> anyhow::Result<Forge> {
        let other = |number: usize| {
            let folder = number / OTHERS_IN_A_FOLDER;
            (format!("others/{folder}/{number}.txt"), format!("The file {number}.\n"))
        };
        let files = (0..self.roots).map(|number| root(number, "nothing yet"));
        let files = files.chain((0..self.others).map(other)).collect();
        let forge = Forge::new(Limits::default(), files).await?;
        forge.pack().await?;
        Ok(forge)
    }

    /// `costs` are this build's, then the baseline's, where there is one, then Atlantis'.
    fn tell(&self, report: &mut Report, costs: &[Vec<Cost>]) {
        let mut name = match self.roots {
            1 => "1 root".to_owned(),
            roots => format!("{roots} roots"),
        };
        if self.others > 0 {
            name += &format!(" beside {} files", self.others);
        }
        let medians = |what: fn(&Cost) -> f64| -> Vec<f64> {
            costs.iter().map(|rounds| median(rounds.iter().map(what).collect())).collect()
        };
        let (time, processor) = (Target::Share(self.time), Target::Share(self.processor));
        for (what, unit, values, target) in [
            ("commit to finished comment", "s", medians(|cost| cost.time), time),
            ("processor", "s", medians(|cost| cost.processor), processor),
            ("GitLab calls", "", medians(|cost| cost.calls), self.calls),
        ] {
            let [gantries @ .., atlantis] = values.as_slice() else { continue };
            let [own, baseline @ ..] = gantries else { continue };
            let what = format!("{name}: {what}");
            report.beside("Atlantis", &what, unit, &[*own, *atlantis], &[target]);
            if !baseline.is_empty() {
                report.add(&what, unit, gantries, &[]);
            }
        }
    }
}

/// A folder with code that nothing was applied of.
fn root(number: usize, input: &str) -> (String, String) {
    let text = format!("resource \"terraform_data\" \"one\" {{\n  input = \"{input}\"\n}}\n");
    (format!("s{number}/main.tf"), text)
}

/// A program, and its GitLab.
struct Side<'a> {
    forge: &'a Forge,
    process: u32,
    /// Whether a comment has the result of so many roots.
    is_finished: fn(&str, usize) -> anyhow::Result<bool>,
}

/// What a merge request took.
#[derive(Clone)]
struct Cost {
    /// Seconds from the commit to the finished comment.
    time: f64,
    /// Seconds of a processor, until GitLab is not asked any more.
    processor: f64,
    /// What GitLab was asked until then, Git included.
    calls: f64,
}

impl Side<'_> {
    /// A commit that touches all roots, and its merge request, which is closed afterwards.
    async fn merge_request(&self, roots: usize, round: usize) -> anyhow::Result<Cost> {
        let forge = self.forge;
        let branch = format!("change-{round}");
        let files: Vec<_> = (0..roots).map(|number| root(number, &branch)).collect();
        forge.gitlab.take_requests();
        let (before, started) = (process::processor(self.process)?, Instant::now());
        forge.push(&branch, &files)?;
        let iid = forge.open(&branch)?;
        forge.comment(iid, |comment| (self.is_finished)(comment, roots)).await?;
        let time = started.elapsed().as_secs_f64();
        forge.quiet(UNTIL_SETTLED).await?;
        let processor = process::processor(self.process)? - before;
        let calls = forge.gitlab.take_requests().len() as f64;
        // Atlantis locks what it has planned until then.
        forge.close(iid)?;
        forge.quiet(UNTIL_SETTLED).await?;
        let unknown = forge.gitlab.unknown_requests();
        anyhow::ensure!(unknown.is_empty(), "the fake GitLab does not know {unknown:?}");
        Ok(Cost { time, processor, calls })
    }
}

/// Atlantis' comment comes once all plans are made.
fn is_finished_by_atlantis(comment: &str, roots: usize) -> anyhow::Result<bool> {
    let (begins, ends_well) = match roots {
        1 => ("Ran Plan for dir: `s0`".to_owned(), "Plan: 1 to add".to_owned()),
        _ => (
            format!("Ran Plan for {roots} projects"),
            format!("{roots} projects, {roots} with changes, 0 with no changes, 0 failed"),
        ),
    };
    let is_finished = comment.contains(&begins);
    anyhow::ensure!(!is_finished || comment.contains(&ends_well), "Atlantis says: {comment}");
    Ok(is_finished)
}

/// Atlantis before a GitLab.
struct Atlantis {
    forge: Forge,
    id: u32,
    _child: Child,
    _data: TempDir,
}

impl Atlantis {
    /// Starts the `atlantis` on PATH, and waits until it answers.
    async fn start(forge: Forge) -> anyhow::Result<Self> {
        let (data, address) = (tempfile::tempdir()?, free_address()?);
        let url = format!("http://{address}");
        forge.gitlab.add_hook(forge.project, &format!("{url}/events"), SECRET);
        let log = File::create(data.path().join("log"))?;
        let child = Command::new("atlantis")
            .arg("server")
            .args(["--parallel-plan", "--parallel-pool-size=2", "--tf-download=false"])
            .args(["--repo-allowlist=*", "--gitlab-webhook-secret", SECRET])
            .args(["--gitlab-user", BOT, "--gitlab-token", &forge.token])
            .args(["--gitlab-hostname", forge.gitlab.base_url()])
            .args(["--atlantis-url", &url, "--port", &address.port().to_string()])
            .arg("--data-dir")
            .arg(data.path().join("data"))
            .env_clear()
            .envs(Environment.optional("PATH").map(|path| ("PATH", path)))
            .env("HOME", data.path())
            // As Gantry's runs have it: nothing is asked of HashiCorp.
            .env("CHECKPOINT_DISABLE", "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("atlantis cannot be started: `make bench ARGS=--atlantis` builds it")?;
        let id = child.id().context("atlantis has ended")?;
        let http = reqwest::Client::builder().timeout(Duration::from_secs(5)).no_proxy().build()?;
        let (page, started) = (format!("{url}/healthz"), Instant::now());
        while !http.get(&page).send().await.is_ok_and(|answer| answer.status().is_success()) {
            anyhow::ensure!(
                started.elapsed() < PATIENCE,
                "atlantis answers nothing: {}",
                std::fs::read_to_string(data.path().join("log")).unwrap_or_default()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(Self { forge, id, _child: child, _data: data })
    }
}
