//! Clone and push over HTTP.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::Response;

use super::Shared;
use super::http::{Handled, Read, plain};
use crate::api::access::DEVELOPER;
use crate::api::answer::Refusal;
use crate::api::params::decode;
use crate::git::backend::{self, SmartRequest};
use crate::model::{Project, ProjectId, State, Token, User, UserId};
use crate::service::push_options::PushOptions;

/// What a git client wants.
pub(super) struct Service {
    project: String,
    /// `info/refs`, `git-upload-pack` or `git-receive-pack`.
    action: String,
    push: bool,
}

impl Service {
    /// The service of a request; `None` when it is not git's.
    pub(super) fn of(read: &Read) -> Option<Self> {
        let (project, action) = read.path.strip_prefix('/')?.split_once(".git/")?;
        let push = match action {
            "info/refs" => read.query.contains("service=git-receive-pack"),
            "git-receive-pack" => true,
            "git-upload-pack" => false,
            _ => return None,
        };
        Some(Self { project: decode(project), action: action.to_owned(), push })
    }
}

/// Somebody who may do what they ask for.
struct Granted {
    project: ProjectId,
    user: Option<UserId>,
    name: Option<String>,
    environment: Vec<(&'static str, String)>,
    root: std::path::PathBuf,
}

pub(super) async fn handle(shared: &Arc<Shared>, service: Service, read: Read) -> Handled {
    let granted = match shared.with(|state| grant(state, &service, &read)) {
        Ok(granted) => granted,
        Err(refusal) => return Handled::new(refuse(&refusal), None),
    };
    let request = SmartRequest {
        method: read.method.parse().unwrap_or_default(),
        path: format!("/{}.git/{}", granted.project, service.action),
        query: read.query.clone(),
        content_type: read.header("content-type").map(str::to_owned),
        content_encoding: read.header("content-encoding").map(str::to_owned),
        protocol: read.header("git-protocol").map(str::to_owned),
        user: granted.name.clone(),
        body: read.body,
        environment: granted.environment,
    };
    let receives = service.push && service.action == "git-receive-pack";
    let _turn = if receives { Some(shared.pushes.lock().await) } else { None };
    let served = backend::serve(&granted.root, request).await;
    if receives {
        shared.with(|state| pushed(state, granted.project, granted.user));
    }
    let response = served.unwrap_or_else(|error| plain(500, &format!("{error:#}"), &[]));
    Handled::new(response, granted.name)
}

/// Finds out which refs git moved and does what follows from it.
fn pushed(state: &mut State, project: ProjectId, user: Option<UserId>) {
    let repo = &mut state.project_mut(project).repo;
    let options = PushOptions(repo.take_push_options());
    let changes = repo.reload_refs().unwrap_or_default();
    if let Some(user) = user {
        state.after_push(project, user, &changes, &options);
    }
}

fn grant(state: &State, service: &Service, read: &Read) -> Result<Granted, Refusal> {
    let token = authenticate(state, read)?;
    let anonymous = state.config.anonymous_user.as_deref();
    let stand_in = anonymous.and_then(|name| state.user_named(name)).map(|user| user.id);
    let user = token.as_ref().map(|token| token.user).or(stand_in);
    let project = state.project_once_at(&service.project);
    let project = project.filter(|project| state.can_see(project, user));
    let Some(project) = project else {
        return Err(if user.is_none() { challenge() } else { missing() });
    };
    if let Some(token) = token {
        let scopes: &[&str] = if service.push {
            &["api", "write_repository"]
        } else {
            &["api", "read_api", "read_repository", "write_repository"]
        };
        if !token.has_any(scopes) {
            let text = "HTTP Basic: Access denied. The provided password or token is incorrect or \
                        your account has 2FA enabled and you must use a personal access token \
                        instead of a password.\n";
            return Err(Refusal { status: 403, body: text.to_owned() });
        }
    }
    let who = user.map(|user| state.user(user));
    if service.push {
        let Some(who) = who else { return Err(challenge()) };
        if state.role(project, who) < DEVELOPER {
            let text = "You are not allowed to push code to this project.\n";
            return Err(Refusal { status: 403, body: text.to_owned() });
        }
    }
    let environment = environment(state, project, who);
    Ok(Granted {
        project: project.id,
        user,
        name: who.map(|user| user.username.clone()),
        environment,
        root: state.data.join("repositories"),
    })
}

/// The password of basic authentication is the token; the user name does not matter.
fn authenticate(state: &State, read: &Read) -> Result<Option<Token>, Refusal> {
    let basic = read.header("authorization").and_then(|value| value.strip_prefix("Basic "));
    let Some(basic) = basic else { return Ok(None) };
    let decoded = STANDARD.decode(basic).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let token = decoded.and_then(|text| text.split_once(':').map(|(_, token)| token.to_owned()));
    state.authenticate_bearer(Some(&token.unwrap_or_default())).map_err(|_| challenge())
}

/// For the scripts in `git/hooks`.
fn environment(
    state: &State,
    project: &Project,
    user: Option<&User>,
) -> Vec<(&'static str, String)> {
    let may_push =
        |branch: &str| user.is_some_and(|user| state.branch_rights(project, user, branch).push);
    let rules = project.options.protected_branches.iter();
    let all: Vec<&str> = rules.map(|rule| rule.name.as_str()).collect();
    let closed: Vec<&str> = all.iter().copied().filter(|name| !may_push(name)).collect();
    let open: Vec<String> = project
        .merge_requests
        .iter()
        .filter(|mr| mr.is_open() && mr.source_project == project.id)
        .map(|mr| format!("{} {}", mr.iid, mr.source_branch))
        .collect();
    let default = project.repo.branch(project.default_branch());
    vec![
        ("FAKE_GITLAB_PROJECT_URL", state.project_url(project)),
        // The first push to an empty project may go to any branch.
        (
            "FAKE_GITLAB_DEFAULT_BRANCH",
            default.map_or(String::new(), |_| project.default_branch().to_owned()),
        ),
        ("FAKE_GITLAB_NO_PUSH", closed.join("\n")),
        ("FAKE_GITLAB_NO_FORCE", all.join("\n")),
        ("FAKE_GITLAB_OPEN", open.join("\n")),
    ]
}

fn refuse(refusal: &Refusal) -> Response<Bytes> {
    let headers = [("WWW-Authenticate".to_owned(), "Basic realm=\"GitLab\"".to_owned())];
    let headers: &[_] = if refusal.status == 401 { &headers } else { &[] };
    plain(refusal.status, &refusal.body, headers)
}

fn challenge() -> Refusal {
    let text = "HTTP Basic: Access denied. If a password was provided for Git authentication, the \
                password was incorrect or you're required to use a token instead of a password.\n";
    Refusal { status: 401, body: text.to_owned() }
}

fn missing() -> Refusal {
    let text = "The project you were looking for could not be found or you don't have permission \
                to view it.\n";
    Refusal { status: 404, body: text.to_owned() }
}
