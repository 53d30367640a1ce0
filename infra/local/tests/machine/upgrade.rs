//! Gantry is replaced by a newer one on the same data folder, while a run waits for a person.

use crate::support::{SLUG, STATUS, World, array, text};
use gantry_domain::stack::Tool;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_gantry_left_is_read_and_goes_on() {
    let (w, about) = World::before().await;
    keys_are_taken(&w, &about).await;
    stack_and_module_are_there(&w).await;
    runs_are_shown(&w, &about).await;
    let versions = the_state_has_its_versions(&w, &about).await;
    the_waiting_run_is_applied(&w, &about, versions).await;
    what_comes_next_is_heard_and_run(&w, &about).await;
    w.settle().await;
    let operations = w.api.get("/operations").await.good();
    let dead = array(&operations, "/dead_letters").iter();
    let dead: Vec<_> = dead.flat_map(|queue| array(queue, "/messages")).collect();
    assert!(dead.is_empty(), "messages were given up: {dead:#?}\n{}", w.told());
}

async fn keys_are_taken(w: &World, about: &Value) {
    let keys = w.api.get("/keys").await.good();
    let mut names: Vec<_> = array(&keys, "/keys").iter().map(|key| text(key, "/name")).collect();
    names.sort();
    assert_eq!(names, ["deployer", "first-admin-key"], "{keys:#}");
    let deployer = w.api.with_key(&text(about, "/deploy_key"));
    deployer.sign_in().await;
    deployer.get("/waiting").await.good();
    deployer.get("/operations").await.refused(403);
}

async fn stack_and_module_are_there(w: &World) {
    let stack = w.api.get(&format!("/stacks/{SLUG}")).await.good();
    let variables = json!([
        { "name": "TF_VAR_region", "value": "eu-1", "secret": false, "runs": "all" },
        { "name": "TF_VAR_admin_password", "secret": true, "runs": "all" },
    ]);
    for (field, expected) in [
        ("name", json!("Network")),
        ("project", json!("acme/network")),
        ("branch", json!("main")),
        ("project_root", json!("network")),
        ("project_globs", json!(["shared/**"])),
        ("tool", json!("terraform")),
        ("labels", json!(["eu"])),
        ("variables", variables),
    ] {
        assert_eq!(stack[field], expected, "{field}");
    }
    let hooks = &stack["hooks"];
    assert_eq!(hooks["before_plan"], json!(["echo before the plan"]));
    assert_eq!(hooks["after_apply"], json!(["echo after the apply"]));
    assert_eq!(stack["status"]["detached"], Value::Null);
    let version = w.api.get("/modules/zone/versions/1.0.0").await.good();
    assert_eq!(text(&version, "/state"), "active", "{version:#}");
}

/// Over the API, on the page of who has signed in, and to who has the link from GitLab.
async fn runs_are_shown(w: &World, about: &Value) {
    let cookie = w.api.sign_in().await;
    let applied = array(about, "/applied").iter().map(|run| run.as_str().unwrap());
    let previewed = text(about, "/previewed");
    let mut known = 0;
    for run in applied.chain([previewed.as_str()]) {
        let shown = w.api.get(&format!("/runs/{run}")).await.good();
        assert_eq!(text(&shown, "/state"), "finished");
        assert_eq!(text(&shown, "/delta/add"), "1");
        let log = w.log(run).await;
        assert!(log.contains("before the plan") && log.contains("1 to add"), "{log}");
        let change = w.api.get(&format!("/runs/{run}/change")).await.good();
        assert_eq!(text(&change, "/resources/0/action"), "create", "{change:#}");
        let name = text(&change, "/resources/0/address");
        let page = w.api.look(&format!("/runs/{run}"), &cookie).await;
        assert!(page.status.is_success() && page.body.contains(&name), "{page:?}");
        known += 1;
    }
    assert_eq!(known, 3);
    let statuses = array(about, "/written/statuses").iter();
    let links = statuses.filter(|s| text(s, "/name") == STATUS).map(|s| text(s, "/target_url"));
    let links: Vec<_> = links.collect();
    assert!(links.len() >= 3, "{links:?}");
    for link in links {
        let page = w.api.page(&link).await;
        assert!(page.status.is_success() && page.body.contains("terraform_data"), "{page:?}");
    }
    for page in ["/", "/stacks/network", "/modules/zone", "/events", "/activity", "/keys"] {
        let page = w.api.look(page, &cookie).await;
        assert!(page.status.is_success(), "{page:?}");
    }
}

