//! Protected branches and environments: what may keep statuses and deployments out.

use crate::{Client, Error, absent::Thing, call::Call};
use gantry_domain::{ProjectId, UserId};
use http::Method;
use serde::Deserialize;

/// A rule that protects branches.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ProtectedBranch {
    /// A branch, or a pattern with `*`.
    pub name: String,
    /// Who may push.
    #[serde(default, deserialize_with = "crate::reading::or_default")]
    pub push_access_levels: Vec<AccessRule>,
    /// Who may merge.
    #[serde(default, deserialize_with = "crate::reading::or_default")]
    pub merge_access_levels: Vec<AccessRule>,
}

/// An environment that not everybody may deploy to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ProtectedEnvironment {
    /// The environment's name.
    pub name: String,
    /// Who may deploy.
    #[serde(default, deserialize_with = "crate::reading::or_default")]
    pub deploy_access_levels: Vec<AccessRule>,
}

/// One way of being allowed: a role, a user, or a group.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AccessRule {
    /// The role that is enough; 0 is *no one*. Present beside a user or group too, without meaning.
    pub access_level: Option<u32>,
    /// This user only.
    pub user_id: Option<UserId>,
    /// The members of this group only.
    pub group_id: Option<u64>,
}

impl AccessRule {
    /// Whether the rule allows a user with that role; none when it is about a group, which only
    /// GitLab can tell.
    pub fn allows(&self, user: UserId, role: Option<u32>) -> Option<bool> {
        if let Some(only) = self.user_id {
            return Some(only == user);
        }
        if self.group_id.is_some() {
            return None;
        }
        let needed = self.access_level.unwrap_or(0);
        Some(needed > 0 && role.is_some_and(|role| role >= needed))
    }

    /// Whether any of the rules allows it; none when only a group could.
    pub fn any_allows(rules: &[Self], user: UserId, role: Option<u32>) -> Option<bool> {
        let answers: Vec<Option<bool>> = rules.iter().map(|rule| rule.allows(user, role)).collect();
        if answers.contains(&Some(true)) {
            Some(true)
        } else {
            (!answers.contains(&None)).then_some(false)
        }
    }
}

impl ProtectedBranch {
    /// True when the rule is about this branch.
    pub fn covers(&self, branch: &str) -> bool {
        let mut parts = self.name.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = branch.strip_prefix(first) else { return false };
        let parts: Vec<&str> = parts.collect();
        let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
        for part in middle {
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last)
    }
}

impl Client {
    /// The rules that protect a branch, those with a pattern included. Empty for an unprotected one.
    pub async fn protected_branch(
        &self,
        project: ProjectId,
        branch: &str,
    ) -> Result<Vec<ProtectedBranch>, Error> {
        let call = Call::project(Method::GET, project, &["protected_branches"]);
        let mut rules: Vec<ProtectedBranch> = self.list(call).await?;
        rules.retain(|rule| rule.covers(branch));
        Ok(rules)
    }

    /// The project's protected environments. Empty on servers without that feature (Premium).
    pub async fn protected_environments(
        &self,
        project: ProjectId,
    ) -> Result<Vec<ProtectedEnvironment>, Error> {
        let call = Call::project(Method::GET, project, &["protected_environments"]);
        let what = Thing::ProtectedEnvironments.of(project);
        let found = self.unless_absent(what, self.list(call.clone()), self.list(call)).await?;
        Ok(found.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_covers_its_branch_or_its_pattern() {
        for (rule, branch, covered) in [
            ("main", "main", true),
            ("main", "main2", false),
            ("release/*", "release/1.2", true),
            ("release/*", "release", false),
            ("*-stable", "16-0-stable", true),
            ("*", "anything", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXcYb", false),
            ("ab*ba", "aba", false),
        ] {
            let name = rule.to_owned();
            let rule =
                ProtectedBranch { name, push_access_levels: vec![], merge_access_levels: vec![] };
            assert_eq!(rule.covers(branch), covered, "{} {branch}", rule.name);
        }
    }

    #[test]
    fn rules_are_asked_for_user_and_role() {
        let rule = |access_level, user_id: Option<u64>, group_id| AccessRule {
            access_level,
            user_id: user_id.map(UserId),
            group_id,
        };
        let ask = |rules: &[AccessRule]| AccessRule::any_allows(rules, UserId(7), Some(30));
        assert_eq!(ask(&[rule(Some(40), None, None)]), Some(false));
        assert_eq!(ask(&[rule(Some(40), None, None), rule(Some(30), None, None)]), Some(true));
        assert_eq!(ask(&[rule(Some(0), None, None)]), Some(false));
        assert_eq!(ask(&[rule(Some(40), Some(7), None)]), Some(true));
        assert_eq!(ask(&[rule(Some(40), None, Some(1))]), None);
        assert_eq!(ask(&[]), Some(false));
    }
}
