//! Does this GitLab work for us with this token? The answer names the field that is wrong.

use crate::{form::Errors, refusal::Refusal};
use gantry_domain::{
    UserId,
    integration::{BotUser, Integration, days_left},
};
use gantry_gitlab::{Client, CurrentUser, Error, TokenSelf, Version};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

/// The oldest GitLab that is taken: from this version on it tells what a token may do.
const OLDEST: (u32, u32) = (15, 5);
/// Days before the token's end from which on it is said.
const SOON: i32 = 30;

/// What was found at the server.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(super) version: String,
    pub(super) user: User,
    pub(super) scopes: Vec<String>,
    pub(super) expires_on: Option<String>,
    pub(crate) warnings: Vec<String>,
}

/// The user that the token acts as.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "BotUser")]
pub(crate) struct User {
    pub(super) id: UserId,
    /// The name that statuses and comments carry.
    pub(crate) username: String,
}

impl Found {
    pub(super) fn bot(&self) -> BotUser {
        BotUser { id: self.user.id, username: self.user.username.clone() }
    }

    /// What was found when the settings were saved, with what can be said of it today.
    pub(super) fn recorded(known: &Integration, now: Timestamp) -> Self {
        let warnings = expiry_warning(known.token_expires_on.as_deref(), now);
        Self {
            version: known.server_version.clone().unwrap_or_default(),
            user: User { id: known.bot.id, username: known.bot.username.clone() },
            scopes: known.token_scopes.clone(),
            expires_on: known.token_expires_on.clone(),
            warnings: warnings.into_iter().collect(),
        }
    }

    /// GitLab signs its webhooks (19.0).
    pub(super) fn signs(&self) -> bool {
        Version { version: self.version.clone(), revision: None, enterprise: None }
            .is_at_least(19, 0)
    }
}

/// Asks the server and the token.
pub(super) async fn check(client: &Client, now: Timestamp) -> Result<Found, Refusal> {
    let version = client.version().await.map_err(about)?;
    let mut warnings = Vec::new();
    check_version(&version, &mut warnings)?;
    let user = client.current_user().await.map_err(about)?;
    check_user(&user, &mut warnings)?;
    let token = client.token_self().await.map_err(about)?;
    let (scopes, expires_on) = match token {
        Some(token) => check_token(token, now, &mut warnings)
            .map_err(|problem| Refusal::field("token", problem))?,
        None => {
            warnings.push(
                "GitLab does not report what this token may do. It may lack the scope api, and its \
                 expiry date is unknown"
                    .to_owned(),
            );
            (Vec::new(), None)
        }
    };
    let user = User { id: user.id, username: user.username };
    Ok(Found { version: version.version, user, scopes, expires_on, warnings })
}

fn check_version(version: &Version, warnings: &mut Vec<String>) -> Result<(), Refusal> {
    let (major, minor) = OLDEST;
    if version.numbers().is_none() {
        warnings.push(format!(
            "The server's version {:?} cannot be read; {major}.{minor} or newer is required",
            version.version
        ));
    }
    if version.is_at_least(major, minor) {
        return Ok(());
    }
    Err(Refusal::field(
        "api_host",
        format!(
            "The server runs GitLab {}. {major}.{minor} is the oldest supported version, because \
             older ones do not report what a token may do",
            version.version
        ),
    ))
}

fn check_user(user: &CurrentUser, warnings: &mut Vec<String>) -> Result<(), Refusal> {
    if let Some(state) = user.state.as_deref().filter(|state| *state != "active") {
        let problem = format!("The token belongs to the user {}, who is {state}", user.username);
        return Err(Refusal::field("token", problem));
    }
    if user.bot == Some(false) {
        warnings.push(format!(
            "The token belongs to a person, {}. Statuses and comments carry that name, and the \
             token ends with the account. A project or group access token has its own user",
            user.username
        ));
    }
    Ok(())
}

type ScopesAndEnd = (Vec<String>, Option<String>);

