//! GitLab's REST API, version 4.

pub(crate) mod access;
pub(crate) mod answer;
mod applications;
mod branches;
mod code;
mod commits;
mod comparing;
mod deployments;
mod discussions;
mod environments;
mod files;
mod groups;
mod hooks;
mod issues;
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
mod users;

use crate::model::{ProjectId, State, Token, UserId};
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
    /// What the sender proved to be; nothing for an anonymous request.
    pub(crate) token: Option<Token>,
}

impl Call {
    /// The user of the token, if there is one.
    pub(crate) fn caller(&self) -> Option<UserId> {
        self.token.as_ref().map(|token| token.user)
    }

    /// The user of the token, or 401.
    pub(crate) fn user(&self) -> Result<UserId, Refusal> {
        self.caller().ok_or_else(Refusal::unauthorized)
    }

    fn is_read(&self) -> bool {
        self.method == "GET"
    }
}

/// Answers one request; `None` when no endpoint has this address.
pub(crate) fn dispatch(state: &mut State, call: &Call) -> Option<ApiResult> {
    if let Err(refusal) = access::check_scope(call) {
        return Some(Err(refusal));
    }
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    Some(match (call.method.as_str(), path.as_slice()) {
        ("GET", ["version"]) => users::version(state, call),
        ("GET", ["metadata"]) => users::metadata(state, call),
        ("GET", ["user"]) => users::me(state, call),
        ("GET", ["users"]) => users::list(state, call),
        ("GET", ["users", id]) => users::get(state, call, id),
        ("GET", ["personal_access_tokens", "self"]) => users::own_token(state, call),
        ("GET", ["projects"]) => projects::list(state, call),
        ("POST", ["projects"]) => projects::create(state, call),
        ("GET", ["groups"]) => groups::list(state, call),
        ("GET", ["groups", id]) => groups::get(state, call, id),
        ("GET", ["groups", id, "members", "all", user]) => {
            groups::member(state, call, id, user, true)
        }
        ("GET", ["groups", id, "members", user]) => groups::member(state, call, id, user, false),
        ("POST", ["applications"]) => applications::create(state, call),
        (_, ["projects", id, rest @ ..]) => match access::find_project(state, call, id) {
            Ok(project) => return below_project(state, call, project, rest),
            Err(refusal) => Err(refusal),
        },
        _ => return None,
    })
}

/// The endpoints below a project.
fn below_project(
    state: &mut State,
    call: &Call,
    project: ProjectId,
    path: &[&str],
) -> Option<ApiResult> {
    Some(match (call.method.as_str(), path) {
        ("GET", []) => projects::get(state, call, project),
        ("PUT", []) => projects::update(state, call, project),
        ("POST", ["fork"]) => projects::fork(state, call, project),
        ("GET", ["members"]) => projects::members(state, call, project, false),
        ("GET", ["members", "all"]) => projects::members(state, call, project, true),
        ("POST", ["members"]) => projects::add_member(state, call, project),
        ("GET", ["members", user]) => projects::member(state, call, project, user, false),
        ("GET", ["members", "all", user]) => projects::member(state, call, project, user, true),
        ("GET", ["protected_branches"]) => protections::branches(state, call, project),
        ("GET", ["protected_environments"]) => protections::environments(state, call, project),
        ("POST", ["protected_environments"]) => protections::protect(state, call, project),
        ("GET", ["protected_environments", name]) => {
            protections::environment(state, call, project, name)
        }
        ("DELETE", ["protected_environments", name]) => {
            protections::unprotect(state, call, project, name)
        }
        ("GET", ["repository", "branches"]) => branches::list(state, call, project),
        ("POST", ["repository", "branches"]) => branches::create(state, call, project),
        ("GET", ["repository", "branches", name]) => branches::get(state, call, project, name),
        ("DELETE", ["repository", "branches", name]) => {
            branches::delete(state, call, project, name)
        }
        ("GET", ["repository", "tags"]) => tags::list(state, call, project),
        ("POST", ["repository", "tags"]) => tags::create(state, call, project),
        ("GET", ["repository", "tags", name]) => tags::get(state, call, project, name),
        ("DELETE", ["repository", "tags", name]) => tags::delete(state, call, project, name),
        ("GET", ["repository", "commits"]) => commits::list(state, call, project),
        ("POST", ["repository", "commits"]) => commits::create(state, call, project),
        ("GET", ["repository", "commits", sha]) => commits::get(state, call, project, sha),
        ("GET", ["repository", "commits", sha, "refs"]) => commits::refs(state, call, project, sha),
        ("GET", ["repository", "commits", sha, "diff"]) => commits::diff(state, call, project, sha),
        ("GET", ["repository", "commits", sha, "merge_requests"]) => {
            commits::merge_requests(state, call, project, sha)
        }
        ("GET", ["repository", "commits", sha, "statuses"]) => {
            statuses::list(state, call, project, sha)
        }
        ("POST", ["statuses", sha]) => statuses::create(state, call, project, sha),
        ("GET", ["repository", "compare"]) => comparing::compare(state, call, project),
        ("GET", ["repository", "merge_base"]) => comparing::merge_base(state, call, project),
        ("GET", ["repository", "tree"]) => code::tree(state, call, project),
        ("GET", ["repository", "archive.tar.gz"]) => code::archive(state, call, project),
        ("GET", ["repository", "files", path]) => files::get(state, call, project, path),
        ("GET", ["repository", "files", path, "raw"]) => files::raw(state, call, project, path),
        ("POST" | "PUT" | "DELETE", ["repository", "files", path]) => {
            files::write(state, call, project, path)
        }
        ("GET", ["pipelines"]) => pipelines::list(state, call, project),
        ("GET", ["pipelines", "latest"]) => pipelines::latest(state, call, project),
        ("GET", ["pipelines", id]) => pipelines::get(state, call, project, id),
        ("GET", ["pipelines", id, "jobs"]) => pipelines::jobs(state, call, project, id),
        (_, ["merge_requests", rest @ ..]) => {
            return below_merge_requests(state, call, project, rest);
        }
        ("GET", ["issues"]) => issues::list(state, call, project),
        ("POST", ["issues"]) => issues::create(state, call, project),
        ("GET", ["issues", iid]) => issues::get(state, call, project, iid),
        ("PUT", ["issues", iid]) => issues::update(state, call, project, iid),
        ("DELETE", ["issues", iid]) => issues::delete(state, call, project, iid),
        ("POST", ["issues", iid, "move"]) => issues::move_to(state, call, project, iid),
        ("GET", ["environments"]) => environments::list(state, call, project),
        ("POST", ["environments"]) => environments::create(state, call, project),
        ("PUT", ["environments", id]) => environments::update(state, call, project, id),
        ("POST", ["environments", id, "stop"]) => environments::stop(state, call, project, id),
        ("GET", ["environments", id]) => environments::get(state, call, project, id),
        ("DELETE", ["environments", id]) => environments::delete(state, call, project, id),
        ("GET", ["deployments"]) => deployments::list(state, call, project),
        ("POST", ["deployments"]) => deployments::create(state, call, project),
        ("GET", ["deployments", id]) => deployments::get(state, call, project, id),
        ("PUT", ["deployments", id]) => deployments::update(state, call, project, id),
        ("DELETE", ["deployments", id]) => deployments::delete(state, call, project, id),
        ("GET", ["hooks"]) => hooks::list(state, call, project),
        ("POST", ["hooks"]) => hooks::create(state, call, project),
        ("GET", ["hooks", id]) => hooks::get(state, call, project, id),
        ("PUT", ["hooks", id]) => hooks::update(state, call, project, id),
        ("DELETE", ["hooks", id]) => hooks::delete(state, call, project, id),
        ("POST", ["hooks", id, "test", trigger]) => hooks::test(state, call, project, id, trigger),
        ("GET", ["hooks", id, "events"]) => hooks::events(state, call, project, id),
        ("POST", ["hooks", id, "events", event, "resend"]) => {
            hooks::resend(state, call, project, id, event)
        }
        _ => return None,
    })
}

