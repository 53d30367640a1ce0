//! Merge requests: list, read, open, change, merge, and what belongs to one.

use serde_json::{Value, json};

use super::access::DEVELOPER;
use super::answer::{Answer, ApiResult, Refusal};
use super::shapes::api_time;
use super::{Call, paging};
use crate::model::{MergeRequest, Pipeline, ProjectId, State, UserId};
use crate::service::merge_requests as parts;
use crate::service::merge_requests::{MergeRequestUpdate, NewMergeRequest};

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

pub(crate) fn create(state: &mut State, call: &Call, project: ProjectId) -> ApiResult {
    let user = state.require(call, project, DEVELOPER)?;
    let params = &call.params;
    // The address names the source project, `target_project_id` the target.
    let target = params.number("target_project_id")?.map_or(project, ProjectId);
    let visible = state.projects.get(&target);
    if !visible.is_some_and(|found| state.can_see(found, call.caller())) {
        return Err(Refusal::not_found("Project"));
    }
    params.check_texts(&["description"])?;
    let new = NewMergeRequest {
        source_project: Some(project),
        source_branch: params.required("source_branch")?,
        target_branch: params.required("target_branch")?,
        title: params.filled("title").ok_or_else(|| Refusal::missing("title"))?,
        description: params.text("description").unwrap_or_default(),
        squash: params.flag("squash")?.unwrap_or(false),
        remove_source_branch: params.flag("remove_source_branch")?.unwrap_or(false),
    };
    let iid = state.open_merge_request(target, user, new)?;
    Ok(Answer::created(shown(state, call, target, iid)).wrote(format!("merge request !{iid}")))
}

/// A merge request as it is after a write.
fn shown(state: &mut State, call: &Call, project: ProjectId, iid: u64) -> Value {
    let mr = state.merge_request_mut(project, iid).clone();
    state.whole_merge_request_json(&mr, call)
}

/// The author may change a merge request, and every developer.
fn may_change(
    state: &State,
    call: &Call,
    project: ProjectId,
    iid: &str,
) -> Result<(UserId, u64), Refusal> {
    let user = call.user()?;
    let mr = find(state, call, project, iid)?;
    if mr.author != user {
        state.require(call, project, DEVELOPER)?;
    }
    Ok((user, mr.iid))
}

pub(crate) fn update(state: &mut State, call: &Call, project: ProjectId, iid: &str) -> ApiResult {
    let (user, iid) = may_change(state, call, project, iid)?;
    let params = &call.params;
    params.check_texts(&["title", "description", "target_branch"])?;
    let event = params.choice("state_event", &["close", "reopen"])?;
    let (squash, remove) = (params.flag("squash")?, params.flag("remove_source_branch")?);
    let update = MergeRequestUpdate {
        title: params.filled("title"),
        description: params.text("description"),
        target_branch: params.filled("target_branch"),
    };
    state.update_merge_request(project, iid, user, update)?;
    let mr = state.merge_request_mut(project, iid);
    mr.squash = squash.unwrap_or(mr.squash);
    mr.remove_source_branch = remove.unwrap_or(mr.remove_source_branch);
    if let Some(event) = event {
        state.change_state(project, iid, user, event);
    }
    let body = shown(state, call, project, iid);
    Ok(Answer::ok(body).wrote(format!("changed merge request !{iid}")))
}

pub(crate) fn merge(state: &mut State, call: &Call, project: ProjectId, iid: &str) -> ApiResult {
    let user = call.user()?;
    let mr = find(state, call, project, iid)?;
    let (iid, head) = (mr.iid, mr.diff.head.to_string());
    let found = state.project(project);
    let rights = state.branch_rights(found, state.user(user), &mr.target_branch);
    if !rights.merge {
        return Err(Refusal::unauthorized());
    }
    let params = &call.params;
    if params.filled("sha").is_some_and(|sha| sha != head) {
        return Err(wrong_head(&head));
    }
    let auto = [params.flag("merge_when_pipeline_succeeds")?, params.flag("auto_merge")?];
    let (squash, remove) = (params.flag("squash")?, params.flag("should_remove_source_branch")?);
    let message = params.filled("merge_commit_message");
    let mr = state.merge_request_mut(project, iid);
    mr.squash = squash.unwrap_or(mr.squash);
    mr.remove_source_branch = remove.unwrap_or(mr.remove_source_branch);
    match auto.contains(&Some(true)) {
        true => state.set_auto_merge(project, iid, user, message.as_deref())?,
        false => state.merge_now(project, iid, user, message.as_deref())?,
    }
    Ok(Answer::ok(shown(state, call, project, iid)).wrote(format!("merged !{iid}")))
}

