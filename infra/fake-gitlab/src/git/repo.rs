//! One bare repository and its refs.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use gix::refs::transaction::PreviousValue;

use super::{Commit, NOTHING, Oid};

/// How many bytes of objects a repository remembers.
const REMEMBERED: usize = 64 * 1024 * 1024;

/// A bare repository on disk, with its refs in memory as well.
#[derive(Debug)]
pub(crate) struct Repo {
    pub(crate) folder: PathBuf,
    pub(super) git: gix::Repository,
    pub(super) commits: RefCell<HashMap<Oid, Arc<Commit>>>,
    refs: BTreeMap<String, Oid>,
}

/// A ref that moved: both ends, [`NOTHING`] where there is nothing.
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
    ) -> Result<Self> {
        for part in ["objects/info", "objects/pack", "refs/heads", "refs/tags"] {
            std::fs::create_dir_all(folder.join(part))?;
        }
        // Stored, not deflated, because these repositories live for minutes, and never packed, so
        // that an object can be forgotten.
        let config = format!(
            "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n\
             \tlooseCompression = 0\n\thooksPath = \"{}\"\n\
             [http]\n\treceivepack = true\n[gc]\n\tauto = 0\n\
             [receive]\n\tautogc = false\n\thideRefs = refs/merge-requests\n\
             \thideRefs = refs/pipelines\n\tadvertisePushOptions = true\n\
             [transfer]\n\tunpackLimit = 1000000000\n\
             [uploadpack]\n\tallowFilter = true\n\tallowAnySHA1InWant = true\n",
            hooks.display().to_string().replace('\\', "\\\\").replace('"', "\\\"")
        );
        std::fs::write(folder.join("config"), config)?;
        if let Some(parent) = parent {
            let objects = parent.folder.join("objects");
            let alternates = folder.join("objects/info/alternates");
            std::fs::write(alternates, format!("{}\n", objects.display()))?;
        }
        write_head(&folder, default_branch)?;
        let options = gix::open::Options::isolated().open_path_as_is(true);
        let mut git = gix::open_opts(&folder, options)?;
        git.object_cache_size(REMEMBERED);
        Ok(Self { folder, git, commits: RefCell::default(), refs: BTreeMap::new() })
    }

    /// Points `HEAD` at another branch.
    pub(crate) fn set_head(&self, branch: &str) -> std::io::Result<()> {
        write_head(&self.folder, branch)
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

    /// The commit that a name stands for: a branch, a tag, a full ref, an id, a short id, `HEAD`.
    pub(crate) fn resolve(&self, name: &str, default_branch: &str) -> Option<Arc<Commit>> {
        let id = if name == "HEAD" {
            self.branch(default_branch)
        } else {
            self.branch(name)
                .or_else(|| self.tag_commit(name))
                .or_else(|| self.refs.get(name).and_then(|id| self.peel(*id)))
                .or_else(|| self.peel(self.by_prefix(name)?))
        };
        self.commit(id?)
    }

    /// The one object whose id begins like this, with at least seven digits.
    fn by_prefix(&self, prefix: &str) -> Option<Oid> {
        let prefix = gix::hash::Prefix::from_hex(prefix).ok().filter(|_| prefix.len() >= 7)?;
        self.git.objects.lookup_prefix(prefix, None).ok()??.ok()
    }

    /// Moves, makes or deletes (with [`NOTHING`]) a ref.
    pub(crate) fn set_ref(&mut self, name: &str, id: Oid) -> gix::Result<()> {
        if !id.is_null() {
            self.git.reference(name, id, PreviousValue::Any, "")?;
            self.refs.insert(name.to_owned(), id);
        } else if self.refs.remove(name).is_some() {
            self.git.find_reference(name)?.delete()?;
        }
        Ok(())
    }

    /// Reads the refs again after git wrote them, and tells which moved.
    pub(crate) fn reload_refs(&mut self) -> gix::Result<Vec<RefChange>> {
        let mut now = BTreeMap::new();
        for found in self.git.references()?.all()? {
            let found = found?;
            now.extend(found.try_id().map(|id| (found.name().as_bstr().to_string(), id.detach())));
        }
        let names: std::collections::BTreeSet<&String> =
            self.refs.keys().chain(now.keys()).collect();
        let at = |refs: &BTreeMap<String, Oid>, name| refs.get(name).copied().unwrap_or(NOTHING);
        let changes = names.into_iter().map(|name| RefChange {
            name: name.clone(),
            before: at(&self.refs, name),
            after: at(&now, name),
        });
        let changes = changes.filter(|change| change.before != change.after).collect();
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

    /// Fetches a commit of a fork, so that it can be shown here.
    pub(crate) fn fetch(&self, fork: &Self, commit: Oid) -> Result<()> {
        let mut git = super::backend::git();
        git.arg("--git-dir").arg(&self.folder).args(["fetch", "--quiet", "--no-write-fetch-head"]);
        let output = git.arg(&fork.folder).arg(commit.to_string()).output()?;
        let words = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "git fetch failed: {words}");
        Ok(())
    }

    /// Removes an object, as garbage collection does after a force push.
    pub(crate) fn forget(&mut self, id: Oid) -> Result<()> {
        let name = id.to_string();
        let file = self.folder.join("objects").join(&name[..2]).join(&name[2..]);
        std::fs::remove_file(file).with_context(|| format!("{name} is not there"))?;
        self.commits.borrow_mut().remove(&id);
        // What was remembered is forgotten too.
        self.git.object_cache_size(REMEMBERED);
        Ok(())
    }
}

fn write_head(folder: &Path, branch: &str) -> std::io::Result<()> {
    std::fs::write(folder.join("HEAD"), format!("ref: refs/heads/{branch}\n"))
}

/// Whether GitLab accepts this as the name of a branch or tag.
pub(crate) fn is_valid_ref_name(name: &str) -> bool {
    let full = format!("refs/heads/{name}");
    !name.starts_with('-')
        && name != "@"
        && gix::validate::reference::name(full.as_str().into()).is_ok()
}
