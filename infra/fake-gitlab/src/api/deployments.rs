//! Deployments.

use serde_json::{Value, json};

use super::access::{DEVELOPER, REPORTER};
use super::answer::{Answer, ApiResult, Refusal};
use super::environments::environment_json;
use super::shapes::api_time;
use super::{Call, paging};
use crate::git::Oid;
use crate::model::{Deployment, Project, ProjectId, State};
use crate::service::deployments::may_move;

const STATUSES: [&str; 4] = ["running", "success", "failed", "canceled"];

pub(crate) fn route(
    state: &mut State,
    call: &Call,
    project: ProjectId,
    path: &[&str],
) -> Option<ApiResult> {
    let ["deployments", rest @ ..] = path else { return None };
    match (call.method.as_str(), rest) {
        ("GET", []) => Some(list(state, call, project)),
        ("POST", []) => Some(create(state, call, project)),
        ("GET", [id]) => Some(get(state, call, project, id)),
        ("PUT", [id]) => Some(update(state, call, project, id)),
        ("DELETE", [id]) => Some(delete(state, call, project, id)),
        _ => None,
    }
}

pub(crate) fn deployment_json(state: &State, project: &Project, known: &Deployment) -> Value {
    let environment = project.environments.iter().find(|one| one.id == known.environment);
    json!({
        "id": known.id,
        "iid": known.iid,
        "ref": known.ref_name,
        "sha": known.sha,
        "status": known.status,
        "created_at": api_time(known.created_at),
        "updated_at": api_time(known.updated_at),
        "finished_at": known.finished_at.map(api_time),
        "user": state.user_json(known.user),
        "environment": environment.map(environment_json),
        "deployable": null,
        "pending_approval_count": 0,
        "approvals": [],
    })
}

fn list(state: &State, call: &Call, project: ProjectId) -> ApiResult {
    state.require(call, project, REPORTER)?;
    let params = &call.params;
    let orders = ["id", "iid", "created_at", "updated_at", "finished_at", "ref"];
    let order = params.choice("order_by", &orders)?.unwrap_or("id");
    let (after, before) = (params.time("updated_after")?, params.time("updated_before")?);
    if (after.is_some() || before.is_some()) && order != "updated_at" {
        let text = "`updated_at` filter requires `updated_at` sort";
        return Err(Refusal::bad_request(text));
    }
    let found = state.project(project);
    let name_of = |known: &Deployment| {
        found.environments.iter().find(|one| one.id == known.environment).map(|one| &one.name)
    };
    let wanted = params.filled("environment");
    let status = params.filled("status");
    let mut all: Vec<&Deployment> = found
        .deployments
        .iter()
        .filter(|known| wanted.is_none() || name_of(known) == wanted.as_ref())
        .filter(|known| status.as_deref().is_none_or(|status| known.status == status))
        .filter(|known| after.is_none_or(|after| known.updated_at >= after))
        .filter(|known| before.is_none_or(|before| known.updated_at <= before))
        .collect();
    match order {
        "updated_at" => all.sort_by_key(|known| (known.updated_at, known.id)),
        "ref" => all.sort_by(|a, b| a.ref_name.cmp(&b.ref_name)),
        _ => {}
    }
    if params.choice("sort", &["asc", "desc"])? == Some("desc") {
        all.reverse();
    }
    paging::page(call, all, |known| deployment_json(state, found, known))
}

