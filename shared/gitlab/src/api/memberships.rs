//! In which projects a person has which role.
//!
//! A project's answer has the field `permissions`, which does not tell it: with a list it has only
//! direct memberships of the project and of the group that it lies in; alone it has inherited ones
//! too, but none that come from a group that the project, or a group above it, was shared with. With
//! `simple=true` it is not there at all. What is exact is `min_access_level`: it asks the table in
//! which GitLab keeps each user's highest role in each project, inherited and shared ones included.
//! So one list is read for each role that Gantry tells apart, of the fewest fields. Up to a hundred
//! projects take two calls for each role that the person has: GitLab says only after an empty page
//! that there is no more.

use crate::{Client, Error, call::Call};
use gantry_domain::{AccessLevel, ProjectId};
use serde::Deserialize;
use std::collections::{BTreeMap, btree_map::Entry};

/// A project that a person is a member of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectLevel {
    /// GitLab's id.
    pub id: ProjectId,
    /// Groups and project: `group/sub/app`.
    pub path: String,
    /// Reporter, Developer, Maintainer or Owner: the highest of them that the person has there.
    pub level: AccessLevel,
}

/// The roles that are told apart, the lowest first. Who has less is not listed.
const LEVELS: [AccessLevel; 4] =
    [AccessLevel::REPORTER, AccessLevel::DEVELOPER, AccessLevel::MAINTAINER, AccessLevel::OWNER];

#[derive(Deserialize)]
struct Listed {
    id: ProjectId,
    path_with_namespace: String,
}

impl Client {
    /// The projects in which the token's user is at least Reporter, with their role, archived ones
    /// included, by id. For the token of a person ([`Client::for_person`], scope `read_api`).
    ///
    /// GitLab brings its table up to date some seconds after a membership has changed. A role that
    /// changes while the lists are read may come out as the lower one, never as a higher one than
    /// the person had at some time meanwhile.
    pub async fn project_levels(&self) -> Result<Vec<ProjectLevel>, Error> {
        let mut found = BTreeMap::new();
        let mut below = None;
        for level in LEVELS {
            let call = Call::get(&["projects"])
                .query("membership", true)
                .query("min_access_level", level.0)
                .query("simple", true);
            let listed: Vec<Listed> = self.list_by_id(call).await?;
            if listed.is_empty() {
                break;
            }
            for Listed { id, path_with_namespace: path } in listed {
                match found.entry(id) {
                    Entry::Vacant(free) if below.is_none() => {
                        free.insert(ProjectLevel { id, path, level });
                    }
                    Entry::Occupied(mut known) if Some(known.get().level) == below => {
                        known.get_mut().level = level;
                    }
                    // It came between two lists: the next reading has it.
                    _ => {}
                }
            }
            below = Some(level);
        }
        Ok(found.into_values().collect())
    }
}
