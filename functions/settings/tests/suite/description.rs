//! The description fits: every route is in it and nothing else, and real answers have the shape
//! that it promises. [`check`] runs on each answer that any test gets.

use crate::support::{Got, world};
use gantry_settings::{OPENAPI, documented_routes};
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::LazyLock};

/// Described here, served by `runner-api`, which alone may write states and locks.
const ELSEWHERE: [&str; 5] = [
    "POST /api/v1/operations/restore-states",
    "GET /api/v1/stacks/{slug}/state",
    "POST /api/v1/stacks/{slug}/state",
    "GET /api/v1/stacks/{slug}/state/{version}",
    "DELETE /api/v1/stacks/{slug}/state/lock",
];

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(OPENAPI).unwrap());

#[test]
fn every_route_is_described_and_nothing_else() {
    let routes: BTreeSet<String> = documented_routes()
        .into_iter()
        .map(|(method, path)| format!("{} {path}", method.as_str()))
        .collect();
    let described: BTreeSet<String> = DOCUMENT["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().keys();
            methods.map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect();
    let elsewhere = ELSEWHERE.map(str::to_owned).into();
    assert_eq!(routes.union(&elsewhere).cloned().collect::<BTreeSet<_>>(), described);
    assert!(routes.is_disjoint(&elsewhere));
}

/// Every route of the API: method and path.
pub(crate) fn routes() -> Vec<(String, &'static str)> {
    documented_routes().into_iter().map(|(method, path)| (method.to_string(), path)).collect()
}

/// What stands in the description is what is taken, and a page of every list goes on in the same
/// way.
#[tokio::test]
async fn parameters_that_are_not_described_are_refused_and_those_that_are_have_one_form() {
    let w = world().await;
    for (method, path) in routes() {
        let operation = &DOCUMENT["paths"][path][method.to_lowercase()];
        let all = operation["parameters"].as_array().into_iter().flatten();
        let mut takes: Vec<&str> = all
            .filter(|one| one["in"] == "query")
            .map(|one| one["name"].as_str().unwrap())
            .collect();
        let part =
            |part: &str| if part.starts_with('{') { "x".to_owned() } else { part.to_owned() };
        let address = path.split('/').map(part).collect::<Vec<_>>().join("/");
        let got = w.send(&method, &format!("{address}?nonsense=1"), json!({})).await.expect(422);
        let said = got.error("nonsense").to_owned();
        let listed = said.strip_prefix("is no parameter here; there are: ").unwrap_or_default();
        let mut listed: Vec<&str> = listed.split(", ").filter(|name| !name.is_empty()).collect();
        assert_eq!(listed.is_empty(), said == "is no parameter here: this address takes none");
        takes.sort_unstable();
        listed.sort_unstable();
        assert_eq!(takes, listed, "{method} {path}");

        let answer = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        let next = &resolve(answer)["properties"]["next"]["type"];
        let goes_on = takes.contains(&"after");
        assert_eq!(goes_on, *next == json!(["string", "null"]), "{method} {path}");
        if goes_on {
            let of_another = if takes.contains(&"before") { "page=x" } else { "before=x" };
            // A text that no answer gave would look like the end of the list.
            let none_gave = if path.contains('{') { of_another } else { "after=x" };
            for wrong in [of_another, "after=1&after=2", none_gave] {
                w.send(&method, &format!("{address}?{wrong}"), json!({})).await.expect(422);
            }
        }
        if takes.contains(&"limit") {
            for wrong in ["0", "101", "-1", "x", ""] {
                let got = w.get(&format!("{address}?limit={wrong}")).await;
                // What there is none of has no pages.
                assert!(got.status == 422 || got.status == 404, "{path}: {}", got.text);
            }
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn walk(value: &Value) {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(reference)) = members.get("$ref") {
                    assert!(!resolve(value).is_null(), "{reference}");
                }
                members.values().for_each(walk);
            }
            Value::Array(items) => items.iter().for_each(walk),
            _ => {}
        }
    }
    walk(&DOCUMENT);
}

