//! Environments and deployments: names, addresses, transitions.

use crate::api::answer::Refusal;
use crate::config::Allowed;
use crate::model::{Environment, Project, ProjectId, State, UserId};

/// The names that GitLab takes for environments.
pub(crate) fn is_valid_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_/${}. -".contains(c);
    !name.is_empty() && name.chars().all(allowed) && !name.starts_with('/') && !name.ends_with('/')
}

/// Whether a deployment may go from one status to another.
pub(crate) fn may_move(from: &str, to: &str) -> bool {
    match to {
        "running" => matches!(from, "created" | "blocked"),
        _ => from != to,
    }
}

impl State {
    /// Makes an environment, or refuses its name or address.
    pub(crate) fn create_environment(
        &mut self,
        project: ProjectId,
        name: &str,
        external_url: Option<String>,
    ) -> Result<&Environment, Refusal> {
        if name.is_empty() {
            return Err(Refusal::field("name", "can't be blank"));
        }
        if name.chars().count() > 255 {
            return Err(Refusal::field("name", "is too long (maximum is 255 characters)"));
        }
        if !is_valid_name(name) {
            let problem = "can contain only letters, digits, '-', '_', '/', '$', '{', '}', '.', \
                           and spaces, but it cannot start or end with '/'";
            return Err(Refusal::field("name", problem));
        }
        if self.project(project).environment(name).is_some() {
            return Err(Refusal::field("name", "has already been taken"));
        }
        check_external_url(external_url.as_deref())?;
        let (id, name) = (self.next_id("environment"), name.to_owned());
        let environments = &mut self.project_mut(project).environments;
        Ok(environments.push_mut(Environment { id, name, external_url, stopped: false }))
    }

    /// Refuses those who may not deploy to a protected environment.
    pub(crate) fn authorize_deploy(
        &self,
        project: ProjectId,
        user: UserId,
        environment: &str,
    ) -> Result<(), Refusal> {
        let project = self.project(project);
        let rules = &project.options.protected_environments;
        let rule = rules.iter().find(|rule| rule.name == environment);
        let allows = |allowed: &Allowed| self.allows(project, user, *allowed);
        match rule.is_none_or(|rule| rule.deploy.iter().any(allows)) {
            true => Ok(()),
            false => Err(Refusal::forbidden()),
        }
    }

    fn allows(&self, project: &Project, user: UserId, allowed: Allowed) -> bool {
        match allowed {
            Allowed::Role(0) => false,
            Allowed::Role(60) => self.user(user).admin,
            Allowed::Role(level) => self.role(project, self.user(user)) >= level,
            Allowed::User(only) => only == user,
            Allowed::Group { id, inherited } => self.groups.get(&id).is_some_and(|group| {
                let above = inherited && self.inherited(&group.path, user) > 0;
                above || group.members.contains_key(&user)
            }),
        }
    }
}

/// An address of at most 255 characters with http or https.
pub(crate) fn check_external_url(text: Option<&str>) -> Result<(), Refusal> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(()) };
    if text.chars().count() > 255 {
        return Err(Refusal::field("external_url", "is too long (maximum is 255 characters)"));
    }
    let url = url::Url::parse(text).ok();
    if url.is_some_and(|url| matches!(url.scheme(), "http" | "https")) {
        return Ok(());
    }
    let problem = "is blocked: Only allowed schemes are http, https";
    Err(Refusal::field("external_url", problem))
}

#[cfg(test)]
mod tests {
    use super::{is_valid_name, may_move};

    #[test]
    fn names() {
        for good in ["gantry/network", "prod", "a b", "x.y_z-${A}"] {
            assert!(is_valid_name(good), "{good}");
        }
        for bad in ["", "/a", "a/", "a:b", "a@b", "a+b", "Größe"] {
            assert!(!is_valid_name(bad), "{bad}");
        }
    }

    #[test]
    fn deployments_end_once_and_never_run_again() {
        assert!(may_move("created", "running"));
        assert!(may_move("running", "success"));
        assert!(may_move("failed", "success"));
        assert!(!may_move("success", "success"));
        assert!(!may_move("running", "running"));
        assert!(!may_move("success", "running"));
    }
}
