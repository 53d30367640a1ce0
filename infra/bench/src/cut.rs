//! Deciding a push whose comparison GitLab cuts off, on a GitLab that takes its time for each call.

use crate::{
    build::Build,
    local::Settings,
    report::{Report, Target},
    world::{Forge, PATIENCE, World},
};
use gantry_fake_gitlab::Limits;
use std::time::{Duration, Instant};

const ROOTS: usize = 1_000;
const FILES_EACH: usize = 5;
/// What GitLab lists of a comparison as it comes.
const LISTED: usize = 1_000;
const A_CALL: Duration = Duration::from_millis(100);

/// Where the project roots are.
struct Shape {
    name: &'static str,
    root: fn(usize) -> String,
    /// GitLab calls that deciding may take, where a folder has many of them.
    calls: Option<f64>,
}

const SHAPES: [Shape; 2] = [
    Shape { name: "in 10 folders", root: in_few_folders, calls: Some(40.0) },
    Shape { name: "each in its own folder", root: in_own_folders, calls: None },
];

fn in_few_folders(number: usize) -> String {
    format!("live/team-{}/s{number}", number % 10)
}

fn in_own_folders(number: usize) -> String {
    format!("services/s{number}/infra")
}

pub(crate) async fn measure(builds: &[Build], report: &mut Report) -> anyhow::Result<()> {
    for shape in &SHAPES {
        let (mut seconds, mut calls) = (Vec::new(), Vec::new());
        for build in builds {
            let (took, asked) = shape.decide(build).await?;
            seconds.push(took);
            calls.push(asked);
        }
        let files = ROOTS * FILES_EACH;
        let name = format!("a cut-off comparison of {files} files, {ROOTS} roots {}", shape.name);
        let target: Vec<Target> = shape.calls.map(Target::AtMost).into_iter().collect();
        report.add(&format!("{name}: GitLab calls"), "", &calls, &target);
        let millis = A_CALL.as_millis();
        let decided = format!("{name}: decided, {millis} ms a call");
        report.add(&decided, "s", &seconds, &[Target::AtMost(15.0)]);
    }
    Ok(())
}

impl Shape {
    /// Seconds from the push until it is decided, and what GitLab was asked meanwhile.
    async fn decide(&self, build: &Build) -> anyhow::Result<(f64, f64)> {
        let files = |text: &str| -> Vec<(String, String)> {
            let of = |number: usize| (0..FILES_EACH).map(move |file| (number, file));
            let all = (0..ROOTS).flat_map(of);
            all.map(|(number, file)| {
                (format!("{}/{file}.tf", (self.root)(number)), text.to_owned())
            })
            .collect()
        };
        let limits = Limits { diff_files: LISTED, ..Limits::default() };
        let forge = Forge::new(limits, files("# one\n")).await?;
        forge.pack().await?;
        let settings = Settings { runners: 1, executes: false, tells: false };
        let world = World::new(build, settings, forge).await?;
        world.stacks_in(ROOTS, self.root, &[]).await?;

        world.forge.takes(A_CALL);
        world.forge.gitlab.take_requests();
        let commit = world.forge.push("main", &files("# two\n"))?;
        let started = Instant::now();
        let outcome = loop {
            if let Some(outcome) = outcome_of(&world, &commit).await? {
                break outcome;
            }
            anyhow::ensure!(started.elapsed() < PATIENCE, "the push is not decided");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let seconds = started.elapsed().as_secs_f64();
        // What runs and what is shown of it begins with the decision, and is not meant.
        let requests = world.forge.gitlab.take_requests();
        let reads = requests.iter().filter(|request| {
            let path = &request.path;
            path.contains("/repository/") && !path.ends_with("/archive.tar.gz")
        });
        let all = format!("{ROOTS} of {ROOTS} stacks");
        anyhow::ensure!(outcome.starts_with(&all), "{commit}: {outcome}");
        Ok((seconds, reads.count() as f64))
    }
}

/// What became of the push of a commit, once that is written down.
async fn outcome_of(world: &World, commit: &str) -> anyhow::Result<Option<String>> {
    let found = world.ask("/events?limit=1").await?;
    let event = &found["events"][0];
    let is_it = event["what"].as_str().is_some_and(|what| what.contains(&commit[..8]));
    let outcome =
        event["outcome"].as_str().filter(|outcome| is_it && outcome.ends_with("affected"));
    Ok(outcome.map(str::to_owned))
}
