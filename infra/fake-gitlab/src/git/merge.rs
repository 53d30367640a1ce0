//! Three-way merges of trees.

use std::collections::BTreeMap;

use super::diff::{Change, File};
use super::{Oid, Repo};

impl Repo {
    /// Merges `theirs` into `ours`; `None` when a person has to resolve a conflict.
    pub(crate) fn merge(&self, base: Oid, ours: Oid, theirs: Oid) -> Option<Oid> {
        if theirs == base {
            return Some(ours);
        }
        let mine = self.changed_files(base, ours).into_iter();
        let mine: BTreeMap<String, Change> =
            mine.map(|change| (change.new_path.clone(), change)).collect();
        let mut merged = self.git.edit_tree(ours).ok()?;
        for yours in self.changed_files(base, theirs) {
            let path = yours.new_path.as_str();
            let file = match mine.get(path) {
                Some(mine) if mine.new == yours.new => continue,
                Some(mine) => Some(self.merge_file(yours.old?, mine.new?, yours.new?)?),
                None => yours.new,
            };
            let Some(file) = file else {
                merged.remove(path).ok()?;
                continue;
            };
            // A path cannot be a file and a folder at once.
            let present = mine.values().filter(|change| change.new.is_some());
            let mut present = present.map(|change| change.new_path.as_str());
            if present.any(|other| is_below(path, other) || is_below(other, path)) {
                return None;
            }
            merged.upsert(path, file.kind, file.id).ok()?;
        }
        Some(merged.write().ok()?.detach())
    }

    /// Lines that both sides changed are left to git itself.
    fn merge_file(&self, base: File, ours: File, theirs: File) -> Option<File> {
        let folder = tempfile::tempdir().ok()?;
        let write = |name: &str, file: File| {
            let path = folder.path().join(name);
            std::fs::write(&path, self.blob(file.id)?).ok()?;
            Some(path)
        };
        let files = [write("ours", ours)?, write("base", base)?, write("theirs", theirs)?];
        let output = super::backend::git().args(["merge-file", "-p"]).args(files).output().ok()?;
        let id = self.git.write_blob(output.stdout).ok().filter(|_| output.status.success())?;
        Some(File { kind: ours.kind, id: id.detach() })
    }
}

/// Whether a path is in a folder, or in one below it.
fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}
