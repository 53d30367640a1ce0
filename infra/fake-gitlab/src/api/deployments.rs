//! Deployments.

use serde_json::{Value, json};

use super::access::{DEVELOPER, REPORTER};
use super::answer::{Answer, ApiResult, Refusal};
use super::environments::environment_json;
use super::shapes::api_time;
use super::{Call, paging};
use crate::git::parse_id;
use crate::model::{Deployment, Project, ProjectId, State};
use crate::service::deployments::may_move;

const STATUSES: [&str; 4] = ["running", "success", "failed", "canceled"];

pub(crate) fn deployment_json(project: &Project, known: &Deployment) -> Value {
    json!({
        "id": known.id,
        "iid": known.iid,
        "ref": known.ref_name,
        "sha": known.sha.to_string(),
        "status": known.status,
        "updated_at": api_time(known.updated_at),
        "environment": project.environment(&known.environment).map(environment_json),
    })
}

pub(crate) fn list(state: &State, call: &Call, project: ProjectId) -> ApiResult {
    state.require(call, project, REPORTER)?;
    let params = &call.params;
    let orders = ["id", "iid", "created_at", "updated_at", "finished_at", "ref"];
    let order = params.choice("order_by", &orders)?.unwrap_or("id");
    let (after, before) = (params.time("updated_after")?, params.time("updated_before")?);
    if (after.is_some() || before.is_some()) && order != "updated_at" {
        return Err(Refusal::bad_request("`updated_at` filter requires `updated_at` sort"));
    }
    let found = state.project(project);
    let mut all: Vec<&Deployment> = found
        .deployments
        .iter()
        .filter(|known| params.fits("environment", &known.environment))
        .filter(|known| params.fits("status", &known.status))
        .filter(|known| after.is_none_or(|after| known.updated_at >= after))
        .filter(|known| before.is_none_or(|before| known.updated_at <= before))
        .collect();
    match order {
        "updated_at" | "finished_at" => all.sort_by_key(|known| (known.updated_at, known.id)),
        "ref" => all.sort_by_key(|known| &known.ref_name),
        _ => {}
    }
    paging::sort(call, &mut all, "asc")?;
    paging::page(call, all, |known| deployment_json(found, known))
}

pub(crate) fn create(state: &mut State, call: &Call, project: ProjectId) -> ApiResult {
    let user = state.require(call, project, DEVELOPER)?;
    let params = &call.params;
    let name = params.required("environment")?;
    let (sha, ref_name) = (params.required("sha")?, params.required("ref")?);
    let tag = params.flag("tag")?.ok_or_else(|| Refusal::missing("tag"))?;
    let status = params.choice("status", &STATUSES)?.ok_or_else(|| Refusal::missing("status"))?;
    // The environment is made first: it stays when the deployment is refused.
    if state.project(project).environment(&name).is_none() {
        state.create_environment(project, &name, None)?;
    }
    state.authorize_deploy(project, user, &name)?;
    let repo = &state.project(project).repo;
    let known_ref = if tag { repo.tag_commit(&ref_name) } else { repo.branch(&ref_name) };
    if known_ref.is_none() {
        return Err(Refusal::field("ref", "The branch or tag does not exist"));
    }
    let sha = parse_id(&sha).filter(|sha| repo.commit(*sha).is_some());
    let sha = sha.ok_or_else(|| Refusal::field("sha", "The commit does not exist"))?;
    let (id, updated_at) = (state.next_id("deployment"), state.now());
    let found = state.project_mut(project);
    let line = format!("deployment {name} {ref_name}@{} {status}", &sha.to_string()[..7]);
    let iid = found.deployments.len() as u64 + 1;
    for known in found.environments.iter_mut().filter(|known| known.name == name) {
        known.stopped = false;
    }
    let status = status.to_owned();
    let made = Deployment { id, iid, environment: name, sha, ref_name, status, updated_at };
    let body = deployment_json(found, &made);
    found.deployments.push(made);
    Ok(Answer::created(body).wrote(line))
}

fn find<'a>(state: &'a State, project: ProjectId, id: &str) -> Result<&'a Deployment, Refusal> {
    let id: u64 = id.parse().map_err(|_| Refusal::invalid("deployment_id"))?;
    let found = state.project(project).deployments.iter().find(|known| known.id == id);
    found.ok_or_else(|| Refusal::not_found("Deployment"))
}

pub(crate) fn get(state: &State, call: &Call, project: ProjectId, id: &str) -> ApiResult {
    state.require(call, project, REPORTER)?;
    let deployment = find(state, project, id)?;
    Ok(Answer::ok(deployment_json(state.project(project), deployment)))
}

pub(crate) fn update(state: &mut State, call: &Call, project: ProjectId, id: &str) -> ApiResult {
    let user = state.require(call, project, DEVELOPER)?;
    let status = call.params.choice("status", &STATUSES)?;
    let status = status.ok_or_else(|| Refusal::missing("status"))?;
    let mut deployment = find(state, project, id)?.clone();
    state.authorize_deploy(project, user, &deployment.environment)?;
    if !may_move(&deployment.status, status) {
        let event = match status {
            "running" => "run",
            "success" => "succeed",
            "failed" => "drop",
            _ => "cancel",
        };
        let text = format!(
            "Status cannot transition via \"{event}\" from :{} (Reason(s): Status cannot \
             transition via \"{event}\")",
            deployment.status
        );
        return Err(Refusal::message(400, json!({ "status": [text] })));
    }
    status.clone_into(&mut deployment.status);
    deployment.updated_at = state.now();
    let line = format!("deployment {} {status}", deployment.environment);
    let body = deployment_json(state.project(project), &deployment);
    let all = state.project_mut(project).deployments.iter_mut();
    for known in all.filter(|known| known.id == deployment.id) {
        known.clone_from(&deployment);
    }
    Ok(Answer::ok(body).wrote(line))
}

/// What runs, or is still being deployed, stays.
pub(crate) fn delete(state: &mut State, call: &Call, project: ProjectId, id: &str) -> ApiResult {
    state.require(call, project, DEVELOPER)?;
    let Deployment { id, environment, status, .. } = find(state, project, id)?.clone();
    if status == "running" {
        return Err(Refusal::message(400, "Cannot destroy running deployment"));
    }
    let found = state.project_mut(project);
    if found.current_deployment(&environment).is_some_and(|current| current.id == id) {
        return Err(Refusal::message(400, "Deployment currently deployed to environment"));
    }
    found.deployments.retain(|known| known.id != id);
    Ok(Answer::no_content().wrote(format!("deleted deployment {id}")))
}
