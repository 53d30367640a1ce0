//! Where projects are. The path in a stack's record is as old as the stack's last save: when its
//! project is renamed or moved since, somebody else may take the old path.
//!
//! What GitLab says of a branch has the branch's page, and so the project's path. Only where that is
//! news is the project read, and its path written down: for the pages and the API, because
//! everything else goes by the project's id.

use super::Projects;
use crate::trouble::gitlab_failure;
use gantry_domain::{ProjectId, stack::Stack};
use gantry_gitlab::Client;
use gantry_queue::Failure;
use gantry_store::{Expect, Write, keys, scheduler::ProjectPath};

impl Projects<'_> {
    /// Looks where a project of these stacks is, by the address of one of its pages.
    pub(crate) async fn note_page(
        &self,
        client: &Client,
        project: ProjectId,
        stacks: &[Stack],
        page: Option<&str>,
    ) -> Result<(), Failure> {
        match page.and_then(|page| client.host().project_path_of(page)) {
            Some(path) => self.note_path(project, stacks, &path).await,
            None => Ok(()),
        }
    }

    /// Looks where a project of these stacks is, when `said` is not what is known. Trouble at
    /// GitLab is none here: the next look comes with the next event or comparison.
    pub(crate) async fn note_path(
        &self,
        project: ProjectId,
        stacks: &[Stack],
        said: &str,
    ) -> Result<(), Failure> {
        let Some(generation) = stacks.first().map(|stack| stack.generation) else { return Ok(()) };
        let is_known = |known: Option<&ProjectPath>, path: &str| {
            let at_server = known.filter(|known| known.generation == generation);
            match at_server {
                Some(known) => known.path == path,
                None => stacks.iter().all(|stack| stack.project_path == path),
            }
        };
        // What is remembered does not fit where the project was renamed since. Only where it has got
        // its old path back that another process had seen go, an event some minutes later corrects it.
        let now = self.deps.now();
        if self.remembered.path(project, now).is_some_and(|known| is_known(known.as_ref(), said)) {
            return Ok(());
        }
        let known = self.deps.store.get::<ProjectPath>(&keys::project_path(project)).await?;
        let known = known.map(|known| known.value);
        self.remembered.keep_path(project, now, known.clone());
        if is_known(known.as_ref(), said) {
            return Ok(());
        }
        let found = match self.deps.gitlab().await {
            Ok(client) => client.project(project).await.map_err(gitlab_failure),
            Err(failure) => Err(failure),
        };
        let path = match found {
            Ok(found) => found.path_with_namespace,
            Err(failure) => {
                tracing::warn!(
                    project.id = project.0,
                    "its current path is unknown: {:#}",
                    failure.error
                );
                return Ok(());
            }
        };
        if is_known(known.as_ref(), &path) {
            return Ok(());
        }
        tracing::info!(project.id = project.0, "the project is now at {path}");
        let there = ProjectPath { project, generation, path };
        let write = Write::put(keys::project_path(project), Expect::Any, &there)?;
        self.deps.store.put_all(&[write]).await?;
        self.remembered.keep_path(project, now, Some(there));
        Ok(())
    }
}
