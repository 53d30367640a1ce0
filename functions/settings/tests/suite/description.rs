//! The description fits: it is what routes and types say, every route is in it and nothing else, and
//! real answers have the shape that it promises. [`check`] runs on each answer that any test gets.

use crate::{
    plans::asked,
    support::{Got, world},
};
use gantry_settings::{OPENAPI, description, documented_routes};
use serde_json::{Value, json};
use std::{collections::BTreeSet, fs, sync::LazyLock};

/// Described here, served by `runner-api`, which alone may write states and locks.
const ELSEWHERE: [&str; 6] = [
    "POST /api/v1/operations/restore-states",
    "GET /api/v1/stacks/{slug}/state",
    "POST /api/v1/stacks/{slug}/state",
    "GET /api/v1/stacks/{slug}/state/{version}",
    "DELETE /api/v1/stacks/{slug}/state/lock",
    "GET /api/v1/runs/{id}/state/{version}",
];

/// Answers of a JSON object a line.
const LINES: &str = "application/x-ndjson";

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(OPENAPI).unwrap());

#[test]
fn the_description_is_what_routes_and_types_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    let made = description();
    if made == *DOCUMENT {
        return;
    }
    if asked("INSTA_UPDATE") == "always" {
        fs::write(path, format!("{made:#}\n")).unwrap();
        return;
    }
    let differs = differences(&DOCUMENT, &made, "").join("\n");
    panic!(
        "openapi.json is not what the routes and their types say any more:\n{differs}\nLook at the \
         difference after INSTA_UPDATE=always make test ARGS=\"--test suite -- description\""
    );
}

/// Where two documents differ, one line each.
fn differences(old: &Value, new: &Value, at: &str) -> Vec<String> {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            let each = names.into_iter().flat_map(|name| {
                let (old, new) = (old.get(name), new.get(name));
                let at = format!("{at}/{name}");
                differences(old.unwrap_or(&Value::Null), new.unwrap_or(&Value::Null), &at)
            });
            each.collect()
        }
        (old, new) if old == new => Vec::new(),
        (old, new) => vec![format!("{at}: {old} -> {new}")],
    }
}

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
        let listed = said.strip_prefix("unknown parameter; allowed: ").unwrap_or_default();
        let mut listed: Vec<&str> = listed.split(", ").filter(|name| !name.is_empty()).collect();
        assert_eq!(listed.is_empty(), said == "unknown parameter; none are allowed here");
        takes.sort_unstable();
        listed.sort_unstable();
        assert_eq!(takes, listed, "{method} {path}");

        let answer = &operation["responses"]["200"]["content"];
        let list = resolve(&answer["application/json"]["schema"]);
        // The last line of an export.
        let end = &resolve(&answer[LINES]["schema"])["anyOf"][1];
        let goes_on = takes.contains(&"after");
        let has_next = [list, resolve(end)]
            .into_iter()
            .any(|answer| answer["properties"]["next"]["type"] == json!(["string", "null"]));
        assert_eq!(goes_on, has_next, "{method} {path}");
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

/// Every operation: its method and path, and what is said of it.
fn operations() -> impl Iterator<Item = (String, &'static Value)> {
    let paths = DOCUMENT["paths"].as_object().unwrap().iter();
    paths.flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (format!("{method} {path}"), operation))
    })
}

/// The schemas of a request's body and of what is answered when all goes well.
fn schemas_of(operation: &Value) -> impl Iterator<Item = &Value> {
    let answers = operation["responses"].as_object().unwrap().iter();
    let good = answers.filter(|(status, _)| status.starts_with('2')).map(|(_, answer)| answer);
    let all = good.chain([&operation["requestBody"]]);
    all.map(|of| &of["content"]["application/json"]["schema"]).filter(|schema| !schema.is_null())
}

