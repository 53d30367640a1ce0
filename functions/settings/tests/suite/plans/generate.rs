//! Random code, the state before it, and what there is outside.

use super::value::{UNKNOWN, Value, named, quoted};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use serde_json::{Value as Json, json};

/// How all secrets begin, texts and numbers: what is looked for where none may stand.
pub(super) const SECRET_TEXT: &str = "hush";
pub(super) const SECRET_NUMBER: &str = "70707";
/// How secrets begin that no plan has.
pub(super) const WRITE_ONLY: &str = "hushw";

const TEST: &str = "provider[\"gantry.test/gantry/test\"]";
const BUILT_IN: &str = "provider[\"terraform.io/builtin/terraform\"]";

/// What a plan is made of.
#[derive(Default)]
pub(super) struct Generated {
    pub(super) root: String,
    pub(super) module: String,
    pub(super) state: String,
    /// Ids with their objects.
    pub(super) outside: Vec<(String, String)>,
    pub(super) arguments: Vec<String>,
}

/// A resource's object: names with values.
type Object = Vec<(String, Value)>;

/// What the tool knows that others do not.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Features {
    /// Actions, and imports by identity.
    pub(super) actions: bool,
    /// `destroy = false` in a `lifecycle`.
    pub(super) kept: bool,
}

struct Generator {
    rng: StdRng,
    features: Features,
    /// The text of the variable that is marked.
    hidden: String,
    number: usize,
    root: String,
    module: String,
    resources: Vec<Json>,
    /// The text that stands for an object in `resources`, and the object.
    objects: Vec<(String, String)>,
    outputs: serde_json::Map<String, Json>,
    outside: Vec<(String, String)>,
    /// An address in the code, for arguments, and whether something has moved.
    address: Option<String>,
    has_moved: bool,
}

pub(super) fn generate(seed: u64, features: Features) -> Generated {
    let mut rng = StdRng::seed_from_u64(seed);
    let hidden = format!("{SECRET_TEXT}{:010}", rng.random_range(0..10_000_000_000_u64));
    let generator = Generator {
        rng,
        features,
        hidden,
        number: 0,
        root: String::new(),
        module: String::new(),
        resources: Vec::new(),
        objects: Vec::new(),
        outputs: serde_json::Map::new(),
        outside: Vec::new(),
        address: None,
        has_moved: false,
    };
    generator.all()
}

impl Generator {
    fn all(mut self) -> Generated {
        let variable = format!(
            "variable \"shown\" {{\n  default = \"shown\"\n}}\nvariable \"hidden\" {{\n  default = {}\n  sensitive = true\n}}\nresource \"terraform_data\" \"fresh\" {{\n}}\n",
            quoted(&self.hidden)
        );
        self.root.push_str(&variable);
        self.module.push_str(&variable.replace(&self.hidden, "other"));
        let token = format!(
            "ephemeral \"test_token\" \"t\" {{\n  name = {}\n}}\n",
            quoted(&self.write_only())
        );
        self.root.push_str(&token);
        self.module.push_str(&token);
        for at in 0..self.rng.random_range(1..6) {
            self.resource(at);
        }
        if self.is(0.4) {
            self.module();
        }
        for at in 0..self.rng.random_range(0..4) {
            self.output(at);
        }
        for at in 0..self.rng.random_range(0..3) {
            let unknown = format!("{UNKNOWN} == \"\"");
            let conditions = ["var.shown == \"\"", "var.shown != \"\"", &unknown];
            let condition = *conditions.choose(&mut self.rng).unwrap();
            self.root.push_str(&format!(
                "check \"c{at}\" {{\n  assert {{\n    condition = {condition}\n    error_message = \"It is not {at}.\"\n  }}\n}}\n"
            ));
        }
        self.data();
        let arguments = self.arguments();
        let mut state = json!({
            "version": 4, "terraform_version": "1.9.0", "serial": 3, "lineage": "of-a-test",
            "outputs": self.outputs, "resources": self.resources, "check_results": null,
        })
        .to_string();
        for (placeholder, object) in &self.objects {
            state = state.replace(&format!("\"{placeholder}\""), object);
        }
        Generated { root: self.root, module: self.module, state, outside: self.outside, arguments }
    }

    fn is(&mut self, probability: f64) -> bool {
        self.rng.random_bool(probability)
    }