pub(crate) fn cancel_auto_merge(
    state: &mut State,
    call: &Call,
    project: ProjectId,
    iid: &str,
) -> ApiResult {
    let (_, iid) = may_change(state, call, project, iid)?;
    if state.merge_request_mut(project, iid).auto_merge.take().is_none() {
        return Err(Refusal::message(406, "Can't cancel the automatic merge"));
    }
    let body = shown(state, call, project, iid);
    Ok(Answer::created(body).wrote(format!("canceled the auto-merge of !{iid}")))
}

pub(crate) fn approvals(state: &State, call: &Call, project: ProjectId, iid: &str) -> ApiResult {
    Ok(Answer::ok(approvals_json(state, call, find(state, call, project, iid)?)))
}

/// The Enterprise Edition counts those that it wants; the other one is content with anybody's.
fn approvals_json(state: &State, call: &Call, mr: &MergeRequest) -> Value {
    let given = mr
        .approvals
        .iter()
        .map(|(user, at)| json!({ "user": state.user_json(*user), "approved_at": api_time(*at) }));
    let user = call.caller();
    let mut body = json!({
        "approved": !mr.approvals.is_empty(),
        "approved_by": given.collect::<Value>(),
        "user_has_approved": mr.approvals.iter().any(|(who, _)| Some(*who) == user),
        "user_can_approve": user.is_some_and(|user| state.may_approve(mr, user)),
    });
    if state.config.version.is_enterprise() {
        let required = state.project(mr.target_project).options.approvals_required;
        let left = required.saturating_sub(mr.approvals.len());
        body["id"] = json!(mr.id);
        body["iid"] = json!(mr.iid);
        body["project_id"] = json!(mr.target_project);
        body["approved"] = json!(left == 0);
        body["approvals_required"] = json!(required);
        body["approvals_left"] = json!(left);
    }
    body
}

pub(crate) fn approve(state: &mut State, call: &Call, project: ProjectId, iid: &str) -> ApiResult {
    let user = state.require(call, project, DEVELOPER)?;
    let mr = find(state, call, project, iid)?;
    let (iid, head) = (mr.iid, mr.diff.head.to_string());
    if call.params.filled("sha").is_some_and(|sha| sha != head) {
        return Err(wrong_head(&head));
    }
    state.approve(project, iid, user)?;
    let body = approvals_json(state, call, state.merge_request(project, iid)?);
    Ok(Answer::created(body).wrote(format!("approved !{iid}")))
}

fn wrong_head(head: &str) -> Refusal {
    Refusal::message(409, format!("SHA does not match HEAD of source branch: {head}"))
}

/// The changed files, without those over the limit: they are simply not there.
pub(crate) fn diffs(state: &State, call: &Call, project: ProjectId, iid: &str) -> ApiResult {
    let mr = find(state, call, project, iid)?;
    let found = state.project(project);
    let mut changes = parts::changes(found, mr);
    changes.truncate(state.config.limits.diff_files);
    paging::page(call, changes, |change| found.repo.change_json(&change))
}

pub(crate) fn changes(state: &State, call: &Call, project: ProjectId, iid: &str) -> ApiResult {
    let mr = find(state, call, project, iid)?;
    let (found, limit) = (state.project(project), state.config.limits.diff_files);
    let all = parts::changes(found, mr);
    let mut body = state.whole_merge_request_json(mr, call);
    body["changes"] = all.iter().take(limit).map(|change| found.repo.change_json(change)).collect();
    body["overflow"] = json!(all.len() > limit);
    Ok(Answer::ok(body))
}

pub(crate) fn commits(state: &State, call: &Call, project: ProjectId, iid: &str) -> ApiResult {
    let mr = find(state, call, project, iid)?;
    let found = state.project(project);
    paging::page(call, parts::commits(found, mr), |commit| state.commit_json(found, &commit))
}

pub(crate) fn pipelines(state: &State, call: &Call, project: ProjectId, iid: &str) -> ApiResult {
    let mr = find(state, call, project, iid)?;
    let all: Vec<&Pipeline> =
        state.candidates(mr).filter(|pipeline| pipeline.is_of(&mr.heads)).collect();
    // They run where the source branch is.
    let source = state.projects.get(&mr.source_project);
    paging::page(call, all, |pipeline| {
        json!(source.map(|source| state.pipeline_json(source, pipeline)))
    })
}
