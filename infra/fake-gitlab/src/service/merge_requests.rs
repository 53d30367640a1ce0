//! Merge requests: opening, preparing, following their source branch, changing.

use serde_json::json;

use crate::api::access::DEVELOPER;
use crate::api::answer::Refusal;
use crate::git::diff::Change;
use crate::git::{NOTHING, Oid};
use crate::model::{DiffRefs, MergeRequest, MrState, Note, Project, ProjectId, State, UserId};

/// What a merge request is opened with.
#[derive(Clone, Debug, Default)]
pub(crate) struct NewMergeRequest {
    pub(crate) source_project: Option<ProjectId>,
    pub(crate) source_branch: String,
    pub(crate) target_branch: String,
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) squash: bool,
    pub(crate) remove_source_branch: bool,
}

/// What of a merge request is to change.
#[derive(Clone, Debug, Default)]
pub(crate) struct MergeRequestUpdate {
    pub(crate) title: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) target_branch: Option<String>,
}

impl State {
    /// Opens a merge request.
    pub(crate) fn open_merge_request(
        &mut self,
        project: ProjectId,
        user: UserId,
        new: NewMergeRequest,
    ) -> Result<u64, Refusal> {
        let source_project = new.source_project.unwrap_or(project);
        let exists = |state: &Self, id: ProjectId, branch: &str| {
            state.projects.get(&id).is_some_and(|project| project.repo.branch(branch).is_some())
        };
        if !exists(self, source_project, &new.source_branch) {
            return Err(Refusal::field("source_branch", "does not exist"));
        }
        if !exists(self, project, &new.target_branch) {
            return Err(Refusal::field("target_branch", "does not exist"));
        }
        if source_project == project && new.source_branch == new.target_branch {
            return Err(Refusal::message(
                409,
                "You can't use same project/branch for source and target",
            ));
        }
        let twin = self.project(project).merge_requests.iter().find(|mr| {
            mr.is_open()
                && mr.source_project == source_project
                && mr.source_branch == new.source_branch
                && mr.target_branch == new.target_branch
        });
        if let Some(twin) = twin {
            let text = "Another open merge request already exists for this source branch: !";
            return Err(Refusal::message(409, json!([format!("{text}{}", twin.iid)])));
        }
        let (now, id) = (self.now(), self.next_id("merge_request"));
        let target = self.project_mut(project);
        let iid = target.merge_requests.len() as u64 + 1;
        target.merge_requests.push(MergeRequest {
            id,
            iid,
            state: MrState::Opened,
            title: new.title,
            description: new.description,
            author: user,
            source_project,
            target_project: project,
            source_branch: new.source_branch,
            target_branch: new.target_branch,
            diff: DiffRefs { base: NOTHING, start: NOTHING, head: NOTHING },
            heads: Vec::new(),
            auto_merge: None,
            squash: new.squash,
            remove_source_branch: new.remove_source_branch,
            approvals: Vec::new(),
            merged: None,
            merge_commit: None,
            squash_commit: None,
            created_at: now,
            updated_at: now,
            notes: Vec::new(),
        });
        self.read_source_head(project, iid);
        self.fire_merge_request(project, iid, user, "open", None);
        self.plan_merge_request_pipeline(project, iid, user);
        Ok(iid)
    }

    pub(crate) fn merge_request(
        &self,
        project: ProjectId,
        iid: u64,
    ) -> Result<&MergeRequest, Refusal> {
        self.project(project).merge_request(iid).ok_or_else(|| Refusal::not_found(""))
    }

    /// Nobody approves twice, and where approvals count (Premium) no author does.
    pub(crate) fn may_approve(&self, mr: &MergeRequest, user: UserId) -> bool {
        let author = mr.author == user && self.config.version.is_enterprise();
        let role = self.role(self.project(mr.target_project), self.user(user));
        role >= DEVELOPER && !author && mr.approvals.iter().all(|(who, _)| *who != user)
    }

    pub(crate) fn approve(
        &mut self,
        project: ProjectId,
        iid: u64,
        user: UserId,
    ) -> Result<(), Refusal> {
        if !self.may_approve(self.merge_request(project, iid)?, user) {
            return Err(Refusal::unauthorized());
        }
        let now = self.now();
        let required = self.project(project).options.approvals_required;
        let mr = self.merge_request_mut(project, iid);
        mr.approvals.push((user, now));
        mr.updated_at = now;
        let enough = mr.approvals.len() >= required;
        let action = if enough { "approved" } else { "approval" };
        self.fire_merge_request(project, iid, user, action, None);
        Ok(())
    }

    pub(crate) fn merge_request_mut(&mut self, project: ProjectId, iid: u64) -> &mut MergeRequest {
        self.project_mut(project)
            .merge_request_mut(iid)
            .expect("merge requests are looked up before they are changed")
    }