    fn next(&mut self) -> usize {
        self.number += 1;
        self.number
    }

    fn arguments(&mut self) -> Vec<String> {
        let address = self.address.clone();
        let argument = match (self.rng.random_range(0..20), address) {
            (0, _) => "-destroy".to_owned(),
            (1, _) => "-refresh-only".to_owned(),
            (2, _) => "-refresh=false".to_owned(),
            (3, Some(address)) if !self.has_moved => format!("-target={address}"),
            (4 | 5, Some(address)) => format!("-replace={address}"),
            _ => return Vec::new(),
        };
        vec![argument]
    }

    // Values.

    fn secret(&mut self) -> String {
        let core = format!("{SECRET_TEXT}{:010}", self.rng.random_range(0..10_000_000_000_u64));
        match self.rng.random_range(0..12) {
            0 => format!("-----BEGIN-----\n{core}\n{core}x\n-----END-----\n"),
            1 => format!("a \"{core}\" <b>"),
            2 => format!("{{\"password\":\"{core}\",\"n\":1}}"),
            3 => core.repeat(40),
            4 | 5 => self.hidden.clone(),
            6 => format!("postgres://u:{}@db", self.hidden),
            _ => core,
        }
    }

    /// A secret that no plan has.
    fn write_only(&mut self) -> String {
        format!("{WRITE_ONLY}{:010}", self.rng.random_range(0..10_000_000_000_u64))
    }

    fn secret_number(&mut self) -> Value {
        Value::Number(format!("{SECRET_NUMBER}{:05}", self.rng.random_range(0..100_000)))
    }

    fn text(&mut self) -> String {
        let number = self.next();
        let lines = |from: usize, end: &str| {
            let line = |at: usize| format!("line {}{end}", from + at);
            (0..12).map(line).collect::<String>()
        };
        match self.rng.random_range(0..26) {
            0 => String::new(),
            1 => " ".to_owned(),
            2 => "true".to_owned(),
            3 => "12".to_owned(),
            4 => lines(number % 7, "\n"),
            5 => lines(number % 7, "\r\n"),
            6 => lines(number % 7, "\n") + "and no end",
            7 => {
                format!("{{\"Statement\":[{{\"Action\":[\"s3:G\"],\"n\":{number}}}],\"v\":1e3}}")
            }
            8 => format!("[{number},\"x\"]"),
            9 => format!("long {number} {}", "abcdefghij".repeat(70)),
            10 => format!("{} long {number}", "abcdefghij".repeat(70)),
            11 => format!("a\u{200b}b{number}\u{202e}"),
            12 => format!("tab\there {number} "),
            13 => format!("```\n/close\n@all <!-- {number} --> &amp; <b>"),
            14 => "${not} %{code} \\n".to_owned(),
            15 => format!("ünï–😀-{number}"),
            16 => "a\u{1b}[31mred\u{1b}[0m".to_owned(),
            17 => "null".to_owned(),
            _ => format!("plain-{number}"),
        }
    }

    fn number(&mut self) -> Value {
        let number = self.rng.random_range(-20..1000_i64);
        Value::Number(match self.rng.random_range(0..8) {
            0 => "123456789012345678901234567890".to_owned(),
            1 => format!("{number}.25"),
            2 => "9007199254740993".to_owned(),
            _ => number.to_string(),
        })
    }

    fn leaf(&mut self) -> Value {
        match self.rng.random_range(0..10) {
            0 => Value::Null,
            1 => Value::Bool(self.is(0.5)),
            2 | 3 => self.number(),
            4 => Value::Unknown,
            5 => Value::Text(self.secret()).marked(),
            6 => self.secret_number().marked(),
            _ => Value::Text(self.text()),
        }
    }

    fn key(&mut self) -> String {
        let keys = ["a", "b-c", "d e", "app.kubernetes.io/name", "Ünï", "q\"q", "0", "é\u{200b}"];
        (*keys.choose(&mut self.rng).unwrap()).to_owned()
    }

    fn members(&mut self, mut value: impl FnMut(&mut Self) -> Value) -> Vec<(String, Value)> {
        let mut members: Vec<(String, Value)> = Vec::new();
        for _ in 0..self.rng.random_range(0..4) {
            let key = self.key();
            if members.iter().all(|(known, _)| *known != key) {
                let value = value(self);
                members.push((key, value));
            }
        }
        members.sort_by(|a, b| a.0.cmp(&b.0));
        members
    }

