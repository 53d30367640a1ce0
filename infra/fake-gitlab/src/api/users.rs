//! `/version`, `/metadata`, `/user`, `/users`, `/personal_access_tokens/self`.

use serde_json::json;

use super::answer::{Answer, ApiResult, Refusal};
use super::{Call, paging};
use crate::model::{State, UserId};

const REVISION: &str = "fa4e0c1d2b3";

pub(crate) fn version(state: &State, call: &Call) -> ApiResult {
    call.user()?;
    let version = state.config.version.to_string();
    Ok(Answer::ok(json!({ "version": version, "revision": REVISION })))
}

pub(crate) fn metadata(state: &State, call: &Call) -> ApiResult {
    state.since(15, 2)?;
    call.user()?;
    let version = &state.config.version;
    let mut body = json!({ "version": version.to_string(), "revision": REVISION });
    if version.at_least(15, 6) {
        body["enterprise"] = json!(version.is_enterprise());
    }
    Ok(Answer::ok(body))
}

pub(crate) fn me(state: &State, call: &Call) -> ApiResult {
    let id = call.user()?;
    let user = state.user(id);
    let mut body = state.user_json(id);
    body["email"] = json!(user.email());
    body["bot"] = json!(user.bot);
    Ok(Answer::ok(body))
}

pub(crate) fn list(state: &State, call: &Call) -> ApiResult {
    call.user()?;
    let wanted = call.params.filled("username");
    let fits = |name: &str| wanted.as_deref().is_none_or(|text| text.eq_ignore_ascii_case(name));
    let users = state.users.values().filter(|user| fits(&user.username));
    paging::page(call, users.map(|user| user.id).collect(), |id| state.user_json(id))
}

pub(crate) fn get(state: &State, call: &Call, id: &str) -> ApiResult {
    call.user()?;
    let id = id.parse().map(UserId).map_err(|_| Refusal::invalid("id"))?;
    let user = state.users.get(&id).ok_or_else(|| Refusal::not_found("User"))?;
    let mut body = state.user_json(user.id);
    body["bot"] = json!(user.bot);
    Ok(Answer::ok(body))
}

pub(crate) fn own_token(state: &State, call: &Call) -> ApiResult {
    state.since(15, 5)?;
    // The token of an application is none of these.
    let personal = |value: &str| state.tokens.iter().any(|token| token.value == value);
    let token = call.token.as_ref().filter(|token| personal(&token.value));
    let token = token.ok_or_else(Refusal::unauthorized)?;
    Ok(Answer::ok(json!({
        "name": "token",
        "scopes": token.scopes,
        "user_id": token.user,
        "active": true,
        "expires_at": token.expires_at.map(|day| day.to_string()),
    })))
}

impl State {
    /// Refuses an endpoint that the pretended version does not have yet.
    fn since(&self, major: u32, minor: u32) -> Result<(), Refusal> {
        match self.config.version.at_least(major, minor) {
            true => Ok(()),
            false => Err(Refusal::error(404, "404 Not Found")),
        }
    }
}
