//! Trees: finding, listing, editing.

pub(crate) use gix::objs::tree::EntryKind;
use gix::traverse::tree::Recorder;

use super::repo::FileChanges;
use super::{Oid, Repo};

/// A file or a folder, with its full path.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) path: String,
    pub(crate) kind: EntryKind,
    pub(crate) id: Oid,
}

impl Repo {
    /// What is at a path, a file or a folder; the empty path is the root.
    pub(crate) fn find(&self, root: Oid, path: &str) -> Option<Entry> {
        let (kind, id) = if path.is_empty() {
            (EntryKind::Tree, root)
        } else {
            let entry = self.git.find_tree(root).ok()?.lookup_entry_by_path(path).ok()??;
            (entry.mode().kind(), entry.object_id())
        };
        Some(Entry { path: path.to_owned(), kind, id })
    }

    /// What is in a folder: folders before files as GitLab lists them, or everything below it.
    pub(crate) fn list(&self, folder: &Entry, recursive: bool) -> Vec<Entry> {
        let Ok(tree) = self.git.find_tree(folder.id) else { return Vec::new() };
        let base = if folder.path.is_empty() { String::new() } else { format!("{}/", folder.path) };
        let mut all: Vec<Entry> = if recursive {
            let mut recorder = Recorder::default();
            let whole = tree.traverse().depthfirst(&mut recorder);
            whole.expect("the repository is whole");
            let entry = |entry: gix::traverse::tree::recorder::Entry| Entry {
                path: format!("{base}{}", entry.filepath),
                kind: entry.mode.kind(),
                id: entry.oid,
            };
            recorder.records.into_iter().map(entry).collect()
        } else {
            let entries = tree.iter().flatten();
            let entries = entries.map(|entry| Entry {
                path: format!("{base}{}", entry.filename()),
                kind: entry.mode().kind(),
                id: entry.object_id(),
            });
            entries.collect()
        };
        all.sort_by_key(|entry| entry.kind != EntryKind::Tree);
        all
    }

    /// All files of a tree.
    pub(crate) fn files(&self, root: Oid) -> Vec<Entry> {
        let root = Entry { path: String::new(), kind: EntryKind::Tree, id: root };
        let mut all = self.list(&root, true);
        all.retain(|entry| entry.kind != EntryKind::Tree);
        all
    }

    /// Writes the tree that `base` (or nothing) becomes with these changes.
    ///
    /// # Errors
    /// When a path cannot be in a repository.
    pub(crate) fn edit_tree(&self, base: Oid, changes: &FileChanges) -> gix::Result<Oid> {
        let base = if base.is_null() { Oid::empty_tree(base.kind()) } else { base };
        let mut editor = self.git.edit_tree(base)?;
        for (path, content) in changes {
            let Some(content) = content else {
                editor.remove(path.as_str())?;
                continue;
            };
            let kind = self.find(base, path).map(|entry| entry.kind);
            let kind = kind.filter(|kind| *kind != EntryKind::Tree).unwrap_or(EntryKind::Blob);
            editor.upsert(path.as_str(), kind, self.git.write_blob(content)?)?;
        }
        Ok(editor.write()?.detach())
    }
}
