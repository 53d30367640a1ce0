//! What starts a run: one pure decision from (what happened, what GitLab has, the stack).
//!
//! Every answer carries its reason in words, also when nothing runs, so that "why did, or didn't,
//! this run?" can always be answered.

use crate::{
    CommitSha, MergeRequestIid, ProjectId,
    module::from_tag,
    run::{Interest, RunType},
    stack::{Module, OnPush, Stack, in_repository},
};
use semver::Version;
use std::collections::{BTreeMap, BTreeSet};

pub mod globs;

/// What lies between two commits, as far as GitLab could tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changes {
    /// Every changed path; both names of a rename.
    Paths(BTreeSet<String>),
    /// The list could not be had whole; what is known instead.
    Unlisted {
        /// Why, as a clause with a subject of its own ("GitLab listed 3000 changed files, …").
        why: String,
        /// For each project root that was looked at: whether its tree differs.
        roots: BTreeMap<String, TreeChange>,
    },
}

/// Whether a folder's tree differs between two commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TreeChange {
    /// The same tree on both sides.
    Same,
    /// Different trees, or there on one side only.
    Different,
    /// It could not be found out.
    Unknown,
}

/// What is known of the thing that happened, read from GitLab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Facts {
    /// The stack's tracked branch moved.
    TrackedBranch {
        /// The branch's head now.
        head: CommitSha,
        /// What changed since the last decision; none for the first commit of a branch that was
        /// missing before.
        changes: Option<Changes>,
    },
    /// Another branch has this head, and no merge request.
    Branch {
        /// The branch.
        branch: String,
        /// What it would change in the stack's tracked branch.
        changes: Changes,
        /// Another stack tracks this branch.
        is_tracked: bool,
    },
    /// A merge request to the stack's project is open.
    MergeRequest {
        /// Its number.
        iid: MergeRequestIid,
        /// Its target branch.
        target_branch: String,
        /// Set when the code comes from another project.
        fork: Option<Fork>,
        /// What it would change in its target branch.
        changes: Changes,
    },
    /// A tag was made or moved.
    Tag {
        /// The tag.
        tag: String,
        /// Its commit is in the stack's tracked branch.
        in_tracked_branch: bool,
        /// GitLab protects the tag.
        is_protected: bool,
    },
}

/// The project that a fork's code comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fork {
    /// Its id.
    pub project: ProjectId,
    /// Its path (`somebody/network`), when it could be read.
    pub path: Option<String>,
}

/// What was decided for one stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Something runs.
    Run {
        /// The type of run.
        run_type: RunType,
        /// What keeps a proposed run alive.
        interest: Option<Interest>,
        /// Set when the code comes from another project: no secret variables.
        fork_of: Option<ProjectId>,
        /// The version of a module that a tag asks for.
        version: Option<Version>,
        /// Why.
        reason: String,
    },
    /// Nothing runs.
    Nothing {
        /// Why not.
        reason: String,
        /// The change does not touch the stack (as opposed to: it does, but it may not run).
        untouched: bool,
    },
}

impl Decision {
    /// Why, or why not.
    pub fn reason(&self) -> &str {
        match self {
            Self::Run { reason, .. } | Self::Nothing { reason, .. } => reason,
        }
    }

    /// Something runs.
    pub fn runs(&self) -> bool {
        matches!(self, Self::Run { .. })
    }
}

fn nothing(reason: impl Into<String>) -> Decision {
    Decision::Nothing { reason: reason.into(), untouched: false }
}

/// Decides what the facts mean for the stack.
pub fn decide(facts: &Facts, stack: &Stack) -> Decision {
    match facts {
        Facts::TrackedBranch { head, changes } => tracked_branch(head, changes.as_ref(), stack),
        Facts::Branch { branch, changes, is_tracked } => {
            other_branch(branch, changes, *is_tracked, stack)
        }
        Facts::MergeRequest { iid, target_branch, fork, changes } => {
            merge_request(*iid, target_branch, fork.as_ref(), changes, stack)
        }
        Facts::Tag { tag, in_tracked_branch, is_protected } => {
            tagged(tag, *in_tracked_branch, *is_protected, stack)
        }
    }
}

