//! `/version`, `/metadata`, `/user`, `/personal_access_tokens/self`.

use serde_json::json;

use super::Call;
use super::answer::{Answer, ApiResult, Refusal};
use crate::model::State;

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

pub(crate) fn own_token(state: &State, call: &Call) -> ApiResult {
    state.since(15, 5)?;
    let token = call.token.as_ref().ok_or_else(Refusal::unauthorized)?;
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
