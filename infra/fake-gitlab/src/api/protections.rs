//! Protected branches and environments.

use serde_json::{Value, json};

use super::access::{DEVELOPER, MAINTAINER};
use super::answer::{Answer, ApiResult, Refusal};
use super::{Call, paging};
use crate::config::{Allowed, ProtectedEnvironment, Protection};
use crate::model::{GroupId, ProjectId, State, UserId};

pub(crate) fn branches(state: &State, call: &Call, project: ProjectId) -> ApiResult {
    // Reading protections needs more than seeing the project.
    state.require(call, project, DEVELOPER)?;
    let rules: Vec<&Protection> =
        state.project(project).options.protected_branches.iter().collect();
    paging::page(call, rules, |rule| {
        json!({
            "name": rule.name,
            "push_access_levels": [level_json(rule.push)],
            "merge_access_levels": [level_json(rule.merge)],
        })
    })
}

/// A role that is enough; 0 is nobody.
fn level_json(level: Option<u8>) -> Value {
    json!({ "access_level": level.unwrap_or(0), "user_id": null, "group_id": null })
}

/// Only maintainers read and change them, and no edition but the Enterprise one has them.
fn require(state: &State, call: &Call, project: ProjectId) -> Result<(), Refusal> {
    state.require(call, project, MAINTAINER)?;
    match state.config.version.is_enterprise() {
        true => Ok(()),
        false => Err(Refusal::not_found("")),
    }
}

pub(crate) fn environments(state: &State, call: &Call, project: ProjectId) -> ApiResult {
    require(state, call, project)?;
    let mut rules: Vec<&ProtectedEnvironment> =
        state.project(project).options.protected_environments.iter().collect();
    rules.sort_by_key(|rule| &rule.name);
    paging::page(call, rules, |rule| environment_json(state, rule))
}

/// The protection of an environment: what its name is, and where in the list it is.
fn find(state: &State, project: ProjectId, name: &str) -> Result<usize, Refusal> {
    let rules = &state.project(project).options.protected_environments;
    let at = rules.iter().position(|rule| rule.name == name);
    at.ok_or_else(|| Refusal::message(404, "404 Not found"))
}

pub(crate) fn environment(state: &State, call: &Call, project: ProjectId, name: &str) -> ApiResult {
    require(state, call, project)?;
    let at = find(state, project, name)?;
    let rule = &state.project(project).options.protected_environments[at];
    Ok(Answer::ok(environment_json(state, rule)))
}

pub(crate) fn protect(state: &mut State, call: &Call, project: ProjectId) -> ApiResult {
    require(state, call, project)?;
    let name = call.params.required("name")?;
    let required_approvals = call.params.number("required_approval_count")?.unwrap_or(0);
    let Some(Value::Array(deploy)) = call.params.get("deploy_access_levels") else {
        return Err(Refusal::missing("deploy_access_levels"));
    };
    let deploy = deploy.iter().map(|entry| read(entry, "deploy_access_levels"));
    let mut deploy: Vec<Allowed> = deploy.collect::<Result<_, _>>()?;
    let approvals = match call.params.get("approval_rules") {
        Some(Value::Array(rules)) => rules.as_slice(),
        _ => &[],
    };
    let count = |entry: &Value| entry["required_approvals"].as_u64().unwrap_or(1);
    let approvals = approvals
        .iter()
        .map(|entry| read(entry, "approval_rules").map(|allowed| (allowed, count(entry))));
    let mut approval_rules: Vec<(Allowed, u64)> = approvals.collect::<Result<_, _>>()?;
    if find(state, project, &name).is_ok() {
        let text = format!("Protected environment '{name}' already exists");
        return Err(Refusal::message(409, text));
    }
    // GitLab leaves out, without a word, who has no access to the project.
    let found = state.project(project);
    let known = |allowed: &Allowed| match allowed {
        Allowed::Role(_) => true,
        Allowed::User(user) => state.membership(found, *user) > 0,
        Allowed::Group { id, .. } => state.groups.contains_key(id),
    };
    deploy.retain(known);
    approval_rules.retain(|(allowed, _)| known(allowed));
    if deploy.is_empty() {
        let text = "Deploy access levels is too short (minimum is 1 character)";
        return Err(Refusal::message(422, json!([text])));
    }
    let rule = ProtectedEnvironment { name, deploy, required_approvals, approval_rules };
    let (body, line) =
        (environment_json(state, &rule), format!("protected environment {}", rule.name));
    state.project_mut(project).options.protected_environments.push(rule);
    Ok(Answer::created(body).wrote(line))
}

pub(crate) fn unprotect(
    state: &mut State,
    call: &Call,
    project: ProjectId,
    name: &str,
) -> ApiResult {
    require(state, call, project)?;
    let at = find(state, project, name)?;
    state.project_mut(project).options.protected_environments.remove(at);
    Ok(Answer::no_content().wrote(format!("unprotected environment {name}")))
}

/// Somebody as a request names them: by one of three keys.
fn read(entry: &Value, list: &str) -> Result<Allowed, Refusal> {
    let number = |key: &str| entry[key].as_u64();
    match (number("user_id"), number("group_id"), number("access_level")) {
        (Some(user), ..) => Ok(Allowed::User(UserId(user))),
        (_, Some(group), _) => Ok(Allowed::Group {
            id: GroupId(group),
            inherited: number("group_inheritance_type") == Some(1),
        }),
        (.., Some(level @ (30 | 40 | 60))) => Ok(Allowed::Role(level as u8)),
        _ => Err(Refusal::bad_value(&format!("{list}[0][access_level]"))),
    }
}

fn environment_json(state: &State, rule: &ProtectedEnvironment) -> Value {
    let deploy = rule.deploy.iter().zip(1..).map(|(allowed, id)| {
        let mut body = allowed_json(state, *allowed, id);
        // It stands beside users and groups too, without meaning.
        if body["access_level"].is_null() {
            body["access_level"] = json!(MAINTAINER);
        }
        body
    });
    let approvals = rule.approval_rules.iter().zip(1..).map(|((allowed, count), id)| {
        let mut body = allowed_json(state, *allowed, id);
        body["required_approvals"] = json!(count);
        body
    });
    json!({
        "name": rule.name,
        "deploy_access_levels": deploy.collect::<Value>(),
        "required_approval_count": rule.required_approvals,
        "approval_rules": approvals.collect::<Value>(),
    })
}

fn allowed_json(state: &State, allowed: Allowed, id: u64) -> Value {
    let (level, user, group, inherited) = match allowed {
        Allowed::Role(level) => (Some(level), None, None, false),
        Allowed::User(user) => (None, Some(user), None, false),
        Allowed::Group { id, inherited } => (None, None, Some(id), inherited),
    };
    let description = match level {
        Some(0) => "No one".to_owned(),
        Some(30) => "Developers + Maintainers".to_owned(),
        Some(40) => "Maintainers".to_owned(),
        Some(_) => "Administrators".to_owned(),
        None => {
            let user = user.and_then(|user| state.users.get(&user)).map(|user| &user.name);
            let group = group.and_then(|group| state.groups.get(&group)).map(|group| &group.path);
            user.or(group).cloned().unwrap_or_default()
        }
    };
    json!({
        "id": id,
        "access_level": level,
        "access_level_description": description,
        "user_id": user,
        "group_id": group,
        "group_inheritance_type": u8::from(inherited),
    })
}
