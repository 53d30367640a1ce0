//! How things look in answers.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Call;
use crate::git::Commit;
use crate::git::diff::Change;
use crate::model::{Job, MergeRequest, Note, Pipeline, Project, ProjectId, State, UserId};
use crate::service::merge_requests;

/// `2026-01-16T05:56:22.123Z`.
pub(crate) fn api_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

fn commit_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.000+00:00").to_string()
}

impl State {
    pub(crate) fn user_json(&self, user: UserId) -> Value {
        let user = self.user(user);
        json!({
            "id": user.id,
            "username": user.username,
            "name": user.name,
            "state": "active",
            "locked": false,
            "avatar_url": null,
            "web_url": format!("{}/{}", self.base_url, user.username),
        })
    }

    pub(crate) fn commit_json(&self, project: &Project, commit: &Commit) -> Value {
        json!({
            "id": commit.id,
            "short_id": commit.id.short(),
            "created_at": commit_time(commit.committer.time),
            "parent_ids": commit.parents,
            "title": commit.title(),
            "message": commit.message,
            "author_name": commit.author.name,
            "author_email": commit.author.email,
            "authored_date": commit_time(commit.author.time),
            "committer_name": commit.committer.name,
            "committer_email": commit.committer.email,
            "committed_date": commit_time(commit.committer.time),
            "trailers": {},
            "extended_trailers": {},
            "web_url": format!("{}/-/commit/{}", self.project_url(project), commit.id),
        })
    }

    pub(crate) fn pipeline_json(&self, project: &Project, pipeline: &Pipeline) -> Value {
        json!({
            "id": pipeline.id,
            "iid": pipeline.iid,
            "project_id": project.id,
            "sha": pipeline.sha,
            "ref": pipeline.ref_name,
            "status": pipeline.status(),
            "source": pipeline.source.name(),
            "created_at": api_time(pipeline.created_at),
            "updated_at": api_time(pipeline.updated_at),
            "web_url": format!("{}/-/pipelines/{}", self.project_url(project), pipeline.id),
            "name": null,
        })
    }

    pub(crate) fn status_json(&self, pipeline: &Pipeline, job: &Job) -> Value {
        let mut body = json!({
            "id": job.id,
            "sha": pipeline.sha,
            "ref": job.ref_name,
            "status": job.status,
            "name": job.name,
            "target_url": job.target_url,
            "description": job.description,
            "created_at": api_time(job.created_at),
            "started_at": job.started_at.map(api_time),
            "finished_at": job.finished_at.map(api_time),
            "allow_failure": false,
            "coverage": job.coverage,
            "pipeline_id": pipeline.id,
            "author": self.user_json(job.user),
        });
        if !self.config.version.shows_pipeline_of_status() {
            crate::events::remove(&mut body, "pipeline_id");
        }
        body
    }

    pub(crate) fn note_json(&self, mr: &MergeRequest, note: &Note) -> Value {
        json!({
            "id": note.id,
            "type": null,
            "body": note.body,
            "attachment": null,
            "author": self.user_json(note.author),
            "created_at": api_time(note.created_at),
            "updated_at": api_time(note.updated_at),
            "system": note.system,
            "noteable_id": mr.id,
            "noteable_type": "MergeRequest",
            "project_id": mr.target_project,
            "noteable_iid": mr.iid,
            "commit_id": null,
            "resolvable": false,
            "confidential": note.internal,
            "internal": note.internal,
            "imported": false,
            "commands_changes": {},
        })
    }

