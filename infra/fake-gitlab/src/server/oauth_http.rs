//! OAuth and OpenID Connect over HTTP: `/oauth/…` and what is found under `/.well-known/`.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::Response;
use serde_json::{Value, json};

use super::Shared;
use super::http::{Handled, Read, html, plain};
use crate::api::answer::Refusal;
use crate::api::params::Params;
use crate::model::{OauthToken, State};
use crate::pages;
use crate::service::oauth::{OauthError, SCOPES};
use crate::service::signing::SigningKey;

/// Whether a path is one of these.
pub(super) fn serves(path: &str) -> bool {
    path.starts_with("/oauth/")
        || matches!(
            path,
            "/.well-known/openid-configuration" | "/.well-known/oauth-authorization-server"
        )
}

pub(super) fn handle(shared: &Arc<Shared>, read: &Read) -> Handled {
    let params = match params(read) {
        Ok(params) => params,
        Err(refusal) => return Handled::new(plain(refusal.status, &refusal.body, &[]), None),
    };
    let response = shared.with(|state| answer(state, read, &params));
    let unknown = response.is_none();
    let response = response.unwrap_or_else(|| plain(404, "This page does not exist.\n", &[]));
    Handled { unknown, ..Handled::new(response, None) }
}

/// The query of a read; of a write only its body, where secrets belong.
fn params(read: &Read) -> Result<Params, Refusal> {
    let mut params = Params::default();
    let kind = read.header("content-type").unwrap_or_default();
    match read.method.as_str() {
        "POST" if kind.starts_with("application/json") => params.add_json(&read.body)?,
        "POST" => params.add_form(&String::from_utf8_lossy(&read.body)),
        _ => params.add_form(&read.query),
    }
    Ok(params)
}

fn answer(state: &mut State, read: &Read, params: &Params) -> Option<Response<Bytes>> {
    Some(match (read.method.as_str(), read.path.as_str()) {
        ("GET", path) if path.starts_with("/.well-known/") => json(200, &discovery(state)),
        ("GET", "/oauth/discovery/keys") => {
            json(200, &json!({ "keys": [SigningKey::number(state.oauth.signing_key).public] }))
        }
        ("GET" | "HEAD", "/oauth/authorize") => ask(state, params),
        ("POST", "/oauth/authorize") if !read.is_foreign() => decide(state, params),
        ("POST", "/oauth/token") => {
            answered(state.give_tokens(credentials(read, params).as_ref(), params))
        }
        ("GET", "/oauth/token/info") => token_info(state, read),
        ("GET" | "POST", "/oauth/userinfo") => user_info(state, read),
        ("POST", "/oauth/revoke") => answered(revoke(state, read, params)),
        _ => return None,
    })
}

fn json(status: u16, body: &Value) -> Response<Bytes> {
    plain(status, &body.to_string(), &[("cache-control".to_owned(), "no-store".to_owned())])
}

fn answered(result: Result<Value, OauthError>) -> Response<Bytes> {
    match result {
        Ok(body) => json(200, &body),
        Err(error) => json(error.status(), &error.json()),
    }
}

fn redirect(url: String) -> Response<Bytes> {
    plain(302, "", &[("location".to_owned(), url)])
}

fn discovery(state: &State) -> Value {
    let at = |path: &str| format!("{}/oauth/{path}", state.base_url);
    json!({
        "issuer": state.base_url,
        "authorization_endpoint": at("authorize"),
        "token_endpoint": at("token"),
        "revocation_endpoint": at("revoke"),
        "introspection_endpoint": at("introspect"),
        "userinfo_endpoint": at("userinfo"),
        "jwks_uri": at("discovery/keys"),
        "scopes_supported": SCOPES.split(' ').collect::<Value>(),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query", "fragment", "form_post"],
        "grant_types_supported": [
            "authorization_code", "password", "client_credentials", "device_code", "refresh_token",
        ],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "claim_types_supported": ["normal"],
        "claims_supported": [
            "iss", "sub", "aud", "exp", "iat", "sub_legacy", "name", "nickname",
            "preferred_username", "email", "email_verified", "website", "profile", "picture",
            "groups", "groups_direct", "https://gitlab.org/claims/groups/owner",
            "https://gitlab.org/claims/groups/maintainer",
            "https://gitlab.org/claims/groups/developer",
        ],
        "code_challenge_methods_supported": ["plain", "S256"],
    })
}