#[test]
fn a_wrong_shape_is_noticed() {
    let schema = &DOCUMENT["components"]["schemas"]["Finding"];
    let good = serde_json::json!({ "level": "ok", "what": "a", "meaning": "b" });
    assert_eq!(mismatch(schema, &good, "x"), None);
    for bad in [
        serde_json::json!({ "level": "fine", "what": "a", "meaning": "b" }),
        serde_json::json!({ "level": "ok", "what": 1, "meaning": "b" }),
        serde_json::json!({ "level": "ok", "what": "a" }),
        serde_json::json!({ "level": "ok", "what": "a", "meaning": "b", "more": 1 }),
    ] {
        assert!(mismatch(schema, &bad, "x").is_some(), "{bad}");
    }
}

/// Stops when an answer is not what the description says of it.
#[track_caller]
pub(crate) fn check(method: &str, path: &str, got: &Got) {
    let path = path.split('?').next().unwrap_or(path);
    // 404 and 405 of addresses that there are not are in no description.
    let Some(operation) = find(&method.to_lowercase(), path) else { return };
    if got.status == 405 || got.status == 500 {
        return;
    }
    let described = &operation["responses"][got.status.to_string()];
    assert!(!described.is_null(), "{method} {path} answers {}: {}", got.status, got.text);
    let Some(content) = resolve(described)["content"].as_object() else {
        assert!(got.text.is_empty(), "{method} {path} answers a body: {}", got.text);
        return;
    };
    let kind = got.headers["content-type"].to_str().unwrap();
    let kind = kind.split(';').next().unwrap();
    let content = content.get(kind).unwrap_or_else(|| panic!("{method} {path} answers {kind}"));
    if kind.ends_with("json")
        && let Some(problem) = mismatch(&content["schema"], &got.body, "body")
    {
        panic!("{method} {path}: {problem} in {}", got.text);
    }
}

fn find(method: &str, path: &str) -> Option<&'static Value> {
    let parts: Vec<&str> = path.split('/').collect();
    let fits = |template: &str| {
        let template: Vec<&str> = template.split('/').collect();
        template.len() == parts.len()
            && template.iter().zip(&parts).all(|(t, p)| t.starts_with('{') || t == p)
    };
    let paths = DOCUMENT["paths"].as_object()?;
    paths.iter().find(|(template, _)| fits(template))?.1.get(method)
}

fn resolve(schema: &Value) -> &Value {
    match schema.get("$ref").and_then(Value::as_str) {
        Some(reference) => {
            DOCUMENT.pointer(reference.trim_start_matches('#')).unwrap_or(&Value::Null)
        }
        None => schema,
    }
}

/// The part of JSON Schema that the description uses: says what does not fit.
fn mismatch(schema: &Value, value: &Value, at: &str) -> Option<String> {
    let schema = resolve(schema);
    if let Some(choices) = schema["anyOf"].as_array() {
        let mut problems = Vec::new();
        for choice in choices {
            problems.push(mismatch(choice, value, at)?);
        }
        return Some(problems.join(", or "));
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => return None,
    };
    let is = |kind: &str| match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => false,
    };
    if !kinds.iter().any(|kind| is(kind)) {
        return Some(format!("{at} is no {}: {value}", kinds.join(" or ")));
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        return Some(format!("{at} is none of {words:?}: {value}"));
    }
    if let Some(items) = value.as_array() {
        let each = |(place, item)| mismatch(&schema["items"], item, &format!("{at}[{place}]"));
        return items.iter().enumerate().find_map(each);
    }
    let members = value.as_object()?;
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !members.contains_key(name) {
            return Some(format!("{at}.{name} is missing"));
        }
    }
    members.iter().find_map(|(name, member)| {
        let at = format!("{at}.{name}");
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, Value::Bool(false)) => Some(format!("{at} is not described")),
            (Value::Null, Value::Null) => None,
            (Value::Null, more) => mismatch(more, member, &at),
            (property, _) => mismatch(property, member, &at),
        }
    })
}
