//! A merge request that touches very many stacks, until its comment has the result of the last run:
//! all of them on the real Terraform, and what the publisher has to do meanwhile.

use crate::{
    build::Build,
    local::Settings,
    report::{Report, Target},
    world::{BOT, Forge, World, is_complete},
};
use gantry_fake_gitlab::Limits;
use gantry_setup::Clock;
use jiff::Timestamp;

const STACKS: usize = 1_000;
/// How a message of the publisher's is told of.
const FEEDBACK: &str = "queue=feedback.fifo";

/// What it takes.
struct Taken {
    /// Seconds from the end of the last run to the complete comment.
    late: f64,
    edits: f64,
    /// Seconds that the publisher has worked in all, and at most at once.
    work: f64,
    longest: f64,
}

pub(crate) async fn measure(builds: &[Build], report: &mut Report) -> anyhow::Result<()> {
    let mut all = Vec::new();
    for build in builds {
        all.push(merge_request(build).await?);
    }
    let name = format!("a merge request of {STACKS} stacks");
    let of = |what: fn(&Taken) -> f64| -> Vec<f64> { all.iter().map(what).collect() };
    let at_most = |most: f64| [Target::AtMost(most)];
    let late = format!("{name}: from the last run's end to the complete comment");
    report.add(&late, "s", &of(|taken| taken.late), &at_most(30.0));
    report.add(&format!("{name}: edits of the comment"), "", &of(|t| t.edits), &at_most(30.0));
    // An earlier build does not say how long a message took.
    let told = |values: Vec<f64>| -> Vec<f64> {
        values.into_iter().filter(|value| *value > 0.0).collect()
    };
    let (work, longest) = (told(of(|t| t.work)), told(of(|t| t.longest)));
    report.add(&format!("{name}: the publisher's work"), "s", &work, &at_most(10.0));
    report.add(&format!("{name}: its longest delivery"), "s", &longest, &at_most(30.0));
    Ok(())
}

async fn merge_request(build: &Build) -> anyhow::Result<Taken> {
    let forge =
        Forge::new(Limits::default(), (0..STACKS).map(|n| root(n, "one")).collect()).await?;
    forge.pack().await?;
    let settings = Settings { runners: 2, executes: true, tells: true };
    let world = World::new(build, settings, forge).await?;
    world.stacks(STACKS).await?;
    let before = world.local.handled(FEEDBACK)?.len();
    world.forge.gitlab.take_requests();

    let changed: Vec<_> = (0..STACKS).map(|number| root(number, "two")).collect();
    world.forge.push("change", &changed)?;
    let iid = world.forge.open("change")?;
    world.forge.comment(iid, |note| is_complete(note, STACKS)).await?;
    let complete = Clock::system().now();
    world.quiet().await?;

    let notes = world.forge.gitlab.notes(world.forge.project, iid);
    let notes = notes.iter().filter(|note| note.author == BOT).count();
    anyhow::ensure!(notes == 1, "{notes} comments");
    let requests = world.forge.gitlab.take_requests();
    let edits = requests.iter().filter(|r| r.method == "PUT" && r.path.contains("/notes/")).count();
    let times = world.local.handled(FEEDBACK)?.split_off(before);
    Ok(Taken {
        late: complete.duration_since(last_end(&world).await?).as_secs_f64(),
        edits: edits as f64,
        work: times.iter().sum::<f64>() / 1e3,
        longest: times.iter().copied().fold(0.0, f64::max) / 1e3,
    })
}

/// A folder with code that nothing was applied of.
fn root(number: usize, input: &str) -> (String, String) {
    let text = format!("resource \"terraform_data\" \"one\" {{\n  input = \"{input}\"\n}}\n");
    (format!("s{number}/main.tf"), text)
}

/// When the last of the runs, one of each stack, ended.
async fn last_end(world: &World) -> anyhow::Result<Timestamp> {
    let mut last = Timestamp::MIN;
    for number in 0..STACKS {
        let found = world.ask(&format!("/stacks/s{number}/runs")).await?;
        let since = found["runs"][0]["since"].as_str().unwrap_or_default();
        last = last.max(since.parse()?);
    }
    Ok(last)
}
