//! Commits that are made on the server.

use crate::api::answer::Refusal;
use crate::git::repo::FileChanges;
use crate::git::{Oid, tree};
use crate::model::{ProjectId, State, UserId};

/// A commit to make on a branch.
#[derive(Clone, Debug, Default)]
pub(crate) struct NewCommit {
    pub(crate) branch: String,
    /// Where a new branch starts; the default branch when not given.
    pub(crate) start: Option<String>,
    pub(crate) message: String,
    pub(crate) changes: FileChanges,
    pub(crate) force: bool,
}

impl State {
    /// Writes a commit and moves the branch to it.
    pub(crate) fn commit(
        &mut self,
        project: ProjectId,
        user: UserId,
        new: NewCommit,
    ) -> Result<Oid, Refusal> {
        let author = self.signature(user);
        let found = self.project(project);
        let existing = found.repo.branch(&new.branch);
        if existing.is_some() && new.start.is_some() && !new.force {
            let text = format!(
                "A branch called '{}' already exists. Switch to that branch in order to make changes",
                new.branch
            );
            return Err(Refusal::message(400, text));
        }
        let default = found.default_branch();
        let empty = found.repo.refs_below("refs/heads/").next().is_none();
        let start = match (&new.start, existing) {
            (Some(start), _) => found.repo.resolve(start, default).map(|commit| commit.id),
            (None, Some(head)) => Some(head),
            (None, None) => found.repo.branch(default),
        };
        if start.is_none() && !empty {
            return Err(Refusal::message(400, "Invalid reference name"));
        }
        let parent = start.and_then(|start| found.repo.objects.commit(start));
        let base = parent.as_ref().map(|parent| parent.tree);
        for (path, content) in &new.changes {
            let exists =
                base.is_some_and(|base| tree::find(&found.repo.objects, base, path).is_some());
            if content.is_none() && !exists {
                return Err(Refusal::message(400, "A file with this name doesn't exist"));
            }
        }
        let tree = found.repo.edit_tree(base, &new.changes);
        let parents: Vec<Oid> = parent.iter().map(|parent| parent.id).collect();
        let id = found.repo.objects.write_commit(tree, &parents, &author, &new.message);
        self.push_refs(project, user, &[(format!("refs/heads/{}", new.branch), id)])?;
        Ok(id)
    }
}
