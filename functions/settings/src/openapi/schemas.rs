//! Collects the schemas of types, in the form that the description gives them.

use super::{by_hand, operation::SchemaOf};
use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value};

/// An example of what the schemas of this name describe, for each that a request or an answer has.
const EXAMPLES: &str = include_str!("examples.json");

/// What a field says of itself that is left out where there is nothing to say, and may be null too.
const MAY_BE_NULL: &str = "x-may-be-null";

/// The types of answers and those of requests. A field with a default is in every answer, and in a
/// request it may be missing: so each kind has a generator of its own.
pub(super) struct Schemas {
    answers: SchemaGenerator,
    requests: SchemaGenerator,
}

impl Schemas {
    pub(super) fn new() -> Self {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = "/components/schemas".into();
                settings.meta_schema = None;
            })
        };
        Self {
            answers: settings().for_serialize().into_generator(),
            requests: settings().for_deserialize().into_generator(),
        }
    }

    /// The schema of an answer: most often a reference to a named one.
    pub(super) fn answer(&mut self, schema: SchemaOf) -> Value {
        tidied(schema(&mut self.answers).to_value(), Side::Answer)
    }

    /// The schema of a request's body.
    pub(super) fn request(&mut self, schema: SchemaOf) -> Value {
        tidied(schema(&mut self.requests).to_value(), Side::Request)
    }

    /// The fields of a type, for parameters: each alone, and none of them null.
    pub(super) fn fields(&mut self, schema: SchemaOf) -> Vec<(String, Map<String, Value>)> {
        let reference = self.request(schema);
        let name = reference["$ref"].as_str().and_then(|path| path.rsplit('/').next());
        let named = name.and_then(|name| self.requests.definitions_mut().remove(name));
        let mut all = tidied(named.unwrap_or_default(), Side::Request);
        let Some(Value::Object(fields)) = all.get_mut("properties").map(Value::take) else {
            return Vec::new();
        };
        let fields = fields.into_iter().filter_map(|(name, schema)| match schema {
            Value::Object(mut schema) => {
                without_null(&mut schema);
                Some((name, schema))
            }
            _ => None,
        });
        fields.collect()
    }

    /// All schemas that have a name, each with its example.
    pub(super) fn finish(mut self) -> Map<String, Value> {
        let mut all = by_hand::definitions();
        for (generator, side) in
            [(&mut self.requests, Side::Request), (&mut self.answers, Side::Answer)]
        {
            for (name, schema) in generator.take_definitions(true) {
                if !all.contains_key(&name) {
                    all.insert(name, tidied(schema, side));
                }
            }
        }
        let examples: Map<String, Value> = serde_json::from_str(EXAMPLES).unwrap_or_default();
        for (name, example) in examples {
            // One that belongs to no schema is given one, so that a test finds it.
            all.entry(name).or_insert_with(|| Map::new().into())["examples"] =
                Value::Array(vec![example]);
        }
        let mut names: Vec<String> = all.keys().cloned().collect();
        names.sort_unstable();
        let named = |name: String| {
            let schema = all.remove(&name)?;
            Some((name, schema))
        };
        names.into_iter().filter_map(named).collect()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Answer,
    Request,
}

fn tidied(mut schema: Value, side: Side) -> Value {
    tidy(&mut schema, side);
    schema
}

/// Gives a schema the form that the description has: one line a paragraph, words as `enum`, no fields
/// but those that are named.
fn tidy(schema: &mut Value, side: Side) {
    let Value::Object(schema) = schema else { return };
    words_as_enum(schema);
    for (keyword, below) in schema.iter_mut() {
        match (keyword.as_str(), below) {
            ("properties", Value::Object(properties)) => {
                properties.values_mut().for_each(|property| tidy(property, side));
            }
            ("oneOf" | "anyOf" | "allOf" | "prefixItems", Value::Array(schemas)) => {
                schemas.iter_mut().for_each(|schema| tidy(schema, side));
            }
            ("items" | "additionalProperties", below) => tidy(below, side),
            ("description", Value::String(words)) => *words = unfolded(words),
            _ => {}
        }
    }
    if schema.contains_key("properties") && !schema.contains_key("additionalProperties") {
        schema.insert("additionalProperties".to_owned(), false.into());
    }
    // Rust's names of numbers say nothing to others; that they are not negative is in `minimum`.
    let is_ours = |format: &Value| format.as_str().is_some_and(|format| format.contains("int"));
    if schema.get("format").is_some_and(is_ours) {
        schema.remove("format");
    }
    if side == Side::Answer {
        schema.remove("default");
        never_null_where_left_out(schema);
    }
}

/// A field that an answer leaves out where there is nothing is never null, but for those that say so.
fn never_null_where_left_out(schema: &mut Map<String, Value>) {
    let required = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    let Some(Value::Object(properties)) = schema.get_mut("properties") else { return };
    for (name, property) in properties {
        let Value::Object(property) = property else { continue };
        if property.remove(MAY_BE_NULL).is_none() && !required.iter().any(|one| one == name) {
            without_null(property);
        }
    }
}

/// `oneOf` with one word each becomes an `enum`, which clients are made of more easily; what was said
/// of each word goes into the description.
fn words_as_enum(schema: &mut Map<String, Value>) {
    let Some(Value::Array(choices)) = schema.get("oneOf") else { return };
    let (mut words, mut about) = (Vec::new(), Vec::new());
    for choice in choices {
        let means = choice.get("description").and_then(Value::as_str);
        let named = match (choice.get("const"), choice.get("enum")) {
            (Some(word), _) => vec![word.clone()],
            (None, Some(Value::Array(words))) => words.clone(),
            _ => return,
        };
        for word in named {
            if let (Some(word), Some(means)) = (word.as_str(), means) {
                about.push(format!("- `{word}`: {}", unfolded(means)));
            }
            words.push(word);
        }
    }
    schema.remove("oneOf");
    schema.insert("type".to_owned(), "string".into());
    schema.insert("enum".to_owned(), words.into());
    let first = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    let paragraphs = [first.to_owned(), about.join("\n\n")];
    let said: Vec<String> = paragraphs.into_iter().filter(|words| !words.is_empty()).collect();
    if !said.is_empty() {
        schema.insert("description".to_owned(), said.join("\n\n").into());
    }
}

/// A comment's lines end where the code's do: a paragraph is one line here.
fn unfolded(words: &str) -> String {
    let paragraphs = words.split("\n\n").map(|paragraph| paragraph.replace('\n', " "));
    paragraphs.collect::<Vec<_>>().join("\n\n")
}

/// The same without null: for what is left out instead.
fn without_null(schema: &mut Map<String, Value>) {
    if let Some(Value::Array(kinds)) = schema.get_mut("type") {
        kinds.retain(|kind| kind != "null");
        if let [kind] = kinds.as_slice() {
            let kind = kind.clone();
            schema.insert("type".to_owned(), kind);
        }
    }
    let Some(Value::Array(mut choices)) = schema.remove("anyOf") else { return };
    choices.retain(|choice| choice.get("type").is_none_or(|kind| kind != "null"));
    for choice in choices {
        let Value::Object(choice) = choice else { continue };
        for (keyword, value) in choice {
            match (keyword.as_str(), schema.get_mut(&keyword), value) {
                ("description", Some(Value::String(first)), Value::String(more)) => {
                    first.push_str(&format!("\n\n{more}"));
                }
                (_, None, value) => {
                    schema.insert(keyword, value);
                }
                (_, Some(_), _) => {}
            }
        }
    }
}
