//! Writes values and paths as they are shown: masked, without sensitive parts, cut to size.

use super::{
    Limits, Line, Value,
    align::{Step, align},
    json::Json,
    walk::{NULL, Node, is_true, item},
};
use crate::masking::CUT;
use std::collections::BTreeSet;

/// Equal characters kept before a difference.
const BEFORE: usize = 20;
/// So much of a difference is to be seen at least, in characters.
const OF_DIFFERENCE: usize = 80;
/// What is said of a text beside one that ends with a line break.
const NO_END: &str = " (no line break at the end)";
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
        if let (Some(mut before), Some(mut after)) =
            (self.lines_of(node.before), self.lines_of(node.after))
        {
            tell_ends(&mut before, &mut after);
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
        let sides = [(node.before, node.before_sensitive), (node.after, node.after_sensitive)];
        let [before, after] = sides.map(|(value, marks)| self.whole(value, marks));
        let from = match (&before, &after) {
            (Value::Known(before), Value::Known(after)) => self.window(before, after),
            _ => 0,
        };
        (self.clipped(before, from), self.clipped(after, from), Vec::new())
    }

    /// From which character on two texts are shown, so that one sees where they differ.
    fn window(&self, before: &str, after: &str) -> usize {
        let chars = self.limits.value_chars;
        let same = before.chars().zip(after.chars()).take_while(|(b, a)| b == a).count();
        let is_cut = |text: &str| text.chars().nth(chars).is_some();
        if (is_cut(before) || is_cut(after)) && same + OF_DIFFERENCE > chars {
            same.saturating_sub(BEFORE)
        } else {
            0
        }
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
            .map(|json| self.redact(&json, &NULL).laid_out());
        // Laying out can undo an escape that hid a secret.
        let text = laid_out.map_or(text, |t| (self.mask)(&t));
        // A carriage return belongs to its line: line ends can be all that changes.
        Some(text.split_inclusive('\n').map(str::to_owned).collect())
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
            let clip = |text: &str| self.clipped_line(text, 0);
            lines.push(match *step {
                Step::Same(i, _) => Line::Same(clip(&before[i])),
                Step::Removed(i) => Line::Removed(match counterpart(&steps, at) {
                    Some(j) => self.clipped_line(&before[i], self.window(&before[i], &after[j])),
                    None => clip(&before[i]),
                }),
                Step::Added(j) => Line::Added(match counterpart(&steps, at) {
                    Some(i) => self.clipped_line(&after[j], self.window(&before[i], &after[j])),
                    None => clip(&after[j]),
                }),
            });
        }
        lines
    }

    fn clipped_line(&self, line: &str, from: usize) -> String {
        let line = line.strip_suffix('\n').unwrap_or(line);
        let (text, rest) = part(line, from, self.limits.value_chars);
        let [before, after] = [from > 0, rest > 0].map(|is_cut| is_cut.then_some(CUT));
        before.into_iter().chain(text.chars()).chain(after).collect()
    }

    /// A value on one line, without its sensitive parts, and cut to size.
    pub(crate) fn show(&self, value: &Json, sensitive: &Json) -> Value {
        self.clipped(self.whole(value, sensitive), 0)
    }

    fn clipped(&self, value: Value, from: usize) -> Value {
        let Value::Known(text) = value else { return value };
        match (from, part(&text, from, self.limits.value_chars)) {
            (0, (_, 0)) => Value::Known(text),
            (0, (part, rest)) => Value::Truncated(part, rest),
            (from, (part, rest)) => Value::Part(count(from), part, rest),
        }
    }

    fn whole(&self, value: &Json, sensitive: &Json) -> Value {
        if value.is_null() {
            return Value::Absent;
        }
        if matches!(value, Json::String(text) if self.sensitive.contains(text)) {
            return Value::Sensitive;
        }
        Value::Known((self.mask)(&self.redact(value, sensitive).to_string()))
    }

    pub(super) fn redact(&self, value: &Json, sensitive: &Json) -> Json {
        if is_true(sensitive) {
            return Json::from(SENSITIVE);
        }
        match value {
            Json::String(text) if self.sensitive.contains(text) => Json::from(SENSITIVE),
            Json::String(text) => Json::String((self.mask)(text)),
            Json::Array(items) => {
                let items = items.iter().enumerate();
                Json::Array(items.map(|(i, v)| self.redact(v, item(sensitive, i))).collect())
            }
            Json::Object(map) => {
                let marks = |name: &str| sensitive.get(name).unwrap_or(&NULL);
                let members = map.iter().map(|(k, v)| (k.clone(), self.redact(v, marks(k))));
                Json::Object(members.collect())
            }
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
                out.push_str(&format!("[{}]", Json::String(name + dots)));
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

/// `chars` characters from one on, and how many follow.
fn part(text: &str, from: usize, chars: usize) -> (String, u32) {
    let at = text.char_indices().nth(from).map_or(text.len(), |(at, _)| at);
    clip(&text[at..], chars)
}

/// Where only one of two texts ends with a line break, the other says so.
fn tell_ends(before: &mut [String], after: &mut [String]) {
    let (Some(before), Some(after)) = (before.last_mut(), after.last_mut()) else { return };
    match (before.ends_with('\n'), after.ends_with('\n')) {
        (true, false) => after.push_str(NO_END),
        (false, true) => before.push_str(NO_END),
        (true, true) => {}
        // A line in the middle of the other side may be the same.
        (false, false) => [before, after].into_iter().for_each(|line| line.push('\n')),
    }
}

/// The line on the other side that stands in the place of a line that went or came.
fn counterpart(steps: &[Step], at: usize) -> Option<usize> {
    let changed = |step: &&Step| !matches!(step, Step::Same(..));
    let first = at - steps[..at].iter().rev().take_while(changed).count();
    let hunk: Vec<&Step> = steps[first..].iter().take_while(changed).collect();
    let removed = hunk.iter().filter_map(|s| match s {
        Step::Removed(i) => Some(*i),
        _ => None,
    });
    let added = hunk.iter().filter_map(|s| match s {
        Step::Added(j) => Some(*j),
        _ => None,
    });
    let (removed, added): (Vec<_>, Vec<_>) = (removed.collect(), added.collect());
    match steps[at] {
        Step::Removed(i) => added.get(removed.iter().position(|r| *r == i)?).copied(),
        Step::Added(j) => removed.get(added.iter().position(|a| *a == j)?).copied(),
        Step::Same(..) => None,
    }
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
        Json::Number(_) => Key::Index(step.as_index().unwrap_or(0)),
        Json::String(name) => Key::Name(name.clone()),
        other => Key::Name(other.to_string()),
    };
    path.as_array().into_iter().flatten().map(key).collect()
}
