//! Three-way merges of trees.

use std::collections::{BTreeMap, BTreeSet};

use super::Oid;
use super::object::{Kind, Objects};
use super::tree::{self, File};

/// Merges `theirs` into `ours`; `None` when a person has to resolve a conflict.
pub(crate) fn merge(objects: &Objects, base: Oid, ours: Oid, theirs: Oid) -> Option<Oid> {
    if theirs == base {
        return Some(ours);
    }
    if ours == base {
        return Some(theirs);
    }
    let (base, mut ours, theirs) =
        (tree::files(objects, base), tree::files(objects, ours), tree::files(objects, theirs));
    let paths: BTreeSet<&String> = base.keys().chain(theirs.keys()).collect();
    for path in paths {
        let (was, mine, yours) = (base.get(path), ours.get(path).copied(), theirs.get(path));
        if yours == was || mine.as_ref() == yours {
            continue;
        }
        let merged = if mine.as_ref() == was {
            yours.copied()
        } else {
            Some(merge_file(objects, *was?, mine?, *yours?)?)
        };
        match merged {
            Some(file) => ours.insert(path.clone(), file),
            None => ours.remove(path),
        };
    }
    (!has_file_above_file(&ours)).then(|| tree::write(objects, &ours))
}

/// A path cannot be a file and a folder at once.
fn has_file_above_file(files: &BTreeMap<String, File>) -> bool {
    files
        .keys()
        .any(|path| path.match_indices('/').any(|(end, _)| files.contains_key(&path[..end])))
}

/// Lines that both sides changed are left to git itself.
fn merge_file(objects: &Objects, base: File, ours: File, theirs: File) -> Option<File> {
    let folder = tempfile::tempdir().ok()?;
    let write = |name: &str, file: File| {
        let path = folder.path().join(name);
        std::fs::write(&path, objects.blob(file.id)?).ok()?;
        Some(path)
    };
    let (mine, was, yours) = (write("ours", ours)?, write("base", base)?, write("theirs", theirs)?);
    let mut git = super::backend::git();
    let output = git.args(["merge-file", "-p"]).args([mine, was, yours]).output().ok()?;
    output
        .status
        .success()
        .then(|| File { mode: ours.mode, id: objects.write(Kind::Blob, &output.stdout) })
}