    fn items(&mut self, mut item: impl FnMut(&mut Self) -> Value) -> Vec<Value> {
        (0..self.rng.random_range(0..4)).map(|_| item(self)).collect()
    }

    fn nested(&mut self, depth: usize) -> Value {
        let value = match self.rng.random_range(0..6) {
            0 | 1 if depth > 0 => Value::List(self.items(|g| g.nested(depth - 1))),
            2..=4 if depth > 0 => Value::Object(self.members(|g| g.nested(depth - 1))),
            _ => self.leaf(),
        };
        if self.is(0.1) { self.hide(value) } else { value }
    }

    /// Marked, and with nothing in it that is not known.
    fn hide(&mut self, value: Value) -> Value {
        value.known().marked()
    }

    /// The value after one change.
    fn changed(&mut self, value: &Value) -> Value {
        let mut value = value.clone();
        match &mut value {
            Value::Marked(inner) if self.is(0.4) => return (**inner).clone(),
            Value::Marked(inner) => {
                let other = match **inner {
                    Value::Number(_) => self.secret_number(),
                    _ => Value::Text(self.secret()),
                };
                return other.marked();
            }
            Value::List(items) => {
                let at = self.rng.random_range(0..=items.len());
                match self.rng.random_range(0..4) {
                    0 => {
                        let item = items.first().map_or(Value::Null, |item| self.changed(item));
                        items.insert(at, item);
                    }
                    1 if at < items.len() => drop(items.remove(at)),
                    2 => items.reverse(),
                    _ if at < items.len() => items[at] = self.changed(&items[at]),
                    _ => {}
                }
            }
            Value::Object(members) | Value::Map(members) if !members.is_empty() => {
                let at = self.rng.random_range(0..members.len());
                if self.is(0.3) {
                    members.remove(at);
                } else {
                    members[at].1 = self.changed(&members[at].1);
                }
            }
            Value::Unknown => {}
            leaf if self.is(0.3) => return leaf.clone().marked(),
            Value::Number(_) => return self.number(),
            Value::Bool(value) => return Value::Bool(!*value),
            Value::Text(text) if self.is(0.2) => text.push('\n'),
            _ => return Value::Text(self.text()),
        }
        value
    }

    // Objects of the provider for tests.

    fn optional(&mut self, value: impl FnOnce(&mut Self) -> Value) -> Value {
        if self.is(0.5) { value(self) } else { Value::Null }
    }

    fn attribute_text(&mut self) -> Value {
        match self.rng.random_range(0..8) {
            0 => Value::Unknown,
            1 => Value::Text(self.secret()).marked(),
            _ => Value::Text(self.text()),
        }
    }

    fn rule(&mut self) -> Value {
        let port = self.number();
        let text = self.optional(Self::attribute_text);
        let secret = self.optional(|g| Value::Text(g.secret()));
        Value::Object(vec![
            ("port".to_owned(), port),
            ("secret".to_owned(), secret),
            ("text".to_owned(), text),
        ])
    }

    fn endpoint(&mut self) -> Value {
        let url = Value::Text(format!("https://{}.example", self.next()));
        let token = self.optional(|g| Value::Text(g.secret()));
        Value::Object(vec![("token".to_owned(), token), ("url".to_owned(), url)])
    }

    fn label(&mut self) -> Value {
        let key = Value::Text(format!("key-{}", self.rng.random_range(0..5)));
        let value = self.optional(Self::attribute_text);
        Value::Object(vec![("key".to_owned(), key), ("value".to_owned(), value)])
    }

    fn attribute(&mut self, name: &str) -> Value {
        match name {
            "text" => self.attribute_text(),
            "number" => self.number(),
            "secret" => Value::Text(self.secret()),
            "pin" => self.secret_number(),
            "tags" => {
                let tags = Value::Map(self.members(Self::attribute_text));
                if self.is(0.1) { self.hide(tags) } else { tags }
            }
            "endpoints" => Value::List(self.items(Self::endpoint)),
            "rule" => Value::List(self.items(Self::rule)),
            "label" => {
                let mut labels = self.items(Self::label);
                labels.dedup();
                Value::List(labels)
            }
            _ => {
                let (text, number) = (self.optional(Self::attribute_text), self.number());
                let members = [("number", number), ("text", text)];
                Value::Object(members.map(|(name, value)| (name.to_owned(), value)).into())
            }
        }
    }