    /// A merge request; the list leaves out what only a single one shows.
    pub(crate) fn merge_request_json(&self, mr: &MergeRequest, call: &Call, single: bool) -> Value {
        let project = self.project(mr.target_project);
        let status = self.detailed_merge_status(mr);
        let merge_status = match status {
            "preparing" => "preparing",
            "conflict" | "broken_status" => "cannot_be_merged",
            _ => "can_be_merged",
        };
        let mut body = json!({
            "id": mr.id,
            "iid": mr.iid,
            "project_id": project.id,
            "title": mr.title,
            "description": mr.description,
            "state": mr.state.name(),
            "created_at": api_time(mr.created_at),
            "updated_at": api_time(mr.updated_at),
            "merged_by": mr.merged_by.map(|user| self.user_json(user)),
            "merge_user": mr.merged_by.map(|user| self.user_json(user)),
            "merged_at": mr.merged_at.map(api_time),
            "closed_by": null,
            "closed_at": mr.closed_at.map(api_time),
            "target_branch": mr.target_branch,
            "source_branch": mr.source_branch,
            "user_notes_count": mr.notes.iter().filter(|note| !note.system).count(),
            "upvotes": 0,
            "downvotes": 0,
            "author": self.user_json(mr.author),
            "assignees": [],
            "assignee": null,
            "reviewers": [],
            "source_project_id": mr.source_project,
            "target_project_id": mr.target_project,
            "labels": mr.labels,
            "draft": mr.is_draft(),
            "work_in_progress": mr.is_draft(),
            "milestone": null,
            "merge_when_pipeline_succeeds": mr.auto_merge.is_some(),
            "merge_status": merge_status,
            "detailed_merge_status": status,
            "sha": mr.head(),
            "merge_commit_sha": mr.merge_commit,
            "squash_commit_sha": mr.squash_commit,
            "discussion_locked": null,
            "should_remove_source_branch": null,
            "force_remove_source_branch": mr.remove_source_branch,
            "prepared_at": mr.prepared_at.map(api_time),
            "reference": format!("!{}", mr.iid),
            "references": {
                "short": format!("!{}", mr.iid),
                "relative": format!("!{}", mr.iid),
                "full": format!("{}!{}", project.path, mr.iid),
            },
            "web_url": format!("{}/-/merge_requests/{}", self.project_url(project), mr.iid),
            "squash": mr.squash,
            "has_conflicts": status == "conflict",
            "blocking_discussions_resolved": true,
        });
        if !self.config.version.at_least(15, 6) {
            crate::events::remove(&mut body, "detailed_merge_status");
        }
        if single {
            let pipeline = self.head_pipeline(mr);
            let of = |pipeline: &Pipeline| {
                let owner = self.owner_of(pipeline.id).unwrap_or(mr.target_project);
                self.pipeline_json(self.project(owner), pipeline)
            };
            let changes = mr.diff.map(|_| self.merge_request_changes(mr).len());
            let limit = self.config.limits.diff_files;
            body["changes_count"] = json!(changes.map(|count| {
                if count > limit { format!("{limit}+") } else { count.to_string() }
            }));
            body["head_pipeline"] = json!(pipeline.map(of));
            body["pipeline"] = body["head_pipeline"].clone();
            body["diff_refs"] = json!(mr.diff.map(|diff| json!({
                "base_sha": diff.base, "head_sha": diff.head, "start_sha": diff.start,
            })));
            body["merge_error"] = Value::Null;
            body["subscribed"] = json!(false);
            body["first_contribution"] = json!(false);
            let can_merge = call.auth.user.is_some_and(|user| {
                project.branch_rights(self.user(user), &mr.target_branch).merge
            });
            body["user"] = json!({ "can_merge": can_merge });
            if call.params.flag("include_diverged_commits_count").ok().flatten() == Some(true) {
                body["diverged_commits_count"] = json!(self.diverged(mr));
            }
        }
        body
    }

    /// How many commits the target has that the source lacks.
    fn diverged(&self, mr: &MergeRequest) -> usize {
        let repo = &self.project(mr.target_project).repo;
        let (Some(target), Some(head)) = (repo.branch(&mr.target_branch), mr.head()) else {
            return 0;
        };
        crate::git::history::log(&repo.objects, target, &[head]).len()
    }

    /// The project that a pipeline belongs to.
    pub(crate) fn owner_of(&self, pipeline: u64) -> Option<ProjectId> {
        self.projects
            .values()
            .find(|project| project.pipeline(pipeline).is_some())
            .map(|project| project.id)
    }

    /// The changed files of a merge request.
    pub(crate) fn merge_request_changes(&self, mr: &MergeRequest) -> Vec<Change> {
        let objects = &self.project(mr.target_project).repo.objects;
        let Some(diff) = mr.diff else { return Vec::new() };
        let tree = |id| objects.commit(id).map(|commit| commit.tree);
        crate::git::diff::with_renames(objects, tree(diff.base), tree(diff.head))
    }

    /// One changed file.
    pub(crate) fn change_json(&self, project: &Project, change: &Change) -> Value {
        let mode = |file: Option<crate::git::tree::File>| {
            file.map_or_else(|| "0".to_owned(), |file| format!("{:o}", file.mode))
        };
        let patch = change.patch(&project.repo.objects);
        let too_large = patch.len() > self.config.limits.diff_file_bytes;
        let mut body = json!({
            "diff": if too_large { String::new() } else { patch },
            "old_path": change.old_path,
            "new_path": change.new_path,
            "a_mode": mode(change.old),
            "b_mode": mode(change.new),
            "new_file": change.old.is_none(),
            "renamed_file": change.is_rename(),
            "deleted_file": change.new.is_none(),
            "generated_file": false,
        });
        if self.config.version.at_least(18, 4) {
            body["collapsed"] = json!(false);
            body["too_large"] = json!(too_large);
        }
        body
    }

    /// The commits of a merge request.
    pub(crate) fn merge_request_commits(&self, mr: &MergeRequest) -> Vec<std::sync::Arc<Commit>> {
        merge_requests::commits(self.project(mr.target_project), mr)
    }
}
