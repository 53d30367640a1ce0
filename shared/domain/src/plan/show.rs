//! Writes values and paths as they are shown: masked, without sensitive parts, cut to size.

use super::{
    Limits, Line, Value,
    align::{Step, align},
    hide::{collect_values, masks},
    json::Json,
    walk::{NULL, Node, is_true, item},
};
use crate::{
    masking::CUT,
    text::{counted, more, visible_width},
};
use std::{cell::RefCell, cmp::Ordering, collections::BTreeSet};

/// Equal characters kept before a difference.
const BEFORE: usize = 20;
/// So much of a difference is to be seen at least, in characters.
const OF_DIFFERENCE: usize = 80;
/// What is said of a text beside one that ends with a line break.
const NO_END: &str = " (no newline at the end)";
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
    /// Values that are marked no more.
    pub(crate) unmarked: u32,
    /// Values that stand beside a secret: each in its quotes.
    pub(crate) beside_secrets: RefCell<BTreeSet<String>>,
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
        let (before, after) = self.without_other_side(before, after);
        let from = match (&before, &after) {
            (Value::Known(before), Value::Known(after)) => self.window(before, after),
            _ => 0,
        };
        (self.clipped(before, from), self.clipped(after, from), Vec::new())
    }

    /// What stands on the other side of a secret is the same thing's value before, or after. Where a
    /// side will be cut, that is known only now.
    fn without_other_side(&self, before: Value, after: Value) -> (Value, Value) {
        let (Value::Known(one), Value::Known(other)) = (&before, &after) else {
            return (before, after);
        };
        let is_cut = |text: &str| self.is_cut(text);
        let less = masks(one).cmp(&masks(other));
        if less == Ordering::Equal || !(is_cut(one) || is_cut(other)) {
            return (before, after);
        }
        let text = if less == Ordering::Less { one } else { other };
        collect_values(text, &mut self.beside_secrets.borrow_mut());
        match less {
            Ordering::Less => (Value::Sensitive, after),
            _ => (before, Value::Sensitive),
        }
    }

    /// From which character on two texts are shown, so that one sees where they differ.
    fn window(&self, before: &str, after: &str) -> usize {
        let same = alike(before, after);
        let width: usize = before.chars().take(same).map(visible_width).sum();
        let ends_too_late = width + OF_DIFFERENCE > self.limits.value_chars;
        if ends_too_late && (self.is_cut(before) || self.is_cut(after)) {
            same.saturating_sub(BEFORE)
        } else {
            0
        }
    }

    /// Whether a text is not shown as a whole.
    fn is_cut(&self, text: &str) -> bool {
        fitting(text, self.limits.value_chars).is_some()
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
        let mut hunk = Hunk::default();
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
            if at >= hunk.end {
                hunk = Hunk::at(&steps, at, before, after);
                hunk.removed_left = room_of(&hunk, self.limits.lines - kept);
            }
            if matches!(step, Step::Removed(_)) {
                // What comes in its place is to be seen too.
                let Some(left) = hunk.removed_left.checked_sub(1) else {
                    match lines.last_mut() {
                        Some(Line::Cut(n)) => *n += 1,
                        _ => lines.push(Line::Cut(1)),
                    }
                    continue;
                };
                hunk.removed_left = left;
            }
            kept += 1;
            lines.push(match *step {
                Step::Same(i, _) => Line::Same(self.clipped_line(&before[i], 0)),
                Step::Removed(i) => Line::Removed(match hunk.secrets {
                    Ordering::Less => SENSITIVE.to_owned(),
                    _ => self.line_beside(&before[i], hunk.added.iter().map(|j| &*after[*j])),
                }),
                Step::Added(j) => Line::Added(match hunk.secrets {
                    Ordering::Greater => SENSITIVE.to_owned(),
                    _ => self.line_beside(&after[j], hunk.removed.iter().map(|i| &*before[*i])),
                }),
            });
        }
        lines
    }

    /// A line, from where it differs from the one of the other side that is most like it.
    fn line_beside<'t>(&self, line: &str, others: impl Iterator<Item = &'t str>) -> String {
        if !self.is_cut(line) {
            return self.clipped_line(line, 0);
        }
        let nearest = others.take(self.limits.lines).max_by_key(|other| alike(line, other));
        self.clipped_line(line, nearest.map_or(0, |other| self.window(line, other)))
    }

    fn clipped_line(&self, line: &str, from: usize) -> String {
        let line = line.strip_suffix('\n').unwrap_or(line);
        let (text, rest) = part(line, from, self.limits.value_chars);
        let begin = match from {
            0 => String::new(),
            same => format!("({}) {CUT}", counted(same, "unchanged character")),
        };
        let end = match rest {
            0 => String::new(),
            rest => format!("{CUT} {}", more(rest as usize, "character")),
        };
        begin + &text + &end
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

/// From a character on as many as take `chars` when they are shown, and how many follow.
fn part(text: &str, from: usize, chars: usize) -> (String, u32) {
    let at = text.char_indices().nth(from).map_or(text.len(), |(at, _)| at);
    let text = &text[at..];
    match fitting(text, chars) {
        None => (text.to_owned(), 0),
        Some(at) => (text[..at].to_owned(), count(text[at..].chars().count())),
    }
}

/// Where a text is cut that takes more than `chars` when it is shown.
fn fitting(text: &str, chars: usize) -> Option<usize> {
    let mut left = chars;
    for (at, c) in text.char_indices() {
        match left.checked_sub(visible_width(c)) {
            Some(less) => left = less,
            None => return Some(at),
        }
    }
    None
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

/// How many characters two texts have in common at their start.
fn alike(one: &str, other: &str) -> usize {
    one.chars().zip(other.chars()).take_while(|(one, other)| one == other).count()
}

/// Lines that went and came between two that stay.
#[derive(Debug)]
struct Hunk {
    /// The step after it.
    end: usize,
    removed: Vec<usize>,
    added: Vec<usize>,
    /// How many that went are still shown.
    removed_left: usize,
    /// Which side has less secrets in it, and shows what the other one hides.
    secrets: Ordering,
}

impl Default for Hunk {
    fn default() -> Self {
        Self {
            end: 0,
            removed: Vec::new(),
            added: Vec::new(),
            removed_left: 0,
            secrets: Ordering::Equal,
        }
    }
}

impl Hunk {
    fn at(steps: &[Step], at: usize, before: &[String], after: &[String]) -> Self {
        let changed = steps[at..].iter().take_while(|step| !matches!(step, Step::Same(..)));
        let mut hunk = Self::default();
        for step in changed {
            match step {
                Step::Removed(i) => hunk.removed.push(*i),
                Step::Added(j) => hunk.added.push(*j),
                Step::Same(..) => {}
            }
        }
        hunk.end = at + hunk.removed.len() + hunk.added.len();
        let removed: usize = hunk.removed.iter().map(|i| masks(&before[*i])).sum();
        let added: usize = hunk.added.iter().map(|j| masks(&after[*j])).sum();
        hunk.secrets = removed.cmp(&added);
        hunk
    }
}

/// How many lines that went are shown where there is room for so many: as many as leave room for what
/// came, or half.
fn room_of(hunk: &Hunk, room: usize) -> usize {
    room.saturating_sub(hunk.added.len()).max(room - room / 2)
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
