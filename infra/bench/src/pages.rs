//! The pages, with a table as a large installation has it. They have no baseline: the records are
//! written as this build has them.

use crate::{
    build::Build,
    local::Settings,
    median, ms,
    report::{Report, Target},
    world::{Forge, World},
};
use anyhow::Context as _;
use gantry_domain::{
    ProjectId, Repository, RunId, StackId, UserId,
    rights::Level,
    run::{Run, RunState},
    stack::{Stack, StackHead},
};
use gantry_fake_gitlab::Limits;
use gantry_local_table::LocalTable;
use gantry_secrets::{
    FileSecrets, SESSION_COOKIE, SESSION_LASTS, SecretName, Secrets as _, Session, Signer,
};
use gantry_store::{
    Expect, Write,
    config::{Person, PersonSession, SignIn, SlugEntry},
    keys,
    scheduler::{FailedStack, ListedRun, RunEntry},
};
use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret as _;
use serde_json::json;
use std::{collections::BTreeMap, path::Path, time::Instant};

pub(crate) const STACKS: u64 = 2_000;
pub(crate) const RUNS_EACH: u64 = 50;
const PROJECTS: u64 = 300;
const LOOKS: usize = 20;
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

pub(crate) async fn measure(build: &Build, report: &mut Report) -> anyhow::Result<()> {
    let forge = Forge::new(Limits::default(), Vec::new()).await?;
    let settings = Settings { runners: 1, executes: false, tells: false };
    let world = World::new(build, settings, forge).await?;
    world.stacks(1).await?;
    // Nobody else writes to its table meanwhile.
    let (world, (run, persons)) = world
        .restart(build, async |data: &Path| {
            let run = fill(data, PROJECTS).await?;
            anyhow::Ok((run, person(data).await?))
        })
        .await?;
    world.quiet().await?;
    for (name, path) in [("overview", "/"), ("overview, searched", "/?search=s19")] {
        let took = look(&world, &persons, path, "acme/many-1").await?;
        let what = format!(
            "page: {name}, of a person ({STACKS} stacks of {PROJECTS} projects, {} of them theirs)",
            PROJECTS / 2
        );
        report.add(&what, "ms", &[took], &[Target::AtMost(50.0)]);
    }
    let cookie = sign_in(&world).await?;
    for (name, path) in [
        ("overview", "/".to_owned()),
        ("overview, searched", "/?search=s19".to_owned()),
        ("overview, what failed", "/?state=failed".to_owned()),
        ("runs", "/runs".to_owned()),
        ("runs, those that failed", "/runs?state=failed".to_owned()),
        ("runs, of nobody", "/runs?author=nobody".to_owned()),
        ("a stack", "/stacks/s0".to_owned()),
        ("a run", format!("/runs/{run}")),
        ("events", "/events".to_owned()),
        ("activity", "/activity".to_owned()),
        ("keys", "/keys".to_owned()),
        ("GitLab", "/gitlab".to_owned()),
        ("the stack form", "/stacks/s0/edit".to_owned()),
    ] {
        let took = look(&world, &cookie, &path, "").await?;
        let what = format!("page: {name} ({STACKS} stacks, {} runs)", STACKS * RUNS_EACH);
        report.add(&what, "ms", &[took], &[Target::AtMost(50.0)]);
    }
    Ok(())
}

/// Milliseconds until a page is there, which has some words.
async fn look(world: &World, cookie: &str, path: &str, has: &str) -> anyhow::Result<f64> {
    let mut times = Vec::with_capacity(LOOKS);
    for _ in 0..LOOKS {
        let started = Instant::now();
        let answer = world.http.get(world.url(path)).header("cookie", cookie).send().await?;
        let status = answer.status();
        let page = answer.text().await?;
        times.push(ms(started.elapsed()));
        let is_it = status.is_success() && page.len() > 500 && page.contains(has);
        anyhow::ensure!(is_it, "{path}: {status}");
    }
    Ok(median(times))
}

/// Somebody who has signed in with GitLab just now, and sees every other project, as settings keeps
/// them. Answers their cookie.
async fn person(data: &Path) -> anyhow::Result<String> {
    let table = LocalTable::in_file(&data.join("table.db"))?;
    let store = gantry_local::table::open(&table.config()).await?;
    let generation =
        store.integration().await?.context("GitLab is not connected")?.value.generation;
    let (id, now) = (UserId(4_711), gantry_setup::Clock::system().now());
    let levels: BTreeMap<String, Level> = (0..PROJECTS)
        .filter(|number| number % 2 == 1)
        .map(|number| (project_of(number).to_string(), Level::Maintainer))
        .collect();
    let session = keys::session(id, "bench");
    let person: Person = serde_json::from_value(json!({
        "id": id, "generation": generation, "username": "ada", "name": "Ada", "admin": false,
        "levels": levels, "read_at": now,
    }))?;
    let begun: PersonSession = serde_json::from_value(json!({
        "person": id, "generation": generation, "begun_at": now, "tokens": "",
        "expires_at": now + SESSION_LASTS,
    }))?;
    let sign_in: SignIn = serde_json::from_value(json!({
        "application": "bench", "secret": "", "generation": generation, "saved_at": now,
    }))?;
    let writes = [
        Write::put(keys::person(id), Expect::Any, &person)?,
        Write::put(session.clone(), Expect::Any, &begun)?,
        Write::put(keys::sign_in(), Expect::Any, &sign_in)?,
    ];
    store.put_all(&writes).await?;
    let secrets = FileSecrets::new(data.join("secrets.json"));
    let signing = secrets.get(SecretName::SigningKeys).await?.context("there is no signing key")?;
    let cookie = Session::begin(session.sk, now).to_cookie(&Signer::new(&signing));
    Ok(format!("{SESSION_COOKIE}={}", cookie.expose_secret()))
}

