//! Webhooks: the fields of GitLab 19's bodies that say what happened to what.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::git::Oid;
use crate::git::repo::RefChange;
use crate::model::{MergeRequest, Note, Project, ProjectId, State, UserId};

/// `2026-01-16 05:56:22 UTC`, the dates of merge request and note hooks.
fn hook_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

impl State {
    /// The `project` object.
    fn hook_project(&self, project: &Project) -> Value {
        json!({
            "id": project.id,
            "path_with_namespace": project.path,
            "web_url": self.project_url(project),
            "git_http_url": format!("{}.git", self.project_url(project)),
        })
    }

    /// The `user` object; addresses are private unless somebody made them public.
    fn hook_user(&self, user: UserId) -> Value {
        let user = self.user(user);
        json!({ "id": user.id, "name": user.name, "username": user.username })
    }

    /// Queues the hooks for one moved branch or tag.
    pub(crate) fn fire_push(&mut self, project: ProjectId, user: UserId, change: &RefChange) {
        let branch = change.name.strip_prefix("refs/heads/");
        let (kind, trigger) = match branch {
            Some(_) => ("push", "push_events"),
            None if change.name.starts_with("refs/tags/") => ("tag_push", "tag_push_events"),
            None => return,
        };
        let body = self.push_event(self.project(project), user, kind, change);
        self.queue_hooks(project, trigger, branch, &body);
    }

    /// The body for one moved branch (`push`) or tag (`tag_push`).
    pub(crate) fn push_event(
        &self,
        project: &Project,
        user: UserId,
        kind: &str,
        change: &RefChange,
    ) -> Value {
        json!({
            "object_kind": kind,
            "event_name": kind,
            "before": change.before.to_string(),
            "after": change.after.to_string(),
            "ref": change.name,
            "checkout_sha": project.repo.peel(change.after).map(|id| id.to_string()),
            "user_username": self.user(user).username,
            "project_id": project.id,
            "project": self.hook_project(project),
        })
    }

    /// Queues the hooks for something that happened to a merge request; `oldrev` is its head before
    /// new commits.
    pub(crate) fn fire_merge_request(
        &mut self,
        project: ProjectId,
        iid: u64,
        user: UserId,
        action: &'static str,
        oldrev: Option<Oid>,
    ) {
        let Some(mr) = self.project(project).merge_request(iid) else { return };
        let body = self.merge_request_event(mr, user, action, oldrev);
        self.queue_hooks(project, "merge_requests_events", None, &body);
    }

    /// The body for something that happened to a merge request.
    pub(crate) fn merge_request_event(
        &self,
        mr: &MergeRequest,
        user: UserId,
        action: &str,
        oldrev: Option<Oid>,
    ) -> Value {
        let mut attributes = self.merge_request_attributes(mr);
        attributes["action"] = json!(action);
        if let Some(oldrev) = oldrev {
            attributes["oldrev"] = json!(oldrev.to_string());
        }
        json!({
            "object_kind": "merge_request",
            "event_type": "merge_request",
            "user": self.hook_user(user),
            "project": self.hook_project(self.project(mr.target_project)),
            "object_attributes": attributes,
        })
    }

    /// The fields of a merge request.
    fn merge_request_attributes(&self, mr: &MergeRequest) -> Value {
        // The head at the time the hook is rendered; null when the source branch is gone.
        let source = self.projects.get(&mr.source_project);
        let live = source.and_then(|project| project.repo.branch(&mr.source_branch));
        let last = if mr.is_open() { live } else { Some(mr.diff.head) };
        json!({
            "id": mr.id,
            "iid": mr.iid,
            "title": mr.title,
            "state": mr.state.name(),
            "draft": mr.is_draft(),
            "source_branch": mr.source_branch,
            "source_project_id": mr.source_project,
            "target_branch": mr.target_branch,
            "target_project_id": mr.target_project,
            "source": source.map(|project| self.hook_project(project)),
            "target": self.hook_project(self.project(mr.target_project)),
            "created_at": hook_time(mr.created_at),
            "updated_at": hook_time(mr.updated_at),
            "last_commit": last.map(|id| json!({ "id": id.to_string() })),
            "url": self.merge_request_url(mr),
        })
    }

    /// Queues the hooks for a comment that was made or edited.
    pub(crate) fn fire_note(
        &mut self,
        mr: &MergeRequest,
        note: &Note,
        user: UserId,
        action: &'static str,
    ) {
        // Before 16.11 edits told nobody, and nothing said that a comment is new.
        let says_action = self.config.version.at_least(16, 11);
        if !says_action && action != "create" {
            return;
        }
        let mut body = self.note_event(mr, note, user, action);
        if let Some(attributes) = body["object_attributes"].as_object_mut()
            && !says_action
        {
            attributes.remove("action");
        }
        let trigger = if note.internal { "confidential_note_events" } else { "note_events" };
        self.queue_hooks(mr.target_project, trigger, None, &body);
    }

    /// The body for a comment that was made or edited.
    pub(crate) fn note_event(
        &self,
        mr: &MergeRequest,
        note: &Note,
        user: UserId,
        action: &str,
    ) -> Value {
        let project = self.project(mr.target_project);
        json!({
            "object_kind": "note",
            "event_type": if note.internal { "confidential_note" } else { "note" },
            "user": self.hook_user(user),
            "project_id": project.id,
            "project": self.hook_project(project),
            "object_attributes": {
                "id": note.id,
                "note": note.body,
                "description": note.body,
                "type": note.threaded.then_some("DiscussionNote"),
                "discussion_id": note.discussion,
                "system": note.system,
                "internal": note.internal,
                "noteable_type": "MergeRequest",
                "noteable_id": mr.id,
                "author_id": note.author,
                "created_at": hook_time(note.created_at),
                "updated_at": hook_time(note.updated_at),
                "project_id": project.id,
                "action": action,
                "url": format!("{}#note_{}", self.merge_request_url(mr), note.id),
            },
            "merge_request": self.merge_request_attributes(mr),
        })
    }
}