    fn object(&mut self) -> Object {
        let names =
            ["text", "number", "secret", "pin", "tags", "endpoints", "rule", "label", "settings"];
        let mut object = Object::new();
        for name in names {
            let value = match (self.is(0.4), name) {
                (true, _) => self.attribute(name),
                (false, "rule" | "label") => Value::List(Vec::new()),
                (false, _) => Value::Null,
            };
            object.push((name.to_owned(), value));
        }
        object
    }

    /// The object as it was before the code was changed.
    fn before(&mut self, object: &Object) -> Object {
        let mut before: Object = object.clone();
        for _ in 0..self.rng.random_range(0..4) {
            let at = self.rng.random_range(0..before.len());
            let (name, value) = &before[at];
            // What changes in those must stay what the schema has.
            let is_block = ["rule", "label", "endpoints", "settings"].contains(&name.as_str());
            let is_one =
                matches!(value, Value::Null) || is_block || name == "pin" || name == "number";
            let name = name.clone();
            before[at].1 = match value.clone() {
                Value::List(mut items) if self.is(0.6) && !items.is_empty() => {
                    match self.rng.random_range(0..3) {
                        0 => drop(items.remove(0)),
                        1 => items.reverse(),
                        _ => items.truncate(1),
                    }
                    Value::List(items)
                }
                _ if is_one && self.is(0.3) && name != "rule" && name != "label" => Value::Null,
                _ if is_one => self.attribute(&name),
                Value::Map(mut members) if self.is(0.5) => {
                    members.pop();
                    Value::Map(members)
                }
                Value::Marked(inner) => match &*inner {
                    Value::Map(_) => *inner,
                    _ => self.changed(&Value::Marked(inner)),
                },
                Value::Map(members) => {
                    let text = |(name, value): &(String, Value)| match value {
                        Value::Text(_) | Value::Marked(_) => (name.clone(), self.changed(value)),
                        other => (name.clone(), other.clone()),
                    };
                    Value::Map(members.iter().map(text).collect())
                }
                other => self.changed(&other),
            };
        }
        before.into_iter().map(|(name, value)| (name, value.known())).collect()
    }

    fn object_code(&mut self, object: &Object) -> String {
        let mut code = String::new();
        for (name, value) in object {
            match (name.as_str(), value) {
                (_, Value::Null) => {}
                ("rule" | "label", Value::List(blocks)) => {
                    for block in blocks {
                        code.push_str(&self.block(name, block));
                    }
                }
                ("settings", block) => code.push_str(&self.block(name, block)),
                (_, value) => {
                    code.push_str(&format!("  {name} = {}\n", value.code(&self.hidden)));
                }
            }
        }
        if self.is(0.05) {
            let some = format!("split(\",\", {UNKNOWN})");
            code.push_str(&format!(
                "  dynamic \"rule\" {{\n    for_each = {some}\n    content {{\n      port = 1\n    }}\n  }}\n"
            ));
        }
        if self.is(0.1) {
            let number = self.next();
            let value = match self.is(0.5) {
                true => "ephemeral.test_token.t.value".to_owned(),
                false => quoted(&self.write_only()),
            };
            code.push_str(&format!("  write_only = {value}\n  write_only_version = {number}\n"));
        }
        code
    }

    fn block(&mut self, name: &str, block: &Value) -> String {
        let Value::Object(members) = block else { return String::new() };
        let lines: String = members
            .iter()
            .filter(|(_, value)| *value != Value::Null)
            .map(|(name, value)| format!("    {name} = {}\n", value.code(&self.hidden)))
            .collect();
        format!("  {name} {{\n{lines}  }}\n")
    }

