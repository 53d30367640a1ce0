//! Values with marks: as code, as JSON, and as the types and paths that a state has beside them.

use serde_json::{Value as Json, json};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    /// Its digits.
    Number(String),
    Text(String),
    List(Vec<Value>),
    Object(Vec<(String, Value)>),
    Map(Vec<(String, Value)>),
    /// Marked as sensitive.
    Marked(Box<Value>),
    /// Known after the apply: in code alone.
    Unknown,
}

/// What nobody knows before the apply.
pub(super) const UNKNOWN: &str = "terraform_data.fresh.id";

impl Value {
    pub(super) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    pub(super) fn marked(self) -> Self {
        match self {
            Self::Unknown | Self::Null => self,
            Self::Marked(_) => self,
            other => Self::Marked(Box::new(other)),
        }
    }

    /// As an expression. Where a marked text has what the variable `hidden` has, it is made of it.
    pub(super) fn code(&self, hidden: &str) -> String {
        let members = |members: &[(String, Self)]| {
            let member = |(name, value): &(String, Self)| {
                format!("{} = {}", quoted(name), value.code(hidden))
            };
            format!("{{ {} }}", members.iter().map(member).collect::<Vec<_>>().join(", "))
        };
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Number(digits) => digits.clone(),
            Self::Text(text) => quoted(text),
            Self::List(items) => {
                let items: Vec<_> = items.iter().map(|item| item.code(hidden)).collect();
                format!("[{}]", items.join(", "))
            }
            Self::Object(all) | Self::Map(all) => members(all),
            Self::Marked(value) => match &**value {
                Self::Text(text) if text == hidden => "var.hidden".to_owned(),
                Self::Text(text) if text.contains(hidden) => {
                    let around: Vec<_> = text.split(hidden).map(escaped).collect();
                    format!("\"{}\"", around.join("${var.hidden}"))
                }
                value => format!("sensitive({})", value.code(hidden)),
            },
            Self::Unknown => UNKNOWN.to_owned(),
        }
    }

    /// As JSON, its numbers as they are; `outside` has long ones as texts.
    pub(super) fn json(&self, outside: bool) -> String {
        match self {
            Self::Null | Self::Unknown => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Number(digits) if outside && digits.len() > 15 => {
                Json::from(&**digits).to_string()
            }
            Self::Number(digits) => digits.clone(),
            Self::Text(text) => Json::from(&**text).to_string(),
            Self::List(items) => {
                let items: Vec<_> = items.iter().map(|item| item.json(outside)).collect();
                format!("[{}]", items.join(","))
            }
            Self::Object(members) | Self::Map(members) => {
                let member = |(name, value): &(String, Self)| {
                    format!("{}:{}", Json::from(&**name), value.json(outside))
                };
                format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(","))
            }
            Self::Marked(value) => value.json(outside),
        }
    }

    /// Its type, as a state has it.
    pub(super) fn type_of(&self) -> Json {
        match self {
            Self::Null | Self::Unknown => json!("dynamic"),
            Self::Bool(_) => json!("bool"),
            Self::Number(_) => json!("number"),
            Self::Text(_) => json!("string"),
            Self::List(items) => {
                json!(["tuple", items.iter().map(Self::type_of).collect::<Vec<_>>()])
            }
            Self::Object(members) | Self::Map(members) => {
                let member = |(name, value): &(String, Self)| (name.clone(), value.type_of());
                json!(["object", Json::Object(members.iter().map(member).collect())])
            }
            Self::Marked(value) => value.type_of(),
        }
    }

    /// The paths of what is marked in it, below `path`.
    pub(super) fn marks(&self, path: &[Json], into: &mut Vec<Json>) {
        let mut below = |step: Json, value: &Self| {
            value.marks(&[path, &[step]].concat(), into);
        };
        match self {
            Self::Marked(_) => into.push(Json::from(path)),
            Self::List(items) => {
                for (at, item) in items.iter().enumerate() {
                    let at = json!({ "value": at, "type": "number" });
                    below(json!({ "type": "index", "value": at }), item);
                }
            }
            Self::Object(members) => {
                members.iter().for_each(|(name, value)| below(named(name), value));
            }
            Self::Map(members) => {
                for (name, value) in members {
                    let name = json!({ "value": name, "type": "string" });
                    below(json!({ "type": "index", "value": name }), value);
                }
            }
            _ => {}
        }
    }

    /// Without what a state cannot have.
    pub(super) fn known(&self) -> Self {
        let members = |all: &[(String, Self)]| {
            all.iter().map(|(name, value)| (name.clone(), value.known())).collect()
        };
        match self {
            Self::Unknown => Self::text("was-not-known"),
            Self::List(items) => Self::List(items.iter().map(Self::known).collect()),
            Self::Object(all) => Self::Object(members(all)),
            Self::Map(all) => Self::Map(members(all)),
            Self::Marked(value) => Self::Marked(Box::new(value.known())),
            other => other.clone(),
        }
    }

    /// Something in it is marked.
    pub(super) fn has_marks(&self) -> bool {
        let mut marks = Vec::new();
        self.marks(&[], &mut marks);
        !marks.is_empty()
    }
}

/// A step to an attribute, as states have it.
pub(super) fn named(name: &str) -> Json {
    json!({ "type": "get_attr", "value": name })
}

/// A text in Terraform's language.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text))
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.replace("${", "$${").replace("%{", "%%{")
}
