//! CodeBuild in small: a build is the runner's real program with the variables that CodeBuild sets,
//! started by the commands of the template's own build spec.

use crate::{deployed::Project, functions::Process, tools, wire::REGION};
use anyhow::Context as _;
use axum::{
    Json, Router,
    extract::{Path as InPath, State},
    response::{IntoResponse as _, Response},
    routing::get,
};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs::File,
    net::Ipv4Addr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{net::TcpListener, sync::mpsc};

/// Where the template's build spec puts the runner's layer.
const LAYER: &str = "/opt/gantry/";

/// Gives the command that follows the first two arguments folders of its own where every user can
/// write. Those two are folders that it needs, wherever they are.
const OWN_FOLDERS: &str = r#"
exec 3<"$1" 4<"$2"
for folder in /tmp /var/tmp /dev/shm /dev/mqueue /run/lock /codebuild; do
    if [ -d "$folder" ]; then mount -t tmpfs -o mode=1777 gantry "$folder"; fi
done
mkdir -p "$1" "$2"
mount --no-canonicalize --bind /proc/self/fd/3 "$1"
mount --no-canonicalize --bind /proc/self/fd/4 "$2"
exec 3<&- 4<&-
shift 2
exec "$@"
"#;

/// One build.
#[derive(Debug, Clone)]
pub struct Build {
    /// `gantry-runner:1`.
    pub id: String,
    /// The ARN of its role.
    pub role: String,
    /// What StartBuild was called with.
    pub started_with: Value,
    /// StopBuild was called for it.
    pub stopped: bool,
}

#[derive(Default)]
struct Builds {
    list: Vec<Build>,
    processes: BTreeMap<String, Process>,
    /// Builds that may run at once; all when none.
    quota: Option<usize>,
    /// Builds end before they do anything, with these words of CodeBuild.
    broken: Option<String>,
    /// Terraform runs as the user that the project names.
    with_user: bool,
    /// Builds get no machine.
    waiting: bool,
}

/// The service.
pub struct CodeBuild {
    project: Project,
    moto: String,
    folder: PathBuf,
    /// The folder of the workspace's programs.
    programs: PathBuf,
    path: String,
    address: String,
    http: reqwest::Client,
    builds: Mutex<Builds>,
    events: mpsc::UnboundedSender<Value>,
}

