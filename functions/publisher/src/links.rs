//! Links to runs: where everybody can read a project, they carry no key.

use crate::{Client, Deps, Trouble, Work};
use gantry_domain::{ProjectId, RunId};
use gantry_secrets::links::{read_link, run_page};
use gantry_store::{Expect, Write, keys, scheduler::ProjectVisibility};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Who can read projects, as this process has read it: each is believed as long as its record would
/// be.
pub(crate) type Visibility = Arc<Mutex<HashMap<ProjectId, ProjectVisibility>>>;

/// The links to runs in one project.
pub(crate) struct Links<'a> {
    deps: &'a Deps,
    is_public: bool,
}

impl Links<'_> {
    /// Everybody can read the project.
    pub(crate) fn is_public(&self) -> bool {
        self.is_public
    }

    /// The address of a run's page, at most 255 characters.
    pub(crate) fn to(&self, run: &RunId) -> String {
        match self.is_public {
            true => run_page(&self.deps.public_url, run),
            false => read_link(&self.deps.signer, &self.deps.public_url, run),
        }
    }
}

impl Work {
    /// The links that GitLab shows in a project. What it said of the project is written down, also for
    /// the pages, which open no run of a public one to whoever has an older link.
    pub(crate) async fn links_in(
        &self,
        gitlab: &Client,
        project: ProjectId,
    ) -> Result<Links<'_>, Trouble> {
        let (server, now) = (gitlab.host().as_str(), self.deps.clock.now());
        let known = self.known_visibility().get(&project).cloned();
        let known = match known.filter(|known| known.is_believed(server, now)) {
            Some(known) => known,
            None => {
                let known = self.visibility_of(gitlab, project).await?;
                self.known_visibility().insert(project, known.clone());
                known
            }
        };
        Ok(Links { deps: &self.deps, is_public: known.is_public })
    }

    fn known_visibility(&self) -> MutexGuard<'_, HashMap<ProjectId, ProjectVisibility>> {
        self.visibility.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn visibility_of(
        &self,
        gitlab: &Client,
        project: ProjectId,
    ) -> Result<ProjectVisibility, Trouble> {
        let (server, now) = (gitlab.host().as_str(), self.deps.clock.now());
        let key = keys::project_visibility(project);
        let known = self.deps.store.get::<ProjectVisibility>(&key).await?.map(|known| known.value);
        if let Some(known) = known.filter(|known| known.is_believed(server, now)) {
            return Ok(known);
        }
        let is_public = gitlab.project_lately(project).await?.is_public();
        let seen =
            ProjectVisibility { project, server: server.to_owned(), is_public, asked_at: now };
        let _written = self.deps.store.write(vec![Write::put(key, Expect::Any, &seen)?]).await?;
        Ok(seen)
    }
}
