//! Note hooks of merge requests.

use serde_json::{Value, json};

use super::{hook_time, remove};
use crate::model::{MergeRequest, Note, State, UserId};

impl State {
    /// Queues the hooks for a comment that was made or edited.
    pub(crate) fn fire_note(
        &mut self,
        mr: &MergeRequest,
        note: &Note,
        user: UserId,
        action: &'static str,
    ) {
        if action == "update" && !self.config.version.at_least(16, 11) {
            return;
        }
        let body = self.note_event(mr, note, user, action);
        let trigger = if note.internal { "confidential_note_events" } else { "note_events" };
        self.queue_hooks(mr.target_project, trigger, None, &body);
    }

    /// The body for a comment.
    pub(crate) fn note_event(
        &self,
        mr: &MergeRequest,
        note: &Note,
        user: UserId,
        action: &'static str,
    ) -> Value {
        let project = self.project(mr.target_project);
        let url = self.project_url(project);
        let event_type = if note.internal { "confidential_note" } else { "note" };
        let mut attributes = json!({
            "id": note.id,
            "internal": note.internal,
            "note": note.body,
            "noteable_type": "MergeRequest",
            "author_id": note.author,
            "created_at": hook_time(note.created_at),
            "updated_at": hook_time(note.updated_at),
            "project_id": project.id,
            "attachment": null,
            "line_code": null,
            "commit_id": "",
            "noteable_id": mr.id,
            "system": false,
            "st_diff": null,
            "action": action,
            "url": format!("{url}/-/merge_requests/{}#note_{}", mr.iid, note.id),
        });
        if !self.config.version.at_least(16, 11) {
            remove(&mut attributes, "action");
        }
        json!({
            "object_kind": "note",
            "event_type": event_type,
            "user": self.hook_user(user),
            "project_id": project.id,
            "project": self.hook_project(project),
            "repository": self.hook_repository(project),
            "object_attributes": attributes,
            "merge_request": self.merge_request_attributes(mr),
        })
    }
}
