//! Pipelines and their jobs.

use serde_json::{Value, json};

use super::answer::{Answer, ApiResult, Refusal};
use super::{Call, paging};
use crate::model::{Job, JobKind, Pipeline, Project, ProjectId, State};

/// Pipelines are hidden where CI/CD is disabled, and from visitors of private projects.
fn readable<'a>(state: &'a State, call: &Call, project: ProjectId) -> Result<&'a Project, Refusal> {
    let found = state.require_code(call, project)?;
    if found.options.builds_enabled { Ok(found) } else { Err(Refusal::forbidden()) }
}

pub(crate) fn list(state: &State, call: &Call, project: ProjectId) -> ApiResult {
    let found = readable(state, call, project)?;
    let params = &call.params;
    let mut all: Vec<&Pipeline> = found
        .pipelines
        .iter()
        .filter(|pipeline| params.fits("sha", &pipeline.sha.to_string()))
        .filter(|pipeline| params.fits("ref", &pipeline.ref_name))
        .filter(|pipeline| params.fits("source", pipeline.source.name()))
        .filter(|pipeline| params.fits("status", pipeline.status()))
        .collect();
    params.choice("order_by", &["id", "status", "ref", "updated_at", "user_id"])?;
    paging::sort(call, &mut all, "desc")?;
    paging::page(call, all, |pipeline| state.pipeline_json(found, pipeline))
}

fn find<'a>(project: &'a Project, id: &str) -> Result<&'a Pipeline, Refusal> {
    let id = id.parse().map_err(|_| Refusal::invalid("pipeline_id"))?;
    project.pipeline(id).ok_or_else(|| Refusal::not_found(""))
}

/// A pipeline with what only a single one shows.
fn whole_json(state: &State, project: &Project, pipeline: &Pipeline) -> Value {
    let mut body = state.pipeline_json(project, pipeline);
    body["tag"] = json!(pipeline.tag);
    let status = pipeline.status();
    body["detailed_status"] = json!({ "text": status, "label": status, "group": status });
    body
}

pub(crate) fn get(state: &State, call: &Call, project: ProjectId, id: &str) -> ApiResult {
    let found = readable(state, call, project)?;
    Ok(Answer::ok(whole_json(state, found, find(found, id)?)))
}

pub(crate) fn latest(state: &State, call: &Call, project: ProjectId) -> ApiResult {
    let found = readable(state, call, project)?;
    let name = call.params.filled("ref").unwrap_or_else(|| found.default_branch().to_owned());
    let head = found.resolve(&name).map(|commit| commit.id);
    let is_of = |pipeline: &&Pipeline| pipeline.ref_name == name && Some(pipeline.sha) == head;
    let newest = found.pipelines.iter().rev().find(is_of).ok_or_else(Refusal::forbidden)?;
    Ok(Answer::ok(whole_json(state, found, newest)))
}

/// External statuses are no jobs of this list.
pub(crate) fn jobs(state: &State, call: &Call, project: ProjectId, id: &str) -> ApiResult {
    let found = readable(state, call, project)?;
    let pipeline = find(found, id)?;
    let retried = call.params.flag("include_retried")?.unwrap_or(false);
    let wanted = |job: &&Job| job.kind == JobKind::Ci && (retried || !job.retried);
    let jobs: Vec<&Job> = pipeline.jobs.iter().rev().filter(wanted).collect();
    paging::page(call, jobs, |job| {
        json!({
            "id": job.id,
            "name": job.name,
            "status": job.status,
            "ref": job.ref_name,
            "tag": pipeline.tag,
            "user": state.user_json(job.user),
            "commit": found.repo.commit(pipeline.sha)
                .map(|commit| state.commit_json(found, &commit)),
            "pipeline": state.pipeline_json(found, pipeline),
        })
    })
}
