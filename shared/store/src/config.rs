//! Settings' records, besides [`gantry_domain::stack::Stack`] and
//! [`gantry_domain::integration::Integration`].

use crate::{Store, StoreError, Stored, keys};
use gantry_domain::{
    ProjectId, StackId, StackSlug, feedback::Statuses, integration::Integration, stack::Stack,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A slug and whose it is ([`crate::keys::slug`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlugEntry {
    /// The stack.
    pub stack: StackId,
    /// The stack is gone; the slug stays reserved.
    pub deleted: bool,
}

/// A stack's place among its project's stacks ([`crate::keys::project_stack`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectStack {
    /// The stack.
    pub stack: StackId,
    /// Its tracked branch.
    pub branch: String,
}

/// A project that has, or had, stacks ([`crate::keys::project`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectEntry {
    /// The project.
    pub project: ProjectId,
    /// Its path when it was last looked up.
    pub path: String,
    /// The id of the hook that Gantry made there.
    pub hook: Option<u64>,
    /// Which statuses are posted.
    #[serde(default)]
    pub statuses: Statuses,
}

/// What an admin key may do. Each role may do all that the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look.
    Read,
    /// Confirm, discard, stop, retry.
    Deploy,
    /// Everything.
    Admin,
}

/// An admin key; the key itself is nowhere ([`crate::keys::admin_key`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminKey {
    /// Its name, shown wherever something was done with it.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Something that an admin did, or tried ([`crate::keys::activity`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    /// The key's name.
    pub actor: String,
    /// What, in words.
    pub what: String,
    /// How it ended, in words.
    pub outcome: String,
    /// When.
    pub at: Timestamp,
}

/// What is stored of an admin key: its SHA-256 in hexadecimal digits. The keys themselves are
/// 256 random bits, so a plain digest keeps them.
pub fn admin_key_digest(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}

impl Store {
    /// The GitLab server, if one was set up.
    pub async fn integration(&self) -> Result<Option<Stored<Integration>>, StoreError> {
        self.get(&keys::integration()).await
    }

    /// A stack's definition.
    pub async fn stack(&self, stack: &StackId) -> Result<Option<Stored<Stack>>, StoreError> {
        self.get(&keys::stack_config(stack)).await
    }

    /// The stack that has the slug, if it was not deleted.
    pub async fn stack_by_slug(
        &self,
        slug: &StackSlug,
    ) -> Result<Option<Stored<Stack>>, StoreError> {
        Ok(self.stack_ever(slug).await?.filter(|stack| stack.value.deleted_at.is_none()))
    }

    /// The stack that has or had the slug: no other ever gets it.
    pub async fn stack_ever(&self, slug: &StackSlug) -> Result<Option<Stored<Stack>>, StoreError> {
        match self.get::<SlugEntry>(&keys::slug(slug)).await? {
            Some(entry) => self.stack(&entry.value.stack).await,
            None => Ok(None),
        }
    }

    /// The admin key that `secret` is, if it is one.
    pub async fn admin_key(&self, secret: &str) -> Result<Option<AdminKey>, StoreError> {
        let digest = admin_key_digest(secret);
        Ok(self.get::<AdminKey>(&keys::admin_key(&digest)).await?.map(|found| found.value))
    }

    /// The definitions of a project's stacks, deleted ones left out.
    pub async fn stacks_of_project(&self, project: ProjectId) -> Result<Vec<Stack>, StoreError> {
        let entries = self.query_all::<ProjectStack>(&keys::project_stacks(project), "").await?;
        let mut stacks = Vec::with_capacity(entries.len());
        for chunk in entries.chunks(100) {
            let wanted: Vec<_> = chunk.iter().map(|e| keys::stack_config(&e.value.stack)).collect();
            stacks.extend(self.get_many::<Stack>(&wanted).await?);
        }
        Ok(stacks
            .into_iter()
            .map(|s| s.value)
            .filter(|s| s.deleted_at.is_none() && s.project == project)
            .collect())
    }
}
