//! Compares a value before and after, attribute by attribute, with the plan's marks beside it.

use super::{
    AttributeChange, Line, MarkChange, Value,
    align::{Step, align},
    json::{self, Json},
    show::{Context, Key, write_path},
    written::Written,
};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) static NULL: Json = Json::Null;
pub(crate) static TRUE: Json = Json::Bool(true);

/// One place in the plan: both values and the three marks, each a tree of the same shape.
#[derive(Clone, Copy)]
pub(crate) struct Node<'a> {
    pub(crate) before: &'a Json,
    pub(crate) after: &'a Json,
    pub(crate) unknown: &'a Json,
    pub(crate) before_sensitive: &'a Json,
    pub(crate) after_sensitive: &'a Json,
}

/// Collects the changed attributes of one resource or output.
pub(crate) struct Walk<'c, 'a> {
    pub(crate) context: &'c mut Context<'a>,
    /// Of a resource in which an empty list may be blocks that nobody wrote: what was written.
    pub(crate) blocks: Option<Written<'c>>,
    /// Paths whose change forces a replacement.
    pub(crate) replace_paths: Vec<Vec<Key>>,
    pub(crate) changes: Vec<AttributeChange>,
    pub(crate) cut: u32,
}

impl Walk<'_, '_> {
    pub(crate) fn visit(&mut self, path: &mut Vec<Key>, node: Node<'_>) {
        let is_same = node.before == node.after && !any_true(node.unknown);
        if is_same && !node.marks_differ() {
            return;
        }
        let marked = [node.before_sensitive, node.after_sensitive].map(is_true);
        let is_alike = |is: fn(&Json) -> bool| is(node.before) && is(node.after);
        let has_parts = is_alike(Json::is_object) || is_alike(Json::is_array);
        if marked.contains(&true) && !(has_parts && node.is_marked_in_part()) {
            let hide = |v: &Json| if v.is_null() { Value::Absent } else { Value::Sensitive };
            let after = if is_true(node.unknown) { Value::Unknown } else { hide(node.after) };
            // What comes or goes takes its mark along, and of what is not known yet nobody can say.
            let is_there =
                !node.before.is_null() && !node.after.is_null() && !any_true(node.unknown);
            let mark = match (marked, is_same) {
                _ if !is_there => None,
                ([true, false], true) => Some(MarkChange::RemovedAlone),
                ([true, false], false) => Some(MarkChange::Removed),
                ([false, true], true) => Some(MarkChange::AddedAlone),
                ([false, true], false) => Some(MarkChange::Added),
                _ => None,
            };
            if is_same && mark.is_none() {
                return;
            }
            self.push(path, mark, |_| (hide(node.before), after, Vec::new()));
        } else if is_true(node.unknown) {
            self.push(path, None, |context| {
                (context.show(node.before, node.before_sensitive), Value::Unknown, Vec::new())
            });
        } else if both(node, Json::is_object) {
            self.visit_object(path, node);
        } else if both(node, Json::is_array) {
            self.visit_array(path, node);
        } else if node.before != node.after {
            self.push(path, None, |context| context.compare(node));
        }
    }

    /// Tells of an output that changes although its value stays.
    pub(crate) fn stays(&mut self, name: &str, node: Node<'_>) {
        let is_marked = is_true(node.before_sensitive) || is_true(node.after_sensitive);
        let mark = if is_marked { MarkChange::AddedOrType } else { MarkChange::TypeAlone };
        self.push(&[Key::Name(name.to_owned())], Some(mark), |context| {
            let show = |value: &Json| match value {
                value if is_marked && !value.is_null() => Value::Sensitive,
                value => context.show(value, &NULL),
            };
            (show(node.before), show(node.after), Vec::new())
        });
    }

    fn visit_object(&mut self, path: &mut Vec<Key>, node: Node<'_>) {
        let mut keys = BTreeSet::new();
        for value in [node.before, node.after] {
            keys.extend(value.as_object().into_iter().flatten().map(|(key, _)| key.as_str()));
        }
        // What is unknown is left out of `after`.
        let unknown = node.unknown.as_object().into_iter().flatten();
        keys.extend(unknown.filter(|(_, v)| any_true(v)).map(|(key, _)| key.as_str()));
        // Of an object that comes or goes, the plan also has the blocks that nobody wrote.
        let is_whole = node.before.is_null() || node.after.is_null();
        let has_blocks = self.blocks.is_some() && !matches!(path.last(), Some(Key::Name(_)));
        let told = self.told();
        for key in keys {
            let part = node.child(key);
            let [was, is] = [node.before, node.after].map(|side| side.get(key).is_some());
            if !is_whole && was != is && self.null(path, Key::Name(key.to_owned()), part, was) {
                continue;
            }
            let is_nothing =
                is_empty(part.before) && is_empty(part.after) && !any_true(part.unknown);
            let is_written = || self.blocks.as_ref().is_some_and(|written| written.has(path, key));
            if is_whole && has_blocks && is_nothing && !is_written() {
                continue;
            }
            path.push(Key::Name(key.to_owned()));
            self.visit(path, part);
            path.pop();
        }
        if !is_whole || path.is_empty() || self.told() > told {
            return;
        }
        // It comes or goes, and has nothing but nulls in it.
        let is_block = has_blocks && matches!(path.last(), Some(Key::Index(_)));
        if is_block {
            // A block in which nothing is written, such as `block {}`.
            let side = |value: &Json| match value {
                Json::Null => Value::Absent,
                _ => Value::Known("{}".to_owned()),
            };
            self.push(path, None, |_| (side(node.before), side(node.after), Vec::new()));
        } else {
            self.push(path, None, |context| context.compare(node));
        }
    }

