//! A project with everything that belongs to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::{Deployment, Environment, Hook, Issue, MergeRequest, Pipeline, ProjectId, UserId};
use crate::config::{Ci, ProjectOptions};
use crate::git::{Commit, Oid, Repo};

/// A pipeline that the project's CI will make, or a job of it that will end.
#[derive(Clone, Debug)]
pub(crate) struct Due {
    pub(crate) at: Timestamp,
    pub(crate) what: DueWork,
}

/// What the project's own CI has yet to do.
#[derive(Clone, Debug)]
pub(crate) enum DueWork {
    Branch { ref_name: String, sha: Oid, tag: bool, user: UserId },
    MergeRequest { iid: u64, sha: Oid, user: UserId },
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
    pub(crate) last_activity_at: Timestamp,
    pub(crate) repo: Repo,
    pub(crate) hooks: Vec<Hook>,
    pub(crate) merge_requests: Vec<MergeRequest>,
    pub(crate) issues: Vec<Issue>,
    /// How many issues there ever were: the number of one that was deleted is not used again.
    pub(crate) last_issue: u64,
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

    /// The commit that a name stands for; see [`Repo::resolve`].
    pub(crate) fn resolve(&self, name: &str) -> Option<Arc<Commit>> {
        self.repo.resolve(name, self.default_branch())
    }

    pub(crate) fn environment(&self, name: &str) -> Option<&Environment> {
        self.environments.iter().find(|known| known.name == name)
    }

    /// The deployment that an environment runs: its newest success.
    pub(crate) fn current_deployment(&self, environment: &str) -> Option<&Deployment> {
        let mut newest = self.deployments.iter().rev();
        newest.find(|known| known.environment == environment && known.status == "success")
    }

    /// Whether a branch is protected, by its name or a pattern.
    pub(crate) fn is_protected(&self, branch: &str) -> bool {
        self.options.protected_branches.iter().any(|rule| rule.covers(branch))
    }

    pub(crate) fn merge_request(&self, iid: u64) -> Option<&MergeRequest> {
        self.merge_requests.iter().find(|mr| mr.iid == iid)
    }

    pub(crate) fn merge_request_mut(&mut self, iid: u64) -> Option<&mut MergeRequest> {
        self.merge_requests.iter_mut().find(|mr| mr.iid == iid)
    }

    pub(crate) fn issue(&self, iid: u64) -> Option<&Issue> {
        self.issues.iter().find(|issue| issue.iid == iid)
    }

    pub(crate) fn pipeline(&self, id: u64) -> Option<&Pipeline> {
        self.pipelines.iter().find(|pipeline| pipeline.id == id)
    }
}
