//! Whether a merge request can be merged, and merging it.

use crate::api::answer::Refusal;
use crate::config::MergeMethod;
use crate::git::{Oid, history, merge};
use crate::model::{AutoMerge, MergeRequest, MrState, ProjectId, State, UserId};

/// How one merge is done.
#[derive(Clone, Debug, Default)]
pub(crate) struct MergeOptions {
    pub(crate) squash: bool,
    pub(crate) remove_source_branch: bool,
    pub(crate) message: Option<String>,
}

impl State {
    /// `detailed_merge_status`.
    pub(crate) fn detailed_merge_status(&self, mr: &MergeRequest) -> &'static str {
        if mr.state != MrState::Opened {
            return "not_open";
        }
        if mr.prepared_at.is_none() {
            return "preparing";
        }
        if mr.is_draft() {
            return "draft_status";
        }
        let project = self.project(mr.target_project);
        let source = self.projects.get(&mr.source_project);
        if source.and_then(|source| source.repo.branch(&mr.source_branch)).is_none() {
            return "broken_status";
        }
        match self.merged_tree(mr) {
            None => return "conflict",
            Some(Merged { fast_forward: false, .. })
                if project.options.merge_method == MergeMethod::FastForward =>
            {
                return "need_rebase";
            }
            Some(_) => {}
        }
        if !project.options.pipelines_must_succeed {
            return "mergeable";
        }
        let skipped_is_fine = project.options.allow_merge_on_skipped_pipeline;
        match self.current_head_pipeline(mr).map(crate::model::Pipeline::status) {
            Some("success") => "mergeable",
            Some("skipped") if skipped_is_fine => "mergeable",
            Some("pending" | "running" | "created") => "ci_still_running",
            _ => "ci_must_pass",
        }
    }

    fn merged_tree(&self, mr: &MergeRequest) -> Option<Merged> {
        let repo = &self.project(mr.target_project).repo;
        let target = repo.objects.commit(repo.branch(&mr.target_branch)?)?;
        let head = repo.objects.commit(mr.head()?)?;
        let base = history::merge_base(&repo.objects, target.id, head.id)?;
        let fast_forward = base == target.id;
        let base_tree = repo.objects.commit(base)?.tree;
        let tree = merge::merge(&repo.objects, base_tree, target.tree, head.tree)?;
        Some(Merged { tree, target: target.id, head: head.id, base, fast_forward })
    }

    /// Merges now, or refuses as the merge button would.
    pub(crate) fn merge_now(
        &mut self,
        project: ProjectId,
        iid: u64,
        user: UserId,
        options: &MergeOptions,
    ) -> Result<(), Refusal> {
        let mr = self.merge_request_mut(project, iid).clone();
        match self.detailed_merge_status(&mr) {
            "mergeable" => {}
            "conflict" | "broken_status" | "need_rebase" => {
                return Err(Refusal::message(422, "Branch cannot be merged"));
            }
            _ => return Err(Refusal::message(405, "405 Method Not Allowed")),
        }
        let merged = self.merged_tree(&mr).ok_or_else(|| Refusal::not_found(""))?;
        let squash = options.squash || mr.squash;
        let (new_head, merge_commit, squash_commit) =
            self.write_merge(&mr, user, &merged, squash, options.message.as_deref());
        self.mark_merged(project, iid, user, merge_commit, squash_commit);
        self.push_refs(project, user, &[(format!("refs/heads/{}", mr.target_branch), new_head)])?;
        if options.remove_source_branch || mr.remove_source_branch {
            let name = format!("refs/heads/{}", mr.source_branch);
            let source = self.project(mr.source_project);
            if !self.is_protected_ref(source, &name) {
                self.push_refs(mr.source_project, user, &[(name, Oid::ZERO)])?;
            }
        }
        Ok(())
    }

    /// Writes the commits of a merge: the new head of the target, the merge and squash commits.
    fn write_merge(
        &self,
        mr: &MergeRequest,
        user: UserId,
        merged: &Merged,
        squash: bool,
        message: Option<&str>,
    ) -> (Oid, Option<Oid>, Option<Oid>) {
        let project = self.project(mr.target_project);
        let (objects, author) = (&project.repo.objects, self.signature(user));
        let method = project.options.merge_method;
        let reference = format!("{}!{}", project.path, mr.iid);
        let squashed = squash.then(|| match method {
            MergeMethod::FastForward => {
                objects.write_commit(merged.tree, &[merged.target], &author, &mr.title)
            }
            MergeMethod::MergeCommit => {
                let tree = objects.commit(merged.head).map_or(merged.tree, |head| head.tree);
                objects.write_commit(tree, &[merged.base], &author, &mr.title)
            }
        });
        let head = squashed.unwrap_or(merged.head);
        if method == MergeMethod::FastForward {
            return (head, None, squashed);
        }
        let text = message.map_or_else(
            || {
                format!(
                    "Merge branch '{}' into '{}'\n\n{}\n\nSee merge request {reference}",
                    mr.source_branch, mr.target_branch, mr.title
                )
            },
            str::to_owned,
        );
        let commit = objects.write_commit(merged.tree, &[merged.target, head], &author, &text);
        (commit, Some(commit), squashed)
    }

    /// Merges as soon as the head pipeline succeeds; at once where nothing is in the way.
    pub(crate) fn set_auto_merge(
        &mut self,
        project: ProjectId,
        iid: u64,
        user: UserId,
        options: &MergeOptions,
    ) -> Result<(), Refusal> {
        let mr = self.merge_request_mut(project, iid).clone();
        let running = self.current_head_pipeline(&mr).is_some_and(|known| !known.is_finished());
        let status = self.detailed_merge_status(&mr);
        let waits = matches!(status, "ci_still_running" | "mergeable") && running;
        if !waits && status != "ci_must_pass" {
            return self.merge_now(project, iid, user, options);
        }
        if status == "ci_must_pass" && self.current_head_pipeline(&mr).is_some() {
            return Err(Refusal::message(405, "405 Method Not Allowed"));
        }
        self.merge_request_mut(project, iid).auto_merge = Some(AutoMerge {
            user,
            squash: options.squash,
            remove_source_branch: options.remove_source_branch,
        });
        Ok(())
    }

    /// Merges if the pipeline that was waited for has succeeded.
    pub(crate) fn try_auto_merge(&mut self, project: ProjectId, iid: u64) {
        let mr = self.merge_request_mut(project, iid).clone();
        let Some(auto) = &mr.auto_merge else { return };
        if self.current_head_pipeline(&mr).map(crate::model::Pipeline::status) != Some("success") {
            return;
        }
        let options = MergeOptions {
            squash: auto.squash,
            remove_source_branch: auto.remove_source_branch,
            message: None,
        };
        // A refusal leaves the merge request open, as in GitLab.
        let _ = self.merge_now(project, iid, auto.user, &options);
    }
}

/// A merge that has no conflict.
struct Merged {
    tree: Oid,
    target: Oid,
    head: Oid,
    base: Oid,
    fast_forward: bool,
}
