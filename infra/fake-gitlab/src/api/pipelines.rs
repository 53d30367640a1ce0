//! Pipelines.

use super::answer::{ApiResult, Refusal};
use super::{Call, paging};
use crate::model::{Pipeline, ProjectId, State};

/// Pipelines are hidden where CI/CD is disabled, and from visitors of private projects.
pub(crate) fn list(state: &State, call: &Call, project: ProjectId) -> ApiResult {
    let found = state.require_code(call, project)?;
    if !found.options.builds_enabled {
        return Err(Refusal::forbidden());
    }
    let params = &call.params;
    let mut all: Vec<&Pipeline> = found
        .pipelines
        .iter()
        .filter(|pipeline| params.fits("sha", &pipeline.sha.to_string()))
        .filter(|pipeline| params.fits("ref", &pipeline.ref_name))
        .collect();
    params.choice("order_by", &["id", "status", "ref", "updated_at", "user_id"])?;
    paging::sort(call, &mut all, "desc")?;
    paging::page(call, all, |pipeline| state.pipeline_json(found, pipeline))
}
