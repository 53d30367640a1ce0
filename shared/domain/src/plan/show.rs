//! Writes values and paths as they are shown: masked, without sensitive parts, cut to size.

use super::{
    Limits, Line, Value,
    align::{Step, align},
    walk::{NULL, Node, is_true, item},
};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};

/// Equal lines kept around a changed one.
const CONTEXT: usize = 2;
/// Keys in paths are cut beyond this, in characters.
const KEY_CHARS: usize = 100;
/// What stands for a sensitive part of a value that is shown as a whole.
pub(crate) const SENSITIVE: &str = "(sensitive value)";

/// What is the same for every place of a plan.
pub(crate) struct Context<'a> {
    pub(crate) limits: Limits,
    pub(crate) mask: &'a dyn Fn(&str) -> String,
    /// Texts that are marked as sensitive somewhere in the plan. Providers copy values to
    /// attributes that nobody marked, so the same text is hidden wherever it stands.
    pub(crate) sensitive: BTreeSet<String>,
    /// Bytes that attributes may still take.
    pub(crate) bytes_left: usize,
}

/// A step of a path: a key with the way it is written, or an index.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Key {
    Name(String),
    Index(usize),
}

impl Context<'_> {
    /// Both sides, line by line where that says more.
    pub(crate) fn compare(&self, node: Node<'_>) -> (Value, Value, Vec<Line>) {
        if let (Some(before), Some(after)) = (self.lines_of(node.before), self.lines_of(node.after))
        {
            let lines = self.line_difference(&before, &after);
            let changed = |l: &Line| matches!(l, Line::Added(_) | Line::Removed(_));
            if before.len().max(after.len()) > 1 && lines.iter().any(changed) {
                let count = |value: &Json, lines: &[String]| match value {
                    Json::Null => Value::Absent,
                    _ => Value::Lines(count(lines.len())),
                };
                return (count(node.before, &before), count(node.after, &after), lines);
            }
        }
        (
            self.show(node.before, node.before_sensitive),
            self.show(node.after, node.after_sensitive),
            Vec::new(),
        )
    }

    /// The lines of a text, JSON in a text laid out; none of null; nothing for anything else.
    fn lines_of(&self, value: &Json) -> Option<Vec<String>> {
        let text = match value {
            Json::Null => return Some(Vec::new()),
            Json::String(text) if !self.sensitive.contains(text) => (self.mask)(text),
            _ => return None,
        };
        let laid_out = Some(text.trim_start())
            .filter(|t| t.starts_with(['{', '[']))
            .and_then(|t| serde_json::from_str::<Json>(t).ok())
            .map(|json| format!("{:#}", self.redact(&json, &NULL)));
        // Laying out can undo an escape that hid a secret.
        let text = laid_out.map_or(text, |t| (self.mask)(&t));
        Some(text.lines().map(str::to_owned).collect())
    }

    fn line_difference(&self, before: &[String], after: &[String]) -> Vec<Line> {
        let steps = align(before.len(), after.len(), |i, j| before[i] == after[j]);
        let near = |at: usize| {
            let from = at.saturating_sub(CONTEXT);
            let to = (at + CONTEXT + 1).min(steps.len());
            steps[from..to].iter().any(|s| !matches!(s, Step::Same(..)))
        };
        let mut lines = Vec::new();
        let mut kept = 0;
        for (at, step) in steps.iter().enumerate() {
            if matches!(step, Step::Same(..)) && !near(at) {
                match lines.last_mut() {
                    Some(Line::Skipped(n)) => *n += 1,
                    _ => lines.push(Line::Skipped(1)),
                }
                continue;
            }
            if kept >= self.limits.lines {
                lines.push(Line::Cut(count(steps.len() - at)));
                break;
            }
            kept += 1;
            let clip = |text: &str| match clip(text, self.limits.value_chars) {
                (text, 0) => text,
                (text, _) => text + "…",
            };
            lines.push(match *step {
                Step::Same(i, _) => Line::Same(clip(&before[i])),
                Step::Removed(i) => Line::Removed(clip(&before[i])),
                Step::Added(j) => Line::Added(clip(&after[j])),
            });
        }
        lines
    }

    /// A value on one line, without its sensitive parts.
    pub(crate) fn show(&self, value: &Json, sensitive: &Json) -> Value {
        if value.is_null() {
            return Value::Absent;
        }
        if matches!(value, Json::String(text) if self.sensitive.contains(text)) {
            return Value::Sensitive;
        }
        let text = (self.mask)(&self.redact(value, sensitive).to_string());
        match clip(&text, self.limits.value_chars) {
            (text, 0) => Value::Known(text),
            (text, more) => Value::Truncated(text, more),
        }
    }

    fn redact(&self, value: &Json, sensitive: &Json) -> Json {
        if is_true(sensitive) {
            return Json::from(SENSITIVE);
        }
        match value {
            Json::String(text) if self.sensitive.contains(text) => Json::from(SENSITIVE),
            Json::String(text) => Json::from((self.mask)(text)),
            Json::Array(items) => {
                items.iter().enumerate().map(|(i, v)| self.redact(v, item(sensitive, i))).collect()
            }
            // By name: two documents that say the same must not differ by their order, and
            // `serde_json` keeps that order when any crate of the build asks for it.
            Json::Object(map) => map
                .iter()
                .map(|(k, v)| (k.clone(), self.redact(v, sensitive.get(k).unwrap_or(&NULL))))
                .collect::<BTreeMap<_, _>>()
                .into_iter()
                .collect(),
            other => other.clone(),
        }
    }
}

/// A path as Terraform's language writes it. The plan does not say whether an object is a block or
/// a map; one directly below a name is nearly always a map (`tags["a"]`), one in a list a block
/// (`rule[0].cidr`).
pub(crate) fn write_path(path: &[Key], mask: &dyn Fn(&str) -> String) -> String {
    let mut out = String::new();
    let mut below_index = true;
    for key in path {
        match key {
            Key::Index(index) => {
                out.push_str(&format!("[{index}]"));
                below_index = true;
            }
            Key::Name(name) if below_index && is_identifier(name) => {
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(name);
                below_index = false;
            }
            Key::Name(name) => {
                let (name, more) = clip(&mask(name), KEY_CHARS);
                let dots = if more > 0 { "…" } else { "" };
                out.push_str(&format!("[{}]", Json::from(name + dots)));
                below_index = false;
            }
        }
    }
    mask(&out)
}

fn is_identifier(name: &str) -> bool {
    name.len() <= KEY_CHARS
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
}

/// The first `chars` characters, and how many follow.
pub(crate) fn clip(text: &str, chars: usize) -> (String, u32) {
    match text.char_indices().nth(chars) {
        None => (text.to_owned(), 0),
        Some((at, _)) => (text[..at].to_owned(), count(text[at..].chars().count())),
    }
}

pub(crate) fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// A path as `replace_paths` has it: names and numbers.
pub(crate) fn read_path(path: &Json) -> Vec<Key> {
    let key = |step: &Json| match step {
        Json::Number(n) => Key::Index(n.as_u64().and_then(|n| n.try_into().ok()).unwrap_or(0)),
        Json::String(name) => Key::Name(name.clone()),
        other => Key::Name(other.to_string()),
    };
    path.as_array().into_iter().flatten().map(key).collect()
}
