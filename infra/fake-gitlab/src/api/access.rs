//! Who asks, with what token, and what they may see and do.

use jiff::tz::TimeZone;

use super::Call;
use super::answer::Refusal;
use crate::config::Visibility;
use crate::model::{Project, ProjectId, State, UserId};

/// Guest, Reporter, Developer and Maintainer.
pub(crate) const REPORTER: u8 = 20;
pub(crate) const DEVELOPER: u8 = 30;
pub(crate) const MAINTAINER: u8 = 40;

/// What a request proved about its sender.
#[derive(Clone, Debug, Default)]
pub(crate) struct Auth {
    pub(crate) user: Option<UserId>,
    pub(crate) token: Option<u64>,
    pub(crate) scopes: Vec<String>,
}

impl Auth {
    pub(crate) fn has_scope(&self, scope: &str) -> bool {
        self.scopes.iter().any(|known| known == scope)
    }
}

impl State {
    /// Checks a token; no token at all is an anonymous request.
    pub(crate) fn authenticate(&mut self, token: Option<&str>) -> Result<Auth, Refusal> {
        let Some(value) = token else { return Ok(Auth::default()) };
        let now = self.now();
        let today = now.to_zoned(TimeZone::UTC).date();
        let token = self.tokens.iter_mut().find(|token| token.value == value);
        let token = token.ok_or_else(Refusal::unauthorized)?;
        let dead = if token.revoked {
            Some("Token was revoked. You have to re-authorize from the user.")
        } else if token.expires_at.is_some_and(|day| day <= today) {
            Some("Token is expired. You can either do re-authorization or token refresh.")
        } else {
            None
        };
        if let Some(text) = dead {
            let body = serde_json::json!({ "error": "invalid_token", "error_description": text });
            return Err(Refusal { status: 401, body: body.to_string() });
        }
        token.last_used_at = Some(now);
        Ok(Auth { user: Some(token.user), token: Some(token.id), scopes: token.scopes.clone() })
    }

    /// Whether somebody can see that a project exists.
    pub(crate) fn can_see(&self, project: &Project, user: Option<UserId>) -> bool {
        match project.options.visibility {
            Visibility::Public => true,
            Visibility::Internal => user.is_some(),
            Visibility::Private => user.is_some_and(|user| project.level(self.user(user)) > 0),
        }
    }

    /// The caller's access level in a project.
    pub(crate) fn level(&self, project: ProjectId, call: &Call) -> u8 {
        call.auth.user.map_or(0, |user| self.project(project).level(self.user(user)))
    }
}

/// Refuses tokens whose scopes do not reach.
pub(crate) fn check_scope(call: &Call) -> Result<(), Refusal> {
    if call.auth.user.is_none() || call.auth.has_scope("api") {
        return Ok(());
    }
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    let enough = match path.as_slice() {
        ["personal_access_tokens", "self", ..] => true,
        _ if call.is_read() && call.auth.has_scope("read_api") => true,
        ["user"] if call.is_read() => call.auth.has_scope("read_user"),
        ["projects", _, "repository", "archive" | "archive.tar.gz" | "files" | "blobs", ..] => {
            call.is_read() && call.auth.has_scope("read_repository")
        }
        _ => false,
    };
    if enough {
        return Ok(());
    }
    let wanted = if call.is_read() { "api read_api" } else { "api" };
    let body = serde_json::json!({
        "error": "insufficient_scope",
        "error_description":
            "The request requires higher privileges than provided by the access token.",
        "scope": wanted,
    });
    Err(Refusal { status: 403, body: body.to_string() })
}

/// The request's address with the project's number where its path was, however that was encoded.
fn with_project(call: &Call, project: ProjectId) -> String {
    let (before, after) = call.url.split_once("/projects/").unwrap_or((&call.url, ""));
    let rest = after.find('/').map_or("", |end| &after[end..]);
    let query = if call.query.is_empty() { String::new() } else { format!("?{}", call.query) };
    format!("{before}/projects/{project}{rest}{query}")
}

/// The project of a path part, a number or a path; one that the caller cannot see is not there.
/// Below the path of before, reads are sent on to the project's number, and writes refused
/// (`find_project!` in GitLab's `lib/api/helpers.rb`).
pub(crate) fn find_project(state: &State, call: &Call, id: &str) -> Result<ProjectId, Refusal> {
    let visible = |project: &&Project| state.can_see(project, call.auth.user);
    let missing = || {
        if call.auth.user.is_none() && !call.is_read() {
            Refusal::unauthorized()
        } else {
            Refusal::not_found("Project")
        }
    };
    let by_number = id.parse().ok().and_then(|number| state.projects.get(&ProjectId(number)));
    let found = by_number.or_else(|| state.project_at(id)).filter(visible);
    if let Some(project) = found {
        return Ok(project.id);
    }
    let moved = state
        .projects
        .values()
        .find(|project| project.old_paths.iter().any(|old| old.eq_ignore_ascii_case(id)));
    let moved = moved.filter(visible).filter(|_| state.config.version.at_least(16, 7));
    let Some(project) = moved else { return Err(missing()) };
    if !call.is_read() {
        let text = "Non GET methods are not allowed for moved projects";
        return Err(Refusal::message(405, text));
    }
    let url = with_project(call, project.id);
    // Written as a refusal: the answer has a body, and `server` adds `Location` from it.
    let body = serde_json::json!({ "message": "This resource has been moved permanently", "location": url });
    Err(Refusal { status: 301, body: body.to_string() })
}

impl State {
    /// Refuses callers below an access level: 401 for nobody, 403 for members and visitors.
    pub(crate) fn require(
        &self,
        call: &Call,
        project: ProjectId,
        level: u8,
    ) -> Result<UserId, Refusal> {
        let user = call.user()?;
        if self.project(project).level(self.user(user)) < level {
            return Err(Refusal::forbidden());
        }
        Ok(user)
    }

    /// Refuses visitors below an access level in private projects only; public code is public.
    pub(crate) fn require_code(&self, call: &Call, project: ProjectId) -> Result<(), Refusal> {
        let found = self.project(project);
        let private = found.options.visibility == Visibility::Private;
        if private && self.level(project, call) < REPORTER {
            return Err(Refusal::forbidden());
        }
        Ok(())
    }
}
