//! The story, step by step: what is done, what was seen at GitLab, where to look.

use super::{World, outside::Outside, people, projects, say};
use anyhow::{Context as _, bail};
use flate2::{Compression, write::GzEncoder};
use gantry_fake_gitlab::{MergeRequestIid, MergeRequestSpec, Person, ProjectId, StatusView};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::time::{Duration, Instant};

/// A step that takes longer than this failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Tells the story. True when everything that should be seen was seen.
pub(crate) async fn tell(world: &World) -> bool {
    say(&format!(
        "Gantry's demo: a GitLab, a Gantry and a real {}, all on this machine.",
        world.tool.name()
    ));
    let started = Instant::now();
    match steps(world).await {
        Ok(()) => {
            say(&format!(
                "\nThe whole story took {:.0} s. Everything showed up in GitLab.",
                started.elapsed().as_secs_f32()
            ));
            true
        }
        Err(error) => {
            say(&format!("\nMISSING: {error:#}"));
            false
        }
    }
}

async fn steps(world: &World) -> anyhow::Result<()> {
    let you = world.gitlab.person("you");
    connect(world).await?;
    create_stack(world, world.network, "Network", "network", Value::Null).await?;

    let change = projects::network_main("10.0.0.0/16") + projects::DNS;
    let commit = push_branch(world, &you, "add-dns", &change).await?;
    let iid = open_merge_request(world, &you, &commit).await?;
    let run = merge(world, &you, iid).await?;
    confirm(world, &run, "3 added, 0 changed, 0 destroyed").await?;
    second_change(world, &you).await?;
    let more_nodes = with_own_ci(world, &you).await?;
    people::tell(world, &you, more_nodes).await?;
    module(world, &you).await?;
    use_module(world, &you).await?;
    preview(world).await?;
    if let Some((project, outside)) = &world.web {
        drift(world, &you, *project, outside).await?;
    }
    Ok(())
}

/// A module: tested in its merge request, a version once it is merged.
async fn module(world: &World, you: &Person) -> anyhow::Result<()> {
    let refused = |refusal| anyhow::anyhow!("{refusal:?}");
    let path = world.gitlab.project_path(world.module);
    world.step(&format!("Create a module from {path} (POST /api/v1/modules) and write its code"));
    let made = world.api.post("/modules", &json!({ "project": path, "tool": world.tool })).await?;
    let slug = text(&made, "/slug");
    world.api.post(&format!("/stacks/{slug}/webhook"), &json!({})).await?;
    let files = [
        ("main.tf", Some(projects::MODULE)),
        (".gantry/config.yml", Some(projects::MODULE_CONFIG)),
    ];
    let commit = you.push_files(world.module, "begin", &files, "A zone").map_err(refused)?;
    let spec = MergeRequestSpec::from("begin").titled("A zone");
    let iid = you.open_merge_request(world.module, spec).map_err(refused)?;
    for name in ["gantry/zone/office", "gantry/zone/refuses-capitals", "gantry/zone"] {
        let done = succeeded(world, world.module, &commit, name).await?;
        seen(&format!("{name}: {}", done.description.unwrap_or_default()));
    }
    wait("Gantry's comment with the version that merging creates", || {
        let notes = world.gitlab.notes(world.module, iid);
        notes.into_iter().find(|note| note.body.contains("merging creates version 1.0.0"))
    })
    .await?;
    look(&format!("{}/{path}/-/merge_requests/{}", world.gitlab.base_url(), iid.0));

    world.step("Merge it; the version is created once the tests have passed there too");
    you.merge(world.module, iid).map_err(refused)?;
    let head = world.gitlab.head(world.module, "main").context("main no longer exists")?;
    let done = succeeded(world, world.module, &head, "gantry/zone").await?;
    let said = done.description.as_deref().unwrap_or_default();
    let version = world.api.get("/modules/zone/versions/1.0.0").await?;
    if !said.ends_with("version 1.0.0 created") || text(&version, "/state") != "active" {
        bail!("the status says {said:?} and the version is {version}");
    }
    seen(&format!("gantry/zone: {said}"));
    look(done.target_url.as_deref().unwrap_or_default());
    Ok(())
}

