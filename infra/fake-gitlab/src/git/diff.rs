//! What differs between two trees, with renames and patches.

use std::collections::{BTreeMap, HashMap};

use super::Oid;
use super::object::{Entry, Objects};
use super::tree::File;

/// One changed file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) old_path: String,
    pub(crate) new_path: String,
    pub(crate) old: Option<File>,
    pub(crate) new: Option<File>,
}

impl Change {
    pub(crate) fn is_rename(&self) -> bool {
        self.old_path != self.new_path
    }

    /// The unified diff as GitLab gives it: hunks without file headers.
    pub(crate) fn patch(&self, objects: &Objects) -> String {
        let read =
            |file: Option<File>| file.and_then(|file| objects.blob(file.id)).unwrap_or_default();
        let (old, new) = (read(self.old), read(self.new));
        let (Ok(old), Ok(new)) = (String::from_utf8(old), String::from_utf8(new)) else {
            return format!("Binary files a/{} and b/{} differ\n", self.old_path, self.new_path);
        };
        similar::TextDiff::from_lines(&old, &new).unified_diff().to_string()
    }
}

/// Changed paths of two trees, sorted; a rename shows as a removal and an addition.
fn paths(objects: &Objects, old: Option<Oid>, new: Option<Oid>) -> Vec<Change> {
    let mut changes = Vec::new();
    compare(objects, old, new, "", &mut changes);
    changes.sort_by(|a, b| a.new_path.cmp(&b.new_path));
    changes
}

/// Changed files of two trees, sorted, with renames found as git finds them: the same content,
/// or at least half of the lines in common.
pub(crate) fn with_renames(objects: &Objects, old: Option<Oid>, new: Option<Oid>) -> Vec<Change> {
    let (mut removed, rest): (Vec<_>, Vec<_>) =
        paths(objects, old, new).into_iter().partition(|change| change.new.is_none());
    let (added, mut changes): (Vec<_>, Vec<_>) =
        rest.into_iter().partition(|change| change.old.is_none());
    let worth_a_look = removed.len() * added.len() <= 10_000;
    for mut addition in added {
        let source = removed.iter().position(|gone| same_content(gone, &addition)).or_else(|| {
            removed
                .iter()
                .position(|gone| worth_a_look && similar_content(objects, gone, &addition))
        });
        if let Some(source) = source {
            let gone = removed.remove(source);
            addition.old_path = gone.old_path;
            addition.old = gone.old;
        }
        changes.push(addition);
    }
    changes.extend(removed);
    changes.sort_by(|a, b| a.new_path.cmp(&b.new_path));
    changes
}

fn same_content(gone: &Change, addition: &Change) -> bool {
    gone.old.map(|file| file.id) == addition.new.map(|file| file.id)
}

fn similar_content(objects: &Objects, gone: &Change, addition: &Change) -> bool {
    let lines = |file: Option<File>| {
        let content = file.and_then(|file| objects.blob(file.id)).unwrap_or_default();
        let mut counts: HashMap<Vec<u8>, usize> = HashMap::new();
        for line in content.split_inclusive(|byte| *byte == b'\n') {
            *counts.entry(line.to_vec()).or_default() += line.len();
        }
        (counts, content.len())
    };
    let ((old, old_size), (new, new_size)) = (lines(gone.old), lines(addition.new));
    let common: usize =
        old.iter().map(|(line, size)| new.get(line).map_or(0, |other| *size.min(other))).sum();
    let larger = old_size.max(new_size);
    larger > 0 && common * 2 >= larger
}

fn compare(
    objects: &Objects,
    old: Option<Oid>,
    new: Option<Oid>,
    base: &str,
    changes: &mut Vec<Change>,
) {
    if old == new {
        return;
    }
    let entries = |tree: Option<Oid>| -> BTreeMap<String, Entry> {
        tree.and_then(|tree| objects.tree(tree))
            .iter()
            .flat_map(|tree| tree.iter())
            .map(|entry| (entry.name.clone(), entry.clone()))
            .collect()
    };
    let (old, new) = (entries(old), entries(new));
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort();
    names.dedup();
    for name in names {
        let path = if base.is_empty() { name.clone() } else { format!("{base}/{name}") };
        let (old, new) = (old.get(name), new.get(name));
        if old == new {
            continue;
        }
        let folder =
            |entry: Option<&Entry>| entry.filter(|entry| entry.is_tree()).map(|entry| entry.id);
        let file = |entry: Option<&Entry>| {
            entry
                .filter(|entry| !entry.is_tree())
                .map(|entry| File { mode: entry.mode, id: entry.id })
        };
        compare(objects, folder(old), folder(new), &path, changes);
        let (old, new) = (file(old), file(new));
        if old != new {
            changes.push(Change { old_path: path.clone(), new_path: path, old, new });
        }
    }
}