fn create(state: &mut State, call: &Call, project: ProjectId) -> ApiResult {
    let user = state.require(call, project, DEVELOPER)?;
    let params = &call.params;
    let name = params.required("environment")?;
    let (sha, ref_name) = (params.required("sha")?, params.required("ref")?);
    let tag = params.flag("tag")?.ok_or_else(|| Refusal::missing("tag"))?;
    let status = params.choice("status", &STATUSES)?.ok_or_else(|| Refusal::missing("status"))?;
    // The environment is made first: it stays when the deployment is refused.
    let existing = state
        .project(project)
        .environments
        .iter()
        .find(|known| known.name == name)
        .map(|one| one.id);
    let environment = match existing {
        Some(id) => id,
        None => state.create_environment(project, &name, None, None)?,
    };
    state.authorize_deploy(project, user, &name)?;
    let found = state.project(project);
    let known_ref = if tag {
        found.repo.tag_commit(&ref_name).is_some()
    } else {
        found.repo.branch(&ref_name).is_some()
    };
    if !known_ref && state.config.version.at_least(15, 0) {
        return Err(Refusal::field("ref", "The branch or tag does not exist"));
    }
    let sha = Oid::parse(&sha).filter(|sha| found.repo.objects.commit(*sha).is_some());
    let sha = sha.ok_or_else(|| Refusal::field("sha", "The commit does not exist"))?;
    let (id, now) = (state.next_id("deployment"), state.now());
    let found = state.project_mut(project);
    let deployment = Deployment {
        id,
        iid: found.deployments.len() as u64 + 1,
        environment,
        sha,
        ref_name: ref_name.clone(),
        status: status.to_owned(),
        user,
        created_at: now,
        updated_at: now,
        finished_at: (status != "running").then_some(now),
    };
    found.deployments.push(deployment.clone());
    for known in found.environments.iter_mut().filter(|known| known.id == environment) {
        known.stopped = false;
    }
    state.fire_deployment(project, &deployment);
    let body = deployment_json(state, state.project(project), &deployment);
    let line = format!("deployment {name} {ref_name}@{} {status}", &sha.to_string()[..7]);
    Ok(Answer::created(body).wrote(line))
}

fn find(state: &State, project: ProjectId, id: &str) -> Result<Deployment, Refusal> {
    let id: u64 = id.parse().map_err(|_| Refusal::invalid("deployment_id"))?;
    let found = state.project(project).deployments.iter().find(|known| known.id == id);
    found.cloned().ok_or_else(|| Refusal::not_found("Deployment"))
}

fn get(state: &State, call: &Call, project: ProjectId, id: &str) -> ApiResult {
    state.require(call, project, REPORTER)?;
    let deployment = find(state, project, id)?;
    Ok(Answer::ok(deployment_json(state, state.project(project), &deployment)))
}

fn environment_name(state: &State, project: ProjectId, deployment: &Deployment) -> String {
    let environments = &state.project(project).environments;
    let found = environments.iter().find(|known| known.id == deployment.environment);
    found.map(|known| known.name.clone()).unwrap_or_default()
}

fn update(state: &mut State, call: &Call, project: ProjectId, id: &str) -> ApiResult {
    let user = state.require(call, project, DEVELOPER)?;
    let status = call.params.choice("status", &STATUSES)?;
    let status = status.ok_or_else(|| Refusal::missing("status"))?;
    let deployment = find(state, project, id)?;
    let name = environment_name(state, project, &deployment);
    state.authorize_deploy(project, user, &name)?;
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
    let now = state.now();
    let known = state.project_mut(project).deployments.iter_mut();
    let known = known.filter(|known| known.id == deployment.id).last();
    let known = known.ok_or_else(|| Refusal::not_found("Deployment"))?;
    known.status = status.to_owned();
    known.updated_at = now;
    known.finished_at = Some(now);
    let deployment = known.clone();
    state.fire_deployment(project, &deployment);
    let body = deployment_json(state, state.project(project), &deployment);
    Ok(Answer::ok(body).wrote(format!("deployment {name} {status}")))
}

fn delete(state: &mut State, call: &Call, project: ProjectId, id: &str) -> ApiResult {
    state.require(call, project, DEVELOPER)?;
    let deployment = find(state, project, id)?;
    if deployment.status == "running" {
        return Err(Refusal::message(400, "Cannot destroy running deployment"));
    }
    let found = state.project_mut(project);
    let current = found
        .deployments
        .iter()
        .rev()
        .find(|known| known.environment == deployment.environment && known.status == "success");
    if current.is_some_and(|known| known.id == deployment.id) {
        return Err(Refusal::message(400, "Deployment currently deployed to environment"));
    }
    found.deployments.retain(|known| known.id != deployment.id);
    Ok(Answer::no_content().wrote(format!("deleted deployment {}", deployment.id)))
}
