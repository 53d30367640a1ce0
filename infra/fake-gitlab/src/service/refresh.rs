//! What a push does to the merge requests of its branch, and to those that target it.

use std::collections::HashSet;

use super::merge_requests::commits;
use crate::git::Oid;
use crate::git::repo::RefChange;
use crate::model::{MergeRequest, ProjectId, State, UserId};

impl State {
    /// Lets merge requests follow a branch that moved.
    pub(crate) fn refresh_merge_requests(
        &mut self,
        project: ProjectId,
        user: UserId,
        branch: &str,
        change: &RefChange,
    ) {
        self.refresh_targeting(project, user, branch, change);
        let moved: Vec<(ProjectId, u64)> = self
            .projects
            .values()
            .flat_map(|project| &project.merge_requests)
            .filter(|mr| mr.is_open())
            .filter(|mr| mr.source_project == project && mr.source_branch == branch)
            .map(|mr| (mr.target_project, mr.iid))
            .collect();
        for (target, iid) in moved {
            self.read_source_head(target, iid);
            self.add_system_note(target, iid, user, self.push_note(project, branch, change));
            let (now, enterprise) = (self.now(), self.config.version.is_enterprise());
            let mr = self.merge_request_mut(target, iid);
            mr.updated_at = now;
            // New commits take an auto-merge back, and approvals (Premium).
            mr.auto_merge = None;
            if enterprise {
                mr.approvals.clear();
            }
            self.fire_merge_request(target, iid, user, "update", Some(change.before));
            if !change.after.is_null() {
                self.plan_merge_request_pipeline(target, iid, user);
            }
        }
    }

    /// What GitLab notes in a merge request about a push to its source branch.
    fn push_note(&self, project: ProjectId, branch: &str, change: &RefChange) -> String {
        if change.after.is_null() {
            return format!("deleted source branch `{branch}`");
        }
        if change.before.is_null() {
            return format!("restored source branch `{branch}`");
        }
        let added = self.project(project).repo.log(change.after, &[change.before]).len();
        let s = if added == 1 { "" } else { "s" };
        format!("added {added} commit{s}")
    }

    /// A push that brings a merge request's head into its target merges it; one that rewrites
    /// the target, or brings some of its commits, changes its diff without a hook.
    fn refresh_targeting(
        &mut self,
        project: ProjectId,
        user: UserId,
        branch: &str,
        change: &RefChange,
    ) {
        if change.after.is_null() || change.before.is_null() {
            return;
        }
        let target = self.project(project);
        let repo = &target.repo;
        let brought: HashSet<Oid> =
            repo.log(change.after, &[change.before]).iter().map(|commit| commit.id).collect();
        let forced = !repo.is_ancestor(change.before, change.after);
        let targeting = |mr: &&MergeRequest| mr.is_open() && mr.target_branch == branch;
        let (mut merged, mut reloaded) = (Vec::new(), Vec::new());
        for mr in target.merge_requests.iter().filter(targeting) {
            if brought.contains(&mr.diff.head) {
                merged.push(mr.iid);
            } else if forced || commits(target, mr).iter().any(|known| brought.contains(&known.id))
            {
                reloaded.push(mr.iid);
            }
        }
        for iid in merged {
            self.mark_merged(project, iid, user, None);
        }
        for iid in reloaded {
            self.read_source_head(project, iid);
        }
    }
}
