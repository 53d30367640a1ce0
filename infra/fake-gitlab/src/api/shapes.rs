//! How things look in answers.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Call;
use crate::git::diff::{Change, File};
use crate::git::{Commit, Repo};
use crate::model::{Award, Job, MergeRequest, Note, Pipeline, Project, State, UserId};
use crate::service::merge_requests::changes;

/// `2026-01-16T05:56:22.123Z`.
pub(crate) fn api_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

impl Repo {
    /// One changed file.
    pub(crate) fn change_json(&self, change: &Change) -> Value {
        let mode = |file: Option<File>| format!("{:06o}", file.map_or(0, |file| file.kind as u16));
        json!({
            "diff": self.patch(change),
            "old_path": change.old_path,
            "new_path": change.new_path,
            "a_mode": mode(change.old),
            "b_mode": mode(change.new),
            "new_file": change.old.is_none(),
            "renamed_file": change.is_rename(),
            "deleted_file": change.new.is_none(),
            "collapsed": false,
            "too_large": false,
        })
    }
}

impl State {
    pub(crate) fn user_json(&self, user: UserId) -> Value {
        let user = self.user(user);
        json!({
            "id": user.id,
            "username": user.username,
            "name": user.name,
            "state": if user.blocked { "blocked" } else { "active" },
        })
    }

    pub(crate) fn commit_json(&self, project: &Project, commit: &Commit) -> Value {
        let time = commit.time.strftime("%Y-%m-%dT%H:%M:%S.000+00:00");
        json!({
            "id": commit.id.to_string(),
            "parent_ids": commit.parents.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "short_id": &commit.id.to_string()[..8],
            "title": commit.title(),
            "message": commit.message,
            "author_name": commit.author,
            "committed_date": time.to_string(),
            "web_url": format!("{}/-/commit/{}", self.project_url(project), commit.id),
        })
    }

    pub(crate) fn pipeline_json(&self, project: &Project, pipeline: &Pipeline) -> Value {
        json!({
            "id": pipeline.id,
            "project_id": project.id,
            "sha": pipeline.sha.to_string(),
            "ref": pipeline.ref_name,
            "status": pipeline.status(),
            "source": pipeline.source.name(),
            "created_at": api_time(pipeline.created_at),
            "web_url": format!("{}/-/pipelines/{}", self.project_url(project), pipeline.id),
        })
    }

    pub(crate) fn status_json(&self, pipeline: u64, job: &Job) -> Value {
        let mut body = json!({
            "id": job.id,
            "ref": job.ref_name,
            "status": job.status,
            "name": job.name,
            "target_url": job.target_url,
            "description": job.description,
        });
        if self.config.version.at_least(16, 7) {
            body["pipeline_id"] = json!(pipeline);
        }
        body
    }

    pub(crate) fn note_json(&self, note: &Note) -> Value {
        let mut body = json!({
            "id": note.id,
            "type": note.threaded.then_some("DiscussionNote"),
            "body": note.body,
            "author": self.user_json(note.author),
            "created_at": api_time(note.created_at),
            "updated_at": api_time(note.updated_at),
            "system": note.system,
            "internal": note.internal,
            "resolvable": note.threaded,
        });
        if note.threaded {
            body["resolved"] = json!(note.resolved_by.is_some());
            body["resolved_by"] = json!(note.resolved_by.map(|user| self.user_json(user)));
        }
        body
    }

    /// A discussion with those of its comments that are shown.
    pub(crate) fn discussion_json(&self, id: &str, notes: &[&Note]) -> Value {
        json!({
            "id": id,
            "individual_note": notes.iter().all(|note| !note.threaded),
            "notes": notes.iter().map(|note| self.note_json(note)).collect::<Vec<_>>(),
        })
    }

    pub(crate) fn award_json(&self, award: &Award, note: u64) -> Value {
        json!({
            "id": award.id,
            "name": award.name,
            "user": self.user_json(award.user),
            "awardable_id": note,
            "awardable_type": "Note",
        })
    }

    /// A merge request as lists show it.
    pub(crate) fn merge_request_json(&self, mr: &MergeRequest) -> Value {
        json!({
            "id": mr.id,
            "iid": mr.iid,
            "project_id": mr.target_project,
            "title": mr.title,
            "description": mr.description,
            "author": self.user_json(mr.author),
            "state": mr.state.name(),
            "created_at": api_time(mr.created_at),
            "updated_at": api_time(mr.updated_at),
            "prepared_at": api_time(mr.created_at),
            "target_branch": mr.target_branch,
            "source_branch": mr.source_branch,
            "source_project_id": mr.source_project,
            "target_project_id": mr.target_project,
            "draft": mr.is_draft(),
            "detailed_merge_status": self.detailed_merge_status(mr),
            "merge_when_pipeline_succeeds": mr.auto_merge.is_some(),
            "squash": mr.squash,
            "force_remove_source_branch": mr.remove_source_branch,
            "sha": mr.diff.head.to_string(),
            // Two words for the same: the older one stays for older clients.
            "merge_user": mr.merged.map(|(user, _)| self.user_json(user)),
            "merged_by": mr.merged.map(|(user, _)| self.user_json(user)),
            "merged_at": mr.merged.map(|(_, at)| api_time(at)),
            "merge_commit_sha": mr.merge_commit.map(|id| id.to_string()),
            "squash_commit_sha": mr.squash_commit.map(|id| id.to_string()),
            "user_notes_count": mr.notes.iter().filter(|note| !note.system).count(),
            "web_url": self.merge_request_url(mr),
        })
    }

    /// A merge request with what only a single one shows.
    pub(crate) fn whole_merge_request_json(&self, mr: &MergeRequest, call: &Call) -> Value {
        let mut body = self.merge_request_json(mr);
        let pipeline = self.head_pipeline(mr);
        let source = self.projects.get(&mr.source_project).zip(pipeline);
        body["head_pipeline"] =
            json!(source.map(|(project, pipeline)| self.pipeline_json(project, pipeline)));
        body["diff_refs"] = json!({
            "base_sha": mr.diff.base.to_string(),
            "head_sha": mr.diff.head.to_string(),
            "start_sha": mr.diff.start.to_string(),
        });
        body["changes_count"] = json!(self.changes_count(mr));
        if call.params.flag("include_diverged_commits_count").ok().flatten() == Some(true) {
            body["diverged_commits_count"] = json!(self.diverged(mr));
        }
        body
    }

    /// How many files it changes, in GitLab's words: `3000+` where not all are listed.
    fn changes_count(&self, mr: &MergeRequest) -> String {
        let count = changes(self.project(mr.target_project), mr).len();
        let limit = self.config.limits.diff_files;
        if count > limit { format!("{limit}+") } else { count.to_string() }
    }

    /// How many commits the target has that the source lacks.
    fn diverged(&self, mr: &MergeRequest) -> usize {
        let repo = &self.project(mr.target_project).repo;
        let Some(target) = repo.branch(&mr.target_branch) else { return 0 };
        repo.log(target, &[mr.diff.head]).len()
    }

    pub(crate) fn project_url(&self, project: &Project) -> String {
        format!("{}/{}", self.base_url, project.path)
    }

    pub(crate) fn merge_request_url(&self, mr: &MergeRequest) -> String {
        let project = self.project_url(self.project(mr.target_project));
        format!("{project}/-/merge_requests/{}", mr.iid)
    }
}
