//! Commit statuses.

use super::access::DEVELOPER;
use super::answer::{Answer, ApiResult, Refusal};
use super::{Call, paging};
use crate::model::{Job, ProjectId, State};
use crate::service::statuses::NewStatus;

pub(crate) fn create(state: &mut State, call: &Call, project: ProjectId, sha: &str) -> ApiResult {
    let user = state.require(call, project, DEVELOPER)?;
    let params = &call.params;
    params.check_texts(&["state", "ref", "name", "context", "target_url", "description"])?;
    let status = params.filled("state");
    let status = status.ok_or_else(|| Refusal::message(400, "State is required"))?;
    let known = ["pending", "running", "success", "failed", "canceled"].contains(&status.as_str())
        || (status == "skipped" && state.config.version.at_least(18, 0));
    if !known {
        return Err(Refusal::bad_value("state"));
    }
    if params.filled("coverage").is_some_and(|text| text.parse::<f64>().is_err()) {
        return Err(Refusal::invalid("coverage"));
    }
    let name = params.filled("name").or_else(|| params.filled("context"));
    let new = NewStatus {
        state: status,
        ref_name: params.filled("ref"),
        name: name.unwrap_or_else(|| "default".to_owned()),
        target_url: params.filled("target_url"),
        description: params.filled("description"),
        pipeline: params.number("pipeline_id")?,
    };
    let (pipeline, job) = state.post_status(project, user, sha, new)?;
    let line = format!(
        "status {}@{} {} {} {:?} pipeline {pipeline}",
        job.ref_name,
        &sha[..7],
        job.name,
        job.status,
        job.description.as_deref().unwrap_or_default(),
    );
    Ok(Answer::created(state.status_json(pipeline, &job)).wrote(line))
}

pub(crate) fn list(state: &State, call: &Call, project: ProjectId, sha: &str) -> ApiResult {
    let commit = super::commits::find(state, call, project, sha)?;
    let pipelines = state.project(project).pipelines.iter();
    let mut found: Vec<(u64, &Job)> = pipelines
        .filter(|known| known.sha == commit.id)
        .flat_map(|known| known.latest_jobs().map(move |job| (known.id, job)))
        .collect();
    found.sort_by_key(|(_, job)| job.id);
    paging::sort(call, &mut found, "asc")?;
    paging::page(call, found, |(pipeline, job)| state.status_json(pipeline, job))
}
