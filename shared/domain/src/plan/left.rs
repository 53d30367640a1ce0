//! What a plan that destroys everything leaves where it is, read from its JSON.

use super::{PlanError, json::Json, show::clip};
use crate::protocol::LeftBehind;
use serde::Deserialize;
use std::collections::BTreeSet;

/// Addresses and ids are cut beyond this, in characters.
const TEXT_CHARS: usize = 300;

#[derive(Deserialize)]
struct Plan {
    prior_state: Option<State>,
    #[serde(default)]
    resource_changes: Vec<Planned>,
}

#[derive(Deserialize)]
struct State {
    values: Option<Values>,
}

#[derive(Deserialize)]
struct Values {
    #[serde(default)]
    root_module: Module,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Module {
    resources: Vec<Resource>,
    child_modules: Vec<Module>,
}

#[derive(Deserialize)]
struct Resource {
    address: String,
    mode: String,
    deposed_key: Option<String>,
    #[serde(default)]
    values: Json,
    #[serde(default)]
    sensitive_values: Json,
}

#[derive(Deserialize)]
struct Planned {
    address: String,
    previous_address: Option<String>,
    deposed: Option<String>,
    change: Actions,
}

#[derive(Deserialize)]
struct Actions {
    #[serde(default)]
    actions: Vec<String>,
}

/// The objects that will still be there when a plan made with `-destroy` has been applied: those
/// that it forgets, and those that it does not speak of. Texts are passed through `mask`.
///
/// # Errors
/// When it is not the JSON of a plan.
pub fn left_by_destroy(
    plan: &[u8],
    mask: &dyn Fn(&str) -> String,
) -> Result<Vec<LeftBehind>, PlanError> {
    let plan: Plan = serde_json::from_slice(plan).map_err(PlanError::NotAPlan)?;
    let destroyed: BTreeSet<_> = plan
        .resource_changes
        .iter()
        .filter(|planned| planned.change.actions.iter().any(|action| action == "delete"))
        .flat_map(|planned| {
            let before = planned.previous_address.as_ref();
            [Some(&planned.address), before].into_iter().flatten().map(|a| (a, &planned.deposed))
        })
        .collect();
    let mut left = Vec::new();
    let mut modules: Vec<Module> = plan
        .prior_state
        .and_then(|state| state.values)
        .map(|values| values.root_module)
        .into_iter()
        .collect();
    while let Some(module) = modules.pop() {
        for resource in module.resources {
            let is_there = resource.mode == "managed"
                && !destroyed.contains(&(&resource.address, &resource.deposed_key));
            if is_there {
                left.push(LeftBehind {
                    address: clip(&mask(&resource.address), TEXT_CHARS).0,
                    id: resource.id().map(|id| clip(&mask(id), TEXT_CHARS).0),
                });
            }
        }
        modules.extend(module.child_modules);
    }
    left.sort();
    Ok(left)
}

impl Resource {
    /// Its id, where it has one that may be shown.
    fn id(&self) -> Option<&str> {
        let is_hidden =
            self.sensitive_values.get("id").is_some_and(|mark| *mark != Json::Bool(false))
                || self.sensitive_values == Json::Bool(true);
        self.values.get("id").and_then(Json::as_str).filter(|_| !is_hidden)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value as Json, json};

    fn left(changes: Json) -> Vec<String> {
        let of = |address: &str| json!({ "address": address, "mode": "managed", "values": { "id": format!("id of {address}") } });
        let mut hidden = of("a.hidden");
        hidden["sensitive_values"] = json!({ "id": true });
        let mut deposed = of("a.x");
        deposed["deposed_key"] = json!("byebye");
        let data = json!({ "address": "data.a.x", "mode": "data", "values": {} });
        let plan = json!({
            "prior_state": { "values": { "root_module": {
                "resources": [of("a.x"), deposed, hidden, data],
                "child_modules": [{ "child_modules": [{ "resources": [of("module.m.module.n.a.y")] }] }],
            } } },
            "resource_changes": changes,
        });
        let left =
            left_by_destroy(plan.to_string().as_bytes(), &|text| text.replace("module", "M"));
        left.unwrap().into_iter().map(|left| left.to_string()).collect()
    }

    #[test]
    fn what_is_not_deleted_is_left() {
        let planned = |address: &str, action: &str| json!({ "address": address, "change": { "actions": [action] } });
        let mut deposed = planned("a.x", "delete");
        deposed["deposed"] = json!("byebye");
        let all =
            ["a.hidden", "a.x", "module.m.module.n.a.y"].map(|address| planned(address, "delete"));
        let everything = [all.as_slice(), &[deposed]].concat();
        assert_eq!(left(json!(everything)), Vec::<String>::new());
        let others = json!([planned("a.x", "forget"), planned("a.hidden", "no-op")]);
        assert_eq!(
            left(others),
            ["M.m.M.n.a.y (id of M.m.M.n.a.y)", "a.hidden", "a.x (id of a.x)", "a.x (id of a.x)"]
        );
        assert_eq!(left_by_destroy(b"{}", &str::to_owned).unwrap(), []);
        assert!(left_by_destroy(b"[]", &str::to_owned).is_err());
        let large = br#"{"prior_state": {"values": {"root_module": {"resources": [
            {"address": "a.x", "mode": "managed", "values": {"id": "x", "n": 1e400}}]}}}}"#;
        assert_eq!(left_by_destroy(large, &str::to_owned).unwrap().len(), 1);
    }
}