impl CodeBuild {
    /// The service with its one project, and the events that EventBridge would pass on. Builds
    /// work and log in `folder`.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(
        project: Project,
        moto: String,
        folder: PathBuf,
        programs: PathBuf,
    ) -> anyhow::Result<(Arc<Self>, mpsc::UnboundedReceiver<Value>)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (events, told) = mpsc::unbounded_channel();
        let service = Arc::new(Self {
            project,
            moto,
            folder,
            programs,
            path: gantry_terraform::path(),
            address: format!("http://{}", listener.local_addr()?),
            http: reqwest::Client::builder().no_proxy().build()?,
            builds: Mutex::default(),
            events,
        });
        let router = Router::new()
            .route("/credentials/{build}", get(credentials))
            .with_state(Arc::clone(&service));
        tokio::spawn(async move { axum::serve(listener, router).await });
        tokio::spawn(watch(Arc::downgrade(&service)));
        Ok((service, told))
    }

    /// Every build that was started.
    pub fn builds(&self) -> Vec<Build> {
        self.locked().list.clone()
    }

    /// How many builds may run at once from now on.
    pub fn set_quota(&self, quota: Option<usize>) {
        self.locked().quota = quota;
    }

    /// From now on builds end in provisioning with these words.
    pub fn set_broken(&self, words: Option<&str>) {
        self.locked().broken = words.map(str::to_owned);
    }

    /// From now on builds wait for a machine, or not.
    pub fn set_waiting(&self, waiting: bool) {
        self.locked().waiting = waiting;
    }

    /// The machine of a build is gone, and nobody says so.
    pub fn freeze(&self, id: &str) {
        if let Some(process) = self.locked().processes.get(id) {
            process.freeze();
        }
    }

    /// From now on Terraform has a user of its own in builds, as the project says, and each build
    /// sees its own processes alone, and nobody else's files in the folders that all users share, as
    /// in a container. False where only root can do that, or where that user cannot reach the folder.
    pub fn set_with_user(&self) -> bool {
        let is_open = |folder: &Path| {
            folder.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o001 != 0)
        };
        let alone = self.alone().arg("true").status();
        let can =
            alone.is_ok_and(|status| status.success()) && self.folder.ancestors().all(is_open);
        self.locked().with_user = can;
        can
    }

    /// Executes its arguments with processes of their own, which end with it, and mounts, as in a
    /// container.
    fn alone(&self) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
        command.args(["sh", "-e", "-c", OWN_FOLDERS, "sh"]);
        command.arg(tools::repository()).arg(&self.programs);
        command
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Builds> {
        self.builds.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Answers a call.
    ///
    /// # Errors
    /// When a build cannot be started here.
    pub(crate) async fn answer(
        &self,
        headers: &HeaderMap,
        body: &[u8],
    ) -> anyhow::Result<Response> {
        let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok());
        let body: Value = serde_json::from_slice(body)?;
        match target.unwrap_or_default() {
            "CodeBuild_20161006.StartBuild" => self.start_build(body),
            "CodeBuild_20161006.StopBuild" => self.stop_build(&body),
            other => Ok(refusal("UnknownOperationException", other)),
        }
    }

    fn start_build(&self, asked: Value) -> anyhow::Result<Response> {
        let mut builds = self.locked();
        let token = &asked["idempotencyToken"];
        if let Some(same) =
            builds.list.iter().find(|b| b.started_with["idempotencyToken"] == *token)
        {
            // <https://docs.aws.amazon.com/codebuild/latest/APIReference/API_StartBuild.html>
            return Ok(match same.started_with == asked {
                true => Json(json!({"build": {"id": same.id}})).into_response(),
                false => {
                    refusal("InvalidInputException", "the token was used with other parameters")
                }
            });
        }
        if asked["projectName"] != self.project.name.as_str() {
            return Ok(refusal("ResourceNotFoundException", "no such project"));
        }
        let running = builds.processes.values_mut().filter_map(|p| p.runs().then_some(())).count();
        if builds.quota.is_some_and(|quota| running >= quota) {
            let text = "Cannot have more than 1 builds in queue for the account";
            return Ok(refusal("AccountLimitExceededException", text));
        }
        let id = format!("{}:{}", self.project.name, builds.list.len() + 1);
        let role = asked["serviceRoleOverride"].as_str().unwrap_or(&self.project.role).to_owned();
        let build = Build { id: id.clone(), role, started_with: asked, stopped: false };
        if let Some(words) = builds.broken.clone() {
            self.tell(&build, "FAILED", "PROVISIONING", &words);
        } else {
            let process = match builds.waiting {
                true => Process::start(Command::new("sleep").arg("600"))?,
                false => self.launch(&build, &build.id, builds.with_user)?,
            };
            builds.processes.insert(id.clone(), process);
        }
        builds.list.push(build);
        Ok(Json(json!({"build": {"id": id}})).into_response())
    }

    fn stop_build(&self, asked: &Value) -> anyhow::Result<Response> {
        let id = asked["id"].as_str().unwrap_or_default();
        let mut builds = self.locked();
        let Some(build) = builds.list.iter_mut().find(|build| build.id == id) else {
            return Ok(refusal("ResourceNotFoundException", "no such build"));
        };
        build.stopped = true;
        let build = build.clone();
        if builds.processes.remove(id).is_some() {
            self.tell(&build, "STOPPED", "BUILD", "");
        }
        Ok(Json(json!({"build": {"id": id}})).into_response())
    }

    /// Executes a build's commands with the role of another build, as somebody does who has read its
    /// parameters. What it says, once it has ended.
    ///
    /// # Errors
    /// When there is no such build, or its commands cannot be executed.
    pub async fn execute(&self, id: &str, role_of: &str) -> anyhow::Result<String> {
        let build = self.builds().into_iter().find(|build| build.id == id);
        let build = build.context("there is no such build")?;
        let mut process = self.launch(&build, role_of, false)?;
        while process.runs() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(std::fs::read_to_string(self.log(id))?)
    }

    /// Where a build's output goes.
    pub fn log(&self, id: &str) -> PathBuf {
        self.folder.join(format!("build-{id}.log"))
    }

    /// The commands of the build spec's `build` phase, with the project's variables, those of
    /// the call, and CodeBuild's own. What an image brings is this machine's: the layer's place,
    /// the folder to work in, and mostly the user that Terraform runs as.
    fn launch(&self, build: &Build, role_of: &str, with_user: bool) -> anyhow::Result<Process> {
        let log = File::create(self.log(&build.id))?;
        let commands =
            commands(&self.project.buildspec, "build").context("the build spec has no commands")?;
        let commands = commands.replace(LAYER, &format!("{}/", self.programs.display()));
        let overrides = build.started_with["environmentVariablesOverride"].as_array();
        let overrides = overrides.into_iter().flatten().filter_map(|variable| {
            Some((variable["name"].as_str()?.to_owned(), variable["value"].as_str()?.to_owned()))
        });
        let credentials = format!("{}/credentials/{role_of}", self.address);
        let mut shell = match with_user {
            true => self.alone(),
            false => Command::new("env"),
        };
        Process::start(
            shell
                .args(["sh", "-e", "-c", &commands])
                .env_clear()
                .env("PATH", &self.path)
                .env("HOME", &self.folder)
                .env("AWS_REGION", REGION)
                .env("AWS_DEFAULT_REGION", REGION)
                .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", credentials)
                .env("CODEBUILD_BUILD_ID", &build.id)
                .envs(&self.project.variables)
                .envs(overrides)
                .env("GANTRY_RUNNER_WORK", self.folder.join("runners"))
                .envs((!with_user).then_some(("GANTRY_RUNNER_USER", "")))
                .stdout(log.try_clone()?)
                .stderr(log),
        )
    }

    /// <https://docs.aws.amazon.com/codebuild/latest/userguide/sample-build-notifications.html>
    fn tell(&self, build: &Build, status: &str, phase: &str, words: &str) {
        let variables = &build.started_with["environmentVariablesOverride"];
        let event = json!({
            "version": "0",
            "source": "aws.codebuild",
            "detail-type": "CodeBuild Build State Change",
            "detail": {
                "build-status": status,
                "project-name": self.project.name,
                "build-id": format!("arn:aws:codebuild:{REGION}:123456789012:build/{}", build.id),
                "additional-information": {
                    "environment": {"environment-variables": variables},
                    "phases": [
                        {"phase-type": "SUBMITTED", "phase-context": [], "phase-status": "SUCCEEDED"},
                        {"phase-type": phase, "phase-context": [words], "phase-status": status},
                        {"phase-type": "COMPLETED"},
                    ],
                },
            },
        });
        // Nobody listens any more when the test is over.
        let _over = self.events.send(event);
    }
}

