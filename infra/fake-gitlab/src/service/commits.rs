//! Commits that are made on the server.

use crate::api::answer::Refusal;
use crate::git::repo::FileChanges;
use crate::git::{Oid, tree};
use crate::model::{ProjectId, State, UserId};

/// Refuses paths that lead out of the repository (GitLab's `app/models/repository` leaves that to
/// Gitaly, whose words these are).
pub(crate) fn check_path(path: &str) -> Result<(), Refusal> {
    if path.split('/').all(|part| part.is_empty()) {
        return Err(Refusal::message(400, "You must provide a file path"));
    }
    if path.starts_with('/') || path.split('/').any(|part| part == "..") {
        return Err(Refusal::message(400, "Path cannot include directory traversal"));
    }
    if path.split('/').any(|part| part.is_empty() || part == "." || part == ".git") {
        return Err(Refusal::message(400, format!("invalid path: '{path}'")));
    }
    Ok(())
}

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
    /// Refuses a branch that is not there where none is named to start from: only a push makes one
    /// (`validate_on_branch!` in GitLab's `app/services/commits/create_service.rb`).
    pub(crate) fn require_branch(
        &self,
        project: ProjectId,
        branch: &str,
        start: Option<&str>,
    ) -> Result<(), Refusal> {
        let repo = &self.project(project).repo;
        let is_empty = repo.refs_below("refs/heads/").next().is_none();
        if is_empty || repo.branch(start.unwrap_or(branch)).is_some() {
            return Ok(());
        }
        let text = "You can only create or edit files when you are on a branch";
        Err(Refusal::message(400, text))
    }

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
            check_path(path)?;
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