    /// Takes the live head of the source branch as the head of the newest diff.
    pub(crate) fn read_source_head(&mut self, project: ProjectId, iid: u64) {
        let Some(mr) = self.project(project).merge_request(iid) else { return };
        let (source, fork) = (mr.source_project, mr.is_from_fork());
        let (head_ref, target_branch) = (mr.head_ref(), mr.target_branch.clone());
        let source = self.projects.get(&source);
        let Some(head) = source.and_then(|source| source.repo.branch(&mr.source_branch)) else {
            return;
        };
        if let (true, Some(source)) = (fork, source) {
            let fetched = self.project(project).repo.fetch(&source.repo, head);
            fetched.expect("git is there, and the data directory can be written");
        }
        let target = self.project_mut(project);
        let start = target.repo.branch(&target_branch).unwrap_or(NOTHING);
        let base = target.repo.merge_base(start, head).unwrap_or(NOTHING);
        // Nobody but the server writes these refs.
        target.repo.set_ref(&head_ref, head).expect("the data directory can be written");
        if let Some(mr) = target.merge_request_mut(iid) {
            mr.diff = DiffRefs { base, start, head };
            if mr.heads.last() != Some(&head) {
                mr.heads.push(head);
            }
        }
    }

    pub(crate) fn mark_merged(
        &mut self,
        project: ProjectId,
        iid: u64,
        user: UserId,
        merge_commit: Option<Oid>,
    ) {
        let now = self.now();
        let mr = self.merge_request_mut(project, iid);
        mr.state = MrState::Merged;
        mr.updated_at = now;
        mr.auto_merge = None;
        mr.merged = Some((user, now));
        mr.merge_commit = merge_commit;
        self.fire_merge_request(project, iid, user, "merge", None);
    }

    pub(crate) fn add_system_note(
        &mut self,
        project: ProjectId,
        iid: u64,
        author: UserId,
        body: String,
    ) {
        let (id, now) = (self.next_id("note"), self.now());
        let note = Note { system: true, ..Note::new(id, author, body, now) };
        self.merge_request_mut(project, iid).notes.push(note);
    }

    /// Changes the title, the description or the target of a merge request.
    pub(crate) fn update_merge_request(
        &mut self,
        project: ProjectId,
        iid: u64,
        user: UserId,
        update: MergeRequestUpdate,
    ) -> Result<(), Refusal> {
        if let Some(branch) = &update.target_branch
            && self.project(project).repo.branch(branch).is_none()
        {
            return Err(Refusal::field("target_branch", "does not exist"));
        }
        let now = self.now();
        let mr = self.merge_request_mut(project, iid);
        let (old_title, old_target) = (mr.title.clone(), mr.target_branch.clone());
        let old_description = mr.description.clone();
        mr.title = update.title.unwrap_or_else(|| old_title.clone());
        mr.description = update.description.unwrap_or_else(|| old_description.clone());
        mr.target_branch = update.target_branch.unwrap_or_else(|| old_target.clone());
        mr.updated_at = now;
        let rewritten = mr.title != old_title || mr.description != old_description;
        let retargeted = mr.target_branch != old_target;
        if retargeted {
            let text =
                format!("changed target branch from `{old_target}` to `{}`", mr.target_branch);
            self.add_system_note(project, iid, user, text);
            self.read_source_head(project, iid);
        }
        if rewritten || retargeted {
            self.fire_merge_request(project, iid, user, "update", None);
        }
        if retargeted {
            self.plan_merge_request_pipeline(project, iid, user);
        }
        Ok(())
    }

    /// Closes or reopens a merge request (`close`, `reopen`), where that changes anything.
    pub(crate) fn change_state(&mut self, project: ProjectId, iid: u64, user: UserId, event: &str) {
        let now = self.now();
        let mr = self.merge_request_mut(project, iid);
        let (action, state) = match (event, mr.state) {
            ("close", MrState::Opened) => ("close", MrState::Closed),
            ("reopen", MrState::Closed) => ("reopen", MrState::Opened),
            _ => return,
        };
        mr.state = state;
        mr.updated_at = now;
        mr.auto_merge = None;
        if state == MrState::Opened {
            self.read_source_head(project, iid);
        }
        self.fire_merge_request(project, iid, user, action, None);
        if state == MrState::Opened {
            self.plan_merge_request_pipeline(project, iid, user);
        }
    }
}

/// The commits of a merge request, newest first.
pub(crate) fn commits(
    project: &Project,
    mr: &MergeRequest,
) -> Vec<std::sync::Arc<crate::git::Commit>> {
    project.repo.log(mr.diff.head, &[mr.diff.start, mr.diff.base])
}

/// The changed files of a merge request.
pub(crate) fn changes(project: &Project, mr: &MergeRequest) -> Vec<Change> {
    let repo = &project.repo;
    let tree = |id| repo.commit(id).map_or(NOTHING, |commit| commit.tree);
    repo.changes(tree(mr.diff.base), tree(mr.diff.head))
}
