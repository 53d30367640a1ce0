//! What a test or a demo sets up and steers: users, projects, faults, deliveries.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use jiff::civil::Date;

use crate::api::answer::Refusal;
use crate::config::ProjectOptions;
use crate::delivery::{Delivery, DeliveryResult};
use crate::faults::{Fault, Matcher};
use crate::git::parse_id;
use crate::model::{Application, GroupId, Hook, ProjectId, State, UserId};
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
        self.with(|state| state.create_token(user, scopes, expires_at))
    }

    /// Takes a token that a client was given before, by a server that is no more.
    pub fn keep_token(&self, user: UserId, scopes: &[&str], token: &str) {
        self.with(|state| state.add_token(user, scopes, None, token.to_owned()));
    }

    /// Blocks a user, or ends that: nothing that is theirs opens anything while they are blocked.
    pub fn set_blocked(&self, user: UserId, blocked: bool) {
        self.with(|state| {
            if let Some(user) = state.users.get_mut(&user) {
                user.blocked = blocked;
            }
        });
    }

    /// Gives a user another user name; projects stay where they are.
    pub fn rename_user(&self, user: UserId, username: &str) {
        self.with(|state| {
            if let Some(user) = state.users.get_mut(&user) {
                username.clone_into(&mut user.username);
            }
        });
    }

    /// Gives a user another name, as people see it.
    pub fn name_user(&self, user: UserId, name: &str) {
        self.with(|state| {
            if let Some(user) = state.users.get_mut(&user) {
                name.clone_into(&mut user.name);
            }
        });
    }

    /// A group at a path such as `acme/platform`, with the groups that it lies in; the one that is
    /// there already, if so. Its members have their role in all projects below it.
    pub fn create_group(&self, path: &str) -> GroupId {
        self.with(|state| state.create_group(path))
    }

    /// Gives a group another path; projects stay where they are.
    pub fn rename_group(&self, group: GroupId, path: &str) {
        self.with(|state| {
            if let Some(group) = state.groups.get_mut(&group) {
                path.clone_into(&mut group.path);
            }
        });
    }

    /// Gives a user an access level in a group (10 to 50); 0 takes the membership away.
    pub fn set_group_member(&self, group: GroupId, user: UserId, level: u8) {
        self.with(|state| {
            if let Some(group) = state.groups.get_mut(&group) {
                set_level(&mut group.members, user, level);
            }
        });
    }

    /// An OAuth application. Addresses and scopes have blanks between them.
    ///
    /// # Errors
    /// When an address or a scope cannot be.
    pub fn create_application(
        &self,
        name: &str,
        redirect_uri: &str,
        scopes: &str,
        confidential: bool,
    ) -> Result<Application, Refusal> {
        self.with(|state| state.create_application(name, redirect_uri, scopes, confidential))
    }

    /// Signs id tokens with another key from now on, and no longer publishes the one of before.
    pub fn rotate_signing_key(&self) {
        self.with(|state| state.oauth.signing_key += 1);
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

    /// Changes a project's options; the files in them mean nothing any more.
    pub fn configure(&self, project: ProjectId, change: impl FnOnce(&mut ProjectOptions)) {
        self.with(|state| change(&mut state.project_mut(project).options));
    }

    /// Removes a commit that no branch needs any more, as GitLab's garbage collection does some
    /// time after a force push.
    ///
    /// # Panics
    /// When `sha` is not the full id of a commit that the project has.
    pub fn forget_commit(&self, project: ProjectId, sha: &str) {
        let sha = parse_id(sha).expect("a full commit id");
        let forget = |state: &mut State| state.project_mut(project).repo.forget(sha);
        self.with(forget).expect("the commit is there");
    }

    /// Gives a user an access level in a project (10 to 50); 0 takes the membership away.
    pub fn set_member(&self, project: ProjectId, user: UserId, level: u8) {
        self.with(|state| set_level(&mut state.project_mut(project).members, user, level));
    }

    /// A webhook for merge requests, as a maintainer adds one by hand, with its secret.
    pub fn add_hook(&self, project: ProjectId, url: &str, secret: &str) {
        self.with(|state| {
            let mut hook = Hook::new(state.next_id("hook"), url.to_owned());
            hook.events = BTreeSet::from(["merge_requests_events"]);
            hook.token = Some(secret.to_owned());
            state.project_mut(project).hooks.push(hook);
        });
    }

    /// Does what is due by the clock: pipelines to make, jobs to end. Every request does this too.
    pub fn create_due_pipelines(&self) {
        self.with(|_| ());
    }

    /// Ends the running CI jobs of all pipelines of a project (`success`, `failed`, `canceled`).
    pub fn finish_all_ci(&self, project: ProjectId, status: &str) {
        self.with(|state| {
            let pipelines = state.project(project).pipelines.iter();
            let ids: Vec<u64> = pipelines.map(|pipeline| pipeline.id).collect();
            for id in ids {
                state.finish_pipeline(project, id, status);
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

    /// Whether compare answers with `compare_timeout: true` and no files.
    pub fn set_compare_timeout(&self, timeout: bool) {
        self.with(|state| state.observed.compare_timeout = timeout);
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
}

fn set_level(members: &mut BTreeMap<UserId, u8>, user: UserId, level: u8) {
    if level == 0 {
        members.remove(&user);
    } else {
        members.insert(user, level);
    }
}
