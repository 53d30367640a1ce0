//! Terraform's JSON syntax: blocks are objects by their labels, or lists of such objects.
//! <https://developer.hashicorp.com/terraform/language/syntax/json>

use crate::{
    hcl::tidy,
    metadata::{Declared, Input, Output, ProviderRequirement, Unparsable},
};
use serde_json::{Map, Value};

/// Reads what one file declares.
pub(crate) fn read(text: &str, declared: &mut Declared) -> Result<(), Unparsable> {
    let file: Value = serde_json::from_str(text).map_err(|error| {
        let said = error.to_string();
        let what = said.split(" at line ").next().unwrap_or_default();
        Unparsable { line: error.line(), message: format!("this is not JSON: {what}") }
    })?;
    for (name, body) in labelled(&file, "variable") {
        declared.input(Input {
            name: name.clone(),
            type_: string(body, "type").map(|text| tidy(&text)),
            description: string(body, "description"),
            default: body.get("default").map(sorted),
            sensitive: flag(body, "sensitive"),
            ..Input::default()
        });
    }
    for (name, body) in labelled(&file, "output") {
        declared.output(Output {
            name: name.clone(),
            description: string(body, "description"),
            sensitive: flag(body, "sensitive"),
        });
    }
    for terraform in blocks(&file, "terraform") {
        if let Some(version) = terraform.get("required_version").and_then(Value::as_str) {
            declared.required_version(version.to_owned());
        }
        for required in terraform.get("required_providers").into_iter().flat_map(objects) {
            for (name, wanted) in required.iter().filter(|(name, _)| *name != "//") {
                declared.provider(ProviderRequirement {
                    name: name.clone(),
                    source: wanted.get("source").and_then(Value::as_str).map(str::to_owned),
                    version: wanted
                        .as_str()
                        .or_else(|| wanted.get("version").and_then(Value::as_str))
                        .map(str::to_owned),
                });
            }
        }
    }
    Ok(())
}

/// The blocks of a kind that has one label, with it.
fn labelled<'a>(
    file: &'a Value,
    kind: &str,
) -> impl Iterator<Item = (&'a String, &'a Map<String, Value>)> {
    blocks(file, kind)
        .flat_map(|block| block.iter().filter(|(label, _)| *label != "//"))
        .flat_map(|(label, bodies)| objects(bodies).map(move |body| (label, body)))
}

fn blocks<'a>(file: &'a Value, kind: &str) -> impl Iterator<Item = &'a Map<String, Value>> {
    objects(file)
        .filter_map(move |file| file.get(kind))
        .flat_map(objects)
        .collect::<Vec<_>>()
        .into_iter()
}

fn objects(value: &Value) -> impl Iterator<Item = &Map<String, Value>> {
    let list = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    list.iter().filter_map(Value::as_object)
}

/// The text of a value, with its keys in one order whatever order they are kept in.
fn sorted(value: &Value) -> String {
    let mut value = value.clone();
    value.sort_all_objects();
    value.to_string()
}

fn string(body: &Map<String, Value>, key: &str) -> Option<String> {
    body.get(key).and_then(Value::as_str).map(str::to_owned)
}

fn flag(body: &Map<String, Value>, key: &str) -> bool {
    matches!(body.get(key), Some(Value::Bool(true)))
        || body.get(key).and_then(Value::as_str) == Some("true")
}
