//! Protected branches and environments: what may keep statuses and deployments out, and who decides
//! about a deploy.

use crate::{Client, Error, Project, absent::Thing, call::Call};
use gantry_domain::{
    AccessLevel, GroupId, ProjectId, UserId,
    approval::{GroupReach, Origin, Protection, Rule, Who},
};
use http::Method;
use serde::{Deserialize, Deserializer};

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
    /// Whose approvals are needed first.
    #[serde(default, deserialize_with = "crate::reading::or_default")]
    pub approval_rules: Vec<ApprovalRule>,
    /// How many approvals of those who may deploy are needed, where there are no rules. GitLab
    /// before 17.0 goes by it.
    #[serde(default, deserialize_with = "crate::reading::or_default")]
    pub required_approval_count: u32,
}

/// How many must approve before a deployment, and who.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ApprovalRule {
    /// Who counts.
    #[serde(flatten)]
    pub who: AccessRule,
    /// How many of them: 1 where GitLab does not say it.
    #[serde(default = "one", deserialize_with = "at_least_one")]
    pub required_approvals: u32,
}

fn one() -> u32 {
    1
}

fn at_least_one<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    Ok(Option::<u32>::deserialize(from)?.unwrap_or_default().max(1))
}

/// One way of being allowed: a role, a user, or a group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct AccessRule {
    /// The role that is enough; 0 is *no one*. Present beside a user or group too, without meaning.
    pub access_level: Option<u32>,
    /// This user only.
    pub user_id: Option<UserId>,
    /// The members of this group only.
    pub group_id: Option<GroupId>,
    /// For people: the role, or the name of the user or group (not its path).
    pub access_level_description: Option<String>,
    /// Which members of the group: 0 its direct ones, 1 inherited ones too.
    pub group_inheritance_type: Option<u32>,
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

impl AccessRule {
    /// Whom the rule means; `shown` is how people read of the user or group, where it is known.
    pub fn who(&self, shown: Option<String>) -> Who {
        let shown = || {
            let said = shown.or_else(|| self.access_level_description.clone());
            said.unwrap_or_else(|| match self.user_id {
                Some(id) => format!("user {id}"),
                None => "a group".to_owned(),
            })
        };
        match (self.user_id, self.group_id) {
            (Some(id), _) => Who::User { id, shown: shown() },
            (None, Some(id)) => {
                let reach = match self.group_inheritance_type {
                    Some(1) => GroupReach::Inherited,
                    _ => GroupReach::Direct,
                };
                Who::Group { id, reach, shown: shown() }
            }
            (None, None) => Who::Role(AccessLevel(self.access_level.unwrap_or(0))),
        }
    }
}

