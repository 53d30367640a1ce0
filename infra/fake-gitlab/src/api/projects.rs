//! Projects and their members.

use serde_json::{Value, json};

use super::access::MAINTAINER;
use super::answer::{Answer, ApiResult, Refusal};
use super::params::Params;
use super::shapes::api_time;
use super::{Call, paging};
use crate::config::{CiMode, ProjectOptions, Protection, Visibility};
use crate::model::{Project, ProjectId, State, UserId};

/// The access levels from guest to owner.
const ROLES: [u8; 7] = [10, 15, 20, 25, 30, 40, 50];

pub(crate) fn list(state: &State, call: &Call) -> ApiResult {
    let params = &call.params;
    let search = params.filled("search").map(|text| text.to_lowercase());
    let membership = params.flag("membership")?.unwrap_or(false);
    let level = min_access_level(params)?;
    let archived = params.flag("archived")?;
    let (after, before) = (params.number("id_after")?, params.number("id_before")?);
    let namespaces = params.flag("search_namespaces")?.unwrap_or(false);
    let mut found: Vec<&Project> = state
        .projects
        .values()
        .filter(|project| state.can_see(project, call.caller()))
        .filter(|project| {
            let text = if namespaces { &project.path } else { project.name() };
            search.as_deref().is_none_or(|wanted| text.to_lowercase().contains(wanted))
        })
        .filter(|project| {
            let own = call.caller().map_or(0, |user| state.membership(project, user));
            (!membership || own > 0) && own >= level
        })
        .filter(|project| archived.is_none_or(|archived| archived == project.options.archived))
        .filter(|project| after.is_none_or(|after| project.id.0 > after))
        .filter(|project| before.is_none_or(|before| project.id.0 < before))
        .collect();
    let orders = ["id", "name", "path", "created_at", "updated_at", "last_activity_at"];
    let order = params.choice("order_by", &orders)?;
    match order {
        Some("name" | "path") => found.sort_by_key(|project| &project.path),
        Some("last_activity_at" | "updated_at") => {
            found.sort_by_key(|project| project.last_activity_at);
        }
        _ => {}
    }
    paging::sort(call, &mut found, "desc")?;
    let simple = params.flag("simple")?.unwrap_or(false);
    let shape = |project: &Project| match simple {
        true => simple_json(state, project),
        // A list knows the role in the group itself, and none from those that it lies in.
        false => project_json(state, call, project, |user| {
            let group = state.group_at(project.namespace())?;
            group.members.get(&user).copied()
        }),
    };
    if params.text("pagination").as_deref() == Some("keyset") {
        if order != Some("id") {
            let text = "Keyset pagination is not yet available for this type of request";
            return Err(Refusal::error(405, text));
        }
        return paging::by_id(call, found, |project| project.id.0, shape);
    }
    paging::page(call, found, shape)
}

pub(crate) fn get(state: &State, call: &Call, project: ProjectId) -> ApiResult {
    Ok(Answer::ok(whole_json(state, call, state.project(project))))
}

/// The lowest access level of a filter; 0 is none.
pub(super) fn min_access_level(params: &Params) -> Result<u8, Refusal> {
    let Some(level) = params.number("min_access_level")? else { return Ok(0) };
    let level = u8::try_from(level).ok().filter(|level| ROLES.contains(level));
    level.ok_or_else(|| Refusal::bad_value("min_access_level"))
}

fn visibility(params: &Params) -> Result<Option<Visibility>, Refusal> {
    let word = params.choice("visibility", &["private", "internal", "public"])?;
    Ok(word.map(|word| match word {
        "public" => Visibility::Public,
        "internal" => Visibility::Internal,
        _ => Visibility::Private,
    }))
}

/// Refuses what cannot be the last part of a project's path.
fn check_path(path: &str) -> Result<(), Refusal> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let ends = [".git", ".atom"].iter().any(|end| path.ends_with(end));
    if path.chars().all(fits) && !path.starts_with('-') && !ends {
        return Ok(());
    }
    let problem = "can contain only letters, digits, '_', '-' and '.'. Cannot start with '-', \
                   end in '.git' or end in '.atom'";
    Err(Refusal::field("path", problem))
}

