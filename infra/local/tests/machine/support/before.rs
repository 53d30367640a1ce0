//! What an earlier Gantry left, as `tests/upgrade/README.md` says: its data folder, and a GitLab
//! that holds what its GitLab held.

use super::{Api, World, array, host, text};
use gantry_domain::stack::Tool;
use gantry_fake_gitlab::{
    Config, FakeGitlab, Limits, MergeRequestSpec, ProjectId, ProjectOptions, Visibility,
};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

const LEFT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/upgrade/before.tar.gz");
/// How long another test on this machine may have the addresses.
const PATIENCE: Duration = Duration::from_secs(300);

impl World {
    /// The program on the data folder that the earlier one left, and what else is known of it.
    pub(crate) async fn before() -> (Self, Value) {
        let folder = host::folder();
        let kept = folder.path().join("left");
        std::fs::create_dir(&kept).unwrap();
        run(Command::new("tar").arg("-xzf").arg(LEFT).arg("-C").arg(&kept));
        std::fs::rename(kept.join("data"), folder.path().join("data")).unwrap();
        let about: Value =
            serde_json::from_slice(&std::fs::read(kept.join("about.json")).unwrap()).unwrap();
        let secrets = std::fs::read(folder.path().join("data/secrets.json")).unwrap();
        let secrets: Value = serde_json::from_slice(&secrets).unwrap();

        let gitlab = gitlab(text(&about, "/gitlab").parse().unwrap()).await;
        // In this order they have the same numbers as there.
        let you = gitlab.person("root");
        gitlab.make_admin(you.id());
        let bot = gitlab.create_bot("demo_bot");
        let token = text(&about, "/token");
        gitlab.keep_token(bot, &["api"], &token);
        let options = ProjectOptions {
            // Its links had keys, which open nothing where a project is public.
            visibility: Visibility::Private,
            files: Vec::new(),
            ..ProjectOptions::default()
        };
        let project = gitlab.create_project(&text(&about, "/project"), options).unwrap();
        gitlab.set_member(project, bot, 40);
        push(&gitlab, project, &kept);
        for request in array(&about, "/written/merge_requests") {
            let spec = MergeRequestSpec::from(&text(request, "/source_branch"));
            you.open_merge_request(project, spec.titled(&text(request, "/title"))).unwrap();
        }
        write_again(&gitlab, project, &token, &about["written"], &secrets).await;

        let host = host::Running::start_on(folder, text(&about, "/gantry").parse().unwrap()).await;
        let api = Api::new(host.address(), &host.admin_key());
        let tool = Tool::Terraform;
        (Self { gitlab, project, you, token, bot, api, tool, host }, about)
    }
}

/// A GitLab at an address that is another test's while it is at work.
async fn gitlab(addr: SocketAddr) -> FakeGitlab {
    let began = Instant::now();
    let limits = Limits { archives_per_minute: None, ..Limits::default() };
    let anonymous_user = Some("root".to_owned());
    let config = Config { addr, limits, anonymous_user, ..Config::default() };
    loop {
        match FakeGitlab::start(config.clone()).await {
            Ok(gitlab) => return gitlab,
            Err(error) => assert!(began.elapsed() < PATIENCE, "{error:#}"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Branches with the commits that they had.
fn push(gitlab: &FakeGitlab, project: ProjectId, kept: &Path) {
    let clone = kept.join("clone");
    let bundle = kept.join("repository.bundle");
    run(Command::new("git").args(["clone", "-q", "--mirror"]).arg(bundle).arg(&clone));
    let branches = ["refs/heads/main", "refs/heads/topic"];
    let url = gitlab.clone_url(project);
    run(Command::new("git").arg("-C").arg(clone).args(["push", "-q"]).arg(url).args(branches));
}

#[track_caller]
fn run(command: &mut Command) {
    let ended = command.output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{command:?} {}: {said}", ended.status);
}

/// What the earlier one has written to GitLab: statuses, environments, deployments, notes and its
/// webhook.
async fn write_again(
    gitlab: &FakeGitlab,
    project: ProjectId,
    token: &str,
    written: &Value,
    secrets: &Value,
) {
    let http = reqwest::Client::builder().timeout(Duration::from_secs(60)).no_proxy();
    let http = http.build().unwrap();
    let post = async |path: &str, body: Value| {
        let address = format!("{}/api/v4/projects/{project}{path}", gitlab.base_url());
        let answer = http.post(&address).header("private-token", token).json(&body).send();
        let answer = answer.await.unwrap();
        let status = answer.status();
        let said = answer.text().await.unwrap();
        assert!(status.is_success(), "{path} with {body}: {status} {said}");
    };
    for environment in array(written, "/environments") {
        let fields = ["name", "external_url", "tier"];
        post("/environments", those_of(environment, &fields)).await;
    }
    for status in array(written, "/statuses") {
        let mut body = those_of(status, &["name", "ref", "target_url", "description"]);
        body["state"] = status["status"].clone();
        post(&format!("/statuses/{}", text(status, "/sha")), body).await;
    }
    for deployment in array(written, "/deployments") {
        let mut body = those_of(deployment, &["sha", "ref", "status"]);
        body["environment"] = deployment["environment"]["name"].clone();
        body["tag"] = json!(false);
        post("/deployments", body).await;
    }
    for note in array(written, "/notes") {
        post("/merge_requests/1/notes", those_of(note, &["body"])).await;
    }
    let webhook: Value = serde_json::from_str(&text(secrets, "/webhook-secrets")).unwrap();
    for hook in array(written, "/hooks") {
        let mut body = hook.clone();
        for secret in ["token", "signing_token"] {
            body[secret] = webhook[secret].clone();
        }
        post("/hooks", body).await;
    }
}

fn those_of(value: &Value, fields: &[&str]) -> Value {
    let kept = fields.iter().map(|field| ((*field).to_owned(), value[*field].clone()));
    Value::Object(kept.filter(|(_, value)| !value.is_null()).collect())
}