    fn told(&self) -> usize {
        self.changes.len() + self.cut as usize
    }

    /// Tells a null that only one side has; nothing, where it is something else.
    fn null(&mut self, path: &mut Vec<Key>, key: Key, part: Node<'_>, goes: bool) -> bool {
        if !part.before.is_null() || !part.after.is_null() || any_true(part.unknown) {
            return false;
        }
        let value = match [part.before_sensitive, part.after_sensitive].into_iter().any(is_true) {
            true => Value::Sensitive,
            false => Value::Known(Json::Null.to_string()),
        };
        let sides = if goes { (value, Value::Absent) } else { (Value::Absent, value) };
        path.push(key);
        self.push(path, None, |_| (sides.0, sides.1, Vec::new()));
        path.pop();
        true
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
                Step::Same(i, j) => {
                    gaps.push((std::mem::take(&mut removed), std::mem::take(&mut added)));
                    gaps.push((vec![i], vec![j]));
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
                let mark = |marks, index: Option<usize>| index.map_or(&NULL, |i| mark_of(marks, i));
                let mut element = Node {
                    before: at(node.before, i),
                    after: at(node.after, j),
                    unknown: at(node.unknown, j),
                    before_sensitive: mark(node.before_sensitive, i),
                    after_sensitive: mark(node.after_sensitive, j),
                };
                if marked && (i.is_none() || j.is_none()) {
                    element.before_sensitive = &TRUE;
                }
                let key = Key::Index(j.or(i).unwrap_or(0));
                if i.is_some() != j.is_some() && self.null(path, key.clone(), element, i.is_some())
                {
                    continue;
                }
                path.push(key);
                self.visit(path, element);
                path.pop();
            }
        }
    }

    fn push(
        &mut self,
        path: &[Key],
        mark: Option<MarkChange>,
        values: impl FnOnce(&Context<'_>) -> (Value, Value, Vec<Line>),
    ) {
        if mark.is_some_and(MarkChange::is_removed) {
            self.context.unmarked += 1;
        }
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
        let path = write_path(path, self.context.mask);
        let change = AttributeChange { path, before, after, forces_replacement, mark, lines };
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
    fn child(self, name: &str) -> Self {
        let of = |value: &'a Json| value.get(name).unwrap_or(&NULL);
        Self {
            before: of(self.before),
            after: of(self.after),
            unknown: of(self.unknown),
            before_sensitive: mark_of(self.before_sensitive, name),
            after_sensitive: mark_of(self.after_sensitive, name),
        }
    }

    /// Something is marked on one side only.
    fn marks_differ(self) -> bool {
        let (before, after) = (self.before_sensitive, self.after_sensitive);
        before != after && (any_true(before) || any_true(after))
    }

    /// It is marked as a whole on one side, and in a part of it on the other.
    fn is_marked_in_part(self) -> bool {
        let in_part = |marks: &Json| !is_true(marks) && any_true(marks);
        in_part(self.before_sensitive) || in_part(self.after_sensitive)
    }
}

/// Both sides are containers of this kind, or one is and the other is null. An empty one without
/// a counterpart has no parts to list and is shown as a value.
fn both(node: Node<'_>, is: fn(&Json) -> bool) -> bool {
    let (b, a) = (node.before, node.after);
    let empty = |v: &Json| {
        v.as_object().is_some_and(BTreeMap::is_empty) || v.as_array().is_some_and(Vec::is_empty)
    };
    match (is(b), is(a)) {
        (true, true) => true,
        (true, false) => (a.is_null() && !empty(b)) || (a.is_null() && any_true(node.unknown)),
        (false, true) => b.is_null() && (!empty(a) || any_true(node.unknown)),
        (false, false) => b.is_null() && a.is_null() && is(node.unknown),
    }
}

pub(crate) fn item(list: &Json, index: usize) -> &Json {
    list.get(index).unwrap_or(&NULL)
}

pub(crate) fn is_true(value: &Json) -> bool {
    value == &Json::Bool(true)
}

/// What a mark says of a part: the mark of the whole is its mark too.
fn mark_of(marks: &Json, step: impl json::Step) -> &Json {
    if is_true(marks) { &TRUE } else { marks.get(step).unwrap_or(&NULL) }
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

/// Nothing, or nothing in it: what a block is that nobody wrote.
pub(crate) fn is_empty(value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::Array(items) => items.is_empty(),
        _ => false,
    }
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
