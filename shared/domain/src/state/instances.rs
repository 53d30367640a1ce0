//! The instances of resources that a state lists. Of their attributes only whether they differ
//! leaves it.

use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use std::hash::{DefaultHasher, Hasher as _};

/// An instance of a resource, or what a data source has read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// The address of its module; empty for the root module.
    pub module: String,
    /// False for what a data source has read.
    pub is_managed: bool,
    /// The resource's type.
    pub resource_type: String,
    /// With the key of `count` or `for_each`.
    pub address: String,
    /// The key of an object that is still to be destroyed, while another one has its address.
    pub deposed: Option<String>,
    /// The next apply replaces it.
    pub is_tainted: bool,
    /// The same for the same attributes.
    digest: u64,
}

impl Instance {
    /// What it is known by in every version of a state.
    pub(super) fn identity(&self) -> (&str, Option<&str>) {
        (&self.address, self.deposed.as_deref())
    }

    /// True while its attributes are the same.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

/// The instances of a state, by module, mode and type. None where it is not one that can be read:
/// it is encrypted, or of another format.
pub fn instances(body: &[u8]) -> Option<Vec<Instance>> {
    let state = serde_json::from_slice::<State<'_>>(body).ok()?;
    let resources = state.resources.unwrap_or_default();
    let mut all: Vec<Instance> = resources.into_iter().flat_map(Resource::instances).collect();
    // The tools write resources by name and instances by key: that order stays.
    let place = |one: &Instance| (one.module.clone(), !one.is_managed, one.resource_type.clone());
    all.sort_by_cached_key(place);
    Some(all)
}

/// <https://github.com/hashicorp/terraform/blob/v1.15.5/internal/states/statefile/version4.go>
#[derive(Deserialize)]
struct State<'a> {
    #[serde(borrow)]
    resources: Option<Vec<Resource<'a>>>,
}

#[derive(Deserialize)]
struct Resource<'a> {
    #[serde(default)]
    module: String,
    mode: String,
    #[serde(rename = "type")]
    resource_type: String,
    name: String,
    #[serde(borrow)]
    instances: Option<Vec<Found<'a>>>,
}

#[derive(Deserialize)]
struct Found<'a> {
    index_key: Option<Value>,
    deposed: Option<String>,
    status: Option<String>,
    #[serde(borrow)]
    attributes: Option<&'a RawValue>,
    #[serde(borrow)]
    attributes_flat: Option<&'a RawValue>,
}

impl Resource<'_> {
    fn instances(self) -> Vec<Instance> {
        let is_managed = self.mode != "data";
        let module = match self.module.as_str() {
            "" => String::new(),
            module => format!("{module}."),
        };
        let mode = if is_managed { "" } else { "data." };
        let resource = format!("{module}{mode}{}.{}", self.resource_type, self.name);
        let instance = |found: Found<'_>| Instance {
            module: self.module.clone(),
            is_managed,
            resource_type: self.resource_type.clone(),
            address: format!("{resource}{}", key(found.index_key.as_ref())),
            deposed: found.deposed.filter(|deposed| !deposed.is_empty()),
            is_tainted: found.status.as_deref() == Some("tainted"),
            digest: digest([found.attributes, found.attributes_flat]),
        };
        self.instances.unwrap_or_default().into_iter().map(instance).collect()
    }
}

/// The key of an instance as the tools write it.
fn key(key: Option<&Value>) -> String {
    match key {
        None | Some(Value::Null) => String::new(),
        Some(key) => {
            let written = key.to_string().replace("${", "$${").replace("%{", "%%{");
            format!("[{written}]")
        }
    }
}

/// Whoever lays a state out anew has changed nothing.
fn digest(parts: [Option<&RawValue>; 2]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for part in parts {
        let (mut in_text, mut escaped) = (false, false);
        let bytes = part.map_or("", RawValue::get).bytes().filter(|byte| {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_text = !in_text,
                _ => {}
            }
            in_text || !byte.is_ascii_whitespace()
        });
        hasher.write(&bytes.collect::<Vec<u8>>());
        hasher.write_u8(0xff);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn state() -> Value {
        let resource = |module: &str, mode: &str, kind: &str, instances: Value| json!({ "module": module, "mode": mode, "type": kind, "name": "a", "instances": instances });
        json!({ "version": 4, "resources": [
            resource("module.net[\"eu\"]", "managed", "x_subnet", json!([
                { "index_key": "a\"${b}", "attributes": { "id": "1", "text": "a \\\" b" } },
                { "index_key": "c", "attributes": { "id": "2" }, "status": "tainted" },
            ])),
            resource("", "data", "x_image", json!([{ "attributes": { "id": "3" } }])),
            { "mode": "managed", "type": "x_net", "name": "a", "instances": [
                { "index_key": 0, "attributes": null, "attributes_flat": { "id": "4" } },
                { "index_key": 0, "deposed": "0a1b2c3d", "attributes": { "id": "5" } },
            ] },
            { "mode": "managed", "type": "x_none", "name": "a" },
        ] })
    }

    #[test]
    fn instances_have_the_addresses_that_the_tools_give_them() {
        let found = instances(state().to_string().as_bytes()).unwrap();
        let told: Vec<_> = found.iter().map(Instance::identity).collect();
        assert_eq!(
            told,
            [
                ("x_net.a[0]", None),
                ("x_net.a[0]", Some("0a1b2c3d")),
                ("data.x_image.a", None),
                (r#"module.net["eu"].x_subnet.a["a\"$${b}"]"#, None),
                (r#"module.net["eu"].x_subnet.a["c"]"#, None),
            ]
        );
        assert_eq!(found.iter().filter(|one| one.is_tainted).count(), 1);
        assert_eq!(found[3].module, r#"module.net["eu"]"#);
        assert!(!format!("{found:?}").contains("text"), "no attribute is kept: {found:?}");
    }

    #[test]
    fn another_layout_is_no_change_and_another_value_is_one() {
        let wide = instances(format!("{:#}", state()).as_bytes()).unwrap();
        assert_eq!(wide, instances(state().to_string().as_bytes()).unwrap());
        for (from, to) in [("a \\\\\\\" b", "a\\\\\\\" b"), ("\"4\"", "\"44\"")] {
            let text = state().to_string();
            assert!(text.contains(from), "{text}");
            let changed = instances(text.replace(from, to).as_bytes()).unwrap();
            let differ = wide.iter().zip(&changed).filter(|(one, other)| !one.is_like(other));
            assert_eq!(differ.count(), 1, "{from}");
        }
    }

    #[test]
    fn what_is_no_list_of_resources_is_none() {
        let encrypted = json!({ "serial": 1, "encrypted_data": "AAAA" });
        let later = json!({ "version": 5, "resources": { "other": "form" } });
        for body in ["", "[]", &later.to_string(), "{\"resources\":[{}]}"] {
            assert_eq!(instances(body.as_bytes()), None, "{body}");
        }
        // Whoever asks knows the form, and does not ask for this.
        assert_eq!(instances(encrypted.to_string().as_bytes()), Some(Vec::new()));
    }
}
