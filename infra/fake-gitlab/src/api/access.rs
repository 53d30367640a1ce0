//! Who asks, with what token, and what they may see and do.

use jiff::tz::TimeZone;
use serde_json::json;

use super::Call;
use super::answer::Refusal;
use crate::config::Visibility;
use crate::model::{Project, ProjectId, State, Token, UserId};

/// Reporter, Developer and Maintainer.
pub(crate) const REPORTER: u8 = 20;
pub(crate) const DEVELOPER: u8 = 30;
pub(crate) const MAINTAINER: u8 = 40;

/// Refuses tokens whose scopes do not reach.
pub(crate) fn check_scope(call: &Call) -> Result<(), Refusal> {
    let Some(token) = &call.token else { return Ok(()) };
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    let enough: &[&str] = match path.as_slice() {
        ["personal_access_tokens", "self"] => return Ok(()),
        _ if !call.is_read() => &["api"],
        ["user" | "users", ..] => &["api", "read_api", "read_user"],
        ["projects", _, "repository", "archive.tar.gz" | "files", ..] => {
            &["api", "read_api", "read_repository"]
        }
        _ => &["api", "read_api"],
    };
    if token.has_any(enough) {
        return Ok(());
    }
    let body = json!({
        "error": "insufficient_scope",
        "error_description":
            "The request requires higher privileges than provided by the access token.",
        "scope": if call.is_read() { "api read_api" } else { "api" },
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
    let visible = |project: &&Project| state.can_see(project, call.caller());
    let by_number = id.parse().ok().and_then(|number| state.projects.get(&ProjectId(number)));
    let found = by_number.or_else(|| state.project_at(id)).filter(visible);
    if let Some(project) = found {
        return Ok(project.id);
    }
    let Some(project) = state.project_once_at(id).filter(visible) else {
        if call.token.is_none() && !call.is_read() {
            return Err(Refusal::unauthorized());
        }
        return Err(Refusal::not_found("Project"));
    };
    if !call.is_read() {
        let text = "Non GET methods are not allowed for moved projects";
        return Err(Refusal::message(405, text));
    }
    let url = with_project(call, project.id);
    // Written as a refusal: the answer has a body, and `server` adds `Location` from it.
    let body = json!({ "message": "This resource has been moved permanently", "location": url });
    Err(Refusal { status: 301, body: body.to_string() })
}

const EXPIRED: &str = "Token is expired. You can either do re-authorization or token refresh.";
const REVOKED: &str = "Token was revoked. You have to re-authorize from the user.";

fn invalid_token(text: &str) -> Refusal {
    let body = json!({ "error": "invalid_token", "error_description": text });
    Refusal { status: 401, body: body.to_string() }
}

impl State {
    /// Checks a personal access token; no token at all is an anonymous request.
    pub(crate) fn authenticate(&self, token: Option<&str>) -> Result<Option<Token>, Refusal> {
        let Some(value) = token else { return Ok(None) };
        let today = self.now().to_zoned(TimeZone::UTC).date();
        let token = self.tokens.iter().find(|token| token.value == value);
        let token = token.ok_or_else(Refusal::unauthorized)?;
        if token.expires_at.is_some_and(|day| day <= today) {
            return Err(invalid_token(EXPIRED));
        }
        self.admit(token.clone())
    }

    /// The same where the token of an application is as good: as a bearer's, and in git.
    pub(crate) fn authenticate_bearer(
        &self,
        token: Option<&str>,
    ) -> Result<Option<Token>, Refusal> {
        let found = token.and_then(|token| self.oauth.by_access_token(token));
        let Some(found) = found else { return self.authenticate(token) };
        match () {
            () if found.is_expired(self.now()) => Err(invalid_token(EXPIRED)),
            () if found.revoked => Err(invalid_token(REVOKED)),
            () => self.admit(Token {
                user: found.user,
                value: found.access_token.clone(),
                scopes: found.scopes.clone(),
                expires_at: None,
            }),
        }
    }

    /// Whoever is blocked is turned away, whatever their token is good for.
    fn admit(&self, token: Token) -> Result<Option<Token>, Refusal> {
        match self.user(token.user).blocked {
            true => Err(Refusal::blocked()),
            false => Ok(Some(token)),
        }
    }

    /// Whether somebody can see that a project exists.
    pub(crate) fn can_see(&self, project: &Project, user: Option<UserId>) -> bool {
        match project.options.visibility {
            Visibility::Public => true,
            Visibility::Internal => user.is_some(),
            Visibility::Private => user.is_some_and(|user| self.role(project, self.user(user)) > 0),
        }
    }

    /// The caller's access level in a project.
    pub(crate) fn level(&self, project: ProjectId, call: &Call) -> u8 {
        call.caller().map_or(0, |user| self.role(self.project(project), self.user(user)))
    }

    /// Refuses callers below an access level: 401 for nobody, 403 for members and visitors.
    pub(crate) fn require(
        &self,
        call: &Call,
        project: ProjectId,
        level: u8,
    ) -> Result<UserId, Refusal> {
        let user = call.user()?;
        if self.level(project, call) < level {
            return Err(Refusal::forbidden());
        }
        Ok(user)
    }

    /// Refuses those who may not push to a branch.
    pub(crate) fn require_push(
        &self,
        call: &Call,
        project: ProjectId,
        branch: &str,
    ) -> Result<UserId, Refusal> {
        let user = self.require(call, project, DEVELOPER)?;
        if !self.branch_rights(self.project(project), self.user(user), branch).push {
            return Err(Refusal::message(403, "You are not allowed to push into this branch"));
        }
        Ok(user)
    }

    /// Refuses visitors below an access level in private projects only; public code is public.
    pub(crate) fn require_code(
        &self,
        call: &Call,
        project: ProjectId,
    ) -> Result<&Project, Refusal> {
        let found = self.project(project);
        let private = found.options.visibility == Visibility::Private;
        if private && self.level(project, call) < REPORTER {
            return Err(Refusal::forbidden());
        }
        Ok(found)
    }
}