    /// An instance of a state, and its object outside.
    fn instance(&mut self, name: &str, object: &Object, drifts: bool) -> Json {
        let id = format!("{name}-{}", self.next());
        let written = |object: &Object, outside: bool| {
            let mut all: Object = vec![
                ("id".to_owned(), Value::text(&id)),
                ("name".to_owned(), Value::text(name)),
                ("revision".to_owned(), Value::Number("1".to_owned())),
            ];
            let names =
                ["fails_to", "old_text", "takes", "warns_at", "write_only", "write_only_version"];
            all.extend(names.map(|name| (name.to_owned(), Value::Null)));
            all.push(("unwritten".to_owned(), Value::List(Vec::new())));
            all.extend(object.iter().cloned());
            Value::Object(all).json(outside)
        };
        if !drifts || self.is(0.75) {
            self.outside.push((id.clone(), written(object, true)));
        } else if self.is(0.7) {
            let drifted = self.before(object);
            self.outside.push((id.clone(), written(&drifted, true)));
        }
        let attributes = self.attributes(written(object, false));
        let mut marks = Vec::new();
        Value::Object(object.clone()).marks(&[], &mut marks);
        // A set is marked as a whole.
        if marks.iter().any(|path| path[0] == named("label")) {
            marks.retain(|path| path[0] != named("label"));
            marks.push(json!([named("label")]));
        }
        if self.is(0.9) {
            marks.extend(schema_marks(object));
        }
        let mut instance = json!({
            "schema_version": 0, "attributes": attributes, "sensitive_attributes": marks,
        });
        if self.is(0.08) {
            instance["status"] = json!("tainted");
        }
        instance
    }

    /// What stands in the state for an object: its numbers may be too long for others.
    fn attributes(&mut self, object: String) -> String {
        let placeholder = format!("object {}", self.objects.len());
        self.objects.push((placeholder.clone(), object));
        placeholder
    }

    fn data_instance(&mut self, input: &Value) -> Json {
        let input = input.known();
        let wrapped = match &input {
            Value::Null => "null".to_owned(),
            input => format!("{{\"value\":{},\"type\":{}}}", input.json(false), input.type_of()),
        };
        let id = format!("{:08x}-0000-4000-8000-{:012}", self.rng.random::<u32>(), self.next());
        let object = format!(
            "{{\"id\":\"{id}\",\"input\":{wrapped},\"output\":{wrapped},\"triggers_replace\":null}}"
        );
        let mut marks = Vec::new();
        input.marks(&[named("input")], &mut marks);
        if self.is(0.3) {
            input.marks(&[named("output")], &mut marks);
        }
        let attributes = self.attributes(object);
        json!({ "schema_version": 0, "attributes": attributes, "sensitive_attributes": marks })
    }

    // What a configuration has.

    fn resource(&mut self, at: usize) {
        let is_data = self.is(0.35);
        let each = Each::random(self);
        // Now and then it was repeated in another way.
        let each_before = if self.is(0.1) { Each::random(self) } else { each.other_keys(self) };
        let fate = self.rng.random_range(0..12);
        let (in_state, in_code) = match fate {
            0 | 1 => (false, true),
            2 => (true, false),
            3 => (true, false),
            4 => (false, true),
            _ => (true, true),
        };
        let label = format!("r{at}");
        let kind = if is_data { "terraform_data" } else { "test_object" };
        let (mut kind_after, mut label_before) = (kind, label.clone());
        if fate == 5 {
            label_before = format!("before{at}");
            if !is_data && self.is(0.3) {
                kind_after = "test_thing";
            }
            self.has_moved = true;
            self.root.push_str(&format!(
                "moved {{\n  from = {kind}.{label_before}\n  to = {kind_after}.{label}\n}}\n"
            ));
        }
        let name = format!("n{at}");
        let name_before = if self.is(0.15) { format!("old{at}") } else { name.clone() };
        let input = if is_data { self.nested(3) } else { Value::Null };
        let object = if is_data { Object::new() } else { self.object() };
        if in_state {
            let mut instances = Vec::new();
            for key in each_before.keys() {
                let mut instance = if is_data {
                    let before = if self.is(0.6) { self.changed(&input) } else { input.clone() };
                    self.data_instance(&before)
                } else {
                    let before = self.before(&object);
                    self.instance(&name_before, &before, true)
                };
                instance["index_key"] = key.clone();
                if self.is(0.08) && !is_data {
                    let other = self.before(&object);
                    let mut deposed = self.instance(&name_before, &other, false);
                    deposed["index_key"] = key;
                    deposed["deposed"] = json!(format!("{:08x}", self.rng.random::<u32>()));
                    instances.push(deposed);
                }
                instances.push(instance);
            }
            self.in_state(None, kind, &label_before, instances);
        }
        if fate == 3 {
            self.root.push_str(&format!(
                "removed {{\n  from = {kind}.{label}\n  lifecycle {{\n    destroy = false\n  }}\n}}\n"
            ));
        }
        if in_code {
            let mut has = each.code();
            if is_data {
                has.push_str(&format!("  input = {}\n", input.code(&self.hidden)));
            } else {
                has.push_str(&format!("  name = {name:?}\n"));
                has.push_str(&self.object_code(&object));
            }
            let action = if is_data { None } else { self.action(at) };
            has.push_str(&self.lifecycle(action));
            self.root.push_str(&format!("resource {kind_after:?} {label:?} {{\n{has}}}\n"));
            let key = each.keys().into_iter().next().unwrap_or(Json::Null);
            let key = match key {
                Json::Null => String::new(),
                Json::String(key) => format!("[{}]", quoted(&key)),
                key => format!("[{key}]"),
            };
            let address = format!("{kind_after}.{label}{key}");
            if fate == 4 && !is_data && each.keys().len() == 1 {
                self.import(&name, &object, &address);
            } else if in_state && !is_data {
                self.address = Some(address);
            }
        }
    }

