//! Pipelines and their jobs.

use serde_json::{Value, json};

use super::answer::{Answer, ApiResult, Refusal};
use super::shapes::api_time;
use super::{Call, paging};
use crate::model::{Job, JobKind, Pipeline, Project, ProjectId, State};

pub(crate) fn route(
    state: &mut State,
    call: &Call,
    project: ProjectId,
    path: &[&str],
) -> Option<ApiResult> {
    match (call.method.as_str(), path) {
        ("GET", ["pipelines"]) => Some(list(state, call, project)),
        ("GET", ["pipelines", "latest"]) => Some(latest(state, call, project)),
        ("GET", ["pipelines", id]) => Some(get(state, call, project, id)),
        ("GET", ["pipelines", id, "jobs"]) => Some(jobs(state, call, project, id)),
        _ => None,
    }
}

/// Pipelines are hidden where CI/CD is disabled, and from visitors of private projects.
fn readable<'a>(state: &'a State, call: &Call, project: ProjectId) -> Result<&'a Project, Refusal> {
    state.require_code(call, project)?;
    let found = state.project(project);
    if !found.options.builds_enabled {
        return Err(Refusal::forbidden());
    }
    Ok(found)
}

fn list(state: &State, call: &Call, project: ProjectId) -> ApiResult {
    let found = readable(state, call, project)?;
    let params = &call.params;
    let same = |key: &str, text: &str| params.filled(key).is_none_or(|wanted| wanted == text);
    let after = params.time("updated_after")?;
    let mut all: Vec<&Pipeline> = found
        .pipelines
        .iter()
        .filter(|pipeline| same("sha", &pipeline.sha.to_string()))
        .filter(|pipeline| same("ref", &pipeline.ref_name))
        .filter(|pipeline| same("source", pipeline.source.name()))
        .filter(|pipeline| same("status", pipeline.status()))
        .filter(|pipeline| after.is_none_or(|after| pipeline.updated_at > after))
        .collect();
    let order = params.choice("order_by", &["id", "status", "ref", "updated_at", "user_id"])?;
    if order == Some("updated_at") {
        all.sort_by_key(|pipeline| pipeline.updated_at);
    }
    if params.choice("sort", &["asc", "desc"])? != Some("asc") {
        all.reverse();
    }
    paging::page(call, all, |pipeline| state.pipeline_json(found, pipeline))
}

fn detailed(state: &State, project: &Project, pipeline: &Pipeline) -> Value {
    let mut body = state.pipeline_json(project, pipeline);
    let before = crate::git::Oid::ZERO;
    body["before_sha"] = json!(before);
    body["tag"] = json!(pipeline.tag);
    body["user"] = state.user_json(pipeline.user);
    body["yaml_errors"] = Value::Null;
    body["archived"] = json!(pipeline.archived);
    body["detailed_status"] = json!({
        "text": pipeline.status(), "label": pipeline.status(), "group": pipeline.status(),
    });
    body
}

fn find<'a>(project: &'a Project, id: &str) -> Result<&'a Pipeline, Refusal> {
    let id = id.parse().map_err(|_| Refusal::invalid("pipeline_id"))?;
    project.pipeline(id).ok_or_else(|| Refusal::not_found(""))
}

fn get(state: &State, call: &Call, project: ProjectId, id: &str) -> ApiResult {
    let found = readable(state, call, project)?;
    let pipeline = find(found, id)?;
    Ok(Answer::ok(detailed(state, found, pipeline)))
}

fn latest(state: &State, call: &Call, project: ProjectId) -> ApiResult {
    let found = readable(state, call, project)?;
    let name = call.params.filled("ref").unwrap_or_else(|| found.default_branch().to_owned());
    let head = found.repo.resolve(&name, found.default_branch()).map(|commit| commit.id);
    let newest = found
        .pipelines
        .iter()
        .rev()
        .find(|pipeline| pipeline.ref_name == name && Some(pipeline.sha) == head);
    let newest = newest.ok_or_else(Refusal::forbidden)?;
    Ok(Answer::ok(detailed(state, found, newest)))
}

/// External statuses are no jobs of this list.
fn jobs(state: &State, call: &Call, project: ProjectId, id: &str) -> ApiResult {
    let found = readable(state, call, project)?;
    let pipeline = find(found, id)?;
    let retried = call.params.flag("include_retried")?.unwrap_or(false);
    let jobs: Vec<&Job> = pipeline
        .jobs
        .iter()
        .rev()
        .filter(|job| job.kind == JobKind::Ci && (retried || !job.retried))
        .collect();
    paging::page(call, jobs, |job| {
        json!({
            "id": job.id,
            "name": job.name,
            "stage": job.stage(),
            "status": job.status,
            "ref": job.ref_name,
            "tag": pipeline.tag,
            "allow_failure": false,
            "created_at": api_time(job.created_at),
            "started_at": job.started_at.map(api_time),
            "finished_at": job.finished_at.map(api_time),
            "user": state.user_json(job.user),
            "commit": found.repo.objects.commit(pipeline.sha)
                .map(|commit| state.commit_json(found, &commit)),
            "pipeline": state.pipeline_json(found, pipeline),
            "web_url": format!("{}/-/jobs/{}", state.project_url(found), job.id),
        })
    })
}
