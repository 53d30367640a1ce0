//! Commits that are made on the server.

use crate::api::answer::Refusal;
use crate::git::repo::FileChanges;
use crate::git::{NOTHING, Oid};
use crate::model::{ProjectId, State, UserId};

impl State {
    /// Writes a commit and moves the branch to it; a new branch starts at the default branch.
    pub(crate) fn commit(
        &mut self,
        project: ProjectId,
        user: UserId,
        branch: &str,
        changes: &FileChanges,
        message: &str,
    ) -> Result<Oid, Refusal> {
        let author = self.signature(user);
        let found = self.project(project);
        let repo = &found.repo;
        let start = repo.branch(branch).or_else(|| repo.branch(found.default_branch()));
        let parent = start.and_then(|start| repo.commit(start));
        let base = parent.as_ref().map_or(NOTHING, |parent| parent.tree);
        for path in changes.iter().filter(|(_, content)| content.is_none()).map(|(path, _)| path) {
            repo.find(base, path)
                .ok_or_else(|| Refusal::message(400, "A file with this name doesn't exist"))?;
        }
        let tree = repo.edit_tree(base, changes);
        let tree = tree.map_err(|problem| Refusal::message(400, problem.to_string()))?;
        let parents: Vec<Oid> = parent.iter().map(|parent| parent.id).collect();
        let id = repo.write_commit(tree, &parents, &author, message);
        self.push_refs(project, user, &[(format!("refs/heads/{branch}"), id)])?;
        Ok(id)
    }
}