fn tracked_branch(head: &CommitSha, changes: Option<&Changes>, stack: &Stack) -> Decision {
    let because = match changes.map(|changes| affected(changes, stack)) {
        None => "the branch is new, so everything counts as changed".to_owned(),
        Some(Affected::Yes(because)) => because,
        Some(Affected::No(because)) => return untouched(because),
    };
    let (run_type, interest) = match stack.settings.on_push {
        OnPush::Tracked => (RunType::Tracked, None),
        OnPush::Proposed => (RunType::Proposed, Some(Interest::Branch(stack.branch.clone()))),
    };
    Decision::Run {
        run_type,
        interest,
        fork_of: None,
        version: None,
        reason: format!("{} moved to {}: {because}", stack.branch, head.short()),
    }
}

fn other_branch(branch: &str, changes: &Changes, is_tracked: bool, stack: &Stack) -> Decision {
    if is_tracked {
        return nothing(format!("{branch} is tracked by another stack in the project"));
    }
    match affected(changes, stack) {
        Affected::No(because) => untouched(because),
        Affected::Yes(because) => Decision::Run {
            run_type: RunType::Proposed,
            interest: Some(Interest::Branch(branch.to_owned())),
            fork_of: None,
            version: None,
            reason: format!("branch {branch} would change {}: {because}", stack.branch),
        },
    }
}

fn merge_request(
    iid: MergeRequestIid,
    target_branch: &str,
    fork: Option<&Fork>,
    changes: &Changes,
    stack: &Stack,
) -> Decision {
    if stack.branch != target_branch {
        return nothing(format!(
            "the merge request targets {target_branch}, but the stack tracks {}",
            stack.branch
        ));
    }
    let because = match affected(changes, stack) {
        Affected::No(because) => return untouched(because),
        Affected::Yes(because) => because,
    };
    if let Some(fork) = fork
        && !allows_fork(stack, fork)
    {
        let from = fork.path.clone().unwrap_or_else(|| format!("project {}", fork.project));
        return nothing(format!(
            "the code comes from the fork {from}, which is not listed in the stack's allow_forks"
        ));
    }
    Decision::Run {
        run_type: RunType::Proposed,
        interest: Some(Interest::MergeRequest(iid)),
        fork_of: fork.map(|fork| fork.project),
        version: None,
        reason: format!("merge request !{iid} would change {target_branch}: {because}"),
    }
}

fn tagged(tag: &str, in_tracked_branch: bool, is_protected: bool, stack: &Stack) -> Decision {
    if let Some(module) = &stack.module {
        return versioned(tag, in_tracked_branch || is_protected, stack, module);
    }
    let Some(on_tag) = &stack.settings.on_tag else {
        return nothing("the stack does not run on tags");
    };
    if !globs::over_tags(&on_tag.pattern).is_some_and(|g| g.is_match(tag)) {
        return nothing(format!("the tag does not match the stack's pattern {}", on_tag.pattern));
    }
    match on_tag.run {
        OnPush::Proposed => Decision::Run {
            run_type: RunType::Proposed,
            interest: Some(Interest::Tag(tag.to_owned())),
            fork_of: None,
            version: None,
            reason: format!("tag {tag} matches {}", on_tag.pattern),
        },
        OnPush::Tracked if in_tracked_branch || is_protected => Decision::Run {
            run_type: RunType::Tracked,
            interest: None,
            fork_of: None,
            version: None,
            reason: format!("tag {tag} matches {}", on_tag.pattern),
        },
        OnPush::Tracked => nothing(format!(
            "the tag's commit is not on {} and the tag is not protected",
            stack.branch
        )),
    }
}

/// A tag that names a version of a module.
fn versioned(tag: &str, may: bool, stack: &Stack, module: &Module) -> Decision {
    let Some(version) = from_tag(tag, &module.tag_prefix) else {
        let form = format!("{}1.2.3 or {0}v1.2.3", module.tag_prefix);
        return nothing(format!("the tag does not name a version of the module, such as {form}"));
    };
    if !may {
        return nothing(format!(
            "the tag's commit is not on {} and the tag is not protected, so no version is created",
            stack.branch
        ));
    }
    Decision::Run {
        run_type: RunType::Tracked,
        interest: None,
        fork_of: None,
        reason: format!("tag {tag} requests version {version}"),
        version: Some(version),
    }
}

/// True when a tag may start something of the stack, as far as its settings go.
pub fn runs_on_tags(stack: &Stack) -> bool {
    stack.settings.on_tag.is_some() || stack.module.is_some()
}

