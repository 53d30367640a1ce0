//! Projects and their members.

use serde_json::{Value, json};

use super::answer::{Answer, ApiResult, Refusal};
use super::{Call, paging};
use crate::config::CiMode;
use crate::model::{Project, ProjectId, State, UserId};

pub(crate) fn list(state: &State, call: &Call) -> ApiResult {
    let params = &call.params;
    let search = params.filled("search").map(|text| text.to_lowercase());
    let membership = params.flag("membership")?.unwrap_or(false);
    let namespaces = params.flag("search_namespaces")?.unwrap_or(false);
    let mut found: Vec<&Project> = state
        .projects
        .values()
        .filter(|project| state.can_see(project, call.caller()))
        .filter(|project| {
            let text = if namespaces { &project.path } else { project.name() };
            search.as_deref().is_none_or(|wanted| text.to_lowercase().contains(wanted))
        })
        .filter(|project| {
            !membership || call.caller().is_some_and(|user| project.members.contains_key(&user))
        })
        .collect();
    let orders = ["id", "name", "path", "created_at", "updated_at", "last_activity_at"];
    match params.choice("order_by", &orders)? {
        Some("name" | "path") => found.sort_by_key(|project| &project.path),
        Some("last_activity_at" | "updated_at") => {
            found.sort_by_key(|project| project.last_activity_at);
        }
        _ => {}
    }
    paging::sort(call, &mut found, "desc")?;
    paging::page(call, found, |project| project_json(state, call, project))
}

pub(crate) fn get(state: &State, call: &Call, project: ProjectId) -> ApiResult {
    Ok(Answer::ok(project_json(state, call, state.project(project))))
}

fn project_json(state: &State, call: &Call, project: &Project) -> Value {
    let options = &project.options;
    let level = call.caller().and_then(|user| project.members.get(&user));
    let mut body = json!({
        "id": project.id,
        "name": project.name(),
        "path_with_namespace": project.path,
        "default_branch": project.repo.branch(project.default_branch())
            .map(|_| project.default_branch()),
        "web_url": state.project_url(project),
        "visibility": options.visibility.name(),
        "namespace": { "kind": "group", "full_path": project.namespace() },
        "builds_access_level": if options.builds_enabled { "enabled" } else { "disabled" },
        "ci_config_path": options.ci_config_path,
        "only_allow_merge_if_pipeline_succeeds": options.pipelines_must_succeed,
        "merge_pipelines_enabled": options.ci.mode == CiMode::MergedResults,
        "permissions": {
            "project_access": level.map(|level| json!({ "access_level": level })),
            "group_access": null,
        },
    });
    if let Some(parent) = project.forked_from.and_then(|id| state.projects.get(&id)) {
        body["forked_from_project"] =
            json!({ "id": parent.id, "path_with_namespace": parent.path });
    }
    body
}

pub(crate) fn member(state: &State, call: &Call, project: ProjectId, user: &str) -> ApiResult {
    call.user()?;
    let id = user.parse().map(UserId).map_err(|_| Refusal::invalid("user_id"))?;
    let level = state.project(project).members.get(&id).ok_or_else(|| Refusal::not_found(""))?;
    let mut body = state.user_json(id);
    body["access_level"] = json!(level);
    Ok(Answer::ok(body))
}
