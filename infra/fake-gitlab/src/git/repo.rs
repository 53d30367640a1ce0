//! One bare repository: its objects and its refs.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::object::{Kind, Objects};
use super::tree::{self, File};
use super::{Commit, Oid};

/// A bare repository on disk, with its refs in memory as well.
#[derive(Debug)]
pub(crate) struct Repo {
    pub(crate) folder: PathBuf,
    pub(crate) objects: Objects,
    refs: BTreeMap<String, Oid>,
}

/// A ref that moved: both ends, [`Oid::ZERO`] where there is nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RefChange {
    pub(crate) name: String,
    pub(crate) before: Oid,
    pub(crate) after: Oid,
}

/// A change to one file of a commit that is being made; `None` removes it.
pub(crate) type FileChanges = BTreeMap<String, Option<Vec<u8>>>;

impl Repo {
    /// Creates an empty repository without a git process. A fork borrows its parent's objects.
    pub(crate) fn create(
        folder: PathBuf,
        hooks: &Path,
        default_branch: &str,
        parent: Option<&Self>,
    ) -> io::Result<Self> {
        for part in ["objects/info", "objects/pack", "refs/heads", "refs/tags"] {
            std::fs::create_dir_all(folder.join(part))?;
        }
        // Everything that is pushed stays loose, because `Objects` reads no packs.
        let config = format!(
            "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n\
             \thooksPath = \"{}\"\n[http]\n\treceivepack = true\n[gc]\n\tauto = 0\n\
             [receive]\n\tautogc = false\n\tunpackLimit = 1000000000\n\
             \thideRefs = refs/merge-requests\n\thideRefs = refs/pipelines\n\
             \tadvertisePushOptions = true\n\
             [transfer]\n\tunpackLimit = 1000000000\n\
             [uploadpack]\n\tallowFilter = true\n\tallowAnySHA1InWant = true\n",
            hooks.display().to_string().replace('\\', "\\\\").replace('"', "\\\"")
        );
        std::fs::write(folder.join("config"), config)?;
        std::fs::write(folder.join("HEAD"), format!("ref: refs/heads/{default_branch}\n"))?;
        let mut borrowed = Vec::new();
        if let Some(parent) = parent {
            borrowed = parent.objects.folders().map(Path::to_path_buf).collect();
            let lines: String =
                borrowed.iter().map(|folder| format!("{}\n", folder.display())).collect();
            std::fs::write(folder.join("objects/info/alternates"), lines)?;
        }
        let objects = Objects::new(folder.join("objects"), borrowed);
        Ok(Self { folder, objects, refs: BTreeMap::new() })
    }

    /// Points `HEAD` at another branch.
    pub(crate) fn set_head(&self, branch: &str) -> io::Result<()> {
        std::fs::write(self.folder.join("HEAD"), format!("ref: refs/heads/{branch}\n"))
    }

    /// All refs by full name.
    pub(crate) fn refs(&self) -> &BTreeMap<String, Oid> {
        &self.refs
    }

    /// The refs below a prefix such as `refs/heads/`, with the prefix cut off.
    pub(crate) fn refs_below<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = (&'a str, Oid)> {
        self.refs.iter().filter_map(move |(name, id)| Some((name.strip_prefix(prefix)?, *id)))
    }

    /// The head of a branch.
    pub(crate) fn branch(&self, name: &str) -> Option<Oid> {
        self.refs.get(&format!("refs/heads/{name}")).copied()
    }

    /// The commit of a tag, annotated or not.
    pub(crate) fn tag_commit(&self, name: &str) -> Option<Oid> {
        self.peel(*self.refs.get(&format!("refs/tags/{name}"))?)
    }

    /// The commit that an object is or points to.
    pub(crate) fn peel(&self, id: Oid) -> Option<Oid> {
        match self.objects.tag(id) {
            Some(tag) => self.peel(tag.target),
            None => self.objects.commit(id).map(|commit| commit.id),
        }
    }

    /// The commit that a name stands for: a branch, a tag, a full ref, an id, a short id, `HEAD`.
    pub(crate) fn resolve(&self, name: &str, default_branch: &str) -> Option<Arc<Commit>> {
        let id = if name == "HEAD" {
            self.branch(default_branch)
        } else {
            self.branch(name)
                .or_else(|| self.tag_commit(name))
                .or_else(|| self.refs.get(name).and_then(|id| self.peel(*id)))
                .or_else(|| Oid::parse(name).and_then(|id| self.peel(id)))
                .or_else(|| self.objects.commit_by_prefix(name))
        };
        self.objects.commit(id?)
    }

