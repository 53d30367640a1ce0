//! Settings' records, besides [`gantry_domain::stack::Stack`] and
//! [`gantry_domain::integration::Integration`].

use crate::{Expect, Key, Outcome, Store, StoreError, Stored, Write, keys, scheduler::GivenUp};
use gantry_domain::{
    EventId, GroupId, ProjectId, RunId, StackId, StackSlug, UserId,
    feedback::Statuses,
    integration::Integration,
    rights::{Level, Levels, Right},
    run::Run,
    schedule::Schedule,
    stack::{Pool, Stack, StackHead},
};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeMap, ops::Not};

/// A slug and whose it is ([`crate::keys::slug`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlugEntry {
    /// The stack.
    pub stack: StackId,
    /// The stack is gone; the slug stays reserved.
    pub deleted: bool,
    /// It is a module.
    #[serde(default)]
    pub module: bool,
    /// What people look for it by: its name, project and labels.
    #[serde(default)]
    pub found_by: FoundBy,
}

/// What people look for a stack by. It stands in the list of stacks, so that looking through
/// thousands of them reads only the list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundBy {
    /// The name as the admin typed it.
    pub name: String,
    /// The project's path.
    pub project: String,
    /// The project, where the code is in GitLab. Older versions did not write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
    /// Its labels.
    pub labels: Vec<String>,
}

impl SlugEntry {
    /// The entry of a stack.
    pub fn of(stack: &Stack) -> Self {
        Self {
            stack: stack.id.clone(),
            deleted: stack.deleted_at.is_some(),
            module: stack.module.is_some(),
            found_by: FoundBy {
                name: stack.settings.name.clone(),
                project: stack.project_path.clone(),
                project_id: stack.project(),
                labels: stack.settings.labels.clone(),
            },
        }
    }
}

/// A stack's place among its project's stacks ([`crate::keys::project_stack`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectStack {
    /// The stack.
    pub stack: StackId,
    /// Its tracked branch.
    pub branch: String,
}

/// A module's address in the registry ([`crate::keys::registry`]). It stays reserved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryEntry {
    /// The module.
    pub module: StackId,
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

/// What an access key may do. Each role includes all that the ones before it may do.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Take runs from a pool, and nothing else.
    Worker,
    /// Look.
    Read,
    /// Confirm, discard, stop, retry.
    Deploy,
    /// Everything.
    Admin,
}

impl Role {
    /// The most that a key of this role may do, whichever the stack; none for a worker's.
    pub fn most(self) -> Option<Right> {
        match self {
            Self::Worker => None,
            Self::Read => Some(Right::Read),
            Self::Deploy => Some(Right::Deploy),
            Self::Admin => Some(Right::Admin),
        }
    }

    /// The least role whose keys have a right.
    pub fn with(right: Right) -> Self {
        match right {
            Right::Read => Self::Read,
            Right::Preview | Right::Deploy => Self::Deploy,
            Right::Unblock | Right::Edit | Right::Admin => Self::Admin,
        }
    }

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Read => "read",
            Self::Deploy => "deploy",
            Self::Admin => "admin",
        }
    }
}

/// An admin key; the key itself is nowhere ([`crate::keys::admin_key`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminKey {
    /// Its name, shown wherever something was done with it.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The pool of a worker's key.
    #[serde(default)]
    pub pool: Option<Pool>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// How people sign in with GitLab ([`crate::keys::sign_in`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignIn {
    /// The ID of the OAuth application.
    pub application: String,
    /// Its secret, sealed.
    pub secret: String,
    /// The link that it is of ([`Integration::generation`]): on another server nobody signs in
    /// with it.
    pub generation: u32,
    /// Full paths of groups: who is at least Maintainer in one of them is an admin here.
    #[serde(default)]
    pub admin_groups: Vec<String>,
    /// GitLab's IDs of these groups, by their paths here, as far as they are known: a path can pass to
    /// another group.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub admin_group_ids: BTreeMap<String, GroupId>,
    /// Which level of a stack's project gives which right.
    #[serde(default)]
    pub levels: Levels,
    /// The links to runs that GitLab shows do not open without signing in.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub run_links_off: bool,
    /// When it was saved.
    pub saved_at: Timestamp,
    /// When somebody first signed in with it: until then, nobody knows whether GitLab has the
    /// redirect URL.
    #[serde(default)]
    pub works_since: Option<Timestamp>,
}

/// Somebody who has signed in ([`crate::keys::person`]), and their rights as GitLab last told them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// GitLab's ID.
    pub id: UserId,
    /// The link that the ID is of.
    pub generation: u32,
    /// The user name, which can change.
    pub username: String,
    /// The name, for people.
    pub name: String,
    /// An admin of the installation.
    pub admin: bool,
    /// Their level in each project that has stacks or modules, by the project's ID.
    pub levels: BTreeMap<String, Level>,
    /// When GitLab was asked.
    pub read_at: Timestamp,
}