/// True when whether a tag starts something depends on its commit being in the tracked branch.
pub fn tag_needs_branch(stack: &Stack) -> bool {
    stack.module.is_some()
        || stack.settings.on_tag.as_ref().is_some_and(|tag| tag.run == OnPush::Tracked)
}

/// True when the stack's `allow_forks` lists the fork's project (by id or path) or a namespace
/// above it.
pub fn allows_fork(stack: &Stack, fork: &Fork) -> bool {
    stack.settings.allow_forks.iter().any(|allowed| {
        let allowed = allowed.trim_matches('/');
        allowed == fork.project.to_string()
            || fork.path.as_deref().is_some_and(|path| is_below(path, allowed))
    })
}

enum Affected {
    Yes(String),
    No(String),
}

fn untouched(reason: String) -> Decision {
    Decision::Nothing { reason, untouched: true }
}

fn affected(changes: &Changes, stack: &Stack) -> Affected {
    match changes {
        Changes::Paths(paths) => {
            let globs = globs::over_paths(&stack.settings.project_globs);
            let var_files = var_files_elsewhere(stack);
            let touches = |path: &&String| {
                is_below(path, &stack.settings.project_root)
                    || globs.is_match(path.as_str())
                    || var_files.contains(path)
            };
            let mut touching = paths.iter().filter(touches);
            match (touching.next(), touching.count()) {
                (Some(first), 0) => Affected::Yes(format!("{} changed", shown(first))),
                (Some(first), more) => {
                    Affected::Yes(format!("{} and {more} more changed", shown(first)))
                }
                (None, _) if paths.is_empty() => Affected::No("no file changed".to_owned()),
                (None, _) => {
                    let has_globs = !stack.settings.project_globs.is_empty();
                    Affected::No(none_of(paths.len(), has_globs, !var_files.is_empty(), stack))
                }
            }
        }
        Changes::Unlisted { why, roots } => {
            match roots.get(&stack.settings.project_root).copied().unwrap_or(TreeChange::Unknown) {
                TreeChange::Different => Affected::Yes(format!(
                    "{} changed ({why})",
                    folder(&stack.settings.project_root)
                )),
                TreeChange::Same if !stack.settings.project_globs.is_empty() => {
                    Affected::Yes(format!("its globs may match ({why})"))
                }
                TreeChange::Same if !var_files_elsewhere(stack).is_empty() => {
                    Affected::Yes(format!("its variable files may have changed ({why})"))
                }
                TreeChange::Same => {
                    Affected::No(format!("{} is unchanged", folder(&stack.settings.project_root)))
                }
                TreeChange::Unknown => Affected::Yes(format!(
                    "counted as affected, because what changed is unknown ({why})"
                )),
            }
        }
    }
}

/// That so many changed files are none of the stack's.
fn none_of(files: usize, has_globs: bool, has_var_files: bool, stack: &Stack) -> String {
    let root = folder(&stack.settings.project_root);
    let (files, globs, var_files) = match files {
        1 => (
            "the changed file is not".to_owned(),
            " and does not match its globs",
            " and is not one of its variable files",
        ),
        files => (
            format!("none of the {files} changed files is"),
            " or matches its globs",
            " or is one of its variable files",
        ),
    };
    let globs = if has_globs { globs } else { "" };
    let var_files = if has_var_files { var_files } else { "" };
    format!("{files} in {root}{globs}{var_files}")
}

/// The variable files that are not in the project root, by their paths in the repository.
fn var_files_elsewhere(stack: &Stack) -> Vec<String> {
    let paths = stack
        .settings
        .var_files
        .iter()
        .map(|path| in_repository(&stack.settings.project_root, path));
    paths.filter(|path| !is_below(path, &stack.settings.project_root)).collect()
}

fn folder(root: &str) -> String {
    if root.is_empty() { "the repository".to_owned() } else { format!("{root}/") }
}

fn shown(path: &str) -> String {
    if path.chars().count() <= 100 {
        return path.to_owned();
    }
    path.chars().take(99).chain(['…']).collect()
}

/// True when `path` is `root` or lies below it, by whole segments; everything lies below an
/// empty root.
pub fn is_below(path: &str, root: &str) -> bool {
    root.is_empty()
        || path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests;