    /// Moves, makes or deletes (with [`Oid::ZERO`]) a ref.
    pub(crate) fn set_ref(&mut self, name: &str, id: Oid) -> io::Result<()> {
        let path = self.folder.join(name);
        if id == Oid::ZERO {
            if self.refs.remove(name).is_some() {
                std::fs::remove_file(&path)?;
                self.remove_empty_folders(&path);
            }
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        // Git leaves the empty folders of deleted refs; a full one is a refusal.
        if path.is_dir() {
            std::fs::remove_dir(&path)?;
        }
        // A fetch that runs meanwhile sees the old or the new value, and git respects the lock.
        let lock = self.folder.join(format!("{name}.lock"));
        std::fs::write(&lock, format!("{id}\n"))?;
        std::fs::rename(&lock, &path)?;
        self.refs.insert(name.to_owned(), id);
        Ok(())
    }

    /// A branch `a` must not stand in the way of a branch `a/b`.
    fn remove_empty_folders(&self, path: &Path) {
        let (heads, tags) = (self.folder.join("refs/heads"), self.folder.join("refs/tags"));
        let parents = path.ancestors().skip(1);
        for folder in parents.take_while(|folder| **folder != heads && **folder != tags) {
            if std::fs::remove_dir(folder).is_err() {
                break;
            }
        }
    }

    /// Reads the refs again after git wrote them, and tells which moved.
    pub(crate) fn reload_refs(&mut self) -> io::Result<Vec<RefChange>> {
        let mut now = BTreeMap::new();
        read_refs(&self.folder.join("refs"), "refs", &mut now)?;
        let mut changes = Vec::new();
        for (name, before) in &self.refs {
            let after = now.get(name).copied().unwrap_or(Oid::ZERO);
            if after != *before {
                changes.push(RefChange { name: name.clone(), before: *before, after });
            }
        }
        for (name, after) in &now {
            if !self.refs.contains_key(name) {
                changes.push(RefChange { name: name.clone(), before: Oid::ZERO, after: *after });
            }
        }
        changes.sort_by(|a, b| a.name.cmp(&b.name));
        self.refs = now;
        Ok(changes)
    }

    /// The options of the push that just ended, such as `ci.skip`.
    pub(crate) fn take_push_options(&self) -> Vec<String> {
        let path = self.folder.join("push-options");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        if !text.is_empty() {
            // A file that stays would count for the next push too.
            std::fs::remove_file(&path).expect("the data directory can be written");
        }
        text.lines().map(str::to_owned).collect()
    }

    /// Writes the tree that `base` becomes with these changes.
    pub(crate) fn edit_tree(&self, base: Option<Oid>, changes: &FileChanges) -> Oid {
        let mut files = base.map(|base| tree::files(&self.objects, base)).unwrap_or_default();
        for (path, content) in changes {
            match content {
                Some(content) => {
                    let id = self.objects.write(Kind::Blob, content);
                    let mode = files.get(path).map_or(0o100_644, |file| file.mode);
                    files.insert(path.clone(), File { mode, id });
                }
                None => {
                    files.remove(path);
                }
            }
        }
        tree::write(&self.objects, &files)
    }
}

fn read_refs(folder: &Path, name: &str, refs: &mut BTreeMap<String, Oid>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(part) = entry.file_name().into_string() else { continue };
        if part.ends_with(".lock") {
            continue;
        }
        let full = format!("{name}/{part}");
        if entry.file_type()?.is_dir() {
            read_refs(&entry.path(), &full, refs)?;
        } else if let Some(id) = Oid::parse(std::fs::read_to_string(entry.path())?.trim()) {
            refs.insert(full, id);
        }
    }
    Ok(())
}

/// Whether git accepts this as the name of a branch or tag.
pub(crate) fn is_valid_ref_name(name: &str) -> bool {
    let bad = |c: char| c.is_ascii_control() || " ~^:?*[\\".contains(c);
    !name.is_empty()
        && !name.starts_with('-')
        && name != "@"
        && !name.contains("..")
        && !name.contains("@{")
        && !name.ends_with('.')
        && !name.chars().any(bad)
        && name
            .split('/')
            .all(|part| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock"))
}