fn taken(status: u16) -> Refusal {
    Refusal::message(status, json!({ "path": ["has already been taken"] }))
}

/// Makes a project in the caller's own namespace.
pub(crate) fn create(state: &mut State, call: &Call) -> ApiResult {
    let (user, params) = (call.user()?, &call.params);
    params.check_texts(&["name", "path", "default_branch"])?;
    let slug = || Some(params.filled("name")?.to_lowercase().replace(' ', "-"));
    let name = params.filled("path").or_else(slug).ok_or_else(|| {
        Refusal::error(400, "name, path are missing, at least one parameter must be provided")
    })?;
    check_path(&name)?;
    let readme = params.flag("initialize_with_readme")?.unwrap_or(false);
    let readme = readme.then(|| ("README.md".to_owned(), format!("# {name}\n")));
    let mut options = ProjectOptions {
        visibility: visibility(params)?.unwrap_or_default(),
        files: readme.into_iter().collect(),
        ..ProjectOptions::default()
    };
    if let Some(branch) = params.filled("default_branch") {
        options.protected_branches = vec![Protection::maintainers(&branch)];
        options.default_branch = branch;
    }
    let path = format!("{}/{name}", state.user(user).username);
    let id = state.create_project(&path, options, user).map_err(|_| taken(400))?;
    let body = whole_json(state, call, state.project(id));
    Ok(Answer::created(body).wrote(format!("project {path}")))
}

/// Copies a project to the caller's own namespace, or to another.
pub(crate) fn fork(state: &mut State, call: &Call, project: ProjectId) -> ApiResult {
    let user = call.user()?;
    let own = || state.user(user).username.clone();
    let namespace = call.params.filled("namespace_path").unwrap_or_else(own);
    let path = format!("{namespace}/{}", state.project(project).name());
    let id = state.fork_project(project, &path, user).map_err(|_| taken(409))?;
    let body = whole_json(state, call, state.project(id));
    Ok(Answer::created(body).wrote(format!("fork {path}")))
}

pub(crate) fn update(state: &mut State, call: &Call, project: ProjectId) -> ApiResult {
    state.require(call, project, MAINTAINER)?;
    let params = &call.params;
    params.check_texts(&["path", "default_branch"])?;
    let must_succeed = params.flag("only_allow_merge_if_pipeline_succeeds")?;
    let visibility = visibility(params)?;
    let branch = params.filled("default_branch");
    let found = state.project(project);
    let branch = branch.filter(|branch| branch != found.default_branch());
    if let Some(branch) = &branch
        && found.repo.branch(branch).is_none()
    {
        let text = format!(
            "Could not set the default branch. Do you have a branch named '{branch}' in your \
             repository?"
        );
        return Err(Refusal::message(400, text));
    }
    if let Some(path) = params.filled("path").filter(|path| path != found.name()) {
        check_path(&path)?;
        let path = format!("{}/{path}", found.namespace());
        state.move_project(project, &path).map_err(|_| taken(400))?;
    }
    let found = state.project_mut(project);
    if let Some(branch) = branch {
        // A wrong HEAD only changes what a clone checks out.
        let _ = found.repo.set_head(&branch);
        found.options.default_branch = branch;
    }
    let options = &mut found.options;
    options.pipelines_must_succeed = must_succeed.unwrap_or(options.pipelines_must_succeed);
    options.visibility = visibility.unwrap_or(options.visibility);
    let body = whole_json(state, call, state.project(project));
    Ok(Answer::ok(body).wrote("project settings"))
}

/// What everybody sees who sees the project.
fn simple_json(state: &State, project: &Project) -> Value {
    json!({
        "id": project.id,
        "name": project.name(),
        "path": project.name(),
        "path_with_namespace": project.path,
        "default_branch": project.repo.branch(project.default_branch())
            .map(|_| project.default_branch()),
        "last_activity_at": api_time(project.last_activity_at),
        "http_url_to_repo": format!("{}.git", state.project_url(project)),
        "web_url": state.project_url(project),
        "namespace": { "kind": "group", "full_path": project.namespace() },
    })
}

