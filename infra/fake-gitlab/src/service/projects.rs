//! Making, forking and moving projects; users and tokens.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use jiff::civil::Date;

use crate::config::ProjectOptions;
use crate::git::{NOTHING, Oid, Repo};
use crate::model::{Project, ProjectId, State, Token, User, UserId};

impl State {
    pub(crate) fn create_user(&mut self, username: &str, bot: bool) -> UserId {
        if let Some(user) = self.user_named(username) {
            return user.id;
        }
        let id = UserId(self.next_id("user"));
        let mut name = username.replace(['_', '-'], " ");
        if let Some(first) = name.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        let user =
            User { id, username: username.to_owned(), name, bot, admin: false, blocked: false };
        self.users.insert(id, user);
        id
    }

    pub(crate) fn create_token(
        &mut self,
        user: UserId,
        scopes: &[&str],
        expires_at: Option<Date>,
    ) -> String {
        let value = format!("glpat-{}", hex::encode(rand::random::<[u8; 10]>()));
        self.add_token(user, scopes, expires_at, value.clone());
        value
    }

    pub(crate) fn add_token(
        &mut self,
        user: UserId,
        scopes: &[&str],
        expires_at: Option<Date>,
        value: String,
    ) {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        self.tokens.push(Token { user, value, scopes, expires_at });
    }

    pub(crate) fn create_project(
        &mut self,
        path: &str,
        options: ProjectOptions,
        owner: UserId,
    ) -> Result<ProjectId> {
        let id = self.add_project(path, options, owner, None)?;
        let author = self.signature(owner);
        let project = self.project_mut(id);
        if !project.options.files.is_empty() {
            let files = std::mem::take(&mut project.options.files);
            let changes =
                files.into_iter().map(|(path, text)| (path, Some(text.into_bytes()))).collect();
            let tree = project.repo.edit_tree(NOTHING, &changes)?;
            let commit = project.repo.write_commit(tree, &[], &author, "Initial commit");
            let head = format!("refs/heads/{}", project.default_branch());
            project.repo.set_ref(&head, commit)?;
        }
        Ok(id)
    }

    /// Copies a project; the copy remembers where it comes from.
    pub(crate) fn fork_project(
        &mut self,
        parent: ProjectId,
        path: &str,
        owner: UserId,
    ) -> Result<ProjectId> {
        let options = ProjectOptions { files: Vec::new(), ..self.project(parent).options.clone() };
        let id = self.add_project(path, options, owner, Some(parent))?;
        let branches: Vec<(String, Oid)> = self
            .project(parent)
            .repo
            .refs()
            .iter()
            .filter(|(name, _)| name.starts_with("refs/heads/") || name.starts_with("refs/tags/"))
            .map(|(name, id)| (name.clone(), *id))
            .collect();
        let fork = self.project_mut(id);
        fork.forked_from = Some(parent);
        for (name, target) in branches {
            fork.repo.set_ref(&name, target)?;
        }
        Ok(id)
    }

    fn add_project(
        &mut self,
        path: &str,
        options: ProjectOptions,
        owner: UserId,
        parent: Option<ProjectId>,
    ) -> Result<ProjectId> {
        ensure!(path.contains('/'), "a project path must be namespace/name, not {path:?}");
        ensure!(self.project_at(path).is_none(), "the project {path} already exists");
        let (id, now) = (ProjectId(self.next_id("project")), self.now());
        let folder = self.data.join("repositories").join(format!("{id}.git"));
        let hooks = self.data.join("hooks");
        let parent = parent.map(|parent| &self.project(parent).repo);
        let repo = Repo::create(folder, &hooks, &options.default_branch, parent)?;
        let project = Project {
            id,
            path: path.to_owned(),
            old_paths: Vec::new(),
            options,
            members: BTreeMap::from([(owner, 50)]),
            forked_from: None,
            last_activity_at: now,
            repo,
            hooks: Vec::new(),
            merge_requests: Vec::new(),
            issues: Vec::new(),
            last_issue: 0,
            pipelines: Vec::new(),
            environments: Vec::new(),
            deployments: Vec::new(),
            due: Vec::new(),
        };
        self.projects.insert(id, project);
        Ok(id)
    }

    /// Renames or moves a project; the old path answers with a redirect.
    pub(crate) fn move_project(&mut self, id: ProjectId, path: &str) -> Result<()> {
        ensure!(self.project_at(path).is_none(), "the project {path} already exists");
        let project = self.project_mut(id);
        let old = std::mem::replace(&mut project.path, path.to_owned());
        project.old_paths.push(old);
        Ok(())
    }
}
