//! Commit statuses.

use super::access::DEVELOPER;
use super::answer::{Answer, ApiResult, Refusal};
use super::{Call, paging};
use crate::model::{Job, Pipeline, ProjectId, State};
use crate::service::statuses::NewStatus;

pub(crate) fn route(
    state: &mut State,
    call: &Call,
    project: ProjectId,
    path: &[&str],
) -> Option<ApiResult> {
    match (call.method.as_str(), path) {
        ("POST", ["statuses", sha]) => Some(create(state, call, project, sha)),
        ("GET", ["repository", "commits", sha, "statuses"]) => {
            Some(list(state, call, project, sha))
        }
        _ => None,
    }
}

fn create(state: &mut State, call: &Call, project: ProjectId, sha: &str) -> ApiResult {
    let user = state.require(call, project, DEVELOPER)?;
    let params = &call.params;
    params.check_texts(&["state", "ref", "name", "context", "target_url", "description"])?;
    let status = params.filled("state");
    let status = status.ok_or_else(|| Refusal::message(400, "State is required"))?;
    let known = ["pending", "running", "success", "failed", "canceled"].contains(&status.as_str())
        || (status == "skipped" && state.config.version.knows_skipped_statuses());
    if !known {
        return Err(Refusal::bad_value("state"));
    }
    let coverage = match params.filled("coverage") {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| Refusal::invalid("coverage"))?),
    };
    let name = params.filled("name").or_else(|| params.filled("context"));
    let new = NewStatus {
        state: status,
        ref_name: params.filled("ref"),
        name: name.unwrap_or_else(|| "default".to_owned()),
        target_url: params.filled("target_url"),
        description: params.filled("description"),
        coverage,
        pipeline: params.number("pipeline_id")?,
    };
    let (pipeline, job) = state.post_status(project, user, sha, new)?;
    let pipeline = state.project(project).pipeline(pipeline);
    let found = pipeline.and_then(|pipeline| {
        pipeline.jobs.iter().find(|known| known.id == job).map(|job| (pipeline, job))
    });
    let (pipeline, job) = found.ok_or_else(|| Refusal::not_found(""))?;
    let line = format!(
        "status {}@{} {} {} {:?} pipeline {}",
        job.ref_name,
        &sha[..7],
        job.name,
        job.status,
        job.description.as_deref().unwrap_or_default(),
        pipeline.id
    );
    Ok(Answer::created(state.status_json(pipeline, job)).wrote(line))
}

fn list(state: &State, call: &Call, project: ProjectId, sha: &str) -> ApiResult {
    let commit = super::commits::find(state, call, project, sha)?;
    let params = &call.params;
    let all = params.flag("all")?.unwrap_or(false);
    let (name, stage) = (params.filled("name"), params.filled("stage"));
    let (ref_name, pipeline) = (params.filled("ref"), params.number("pipeline_id")?);
    let pipeline = pipeline.filter(|_| state.config.version.at_least(17, 9));
    let same =
        |wanted: &Option<String>, text: &str| wanted.as_deref().is_none_or(|wanted| wanted == text);
    let mut found: Vec<(&Pipeline, &Job)> = state
        .project(project)
        .pipelines
        .iter()
        .filter(|known| known.sha == commit.id)
        .filter(|known| pipeline.is_none_or(|id| known.id == id))
        .filter(|known| same(&ref_name, &known.ref_name))
        .flat_map(|known| known.jobs.iter().map(move |job| (known, job)))
        .filter(|(_, job)| all || !job.retried)
        .filter(|(_, job)| same(&name, &job.name) && same(&stage, job.stage()))
        .collect();
    found.sort_by_key(|(_, job)| job.id);
    if params.choice("sort", &["asc", "desc"])? == Some("desc") {
        found.reverse();
    }
    paging::page(call, found, |(pipeline, job)| state.status_json(pipeline, job))
}
