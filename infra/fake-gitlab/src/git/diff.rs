//! What differs between two trees, with renames and patches.

use std::collections::HashMap;

use gix::Tree;
use gix::diff::tree::{Recorder, State, recorder};
use gix::objs::TreeRefIter;
use gix::objs::tree::{EntryKind, EntryMode};

use super::{Oid, Repo};

/// A file's kind and content in a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) kind: EntryKind,
    pub(crate) id: Oid,
}

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

    /// What a recorded change does to a file; `None` for folders.
    fn of(recorded: recorder::Change) -> Option<Self> {
        use recorder::Change::{Addition, Deletion, Modification};
        let file = |mode: EntryMode, id| (!mode.is_tree()).then(|| File { kind: mode.kind(), id });
        let (path, old, new) = match recorded {
            Addition { entry_mode, oid, path, .. } => (path, None, file(entry_mode, oid)),
            Deletion { entry_mode, oid, path, .. } => (path, file(entry_mode, oid), None),
            Modification { previous_entry_mode, previous_oid, entry_mode, oid, path } => {
                (path, file(previous_entry_mode, previous_oid), file(entry_mode, oid))
            }
        };
        let path = path.to_string();
        let is_file = old.is_some() || new.is_some();
        is_file.then(|| Self { old_path: path.clone(), new_path: path, old, new })
    }
}

fn entries<'a>(tree: &'a Tree<'_>) -> TreeRefIter<'a> {
    TreeRefIter::from_bytes(&tree.data, tree.id.kind())
}

impl Repo {
    /// Changed files of two trees, sorted; a rename shows as a removal and an addition.
    pub(crate) fn changed_files(&self, old: Oid, new: Oid) -> Vec<Change> {
        let tree = |id| self.git.find_tree(id).unwrap_or_else(|_| self.git.empty_tree());
        let (old, new) = (tree(old), tree(new));
        let (mut recorder, state) = (Recorder::default(), State::default());
        gix::diff::tree(entries(&old), entries(&new), state, &self.git.objects, &mut recorder)
            .expect("the repository is whole");
        let mut changes: Vec<Change> =
            recorder.records.into_iter().filter_map(Change::of).collect();
        changes.sort_by(|a, b| a.new_path.cmp(&b.new_path));
        changes
    }

    /// Changed files of two trees, sorted, with renames found as git finds them: the same content,
    /// or at least half of the lines in common.
    pub(crate) fn changes(&self, old: Oid, new: Oid) -> Vec<Change> {
        let (mut removed, rest): (Vec<_>, Vec<_>) =
            self.changed_files(old, new).into_iter().partition(|change| change.new.is_none());
        let (added, mut changes): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|change| change.old.is_none());
        let worth_a_look = removed.len() * added.len() <= 10_000;
        for mut addition in added {
            let content = |file: Option<File>| file.map(|file| file.id);
            let same = |gone: &Change| content(gone.old) == content(addition.new);
            let similar = |gone: &Change| worth_a_look && self.are_similar(gone.old, addition.new);
            let source = removed.iter().position(same).or_else(|| removed.iter().position(similar));
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

    fn content(&self, file: Option<File>) -> Vec<u8> {
        file.and_then(|file| self.blob(file.id)).unwrap_or_default()
    }

    fn are_similar(&self, old: Option<File>, new: Option<File>) -> bool {
        let (old, new) = (self.content(old), self.content(new));
        let lines = |content| {
            let mut counts: HashMap<&[u8], usize> = HashMap::new();
            for line in <[u8]>::split_inclusive(content, |byte| *byte == b'\n') {
                *counts.entry(line).or_default() += line.len();
            }
            counts
        };
        let others = lines(&new);
        let common: usize = lines(&old)
            .iter()
            .map(|(line, size)| others.get(line).map_or(0, |other| *size.min(other)))
            .sum();
        let larger = old.len().max(new.len());
        larger > 0 && common * 2 >= larger
    }

    /// The unified diff as GitLab gives it: hunks without file headers.
    pub(crate) fn patch(&self, change: &Change) -> String {
        let (old, new) = (self.content(change.old), self.content(change.new));
        let (Ok(old), Ok(new)) = (String::from_utf8(old), String::from_utf8(new)) else {
            let Change { old_path, new_path, .. } = change;
            return format!("Binary files a/{old_path} and b/{new_path} differ\n");
        };
        similar::TextDiff::from_lines(&old, &new).unified_diff().to_string()
    }
}
