//! Projects and their members.

use serde_json::{Value, json};

use super::access::MAINTAINER;
use super::answer::{Answer, ApiResult, Refusal};
use super::shapes::api_time;
use super::{Call, paging};
use crate::config::{MergeMethod, ProjectOptions, Visibility};
use crate::model::{ProjectId, State, UserId};

pub(crate) fn route_collection(state: &mut State, call: &Call, path: &[&str]) -> Option<ApiResult> {
    match (call.method.as_str(), path) {
        ("GET", ["projects"]) => Some(list(state, call)),
        ("POST", ["projects"]) => Some(create(state, call)),
        _ => None,
    }
}

pub(crate) fn route(
    state: &mut State,
    call: &Call,
    project: ProjectId,
    path: &[&str],
) -> Option<ApiResult> {
    match (call.method.as_str(), path) {
        ("GET", []) => Some(Ok(Answer::ok(project_json(state, call, project)))),
        ("PUT", []) => Some(update(state, call, project)),
        ("POST", ["fork"]) => Some(fork(state, call, project)),
        ("GET", ["members", "all"] | ["members"]) => Some(members(state, call, project)),
        ("GET", ["members", "all", user] | ["members", user]) => {
            Some(member(state, call, project, user))
        }
        ("POST", ["members"]) => Some(add_member(state, call, project)),
        _ => None,
    }
}

fn list(state: &State, call: &Call) -> ApiResult {
    let params = &call.params;
    let search = params.filled("search").map(|text| text.to_lowercase());
    let membership = params.flag("membership")?.unwrap_or(false);
    let level = params.number("min_access_level")?.unwrap_or(0);
    let archived = params.flag("archived")?;
    let namespaces = params.flag("search_namespaces")?.unwrap_or(false);
    let mut found: Vec<_> = state
        .projects
        .values()
        .filter(|project| state.can_see(project, call.auth.user))
        .filter(|project| {
            let text = if namespaces { &project.path } else { project.name() };
            search.as_deref().is_none_or(|wanted| text.to_lowercase().contains(wanted))
        })
        .filter(|project| {
            let own = call.auth.user.and_then(|user| project.members.get(&user)).copied();
            (!membership || own.is_some()) && u64::from(own.unwrap_or(0)) >= level
        })
        .filter(|project| archived.is_none_or(|archived| project.archived == archived))
        .map(|project| (project.id, project.path.clone(), project.last_activity_at))
        .collect();
    let order = params.choice(
        "order_by",
        &["id", "name", "path", "created_at", "updated_at", "last_activity_at", "similarity"],
    )?;
    match order {
        Some("name" | "path") => found.sort_by(|a, b| a.1.cmp(&b.1)),
        Some("last_activity_at" | "updated_at") => found.sort_by_key(|project| project.2),
        _ => {}
    }
    if params.choice("sort", &["asc", "desc"])? != Some("asc") {
        found.reverse();
    }
    let shape = |(id, ..): (ProjectId, String, jiff::Timestamp)| project_json(state, call, id);
    if params.text("pagination").as_deref() == Some("keyset") {
        return paging::keyset(call, found, |project| project.0.to_string(), shape);
    }
    paging::page(call, found, shape)
}

fn create(state: &mut State, call: &Call) -> ApiResult {
    let user = call.user()?;
    let name = call.params.filled("path").or_else(|| call.params.filled("name"));
    let name = name.ok_or_else(|| {
        Refusal::error(400, "name, path are missing, at least one parameter must be provided")
    })?;
    let visibility = match call.params.choice("visibility", &["private", "internal", "public"])? {
        Some("public") => Visibility::Public,
        Some("internal") => Visibility::Internal,
        _ => Visibility::Private,
    };
    let readme = call.params.flag("initialize_with_readme")?.unwrap_or(false);
    let files =
        if readme { vec![("README.md".to_owned(), format!("# {name}\n"))] } else { Vec::new() };
    let path = format!("{}/{name}", state.user(user).username);
    let options = ProjectOptions { visibility, files, ..ProjectOptions::default() };
    let id = state
        .create_project(&path, options, user)
        .map_err(|_| Refusal::message(400, json!({ "path": ["has already been taken"] })))?;
    Ok(Answer::created(project_json(state, call, id)).wrote(format!("project {path}")))
}

fn fork(state: &mut State, call: &Call, project: ProjectId) -> ApiResult {
    let user = call.user()?;
    let namespace =
        call.params.filled("namespace_path").unwrap_or_else(|| state.user(user).username.clone());
    let path = format!("{namespace}/{}", state.project(project).name());
    let id = state
        .fork_project(project, &path, user)
        .map_err(|_| Refusal::message(409, json!({ "path": ["has already been taken"] })))?;
    Ok(Answer::created(project_json(state, call, id)).wrote(format!("fork {path}")))
}