/// A person's session ([`crate::keys::session`]): at the pages, or one that is used with a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonSession {
    /// Whose it is.
    pub person: UserId,
    /// The link that the ID is of.
    pub generation: u32,
    /// When they signed in.
    pub begun_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Their tokens at GitLab, sealed.
    pub tokens: String,
    /// The browser, as it calls itself.
    #[serde(default)]
    pub browser: String,
    /// The address that they came from.
    #[serde(default)]
    pub address: String,
    /// Somebody asks GitLab about the person until then at most, or nobody does, because it did not
    /// answer.
    #[serde(default)]
    pub asking_until: Option<Timestamp>,
    /// Why GitLab did not answer when it was asked last.
    #[serde(default)]
    pub away: Option<String>,
    /// The name of the key that it is used with; none of a session at the pages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// When GitLab last took its own token; none until then, and in records of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_at: Option<Timestamp>,
}

impl SignIn {
    /// The groups whose Maintainers are admins: the path of each, and its ID where that is known.
    pub fn groups_of_admins(&self) -> impl Iterator<Item = (&str, Option<GroupId>)> {
        let ids = &self.admin_group_ids;
        self.admin_groups.iter().map(move |path| (path.as_str(), ids.get(path).copied()))
    }
}

impl PersonSession {
    /// When it last proved to GitLab that it is good: with its own token, whatever other sessions
    /// its person has. It was in use then.
    pub fn proven_at(&self) -> Timestamp {
        self.asked_at.unwrap_or(self.begun_at)
    }
}

/// A record that every page reads.
#[derive(Deserialize)]
#[serde(untagged)]
enum OfEveryPage {
    Key(AdminKey),
    GivenUp(GivenUp),
}

/// Something that the holder of a key did or tried to do ([`crate::keys::activity`]).
///
/// Records of older versions have only `actor`, `what`, `outcome` and `at`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    /// The key's name.
    pub actor: String,
    /// What the key could do then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// What, in words.
    pub what: String,
    /// The stack or module that it was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<StackSlug>,
    /// The run that it was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// That run's number among those of `stack`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_number: Option<u64>,
    /// The project of that stack or module, where its code is in GitLab.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectId>,
    /// How it ended, in words.
    pub outcome: String,
    /// It was refused, or failed.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub refused: bool,
    /// The answer's HTTP status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Where the request came from: the address of the client's connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The request's id: that of its command, where it gave one. One that is sent again keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<EventId>,
    /// When.
    pub at: Timestamp,
}

impl Activity {
    /// It was refused, or failed. Records of older versions say it in words alone.
    pub fn is_refused(&self) -> bool {
        self.refused || (self.status.is_none() && self.outcome.starts_with("refused"))
    }

    /// What it was about, as people call it: `network`, or a run of it, `network #6`.
    pub fn about(&self) -> Option<String> {
        let stack = self.stack.as_ref()?;
        Some(match self.run_number {
            Some(number) => format!("{stack} #{number}"),
            None => stack.to_string(),
        })
    }

    /// Tells it to those who collect logs: the names of the fields stay as they are
    /// (`docs/operator.md`).
    fn log(&self) {
        tracing::info!(
            target: "gantry::activity",
            actor = self.actor,
            role = self.role.map(Role::as_str),
            what = self.what,
            about = self.about(),
            outcome = self.outcome,
            refused = self.refused,
            status = self.status,
            address = self.address.as_deref(),
            request = self.request.as_ref().map(EventId::as_str),
            "an access key was used"
        );
    }
}

/// Runners are held back: none is started while this is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pause {
    /// The name of the key that asked for it.
    pub by: String,
    /// Since when.
    pub since: Timestamp,
}

/// How stacks are looked at for drift that say nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DriftDefaults {
    /// When; never, where there is none.
    #[serde(default)]
    pub schedule: Option<Schedule>,
    /// How many of the installation's own runners look for drift at once.
    #[serde(default = "looks_at_once")]
    pub at_most: u32,
}

fn looks_at_once() -> u32 {
    2
}

impl Default for DriftDefaults {
    fn default() -> Self {
        Self { schedule: None, at_most: looks_at_once() }
    }
}

/// What is done with an uploaded archive ([`crate::keys::upload_use`]). Who starts a preview with it
/// and who removes it each write this on condition of what they have read, so that one of them wins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadUse {
    /// When it began.
    pub at: Timestamp,
    /// It is removed. Otherwise a preview is started with it.
    pub is_removed: bool,
}

