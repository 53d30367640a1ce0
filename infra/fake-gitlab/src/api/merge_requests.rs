//! Merge requests: list, read, open, change, merge.

use super::access::DEVELOPER;
use super::answer::{Answer, ApiResult, Refusal};
use super::{Call, paging};
use crate::model::{MergeRequest, ProjectId, State, UserId};
use crate::service::merge::MergeOptions;
use crate::service::merge_requests::{MergeRequestUpdate, NewMergeRequest};

pub(crate) fn route(
    state: &mut State,
    call: &Call,
    project: ProjectId,
    path: &[&str],
) -> Option<ApiResult> {
    let ["merge_requests", rest @ ..] = path else { return None };
    match (call.method.as_str(), rest) {
        ("GET", []) => Some(list(state, call, project)),
        ("POST", []) => Some(create(state, call, project)),
        ("GET", [iid]) => Some(get(state, call, project, iid)),
        ("PUT", [iid]) => Some(update(state, call, project, iid)),
        ("PUT", [iid, "merge"]) => Some(merge(state, call, project, iid)),
        ("POST", [iid, "cancel_merge_when_pipeline_succeeds"]) => {
            Some(cancel_auto_merge(state, call, project, iid))
        }
        ("POST", [iid, "approve"]) => Some(approve(state, call, project, iid)),
        _ => None,
    }
}

/// The merge request of a path part.
pub(crate) fn find<'a>(
    state: &'a State,
    call: &Call,
    project: ProjectId,
    iid: &str,
) -> Result<&'a MergeRequest, Refusal> {
    state.require_code(call, project)?;
    let iid = iid.parse().map_err(|_| Refusal::invalid("merge_request_iid"))?;
    let found = state.project(project).merge_request(iid);
    found.ok_or_else(|| Refusal::not_found(""))
}

fn list(state: &State, call: &Call, project: ProjectId) -> ApiResult {
    state.require_code(call, project)?;
    let params = &call.params;
    let wanted = params.choice("state", &["opened", "closed", "merged", "locked", "all"])?;
    let wanted = wanted.filter(|wanted| *wanted != "all");
    let iids = params.list("iids");
    let (after, before) = (params.time("updated_after")?, params.time("updated_before")?);
    let created = params.time("created_after")?;
    let same = |key: &str, text: &str| params.filled(key).is_none_or(|wanted| wanted == text);
    let mut all: Vec<&MergeRequest> = state
        .project(project)
        .merge_requests
        .iter()
        .filter(|mr| wanted.is_none_or(|wanted| wanted == mr.state.name()))
        .filter(|mr| iids.is_empty() || iids.contains(&mr.iid.to_string()))
        .filter(|mr| same("source_branch", &mr.source_branch))
        .filter(|mr| same("target_branch", &mr.target_branch))
        .filter(|mr| after.is_none_or(|after| mr.updated_at >= after))
        .filter(|mr| before.is_none_or(|before| mr.updated_at <= before))
        .filter(|mr| created.is_none_or(|created| mr.created_at >= created))
        .collect();
    match params.choice("order_by", &["created_at", "updated_at", "title", "merged_at"])? {
        Some("updated_at") => all.sort_by_key(|mr| (mr.updated_at, mr.id)),
        Some("title") => all.sort_by(|a, b| a.title.cmp(&b.title)),
        _ => all.sort_by_key(|mr| mr.id),
    }
    if params.choice("sort", &["asc", "desc"])? != Some("asc") {
        all.reverse();
    }
    paging::page(call, all, |mr| state.merge_request_json(mr, call, false))
}

fn get(state: &State, call: &Call, project: ProjectId, iid: &str) -> ApiResult {
    let mr = find(state, call, project, iid)?;
    Ok(Answer::ok(state.merge_request_json(mr, call, true)))
}

