//! Walks over commits: ancestry, merge base, logs.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;

use super::object::Objects;
use super::{Commit, Oid};

/// Every commit reachable from `tips`, the tips included.
pub(crate) fn reachable(objects: &Objects, tips: &[Oid]) -> HashSet<Oid> {
    let mut seen = HashSet::new();
    let mut todo = tips.to_vec();
    while let Some(id) = todo.pop() {
        if let Some(commit) = objects.commit(id)
            && seen.insert(id)
        {
            todo.extend(&commit.parents);
        }
    }
    seen
}

/// Whether `ancestor` is reachable from `tip`.
pub(crate) fn is_ancestor(objects: &Objects, ancestor: Oid, tip: Oid) -> bool {
    ancestor == tip || reachable(objects, &[tip]).contains(&ancestor)
}

/// The commits reachable from `tip` and not from `hidden`: children before parents, newest first.
pub(crate) fn log(objects: &Objects, tip: Oid, hidden: &[Oid]) -> Vec<Arc<Commit>> {
    let hidden = reachable(objects, hidden);
    let mut commits: HashMap<Oid, Arc<Commit>> = HashMap::new();
    let mut todo = vec![tip];
    while let Some(id) = todo.pop() {
        if hidden.contains(&id) || commits.contains_key(&id) {
            continue;
        }
        if let Some(commit) = objects.commit(id) {
            todo.extend(&commit.parents);
            commits.insert(id, commit);
        }
    }
    let mut children: HashMap<Oid, usize> = HashMap::new();
    for parent in commits.values().flat_map(|commit| &commit.parents) {
        *children.entry(*parent).or_default() += 1;
    }
    let mut order = 0_u64;
    let mut ready = BinaryHeap::new();
    let mut push = |ready: &mut BinaryHeap<_>, commit: &Commit| {
        order += 1;
        ready.push((commit.committer.time, Reverse(order), commit.id));
    };
    if let Some(commit) = commits.get(&tip) {
        push(&mut ready, commit);
    }
    let mut sorted = Vec::with_capacity(commits.len());
    while let Some((_, _, id)) = ready.pop() {
        let commit = &commits[&id];
        sorted.push(Arc::clone(commit));
        for parent in &commit.parents {
            if let Some(left) = children.get_mut(parent) {
                *left -= 1;
                if *left == 0
                    && let Some(parent) = commits.get(parent)
                {
                    push(&mut ready, parent);
                }
            }
        }
    }
    sorted
}

/// The newest commit that both can reach.
pub(crate) fn merge_base(objects: &Objects, one: Oid, other: Oid) -> Option<Oid> {
    let reached = reachable(objects, &[one]);
    if reached.contains(&other) {
        return Some(other);
    }
    log(objects, other, &[]).iter().map(|commit| commit.id).find(|id| reached.contains(id))
}
