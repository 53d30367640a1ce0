//! Takes the document's tree apart: a key, a text, a list, or why it is none.

use super::{
    ConfigError,
    document::{Entry, Node, Place, Value, shown},
};
use crate::{ids::TestName, text::cut};

/// A mapping of which keys are taken one after the other.
pub(super) struct Keys {
    pub(super) at: Place,
    pub(super) entries: Vec<Entry>,
}

impl Keys {
    /// The mapping that `what` should be.
    pub(super) fn of(node: Node, what: &str) -> Result<Self, ConfigError> {
        match node.value {
            Value::Mapping(entries) => Ok(Self { at: node.at, entries }),
            other => Err(wrong(node.at, what, &other, "a mapping")),
        }
    }

    /// The key's value, the first time that it is asked for.
    pub(super) fn take(&mut self, key: &str) -> Option<Node> {
        let place = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(place).value)
    }

    /// Refuses what is left and not among these.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), ConfigError> {
        match self.entries.iter().find(|entry| !known.contains(&entry.key.as_str())) {
            None => Ok(()),
            Some(Entry { at, key, .. }) => {
                let (key, known) = (shown(key), known.join(", "));
                Err(at.error(format!("unknown key {key}; allowed: {known}")))
            }
        }
    }
}

fn wrong(at: Place, what: &str, is: &Value, should_be: &str) -> ConfigError {
    at.error(format!("{} is {}; it must be {should_be}", cut(what, 60), is.kind()))
}

/// A list and where it is.
pub(super) fn list(node: Node, what: &str) -> Result<(Place, Vec<Node>), ConfigError> {
    match node.value {
        Value::List(nodes) => Ok((node.at, nodes)),
        other => Err(wrong(node.at, what, &other, "a list")),
    }
}

/// A text; a number has to be quoted to be one.
pub(super) fn text(node: Node, what: &str) -> Result<(Place, String), ConfigError> {
    match node.value {
        Value::Text(text) => Ok((node.at, text)),
        other @ (Value::Flag(_) | Value::Number(_)) => {
            Err(wrong(node.at, what, &other, "a string, so put it in quotes"))
        }
        other => Err(wrong(node.at, what, &other, "a string")),
    }
}

/// A text, number, true or false as it was written.
pub(super) fn as_written(
    node: Node,
    what: &str,
    should_be: &str,
) -> Result<(Place, String), ConfigError> {
    match node.value {
        Value::Text(text) | Value::Number(text) | Value::Flag(text) => Ok((node.at, text)),
        other => Err(wrong(node.at, what, &other, should_be)),
    }
}

/// The value of `negative`.
pub(super) fn flag(node: Node) -> Result<bool, ConfigError> {
    match node.value {
        Value::Flag(text) => Ok(text.eq_ignore_ascii_case("true")),
        other => Err(wrong(node.at, "negative", &other, "true or false")),
    }
}

/// A test's name.
pub(super) fn test_name(node: Node, what: &str) -> Result<(Place, TestName), ConfigError> {
    let (at, name) = text(node, what)?;
    // What is cut is too long before and after.
    let name = cut(&name, 80);
    let name = name.parse().map_err(|error| at.error(format!("{name:?} is {error}")));
    Ok((at, name?))
}
