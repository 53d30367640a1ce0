//! Objects that are not to be destroyed: `lifecycle { destroy = false }` in the code, which
//! OpenTofu also remembers in the state.
//!
//! OpenTofu forgets such an object where it would have to be destroyed. Terraform destroys it at
//! its replacement and removal, and drops OpenTofu's mark from the state with any apply.

use crate::{
    code::{self, RootFile},
    plan::{Action, Change, without_keys},
    stack::Tool,
};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeSet;

/// Addresses, without the keys of instances, that a module's code says not to destroy. `module` is
/// its address (`module.net`), empty for the project root.
pub fn kept_by_code(files: &[RootFile<'_>], module: &str, tool: Tool) -> BTreeSet<String> {
    let mut kept = BTreeSet::new();
    for file in code::configuration(files, tool) {
        for resource in file.body.of("resource") {
            let is_kept = resource.body.of("lifecycle").any(|l| l.body.is_not("destroy", "true"));
            if let ([kind, name], true) = (resource.labels.as_slice(), is_kept) {
                let prefix = if module.is_empty() { "" } else { "." };
                kept.insert(format!("{module}{prefix}{kind}.{name}"));
            }
        }
    }
    kept
}

#[derive(Deserialize)]
struct State {
    #[serde(default)]
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
struct Resource {
    #[serde(default)]
    module: String,
    #[serde(rename = "type")]
    kind: String,
    name: String,
    #[serde(default)]
    instances: Vec<Instance>,
}

#[derive(Deserialize)]
struct Instance {
    index_key: Option<Value>,
    #[serde(default)]
    skip_destroy: bool,
}

/// Addresses of the instances that OpenTofu marked in the state as not to be destroyed. Nothing
/// where the state cannot be read: OpenTofu may have encrypted it.
pub fn kept_by_state(state: &[u8]) -> BTreeSet<String> {
    let Ok(state) = serde_json::from_slice::<State>(state) else { return BTreeSet::new() };
    let mut kept = BTreeSet::new();
    for Resource { module, kind, name, instances } in state.resources {
        let prefix = if module.is_empty() { "" } else { "." };
        for instance in instances.into_iter().filter(|instance| instance.skip_destroy) {
            let key = instance.index_key.map(|key| format!("[{key}]")).unwrap_or_default();
            kept.insert(format!("{module}{prefix}{kind}.{name}{key}"));
        }
    }
    kept
}

/// What is said, loudly, of the objects that a plan destroys although they were not to be.
pub fn remark_on_destroyed(
    change: &Change,
    by_code: &BTreeSet<String>,
    by_state: &BTreeSet<String>,
) -> Option<String> {
    let destroyed: Vec<_> = change
        .resources
        .iter()
        .filter(|resource| matches!(resource.action, Action::Delete | Action::Replace { .. }))
        .map(|resource| resource.previous_address.as_ref().unwrap_or(&resource.address).as_str())
        .filter(|address| by_state.contains(*address) || by_code.contains(&without_keys(address)))
        .collect();
    let (first, more) = (destroyed.iter().take(5).copied().collect::<Vec<_>>(), destroyed.len());
    if first.is_empty() {
        return None;
    }
    let more = match more - first.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!(
        "DESTROYS RESOURCES PROTECTED BY destroy = false: {}{more}. OpenTofu would leave them in \
         place; Terraform destroys them",
        first.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::ResourceChange;

    fn change(action: Action, address: &str) -> Change {
        Change { resources: vec![ResourceChange::of(action, address)], ..Change::default() }
    }

    #[test]
    fn the_code_says_what_is_not_to_be_destroyed() {
        let text = "resource \"a\" \"kept\" {\n lifecycle {\n destroy = false\n }\n}\n\
                    resource \"a\" \"gone\" {\n lifecycle { destroy = (true) }\n}\n";
        let json =
            r#"{"resource": {"b": {"kept": {"lifecycle": {"destroy": false}}, "gone": {}}}}"#;
        let files = [RootFile { name: "m.tf", text }, RootFile { name: "n.tf.json", text: json }];
        let kept = kept_by_code(&files, "module.net", Tool::OpenTofu);
        let kept: Vec<_> = kept.iter().map(String::as_str).collect();
        assert_eq!(kept, ["module.net.a.kept", "module.net.b.kept"]);
    }

    #[test]
    fn the_state_says_what_opentofu_marked() {
        let state = r#"{"version": 4, "resources": [
            {"mode": "managed", "type": "a", "name": "x", "instances": [
                {"index_key": "k\"", "skip_destroy": true}, {"index_key": 1}]},
            {"module": "module.m[0]", "type": "a", "name": "y", "instances": [{"skip_destroy": true}]}]}"#;
        let kept = kept_by_state(state.as_bytes());
        let kept: Vec<_> = kept.iter().map(String::as_str).collect();
        assert_eq!(kept, [r#"a.x["k\""]"#, "module.m[0].a.y"]);
        assert!(kept_by_state(br#"{"encrypted_data": "x"}"#).is_empty());
    }

    #[test]
    fn only_what_is_destroyed_is_told() {
        let code = BTreeSet::from(["module.m.a.x".to_owned()]);
        let none = BTreeSet::new();
        let address = r#"module.m["]\"["].a.x[0]"#;
        for action in [Action::Delete, Action::Replace { create_before_destroy: true }] {
            let said = remark_on_destroyed(&change(action, address), &code, &none).unwrap();
            assert!(said.contains(address), "{said}");
        }
        for action in [Action::Forget, Action::Update, Action::Create] {
            assert_eq!(remark_on_destroyed(&change(action, address), &code, &none), None);
        }
        assert_eq!(remark_on_destroyed(&change(Action::Delete, "a.x"), &code, &none), None);
        let state = BTreeSet::from(["a.x".to_owned()]);
        assert!(remark_on_destroyed(&change(Action::Delete, "a.x"), &none, &state).is_some());
    }
}
