//! Merge request hooks.

use serde_json::{Map, Value, json};

use super::hook_time;
use crate::git::Oid;
use crate::model::{MergeRequest, Project, State, UserId};

/// What happened to a merge request.
#[derive(Clone, Debug, Default)]
pub(crate) struct MrEvent {
    pub(crate) action: &'static str,
    /// The head before new commits; only then there.
    pub(crate) oldrev: Option<Oid>,
    /// Changed fields: name, before, after.
    pub(crate) changes: Vec<(&'static str, Value, Value)>,
}

impl MrEvent {
    pub(crate) fn new(action: &'static str) -> Self {
        Self { action, ..Self::default() }
    }

    pub(crate) fn change(mut self, field: &'static str, before: Value, after: Value) -> Self {
        self.changes.push((field, before, after));
        self
    }
}

impl State {
    /// The body for something that happened to a merge request.
    pub(crate) fn merge_request_event(
        &self,
        mr: &MergeRequest,
        user: UserId,
        event: &MrEvent,
    ) -> Value {
        let target = self.project(mr.target_project);
        let mut attributes = self.merge_request_attributes(mr);
        attributes["action"] = json!(event.action);
        if let Some(oldrev) = event.oldrev {
            attributes["oldrev"] = json!(oldrev);
        }
        let mut changes = Map::new();
        for (field, before, after) in &event.changes {
            changes.insert((*field).to_owned(), json!({ "previous": before, "current": after }));
        }
        json!({
            "object_kind": "merge_request",
            "event_type": "merge_request",
            "user": self.hook_user(user),
            "project": self.hook_project(target),
            "object_attributes": attributes,
            "labels": labels(mr),
            "changes": changes,
            "repository": self.hook_repository(target),
            "assignees": [],
            "reviewers": [],
        })
    }

    /// `object_attributes` of merge request hooks, without the action.
    pub(crate) fn merge_request_attributes(&self, mr: &MergeRequest) -> Value {
        let target = self.project(mr.target_project);
        let source = self.projects.get(&mr.source_project);
        let status = self.detailed_merge_status(mr);
        let legacy = if status == "mergeable" { "can_be_merged" } else { "checking" };
        json!({
            "author_id": mr.author,
            "created_at": hook_time(mr.created_at),
            "description": mr.description,
            "draft": mr.is_draft(),
            "work_in_progress": mr.is_draft(),
            "head_pipeline_id": self.head_pipeline(mr).map(|pipeline| pipeline.id),
            "id": mr.id,
            "iid": mr.iid,
            "last_edited_at": null,
            "last_edited_by_id": null,
            "merge_commit_sha": mr.merge_commit,
            "merge_error": null,
            "merge_params": {
                "force_remove_source_branch": if mr.remove_source_branch { "1" } else { "0" },
            },
            "merge_status": legacy,
            "merge_user_id": mr.merged_by,
            "merge_when_pipeline_succeeds": mr.auto_merge.is_some(),
            "milestone_id": null,
            "source_branch": mr.source_branch,
            "source_project_id": mr.source_project,
            "state_id": mr.state.number(),
            "state": mr.state.name(),
            "target_branch": mr.target_branch,
            "target_project_id": mr.target_project,
            "time_estimate": 0,
            "title": mr.title,
            "updated_at": hook_time(mr.updated_at),
            "updated_by_id": null,
            "prepared_at": mr.prepared_at.map(hook_time),
            "assignee_ids": [],
            "assignee_id": null,
            "reviewer_ids": [],
            "blocking_discussions_resolved": true,
            "detailed_merge_status": status,
            "first_contribution": false,
            "human_time_change": null,
            "human_time_estimate": null,
            "human_total_time_spent": null,
            "labels": labels(mr),
            "last_commit": self.last_commit(mr, target),
            "source": source.map(|project| self.hook_project(project)),
            "target": self.hook_project(target),
            "system": false,
            "time_change": 0,
            "total_time_spent": 0,
            "url": format!("{}/-/merge_requests/{}", self.project_url(target), mr.iid),
            "approval_rules": [],
        })
    }

    /// The head at the time the hook is rendered; null when the source branch is gone.
    pub(crate) fn last_commit(&self, mr: &MergeRequest, target: &Project) -> Value {
        let source = self.projects.get(&mr.source_project);
        let live = source.and_then(|project| project.repo.branch(&mr.source_branch));
        let id = if mr.is_open() { live } else { mr.head().or(live) };
        let find = |id| {
            let commit = target.repo.objects.commit(id);
            commit.or_else(|| source.and_then(|project| project.repo.objects.commit(id)))
        };
        id.and_then(find).map_or(Value::Null, |commit| self.hook_commit(target, &commit))
    }

    /// Queues the hooks for something that happened to a merge request.
    pub(crate) fn fire_merge_request(&mut self, mr: &MergeRequest, user: UserId, event: &MrEvent) {
        let body = self.merge_request_event(mr, user, event);
        self.queue_hooks(mr.target_project, "merge_requests_events", None, &body);
    }
}

fn labels(mr: &MergeRequest) -> Vec<Value> {
    mr.labels
        .iter()
        .map(|title| json!({ "title": title, "color": "#adb21a", "type": "ProjectLabel" }))
        .collect()
}