fn update(state: &mut State, call: &Call, project: ProjectId) -> ApiResult {
    state.require(call, project, MAINTAINER)?;
    let must_succeed = call.params.flag("only_allow_merge_if_pipeline_succeeds")?;
    let path = call.params.filled("path");
    let options = &mut state.project_mut(project).options;
    options.pipelines_must_succeed = must_succeed.unwrap_or(options.pipelines_must_succeed);
    if let Some(branch) = call.params.filled("default_branch") {
        options.default_branch = branch;
    }
    if let Some(path) = path {
        let full = format!("{}/{path}", state.project(project).namespace());
        state
            .move_project(project, &full)
            .map_err(|_| Refusal::message(400, json!({ "path": ["has already been taken"] })))?;
    }
    Ok(Answer::ok(project_json(state, call, project)).wrote("project settings"))
}

pub(crate) fn project_json(state: &State, call: &Call, id: ProjectId) -> Value {
    let project = state.project(id);
    let url = state.project_url(project);
    let level = call.auth.user.and_then(|user| project.members.get(&user));
    let builds = if project.options.builds_enabled { "enabled" } else { "disabled" };
    let mut body = json!({
        "id": project.id,
        "description": null,
        "name": project.name(),
        "name_with_namespace": project.path.replace('/', " / "),
        "path": project.name(),
        "path_with_namespace": project.path,
        "created_at": api_time(project.created_at),
        "default_branch": project.repo.branch(project.default_branch())
            .map(|_| project.default_branch()),
        "ssh_url_to_repo": format!("git@localhost:{}.git", project.path),
        "http_url_to_repo": format!("{url}.git"),
        "web_url": url,
        "last_activity_at": api_time(project.last_activity_at),
        "visibility": project.options.visibility.name(),
        "namespace": {
            "id": 1, "name": project.namespace(), "path": project.namespace(),
            "kind": "group", "full_path": project.namespace(),
        },
        "archived": project.archived,
        "empty_repo": project.repo.refs_below("refs/heads/").next().is_none(),
        "builds_access_level": builds,
        "jobs_enabled": project.options.builds_enabled,
        "merge_requests_enabled": true,
        "merge_requests_access_level": "enabled",
        "environments_access_level": "enabled",
        "ci_config_path": project.options.ci_config_path,
        "only_allow_merge_if_pipeline_succeeds": project.options.pipelines_must_succeed,
        "allow_merge_on_skipped_pipeline": project.options.allow_merge_on_skipped_pipeline,
        "only_allow_merge_if_all_discussions_are_resolved": false,
        "merge_pipelines_enabled":
            project.ci().mode == crate::config::CiMode::MergedResults,
        "merge_trains_enabled": false,
        "merge_method": match project.options.merge_method {
            MergeMethod::MergeCommit => "merge",
            MergeMethod::FastForward => "ff",
        },
        "squash_option": "default_off",
        "permissions": {
            "project_access":
                level.map(|level| json!({ "access_level": level, "notification_level": 3 })),
            "group_access": null,
        },
    });
    if let Some(parent) = project.forked_from.and_then(|id| state.projects.get(&id)) {
        body["forked_from_project"] = json!({
            "id": parent.id,
            "path_with_namespace": parent.path,
            "web_url": state.project_url(parent),
        });
    }
    body
}

fn member_json(state: &State, user: UserId, level: u8) -> Value {
    let mut body = state.user_json(user);
    body["access_level"] = json!(level);
    body["expires_at"] = Value::Null;
    body["membership_state"] = json!("active");
    body
}

fn members(state: &State, call: &Call, project: ProjectId) -> ApiResult {
    let all: Vec<(UserId, u8)> =
        state.project(project).members.iter().map(|(user, level)| (*user, *level)).collect();
    paging::page(call, all, |(user, level)| member_json(state, user, level))
}

fn member(state: &State, call: &Call, project: ProjectId, user: &str) -> ApiResult {
    call.user()?;
    let missing = || Refusal::not_found("");
    let id = user.parse().map(UserId).map_err(|_| Refusal::invalid("user_id"))?;
    let level = state.project(project).members.get(&id).ok_or_else(missing)?;
    Ok(Answer::ok(member_json(state, id, *level)))
}

fn add_member(state: &mut State, call: &Call, project: ProjectId) -> ApiResult {
    state.require(call, project, MAINTAINER)?;
    let user = call.params.number("user_id")?.ok_or_else(|| Refusal::missing("user_id"))?;
    let level = call.params.number("access_level")?;
    let level = level.ok_or_else(|| Refusal::missing("access_level"))?;
    let user = UserId(user);
    if !state.users.contains_key(&user) {
        return Err(Refusal::not_found("User"));
    }
    let level = u8::try_from(level).map_err(|_| Refusal::bad_value("access_level"))?;
    state.project_mut(project).members.insert(user, level);
    Ok(Answer::created(member_json(state, user, level)).wrote("project member"))
}