/// A project by itself, with the highest role that the caller has in its groups.
fn whole_json(state: &State, call: &Call, project: &Project) -> Value {
    project_json(state, call, project, |user| {
        Some(state.inherited(project.namespace(), user)).filter(|level| *level > 0)
    })
}

fn project_json(
    state: &State,
    call: &Call,
    project: &Project,
    in_group: impl Fn(UserId) -> Option<u8>,
) -> Value {
    let options = &project.options;
    let access = |level: Option<u8>| level.map(|level| json!({ "access_level": level }));
    let own = call.caller().and_then(|user| project.members.get(&user)).copied();
    let mut body = simple_json(state, project);
    body["empty_repo"] = json!(project.repo.refs_below("refs/heads/").next().is_none());
    body["visibility"] = json!(options.visibility.name());
    body["archived"] = json!(options.archived);
    body["builds_access_level"] =
        json!(if options.builds_enabled { "enabled" } else { "disabled" });
    body["ci_config_path"] = json!(options.ci_config_path);
    body["only_allow_merge_if_pipeline_succeeds"] = json!(options.pipelines_must_succeed);
    body["only_allow_merge_if_all_discussions_are_resolved"] =
        json!(options.threads_must_be_resolved);
    body["merge_pipelines_enabled"] = json!(options.ci.mode == CiMode::MergedResults);
    // The edition that has protected environments says it, since this version.
    if state.config.version.is_enterprise() && state.config.version.at_least(15, 8) {
        body["allow_pipeline_trigger_approve_deployment"] = json!(options.allows_own_approval);
    }
    body["permissions"] = json!({
        "project_access": access(own),
        "group_access": access(call.caller().and_then(in_group)),
    });
    if let Some(parent) = project.forked_from.and_then(|id| state.projects.get(&id)) {
        body["forked_from_project"] =
            json!({ "id": parent.id, "path_with_namespace": parent.path });
    }
    body
}

/// A member's role: its own, or (`all`) the highest that it has, also from groups; 0 is none.
fn level_of(state: &State, project: ProjectId, user: UserId, all: bool) -> u8 {
    let project = state.project(project);
    match all {
        true => state.membership(project, user),
        false => project.members.get(&user).copied().unwrap_or(0),
    }
}

pub(crate) fn member(
    state: &State,
    call: &Call,
    project: ProjectId,
    user: &str,
    all: bool,
) -> ApiResult {
    call.user()?;
    one_member(state, user, |user| level_of(state, project, user, all))
}

/// The answer about somebody who has a role, which is above 0.
pub(super) fn one_member(state: &State, user: &str, level: impl Fn(UserId) -> u8) -> ApiResult {
    let id = user.parse().map(UserId).map_err(|_| Refusal::invalid("user_id"))?;
    match level(id) {
        0 => Err(Refusal::not_found("")),
        level => Ok(Answer::ok(member_json(state, id, level))),
    }
}

fn member_json(state: &State, user: UserId, level: u8) -> Value {
    let mut body = state.user_json(user);
    body["access_level"] = json!(level);
    body
}

pub(crate) fn members(state: &State, call: &Call, project: ProjectId, all: bool) -> ApiResult {
    let members = state.users.keys().map(|user| (*user, level_of(state, project, *user, all)));
    let members = members.filter(|(_, level)| *level > 0).collect();
    paging::page(call, members, |(user, level)| member_json(state, user, level))
}

pub(crate) fn add_member(state: &mut State, call: &Call, project: ProjectId) -> ApiResult {
    state.require(call, project, MAINTAINER)?;
    let user = call.params.number("user_id")?.ok_or_else(|| Refusal::missing("user_id"))?;
    let level = call.params.number("access_level")?;
    let level = level.ok_or_else(|| Refusal::missing("access_level"))?;
    let level = u8::try_from(level).ok().filter(|level| ROLES.contains(level));
    let level = level.ok_or_else(|| Refusal::bad_value("access_level"))?;
    let user = UserId(user);
    if !state.users.contains_key(&user) {
        return Err(Refusal::not_found("User"));
    }
    if state.project(project).members.contains_key(&user) {
        return Err(Refusal::message(409, "Member already exists"));
    }
    state.project_mut(project).members.insert(user, level);
    Ok(Answer::created(member_json(state, user, level)).wrote("project member"))
}
