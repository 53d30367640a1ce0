//! Git's own `http-backend`, for clone and push, and the hook scripts that guard it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use tokio::io::AsyncWriteExt;

/// Refuses pushes to protected branches in GitLab's words.
const PRE_RECEIVE: &str = include_str!("hooks/pre-receive");
/// Prints where a merge request for a new branch can be opened.
const POST_RECEIVE: &str = include_str!("hooks/post-receive");

/// A git command that no configuration of the machine or the user can change.
pub(crate) fn git() -> Command {
    let mut command = Command::new("git");
    isolate(&mut command);
    command
}

fn isolate(command: &mut Command) {
    for name in [
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_QUARANTINE_PATH",
        "GIT_NAMESPACE",
        "GIT_CONFIG_PARAMETERS",
        "GIT_PROTOCOL",
        "GIT_TRACE",
    ] {
        command.env_remove(name);
    }
    command
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*")
        .env("GIT_TERMINAL_PROMPT", "0");
}

/// Writes the hook scripts that all repositories share.
pub(crate) fn write_hooks(folder: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(folder)?;
    for (name, script) in [("pre-receive", PRE_RECEIVE), ("post-receive", POST_RECEIVE)] {
        let path = folder.join(name);
        std::fs::write(&path, script)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// One request of git's smart HTTP protocol.
pub(crate) struct SmartRequest {
    pub(crate) method: http::Method,
    /// Below the repositories' folder, such as `/7.git/info/refs`.
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) content_type: Option<String>,
    pub(crate) content_encoding: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) body: Bytes,
    /// For the hook scripts.
    pub(crate) environment: Vec<(&'static str, String)>,
}

/// Runs git's CGI program and turns its output into a response.
pub(crate) async fn serve(root: &Path, request: SmartRequest) -> Result<Response<Bytes>> {
    let mut command = Command::new(program()?);
    isolate(&mut command);
    command
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", request.method.as_str())
        .env("PATH_INFO", &request.path)
        .env("QUERY_STRING", &request.query)
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .env("REMOTE_ADDR", "127.0.0.1")
        .envs(request.environment);
    if let Some(user) = request.user {
        command.env("REMOTE_USER", user);
    }
    for (name, value) in [
        ("CONTENT_TYPE", request.content_type),
        ("HTTP_CONTENT_ENCODING", request.content_encoding),
        ("GIT_PROTOCOL", request.protocol),
    ] {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = tokio::process::Command::from(command)
        .kill_on_drop(true)
        .spawn()
        .context("cannot start git http-backend")?;
    let mut stdin = child.stdin.take().context("git http-backend has no standard input")?;
    let body = request.body;
    let feed = async move {
        // A backend that has read enough closes its end; its answer tells what it thinks.
        let _ = stdin.write_all(&body).await;
        drop(stdin);
    };
    let (output, ()) = tokio::join!(child.wait_with_output(), feed);
    let output = output?;
    ensure!(
        !output.stdout.is_empty(),
        "git http-backend gave no answer: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    parse_cgi(Bytes::from(output.stdout))
}

fn parse_cgi(output: Bytes) -> Result<Response<Bytes>> {
    let end = output
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .context("git http-backend sent no header")?;
    let mut response = Response::new(output.slice(end + 4..));
    for line in String::from_utf8_lossy(&output[..end]).split("\r\n") {
        let (name, value) = line.split_once(": ").context("a header without a colon")?;
        if name.eq_ignore_ascii_case("status") {
            let code = value.split(' ').next().unwrap_or_default();
            *response.status_mut() = StatusCode::from_bytes(code.as_bytes())?;
        } else {
            let name = HeaderName::from_bytes(name.as_bytes())?;
            response.headers_mut().append(name, HeaderValue::from_str(value)?);
        }
    }
    Ok(response)
}

/// Where this machine keeps `git-http-backend`; asked once.
fn program() -> Result<&'static Path> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    let found = PROGRAM.get_or_init(|| {
        let output = git().arg("--exec-path").output().ok()?;
        let path = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim_end());
        let path = path.join("git-http-backend");
        path.exists().then_some(path)
    });
    found.as_deref().context("git http-backend is not installed: it is part of git")
}