/// The endpoints below a project's merge requests.
fn below_merge_requests(
    state: &mut State,
    call: &Call,
    project: ProjectId,
    path: &[&str],
) -> Option<ApiResult> {
    Some(match (call.method.as_str(), path) {
        ("GET", []) => merge_requests::list(state, call, project),
        ("POST", []) => merge_requests::create(state, call, project),
        ("GET", [iid]) => merge_requests::get(state, call, project, iid),
        ("PUT", [iid]) => merge_requests::update(state, call, project, iid),
        ("PUT", [iid, "merge"]) => merge_requests::merge(state, call, project, iid),
        ("POST", [iid, "cancel_merge_when_pipeline_succeeds"]) => {
            merge_requests::cancel_auto_merge(state, call, project, iid)
        }
        ("GET", [iid, "approvals"]) => merge_requests::approvals(state, call, project, iid),
        ("POST", [iid, "approve"]) => merge_requests::approve(state, call, project, iid),
        ("GET", [iid, "diffs"]) => merge_requests::diffs(state, call, project, iid),
        ("GET", [iid, "changes"]) => merge_requests::changes(state, call, project, iid),
        ("GET", [iid, "commits"]) => merge_requests::commits(state, call, project, iid),
        ("GET", [iid, "pipelines"]) => merge_requests::pipelines(state, call, project, iid),
        ("GET", [iid, "notes"]) => notes::list(state, call, project, iid),
        ("POST", [iid, "notes"]) => notes::create(state, call, project, iid),
        ("GET", [iid, "notes", id]) => notes::get(state, call, project, iid, id),
        ("PUT", [iid, "notes", id]) => notes::edit(state, call, project, iid, id),
        ("DELETE", [iid, "notes", id]) => notes::delete(state, call, project, iid, id),
        ("GET", [iid, "notes", id, "award_emoji"]) => notes::awards(state, call, project, iid, id),
        ("POST", [iid, "notes", id, "award_emoji"]) => notes::award(state, call, project, iid, id),
        (_, [iid, "discussions", rest @ ..]) => {
            return below_discussions(state, call, project, iid, rest);
        }
        _ => return None,
    })
}

/// The endpoints below a merge request's discussions.
fn below_discussions(
    state: &mut State,
    call: &Call,
    project: ProjectId,
    iid: &str,
    path: &[&str],
) -> Option<ApiResult> {
    Some(match (call.method.as_str(), path) {
        ("GET", []) => discussions::list(state, call, project, iid),
        ("POST", []) => discussions::create(state, call, project, iid),
        ("GET", [id]) => discussions::get(state, call, project, iid, id),
        ("PUT", [id]) => discussions::update(state, call, project, iid, id),
        ("GET", [id, "notes"]) => discussions::notes(state, call, project, iid, id),
        ("POST", [id, "notes"]) => discussions::reply(state, call, project, iid, id),
        ("GET", [_, "notes", note]) => notes::get(state, call, project, iid, note),
        ("PUT", [id, "notes", note]) => discussions::edit_note(state, call, project, iid, id, note),
        ("DELETE", [_, "notes", note]) => notes::delete(state, call, project, iid, note),
        _ => return None,
    })
}
