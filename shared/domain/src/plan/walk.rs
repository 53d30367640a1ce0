//! Compares a value before and after, attribute by attribute, with the plan's marks beside it.

use super::{
    AttributeChange, Limits, Line, Value,
    align::{Step, align},
};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};

static NULL: Json = Json::Null;
static TRUE: Json = Json::Bool(true);

/// Equal lines kept around a changed one.
const CONTEXT: usize = 2;
/// Keys in paths are cut beyond this, in characters.
const KEY_CHARS: usize = 100;
/// What stands for a sensitive part of a value that is shown as a whole.
pub(crate) const SENSITIVE: &str = "(sensitive value)";

/// One place in the plan: both values and the three marks, each a tree of the same shape.
#[derive(Clone, Copy)]
pub(crate) struct Node<'a> {
    pub(crate) before: &'a Json,
    pub(crate) after: &'a Json,
    pub(crate) unknown: &'a Json,
    pub(crate) before_sensitive: &'a Json,
    pub(crate) after_sensitive: &'a Json,
}

/// A step of a path: a key with the way it is written, or an index.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Key {
    Name(String),
    Index(usize),
}

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

/// Collects the changed attributes of one resource or output.
pub(crate) struct Walk<'c, 'a> {
    pub(crate) context: &'c mut Context<'a>,
    /// Paths whose change forces a replacement.
    pub(crate) replace_paths: Vec<Vec<Key>>,
    pub(crate) changes: Vec<AttributeChange>,
    pub(crate) cut: u32,
}

impl Walk<'_, '_> {
    pub(crate) fn visit(&mut self, path: &mut Vec<Key>, node: Node<'_>) {
        if is_true(node.before_sensitive) || is_true(node.after_sensitive) {
            if node.before != node.after || any_true(node.unknown) {
                let hide = |v: &Json| if v.is_null() { Value::Absent } else { Value::Sensitive };
                let after = if is_true(node.unknown) { Value::Unknown } else { hide(node.after) };
                self.push(path, |_| (hide(node.before), after, Vec::new()));
            }
        } else if is_true(node.unknown) {
            self.push(path, |context| {
                (context.show(node.before, node.before_sensitive), Value::Unknown, Vec::new())
            });
        } else if both(node, Json::is_object) {
            self.visit_object(path, node);
        } else if both(node, Json::is_array) {
            self.visit_array(path, node);
        } else if node.before != node.after {
            self.push(path, |context| context.compare(node));
        }
    }

    fn visit_object(&mut self, path: &mut Vec<Key>, node: Node<'_>) {
        let mut keys = BTreeSet::new();
        for value in [node.before, node.after] {
            keys.extend(value.as_object().into_iter().flatten().map(|(key, _)| key.as_str()));
        }
        // What is unknown is left out of `after`.
        let unknown = node.unknown.as_object().into_iter().flatten();
        keys.extend(unknown.filter(|(_, v)| any_true(v)).map(|(key, _)| key.as_str()));
        for key in keys {
            path.push(Key::Name(key.to_owned()));
            self.visit(path, node.map(|v| v.get(key).unwrap_or(&NULL)));
            path.pop();
        }
    }

    fn visit_array(&mut self, path: &mut Vec<Key>, node: Node<'_>) {
        let unknown_len =
            node.unknown.as_array().filter(|u| u.iter().any(any_true)).map_or(0, Vec::len);
        let before = node.before.as_array().map_or(0, Vec::len);
        let after = node.after.as_array().map_or(0, Vec::len).max(unknown_len);
        let steps = align(before, after, |i, j| {
            item(node.before, i) == item(node.after, j) && !any_true(item(node.unknown, j))
        });
        // An element without a counterpart may be one that is marked on the other side.
        let marked = [node.before_sensitive, node.after_sensitive]
            .into_iter()
            .any(|m| m.as_array().is_some_and(|m| m.iter().any(is_true)));

        let (mut removed, mut added) = (Vec::new(), Vec::new());
        let mut gaps = Vec::new();
        for step in steps {
            match step {
                Step::Same(..) => {
                    gaps.push((std::mem::take(&mut removed), std::mem::take(&mut added)));
                }
                Step::Removed(i) => removed.push(i),
                Step::Added(j) => added.push(j),
            }
        }
        gaps.push((removed, added));
        // What went and what came in the same gap is one element that changed.
        for (removed, added) in gaps {
            for k in 0..removed.len().max(added.len()) {
                let (i, j) = (removed.get(k).copied(), added.get(k).copied());
                let at = |list, index: Option<usize>| index.map_or(&NULL, |i| item(list, i));
                let mut element = Node {
                    before: at(node.before, i),
                    after: at(node.after, j),
                    unknown: at(node.unknown, j),
                    before_sensitive: at(node.before_sensitive, i),
                    after_sensitive: at(node.after_sensitive, j),
                };
                if marked && (i.is_none() || j.is_none()) {
                    element.before_sensitive = &TRUE;
                }
                path.push(Key::Index(j.or(i).unwrap_or(0)));
                self.visit(path, element);
                path.pop();
            }
        }
    }

