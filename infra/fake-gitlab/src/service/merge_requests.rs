//! Merge requests: opening, preparing, following their source branch, changing.

use std::collections::BTreeSet;

use serde_json::json;

use crate::api::answer::Refusal;
use crate::events::merge_request::MrEvent;
use crate::git::{Oid, history};
use crate::model::{DiffRefs, MergeRequest, MrState, Note, Project, ProjectId, State, UserId};

/// What a merge request is opened with.
#[derive(Clone, Debug, Default)]
pub(crate) struct NewMergeRequest {
    pub(crate) source_project: Option<ProjectId>,
    pub(crate) source_branch: String,
    pub(crate) target_branch: String,
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) labels: Vec<String>,
    pub(crate) squash: bool,
    pub(crate) remove_source_branch: bool,
}

/// What of a merge request is to change.
#[derive(Clone, Debug, Default)]
pub(crate) struct MergeRequestUpdate {
    pub(crate) title: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) labels: Option<Vec<String>>,
    pub(crate) target_branch: Option<String>,
    pub(crate) state_event: Option<String>,
    pub(crate) squash: Option<bool>,
    pub(crate) remove_source_branch: Option<bool>,
}

impl State {
    /// Opens a merge request; its `open` hook is sent once it is prepared.
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
        let iid = target.merge_requests.iter().map(|mr| mr.iid).max().unwrap_or(0) + 1;
        target.merge_requests.push(MergeRequest {
            id,
            iid,
            state: MrState::Opened,
            title: new.title,
            description: new.description,
            labels: new.labels,
            author: user,
            source_project,
            target_project: project,
            source_branch: new.source_branch,
            target_branch: new.target_branch,
            diff: None,
            heads: Vec::new(),
            prepared_at: None,
            prepare_due: now + target.options.prepare_delay,
            squash: new.squash,
            remove_source_branch: new.remove_source_branch,
            auto_merge: None,
            approvals: BTreeSet::new(),
            merge_commit: None,
            squash_commit: None,
            merged_by: None,
            merged_at: None,
            closed_at: None,
            created_at: now,
            updated_at: now,
            notes: Vec::new(),
        });
        self.prepare_due_merge_requests();
        Ok(iid)
    }

    /// Finishes the preparation of merge requests whose time has come.
    pub(crate) fn prepare_due_merge_requests(&mut self) {
        let now = self.now();
        let due: Vec<(ProjectId, u64, UserId)> = self
            .projects
            .values()
            .flat_map(|project| &project.merge_requests)
            .filter(|mr| mr.prepared_at.is_none() && mr.prepare_due <= now)
            .map(|mr| (mr.target_project, mr.iid, mr.author))
            .collect();
        for (project, iid, user) in due {
            self.read_source_head(project, iid);
            let mr = self.merge_request_mut(project, iid);
            mr.prepared_at = Some(now);
            mr.updated_at = now;
            if !mr.is_open() {
                continue;
            }
            let mr = mr.clone();
            let event = MrEvent::new("open")
                .change("merge_status", json!("preparing"), json!("checking"))
                .change("prepared_at", json!(null), json!(crate::events::hook_time(now)));
            self.fire_merge_request(&mr, user, &event);
            self.plan_merge_request_pipeline(project, iid, user);
        }
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
            let copied = self.project(project).repo.objects.copy_from(&source.repo.objects);
            copied.expect("the data directory can be written");
        }
        let target = self.project_mut(project);
        let start = target.repo.branch(&target_branch).unwrap_or(Oid::ZERO);
        let base = history::merge_base(&target.repo.objects, start, head).unwrap_or(Oid::ZERO);
        // Nobody but the server writes these refs.
        target.repo.set_ref(&head_ref, head).expect("the data directory can be written");
        if let Some(mr) = target.merge_request_mut(iid) {
            mr.diff = Some(DiffRefs { base, start, head });
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
        squash_commit: Option<Oid>,
    ) {
        let now = self.now();
        let mr = self.merge_request_mut(project, iid);
        mr.state = MrState::Merged;
        mr.merged_at = Some(now);
        mr.merged_by = Some(user);
        mr.updated_at = now;
        mr.auto_merge = None;
        mr.merge_commit = merge_commit;
        mr.squash_commit = squash_commit;
        let mr = mr.clone();
        let event = MrEvent::new("merge").change("state_id", json!(1), json!(3));
        self.fire_merge_request(&mr, user, &event);
    }

    pub(crate) fn add_system_note(
        &mut self,
        project: ProjectId,
        iid: u64,
        author: UserId,
        body: String,
    ) {
        let (id, now) = (self.next_id("note"), self.now());
        self.merge_request_mut(project, iid).notes.push(Note {
            id,
            author,
            body,
            system: true,
            internal: false,
            created_at: now,
            updated_at: now,
        });
    }

    /// Changes a merge request: one hook for fields, one for a change of state.
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
        let mut event = MrEvent::new("update");
        let (was_draft, old_target) = (mr.is_draft(), mr.target_branch.clone());
        if let Some(title) = update.title.filter(|title| *title != mr.title) {
            event = event.change("title", json!(mr.title), json!(title));
            mr.title = title;
            if was_draft != mr.is_draft() {
                event = event.change("draft", json!(was_draft), json!(!was_draft));
            }
        }
        if let Some(text) = update.description.filter(|text| *text != mr.description) {
            event = event.change("description", json!(mr.description), json!(text));
            mr.description = text;
        }
        if let Some(labels) = update.labels.filter(|labels| *labels != mr.labels) {
            event = event.change("labels", json!(mr.labels), json!(labels));
            mr.labels = labels;
        }
        if let Some(target) = update.target_branch.filter(|target| *target != mr.target_branch) {
            event = event.change("target_branch", json!(mr.target_branch), json!(target));
            mr.target_branch = target;
        }
        mr.squash = update.squash.unwrap_or(mr.squash);
        mr.remove_source_branch = update.remove_source_branch.unwrap_or(mr.remove_source_branch);
        mr.updated_at = now;
        let retargeted = mr.target_branch != old_target;
        let prepared = mr.prepared_at.is_some();
        if retargeted {
            let text =
                format!("changed target branch from `{old_target}` to `{}`", mr.target_branch);
            self.add_system_note(project, iid, user, text);
            if prepared {
                self.read_source_head(project, iid);
            }
        }
        if !event.changes.is_empty() && prepared {
            let mr = self.merge_request_mut(project, iid).clone();
            self.fire_merge_request(&mr, user, &event);
        }
        if retargeted && prepared {
            self.plan_merge_request_pipeline(project, iid, user);
        }
        self.change_state(project, iid, user, update.state_event.as_deref())
    }

    fn change_state(
        &mut self,
        project: ProjectId,
        iid: u64,
        user: UserId,
        event: Option<&str>,
    ) -> Result<(), Refusal> {
        let now = self.now();
        let mr = self.merge_request_mut(project, iid);
        let (action, state) = match (event, mr.state) {
            (Some("close"), MrState::Opened) => ("close", MrState::Closed),
            (Some("reopen"), MrState::Closed) => ("reopen", MrState::Opened),
            _ => return Ok(()),
        };
        let before = mr.state.number();
        mr.state = state;
        mr.updated_at = now;
        mr.closed_at = (state == MrState::Closed).then_some(now);
        mr.auto_merge = None;
        if state == MrState::Opened {
            self.read_source_head(project, iid);
        }
        let mr = self.merge_request_mut(project, iid).clone();
        let change = MrEvent::new(action).change("state_id", json!(before), json!(state.number()));
        self.fire_merge_request(&mr, user, &change);
        if state == MrState::Opened {
            self.plan_merge_request_pipeline(project, iid, user);
        }
        Ok(())
    }
}

/// The commits of a merge request, newest first.
pub(crate) fn commits(
    project: &Project,
    mr: &MergeRequest,
) -> Vec<std::sync::Arc<crate::git::Commit>> {
    mr.diff.map_or_else(Vec::new, |diff| {
        history::log(&project.repo.objects, diff.head, &[diff.start, diff.base])
    })
}
