//! `/version`, `/metadata`, `/user`, `/users`, `/personal_access_tokens/self`.

use serde_json::{Value, json};

use super::Call;
use super::answer::{Answer, ApiResult, Refusal};
use super::shapes::api_time;
use crate::model::{State, Token};

pub(crate) fn route(state: &mut State, call: &Call, path: &[&str]) -> Option<ApiResult> {
    let version = &state.config.version;
    let since = |major, minor, result: ApiResult| match version.at_least(major, minor) {
        true => result,
        false => Err(Refusal::too_old()),
    };
    let body = || json!({ "version": version.to_string(), "revision": "fa4e0c1d2b3" });
    Some(match (call.method.as_str(), path) {
        ("GET", ["version"]) => call.user().map(|_| Answer::ok(body())),
        ("GET", ["metadata"]) => since(15, 2, call.user().map(|_| metadata(state))),
        ("GET", ["user"]) => me(state, call),
        ("GET", ["users"]) => users(state, call),
        ("GET", ["personal_access_tokens", "self"]) => {
            since(15, 5, own_token(state, call).map(|token| Answer::ok(token_json(token))))
        }
        ("POST", ["personal_access_tokens", "self", "rotate"]) if version.at_least(16, 10) => {
            rotate(state, call)
        }
        ("POST", ["personal_access_tokens", "self", "rotate"]) => Err(Refusal::too_old()),
        _ => return None,
    })
}

fn metadata(state: &State) -> Answer {
    let mut body = json!({
        "version": state.config.version.to_string(),
        "revision": "fa4e0c1d2b3",
        "kas": { "enabled": false, "externalUrl": null, "version": null },
    });
    if state.config.version.at_least(15, 6) {
        body["enterprise"] = json!(state.config.version.is_enterprise());
    }
    Answer::ok(body)
}

fn me(state: &State, call: &Call) -> ApiResult {
    let id = call.user()?;
    let user = state.user(id);
    let mut body = state.user_json(id);
    body["email"] = json!(user.email());
    body["bot"] = json!(user.bot);
    body["is_admin"] = json!(user.admin);
    Ok(Answer::ok(body))
}

fn users(state: &State, call: &Call) -> ApiResult {
    call.user()?;
    let wanted = call.params.filled("username");
    let matches =
        |name: &str| wanted.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(name));
    let found: Vec<_> =
        state.users.values().filter(|user| matches(&user.username)).map(|user| user.id).collect();
    super::paging::page(call, found, |id| state.user_json(id))
}

fn own_token<'a>(state: &'a State, call: &Call) -> Result<&'a Token, Refusal> {
    let id = call.auth.token.ok_or_else(Refusal::unauthorized)?;
    state.tokens.iter().find(|token| token.id == id).ok_or_else(Refusal::unauthorized)
}

fn token_json(token: &Token) -> Value {
    json!({
        "id": token.id,
        "name": token.name,
        "description": null,
        "revoked": token.revoked,
        "created_at": api_time(token.created_at),
        "scopes": token.scopes,
        "user_id": token.user,
        "last_used_at": token.last_used_at.map(api_time),
        "active": !token.revoked,
        "expires_at": token.expires_at.map(|day| day.to_string()),
    })
}

/// The old token dies at once; the new one lives a week unless the caller says otherwise.
fn rotate(state: &mut State, call: &Call) -> ApiResult {
    let old = own_token(state, call)?.clone();
    if !call.auth.has_scope("api") && !call.auth.has_scope("self_rotate") {
        return Err(Refusal::forbidden());
    }
    let given = call.params.filled("expires_at");
    let day = match given {
        Some(text) => text.parse().map_err(|_| Refusal::invalid("expires_at"))?,
        None => {
            let today = state.now().to_zoned(jiff::tz::TimeZone::UTC).date();
            today.saturating_add(jiff::Span::new().days(7))
        }
    };
    let scopes: Vec<&str> = old.scopes.iter().map(String::as_str).collect();
    let value = state.create_token(old.user, &old.name, &scopes, Some(day));
    for token in &mut state.tokens {
        token.revoked |= token.id == old.id;
    }
    let new = state.tokens.iter().find(|token| token.value == value);
    let mut body = new.map(token_json).unwrap_or_default();
    body["token"] = json!(value);
    Ok(Answer::ok(body).wrote("rotated the token"))
}
