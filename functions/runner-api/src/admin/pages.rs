//! The same for a stack's page: a session instead of a key, and forms that carry its token.

use super::{
    break_lock,
    caller::{Caller, Holder},
    replace_state, send_of_stack, send_of_test, trouble,
};
use crate::deps::Deps;
use axum::{
    Form,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use gantry_secrets::{SecretName, Session, Signer};
use gantry_setup::web::{ClientAddress, Problem};
use gantry_store::{
    Key,
    keys::{SESSIONS, is_of_person},
};
use serde::Deserialize;
use serde_json::json;

pub(super) async fn download(
    State(deps): State<Deps>,
    address: ClientAddress,
    headers: HeaderMap,
    Path((slug, version)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let (_, key) = session(&deps, &headers, address).await?;
    let body = send_of_stack(&deps, &key, &slug, &version).await?;
    Ok(as_file(body, &slug, &version))
}

pub(super) async fn download_of_test(
    State(deps): State<Deps>,
    address: ClientAddress,
    headers: HeaderMap,
    Path((run, version)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let (_, key) = session(&deps, &headers, address).await?;
    let body = send_of_test(&deps, &key, &run, &version).await?;
    Ok(as_file(body, &run, &version))
}

fn as_file(mut body: Response, name: &str, version: &str) -> Response {
    let name = format!("attachment; filename=\"{name}-{version}.tfstate\"");
    if let Ok(name) = HeaderValue::from_str(&name) {
        body.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    }
    body
}

pub(super) async fn restore(
    State(deps): State<Deps>,
    address: ClientAddress,
    headers: HeaderMap,
    Path(slug): Path<String>,
    Form(form): Form<PageForm>,
) -> Result<Response, Problem> {
    let key = form_of(&deps, &headers, address, &form).await?;
    if form.sure.is_none() {
        let version = form.version.unwrap_or_default();
        return Ok(see_other(format!("../restore?version={version}")));
    }
    let body = json!({ "restore": form.version.unwrap_or_default() }).to_string();
    let done = replace_state(&deps, &key, &slug, body.into(), false).await;
    Ok(back(&slug, done.map(drop)))
}

pub(super) async fn unlock(
    State(deps): State<Deps>,
    address: ClientAddress,
    headers: HeaderMap,
    Path(slug): Path<String>,
    Form(form): Form<PageForm>,
) -> Result<Response, Problem> {
    let key = form_of(&deps, &headers, address, &form).await?;
    if form.sure.is_none() {
        return Ok(see_other("../unlock".to_owned()));
    }
    let done = break_lock(&deps, &key, &slug).await;
    Ok(back(&slug, done))
}

/// A form of the stack's page.
#[derive(Deserialize)]
pub(super) struct PageForm {
    #[serde(rename = "_token")]
    token: String,
    version: Option<u64>,
    /// Somebody has read the page that asks whether it is meant: settings shows it.
    sure: Option<String>,
}

/// Who sent a form of a page, when it is one of their own session.
async fn form_of(
    deps: &Deps,
    headers: &HeaderMap,
    address: ClientAddress,
    form: &PageForm,
) -> Result<Caller, Problem> {
    let (session, key) = session(deps, headers, address).await?;
    let signer = signer(deps).await?;
    let site = headers.get("sec-fetch-site").and_then(|site| site.to_str().ok());
    let is_from_here = site.is_none_or(|site| matches!(site, "same-origin" | "none"));
    if is_from_here && session.is_form_token(&signer, &form.token) {
        return Ok(key);
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "The form has expired",
        "Nothing was changed. Reload the page and try again.",
    ))
}

async fn session(
    deps: &Deps,
    headers: &HeaderMap,
    ClientAddress(address): ClientAddress,
) -> Result<(Session, Caller), Problem> {
    let signer = signer(deps).await?;
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let refused = || Problem::new(StatusCode::UNAUTHORIZED, "Not signed in", "Sign in to do this.");
    let session = Session::among(&signer, cookies, deps.clock.now()).ok_or_else(refused)?;
    if is_of_person(&session.key) {
        let place = Key::new(SESSIONS, session.key.clone());
        let caller = Caller::of_person(deps, &place, Holder::Person, address).await?;
        return Ok((session, caller.ok_or_else(refused)?));
    }
    let key = deps.store.admin_key_by_digest(&session.key).await;
    let key = key.map_err(|error| Problem::internal(&error))?.ok_or_else(refused)?;
    Ok((session, Caller::of_key(key, address)))
}

async fn signer(deps: &Deps) -> Result<Signer, Problem> {
    let keys = deps.secrets.get(SecretName::SigningKeys).await;
    let keys = keys.map_err(|error| Problem::internal(&error))?;
    keys.map(|keys| Signer::new(&keys)).ok_or_else(trouble)
}

/// Back to the stack's page. Why something was refused stands in the list of activities, which
/// the page looks up.
fn back(slug: &str, done: Result<(), Problem>) -> Response {
    let word = if done.is_ok() { "done" } else { "refused" };
    see_other(format!("../../{slug}?state={word}#state"))
}

fn see_other(to: String) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response()
}
