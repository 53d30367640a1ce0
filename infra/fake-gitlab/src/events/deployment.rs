//! Deployment hooks.

use serde_json::json;

use super::hook_time;
use crate::model::{Deployment, ProjectId, State};

impl State {
    /// Queues the hooks for a deployment that was made or moved on.
    pub(crate) fn fire_deployment(&mut self, project: ProjectId, deployment: &Deployment) {
        let project = self.project(project);
        let environment =
            project.environments.iter().find(|known| known.id == deployment.environment);
        let commit = project.repo.objects.commit(deployment.sha);
        let url = self.project_url(project);
        let body = json!({
            "object_kind": "deployment",
            "status": deployment.status,
            "status_changed_at": hook_time(deployment.updated_at),
            "deployment_id": deployment.id,
            "deployable_id": null,
            "deployable_url": null,
            "environment": environment.map(|environment| &environment.name),
            "environment_tier": environment.map(|environment| &environment.tier),
            "environment_slug": environment.map(|environment| &environment.slug),
            "environment_external_url":
                environment.and_then(|environment| environment.external_url.as_ref()),
            "project": self.hook_project(project),
            "short_sha": deployment.sha.short(),
            "user": self.hook_user(deployment.user),
            "user_url": format!("{}/{}", self.base_url, self.user(deployment.user).username),
            "commit_url": format!("{url}/-/commit/{}", deployment.sha),
            "commit_title": commit.map(|commit| commit.title().to_owned()),
            "ref": deployment.ref_name,
        });
        self.queue_hooks(project.id, "deployment_events", None, &body);
    }
}