/// Tells of builds that ended badly.
async fn watch(service: std::sync::Weak<CodeBuild>) {
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let Some(service) = service.upgrade() else { return };
        let mut builds = service.locked();
        let mut failed = Vec::new();
        builds.processes.retain(|id, process| match process.ended() {
            None => true,
            Some(well) => {
                if !well {
                    failed.push(id.clone());
                }
                false
            }
        });
        for build in builds.list.iter().filter(|build| failed.contains(&build.id)) {
            service.tell(build, "FAILED", "BUILD", "COMMAND_EXECUTION_ERROR: exit status 1");
        }
    }
}

/// What a container gets from its credentials' address: a session of the build's role.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>
async fn credentials(
    State(service): State<Arc<CodeBuild>>,
    InPath(id): InPath<String>,
) -> Response {
    let build = service.locked().list.iter().find(|build| build.id == id).cloned();
    let Some(build) = build else { return StatusCode::NOT_FOUND.into_response() };
    match assume(&service, &build).await {
        Ok(credentials) => Json(credentials).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")).into_response(),
    }
}

async fn assume(service: &CodeBuild, build: &Build) -> anyhow::Result<Value> {
    let answer = service
        .http
        .post(&service.moto)
        .header(
            "authorization",
            format!("AWS4-HMAC-SHA256 Credential=codebuild/20260101/{REGION}/sts/aws4_request, SignedHeaders=host, Signature=0"),
        )
        .form(&[
            ("Action", "AssumeRole"),
            ("Version", "2011-06-15"),
            ("RoleArn", build.role.as_str()),
            ("RoleSessionName", "AWSCodeBuild-1"),
        ])
        .send()
        .await?
        .error_for_status()?
        .text()
        .await?;
    let element = |name: &str| -> anyhow::Result<String> {
        let (_, rest) =
            answer.split_once(&format!("<{name}>")).context("an answer without keys")?;
        Ok(rest.split('<').next().unwrap_or_default().to_owned())
    };
    Ok(json!({
        "AccessKeyId": element("AccessKeyId")?,
        "SecretAccessKey": element("SecretAccessKey")?,
        "Token": element("SessionToken")?,
        "Expiration": element("Expiration")?,
    }))
}

/// The commands of a phase of a build spec, one a line.
pub fn commands(buildspec: &str, phase: &str) -> Option<String> {
    let (_, phase) = buildspec.split_once(&format!("  {phase}:\n"))?;
    let (_, commands) = phase.split_once("commands:\n")?;
    let commands = commands.lines().map_while(|line| line.trim_start().strip_prefix("- "));
    Some(commands.collect::<Vec<_>>().join("\n"))
}

fn refusal(kind: &str, message: &str) -> Response {
    let body = Json(json!({"__type": kind, "message": message}));
    (StatusCode::BAD_REQUEST, body).into_response()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_commands_of_the_build_phase_are_run() {
        let spec = "version: 0.2\nphases:\n  install:\n    commands:\n      - a\n  build:\n    \
                    commands:\n      - b 1\n      - c\n";
        assert_eq!(super::commands(spec, "build").as_deref(), Some("b 1\nc"));
        assert_eq!(super::commands(spec, "install").as_deref(), Some("a"));
        assert_eq!(super::commands(spec, "post_build"), None);
    }
}