/// How many there are.
async fn the_state_has_its_versions(w: &World, about: &Value) -> usize {
    let state = w.api.get(&format!("/stacks/{SLUG}/state")).await.good();
    let versions = array(&state, "/versions");
    let runs: Vec<_> = array(about, "/applied").iter().map(|run| run.as_str().unwrap()).collect();
    let by: Vec<_> = versions.iter().map(|version| text(version, "/run")).collect();
    assert!(runs.iter().all(|run| by.iter().any(|by| by == run)), "{state:#}");
    let current = w.api.get(&format!("/stacks/{SLUG}/state/current")).await.good();
    assert_eq!(resources(&current), ["dns", "network"]);
    let first = versions.iter().find(|version| text(version, "/run") == runs[0]).unwrap();
    let first = text(first, "/version");
    let first = w.api.get(&format!("/stacks/{SLUG}/state/{first}")).await.good();
    assert_eq!(resources(&first), ["network"]);
    versions.len()
}

fn resources(state: &Value) -> Vec<String> {
    array(state, "/resources").iter().map(|resource| text(resource, "/name")).collect()
}

/// Terraform applies no plan of another version: then the run says so, and is planned again.
async fn the_waiting_run_is_applied(w: &World, about: &Value, versions: usize) {
    let (run, commit) = (text(about, "/waiting"), text(about, "/commits/waiting"));
    assert_eq!(w.run_is(&commit, "unconfirmed").await, run);
    let cookie = w.api.sign_in().await;
    let waiting = w.api.look("/", &cookie).await.body;
    assert!(waiting.contains(&run), "{waiting}");
    w.confirm(&run).await;
    if text(about, "/terraform") == version_of_terraform() {
        assert_eq!(w.run_is(&commit, "finished").await, run);
    } else {
        assert_eq!(w.run_is(&commit, "failed").await, run);
        let log = w.log(&run).await;
        assert!(log.contains("plan file was created by"), "{log}");
        w.api.post(&format!("/runs/{run}/retry"), &json!({})).await.good();
        w.eventually("the run that takes its place", async || {
            (w.runs_of(&commit).await.len() == 2).then_some(())
        })
        .await;
        w.apply(&commit).await;
    }
    let said = w.succeeded(&commit, STATUS).await;
    assert!(said.contains("1 added, 0 changed, 0 destroyed"), "{said}");
    let current = w.api.get(&format!("/stacks/{SLUG}/state/current")).await.good();
    assert_eq!(resources(&current), ["dns", "network", "web"]);
    let state = w.api.get(&format!("/stacks/{SLUG}/state")).await.good();
    assert!(array(&state, "/versions").len() > versions, "{state:#}");
    let success = async || {
        let all = w.gitlab.deployments(w.project);
        all.into_iter()
            .find(|d| d.environment == STATUS && d.sha == commit && d.status == "success")
    };
    w.eventually("its deployment", success).await;
}

fn version_of_terraform() -> String {
    let tool = gantry_terraform::folder(Tool::Terraform).unwrap().join("terraform");
    let said = std::process::Command::new(tool).args(["version", "-json"]).output().unwrap();
    text(&serde_json::from_slice(&said.stdout).unwrap(), "/terraform_version")
}

/// The webhook's secret, the secret variable, the module's archive and the note are those of
/// before.
async fn what_comes_next_is_heard_and_run(w: &World, about: &Value) {
    let registry = text(about, "/gantry");
    let code = format!(
        "{}\nmodule \"zone\" {{\n  source  = \"{registry}/acme/zone/dns\"\n  version = \"1.0.0\"\n  \
         name    = \"office\"\n}}\n",
        text(about, "/code")
    );
    let commit = w.you.push(w.project, "topic", "network/main.tf", &code).unwrap();
    let run = w.run_is(&commit, "finished").await;
    let event = text(&w.api.get(&format!("/runs/{run}")).await.good(), "/event");
    let events = w.api.get("/events").await.good();
    let event = array(&events, "/events").iter().find(|known| text(known, "/id") == event);
    assert_eq!(event.map(|event| text(event, "/source")).as_deref(), Some("webhook"), "{events:#}");
    let change = w.api.get(&format!("/runs/{run}/change")).await.good().to_string();
    assert!(change.contains("module.zone.terraform_data.zone"), "{change}");
    let secret = text(about, "/secret");
    assert!(!change.contains(&secret) && !w.log(&run).await.contains(&secret));
    let iid = gantry_fake_gitlab::MergeRequestIid(1);
    let notes = w.gitlab.notes(w.project, iid);
    let before: Vec<_> = notes.into_iter().filter(|note| !note.system).collect();
    assert_eq!(before.len(), 1, "{before:#?}");
    let short = commit.get(..8).unwrap();
    w.eventually("the comment of before, on the new commit", async || {
        let now = w.gitlab.notes(w.project, iid).into_iter().filter(|note| !note.system);
        let now: Vec<_> = now.collect();
        assert!(now.len() == 1 && now[0].id == before[0].id, "{now:#?}");
        let body = &now[0].body;
        (body.contains(short) && body.contains("Planned")).then_some(())
    })
    .await;
}
