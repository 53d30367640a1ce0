//! Commits that are made on the server.

use crate::api::answer::Refusal;
use crate::git::repo::FileChanges;
use crate::git::{NOTHING, Oid};
use crate::model::{ProjectId, State, UserId};

/// Refuses paths that lead out of the repository (GitLab's `app/models/repository` leaves that to
/// Gitaly, whose words these are).
fn check_path(path: &str) -> Result<(), Refusal> {
    if path.split('/').all(str::is_empty) {
        return Err(Refusal::message(400, "You must provide a file path"));
    }
    if path.starts_with('/') || path.split('/').any(|part| part == "..") {
        return Err(Refusal::message(400, "Path cannot include directory traversal"));
    }
    if path.split('/').any(|part| matches!(part, "" | "." | ".git")) {
        return Err(Refusal::message(400, format!("invalid path: '{path}'")));
    }
    Ok(())
}

/// A commit to make on a branch.
#[derive(Clone, Debug)]
pub(crate) struct NewCommit {
    pub(crate) branch: String,
    /// What it comes after; not given, the head of the branch, or of the default branch where the
    /// branch is new.
    pub(crate) parent: Option<Oid>,
    pub(crate) message: String,
    pub(crate) changes: FileChanges,
}

impl State {
    /// Writes a commit and moves the branch to it.
    pub(crate) fn commit(
        &mut self,
        project: ProjectId,
        user: UserId,
        new: &NewCommit,
    ) -> Result<Oid, Refusal> {
        let author = self.signature(user);
        let found = self.project(project);
        let repo = &found.repo;
        let head = || repo.branch(&new.branch).or_else(|| repo.branch(found.default_branch()));
        let parent = new.parent.or_else(head).and_then(|id| repo.commit(id));
        let base = parent.as_ref().map_or(NOTHING, |parent| parent.tree);
        for (path, content) in &new.changes {
            check_path(path)?;
            if content.is_none() && repo.find(base, path).is_none() {
                return Err(Refusal::message(400, "A file with this name doesn't exist"));
            }
        }
        let tree = repo.edit_tree(base, &new.changes);
        let tree = tree.map_err(|problem| Refusal::message(400, problem.to_string()))?;
        let parents: Vec<Oid> = parent.iter().map(|parent| parent.id).collect();
        let id = repo.write_commit(tree, &parents, &author, &new.message);
        self.push_refs(project, user, &[(format!("refs/heads/{}", new.branch), id)])?;
        Ok(id)
    }
}
