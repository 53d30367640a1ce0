//! Push and tag push hooks.

use serde_json::{Value, json};

use super::remove;
use crate::git::repo::RefChange;
use crate::git::{Oid, diff, history};
use crate::model::{Project, State, UserId};
use crate::service::push_options::PushOptions;

/// The most commits that a push hook carries.
const COMMITS: usize = 20;
/// The most commits of a new branch that GitLab reads.
const PROCESS_COMMIT_LIMIT: usize = 100;

impl State {
    /// The body for one moved branch or tag.
    pub(crate) fn push_event(
        &self,
        project: &Project,
        user: UserId,
        change: &RefChange,
        options: &PushOptions,
    ) -> Value {
        let is_tag = change.name.starts_with("refs/tags/");
        let kind = if is_tag { "tag_push" } else { "push" };
        let objects = &project.repo.objects;
        let checkout = project.repo.peel(change.after);
        let message = objects.tag(change.after).map(|tag| tag.message);
        let commits = if is_tag { Vec::new() } else { self.pushed_commits(project, change) };
        let total = commits.len();
        let newest: Vec<Value> = commits
            .iter()
            .take(COMMITS)
            .rev()
            .map(|commit| {
                let mut body = self.hook_commit(project, commit);
                let (mut added, mut modified, mut removed) = (vec![], vec![], vec![]);
                let parent = commit.parents.first().and_then(|id| objects.commit(*id));
                let before = parent.map(|parent| parent.tree);
                for change in diff::with_renames(objects, before, Some(commit.tree)) {
                    // The old path of a rename is in none of the lists.
                    if change.new.is_none() {
                        removed.push(change.old_path);
                    } else if change.old.is_none() || change.is_rename() {
                        added.push(change.new_path);
                    } else {
                        modified.push(change.new_path);
                    }
                }
                body["added"] = json!(added);
                body["modified"] = json!(modified);
                body["removed"] = json!(removed);
                body
            })
            .collect();
        let who = self.user(user);
        let mut body = json!({
            "object_kind": kind,
            "event_name": kind,
            "before": change.before,
            "after": change.after,
            "ref": change.name,
            "ref_protected": self.is_protected_ref(project, &change.name),
            "checkout_sha": checkout,
            "message": message,
            "user_id": user,
            "user_name": who.name,
            "user_username": who.username,
            "user_email": "",
            "user_avatar": null,
            "project_id": project.id,
            "project": self.hook_project(project),
            "commits": newest,
            "total_commits_count": total,
            "push_options": options.json(),
            "repository": self.hook_repository(project),
        });
        if !self.config.version.at_least(16, 0) {
            remove(&mut body, "ref_protected");
        }
        body
    }

    /// What a push brought, newest first; for a new branch what the default branch lacks.
    fn pushed_commits(
        &self,
        project: &Project,
        change: &RefChange,
    ) -> Vec<std::sync::Arc<crate::git::Commit>> {
        if change.after == Oid::ZERO {
            return Vec::new();
        }
        let objects = &project.repo.objects;
        if change.before != Oid::ZERO {
            return history::log(objects, change.after, &[change.before]);
        }
        let default = project.repo.branch(project.default_branch());
        let is_default = change.name == format!("refs/heads/{}", project.default_branch());
        let hidden: Vec<Oid> = default.filter(|_| !is_default).into_iter().collect();
        let mut commits = history::log(objects, change.after, &hidden);
        if !is_default {
            commits.truncate(PROCESS_COMMIT_LIMIT);
        }
        commits
    }

    pub(crate) fn is_protected_ref(&self, project: &Project, name: &str) -> bool {
        if let Some(tag) = name.strip_prefix("refs/tags/") {
            return project.is_protected_tag(tag);
        }
        let branch = name.strip_prefix("refs/heads/").unwrap_or(name);
        project.options.protected_branches.iter().any(|rule| rule.covers(branch))
    }
}
