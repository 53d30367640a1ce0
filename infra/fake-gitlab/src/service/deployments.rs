//! Environments and deployments: names, tiers, transitions.

use crate::api::answer::Refusal;
use crate::model::{Environment, ProjectId, State, UserId};

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

/// What GitLab guesses from an environment's name.
fn guess_tier(name: &str) -> &'static str {
    let name = name.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    match () {
        () if has(&["dev", "review", "trunk"]) => "development",
        () if has(&["test", "tst", "int", "acpt", "accept", "qa", "uat", "qc"]) => "testing",
        () if has(&["stag", "stg", "model", "pre", "demo", "non"]) => "staging",
        () if has(&["prod", "live"]) => "production",
        () => "other",
    }
}

/// At most 24 characters of `[a-z0-9-]` that begin with a letter; a name that had to be changed
/// gets a suffix.
fn slug(name: &str) -> String {
    let plain: String = name
        .to_ascii_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let plain = if plain.starts_with(|c: char| c.is_ascii_alphabetic()) {
        plain
    } else {
        format!("env-{plain}")
    };
    if plain == name && plain.len() <= 24 {
        return plain;
    }
    let suffix: [u8; 3] = rand::random();
    let short: String = plain.chars().take(17).collect();
    format!("{}-{}", short.trim_end_matches('-'), hex::encode(suffix))
}

impl State {
    /// Makes an environment, or refuses its name or address.
    pub(crate) fn create_environment(
        &mut self,
        project: ProjectId,
        name: &str,
        external_url: Option<String>,
        tier: Option<&str>,
    ) -> Result<u64, Refusal> {
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
        if self.project(project).environments.iter().any(|known| known.name == name) {
            return Err(Refusal::field("name", "has already been taken"));
        }
        check_external_url(external_url.as_deref())?;
        let (id, now) = (self.next_id("environment"), self.now());
        self.project_mut(project).environments.push(Environment {
            id,
            name: name.to_owned(),
            slug: slug(name),
            external_url,
            description: None,
            tier: tier.unwrap_or_else(|| guess_tier(name)).to_owned(),
            stopped: false,
            created_at: now,
            updated_at: now,
        });
        Ok(id)
    }

    /// Refuses those who may not deploy to a protected environment.
    pub(crate) fn authorize_deploy(
        &self,
        project: ProjectId,
        user: UserId,
        environment: &str,
    ) -> Result<(), Refusal> {
        let allowed = self.project(project).may_deploy(self.user(user), environment);
        if allowed { Ok(()) } else { Err(Refusal::forbidden()) }
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
