//! Users and groups, by id and by name, and who belongs to a group: whom rules mean.

use crate::{Client, Error, absent::Thing, api::notes::Author, call::Call};
use gantry_domain::{AccessLevel, GroupId, UserId, approval::GroupReach};
use serde::Deserialize;

/// A group.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Group {
    /// GitLab's id: stable when the group is renamed or moved.
    pub id: GroupId,
    /// All groups above it and itself: `acme/ops`.
    pub full_path: String,
}

/// Who a user is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Account {
    /// GitLab's id.
    pub id: UserId,
    /// The user name, without `@`.
    pub username: String,
    /// The name that people see.
    #[serde(default, deserialize_with = "crate::reading::or_default")]
    pub name: String,
    /// A user that no person is: of an access token, a service account, GitLab's own.
    #[serde(default, deserialize_with = "crate::reading::or_default")]
    pub bot: bool,
    state: Option<String>,
}

impl Account {
    /// False for somebody who is blocked.
    pub fn is_active(&self) -> bool {
        self.state.as_deref().is_none_or(|state| state == "active")
    }
}

#[derive(Deserialize)]
struct Member {
    access_level: AccessLevel,
}

impl Client {
    /// A group by its id.
    pub async fn group(&self, group: GroupId) -> Result<Group, Error> {
        self.json(Call::group(group, &[]).query("with_projects", false)).await
    }

    /// A group by its path (`acme/ops`), or none where the token sees none of that path.
    pub async fn group_by_path(&self, path: &str) -> Result<Option<Group>, Error> {
        let call = Call::get(&["groups", path]).query("with_projects", false);
        let found: Option<Group> = unless_named(self.json(call).await, "404 Group Not Found")?;
        // A path of digits would have been taken for an id.
        Ok(found.filter(|group| group.full_path.eq_ignore_ascii_case(path)))
    }

    /// The group that a path was written down for, or none where the token sees none. A path can pass
    /// to another group: where the id is known, it alone says which one is meant, wherever that is by
    /// now.
    pub async fn group_meant(
        &self,
        path: &str,
        known: Option<GroupId>,
    ) -> Result<Option<Group>, Error> {
        match known {
            Some(group) => unless_named(self.group(group).await, "404 Group Not Found"),
            None => self.group_by_path(path).await,
        }
    }

    /// A user by their id, or none when they are gone.
    pub async fn user(&self, user: UserId) -> Result<Option<Author>, Error> {
        let call = Call::get(&["users", &user.to_string()]);
        unless_named(self.json(call).await, "404 User Not Found")
    }

    /// Who a user is, or none when they are gone.
    pub async fn account(&self, user: UserId) -> Result<Option<Account>, Error> {
        let call = Call::get(&["users", &user.to_string()]);
        unless_named(self.json(call).await, "404 User Not Found")
    }

    /// A user by their name, without `@`, or none.
    pub async fn user_by_name(&self, username: &str) -> Result<Option<Author>, Error> {
        let call = Call::get(&["users"]).query("username", username);
        let found: Vec<Author> = self.json(call).await?;
        Ok(found.into_iter().find(|user| user.username.eq_ignore_ascii_case(username)))
    }

    /// The user's role in the group; none for somebody who is no member. What is inherited comes
    /// from groups above it and from groups that were invited to it. Of a private group that was
    /// invited GitLab (since 17.0) tells members only to those of the inviting one.
    pub async fn group_member_level(
        &self,
        group: GroupId,
        user: UserId,
        reach: GroupReach,
    ) -> Result<Option<AccessLevel>, Error> {
        let user = user.to_string();
        let call = match reach {
            GroupReach::Direct => Call::group(group, &["members", &user]),
            GroupReach::Inherited => Call::group(group, &["members", "all", &user]),
        };
        let found = self.find::<Member>(Thing::GroupMember.of_group(group), call).await?;
        Ok(found.map(|member| member.access_level))
    }
}

/// None where these words say that it is exactly what was asked for that is not there.
fn unless_named<T>(asked: Result<T, Error>, words: &str) -> Result<Option<T>, Error> {
    match asked {
        Err(Error::NotFound { message }) if message == words => Ok(None),
        found => found.map(Some),
    }
}
