//! Trees as maps of paths: listing, editing, finding.

use std::collections::BTreeMap;

use super::Oid;
use super::object::{Entry, Objects};

/// A file's mode and content in a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) mode: u32,
    pub(crate) id: Oid,
}

/// An entry with its full path.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) path: String,
    pub(crate) mode: u32,
    pub(crate) id: Oid,
}

impl Listed {
    pub(crate) fn is_tree(&self) -> bool {
        self.mode == 0o040_000
    }

    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

/// The entry at a path, which may be a file or a folder; the empty path is the root.
pub(crate) fn find(objects: &Objects, root: Oid, path: &str) -> Option<Entry> {
    let mut at = Entry { mode: 0o040_000, name: String::new(), id: root };
    for part in path.split('/').filter(|part| !part.is_empty()) {
        let tree = objects.tree(at.id)?;
        at = tree.iter().find(|entry| entry.name == part)?.clone();
    }
    Some(at)
}

/// What is below a folder: folders before files as GitLab lists them, or everything in it.
pub(crate) fn list(objects: &Objects, folder: Oid, base: &str, recursive: bool) -> Vec<Listed> {
    let mut all = Vec::new();
    collect(objects, folder, base, recursive, &mut all);
    all.sort_by_key(|entry| !entry.is_tree());
    all
}

fn collect(objects: &Objects, folder: Oid, base: &str, recursive: bool, all: &mut Vec<Listed>) {
    let Some(tree) = objects.tree(folder) else { return };
    for entry in tree.iter() {
        let path =
            if base.is_empty() { entry.name.clone() } else { format!("{base}/{}", entry.name) };
        all.push(Listed { path: path.clone(), mode: entry.mode, id: entry.id });
        if recursive && entry.is_tree() {
            collect(objects, entry.id, &path, true, all);
        }
    }
}

/// All files of a tree by path.
pub(crate) fn files(objects: &Objects, root: Oid) -> BTreeMap<String, File> {
    list(objects, root, "", true)
        .into_iter()
        .filter(|entry| !entry.is_tree())
        .map(|entry| (entry.path, File { mode: entry.mode, id: entry.id }))
        .collect()
}

/// Writes a tree that holds exactly these files.
pub(crate) fn write(objects: &Objects, files: &BTreeMap<String, File>) -> Oid {
    let parts: Vec<(Vec<&str>, File)> =
        files.iter().map(|(path, file)| (path.split('/').collect(), *file)).collect();
    write_level(objects, &parts, 0)
}

fn write_level(objects: &Objects, files: &[(Vec<&str>, File)], depth: usize) -> Oid {
    // The full paths are sorted by bytes, where "a.b" lies between "a" and "a/b": group by name.
    let mut folders: BTreeMap<&str, Vec<(Vec<&str>, File)>> = BTreeMap::new();
    let mut entries = Vec::new();
    for (parts, file) in files {
        if parts.len() == depth + 1 {
            entries.push(Entry { mode: file.mode, name: parts[depth].to_owned(), id: file.id });
        } else {
            folders.entry(parts[depth]).or_default().push((parts.clone(), *file));
        }
    }
    for (name, below) in folders {
        let id = write_level(objects, &below, depth + 1);
        entries.push(Entry { mode: 0o040_000, name: name.to_owned(), id });
    }
    objects.write_tree(entries)
}
