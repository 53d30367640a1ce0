//! What the description says of one route, besides its method, path and role.

use super::{role, schemas::Schemas};
use crate::routes::Route;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};
use std::{borrow::Cow, collections::BTreeSet};

/// Names a type's schema, and adds it to the others.
pub(crate) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// The schema of `T`.
pub(crate) fn schema_of<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Schema {
    schemas.subschema_for::<T>()
}

/// Any JSON object: what it has is said elsewhere.
pub(crate) enum AnyObject {}

impl JsonSchema for AnyObject {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "AnyObject".into()
    }

    fn json_schema(_schemas: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object" })
    }
}

/// What a route belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tag {
    Integration,
    Stacks,
    Modules,
    Runs,
    Events,
    Keys,
    Notifications,
    Operations,
}

impl Tag {
    /// In the description's order.
    pub(super) const ALL: [Self; 8] = [
        Self::Integration,
        Self::Stacks,
        Self::Modules,
        Self::Runs,
        Self::Events,
        Self::Keys,
        Self::Notifications,
        Self::Operations,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Integration => "Integration",
            Self::Stacks => "Stacks",
            Self::Modules => "Modules",
            Self::Runs => "Runs",
            Self::Events => "Events",
            Self::Keys => "Keys",
            Self::Notifications => "Notifications",
            Self::Operations => "Operations",
        }
    }

    pub(super) fn about(self) -> &'static str {
        match self {
            Self::Integration => "The GitLab server that Gantry works with.",
            Self::Stacks => "A stack is a folder on a project's tracked branch, with its state.",
            Self::Modules => "Modules for Terraform and OpenTofu, their tests and their versions.",
            Self::Runs => "Plans and applies, and the commands for them.",
            Self::Events => "What happened in GitLab, what was decided, and what people did.",
            Self::Keys => "The access keys for this API, and the sessions of people.",
            Self::Notifications => {
                "Who is told outside of GitLab, and what became of each message."
            }
            Self::Operations => "For operators of the installation.",
        }
    }
}

/// What the description says of a route.
pub(crate) struct Operation {
    tag: Tag,
    id: &'static str,
    summary: &'static str,
    about: &'static str,
    query: Option<SchemaOf>,
    header: Option<(&'static str, &'static str)>,
    body: Option<BodyOf>,
    answers: Vec<Answer>,
    refusals: &'static [u16],
}

/// What a request's body has.
#[derive(Clone, Copy)]
pub(crate) struct BodyOf {
    /// Its fields; none where it is no JSON.
    schema: Option<SchemaOf>,
    required: bool,
    /// What it is when it is packed with gzip, where that is taken.
    packed: Option<&'static str>,
}

impl BodyOf {
    /// A body that must be there.
    pub(crate) const fn required<B: JsonSchema>() -> Self {
        Self { schema: Some(schema_of::<B>), required: true, packed: None }
    }

    /// A body that may be empty.
    pub(crate) const fn optional<B: JsonSchema>() -> Self {
        Self { schema: Some(schema_of::<B>), required: false, packed: None }
    }

    /// An archive.
    pub(crate) const fn archive(words: &'static str) -> Self {
        Self { schema: None, required: true, packed: Some(words) }
    }

    /// It may be packed with gzip.
    pub(super) fn or_packed(self, words: &'static str) -> Self {
        Self { packed: Some(words), ..self }
    }
}

struct Answer {
    status: u16,
    words: &'static str,
    content: Option<(&'static str, SchemaOf)>,
}

const JSON: &str = "application/json";

impl Operation {
    pub(crate) fn new(tag: Tag, id: &'static str, summary: &'static str) -> Self {
        Self {
            tag,
            id,
            summary,
            about: "",
            query: None,
            header: None,
            body: None,
            answers: Vec::new(),
            refusals: &[],
        }
    }

    /// What it does, in a few words.
    pub(crate) fn summary(&self) -> &'static str {
        self.summary
    }

    /// More than the summary says.
    pub(crate) fn about(self, about: &'static str) -> Self {
        Self { about, ..self }
    }

    /// The parameters behind the `?`: the fields of a type.
    pub(crate) fn query(self, query: SchemaOf) -> Self {
        Self { query: Some(query), ..self }
    }

    /// Takes a header, which is optional.
    pub(crate) fn header(self, name: &'static str, words: &'static str) -> Self {
        Self { header: Some((name, words)), ..self }
    }

    /// Takes a body, or none.
    pub(crate) fn body(self, body: Option<BodyOf>) -> Self {
        Self { body, ..self }
    }

