//! Environments.

use serde_json::{Value, json};

use super::access::{DEVELOPER, REPORTER};
use super::answer::{Answer, ApiResult, Refusal};
use super::deployments::deployment_json;
use super::{Call, paging};
use crate::model::{Environment, Project, ProjectId, State};
use crate::service::deployments::check_external_url;

const TIERS: [&str; 5] = ["production", "staging", "testing", "development", "other"];

pub(crate) fn environment_json(environment: &Environment) -> Value {
    json!({
        "id": environment.id,
        "name": environment.name,
        "external_url": environment.external_url,
        "state": environment.state(),
    })
}

pub(crate) fn list(state: &State, call: &Call, project: ProjectId) -> ApiResult {
    state.require(call, project, REPORTER)?;
    let params = &call.params;
    let search = params.filled("search");
    if search.is_some() && params.filled("name").is_some() {
        return Err(Refusal::error(400, "name, search are mutually exclusive"));
    }
    if search.as_deref().is_some_and(|text| text.chars().count() < 3) {
        return Err(Refusal::bad_request("Search query is less than 3 characters"));
    }
    let wanted = params.choice("states", &["available", "stopping", "stopped"])?;
    let found: Vec<&Environment> = state
        .project(project)
        .environments
        .iter()
        .filter(|known| params.fits("name", &known.name))
        .filter(|known| search.as_deref().is_none_or(|text| known.name.contains(text)))
        .filter(|known| wanted.is_none_or(|wanted| wanted == known.state()))
        .collect();
    paging::page(call, found, environment_json)
}

pub(crate) fn create(state: &mut State, call: &Call, project: ProjectId) -> ApiResult {
    state.require(call, project, DEVELOPER)?;
    let params = &call.params;
    let name = params.required("name")?;
    params.check_texts(&["external_url", "description"])?;
    params.choice("tier", &TIERS)?;
    let environment = state.create_environment(project, &name, params.filled("external_url"))?;
    Ok(Answer::created(environment_json(environment)).wrote(format!("environment {name}")))
}

fn find<'a>(project: &'a Project, id: &str) -> Result<&'a Environment, Refusal> {
    let id: u64 = id.parse().map_err(|_| Refusal::invalid("environment_id"))?;
    let found = project.environments.iter().find(|known| known.id == id);
    found.ok_or_else(|| Refusal::not_found("Environment"))
}

fn find_mut<'a>(
    state: &'a mut State,
    project: ProjectId,
    id: &str,
) -> Result<&'a mut Environment, Refusal> {
    let id = find(state.project(project), id)?.id;
    let found = state.project_mut(project).environments.iter_mut().find(|known| known.id == id);
    found.ok_or_else(|| Refusal::not_found("Environment"))
}

pub(crate) fn get(state: &State, call: &Call, project: ProjectId, id: &str) -> ApiResult {
    state.require(call, project, REPORTER)?;
    let found = state.project(project);
    let environment = find(found, id)?;
    let mut body = environment_json(environment);
    let last = found.current_deployment(&environment.name);
    body["last_deployment"] = json!(last.map(|last| deployment_json(found, last)));
    Ok(Answer::ok(body))
}

pub(crate) fn update(state: &mut State, call: &Call, project: ProjectId, id: &str) -> ApiResult {
    state.require(call, project, DEVELOPER)?;
    let params = &call.params;
    params.check_texts(&["name", "external_url", "description"])?;
    params.choice("tier", &TIERS)?;
    let url = params.text("external_url");
    check_external_url(url.as_deref())?;
    let environment = find_mut(state, project, id)?;
    if let Some(url) = url {
        environment.external_url = Some(url).filter(|url| !url.is_empty());
    }
    let line = format!("changed environment {}", environment.name);
    Ok(Answer::ok(environment_json(environment)).wrote(line))
}

pub(crate) fn stop(state: &mut State, call: &Call, project: ProjectId, id: &str) -> ApiResult {
    let user = state.require(call, project, DEVELOPER)?;
    let name = find_mut(state, project, id)?.name.clone();
    state.authorize_deploy(project, user, &name)?;
    let environment = find_mut(state, project, id)?;
    environment.stopped = true;
    Ok(Answer::ok(environment_json(environment)).wrote(format!("stopped environment {name}")))
}

/// Only one that was stopped can be deleted; its deployments go with it.
pub(crate) fn delete(state: &mut State, call: &Call, project: ProjectId, id: &str) -> ApiResult {
    state.require(call, project, DEVELOPER)?;
    let environment = find(state.project(project), id)?.clone();
    if !environment.stopped {
        return Err(Refusal::forbidden());
    }
    let found = state.project_mut(project);
    found.environments.retain(|known| known.id != environment.id);
    found.deployments.retain(|known| known.environment != environment.name);
    Ok(Answer::no_content().wrote(format!("deleted environment {}", environment.name)))
}
