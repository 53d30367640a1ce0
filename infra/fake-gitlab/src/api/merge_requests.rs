//! Merge requests: list and read.

use super::answer::{Answer, ApiResult, Refusal};
use super::{Call, paging};
use crate::model::{MergeRequest, ProjectId, State};

/// The merge request of a path part.
pub(crate) fn find<'a>(
    state: &'a State,
    call: &Call,
    project: ProjectId,
    iid: &str,
) -> Result<&'a MergeRequest, Refusal> {
    let found = state.require_code(call, project)?;
    let iid = iid.parse().map_err(|_| Refusal::invalid("merge_request_iid"))?;
    found.merge_request(iid).ok_or_else(|| Refusal::not_found(""))
}

pub(crate) fn list(state: &State, call: &Call, project: ProjectId) -> ApiResult {
    let found = state.require_code(call, project)?;
    let params = &call.params;
    let wanted = params.choice("state", &["opened", "closed", "merged", "locked", "all"])?;
    let wanted = wanted.filter(|wanted| *wanted != "all");
    let iids = params.list("iids");
    let after = params.time("updated_after")?;
    let mut all: Vec<&MergeRequest> = found
        .merge_requests
        .iter()
        .filter(|mr| wanted.is_none_or(|wanted| wanted == mr.state.name()))
        .filter(|mr| iids.is_empty() || iids.contains(&mr.iid.to_string()))
        .filter(|mr| params.fits("source_branch", &mr.source_branch))
        .filter(|mr| params.fits("target_branch", &mr.target_branch))
        .filter(|mr| after.is_none_or(|after| mr.updated_at >= after))
        .collect();
    match params.choice("order_by", &["created_at", "updated_at", "title", "merged_at"])? {
        Some("updated_at") => all.sort_by_key(|mr| (mr.updated_at, mr.id)),
        Some("title") => all.sort_by_key(|mr| &mr.title),
        _ => all.sort_by_key(|mr| mr.id),
    }
    paging::sort(call, &mut all, "desc")?;
    paging::page(call, all, |mr| state.merge_request_json(mr))
}

pub(crate) fn get(state: &State, call: &Call, project: ProjectId, iid: &str) -> ApiResult {
    let mr = find(state, call, project, iid)?;
    Ok(Answer::ok(state.whole_merge_request_json(mr, call)))
}
