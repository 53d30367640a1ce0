//! Webhook bodies, modelled on what GitLab 19 sends.

pub(crate) mod deployment;
pub(crate) mod merge_request;
pub(crate) mod note;
pub(crate) mod push;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::git::Commit;
use crate::model::{Project, State, UserId};

/// `2026-01-16 05:56:22 UTC`, the dates of merge request and note hooks.
pub(crate) fn hook_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

impl State {
    /// The `project`, `source` and `target` objects.
    pub(crate) fn hook_project(&self, project: &Project) -> Value {
        let url = self.project_url(project);
        let host = self.base_url.split("://").nth(1).unwrap_or_default();
        let host = host.split(['/', ':']).next().unwrap_or_default();
        let ssh = format!("git@{host}:{}.git", project.path);
        let mut body = json!({
            "id": project.id,
            "name": project.name(),
            "description": null,
            "web_url": url,
            "avatar_url": null,
            "git_ssh_url": ssh,
            "git_http_url": format!("{url}.git"),
            "namespace": project.namespace(),
            "visibility_level": project.options.visibility.level(),
            "path_with_namespace": project.path,
            "default_branch": project.default_branch(),
            "ci_config_path": null,
            "homepage": url,
            "url": ssh,
            "ssh_url": ssh,
            "http_url": format!("{url}.git"),
        });
        if !self.config.version.has_project_id_in_hooks() {
            remove(&mut body, "id");
        }
        body
    }

    /// The `repository` object.
    pub(crate) fn hook_repository(&self, project: &Project) -> Value {
        let url = self.project_url(project);
        json!({
            "name": project.name(),
            "url": format!("{url}.git"),
            "description": "",
            "homepage": url,
            "git_http_url": format!("{url}.git"),
            "visibility_level": project.options.visibility.level(),
        })
    }

    /// The `user` object; addresses are private unless somebody made them public.
    pub(crate) fn hook_user(&self, user: UserId) -> Value {
        let user = self.user(user);
        let mut body = json!({
            "id": user.id,
            "name": user.name,
            "username": user.username,
            "avatar_url": null,
            "email": "[REDACTED]",
        });
        if !self.config.version.at_least(13, 0) {
            remove(&mut body, "id");
        }
        body
    }

    /// A commit without its files, as in `last_commit`.
    pub(crate) fn hook_commit(&self, project: &Project, commit: &Commit) -> Value {
        json!({
            "id": commit.id,
            "message": commit.message,
            "title": commit.title(),
            "timestamp": commit.author.time.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string(),
            "url": format!("{}/-/commit/{}", self.project_url(project), commit.id),
            "author": { "name": commit.author.name, "email": commit.author.email },
        })
    }
}

/// Takes a member out of an object.
pub(crate) fn remove(body: &mut Value, key: &str) {
    if let Some(map) = body.as_object_mut() {
        map.remove(key);
    }
}
