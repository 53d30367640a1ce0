//! What a push sets off: hooks, merge requests that move, pipelines.

use std::collections::HashMap;

use super::push_options::PushOptions;
use crate::api::answer::Refusal;
use crate::git::repo::{RefChange, is_valid_ref_name};
use crate::git::{NOTHING, Oid};
use crate::model::{ProjectId, State, UserId};

/// The most refs of a kind that one push may move before their hooks are withheld.
const PUSH_EVENT_HOOKS: usize = 3;
/// The most pipelines that one push makes of a kind of ref.
const PIPELINES_PER_PUSH: usize = 4;

impl State {
    /// Moves refs as one push and does what follows from it.
    pub(crate) fn push_refs(
        &mut self,
        project: ProjectId,
        user: UserId,
        moves: &[(String, Oid)],
    ) -> Result<(), Refusal> {
        let mut changes = Vec::new();
        let mut outcome = Ok(());
        for (name, after) in moves {
            match self.move_ref(project, name, *after) {
                Ok(change) => changes.extend(change),
                Err(refusal) => {
                    outcome = Err(refusal);
                    break;
                }
            }
        }
        // What has moved has moved, also when a later ref is refused.
        self.after_push(project, user, &changes, &PushOptions::default());
        outcome
    }

    /// Makes a tag: annotated when it has a message.
    pub(crate) fn create_tag(
        &mut self,
        project: ProjectId,
        user: UserId,
        name: &str,
        from: &str,
        message: Option<&str>,
    ) -> Result<Oid, Refusal> {
        let tagger = self.signature(user);
        let found = self.project(project);
        if found.repo.refs().contains_key(&format!("refs/tags/{name}")) {
            return Err(Refusal::message(400, format!("Tag {name} already exists")));
        }
        let commit = found.resolve(from);
        let commit =
            commit.ok_or_else(|| Refusal::message(400, format!("Target {from} is invalid")))?;
        let id = match message {
            Some(message) => found.repo.write_tag(name, commit.id, &tagger, message),
            None => commit.id,
        };
        self.push_refs(project, user, &[(format!("refs/tags/{name}"), id)])?;
        Ok(id)
    }

    /// Moves one ref; `None` when it was there already.
    fn move_ref(
        &mut self,
        project: ProjectId,
        name: &str,
        after: Oid,
    ) -> Result<Option<RefChange>, Refusal> {
        let repo = &mut self.project_mut(project).repo;
        let before = repo.refs().get(name).copied().unwrap_or(NOTHING);
        if before == after {
            return Ok(None);
        }
        let short = name.splitn(3, '/').nth(2).unwrap_or_default();
        if !after.is_null() && !is_valid_ref_name(short) {
            let kind = if name.starts_with("refs/tags/") { "Tag" } else { "Branch" };
            return Err(Refusal::message(400, format!("{kind} name is invalid")));
        }
        repo.set_ref(name, after).map_err(|_| {
            Refusal::message(400, format!("{name} cannot be written beside another ref"))
        })?;
        Ok(Some(RefChange { name: name.to_owned(), before, after }))
    }

    /// Hooks, merge requests and pipelines after refs have moved.
    pub(crate) fn after_push(
        &mut self,
        project: ProjectId,
        user: UserId,
        changes: &[RefChange],
        options: &PushOptions,
    ) {
        let now = self.now();
        self.project_mut(project).last_activity_at = now;
        self.adopt_first_branch(project, changes);
        self.fire_push_hooks(project, user, changes);
        for change in changes {
            if let Some(branch) = change.name.strip_prefix("refs/heads/") {
                self.refresh_merge_requests(project, user, branch, change);
            }
        }
        if !options.skips_ci() {
            self.plan_pipelines(project, user, changes);
        }
        self.open_by_push(project, user, changes, options);
    }

    fn plan_pipelines(&mut self, project: ProjectId, user: UserId, changes: &[RefChange]) {
        let mut made: HashMap<bool, usize> = HashMap::new();
        for change in changes.iter().filter(|change| !change.after.is_null()) {
            let tag = change.name.starts_with("refs/tags/");
            let made = made.entry(tag).or_default();
            *made += 1;
            if *made <= PIPELINES_PER_PUSH {
                self.plan_branch_pipeline(project, user, change, tag);
            }
        }
    }

    /// The first branch of an empty project becomes its default branch.
    fn adopt_first_branch(&mut self, project: ProjectId, changes: &[RefChange]) {
        let project = self.project_mut(project);
        if project.repo.branch(project.default_branch()).is_some()
            || project.repo.refs_below("refs/heads/").count() != 1
        {
            return;
        }
        let first = changes.iter().find_map(|change| change.name.strip_prefix("refs/heads/"));
        if let Some(branch) = first.filter(|branch| project.repo.branch(branch).is_some()) {
            project.options.default_branch = branch.to_owned();
            // A wrong HEAD only changes what a clone checks out.
            let _ = project.repo.set_head(branch);
        }
    }

    /// Over the limit of a group (branch or tag, created, pushed or removed) that group's hooks
    /// are withheld.
    fn fire_push_hooks(&mut self, project: ProjectId, user: UserId, changes: &[RefChange]) {
        let group = |change: &RefChange| {
            let tag = change.name.starts_with("refs/tags/");
            (tag, change.before.is_null(), change.after.is_null())
        };
        for change in changes {
            let size = changes.iter().filter(|other| group(other) == group(change)).count();
            if size <= PUSH_EVENT_HOOKS {
                self.fire_push(project, user, change);
            }
        }
    }
}