fn check_token(
    token: TokenSelf,
    now: Timestamp,
    warnings: &mut Vec<String>,
) -> Result<ScopesAndEnd, String> {
    if token.active == Some(false) {
        return Err("The token is revoked or has expired. Create a new one in GitLab.".to_owned());
    }
    if token.expires_at.as_deref().and_then(|day| days_left(day, now)).is_some_and(|days| days <= 0)
    {
        let day = token.expires_at.unwrap_or_default();
        return Err(format!("The token expired on {day}. Create a new one in GitLab."));
    }
    if !token.scopes.iter().any(|scope| scope == "api") {
        let has = if token.scopes.is_empty() { "none".into() } else { token.scopes.join(", ") };
        let read_only = token.scopes.iter().any(|scope| scope == "read_api");
        let why = if read_only { "it can only read" } else { "it cannot use the API" };
        return Err(format!("The token lacks the scope api (it has: {has}), so {why}"));
    }
    let too_much: Vec<&str> = ["sudo", "admin_mode"]
        .into_iter()
        .filter(|scope| token.scopes.iter().any(|has| has == scope))
        .collect();
    if !too_much.is_empty() {
        let scopes = too_much.join(" and ");
        warnings.push(format!("The token has more access than it needs: {scopes}"));
    }
    warnings.extend(expiry_warning(token.expires_at.as_deref(), now));
    Ok((token.scopes, token.expires_at))
}

/// Says that the token has ended, or ends soon.
pub(super) fn expiry_warning(day: Option<&str>, now: Timestamp) -> Option<String> {
    let day = day?;
    let left = days_left(day, now)?;
    match left {
        ..=0 => Some(format!("The token expired on {day}. Replace it")),
        1 => Some(format!("The token expires on {day}, in 1 day. Replace it before then")),
        2..=SOON => {
            Some(format!("The token expires on {day}, in {left} days. Replace it before then"))
        }
        _ => None,
    }
}

/// Which field an error of GitLab is about, and what to say there.
fn about(error: Error) -> Refusal {
    let (field, problem) = match error {
        Error::TokenRejected { message } => (
            "token",
            format!("GitLab rejects the token ({message}): it is wrong, expired or revoked"),
        ),
        Error::ScopeMissing { message } => {
            ("token", format!("The token lacks the scope api. GitLab says: {message}"))
        }
        Error::Forbidden { message } => {
            ("token", format!("The token may not use the API. GitLab says: {message}"))
        }
        Error::NotFound { message } => (
            "api_host",
            format!(
                "The server answered {message}. This is not the base URL of a GitLab server; a \
                 path may be missing, as in https://host/gitlab"
            ),
        ),
        Error::RateLimited { .. } | Error::NoArchive { .. } => return Refusal::from(error),
        Error::Unavailable { message, .. } => ("api_host", message),
        Error::Conflict { message } | Error::Refused { message, .. } => {
            ("api_host", format!("The server did not answer as GitLab does: {message}"))
        }
    };
    Refusal::fields(Errors::from([(field.to_owned(), problem)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(scopes: &[&str], expires_at: Option<&str>, active: Option<bool>) -> TokenSelf {
        TokenSelf {
            name: None,
            scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
            expires_at: expires_at.map(str::to_owned),
            active,
            user_id: None,
        }
    }

    #[test]
    fn what_is_wrong_with_a_token_is_said() {
        let now: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let said: Vec<String> = [
            token(&["api"], None, None),
            token(&["api", "sudo"], Some("2027-11-22"), Some(true)),
            token(&["api"], Some("2026-12-01"), Some(true)),
            token(&["api"], Some("2026-11-22"), None),
            token(&["api"], None, Some(false)),
            token(&["read_api", "read_repository"], None, Some(true)),
            token(&["granular"], None, Some(true)),
            token(&[], None, Some(true)),
        ]
        .into_iter()
        .map(|token| {
            let mut warnings = Vec::new();
            match check_token(token, now, &mut warnings) {
                Ok(_) => format!("ok {warnings:?}"),
                Err(problem) => problem,
            }
        })
        .collect();
        insta::assert_snapshot!(said.join("\n"), @r#"
        ok []
        ok ["The token has more access than it needs: sudo"]
        ok ["The token expires on 2026-12-01, in 9 days. Replace it before then"]
        The token expired on 2026-11-22. Create a new one in GitLab.
        The token is revoked or has expired. Create a new one in GitLab.
        The token lacks the scope api (it has: read_api, read_repository), so it can only read
        The token lacks the scope api (it has: granular), so it cannot use the API
        The token lacks the scope api (it has: none), so it cannot use the API
        "#);
    }
}
