//! Environments.

use serde_json::{Value, json};

use super::access::{DEVELOPER, REPORTER};
use super::answer::{Answer, ApiResult, Refusal};
use super::shapes::api_time;
use super::{Call, paging};
use crate::model::{Environment, ProjectId, State};
use crate::service::deployments::check_external_url;

const TIERS: [&str; 5] = ["production", "staging", "testing", "development", "other"];

pub(crate) fn route(
    state: &mut State,
    call: &Call,
    project: ProjectId,
    path: &[&str],
) -> Option<ApiResult> {
    let ["environments", rest @ ..] = path else { return None };
    match (call.method.as_str(), rest) {
        ("GET", []) => Some(list(state, call, project)),
        ("POST", []) => Some(create(state, call, project)),
        ("GET", [id]) => Some(get(state, call, project, id)),
        ("PUT", [id]) => Some(update(state, call, project, id)),
        ("POST", [id, "stop"]) => Some(stop(state, call, project, id)),
        ("DELETE", [id]) => Some(delete(state, call, project, id)),
        _ => None,
    }
}

pub(crate) fn environment_json(environment: &Environment) -> Value {
    json!({
        "id": environment.id,
        "name": environment.name,
        "slug": environment.slug,
        "description": environment.description,
        "external_url": environment.external_url,
        "created_at": api_time(environment.created_at),
        "updated_at": api_time(environment.updated_at),
        "tier": environment.tier,
        "state": if environment.stopped { "stopped" } else { "available" },
        "auto_stop_at": null,
        "auto_stop_setting": "always",
    })
}

fn list(state: &State, call: &Call, project: ProjectId) -> ApiResult {
    state.require(call, project, REPORTER)?;
    let params = &call.params;
    let (name, search) = (params.filled("name"), params.filled("search"));
    if name.is_some() && search.is_some() {
        return Err(Refusal::error(400, "name, search are mutually exclusive"));
    }
    if search.as_deref().is_some_and(|text| text.chars().count() < 3) {
        let text = "Search query is less than 3 characters";
        return Err(Refusal::bad_request(text));
    }
    let wanted = params.choice("states", &["available", "stopping", "stopped"])?;
    let found: Vec<&Environment> = state
        .project(project)
        .environments
        .iter()
        .filter(|known| name.as_deref().is_none_or(|name| known.name == name))
        .filter(|known| search.as_deref().is_none_or(|text| known.name.contains(text)))
        .filter(|known| match wanted {
            None => true,
            Some(wanted) => wanted == if known.stopped { "stopped" } else { "available" },
        })
        .collect();
    paging::page(call, found, environment_json)
}

fn create(state: &mut State, call: &Call, project: ProjectId) -> ApiResult {
    state.require(call, project, DEVELOPER)?;
    let name = call.params.required("name")?;
    call.params.check_texts(&["external_url", "description"])?;
    let tier = call.params.choice("tier", &TIERS)?;
    let id = state.create_environment(project, &name, call.params.filled("external_url"), tier)?;
    let environment = find_mut(state, project, &id.to_string())?;
    environment.description = call.params.filled("description");
    Ok(Answer::created(environment_json(environment)).wrote(format!("environment {name}")))
}

fn find_mut<'a>(
    state: &'a mut State,
    project: ProjectId,
    id: &str,
) -> Result<&'a mut Environment, Refusal> {
    let id: u64 = id.parse().map_err(|_| Refusal::invalid("environment_id"))?;
    let found = state.project_mut(project).environments.iter_mut().find(|known| known.id == id);
    found.ok_or_else(|| Refusal::not_found("Environment"))
}

fn get(state: &mut State, call: &Call, project: ProjectId, id: &str) -> ApiResult {
    state.require(call, project, REPORTER)?;
    let environment = find_mut(state, project, id)?.clone();
    let mut body = environment_json(&environment);
    let found = state.project(project);
    let last = found.deployments.iter().rev().find(|deployment| {
        deployment.environment == environment.id && deployment.status == "success"
    });
    body["last_deployment"] =
        json!(last.map(|deployment| super::deployments::deployment_json(state, found, deployment)));
    Ok(Answer::ok(body))
}

fn update(state: &mut State, call: &Call, project: ProjectId, id: &str) -> ApiResult {
    state.require(call, project, DEVELOPER)?;
    let (params, now) = (&call.params, state.now());
    params.check_texts(&["name", "external_url", "description"])?;
    let tier = params.choice("tier", &TIERS)?;
    let url = params.text("external_url");
    check_external_url(url.as_deref())?;
    let renames = !state.config.version.at_least(16, 0);
    let environment = find_mut(state, project, id)?;
    if let Some(url) = url {
        environment.external_url = Some(url).filter(|url| !url.is_empty());
    }
    if let Some(tier) = tier {
        environment.tier = tier.to_owned();
    }
    if let Some(text) = params.text("description") {
        environment.description = Some(text);
    }
    if let Some(name) = params.filled("name").filter(|_| renames) {
        environment.name = name;
    }
    environment.updated_at = now;
    let line = format!("changed environment {}", environment.name);
    Ok(Answer::ok(environment_json(environment)).wrote(line))
}

fn stop(state: &mut State, call: &Call, project: ProjectId, id: &str) -> ApiResult {
    let user = state.require(call, project, DEVELOPER)?;
    let name = find_mut(state, project, id)?.name.clone();
    state.authorize_deploy(project, user, &name)?;
    let now = state.now();
    let environment = find_mut(state, project, id)?;
    environment.stopped = true;
    environment.updated_at = now;
    Ok(Answer::ok(environment_json(environment)).wrote(format!("stopped environment {name}")))
}

fn delete(state: &mut State, call: &Call, project: ProjectId, id: &str) -> ApiResult {
    state.require(call, project, DEVELOPER)?;
    let environment = find_mut(state, project, id)?.clone();
    if !environment.stopped {
        return Err(Refusal::forbidden());
    }
    let found = state.project_mut(project);
    found.environments.retain(|known| known.id != environment.id);
    found.deployments.retain(|known| known.environment != environment.id);
    Ok(Answer::no_content().wrote(format!("deleted environment {}", environment.name)))
}