/// The projects besides the one that is there are at no GitLab.
fn project_of(number: u64) -> ProjectId {
    ProjectId(1_000_000 + number)
}

/// Writes stacks of so many projects, and runs, as settings and the scheduler would. Answers a run.
pub(crate) async fn fill(data: &Path, projects: u64) -> anyhow::Result<RunId> {
    let table = LocalTable::in_file(&data.join("table.db"))?;
    let store = gantry_local::table::open(&table.config()).await?;
    let first = store.stack_by_slug(&"s0".parse()?).await?.context("there is no stack")?.value;
    let now = gantry_setup::Clock::system().now();
    let mut one = None;
    for number in 0..STACKS {
        let slug = format!("s{number}");
        let id: StackId = match number {
            0 => first.id.clone(),
            _ => gantry_domain::ids::short_digest(&[&slug]).parse()?,
        };
        let mut stack = Stack { id, slug: slug.parse()?, ..first.clone() };
        stack.settings.name = slug;
        let project = number % projects;
        if project > 0 {
            stack.repository = Repository::Gitlab(project_of(project));
            stack.project_path = format!("{}-{project}", first.project_path);
        }
        let mut writes = vec![
            Write::put(keys::slug(&stack.slug), Expect::Any, &SlugEntry::of(&stack))?,
            Write::put(keys::stack_config(&stack.id), Expect::Any, &stack)?,
        ];
        for run in 0..RUNS_EACH {
            let created_at = now - SignedDuration::from_mins(i64::try_from(run * 10)?);
            let run = run_of(&stack, RUNS_EACH - run, created_at)?;
            let entry = RunEntry {
                run: run.id.clone(),
                stack: stack.id.clone(),
                run_type: run.run_type,
                created_at,
            };
            writes.push(Write::put(keys::run(&run.id), Expect::Any, &run)?);
            writes.push(Write::put(keys::stack_run(&stack.id, run.number), Expect::Any, &entry)?);
            let listed = ListedRun::from(&run);
            writes.push(Write::put(keys::listed(created_at, &run.id), Expect::Any, &listed)?);
            if run.number == RUNS_EACH {
                let head = StackHead {
                    last_number: RUNS_EACH,
                    latest: Some(run.id.clone()),
                    ..StackHead::default()
                };
                writes.push(Write::put(keys::stack_head(&stack.id), Expect::Any, &head)?);
                if number < 150 {
                    let key = keys::waiting(created_at, &run.id);
                    writes.push(Write::put(key, Expect::Any, &entry)?);
                }
                // A hundred that failed; the list of them is full then.
                if (150..250).contains(&number) {
                    let failed = FailedStack { stack: stack.id.clone(), run: run.id.clone() };
                    writes.push(Write::put(keys::failed(&stack.id), Expect::Any, &failed)?);
                }
                one = Some(run.id);
            }
        }
        store.put_all(&writes).await?;
    }
    one.context("no run was written")
}

fn run_of(stack: &Stack, number: u64, at: Timestamp) -> anyhow::Result<Run> {
    let state = if number == RUNS_EACH { RunState::Unconfirmed } else { RunState::Finished };
    Ok(serde_json::from_value(json!({
        "id": RunId::derive(&stack.id, &number.to_string()), "stack": stack.id,
        "slug": stack.slug, "repository": stack.repository, "run_type": "tracked", "number": number,
        "key": number.to_string(), "commit": COMMIT, "git_ref": "main", "tracked_branch": "main",
        "fork_of": null, "stacks_touched": 1, "event": null, "reason": "main moved", "by": null,
        "state": state, "history": [{ "state": state, "at": at, "by": null }], "wants": [],
        "phase": "plan", "attempt": 1, "last_report": 0, "runner": null, "stop_asked": null,
        "delta": { "add": 1 }, "applied": false, "plan_digest": null, "ending": null,
        "lost": false, "outstanding": [], "autodeploy": false, "created_at": at, "since": at,
        "handed_out_at": null, "place": "nowhere",
    }))?)
}

pub(crate) async fn sign_in(world: &World) -> anyhow::Result<String> {
    let http = reqwest::Client::builder()
        .timeout(std::time::Duration::from_secs(10))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()?;
    let answer = http
        .post(world.url("/sign-in"))
        .form(&[("key", world.key.as_str()), ("next", "")])
        .send()
        .await?;
    let cookie = answer.headers().get("set-cookie").context("the key was not taken")?;
    Ok(cookie.to_str()?.split(';').next().unwrap_or_default().to_owned())
}