#[test]
fn every_operation_has_a_name_a_place_and_examples() {
    let tags: Vec<&Value> =
        DOCUMENT["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect();
    let mut names = BTreeSet::new();
    for (what, operation) in operations() {
        let name = operation["operationId"].as_str().unwrap_or_default();
        assert!(name.starts_with(|c: char| c.is_ascii_lowercase()), "{what}: {name}");
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric()), "{what}: {name}");
        assert!(names.insert(name), "{what}: {name} is there twice");
        let [tag] = operation["tags"].as_array().unwrap().as_slice() else { panic!("{what}") };
        assert!(tags.contains(&tag), "{what}: {tag}");
        let summary = operation["summary"].as_str().unwrap_or_default();
        assert!(!summary.is_empty() && !summary.ends_with('.'), "{what}: {summary}");
        for schema in schemas_of(operation) {
            let has_example = resolve(schema)["examples"].is_array();
            let is_anything = *schema == json!({ "type": "object" });
            assert!(has_example || is_anything, "{what} has no example: {schema}");
        }
    }
}

#[test]
fn every_example_has_the_shape_that_it_shows() {
    for (name, schema) in DOCUMENT["components"]["schemas"].as_object().unwrap() {
        assert!(
            schema["type"].is_string() || schema["oneOf"].is_array() || schema["anyOf"].is_array(),
            "{name} says nothing"
        );
        for example in schema["examples"].as_array().into_iter().flatten() {
            if let Some(problem) = mismatch(schema, example, name) {
                panic!("the example of {problem}: {example:#}");
            }
        }
    }
}

/// Comments of the code are the descriptions: what only a reader of the code understands has no
/// place in them.
#[test]
fn descriptions_are_for_people_who_do_not_see_the_code() {
    fn walk(value: &Value, at: &str) {
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    if let ("description", Some(words)) = (name.as_str(), member.as_str()) {
                        let is_code = ["[`", "`]", "::", "None", "Some("];
                        let found = is_code.iter().find(|code| words.contains(**code));
                        assert!(found.is_none(), "{at}: {words}");
                    }
                    walk(member, &format!("{at}/{name}"));
                }
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, at)),
            _ => {}
        }
    }
    walk(&DOCUMENT, "");
}

/// Bodies are read field by field: the fields that are taken are those that are described.
#[tokio::test]
async fn fields_that_are_not_described_are_refused() {
    let w = world().await;
    let mut compared = 0;
    for (method, path) in routes() {
        let operation = &DOCUMENT["paths"][path][method.to_lowercase()];
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        let described = resolve(schema)["properties"].as_object();
        let part =
            |part: &str| if part.starts_with('{') { "x".to_owned() } else { part.to_owned() };
        let address = path.split('/').map(part).collect::<Vec<_>>().join("/");
        let got = w.send(&method, &address, json!({ "nonsense": 1 })).await;
        // What is to be changed is looked for first.
        if method == "GET" || got.status != 422 {
            continue;
        }
        let said = got.error("nonsense").to_owned();
        let taken = said.strip_prefix("Unknown field; allowed: ").unwrap_or_default();
        let mut taken: BTreeSet<&str> = taken.split(", ").filter(|name| !name.is_empty()).collect();
        if path.ends_with("/stacks") || path.ends_with("/modules") {
            // What an answer has may be sent to make another one: its version says nothing then.
            taken.remove("version");
        }
        let described: BTreeSet<&str> =
            described.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        assert_eq!(taken, described, "{method} {path}");
        compared += 1;
    }
    assert!(compared > 10, "{compared}");
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
    let bodies: Vec<Value> = match kind {
        LINES => got.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
        _ if kind.ends_with("json") => vec![got.body.clone()],
        _ => Vec::new(),
    };
    for body in &bodies {
        if let Some(problem) = mismatch(&content["schema"], body, "body") {
            panic!("{method} {path}: {problem} in {}", got.text);
        }
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
    if let Some(choices) = schema["oneOf"].as_array() {
        let fit = choices.iter().filter(|choice| mismatch(choice, value, at).is_none()).count();
        return (fit != 1).then(|| format!("{at} is {fit} of those that it may be: {value}"));
    }
    if schema.get("const").is_some_and(|only| only != value) {
        return Some(format!("{at} is not {}: {value}", schema["const"]));
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
    let size = match value {
        Value::String(text) => u64::try_from(text.chars().count()).ok(),
        Value::Number(number) => number.as_u64(),
        _ => None,
    };
    for (least, most) in [("minimum", "maximum"), ("minLength", "maxLength")] {
        let of = |limit: &str| schema[limit].as_u64().zip(size);
        if of(least).is_some_and(|(least, size)| size < least)
            || of(most).is_some_and(|(most, size)| size > most)
        {
            return Some(format!("{at} is too large or too small: {value}"));
        }
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
