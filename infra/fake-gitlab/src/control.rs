//! What a test or a demo sets up and steers: users, projects, faults, deliveries.

use anyhow::Result;
use jiff::civil::Date;
use serde_json::json;

use crate::api::answer::Refusal;
use crate::api::params::Params;
use crate::config::{Ci, ProjectOptions};
use crate::delivery::{Delivery, DeliveryResult};
use crate::faults::{Fault, Matcher};
use crate::git::Oid;
use crate::model::{JobKind, PipelineId, ProjectId, UserId};
use crate::person::Person;
use crate::server::FakeGitlab;

impl FakeGitlab {
    /// A user with this name; the one that is there already, if so.
    pub fn create_user(&self, username: &str) -> UserId {
        self.with(|state| state.create_user(username, false))
    }

    /// A bot user: what it writes through the API is kept, see [`Self::take_writes`].
    pub fn create_bot(&self, username: &str) -> UserId {
        self.with(|state| {
            let id = state.create_user(username, true);
            if let Some(user) = state.users.get_mut(&id) {
                user.bot = true;
            }
            id
        })
    }

    /// Makes a user an administrator, who sees and may do everything.
    pub fn make_admin(&self, user: UserId) {
        self.with(|state| {
            if let Some(user) = state.users.get_mut(&user) {
                user.admin = true;
            }
        });
    }

    /// Acts as a person; the user is made if there is none of this name.
    #[must_use]
    pub fn person(&self, username: &str) -> Person {
        Person::new(self.clone(), self.create_user(username))
    }

    /// A personal access token, `glpat-…`; it dies at the beginning of the day `expires_at`.
    pub fn create_token(&self, user: UserId, scopes: &[&str], expires_at: Option<Date>) -> String {
        self.with(|state| state.create_token(user, "token", scopes, expires_at))
    }

    /// Revokes a token.
    pub fn revoke_token(&self, token: &str) {
        self.with(|state| {
            for known in state.tokens.iter_mut().filter(|known| known.value == token) {
                known.revoked = true;
            }
        });
    }

    /// Changes the day on which a token dies.
    pub fn expire_token(&self, token: &str, day: Date) {
        self.with(|state| {
            for known in state.tokens.iter_mut().filter(|known| known.value == token) {
                known.expires_at = Some(day);
            }
        });
    }

    /// Makes a project at `namespace/name`, owned by the user `root`.
    ///
    /// # Errors
    /// When the path is taken or not `namespace/name`, or the disk refuses.
    pub fn create_project(&self, path: &str, options: ProjectOptions) -> Result<ProjectId> {
        self.with(|state| {
            let owner = state.create_user("root", false);
            state.create_project(path, options, owner)
        })
    }

    /// Copies a project to another path, owned by the given user.
    ///
    /// # Errors
    /// When the path is taken or not `namespace/name`, or the disk refuses.
    pub fn fork(&self, parent: ProjectId, path: &str, owner: UserId) -> Result<ProjectId> {
        self.with(|state| state.fork_project(parent, path, owner))
    }

    /// Renames or moves a project: its id stays, its old path redirects.
    ///
    /// # Errors
    /// When the path is taken.
    pub fn move_project(&self, project: ProjectId, path: &str) -> Result<()> {
        self.with(|state| state.move_project(project, path))
    }

    /// Removes a project; its id is never used again.
    pub fn remove_project(&self, project: ProjectId) {
        self.with(|state| {
            state.projects.remove(&project);
        });
    }

    /// Archives a project, which makes it read-only, or brings it back.
    pub fn set_archived(&self, project: ProjectId, archived: bool) {
        self.with(|state| state.project_mut(project).archived = archived);
    }

    /// Changes a project's options; the files in them mean nothing any more.
    pub fn configure(&self, project: ProjectId, change: impl FnOnce(&mut ProjectOptions)) {
        self.with(|state| change(&mut state.project_mut(project).options));
    }

    /// Replaces a project's own CI.
    pub fn set_ci(&self, project: ProjectId, ci: Ci) {
        self.configure(project, |options| options.ci = ci);
    }

    /// Removes a commit that no branch needs any more, as GitLab's garbage collection does some
    /// time after a force push.
    ///
    /// # Panics
    /// When `sha` is not a full commit id.
    pub fn forget_commit(&self, project: ProjectId, sha: &str) {
        let sha = Oid::parse(sha).expect("a full commit id");
        self.with(|state| state.project(project).repo.objects.forget(sha));
    }

    /// Gives a user an access level in a project (10 to 50); 0 takes the membership away.
    pub fn set_member(&self, project: ProjectId, user: UserId, level: u8) {
        self.with(|state| {
            let members = &mut state.project_mut(project).members;
            if level == 0 {
                members.remove(&user);
            } else {
                members.insert(user, level);
            }
        });
    }