    fn push(
        &mut self,
        path: &[Key],
        values: impl FnOnce(&Context<'_>) -> (Value, Value, Vec<Line>),
    ) {
        if self.changes.len() >= self.context.limits.attributes || self.context.bytes_left == 0 {
            self.cut += 1;
            return;
        }
        let (before, after, lines) = values(self.context);
        if before == Value::Absent && after == Value::Absent {
            return;
        }
        let forces_replacement =
            self.replace_paths.iter().any(|p| path.starts_with(p) || p.starts_with(path));
        let path = (self.context.mask)(&write_path(path));
        let change = AttributeChange { path, before, after, forces_replacement, lines };
        match self.context.bytes_left.checked_sub(change.size()) {
            Some(left) => {
                self.context.bytes_left = left;
                self.changes.push(change);
            }
            None => {
                // Once one does not fit none follows: a list with holes would mislead.
                self.context.bytes_left = 0;
                self.cut += 1;
            }
        }
    }
}

impl<'a> Node<'a> {
    fn map(self, child: impl Fn(&'a Json) -> &'a Json) -> Self {
        Self {
            before: child(self.before),
            after: child(self.after),
            unknown: child(self.unknown),
            before_sensitive: child(self.before_sensitive),
            after_sensitive: child(self.after_sensitive),
        }
    }
}

impl Context<'_> {
    /// Both sides, line by line where that says more.
    fn compare(&self, node: Node<'_>) -> (Value, Value, Vec<Line>) {
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
    fn show(&self, value: &Json, sensitive: &Json) -> Value {
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
            Json::Object(map) => map
                .iter()
                .map(|(k, v)| (k.clone(), self.redact(v, sensitive.get(k).unwrap_or(&NULL))))
                .collect(),
            other => other.clone(),
        }
    }
}

/// Both sides are containers of this kind, or one is and the other is null. An empty one without
/// a counterpart has no parts to list and is shown as a value.
fn both(node: Node<'_>, is: fn(&Json) -> bool) -> bool {
    let (b, a) = (node.before, node.after);
    let empty = |v: &Json| {
        v.as_object().is_some_and(serde_json::Map::is_empty)
            || v.as_array().is_some_and(Vec::is_empty)
    };
    match (is(b), is(a)) {
        (true, true) => true,
        (true, false) => (a.is_null() && !empty(b)) || (a.is_null() && any_true(node.unknown)),
        (false, true) => b.is_null() && (!empty(a) || any_true(node.unknown)),
        (false, false) => b.is_null() && a.is_null() && is(node.unknown),
    }
}

fn item(list: &Json, index: usize) -> &Json {
    list.get(index).unwrap_or(&NULL)
}

fn is_true(value: &Json) -> bool {
    value == &Json::Bool(true)
}

/// `true` stands anywhere in a tree of marks.
pub(crate) fn any_true(value: &Json) -> bool {
    match value {
        Json::Bool(value) => *value,
        Json::Array(items) => items.iter().any(any_true),
        Json::Object(map) => map.values().any(any_true),
        _ => false,
    }
}

/// Adds the texts under the marks of a tree, from `shortest` characters.
pub(crate) fn collect_marked(
    value: &Json,
    sensitive: &Json,
    shortest: usize,
    into: &mut BTreeSet<String>,
) {
    let whole = is_true(sensitive);
    let mark = |part: Option<&'_ Json>| {
        if whole { TRUE.clone() } else { part.cloned().unwrap_or(Json::Null) }
    };
    if !whole && !any_true(sensitive) {
        return;
    }
    match value {
        Json::String(text) if whole && text.chars().nth(shortest.saturating_sub(1)).is_some() => {
            into.insert(text.clone());
        }
        Json::Array(items) => {
            for (i, v) in items.iter().enumerate() {
                collect_marked(v, &mark(sensitive.get(i)), shortest, into);
            }
        }
        Json::Object(map) => {
            for (k, v) in map {
                collect_marked(v, &mark(sensitive.get(k)), shortest, into);
            }
        }
        _ => {}
    }
}

/// A path as Terraform's language writes it. The plan does not say whether an object is a block or
/// a map; one directly below a name is nearly always a map (`tags["a"]`), one in a list a block
/// (`rule[0].cidr`).
fn write_path(path: &[Key]) -> String {
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
                let (name, more) = clip(name, KEY_CHARS);
                let dots = if more > 0 { "…" } else { "" };
                out.push_str(&format!("[{}]", Json::from(name + dots)));
                below_index = false;
            }
        }
    }
    out
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

/// Used for places that have no marks of a kind.
pub(crate) fn or_null(value: Option<&Json>) -> &Json {
    value.unwrap_or(&NULL)
}

/// The parts of a plan's `change` object.
pub(crate) fn node_of(change: &BTreeMap<String, Json>) -> Node<'_> {
    Node {
        before: or_null(change.get("before")),
        after: or_null(change.get("after")),
        unknown: or_null(change.get("after_unknown")),
        before_sensitive: or_null(change.get("before_sensitive")),
        after_sensitive: or_null(change.get("after_sensitive")),
    }
}