    fn import(&mut self, name: &str, object: &Object, address: &str) {
        let mut found = self.before(object);
        let mut name = name.to_owned();
        if self.is(0.3) {
            // In its id is what it keeps secret.
            name = format!("{SECRET_TEXT}{:010}", self.rng.random_range(0..10_000_000_000_u64));
            let secret = found.iter_mut().find(|(name, _)| name == "secret").unwrap();
            secret.1 = Value::text(&name);
        }
        let before = self.outside.len();
        let _not_in_the_state = self.instance(&name, &found, false);
        let id = self.outside[before].0.clone();
        let by = match self.features.actions && self.is(0.5) {
            true => format!("identity = {{ id = {id:?} }}"),
            false => format!("id = {id:?}"),
        };
        self.root.push_str(&format!("import {{\n  to = {address}\n  {by}\n}}\n"));
    }

    /// An action, where the resource has one: what its `lifecycle` says of it.
    fn action(&mut self, at: usize) -> Option<String> {
        if !self.features.actions || !self.is(0.5) {
            return None;
        }
        let text = match self.is(0.3) {
            true => Value::Text(self.secret()).marked(),
            false => Value::Text(self.text()),
        };
        let secret = quoted(&self.secret());
        self.root.push_str(&format!(
            "action \"test_note\" \"a{at}\" {{\n  config {{\n    text = {}\n    secret = {secret}\n  \
             }}\n}}\n",
            text.code(&self.hidden)
        ));
        let events = ["before_create", "after_create", "before_update", "after_update"];
        let events: Vec<_> = events.into_iter().filter(|_| self.is(0.5)).collect();
        let events = if events.is_empty() { "after_create".to_owned() } else { events.join(", ") };
        Some(format!(
            "    action_trigger {{\n      events = [{events}]\n      actions = \
             [action.test_note.a{at}]\n    }}\n"
        ))
    }

    fn lifecycle(&mut self, action: Option<String>) -> String {
        let mut has = action.unwrap_or_default();
        if self.features.kept && self.is(0.2) {
            has.push_str("    destroy = false\n");
        }
        if self.is(0.2) {
            has.push_str("    create_before_destroy = true\n");
        }
        if self.is(0.05) {
            has.push_str("    replace_triggered_by = [terraform_data.fresh]\n");
        }
        if has.is_empty() { has } else { format!("  lifecycle {{\n{has}  }}\n") }
    }

    fn in_state(&mut self, module: Option<&str>, kind: &str, name: &str, mut instances: Vec<Json>) {
        for instance in &mut instances {
            if instance["index_key"].is_null() {
                instance.as_object_mut().unwrap().remove("index_key");
            }
        }
        let provider = if kind == "terraform_data" { BUILT_IN } else { TEST };
        let mut resource = json!({
            "mode": "managed", "type": kind, "name": name, "provider": provider,
            "instances": instances,
        });
        if let Some(module) = module {
            resource["module"] = json!(module);
        }
        if resource["instances"].as_array().is_some_and(|all| !all.is_empty()) {
            self.resources.push(resource);
        }
    }