/// The page on which a person decides. Whatever is wrong with the request is said on a page too,
/// with 200: GitLab sends nobody back before they have decided.
fn ask(state: &State, params: &Params) -> Response<Bytes> {
    html(
        200,
        match state.ask(params) {
            Ok(asked) => pages::oauth::consent(state, &asked, params, None),
            Err(error) => pages::oauth::refused(state, &error),
        },
    )
}

/// What a person decided: to authorize, or, with `_method=delete`, to deny.
fn decide(state: &mut State, params: &Params) -> Response<Bytes> {
    let asked = match state.ask(params) {
        Ok(asked) => asked,
        Err(OauthError { back: Some(back), .. }) => return redirect(back),
        Err(error) => return json(error.status(), &error.json()),
    };
    if params.text("_method").as_deref() == Some("delete") {
        return redirect(asked.denied());
    }
    let user = params.filled("user").and_then(|name| state.user_named(&name));
    let Some(user) = user.map(|user| user.id) else {
        let problem = Some("Choose who you are.");
        return html(422, pages::oauth::consent(state, &asked, params, problem));
    };
    match state.authorize(asked, user) {
        Ok(back) => redirect(back),
        Err(refusal) => plain(refusal.status, &refusal.body, &[]),
    }
}

/// Who a client says that it is: basic authentication counts before the body.
fn credentials(read: &Read, params: &Params) -> Option<(String, String)> {
    let basic = read.header("authorization").and_then(|value| value.strip_prefix("Basic "));
    if let Some(basic) = basic {
        let text = String::from_utf8(STANDARD.decode(basic).ok()?).ok()?;
        return text.split_once(':').map(|(id, secret)| (id.to_owned(), secret.to_owned()));
    }
    Some((params.filled("client_id")?, params.text("client_secret").unwrap_or_default()))
}

/// The token of an application that a request shows.
fn shown<'a>(state: &'a State, read: &Read) -> Option<&'a OauthToken> {
    let value = read.header("authorization")?.strip_prefix("Bearer ")?;
    state.oauth.by_access_token(value)
}

/// Refusals have no body here, only a header.
fn user_info(state: &State, read: &Read) -> Response<Bytes> {
    let refuse = |status: u16, error: &str, description: &str| {
        let value = format!(
            "Bearer realm=\"Doorkeeper\", error=\"{error}\", error_description=\"{description}\""
        );
        plain(status, "", &[("www-authenticate".to_owned(), value)])
    };
    let invalid = |description: &str| refuse(401, "invalid_token", description);
    match shown(state, read) {
        Some(token) if token.revoked => invalid("The access token was revoked"),
        Some(token) if token.is_expired(state.now()) => invalid("The access token expired"),
        Some(token) if !token.has("openid") => {
            refuse(403, "insufficient_scope", "This needs the scope openid")
        }
        Some(token) if !state.user(token.user).blocked => json(200, &state.user_info(token)),
        _ => invalid("The access token is invalid"),
    }
}

fn token_info(state: &State, read: &Read) -> Response<Bytes> {
    let token = shown(state, read).filter(|token| token.is_good(state.now()));
    let Some(token) = token else { return answered(Err(OauthError::new("invalid_request"))) };
    let left = token.expires_at().duration_since(state.now()).as_secs();
    json(
        200,
        &json!({
            "resource_owner_id": token.user,
            "scope": token.scopes,
            "expires_in": left,
            "application": { "uid": state.client_of(token) },
            "created_at": token.created_at.as_second(),
            "scopes": token.scopes,
            "expires_in_seconds": left,
        }),
    )
}

/// Ends a token, by itself or by its refresh token. One that nobody knows is fine.
fn revoke(state: &mut State, read: &Read, params: &Params) -> Result<Value, OauthError> {
    let refused = || OauthError::new("unauthorized_client");
    let (id, secret) = credentials(read, params).ok_or_else(refused)?;
    let client = state.oauth.client(&id, &secret).ok_or_else(refused)?.id;
    let token = state.oauth.by_either(&params.text("token").unwrap_or_default());
    let Some(token) = token else { return Ok(json!({})) };
    if token.application != client {
        return Err(refused());
    }
    let access_token = token.access_token.clone();
    state.oauth.revoke(&access_token);
    Ok(json!({}))
}
