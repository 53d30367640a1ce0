//! What the configuration in a plan says of attributes: an empty list that stands in it was written,
//! and any other may be blocks that nobody wrote.

use super::{json::Json, show::Key};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::{cell::OnceCell, collections::BTreeMap};

/// The expressions of all resources, by their addresses without the keys of `count` and `for_each`.
#[derive(Default)]
pub(super) struct Configured<'a>(BTreeMap<String, &'a RawValue>);

#[derive(Default, Deserialize)]
#[serde(default)]
struct Module<'a> {
    #[serde(borrow)]
    resources: Vec<Resource<'a>>,
    #[serde(borrow)]
    module_calls: BTreeMap<String, Call<'a>>,
}

#[derive(Deserialize)]
struct Resource<'a> {
    address: String,
    #[serde(borrow)]
    expressions: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Call<'a> {
    #[serde(borrow)]
    module: Option<&'a RawValue>,
}

impl<'a> Configured<'a> {
    /// Reads a module and all that it calls. What cannot be read has nothing written in it.
    pub(super) fn of(root_module: Option<&'a RawValue>) -> Self {
        let mut configured = Self::default();
        configured.add("", root_module);
        configured
    }

    fn add(&mut self, prefix: &str, module: Option<&'a RawValue>) {
        let module = module.and_then(|raw| serde_json::from_str(raw.get()).ok());
        let Module { resources, module_calls } = module.unwrap_or_default();
        for Resource { address, expressions } in resources {
            self.0.extend(expressions.map(|found| (format!("{prefix}{address}"), found)));
        }
        for (name, call) in module_calls {
            self.add(&format!("{prefix}module.{name}."), call.module);
        }
    }

    /// What is written in the block of one resource.
    pub(super) fn resource(&self, address: &str) -> Written<'a> {
        Written { raw: self.0.get(&without_keys(address)).copied(), read: OnceCell::new() }
    }
}

/// What is written in the block of a resource.
#[derive(Default)]
pub(crate) struct Written<'a> {
    raw: Option<&'a RawValue>,
    read: OnceCell<Json>,
}

impl Written<'_> {
    /// The attribute `name` of what is at `path` was written. A list and the blocks of a name look
    /// alike in a value; in the configuration an attribute has an expression, and blocks are a list.
    pub(crate) fn has(&self, path: &[Key], name: &str) -> bool {
        let Some(raw) = self.raw else { return false };
        let read = || serde_json::from_str(raw.get()).unwrap_or_default();
        let mut blocks = vec![self.read.get_or_init(read)];
        for key in path {
            // Blocks may be in another order than in the value: any of them counts.
            let Key::Name(key) = key else { continue };
            let found: Vec<&Json> =
                blocks.into_iter().filter_map(|block| block.get(&**key)).collect();
            if found.iter().any(|found| is_expression(found)) {
                return true;
            }
            blocks = found.into_iter().flat_map(items).collect();
        }
        blocks.iter().any(|block| block.get(name).is_some_and(Json::is_object))
    }
}

/// Its parts are those of a value: there are no blocks in it.
fn is_expression(found: &Json) -> bool {
    let references = found.get("references").and_then(Json::as_array);
    let are_names = |all: &Vec<Json>| all.iter().all(|name| name.as_str().is_some());
    found.get("constant_value").is_some() || references.is_some_and(are_names)
}

fn items(found: &Json) -> Vec<&Json> {
    match found {
        Json::Array(blocks) => blocks.iter().collect(),
        block => vec![block],
    }
}

/// An address without the keys of `count` and `for_each`.
pub(crate) fn without_keys(address: &str) -> String {
    let (mut plain, mut in_key, mut in_text, mut escaped) = (String::new(), false, false, false);
    for c in address.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if in_text => escaped = true,
            '"' if in_key => in_text = !in_text,
            '[' if !in_text => in_key = true,
            ']' if !in_text => in_key = false,
            _ if !in_key => plain.push(c),
            _ => {}
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = r#"{
        "resources": [{"address": "a.b", "expressions": {
            "list": {"constant_value": []}, "from": {"references": ["var.x"]}, "null": {},
            "rule": [{"cidrs": {"constant_value": []}}, {"names": {}}],
            "single": {"cidrs": {}},
            "objects": {"constant_value": [{"cidrs": []}]}
        }}],
        "module_calls": {"net": {"source": "./net", "module": {
            "resources": [{"address": "a.c", "expressions": {"list": {"references": ["var.x"]}}},
                          {"address": "a.d"}],
            "module_calls": {"deep": {"module": {"resources": [
                {"address": "a.e", "expressions": {"list": {}}}]}}}
        }}, "odd": {"module": 7}}
    }"#;

    #[test]
    fn what_was_written_is_known_by_the_configuration() {
        let raw: &RawValue = serde_json::from_str(ROOT).unwrap();
        let configured = Configured::of(Some(raw));
        let has =
            |address: &str, path: &[Key], name: &str| configured.resource(address).has(path, name);
        for name in ["list", "from", "null", "single", "objects"] {
            assert!(has("a.b[\"x.y[0]\"]", &[], name), "{name}");
        }
        for name in ["rule", "other"] {
            assert!(!has("a.b", &[], name), "{name}");
        }
        let at = |name: &str| [Key::Name(name.to_owned()), Key::Index(7)];
        assert!(has("a.b", &at("rule"), "cidrs") && has("a.b", &at("rule"), "names"));
        assert!(!has("a.b", &at("rule"), "others") && !has("a.b", &at("other"), "cidrs"));
        // Whatever is in the value of an attribute was written.
        assert!(has("a.b", &at("objects"), "cidrs"));
        for address in ["module.net[1].a.c", "module.net.module.deep[\"]\"].a.e"] {
            assert!(has(address, &[], "list"), "{address}");
        }
        assert!(!has("module.net.a.d", &[], "list") && !has("module.odd.a.c", &[], "list"));
        assert!(!Configured::of(None).resource("a.b").has(&[], "list"));
    }
}
