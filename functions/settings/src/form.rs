//! Reading what a person sent, field by field, so that everything wrong with it is said at once
//! and by name.

use crate::refusal::{Answer, Refusal};
use axum::{
    body::to_bytes,
    extract::{FromRequest, FromRequestParts, Request},
    http::{StatusCode, request::Parts},
};
use gantry_setup::web;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The largest body. A stack with all its variables has to fit into one record of 400 kB.
const LARGEST: usize = 300 * 1024;

/// A body that is a JSON object; no body at all counts as an empty one.
pub(crate) struct Body(pub(crate) Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Refusal;

    async fn from_request(request: Request, _state: &S) -> Answer<Self> {
        let bytes = to_bytes(request.into_body(), LARGEST).await.map_err(|_| {
            let detail = format!("The body may have at most {} kB.", LARGEST / 1024);
            Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "The request is too large", detail)
        })?;
        read_object(&bytes).map(Self)
    }
}

/// The parameters behind an address's `?`.
pub(crate) struct Params<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        let web::Params(params) = web::Params::from_request_parts(parts, state).await?;
        Ok(Self(params))
    }
}

fn read_object(bytes: &[u8]) -> Answer<Map<String, Value>> {
    if bytes.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    let wrong = |detail: String| {
        Refusal::new(StatusCode::BAD_REQUEST, "The body is not a JSON object", detail)
    };
    match serde_json::from_slice::<Value>(bytes) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(other) => Err(wrong(format!("It is {}. Send an object: {{…}}.", kind(&other)))),
        // The error's own text names line and column, never the content.
        Err(error) => Err(wrong(format!("It cannot be read: {error}."))),
    }
}

/// What a value is, in words that do not show it.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// What should have been there, by serde's words without their backticks. They begin with what was,
/// which may be a secret.
fn expected(words: &str) -> String {
    match words.rsplit_once(", expected ") {
        Some((_, expected)) => format!("Must be {}", expected.replace('`', "")),
        None => words.to_owned(),
    }
}

/// What is wrong, by field: `variables[2].name`.
pub(crate) type Errors = BTreeMap<String, String>;

/// An object that is read field by field. Null counts as missing.
pub(crate) struct Form {
    at: String,
    fields: Map<String, Value>,
    known: Vec<&'static str>,
    errors: Errors,
}

impl Form {
    /// The fields of a body.
    pub(crate) fn new(fields: Map<String, Value>) -> Self {
        Self { at: String::new(), fields, known: Vec::new(), errors: Errors::new() }
    }

    fn path(&self, name: &str) -> String {
        if self.at.is_empty() { name.to_owned() } else { format!("{}.{name}", self.at) }
    }

    /// Records that something is wrong with a field. The first thing said stays.
    pub(crate) fn wrong(&mut self, name: &str, problem: impl Into<String>) {
        let path = self.path(name);
        self.errors.entry(path).or_insert_with(|| problem.into());
    }

    /// Something was said against the field, or a part of it.
    pub(crate) fn is_wrong(&self, name: &str) -> bool {
        let path = self.path(name);
        let is_part = |rest: &str| rest.is_empty() || rest.starts_with(['[', '.']);
        self.errors.keys().any(|field| field.strip_prefix(&path).is_some_and(is_part))
    }

    /// A field's value, whatever it is.
    pub(crate) fn value(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.fields.remove(name).filter(|value| !value.is_null())
    }

