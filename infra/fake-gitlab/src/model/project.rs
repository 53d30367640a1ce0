//! A project with everything that belongs to it.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Deployment, Environment, Hook, MergeRequest, Pipeline, ProjectId, User, UserId};
use crate::config::{Ci, ProjectOptions, Protection};
use crate::git::Repo;

/// A pipeline that the project's CI will make, or a job of it that will end.
#[derive(Clone, Debug)]
pub(crate) struct Due {
    pub(crate) at: Timestamp,
    pub(crate) what: DueWork,
}

/// What the project's own CI has yet to do.
#[derive(Clone, Debug)]
pub(crate) enum DueWork {
    Branch { ref_name: String, sha: crate::git::Oid, tag: bool, user: UserId },
    MergeRequest { iid: u64, sha: crate::git::Oid, user: UserId },
    Finish { pipeline: u64 },
}

/// A project.
#[derive(Debug)]
pub(crate) struct Project {
    pub(crate) id: ProjectId,
    pub(crate) path: String,
    /// Where it was before; requests there are redirected.
    pub(crate) old_paths: Vec<String>,
    pub(crate) options: ProjectOptions,
    pub(crate) members: BTreeMap<UserId, u8>,
    pub(crate) forked_from: Option<ProjectId>,
    pub(crate) archived: bool,
    pub(crate) created_at: Timestamp,
    pub(crate) last_activity_at: Timestamp,
    pub(crate) repo: Repo,
    pub(crate) hooks: Vec<Hook>,
    pub(crate) merge_requests: Vec<MergeRequest>,
    pub(crate) pipelines: Vec<Pipeline>,
    pub(crate) environments: Vec<Environment>,
    pub(crate) deployments: Vec<Deployment>,
    pub(crate) due: Vec<Due>,
}

impl Project {
    pub(crate) fn default_branch(&self) -> &str {
        &self.options.default_branch
    }

    pub(crate) fn ci(&self) -> &Ci {
        &self.options.ci
    }

    /// The last part of the path.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// The path without its last part.
    pub(crate) fn namespace(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(namespace, _)| namespace)
    }

    /// A member's access level; administrators own everything.
    pub(crate) fn level(&self, user: &User) -> u8 {
        if user.admin { 50 } else { self.members.get(&user.id).copied().unwrap_or(0) }
    }

    /// Whether a user may push to, or merge into, a branch.
    pub(crate) fn branch_rights(&self, user: &User, branch: &str) -> BranchRights {
        let level = self.level(user);
        let rules: Vec<&Protection> =
            self.options.protected_branches.iter().filter(|rule| rule.covers(branch)).collect();
        if rules.is_empty() {
            let developer = level >= 30;
            return BranchRights { protected: false, push: developer, merge: developer };
        }
        let allowed = |needed: Option<u8>| needed.is_some_and(|needed| level >= needed);
        BranchRights {
            protected: true,
            push: rules
                .iter()
                .any(|rule| allowed(rule.push) || rule.push_users.contains(&user.username)),
            merge: rules.iter().any(|rule| allowed(rule.merge)),
        }
    }

    /// Whether a user may make, move or delete a tag.
    pub(crate) fn may_write_tag(&self, user: &User, tag: &str) -> bool {
        let mut rules =
            self.options.protected_tags.iter().filter(|rule| rule.covers(tag)).peekable();
        let level = self.level(user);
        if rules.peek().is_none() {
            return level >= 30;
        }
        rules.any(|rule| {
            rule.push.is_some_and(|needed| level >= needed)
                || rule.push_users.contains(&user.username)
        })
    }

    /// Whether a user may deploy to an environment.
    pub(crate) fn may_deploy(&self, user: &User, environment: &str) -> bool {
        let rule = self.options.protected_environments.iter().find(|rule| rule.name == environment);
        rule.is_none_or(|rule| {
            rule.level.is_some_and(|needed| self.level(user) >= needed)
                || rule.users.contains(&user.username)
        })
    }

    pub(crate) fn is_protected_tag(&self, tag: &str) -> bool {
        self.options.protected_tags.iter().any(|rule| rule.covers(tag))
    }

    pub(crate) fn merge_request(&self, iid: u64) -> Option<&MergeRequest> {
        self.merge_requests.iter().find(|mr| mr.iid == iid)
    }

    pub(crate) fn merge_request_mut(&mut self, iid: u64) -> Option<&mut MergeRequest> {
        self.merge_requests.iter_mut().find(|mr| mr.iid == iid)
    }

    pub(crate) fn pipeline(&self, id: u64) -> Option<&Pipeline> {
        self.pipelines.iter().find(|pipeline| pipeline.id == id)
    }
}

/// What a user may do with a branch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BranchRights {
    pub(crate) protected: bool,
    pub(crate) push: bool,
    pub(crate) merge: bool,
}