    /// A module whose instances come and go.
    fn module(&mut self) {
        let keys = ["x", "y z", "q\"q", "0"];
        let some = |g: &mut Self| -> Vec<&str> { keys.into_iter().filter(|_| g.is(0.5)).collect() };
        let (before, after) = (some(self), some(self));
        let after: Vec<String> = after.into_iter().map(quoted).collect();
        self.root.push_str(&format!(
            "module \"m\" {{\n  source = \"./m\"\n  hidden = var.hidden\n  for_each = toset([{}])\n}}\n",
            after.join(", ")
        ));
        let (object, input) = (self.object(), self.nested(2));
        let code = self.object_code(&object) + &self.lifecycle(None);
        self.module.push_str(&format!(
            "resource \"test_object\" \"in\" {{\n  name = \"in\"\n{code}}}\nresource \"terraform_data\" \"in\" {{\n  input = {}\n}}\n",
            input.code(&self.hidden)
        ));
        for key in before {
            let module = format!("module.m[{}]", quoted(key));
            let was = self.before(&object);
            let instance = self.instance("in", &was, true);
            self.in_state(Some(&module), "test_object", "in", vec![instance]);
            let was = if self.is(0.5) { self.changed(&input) } else { input.clone() };
            let instance = self.data_instance(&was);
            self.in_state(Some(&module), "terraform_data", "in", vec![instance]);
        }
    }

    fn data(&mut self) {
        if self.is(0.3) {
            let object = self.object();
            let object: Object = object.into_iter().map(|(name, is)| (name, is.known())).collect();
            let before = self.outside.len();
            let _not_in_the_state = self.instance("seen", &object, false);
            let id = self.outside[before].0.clone();
            self.root.push_str(&format!("data \"test_object\" \"seen\" {{\n  id = {id:?}\n}}\n"));
        }
        if self.is(0.3) {
            self.root
                .push_str(&format!("data \"test_object\" \"late\" {{\n  id = {UNKNOWN}\n}}\n"));
        }
    }

    fn output(&mut self, at: usize) {
        let name = format!("o{at}");
        let value = self.nested(2);
        let before = if self.is(0.5) { self.changed(&value) } else { value.clone() }.known();
        if self.is(0.7) && before != Value::Null {
            let mut output = json!({
                "value": self.attributes(before.json(false)), "type": before.type_of(),
            });
            if before.has_marks() || self.is(0.1) {
                output["sensitive"] = json!(true);
            }
            self.outputs.insert(name.clone(), output);
        }
        if self.is(0.85) {
            let marked =
                if value.has_marks() || self.is(0.1) { "  sensitive = true\n" } else { "" };
            self.root.push_str(&format!(
                "output {name:?} {{\n  value = {}\n{marked}}}\n",
                value.code(&self.hidden)
            ));
        }
    }
}

/// How a resource is repeated.
enum Each {
    One,
    Count(usize),
    Keys(Vec<&'static str>),
}

impl Each {
    fn random(generator: &mut Generator) -> Self {
        match generator.rng.random_range(0..6) {
            0 => Self::Count(generator.rng.random_range(0..4)),
            1 => {
                let keys = ["a", "b c", "d.e", "/f", "`g`", "@h"];
                Self::Keys(keys.into_iter().filter(|_| generator.is(0.3)).collect())
            }
            _ => Self::One,
        }
    }

    /// Repeated in the same way, another number of times.
    fn other_keys(&self, generator: &mut Generator) -> Self {
        loop {
            let other = Self::random(generator);
            if std::mem::discriminant(&other) == std::mem::discriminant(self) {
                return other;
            }
        }
    }

    fn keys(&self) -> Vec<Json> {
        match self {
            Self::One => vec![Json::Null],
            Self::Count(count) => (0..*count).map(Json::from).collect(),
            Self::Keys(keys) => keys.iter().map(|key| json!(key)).collect(),
        }
    }

    fn code(&self) -> String {
        match self {
            Self::One => String::new(),
            Self::Count(count) => format!("  count = {count}\n"),
            Self::Keys(keys) => format!("  for_each = toset({keys:?})\n"),
        }
    }
}

/// What the provider marks itself.
fn schema_marks(object: &Object) -> Vec<Json> {
    let mut marks = vec![json!([named("secret")]), json!([named("pin")])];
    for (name, of) in [("rule", "secret"), ("endpoints", "token")] {
        let list = object.iter().find(|(known, _)| known == name).map(|(_, value)| value);
        let Some(Value::List(items)) = list else { continue };
        for at in 0..items.len() {
            let index = json!({ "type": "index", "value": { "value": at, "type": "number" } });
            marks.push(json!([named(name), index, named(of)]));
        }
    }
    marks
}