    /// Adds a hook, as a maintainer would on the settings page; gives its id. `events` are flags
    /// such as `merge_requests_events`; what is not named is off.
    ///
    /// # Errors
    /// When GitLab refuses the address or a secret, or there are too many.
    pub fn add_hook(
        &self,
        project: ProjectId,
        url: &str,
        events: &[&str],
        token: Option<&str>,
        signing_token: Option<&str>,
    ) -> std::result::Result<u64, Refusal> {
        let mut params = Params::default();
        params.set("url", json!(url));
        params.set("push_events", json!(events.contains(&"push_events")));
        for event in events {
            params.set(event, json!(true));
        }
        params.set("token", json!(token));
        params.set("signing_token", json!(signing_token));
        self.with(|state| state.create_hook(project, &params)).map(|hook| hook.id)
    }

    /// Does what is due by the clock: pipelines to make, jobs to end, merge requests to prepare.
    /// Every request does this too.
    pub fn create_due_pipelines(&self) {
        self.with(|_| ());
    }

    /// Ends the jobs of a pipeline that the project's own CI made (`success`, `failed`,
    /// `canceled`).
    pub fn finish_ci(&self, project: ProjectId, pipeline: PipelineId, status: &str) {
        self.with(|state| state.finish_pipeline(project, pipeline.0, status));
    }

    /// Ends the running CI jobs of all pipelines of a project.
    pub fn finish_all_ci(&self, project: ProjectId, status: &str) {
        self.with(|state| {
            let running: Vec<u64> = state
                .project(project)
                .pipelines
                .iter()
                .filter(|known| {
                    known.jobs.iter().any(|job| job.kind == JobKind::Ci && job.is_live())
                })
                .map(|known| known.id)
                .collect();
            for pipeline in running {
                state.finish_pipeline(project, pipeline, status);
            }
        });
    }

    /// Archives a pipeline: statuses do not find it any more.
    pub fn archive_pipeline(&self, project: ProjectId, pipeline: PipelineId) {
        self.with(|state| {
            let pipelines = &mut state.project_mut(project).pipelines;
            for known in pipelines.iter_mut().filter(|known| known.id == pipeline.0) {
                known.archived = true;
            }
        });
    }

    /// Lets the next request that matches go wrong; several calls wait in line.
    pub fn fail_next(&self, matcher: Matcher, fault: Fault) {
        self.fail_times(matcher, fault, 1);
    }

    /// Lets the next `times` requests that match go wrong.
    pub fn fail_times(&self, matcher: Matcher, fault: Fault, times: u32) {
        if times > 0 {
            self.with(|state| state.faults.waiting.push((matcher, fault, times)));
        }
    }

    /// Lets every request that matches go wrong, until [`Self::clear_faults`].
    pub fn fail_always(&self, matcher: Matcher, fault: Fault) {
        self.fail_times(matcher, fault, u32::MAX);
    }

    /// Forgets the faults that nothing has met; gives how many there were.
    pub fn clear_faults(&self) -> usize {
        self.with(|state| std::mem::take(&mut state.faults.waiting).len())
    }

    /// While down, everything is answered with 503.
    pub fn set_down(&self, down: bool) {
        self.with(|state| state.faults.down = down);
    }

    /// The next `times` statuses of a commit are refused with 409, as if another update held the
    /// lock.
    ///
    /// # Panics
    /// When `sha` is not a full commit id.
    pub fn lock_statuses(&self, project: ProjectId, sha: &str, times: u32) {
        let sha = Oid::parse(sha).expect("a full commit id");
        if times > 0 {
            self.with(|state| state.faults.locked.push((project, sha, times)));
        }
    }

    /// Whether compare answers with `compare_timeout: true` and no files.
    pub fn set_compare_timeout(&self, timeout: bool) {
        self.with(|state| state.observed.compare_timeout = timeout);
    }

    /// Changes limits while it runs.
    pub fn set_limits(&self, change: impl FnOnce(&mut crate::config::Limits)) {
        self.with(|state| change(&mut state.config.limits));
    }

    /// The webhooks that wait to be sent.
    #[must_use]
    pub fn pending(&self) -> Vec<Delivery> {
        self.with(|state| state.outbox.iter().cloned().collect())
    }

    /// Takes the waiting webhooks, to shuffle, double or lose them.
    #[must_use]
    pub fn take_pending(&self) -> Vec<Delivery> {
        self.with(|state| state.outbox.drain(..).collect())
    }

    /// Loses the waiting webhooks; gives how many.
    pub fn drop_pending(&self) -> usize {
        self.take_pending().len()
    }

    /// Sends the waiting webhooks in order, those that this causes included.
    pub async fn deliver_pending(&self) -> Vec<DeliveryResult> {
        let mut results = Vec::new();
        loop {
            let next = self.with(|state| state.outbox.pop_front());
            let Some(delivery) = next else { return results };
            results.push(self.deliver(delivery).await);
        }
    }

    /// Sends one webhook; the same one again is a resend.
    pub async fn deliver(&self, delivery: Delivery) -> DeliveryResult {
        crate::server::deliver(&self.shared, delivery).await
    }
}