impl ProtectedEnvironment {
    /// The same as Gantry decides by it. `shown` says how people read of a rule's user or group
    /// (`@ada`, `@acme/ops`), where that is known.
    pub fn protection(&self, shown: impl Fn(&AccessRule) -> Option<String>) -> Protection {
        let who = |rule: &AccessRule| rule.who(shown(rule));
        let may_deploy: Vec<Who> = self.deploy_access_levels.iter().map(who).collect();
        let mut approvals: Vec<Rule> = self
            .approval_rules
            .iter()
            .map(|rule| Rule { who: vec![who(&rule.who)], required: rule.required_approvals })
            .collect();
        if approvals.is_empty() && self.required_approval_count > 0 {
            let required = self.required_approval_count;
            approvals.push(Rule { who: may_deploy.clone(), required });
        }
        Protection { origin: Origin::Project, may_deploy, approvals }
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

    /// What protects an environment of the project, or none where nothing does: for what is decided
    /// about it, with the project as it was just read.
    ///
    /// Servers without that feature answer 404, or 403 to who is no Maintainer, and protect nothing.
    /// Where it is there, both are errors: not to see the rules does not mean that there are none.
    /// The list is read and not the one environment by its name, which costs no call more: some
    /// proxies decode the slash of `gantry/network` in an address, and what they make of it is a 404
    /// that would mean "not protected".
    ///
    /// Groups may protect a tier of environments as well, which only their owners can read.
    pub async fn protected_environment(
        &self,
        project: &Project,
        name: &str,
    ) -> Result<Option<ProtectedEnvironment>, Error> {
        let call = Call::project(Method::GET, project.id, &["protected_environments"]);
        let here = |environment: &ProtectedEnvironment| environment.name == name;
        let list = |call| self.list_until(call, usize::MAX, here);
        let what = Thing::ProtectedEnvironments.of(project.id);
        // Since 15.8 the project says something where the feature is there, to whoever asks.
        let says = project.allow_pipeline_trigger_approve_deployment.is_some();
        match self.unless_absent(what, list(call.clone()), list(call)).await {
            Ok(None) if says => Err(Error::not_gitlabs(format!(
                "{} has no list of protected environments, although the project has that feature; \
                 a proxy may keep it back",
                self.host().authority()
            ))),
            Ok(found) => Ok(found.and_then(|mut found| found.pop()).filter(here)),
            Err(refused @ Error::Forbidden { .. }) => {
                match !says && self.version().await?.is_at_least(15, 8) {
                    true => Ok(None),
                    false => Err(refused),
                }
            }
            Err(error) => Err(error),
        }
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
        let rule = |access_level, user_id: Option<u64>, group_id: Option<u64>| AccessRule {
            access_level,
            user_id: user_id.map(UserId),
            group_id: group_id.map(GroupId),
            ..AccessRule::default()
        };
        let ask = |rules: &[AccessRule]| AccessRule::any_allows(rules, UserId(7), Some(30));
        assert_eq!(ask(&[rule(Some(40), None, None)]), Some(false));
        assert_eq!(ask(&[rule(Some(40), None, None), rule(Some(30), None, None)]), Some(true));
        assert_eq!(ask(&[rule(Some(0), None, None)]), Some(false));
        assert_eq!(ask(&[rule(Some(40), Some(7), None)]), Some(true));
        assert_eq!(ask(&[rule(Some(40), None, Some(1))]), None);
        assert_eq!(ask(&[]), Some(false));
    }

    fn environment(json: &str) -> ProtectedEnvironment {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_protected_environment_says_who_deploys_and_who_approves() {
        let read = environment(
            r#"{"name": "gantry/network",
            "deploy_access_levels": [
                {"id": 12, "access_level": 40, "access_level_description": "Maintainers",
                    "user_id": null, "group_id": null, "group_inheritance_type": 0},
                {"id": 13, "access_level": 40, "access_level_description": "Ada Lovelace",
                    "user_id": 9, "group_id": null, "group_inheritance_type": 0}],
            "required_approval_count": 0,
            "approval_rules": [
                {"id": 38, "user_id": null, "group_id": 134, "access_level": null,
                    "access_level_description": "qa-group", "required_approvals": 1,
                    "group_inheritance_type": 0},
                {"id": 39, "user_id": null, "group_id": 135, "access_level": null,
                    "access_level_description": "security-group", "required_approvals": 2,
                    "group_inheritance_type": 1}]}"#,
        );
        let shown = |rule: &AccessRule| rule.user_id.map(|_| "@ada".to_owned());
        let group = |id, reach, shown: &str| Who::Group { id, reach, shown: shown.to_owned() };
        let rule = |who, required| Rule { who: vec![who], required };
        let expected = Protection {
            origin: Origin::Project,
            may_deploy: vec![
                Who::Role(AccessLevel::MAINTAINER),
                Who::User { id: UserId(9), shown: "@ada".to_owned() },
            ],
            approvals: vec![
                rule(group(GroupId(134), GroupReach::Direct, "qa-group"), 1),
                rule(group(GroupId(135), GroupReach::Inherited, "security-group"), 2),
            ],
        };
        assert_eq!(read.protection(shown), expected);
    }

    #[test]
    fn what_is_not_said_is_never_the_easier_rule() {
        let nobody = environment(r#"{"name": "a"}"#).protection(|_| None);
        assert_eq!((nobody.may_deploy, nobody.approvals), (vec![], vec![]));
        let some = environment(
            r#"{"name": "a", "deploy_access_levels": [{"access_level": null}],
            "required_approval_count": null,
            "approval_rules": [{"user_id": 3}, {"access_level": 30, "required_approvals": null}]}"#,
        );
        let some = some.protection(|_| None);
        assert_eq!(some.may_deploy, [Who::Role(AccessLevel::NO_ONE)]);
        let required: Vec<u32> = some.approvals.iter().map(|rule| rule.required).collect();
        assert_eq!(required, [1, 1]);
        let ada = Who::User { id: UserId(3), shown: "user 3".to_owned() };
        assert_eq!(some.approvals[0].who, [ada]);
        // Before 17.0: so many of those who may deploy.
        let counted = environment(
            r#"{"name": "a", "deploy_access_levels": [{"access_level": 40}],
            "required_approval_count": 2}"#,
        );
        let who = vec![Who::Role(AccessLevel::MAINTAINER)];
        assert_eq!(counted.protection(|_| None).approvals, [Rule { who, required: 2 }]);
    }
}
