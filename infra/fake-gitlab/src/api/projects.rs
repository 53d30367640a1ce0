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
    let level = params.number("min_access_level")?.unwrap_or(0);
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
            let own = call.caller().and_then(|user| project.members.get(&user)).copied();
            (!membership || own.is_some()) && u64::from(own.unwrap_or(0)) >= level
        })
        .collect();
    let orders = ["id", "name", "path", "created_at", "updated_at", "last_activity_at"];
    match params.choice("order_by", &orders)? {
        Some("name" | "path") => found.sort_by_key(|project| &project.path),
        Some("last_activity_at" | "updated_at") => {
            found.sort_by_key(|project| project.last_activity_at);
        }
        _ => {}
    }
    paging::sort(call, &mut found, "desc")?;
    let shape = |project: &Project| project_json(state, call, project);
    if params.text("pagination").as_deref() == Some("keyset") {
        return paging::keyset(call, found, |project| project.id.to_string(), shape);
    }
    paging::page(call, found, shape)
}

pub(crate) fn get(state: &State, call: &Call, project: ProjectId) -> ApiResult {
    Ok(Answer::ok(project_json(state, call, state.project(project))))
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
    let body = project_json(state, call, state.project(id));
    Ok(Answer::created(body).wrote(format!("project {path}")))
}

/// Copies a project to the caller's own namespace, or to another.
pub(crate) fn fork(state: &mut State, call: &Call, project: ProjectId) -> ApiResult {
    let user = call.user()?;
    let own = || state.user(user).username.clone();
    let namespace = call.params.filled("namespace_path").unwrap_or_else(own);
    let path = format!("{namespace}/{}", state.project(project).name());
    let id = state.fork_project(project, &path, user).map_err(|_| taken(409))?;
    let body = project_json(state, call, state.project(id));
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
    let body = project_json(state, call, state.project(project));
    Ok(Answer::ok(body).wrote("project settings"))
}

fn project_json(state: &State, call: &Call, project: &Project) -> Value {
    let options = &project.options;
    let level = call.caller().and_then(|user| project.members.get(&user));
    let mut body = json!({
        "id": project.id,
        "name": project.name(),
        "path": project.name(),
        "path_with_namespace": project.path,
        "default_branch": project.repo.branch(project.default_branch())
            .map(|_| project.default_branch()),
        "empty_repo": project.repo.refs_below("refs/heads/").next().is_none(),
        "last_activity_at": api_time(project.last_activity_at),
        "http_url_to_repo": format!("{}.git", state.project_url(project)),
        "web_url": state.project_url(project),
        "visibility": options.visibility.name(),
        "namespace": { "kind": "group", "full_path": project.namespace() },
        "builds_access_level": if options.builds_enabled { "enabled" } else { "disabled" },
        "ci_config_path": options.ci_config_path,
        "only_allow_merge_if_pipeline_succeeds": options.pipelines_must_succeed,
        "merge_pipelines_enabled": options.ci.mode == CiMode::MergedResults,
        "permissions": {
            "project_access": level.map(|level| json!({ "access_level": level })),
            "group_access": null,
        },
    });
    if let Some(parent) = project.forked_from.and_then(|id| state.projects.get(&id)) {
        body["forked_from_project"] =
            json!({ "id": parent.id, "path_with_namespace": parent.path });
    }
    body
}

pub(crate) fn member(state: &State, call: &Call, project: ProjectId, user: &str) -> ApiResult {
    call.user()?;
    let id = user.parse().map(UserId).map_err(|_| Refusal::invalid("user_id"))?;
    let level = state.project(project).members.get(&id).ok_or_else(|| Refusal::not_found(""))?;
    Ok(Answer::ok(member_json(state, id, *level)))
}

fn member_json(state: &State, user: UserId, level: u8) -> Value {
    let mut body = state.user_json(user);
    body["access_level"] = json!(level);
    body
}

pub(crate) fn members(state: &State, call: &Call, project: ProjectId) -> ApiResult {
    let members = state.project(project).members.iter();
    paging::page(call, members.collect(), |(user, level)| member_json(state, *user, *level))
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
