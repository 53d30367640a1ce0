//! Ancestry, merge bases, logs.

use std::collections::HashSet;
use std::sync::Arc;

use gix::revision::walk::Sorting;
use gix::traverse::commit::simple::CommitTimeOrder;

use super::{Commit, Oid, Repo};

impl Repo {
    /// The newest commit that both can reach.
    pub(crate) fn merge_base(&self, one: Oid, other: Oid) -> Option<Oid> {
        self.git.merge_base(one, other).ok()?.map(gix::Id::detach)
    }

    /// Whether `ancestor` is reachable from `tip`.
    pub(crate) fn is_ancestor(&self, ancestor: Oid, tip: Oid) -> bool {
        ancestor == tip || self.merge_base(ancestor, tip) == Some(ancestor)
    }

    /// The commits reachable from `tip` and not from `hidden`, newest first.
    pub(crate) fn log(&self, tip: Oid, hidden: &[Oid]) -> Vec<Arc<Commit>> {
        let hidden = hidden.iter().copied().filter(|id| self.commit(*id).is_some());
        let walk = self.git.rev_walk([tip]).with_hidden(hidden);
        let walk = walk.sorting(Sorting::ByCommitTime(CommitTimeOrder::NewestFirst)).all();
        walk.into_iter().flatten().filter_map(|found| self.commit(found.ok()?.id)).collect()
    }

    /// The commit, its first parent, the first parent of that, and so on.
    pub(crate) fn first_parents(&self, tip: Oid) -> HashSet<Oid> {
        let parent = |id: &Oid| self.commit(*id)?.parents.first().copied();
        std::iter::successors(Some(tip), parent).collect()
    }

    /// Whether a commit has something at a path that none of its parents has there.
    pub(crate) fn touches(&self, commit: &Commit, path: &str) -> bool {
        let at = |commit: &Commit| self.find(commit.tree, path).map(|entry| entry.id);
        let now = at(commit);
        let mut parents = commit.parents.iter().filter_map(|id| self.commit(*id));
        match commit.parents.is_empty() {
            true => now.is_some(),
            false => parents.all(|parent| at(&parent) != now),
        }
    }
}