/// A stack that uses the module through the registry.
async fn use_module(world: &World, you: &Person) -> anyhow::Result<()> {
    world.step("The stack Network uses the module through the registry");
    let host = world.gantry.split("://").last().unwrap_or_default().to_owned();
    let code = projects::network_main("10.0.0.0/16") + projects::DNS;
    let code = code + &projects::uses_module(&host);
    let commit = you
        .push(world.network, "own-zone", "network/main.tf", &code)
        .map_err(|refusal| anyhow::anyhow!("{refusal:?}"))?;
    let done = succeeded(world, world.network, &commit, "gantry/network").await?;
    let said = done.description.unwrap_or_default();
    if !said.starts_with("1 to add, ") {
        bail!("the status says {said:?}");
    }
    seen(&format!("gantry/network: {said}, from {host}/acme/zone/dns"));
    look(done.target_url.as_deref().unwrap_or_default());
    Ok(())
}

/// A working folder is previewed before anybody has pushed it: GitLab shows nothing of it.
async fn preview(world: &World) -> anyhow::Result<()> {
    world.step("Preview a working folder that nobody has pushed, as `gantry preview network` does");
    world.api.put("/stacks/network", &json!({ "local_previews": true })).await?;
    let code = projects::network_main("10.9.0.0/16") + projects::DNS;
    let archive = packed("work/network/main.tf", code.as_bytes())?;
    let digest = hex::encode(Sha256::digest(&archive));
    let asked = json!({ "digest": digest, "size": archive.len() });
    let place = world.api.post("/stacks/network/previews", &asked).await?;
    let path = format!("/stacks/network/previews/{digest}");
    world.api.upload(&place, &path, archive).await?;
    world.api.post(&format!("{path}/start"), &json!({})).await?;
    let begun = Instant::now();
    let run = loop {
        let found = world.api.get("/runs?stack=network&type=proposed&limit=1").await?;
        let run = found.pointer("/runs/0").cloned().unwrap_or_default();
        if text(&run, "/source") == "upload" {
            break text(&run, "/id");
        }
        if begun.elapsed() > PATIENCE {
            bail!("the uploaded preview did not begin: {found}");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let run = loop {
        let run = world.api.get(&format!("/runs/{run}?wait=20")).await?;
        if matches!(text(&run, "/state").as_str(), "finished" | "failed" | "stopped" | "canceled") {
            break run;
        }
        if begun.elapsed() > PATIENCE {
            bail!("the uploaded preview does not end: {run}");
        }
    };
    if text(&run, "/state") != "finished" || !run["applied"].eq(&Value::Bool(false)) {
        bail!("the uploaded preview: {run}");
    }
    let delta = run.pointer("/delta").cloned().unwrap_or_default();
    seen(&format!(
        "{} to add, {} to change, {} to destroy; never applied, and GitLab shows nothing of it",
        delta["add"], delta["change"], delta["destroy"]
    ));
    seen(&format!("its page, for who signs in: {}", text(&run, "/page")));
    let path = world.gitlab.project_path(world.network);
    look(&format!("{}/{path}", world.gitlab.base_url()));
    Ok(())
}

/// A `tar.gz` with one file.
fn packed(path: &str, body: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let mut header = tar::Header::new_gnu();
    header.set_size(body.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    archive.append_data(&mut header, path, body)?;
    Ok(archive.into_inner()?.finish()?)
}

/// What was changed by hand is seen, and brought back by an apply.
async fn drift(
    world: &World,
    you: &Person,
    project: ProjectId,
    outside: &Outside,
) -> anyhow::Result<()> {
    let fields = json!({
        "autodeploy": true,
        "variables": [{
            "name": "TF_CLI_CONFIG_FILE",
            "value": outside.config,
            "runs": "all",
        }],
    });
    create_stack(world, project, "Web", "", fields).await?;
    let refused = |refusal| anyhow::anyhow!("{refusal:?}");
    let code = |port| projects::web_main(&outside.provider(), port, outside.has_actions);
    world.step("Push to main; the stack Web applies automatically");
    let commit = you.push(project, "main", "main.tf", &code(80)).map_err(refused)?;
    let done = succeeded(world, project, &commit, "gantry/web").await?;
    let file = outside.objects.join("web-1.json");
    seen(&format!(
        "gantry/web: {}; the \"web server\" is the file {}",
        done.description.unwrap_or_default(),
        file.display()
    ));
    look(done.target_url.as_deref().unwrap_or_default());

    world.step("Someone edits that file by hand, and a merge request opens another port");
    outside.edit("web-1.json", "hello", "changed by hand")?;
    you.push(project, "https", "main.tf", &code(443)).map_err(refused)?;
    let spec = MergeRequestSpec::from("https").titled("Serve HTTPS");
    let iid = you.open_merge_request(project, spec).map_err(refused)?;
    let note = wait("Gantry's comment with the exact change", || {
        let notes = world.gitlab.notes(project, iid);
        notes.into_iter().find(|n| n.author == "gantry-bot" && n.body.contains("443"))
    })
    .await?;
    seen("the planned change, and what was changed by hand:");
    let change = note.body.split("```").find(|part| part.contains("443")).unwrap_or_default();
    for line in change.lines().skip(1) {
        say(&format!("        {line}"));
    }
    if !(change.contains("changed outside") && change.contains("changed by hand")) {
        bail!("the comment does not mention what was changed by hand: {}", note.body);
    }
    look(&format!(
        "{}/{}/-/merge_requests/{}",
        world.gitlab.base_url(),
        world.gitlab.project_path(project),
        iid.0
    ));

    world.step("Merge it; the manual change is reverted");
    you.merge(project, iid).map_err(refused)?;
    let head = world.gitlab.head(project, "main").context("main no longer exists")?;
    let done = succeeded(world, project, &head, "gantry/web").await?;
    let said = done.description.unwrap_or_default();
    if !said.contains("1 changed") || !outside.read("web-1.json")?.contains("hello") {
        bail!("the status says {said:?} and the file {}", outside.read("web-1.json")?);
    }
    seen(&format!("gantry/web: {said}"));
    if outside.has_actions {
        seen(&format!("written by the action: {}", outside.read("notes")?.trim_end()));
    }
    look(done.target_url.as_deref().unwrap_or_default());
    Ok(())
}

async fn connect(world: &World) -> anyhow::Result<()> {
    world.step("Connect GitLab (PUT /api/v1/integration)");
    let body = json!({ "api_host": world.gitlab.base_url(), "token": world.token });
    let found = world.api.put("/integration", &body).await?;
    seen(&format!(
        "GitLab {} as @{}",
        text(&found, "/found/version"),
        text(&found, "/found/bot_user/username"),
    ));
    look(world.gitlab.base_url());
    Ok(())
}

async fn create_stack(
    world: &World,
    project: ProjectId,
    name: &str,
    root: &str,
    fields: Value,
) -> anyhow::Result<()> {
    let path = world.gitlab.project_path(project);
    world.step(&format!(
        "Create the stack {name} for {path} (POST /api/v1/stacks), with its webhook"
    ));
    let mut body = json!({
        "name": name,
        "project": path,
        "branch": "main",
        "project_root": root,
        "tool": world.tool,
        "variables": [
            { "name": "TF_VAR_admin_password", "value": "hunter2-hunter2", "secret": true, "runs": "all" },
        ],
    });
    for (field, value) in fields.as_object().into_iter().flatten() {
        body[field] = value.clone();
    }
    let made = world.api.post("/stacks", &body).await?;
    let slug = text(&made, "/stack/slug");
    let slug = if slug.is_empty() { text(&made, "/slug") } else { slug };
    world.api.post(&format!("/stacks/{slug}/webhook"), &json!({})).await?;
    let environment = format!("gantry/{slug}");
    wait(&format!("the environment {environment}"), || {
        let all = world.gitlab.environments(project);
        all.iter().any(|e| e.name == environment).then_some(())
    })
    .await?;
    seen(&format!("a webhook, and the environment {environment}"));
    look(&format!("{}/{path}", world.gitlab.base_url()));
    Ok(())
}

async fn push_branch(
    world: &World,
    you: &Person,
    branch: &str,
    main_tf: &str,
) -> anyhow::Result<String> {
    world.step(&format!("Push the branch {branch}"));
    let pushed = Instant::now();
    let commit = you
        .push(world.network, branch, "network/main.tf", main_tf)
        .map_err(|refusal| anyhow::anyhow!("{refusal:?}"))?;
    status(world, world.network, &commit, "gantry/network", |_| true).await?;
    let first = pushed.elapsed();
    let done = succeeded(world, world.network, &commit, "gantry/network").await?;
    let gate = succeeded(world, world.network, &commit, "gantry").await?;
    seen(&format!(
        "gantry/network: {} · gantry: {} (first status after {} ms)",
        done.description.unwrap_or_default(),
        gate.description.unwrap_or_default(),
        first.as_millis()
    ));
    look(done.target_url.as_deref().unwrap_or_default());
    Ok(commit)
}

async fn open_merge_request(
    world: &World,
    you: &Person,
    commit: &str,
) -> anyhow::Result<MergeRequestIid> {
    world.step("Open a merge request");
    let iid = you
        .open_merge_request(
            world.network,
            MergeRequestSpec::from("add-dns").titled("Add DNS records"),
        )
        .map_err(|refusal| anyhow::anyhow!("{refusal:?}"))?;
    let note = wait("Gantry's comment with the exact change", || {
        let notes = world.gitlab.notes(world.network, iid);
        notes.into_iter().find(|n| n.author == "gantry-bot" && n.body.contains("mail"))
    })
    .await?;
    if note.body.contains("hunter2") {
        bail!("the comment shows a secret value");
    }
    let runs = world.api.get("/stacks/network/runs").await?;
    let for_commit = array(&runs, "/runs")
        .iter()
        .filter(|r| r.pointer("/commit").and_then(Value::as_str) == Some(commit))
        .count();
    if for_commit != 1 {
        bail!("the commit has {for_commit} runs, but one was expected");
    }
    seen("one comment with the exact change, from the run that the push had started:");
    for line in note.body.lines().filter(|l| l.starts_with("+ ")).take(4) {
        say(&format!("        {line}"));
    }
    let path = world.gitlab.project_path(world.network);
    look(&format!("{}/{path}/-/merge_requests/{}", world.gitlab.base_url(), iid.0));
    Ok(iid)
}

async fn merge(world: &World, you: &Person, iid: MergeRequestIid) -> anyhow::Result<String> {
    world.step("Merge it");
    you.merge(world.network, iid).map_err(|refusal| anyhow::anyhow!("{refusal:?}"))?;
    let head = world.gitlab.head(world.network, "main").context("main no longer exists")?;
    let waiting = status(world, world.network, &head, "gantry/network", |s| {
        s.description.as_deref().is_some_and(|d| d.contains("applied once confirmed"))
    })
    .await?;
    seen(&format!("gantry/network: {}", waiting.description.as_deref().unwrap_or_default()));
    look(waiting.target_url.as_deref().unwrap_or_default());
    tracked_run(world, "network", &head).await
}

async fn confirm(world: &World, run: &str, expected: &str) -> anyhow::Result<()> {
    world.step(&format!("Confirm it (POST /api/v1/runs/{run}/confirm)"));
    world.api.post(&format!("/runs/{run}/confirm"), &json!({})).await?;
    let head = world.gitlab.head(world.network, "main").context("main no longer exists")?;
    let done = succeeded(world, world.network, &head, "gantry/network").await?;
    let said = done.description.unwrap_or_default();
    if !said.contains(expected) {
        bail!("the status says {said:?}, but {expected:?} was expected");
    }
    wait("the successful deployment", || {
        let all = world.gitlab.deployments(world.network);
        all.into_iter()
            .find(|d| d.environment == "gantry/network" && d.sha == head && d.status == "success")
    })
    .await?;
    seen(&format!("gantry/network: {said}, and a successful deployment to gantry/network"));
    let path = world.gitlab.project_path(world.network);
    look(&format!("{}/{path}", world.gitlab.base_url()));
    Ok(())
}

async fn second_change(world: &World, you: &Person) -> anyhow::Result<()> {
    world.step("A second change is planned against the state left by the first");
    let change = projects::network_main("10.8.0.0/16") + projects::DNS;
    let commit = you
        .push(world.network, "move-network", "network/main.tf", &change)
        .map_err(|refusal| anyhow::anyhow!("{refusal:?}"))?;
    let done = succeeded(world, world.network, &commit, "gantry/network").await?;
    let said = done.description.unwrap_or_default();
    if !(said.contains("0 to add, ") && said.contains(" to change, 0 to destroy")) {
        bail!("the status says {said:?}");
    }
    seen(&format!("gantry/network: {said}"));
    look(done.target_url.as_deref().unwrap_or_default());
    Ok(())
}

async fn with_own_ci(world: &World, you: &Person) -> anyhow::Result<MergeRequestIid> {
    create_stack(world, world.platform, "Platform", "", Value::Null).await?;
    world
        .step("A merge request in a project that has its own CI and requires pipelines to succeed");
    let refused = |refusal| anyhow::anyhow!("{refusal:?}");
    let text = "resource \"terraform_data\" \"cluster\" {\n  input = { nodes = 5 }\n}\n";
    let commit = you.push(world.platform, "more-nodes", "main.tf", text).map_err(refused)?;
    let spec = MergeRequestSpec::from("more-nodes").titled("More nodes");
    let iid = you.open_merge_request(world.platform, spec).map_err(refused)?;
    let pipeline =
        wait("one green merge request pipeline with the jobs of CI and of Gantry", || {
            let head = world.gitlab.mr(world.platform, iid)?.head_pipeline?;
            let all = world.gitlab.pipelines(world.platform);
            all.into_iter().find(|p| {
                let has =
                    |name: &str| p.jobs.iter().any(|j| j.name == name && j.status == "success");
                p.id == head
                    && p.sha == commit
                    && has("build")
                    && has("gantry/platform")
                    && has("gantry")
            })
        })
        .await?;
    let foreign = world
        .gitlab
        .pipelines(world.platform)
        .iter()
        .filter(|p| p.jobs.iter().any(|j| j.external && !j.retried && j.status != "success"))
        .count();
    if foreign > 0 {
        bail!("{foreign} pipelines contain a status that never finished");
    }
    seen(&format!(
        "pipeline {} ({}) is green: {}",
        pipeline.id.0,
        pipeline.source,
        pipeline
            .jobs
            .iter()
            .filter(|j| !j.retried)
            .map(|j| j.name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    ));
    let path = world.gitlab.project_path(world.platform);
    look(&format!("{}/{path}/-/merge_requests/{}", world.gitlab.base_url(), iid.0));
    Ok(iid)
}

pub(super) async fn tracked_run(world: &World, slug: &str, commit: &str) -> anyhow::Result<String> {
    let runs = world.api.get(&format!("/stacks/{slug}/runs")).await?;
    array(&runs, "/runs")
        .iter()
        .find(|r| {
            r.pointer("/commit").and_then(Value::as_str) == Some(commit)
                && r.pointer("/type").and_then(Value::as_str) == Some("tracked")
        })
        .map(|r| text(r, "/id"))
        .with_context(|| format!("{slug} has no deploy of {commit}: {runs}"))
}

pub(super) async fn succeeded(
    world: &World,
    project: ProjectId,
    commit: &str,
    name: &str,
) -> anyhow::Result<StatusView> {
    status(world, project, commit, name, |s| {
        matches!(s.status.as_str(), "success" | "failed" | "canceled")
    })
    .await
    .and_then(|s| {
        if s.status == "success" {
            Ok(s)
        } else {
            bail!("{name} is {}: {}", s.status, s.description.unwrap_or_default())
        }
    })
}

pub(super) async fn status(
    world: &World,
    project: ProjectId,
    commit: &str,
    name: &str,
    is_it: impl Fn(&StatusView) -> bool,
) -> anyhow::Result<StatusView> {
    let all = || world.gitlab.statuses(project, commit);
    let what = format!("the status {name}");
    let found =
        wait(&what, || all().into_iter().find(|s| s.name == name && !s.retried && is_it(s)));
    found.await.with_context(|| {
        let said = |s: StatusView| {
            format!("{} is {}: {}", s.name, s.status, s.description.unwrap_or_default())
        };
        all().into_iter().map(said).collect::<Vec<_>>().join("; ")
    })
}

async fn wait<T>(what: &str, look: impl Fn() -> Option<T>) -> anyhow::Result<T> {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if began.elapsed() > PATIENCE {
            bail!("{what} did not show up within {} s", PATIENCE.as_secs());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

pub(super) fn seen(what: &str) {
    say(&format!("   seen: {what}"));
}

pub(super) fn look(address: &str) {
    say(&format!("   open: {address}"));
}

pub(super) fn text(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    }
}

pub(super) fn array<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