    /// A text, without spaces around it. An empty one counts as missing.
    pub(crate) fn text(&mut self, name: &'static str) -> Option<String> {
        let text = self.raw_text(name)?;
        let text = text.trim();
        if text.chars().any(char::is_control) {
            self.wrong(name, "Must not contain line breaks or other control characters");
            return None;
        }
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// A text as it was sent. What is in it is never quoted in an error: it may be a secret.
    pub(crate) fn raw_text(&mut self, name: &'static str) -> Option<String> {
        match self.value(name)? {
            Value::String(text) => Some(text),
            other => {
                self.wrong(name, format!("Must be a string, not {}", kind(&other)));
                None
            }
        }
    }

    /// A text that must be there: `ask` asks for it.
    pub(crate) fn required_text(&mut self, name: &'static str, ask: &str) -> Option<String> {
        let said = self.errors.len();
        let text = self.text(name);
        if text.is_none() && self.errors.len() == said {
            self.wrong(name, ask);
        }
        text
    }

    /// True or false.
    pub(crate) fn flag(&mut self, name: &'static str) -> Option<bool> {
        match self.value(name)? {
            Value::Bool(flag) => Some(flag),
            other => {
                self.wrong(name, format!("Must be true or false, not {}", kind(&other)));
                None
            }
        }
    }

    /// One of several words, or an object: whatever `T` reads.
    pub(crate) fn choice<T: DeserializeOwned>(&mut self, name: &'static str) -> Option<T> {
        let value = self.value(name)?;
        match serde_json::from_value(value) {
            Ok(choice) => Some(choice),
            Err(error) => {
                self.wrong(name, expected(&error.to_string()));
                None
            }
        }
    }

    /// A list of texts; each is checked on its own and named by its place.
    pub(crate) fn texts(
        &mut self,
        name: &'static str,
        most: usize,
        check: impl Fn(&str) -> Result<String, String>,
    ) -> Option<Vec<String>> {
        let Value::Array(items) = self.value(name)? else {
            self.wrong(name, "Must be a list of strings");
            return None;
        };
        if items.len() > most {
            self.wrong(name, format!("Has {} entries; at most {most} are allowed", items.len()));
            return None;
        }
        let mut texts = Vec::with_capacity(items.len());
        for (place, item) in items.into_iter().enumerate() {
            let read = match &item {
                Value::String(text) => check(text),
                Value::Number(number) => check(&number.to_string()),
                other => Err(format!("Must be a string, not {}", kind(other))),
            };
            match read {
                Ok(text) => texts.push(text),
                Err(problem) => self.wrong(&format!("{name}[{place}]"), problem),
            }
        }
        Some(texts)
    }

    /// A list of objects, each read by `read`.
    pub(crate) fn objects<T>(
        &mut self,
        name: &'static str,
        most: usize,
        read: impl Fn(&mut Form) -> Option<T>,
    ) -> Option<Vec<T>> {
        let Value::Array(items) = self.value(name)? else {
            self.wrong(name, "Must be a list of objects");
            return None;
        };
        if items.len() > most {
            self.wrong(name, format!("Has {} entries; at most {most} are allowed", items.len()));
            return None;
        }
        let mut objects = Vec::with_capacity(items.len());
        for (place, item) in items.into_iter().enumerate() {
            let at = format!("{name}[{place}]");
            let Value::Object(fields) = item else {
                self.wrong(&at, format!("Must be an object, not {}", kind(&item)));
                continue;
            };
            let at = self.path(&at);
            let mut form = Form { at, fields, known: Vec::new(), errors: Errors::new() };
            objects.extend(read(&mut form));
            self.errors.extend(form.finish());
        }
        Some(objects)
    }

    /// An object with fields of its own.
    pub(crate) fn object<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Form) -> T,
    ) -> Option<T> {
        match self.value(name)? {
            Value::Object(fields) => {
                let at = self.path(name);
                let mut form = Form { at, fields, known: Vec::new(), errors: Errors::new() };
                let object = read(&mut form);
                self.errors.extend(form.finish());
                Some(object)
            }
            other => {
                self.wrong(name, format!("Must be an object, not {}", kind(&other)));
                None
            }
        }
    }

    /// The field's value is an object.
    pub(crate) fn has_object(&self, name: &str) -> bool {
        self.fields.get(name).is_some_and(Value::is_object)
    }

    /// Fields that an answer has and a request may send back: they change nothing.
    pub(crate) fn ignore(&mut self, names: &[&str]) {
        self.fields.retain(|name, _| !names.contains(&name.as_str()));
    }

    /// Everything that is wrong. What is left unread is no field here.
    pub(crate) fn finish(self) -> Errors {
        let mut errors = self.errors;
        for name in self.fields.keys() {
            let path =
                if self.at.is_empty() { name.clone() } else { format!("{}.{name}", self.at) };
            errors.insert(path, format!("Unknown field; allowed: {}", self.known.join(", ")));
        }
        errors
    }

    /// A refusal when something is wrong.
    pub(crate) fn check(self) -> Answer<()> {
        let errors = self.finish();
        if errors.is_empty() { Ok(()) } else { Err(Refusal::fields(errors)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn everything_wrong_is_said_at_once_and_by_name() {
        let Value::Object(body) = json!({
            "name": 3, "on": "yes", "list": ["a", false, "b"], "things": [{"x": 1}, 2, {"id": "i"}],
            "inner": {"more": true}, "nmae": "typo", "nothing": null,
        }) else {
            panic!()
        };
        let mut form = Form::new(body);
        form.required_text("name", "Enter a name.");
        form.required_text("nothing", "Enter anything.");
        form.flag("on");
        form.texts("list", 5, |text| Ok(text.to_owned()));
        form.objects("things", 5, |form| form.text("id"));
        form.object("inner", |form| form.text("id"));
        let said: Vec<String> = form
            .finish()
            .into_iter()
            .map(|(field, problem)| format!("{field}: {problem}"))
            .collect();
        insta::assert_snapshot!(said.join("\n"), @"
        inner.more: Unknown field; allowed: id
        list[1]: Must be a string, not a boolean
        name: Must be a string, not a number
        nmae: Unknown field; allowed: name, nothing, on, list, things, inner
        nothing: Enter anything.
        on: Must be true or false, not a string
        things[0].x: Unknown field; allowed: id
        things[1]: Must be an object, not a number
        ");
    }

    #[test]
    fn a_body_says_where_it_breaks() {
        let said: Vec<String> = ["{\"a\": 1,\n \"b\" 2}", "[1]", "\"x\"", "{"]
            .into_iter()
            .map(|body| read_object(body.as_bytes()).unwrap_err().outcome())
            .collect();
        insta::assert_snapshot!(said.join("\n"), @"
        refused: The body is not a JSON object. It cannot be read: expected `:` at line 2 column 6.
        refused: The body is not a JSON object. It is a list. Send an object: {…}.
        refused: The body is not a JSON object. It is a string. Send an object: {…}.
        refused: The body is not a JSON object. It cannot be read: EOF while parsing an object at line 1 column 1.
        ");
        assert!(read_object(b" ").unwrap().is_empty());
    }
}
