//! What belongs to a merge request: changed files, commits, pipelines, approvals.

use serde_json::{Value, json};

use super::answer::{Answer, ApiResult, Refusal};
use super::merge_requests::find;
use super::{Call, paging};
use crate::model::{ProjectId, State};

pub(crate) fn route(
    state: &mut State,
    call: &Call,
    project: ProjectId,
    path: &[&str],
) -> Option<ApiResult> {
    let ["merge_requests", iid, part] = path else { return None };
    if call.method != "GET" {
        return None;
    }
    match *part {
        "diffs" if state.config.version.at_least(15, 7) => Some(diffs(state, call, project, iid)),
        "diffs" => Some(Err(Refusal::too_old())),
        "changes" => Some(changes(state, call, project, iid)),
        "commits" => Some(commits(state, call, project, iid)),
        "pipelines" => Some(pipelines(state, call, project, iid)),
        "approvals" => Some(approvals(state, call, project, iid)),
        _ => None,
    }
}

/// The changed files, without those over the limit: they are simply not there.
fn diffs(state: &State, call: &Call, project: ProjectId, iid: &str) -> ApiResult {
    let mr = find(state, call, project, iid)?;
    let mut changes = state.merge_request_changes(mr);
    changes.truncate(state.config.limits.diff_files);
    let target = state.project(project);
    paging::page(call, changes, |change| {
        let mut body = state.change_json(target, &change);
        if body["too_large"].is_null() {
            body["too_large"] = json!(false);
            body["collapsed"] = json!(false);
        }
        body
    })
}

fn changes(state: &State, call: &Call, project: ProjectId, iid: &str) -> ApiResult {
    let mr = find(state, call, project, iid)?;
    let all = state.merge_request_changes(mr);
    let (limit, target) = (state.config.limits.diff_files, state.project(project));
    let mut body = state.merge_request_json(mr, call, true);
    body["changes"] =
        all.iter().take(limit).map(|change| state.change_json(target, change)).collect();
    body["overflow"] = json!(all.len() > limit);
    Ok(Answer::ok(body))
}

fn commits(state: &State, call: &Call, project: ProjectId, iid: &str) -> ApiResult {
    let mr = find(state, call, project, iid)?;
    let target = state.project(project);
    let commits = state.merge_request_commits(mr);
    paging::page(call, commits, |commit| state.commit_json(target, &commit))
}

fn pipelines(state: &State, call: &Call, project: ProjectId, iid: &str) -> ApiResult {
    let mr = find(state, call, project, iid)?;
    let of_mr = |sha| mr.heads.contains(&sha);
    let all: Vec<_> = state
        .candidates(mr)
        .filter(|pipeline| {
            pipeline.merge_request.is_some()
                || of_mr(pipeline.sha)
                || pipeline.source_sha.is_some_and(of_mr)
        })
        .collect();
    paging::page(call, all, |pipeline| {
        let owner = state.owner_of(pipeline.id).unwrap_or(project);
        state.pipeline_json(state.project(owner), pipeline)
    })
}

fn approvals(state: &State, call: &Call, project: ProjectId, iid: &str) -> ApiResult {
    let mr = find(state, call, project, iid)?;
    let by: Vec<Value> =
        mr.approvals.iter().map(|user| json!({ "user": state.user_json(*user) })).collect();
    Ok(Answer::ok(json!({
        "id": mr.id,
        "iid": mr.iid,
        "project_id": project,
        "approved": true,
        "approvals_required": 0,
        "approvals_left": 0,
        "approved_by": by,
        "user_has_approved": call.auth.user.is_some_and(|user| mr.approvals.contains(&user)),
    })))
}
