//! GitLab's REST API, version 4.

pub(crate) mod access;
pub(crate) mod answer;
mod branches;
mod commits;
mod comparing;
mod deployments;
mod environments;
mod files;
mod hook_fields;
mod hooks;
mod merge_request_parts;
mod merge_requests;
mod notes;
pub(crate) mod paging;
pub(crate) mod params;
mod pipelines;
mod projects;
mod protections;
pub(crate) mod shapes;
mod statuses;
mod tags;
mod trees;
mod users;

use crate::model::{ProjectId, State, UserId};
use access::Auth;
use answer::{ApiResult, Refusal};
use params::Params;

/// One API request, taken apart.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: String,
    /// The decoded parts of the path below `/api/v4`.
    pub(crate) path: Vec<String>,
    /// The URL without its query, for `Link` headers.
    pub(crate) url: String,
    pub(crate) query: String,
    pub(crate) params: Params,
    pub(crate) auth: Auth,
}

impl Call {
    /// The user of the token, or 401.
    pub(crate) fn user(&self) -> Result<UserId, Refusal> {
        self.auth.user.ok_or_else(Refusal::unauthorized)
    }

    fn is_read(&self) -> bool {
        matches!(self.method.as_str(), "GET" | "HEAD")
    }
}

/// What the answer of a request needs: nothing more, or a webhook that is sent first.
pub(crate) enum Outcome {
    Answer(ApiResult),
    /// A hook test or resend: the answer depends on the receiver.
    Send(crate::delivery::Delivery),
    /// No endpoint has this address.
    Unknown,
}

impl From<ApiResult> for Outcome {
    fn from(result: ApiResult) -> Self {
        Self::Answer(result)
    }
}

/// Answers requests below a project; `None` when the address is not one of its own.
type Route = fn(&mut State, &Call, ProjectId, &[&str]) -> Option<ApiResult>;

/// Answers one request.
pub(crate) fn dispatch(state: &mut State, call: &Call) -> Outcome {
    if let Err(refusal) = access::check_scope(call) {
        return Outcome::Answer(Err(refusal));
    }
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    if let Some(result) = users::route(state, call, &path) {
        return result.into();
    }
    if let Some(result) = projects::route_collection(state, call, &path) {
        return result.into();
    }
    let ["projects", id, rest @ ..] = path.as_slice() else { return Outcome::Unknown };
    let project = match access::find_project(state, call, id) {
        Ok(project) => project,
        Err(refusal) => return Outcome::Answer(Err(refusal)),
    };
    if state.project(project).archived && !call.is_read() {
        return Outcome::Answer(Err(Refusal::forbidden()));
    }
    if let Some(outcome) = hooks::route(state, call, project, rest) {
        return outcome;
    }
    let routes: [Route; 14] = [
        projects::route,
        protections::route,
        branches::route,
        tags::route,
        commits::route,
        comparing::route,
        trees::route,
        files::route,
        statuses::route,
        pipelines::route,
        merge_requests::route,
        merge_request_parts::route,
        notes::route,
        environments::route,
    ];
    let found = routes.iter().find_map(|route| route(state, call, project, rest));
    let found = found.or_else(|| deployments::route(state, call, project, rest));
    found.map_or(Outcome::Unknown, Outcome::Answer)
}
