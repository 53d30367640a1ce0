//! What a state marks as sensitive
//! (<https://github.com/hashicorp/terraform/blob/v1.15.5/internal/states/statefile/version4.go>).

use super::{
    json::Json,
    marks::{Marked, Outputs, collect, collect_outputs},
    walk::TRUE,
};
use crate::masking::SHORTEST;
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::value::RawValue;
use std::collections::BTreeSet;

impl Marked {
    /// All texts that a state marks, and those of them that are looked for inside of other texts.
    /// None where nobody can tell: it is of another format, or marks in a way that is not known.
    pub fn of_state(body: &[u8]) -> Option<(BTreeSet<String>, Self)> {
        let state = serde_json::from_slice::<State>(body).ok()?;
        let mut texts = BTreeSet::new();
        collect_outputs(state.outputs.unwrap_or_default(), &mut texts);
        let resources = state.resources.unwrap_or_default().into_iter();
        let instances = resources.flat_map(|resource| resource.instances.unwrap_or_default());
        texts.extend(instances.flat_map(|instance| instance.0));
        let marked = Self::new(&texts);
        Some((texts, marked))
    }
}

#[derive(Deserialize)]
struct State {
    outputs: Option<Outputs>,
    resources: Option<Vec<Resource>>,
}

#[derive(Deserialize)]
struct Resource {
    instances: Option<Vec<Instance>>,
}

/// The marked texts of one instance: nothing else of it is kept, a state may be large.
struct Instance(BTreeSet<String>);

impl<'de> Deserialize<'de> for Instance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Found<'a> {
            #[serde(borrow)]
            attributes: Option<&'a RawValue>,
            sensitive_attributes: Option<Vec<Vec<Step>>>,
        }
        let found = Found::deserialize(deserializer)?;
        let paths = found.sensitive_attributes.unwrap_or_default();
        if !paths.iter().flatten().all(Step::is_known) {
            return Err(D::Error::custom("nobody can tell what is sensitive"));
        }
        let mut texts = BTreeSet::new();
        if let Some(attributes) = found.attributes.filter(|_| !paths.is_empty()) {
            let attributes: Json =
                serde_json::from_str(attributes.get()).map_err(D::Error::custom)?;
            for path in &paths {
                let value = path.iter().try_fold(&attributes, |value, step| step.of(value));
                if let Some(value) = value {
                    collect(value, &TRUE, SHORTEST, &mut texts);
                }
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
    fn key(&self) -> &Json {
        self.value.get("value").unwrap_or(&self.value)
    }

    /// It leads to a member or an item.
    fn is_known(&self) -> bool {
        let key = self.key();
        key.as_str().is_some() || key.as_index().is_some()
    }

    fn of<'a>(&self, value: &'a Json) -> Option<&'a Json> {
        match self.key() {
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
        let (texts, marked) = Marked::of_state(state.to_string().as_bytes()).unwrap();
        assert_eq!(texts.len(), 4);
        let masker = marked.known_to(&Masker::default());
        for hidden in ["a-hidden-output", "a-hidden-password", "a-hidden-item", "a-hidden-member"] {
            assert_eq!(masker.mask(hidden), "(secret)", "{hidden}");
        }
        for open in ["an-open-output", "an-open-id", "an-open-item"] {
            assert_eq!(masker.mask(open), open);
        }
    }

    #[test]
    fn what_marks_nothing_is_told_from_what_cannot_be_read() {
        let of = |state: &str| Marked::of_state(state.as_bytes()).map(|(texts, _)| texts.len());
        let marks = |path: Json, attributes: &str| {
            let instance =
                format!("{{\"attributes\": {attributes}, \"sensitive_attributes\": [{path}]}}");
            format!("{{\"resources\": [{{\"instances\": [{instance}]}}]}}")
        };
        let id = json!([{ "type": "get_attr", "value": "id" }]);
        let deep =
            format!("{{\"id\": \"long-enough\", \"x\": {}{}}}", "[".repeat(200), "]".repeat(200));
        let encrypted = json!({ "encrypted_data": "AAAA", "encryption_version": "v0" });
        for nothing in [
            encrypted.to_string().as_str(),
            r#"{"outputs": null, "resources": null}"#,
            r#"{"resources": [{"instances": null}, {}]}"#,
            r#"{"resources": [{"instances": [{"attributes": null, "sensitive_attributes": null}]}]}"#,
            &marks(id.clone(), "null"),
        ] {
            assert_eq!(of(nothing), Some(0), "{nothing}");
        }
        assert_eq!(of(&marks(id.clone(), r#"{"id": "long-enough"}"#)), Some(1));
        for unknown in [
            "",
            "[]",
            r#"{"outputs": {"a": {"sensitive": "yes", "value": "long-enough"}}}"#,
            &marks(json!([{ "type": "get_attr" }]), r#"{"id": "long-enough"}"#),
            &marks(json!([{ "type": "other", "value": null }]), r#"{"id": "long-enough"}"#),
            &marks(id, &deep),
        ] {
            assert_eq!(of(unknown), None, "{unknown}");
        }
    }
}
