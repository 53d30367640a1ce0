//! Groups, which give their members a role in all that lies in them.

use std::collections::BTreeMap;

use super::{GroupId, Project, State, User, UserId};

/// A group, or a subgroup.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) id: GroupId,
    /// With the groups that it lies in: `acme/platform`.
    pub(crate) path: String,
    pub(crate) members: BTreeMap<UserId, u8>,
}

impl Group {
    /// Whether this is the group at a path, or one of those that it lies in.
    pub(crate) fn holds(&self, path: &str) -> bool {
        let rest = path.strip_prefix(self.path.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl State {
    pub(crate) fn group_at(&self, path: &str) -> Option<&Group> {
        self.groups.values().find(|group| group.path.eq_ignore_ascii_case(path))
    }

    /// Makes a group, and those that it lies in; the one that is there already, if so.
    pub(crate) fn create_group(&mut self, path: &str) -> GroupId {
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.create_group(parent);
        }
        if let Some(group) = self.group_at(path) {
            return group.id;
        }
        let id = GroupId(self.next_id("group"));
        self.groups.insert(id, Group { id, path: path.to_owned(), members: BTreeMap::new() });
        id
    }

    /// The highest role that the group at a path gives a user, with those that it lies in; 0 is
    /// none.
    pub(crate) fn inherited(&self, path: &str, user: UserId) -> u8 {
        let holding = self.groups.values().filter(|group| group.holds(path));
        holding.filter_map(|group| group.members.get(&user)).copied().max().unwrap_or(0)
    }

    /// A member's highest role in a project, its own or from its groups; 0 is none.
    pub(crate) fn membership(&self, project: &Project, user: UserId) -> u8 {
        let own = project.members.get(&user).copied().unwrap_or(0);
        own.max(self.inherited(project.namespace(), user))
    }

    /// What a user may do in a project: administrators own everything.
    pub(crate) fn role(&self, project: &Project, user: &User) -> u8 {
        if user.admin { 50 } else { self.membership(project, user.id) }
    }

    /// Whether a user may push to, or merge into, a branch.
    pub(crate) fn branch_rights(
        &self,
        project: &Project,
        user: &User,
        branch: &str,
    ) -> BranchRights {
        let role = self.role(project, user);
        if !project.is_protected(branch) {
            return BranchRights { push: role >= 30, merge: role >= 30 };
        }
        let rules = || project.options.protected_branches.iter().filter(|rule| rule.covers(branch));
        let allowed = |needed: Option<u8>| needed.is_some_and(|needed| role >= needed);
        BranchRights {
            push: rules().any(|rule| allowed(rule.push)),
            merge: rules().any(|rule| allowed(rule.merge)),
        }
    }
}

/// What a user may do with a branch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BranchRights {
    pub(crate) push: bool,
    pub(crate) merge: bool,
}
