//! What a state marks as sensitive
//! (<https://github.com/hashicorp/terraform/blob/v1.15.5/internal/states/statefile/version4.go>).

use super::{
    json::Json,
    marks::{Marked, Outputs, collect, collect_outputs},
    walk::TRUE,
};
use crate::masking::SHORTEST;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeSet;

impl Marked {
    /// The texts that a state marks. None where it is not one that can be read: it is encrypted, or
    /// of another format.
    pub fn of_state(body: &[u8]) -> Self {
        let Ok(state) = serde_json::from_slice::<State>(body) else { return Self::default() };
        let mut texts = BTreeSet::new();
        collect_outputs(&state.outputs, &mut texts);
        let instances = state.resources.into_iter().flat_map(|resource| resource.instances);
        texts.extend(instances.flat_map(|instance| instance.0));
        Self::new(&texts)
    }
}

#[derive(Deserialize)]
struct State {
    #[serde(default)]
    outputs: Outputs,
    #[serde(default)]
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
struct Resource {
    #[serde(default)]
    instances: Vec<Instance>,
}

/// The marked texts of one instance: nothing else of it is kept, a state may be large.
struct Instance(BTreeSet<String>);

impl<'de> Deserialize<'de> for Instance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Found {
            #[serde(default)]
            attributes: Json,
            #[serde(default)]
            sensitive_attributes: Option<Vec<Vec<Step>>>,
        }
        let found = Found::deserialize(deserializer)?;
        let mut texts = BTreeSet::new();
        for path in found.sensitive_attributes.iter().flatten() {
            let value = path.iter().try_fold(&found.attributes, |value, step| step.of(value));
            if let Some(value) = value {
                collect(value, &TRUE, SHORTEST, &mut texts);
            }
        }
        Ok(Self(texts))
    }
}

/// A step of the path to what is marked: `{"type": "get_attr", "value": "name"}`, or
/// `{"type": "index", "value": {"value": 0, "type": "number"}}`.
#[derive(Deserialize)]
struct Step {
    value: Json,
}

impl Step {
    fn of<'a>(&self, value: &'a Json) -> Option<&'a Json> {
        let key = self.value.get("value").unwrap_or(&self.value);
        match key {
            Json::String(name) => value.get(name.as_str()),
            number => value.get(number.as_index()?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::masking::Masker;
    use serde_json::{Value as Json, json};

    #[test]
    fn what_a_state_marks_is_known() {
        let name = |name: &str| json!({ "type": "get_attr", "value": name });
        let index = |key: Json, kind: &str| json!({ "type": "index", "value": { "value": key, "type": kind } });
        let state = json!({
            "version": 4,
            "outputs": {
                "shown": { "value": "an-open-output" },
                "hidden": { "value": { "deep": ["a-hidden-output"] }, "sensitive": true },
            },
            "resources": [{ "mode": "managed", "instances": [{
                "attributes": {
                    "id": "an-open-id", "password": "a-hidden-password",
                    "list": ["an-open-item", "a-hidden-item"], "map": { "key": "a-hidden-member" },
                },
                "sensitive_attributes": [
                    [name("password")], [name("list"), index(json!(1), "number")],
                    [name("map"), index(json!("key"), "string")], [name("gone")],
                ],
            }, { "attributes": null }] }],
        });
        let masker = Marked::of_state(state.to_string().as_bytes()).known_to(&Masker::default());
        for hidden in ["a-hidden-output", "a-hidden-password", "a-hidden-item", "a-hidden-member"] {
            assert_eq!(masker.mask(hidden), "(secret)", "{hidden}");
        }
        for open in ["an-open-output", "an-open-id", "an-open-item"] {
            assert_eq!(masker.mask(open), open);
        }
        let encrypted = json!({ "encrypted_data": "AAAA", "encryption_version": "v0" });
        for other in [encrypted.to_string().as_str(), "", "[]"] {
            assert!(Marked::of_state(other.as_bytes()) == Marked::default(), "{other}");
        }
    }
}