/// What the keys of people begin with. GitLab's ID of the person follows, by which the record is
/// found, and then what is secret.
const OF_PERSON: &str = "gantry_person_";

/// A key of a person, made of 256 random bits as text.
pub fn persons_key(person: UserId, random: &str) -> String {
    format!("{OF_PERSON}{person}_{random}")
}

/// Where the record of a person's key is ([`PersonSession`]), whether or not there is one; none
/// for what is not the key of a person.
pub fn place_of_persons_key(secret: &str) -> Option<Key> {
    let (person, _) = secret.strip_prefix(OF_PERSON)?.split_once('_')?;
    let person = person.parse().map(UserId).ok()?;
    Some(keys::session(person, &admin_key_digest(secret)))
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

    /// When the run was made that was applied last to the whole of a stack; it took its variables
    /// later.
    pub async fn applied_run_made_at(
        &self,
        stack: &StackId,
    ) -> Result<Option<Timestamp>, StoreError> {
        let head = self.get::<StackHead>(&keys::stack_head(stack)).await?;
        let Some(applied) = head.and_then(|head| head.value.last_whole) else { return Ok(None) };
        let run = self.get::<Run>(&keys::run(&applied)).await?;
        Ok(run.map(|run| run.value.created_at))
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
        self.admin_key_by_digest(&admin_key_digest(secret)).await
    }

    /// The admin key with this digest, if there is one.
    pub async fn admin_key_by_digest(&self, digest: &str) -> Result<Option<AdminKey>, StoreError> {
        Ok(self.get::<AdminKey>(&keys::admin_key(digest)).await?.map(|found| found.value))
    }

    /// The admin key with this digest, if there is one, and how many messages were given up, if any
    /// were: what every page reads, in one call.
    pub async fn admin_key_and_given_up(
        &self,
        digest: &str,
    ) -> Result<(Option<AdminKey>, Option<GivenUp>), StoreError> {
        let wanted = [keys::admin_key(digest), keys::given_up()];
        let (mut key, mut given_up) = (None, None);
        for found in self.get_many::<OfEveryPage>(&wanted).await? {
            match found.value {
                OfEveryPage::Key(found) => key = Some(found),
                OfEveryPage::GivenUp(found) => given_up = Some(found),
            }
        }
        Ok((key, given_up))
    }

    /// How many wrong keys came from an address in the minute of `now`.
    pub async fn wrong_keys(&self, address: &str, now: Timestamp) -> Result<u32, StoreError> {
        let found = self.get::<u32>(&keys::wrong_keys(address, now)).await?;
        Ok(found.map_or(0, |found| found.value))
    }

    /// Counts one more wrong key from an address.
    pub async fn count_wrong_key(&self, address: &str, now: Timestamp) -> Result<(), StoreError> {
        let key = keys::wrong_keys(address, now);
        for _ in 0..5 {
            let found = self.get::<u32>(&key).await?;
            let (expect, count) =
                found.map_or((Expect::Absent, 0), |found| (found.unchanged(), found.value));
            let write = Write::put(key.clone(), expect, &(count + 1))?
                .expires(now + SignedDuration::from_hours(1));
            if self.write(vec![write]).await? == Outcome::Written {
                break;
            }
        }
        Ok(())
    }

    /// Writes down, and logs, something that the holder of a key did.
    ///
    /// # Errors
    /// When the table does not take it. It is logged even so.
    pub async fn record_activity(&self, activity: &Activity) -> Result<(), StoreError> {
        activity.log();
        // The request's own id may repeat; each try is a line of its own.
        let line = EventId::derive("activity", &[&rand::random::<u128>().to_string()]);
        let key = keys::activity(activity.at, &line);
        self.write(vec![Write::put(key, Expect::Absent, activity)?]).await.map(drop)
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
            .filter(|s| s.deleted_at.is_none() && s.project() == Some(project))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_persons_key_says_where_its_record_is_and_not_what_opens_it() {
        let key = persons_key(UserId(7), "5ecret-with_more");
        let place = place_of_persons_key(&key);
        let digest = admin_key_digest(&key);
        assert_eq!(place, Some(keys::session(UserId(7), &digest)));
        assert!(!digest.contains("5ecret"), "{digest}");
        assert_ne!(place, place_of_persons_key(&persons_key(UserId(8), "5ecret-with_more")));
        // Only as it was written: another way to write the ID is another key.
        assert_ne!(place, place_of_persons_key("gantry_person_07_5ecret-with_more"));
        for other in ["", "gantry_5ecret", "gantry_person_", "gantry_person_7", "gantry_person_x_y"]
        {
            assert_eq!(place_of_persons_key(other), None, "{other}");
        }
    }
}
