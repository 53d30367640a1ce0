//! Whether a merge request can be merged, and merging it.

use crate::api::answer::Refusal;
use crate::git::{NOTHING, Oid};
use crate::model::{MergeRequest, Pipeline, ProjectId, State, UserId};

impl State {
    /// `detailed_merge_status`.
    pub(crate) fn detailed_merge_status(&self, mr: &MergeRequest) -> &'static str {
        if !mr.is_open() {
            return "not_open";
        }
        if mr.is_draft() {
            return "draft_status";
        }
        let project = self.project(mr.target_project);
        let source = self.projects.get(&mr.source_project);
        if source.and_then(|source| source.repo.branch(&mr.source_branch)).is_none() {
            return "broken_status";
        }
        if self.merged_tree(mr).is_none() {
            return "conflict";
        }
        let counted = self.config.version.is_enterprise();
        if counted && mr.approvals.len() < project.options.approvals_required {
            return "not_approved";
        }
        if project.options.threads_must_be_resolved && !mr.is_resolved() {
            return "discussions_not_resolved";
        }
        if !project.options.pipelines_must_succeed {
            return "mergeable";
        }
        match self.current_head_pipeline(mr).map(Pipeline::status) {
            Some("success") => "mergeable",
            Some("pending" | "running" | "created") => "ci_still_running",
            _ => "ci_must_pass",
        }
    }

    /// The head of the target, and the tree that it becomes by merging; `None` on a conflict.
    fn merged_tree(&self, mr: &MergeRequest) -> Option<(Oid, Oid)> {
        let repo = &self.project(mr.target_project).repo;
        let target = repo.commit(repo.branch(&mr.target_branch)?)?;
        let head = repo.commit(mr.diff.head)?;
        let base = repo.merge_base(target.id, head.id)?;
        let base = repo.commit(base)?.tree;
        Some((target.id, repo.merge(base, target.tree, head.tree)?))
    }

    /// Merges now, or refuses as the merge button would. A message of one's own is for the merge
    /// commit.
    pub(crate) fn merge_now(
        &mut self,
        project: ProjectId,
        iid: u64,
        user: UserId,
        message: Option<&str>,
    ) -> Result<(), Refusal> {
        let mr = self.merge_request_mut(project, iid).clone();
        match self.detailed_merge_status(&mr) {
            "mergeable" => {}
            "conflict" | "broken_status" => {
                return Err(Refusal::message(422, "Branch cannot be merged"));
            }
            _ => return Err(Refusal::message(405, "405 Method Not Allowed")),
        }
        let (target, tree) = self.merged_tree(&mr).ok_or_else(|| Refusal::not_found(""))?;
        let found = self.project(project);
        let usual = format!(
            "Merge branch '{}' into '{}'\n\n{}\n\nSee merge request {}!{iid}",
            mr.source_branch, mr.target_branch, mr.title, found.path
        );
        let (repo, author) = (&found.repo, self.signature(user));
        let squashed = repo
            .commit(mr.diff.head)
            .filter(|_| mr.squash)
            .map(|head| repo.write_commit(head.tree, &[mr.diff.base], &author, &mr.title));
        let parents = [target, squashed.unwrap_or(mr.diff.head)];
        let commit = repo.write_commit(tree, &parents, &author, message.unwrap_or(&usual));
        self.mark_merged(project, iid, user, Some(commit));
        self.merge_request_mut(project, iid).squash_commit = squashed;
        self.push_refs(project, user, &[(format!("refs/heads/{}", mr.target_branch), commit)])?;
        let source = self.project(mr.source_project);
        let kept =
            mr.source_branch == source.default_branch() || source.is_protected(&mr.source_branch);
        if mr.remove_source_branch && !kept {
            let name = format!("refs/heads/{}", mr.source_branch);
            self.push_refs(mr.source_project, user, &[(name, NOTHING)])?;
        }
        Ok(())
    }

    /// Merges as soon as the head pipeline succeeds; at once where nothing is in the way.
    pub(crate) fn set_auto_merge(
        &mut self,
        project: ProjectId,
        iid: u64,
        user: UserId,
        message: Option<&str>,
    ) -> Result<(), Refusal> {
        let mr = self.merge_request_mut(project, iid).clone();
        let pipeline = self.current_head_pipeline(&mr);
        let waits = match (self.detailed_merge_status(&mr), pipeline) {
            ("ci_must_pass", None) => true,
            ("ci_must_pass", Some(_)) => {
                return Err(Refusal::message(405, "405 Method Not Allowed"));
            }
            ("ci_still_running" | "mergeable", Some(pipeline)) => !pipeline.is_finished(),
            _ => false,
        };
        if !waits {
            return self.merge_now(project, iid, user, message);
        }
        self.merge_request_mut(project, iid).auto_merge = Some(user);
        Ok(())
    }

    /// Merges if the pipeline that was waited for has succeeded.
    pub(crate) fn try_auto_merge(&mut self, project: ProjectId, iid: u64) {
        let mr = self.merge_request_mut(project, iid).clone();
        let Some(user) = mr.auto_merge else { return };
        if self.current_head_pipeline(&mr).map(Pipeline::status) == Some("success") {
            // A refusal leaves the merge request open, as in GitLab.
            let _ = self.merge_now(project, iid, user, None);
        }
    }
}
