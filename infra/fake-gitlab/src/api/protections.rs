//! Protected branches and environments.

use serde_json::{Value, json};

use super::access::{DEVELOPER, MAINTAINER};
use super::answer::{ApiResult, Refusal};
use super::{Call, paging};
use crate::config::{ProtectedEnvironment, Protection};
use crate::model::{ProjectId, State};

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

pub(crate) fn environments(state: &State, call: &Call, project: ProjectId) -> ApiResult {
    state.require(call, project, MAINTAINER)?;
    if !state.config.version.is_enterprise() {
        return Err(Refusal::not_found(""));
    }
    let rules = state.project(project).options.protected_environments.iter().collect();
    paging::page(call, rules, |rule: &ProtectedEnvironment| {
        let users = rule.users.iter().filter_map(|name| state.user_named(name));
        let mut deploy: Vec<Value> = users
            .map(|user| json!({ "access_level": 40, "user_id": user.id, "group_id": null }))
            .collect();
        if rule.level.is_some() || deploy.is_empty() {
            deploy.insert(0, level_json(rule.level));
        }
        json!({ "name": rule.name, "deploy_access_levels": deploy })
    })
}

/// A role that is enough; 0 is nobody.
fn level_json(level: Option<u8>) -> Value {
    json!({ "access_level": level.unwrap_or(0), "user_id": null, "group_id": null })
}