fn create(state: &mut State, call: &Call, project: ProjectId) -> ApiResult {
    let user = state.require(call, project, DEVELOPER)?;
    let params = &call.params;
    // The address names the source project, `target_project_id` the target.
    let target = params.number("target_project_id")?.map_or(project, ProjectId);
    let visible = state.projects.get(&target);
    if !visible.is_some_and(|found| state.can_see(found, call.auth.user)) {
        return Err(Refusal::not_found("Project"));
    }
    let new = NewMergeRequest {
        source_project: Some(project),
        source_branch: params.required("source_branch")?,
        target_branch: params.required("target_branch")?,
        title: params.filled("title").ok_or_else(|| Refusal::missing("title"))?,
        description: params.text("description").unwrap_or_default(),
        labels: params.list("labels"),
        squash: params.flag("squash")?.unwrap_or(false),
        remove_source_branch: params.flag("remove_source_branch")?.unwrap_or(false),
    };
    let iid = state.open_merge_request(target, user, new)?;
    let mr = state.project(target).merge_request(iid).ok_or_else(|| Refusal::not_found(""))?;
    let body = state.merge_request_json(mr, call, true);
    Ok(Answer::created(body).wrote(format!("merge request !{iid}")))
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

fn update(state: &mut State, call: &Call, project: ProjectId, iid: &str) -> ApiResult {
    let (user, iid) = may_change(state, call, project, iid)?;
    let params = &call.params;
    let mr = state.merge_request_mut(project, iid).clone();
    let mut labels = params.has("labels").then(|| params.list("labels"));
    if params.has("add_labels") || params.has("remove_labels") {
        let gone = params.list("remove_labels");
        let mut all: Vec<String> =
            mr.labels.iter().filter(|label| !gone.contains(label)).cloned().collect();
        all.extend(params.list("add_labels"));
        labels = Some(all);
    }
    let update = MergeRequestUpdate {
        title: params.filled("title"),
        description: params.text("description"),
        labels,
        target_branch: params.filled("target_branch"),
        state_event: params.choice("state_event", &["close", "reopen"])?.map(str::to_owned),
        squash: params.flag("squash")?,
        remove_source_branch: params.flag("remove_source_branch")?,
    };
    state.update_merge_request(project, iid, user, update)?;
    let mr = state.merge_request_mut(project, iid).clone();
    let body = state.merge_request_json(&mr, call, true);
    Ok(Answer::ok(body).wrote(format!("changed merge request !{iid}")))
}

fn merge(state: &mut State, call: &Call, project: ProjectId, iid: &str) -> ApiResult {
    let user = call.user()?;
    let mr = find(state, call, project, iid)?.clone();
    let found = state.project(project);
    if !found.branch_rights(state.user(user), &mr.target_branch).merge {
        return Err(Refusal::unauthorized());
    }
    let params = &call.params;
    if let Some(sha) = params.filled("sha")
        && mr.head().map(|head| head.to_string()).as_deref() != Some(&sha)
    {
        let text = format!(
            "SHA does not match HEAD of source branch: {}",
            mr.head().map(|head| head.to_string()).unwrap_or_default()
        );
        return Err(Refusal::message(409, text));
    }
    let options = MergeOptions {
        squash: params.flag("squash")?.unwrap_or(false),
        remove_source_branch: params.flag("should_remove_source_branch")?.unwrap_or(false),
        message: params.filled("merge_commit_message"),
    };
    let auto = params.flag("merge_when_pipeline_succeeds")?.unwrap_or(false)
        || params.flag("auto_merge")?.unwrap_or(false);
    if auto {
        state.set_auto_merge(project, mr.iid, user, &options)?;
    } else {
        state.merge_now(project, mr.iid, user, &options)?;
    }
    let mr = state.merge_request_mut(project, mr.iid).clone();
    let body = state.merge_request_json(&mr, call, true);
    Ok(Answer::ok(body).wrote(format!("merged !{}", mr.iid)))
}

fn cancel_auto_merge(state: &mut State, call: &Call, project: ProjectId, iid: &str) -> ApiResult {
    let (_, iid) = may_change(state, call, project, iid)?;
    let mr = state.merge_request_mut(project, iid);
    if mr.auto_merge.take().is_none() {
        return Err(Refusal::message(406, "Can't cancel the automatic merge"));
    }
    let mr = mr.clone();
    let body = state.merge_request_json(&mr, call, true);
    Ok(Answer::created(body).wrote(format!("canceled the auto-merge of !{iid}")))
}

fn approve(state: &mut State, call: &Call, project: ProjectId, iid: &str) -> ApiResult {
    let user = state.require(call, project, DEVELOPER)?;
    let iid = find(state, call, project, iid)?.iid;
    if state.merge_request_mut(project, iid).approvals.contains(&user) {
        return Err(Refusal::unauthorized());
    }
    state.approve(project, iid, user);
    let mr = state.merge_request_mut(project, iid).clone();
    let body = state.merge_request_json(&mr, call, true);
    Ok(Answer::created(body).wrote(format!("approved !{iid}")))
}
