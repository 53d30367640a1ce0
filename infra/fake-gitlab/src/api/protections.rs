//! Protected branches, tags and environments.

use serde_json::{Value, json};

use super::access::{DEVELOPER, MAINTAINER};
use super::answer::{Answer, ApiResult, Refusal};
use super::{Call, paging};
use crate::config::{ProtectedEnvironment, Protection};
use crate::model::{ProjectId, State};

pub(crate) fn route(
    state: &mut State,
    call: &Call,
    project: ProjectId,
    path: &[&str],
) -> Option<ApiResult> {
    let (kind, name) = match path {
        [kind] => (*kind, None),
        [kind, name] => (*kind, Some(*name)),
        _ => return None,
    };
    if !matches!(kind, "protected_branches" | "protected_tags" | "protected_environments") {
        return None;
    }
    match (call.method.as_str(), name) {
        ("GET", _) => Some(read(state, call, project, kind, name)),
        ("POST", None) if kind == "protected_branches" => Some(protect(state, call, project)),
        ("DELETE", Some(name)) if kind == "protected_branches" => {
            Some(unprotect(state, call, project, name))
        }
        _ => None,
    }
}

fn read(
    state: &State,
    call: &Call,
    project: ProjectId,
    kind: &str,
    name: Option<&str>,
) -> ApiResult {
    // Reading protections needs more than seeing the project.
    let level = if kind == "protected_environments" { MAINTAINER } else { DEVELOPER };
    state.require(call, project, level)?;
    let options = &state.project(project).options;
    let all: Vec<(String, Value)> = match kind {
        "protected_branches" => rules(state, &options.protected_branches, branch_json),
        "protected_tags" => rules(state, &options.protected_tags, tag_json),
        _ if !state.config.version.is_enterprise() => return Err(Refusal::not_found("")),
        _ => options
            .protected_environments
            .iter()
            .map(|rule| (rule.name.clone(), environment_json(state, rule)))
            .collect(),
    };
    match name {
        None => paging::page(call, all, |(_, body)| body),
        Some(name) => {
            let found = all.into_iter().find(|(known, _)| known == name);
            found.map(|(_, body)| Answer::ok(body)).ok_or_else(|| Refusal::not_found(""))
        }
    }
}

fn rules(
    state: &State,
    rules: &[Protection],
    shape: fn(&State, &Protection) -> Value,
) -> Vec<(String, Value)> {
    rules.iter().map(|rule| (rule.name.clone(), shape(state, rule))).collect()
}

fn level_json(level: Option<u8>) -> Value {
    let (level, text) = match level {
        Some(30) => (30, "Developers + Maintainers"),
        Some(level) => (level, "Maintainers"),
        None => (0, "No one"),
    };
    json!({
        "id": level, "access_level": level, "access_level_description": text,
        "user_id": null, "group_id": null,
    })
}

fn users_json(state: &State, users: &[String]) -> Vec<Value> {
    users
        .iter()
        .filter_map(|name| state.user_named(name))
        .map(|user| {
            json!({
                "id": user.id, "access_level": 40, "user_id": user.id, "group_id": null,
                "access_level_description": user.name,
            })
        })
        .collect()
}

fn branch_json(state: &State, rule: &Protection) -> Value {
    let mut push = vec![level_json(rule.push)];
    push.extend(users_json(state, &rule.push_users));
    json!({
        "id": 1,
        "name": rule.name,
        "push_access_levels": push,
        "merge_access_levels": [level_json(rule.merge)],
        "allow_force_push": rule.allow_force_push,
        "unprotect_access_levels": [],
        "code_owner_approval_required": false,
    })
}

fn tag_json(state: &State, rule: &Protection) -> Value {
    let mut create = vec![level_json(rule.push)];
    create.extend(users_json(state, &rule.push_users));
    json!({ "name": rule.name, "create_access_levels": create })
}

fn environment_json(state: &State, rule: &ProtectedEnvironment) -> Value {
    let mut deploy = users_json(state, &rule.users);
    if rule.level.is_some() || deploy.is_empty() {
        deploy.insert(0, level_json(rule.level));
    }
    json!({
        "name": rule.name,
        "deploy_access_levels": deploy,
        "required_approval_count": 0,
        "approval_rules": [],
    })
}

fn protect(state: &mut State, call: &Call, project: ProjectId) -> ApiResult {
    state.require(call, project, MAINTAINER)?;
    let name = call.params.required("name")?;
    let level = |key: &str| -> Result<Option<u8>, Refusal> {
        match call.params.number(key)? {
            None => Ok(Some(40)),
            Some(0) => Ok(None),
            Some(level) => u8::try_from(level).map(Some).map_err(|_| Refusal::bad_value(key)),
        }
    };
    let rule = Protection {
        push: level("push_access_level")?,
        merge: level("merge_access_level")?,
        allow_force_push: call.params.flag("allow_force_push")?.unwrap_or(false),
        ..Protection::maintainers(name.clone())
    };
    let rules = &mut state.project_mut(project).options.protected_branches;
    if rules.iter().any(|known| known.name == name) {
        let text = format!("Protected branch '{name}' already exists");
        return Err(Refusal::message(409, text));
    }
    rules.push(rule.clone());
    Ok(Answer::created(branch_json(state, &rule)).wrote(format!("protected branch {name}")))
}

fn unprotect(state: &mut State, call: &Call, project: ProjectId, name: &str) -> ApiResult {
    state.require(call, project, MAINTAINER)?;
    let rules = &mut state.project_mut(project).options.protected_branches;
    let before = rules.len();
    rules.retain(|rule| rule.name != name);
    if rules.len() == before {
        return Err(Refusal::not_found(""));
    }
    Ok(Answer::no_content().wrote(format!("unprotected branch {name}")))
}