    /// Answers with `content`, or with nothing but the status.
    pub(crate) fn answer(
        mut self,
        status: u16,
        words: &'static str,
        content: Option<(&'static str, SchemaOf)>,
    ) -> Self {
        self.answers.push(Answer { status, words, content });
        self
    }

    /// Answers with JSON.
    pub(crate) fn json(self, status: u16, words: &'static str, schema: SchemaOf) -> Self {
        self.answer(status, words, Some((JSON, schema)))
    }

    /// May refuse with these, besides those that follow from what the route is.
    pub(crate) fn refusals(self, refusals: &'static [u16]) -> Self {
        Self { refusals, ..self }
    }

    pub(super) fn describe(&self, route: &Route, schemas: &mut Schemas) -> Value {
        let role = role(route.access);
        let mut described = json!({
            "operationId": self.id,
            "tags": [self.tag.name()],
            "summary": self.summary,
        });
        if !self.about.is_empty() {
            described["description"] = self.about.into();
        }
        match role {
            Some(role) => described["x-role"] = role.into(),
            None => described["security"] = json!([]),
        }
        let parameters = self.parameters(route.path, schemas);
        if !parameters.is_empty() {
            described["parameters"] = parameters.into();
        }
        if let Some(body) = &self.body {
            let mut content = json!({});
            if let Some(schema) = body.schema {
                content[JSON] = json!({ "schema": schemas.request(schema) });
            }
            if let Some(packed) = body.packed {
                let schema = json!({ "type": "string", "format": "binary", "description": packed });
                content["application/gzip"] = json!({ "schema": schema });
            }
            described["requestBody"] = json!({ "required": body.required, "content": content });
        }
        let mut responses = Map::new();
        for answer in &self.answers {
            let mut response = json!({ "description": answer.words });
            if let Some((kind, schema)) = answer.content {
                response["content"] = json!({ kind: { "schema": schemas.answer(schema) } });
            }
            responses.insert(answer.status.to_string(), response);
        }
        for status in self.all_refusals(route.path, role.is_some()) {
            let refused = json!({ "$ref": "#/components/responses/Refused" });
            responses.insert(status.to_string(), refused);
        }
        described["responses"] = responses.into();
        described
    }

    /// A parameter or a field that is none is refused everywhere; where there is a key, it may be
    /// missing or too low, or GitLab may be away for so long that nobody knows what its person may
    /// do; a body may be broken or too large; and what the path names may be missing.
    fn all_refusals(&self, path: &str, has_key: bool) -> BTreeSet<u16> {
        let mut all: BTreeSet<u16> = self.refusals.iter().copied().chain([422]).collect();
        if has_key {
            all.extend([401, 403, 503]);
        }
        if let Some(body) = &self.body {
            all.insert(413);
            // What may be packed is not read as JSON at once.
            all.extend(body.packed.is_none().then_some(400));
        }
        if path.contains('{') {
            all.insert(404);
        }
        all
    }

    fn parameters(&self, path: &str, schemas: &mut Schemas) -> Vec<Value> {
        let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let mut parameters: Vec<Value> = names
            .map(|name| {
                let (words, schema) = (in_path(path, name), json!({ "type": "string" }));
                parameter(name, "path", words, schema)
            })
            .collect();
        if let Some(query) = self.query {
            parameters.extend(schemas.fields(query).into_iter().map(|(name, mut schema)| {
                let words = schema.remove("description").unwrap_or_default();
                parameter(&name, "query", words.as_str().unwrap_or_default(), schema.into())
            }));
        }
        if let Some((name, words)) = self.header {
            parameters.push(parameter(name, "header", words, json!({ "type": "string" })));
        }
        parameters
    }
}

fn parameter(name: &str, place: &str, words: &str, schema: Value) -> Value {
    json!({
        "name": name,
        "in": place,
        "required": place == "path",
        "description": words,
        "schema": schema,
    })
}

/// What a name in a path stands for.
fn in_path(path: &str, name: &str) -> &'static str {
    let below = |folder: &str| path.starts_with(&format!("/api/v1/{folder}/"));
    match name {
        "slug" if below("modules") => "The module's slug.",
        "slug" if below("commands") => "The slug of the stack or module.",
        "slug" => "The stack's slug.",
        "id" if below("keys") => "The key's ID, its name, or the key itself.",
        "id" if below("events") => "The event's ID.",
        "id" if below("sessions") => "The ID of the session or key, as the list has it.",
        "id" => "The run's ID.",
        "target" => "The notification target's name.",
        "delivery" => "The message's ID, from the list of messages.",
        "digest" => "The archive's SHA-256, in lower-case hexadecimal digits.",
        "request" => "The request's ID: `request` in its response.",
        "version" if below("modules") => "The version number.",
        "version" => "Gantry's number for the version, or `current`.",
        _ => "",
    }
}
