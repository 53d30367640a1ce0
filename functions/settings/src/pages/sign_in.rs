//! Signing in with an admin key, and out again.

use super::{
    fields::Fields,
    go_to,
    guard::{LARGEST, is_from_here},
    respond,
    session::{Viewer, cookie},
    shell::{self, Frame, Shell},
    show::encoded,
};
use crate::{
    access::{self, Asked},
    app::App,
    form::Params,
    refusal::{Answer, Refusal},
};
use askama::Template;
use axum::{
    body::{Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
};
use gantry_secrets::{HandedBack, SESSION_LASTS, Session};
use gantry_setup::web::ClientAddress;
use gantry_store::config::admin_key_digest;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

/// Wrong keys that one address may try in a minute.
const TRIES_A_MINUTE: u32 = 5;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn {
    shell: Shell,
    /// Where to go afterwards, relative to `/`.
    next: String,
    problem: Option<String>,
    /// Something was sent, and was not done.
    unsent: bool,
    /// The fields that were sent, sealed.
    kept: String,
}

/// What was sent before, to be sent again.
#[derive(Template)]
#[template(path = "send_again.html")]
struct SendAgain {
    shell: Shell,
    next: String,
    /// The fields, sealed for the session.
    kept: String,
}

/// The field in which a form that was sent without a session is sent again.
const AGAIN: &str = "_again";

/// Hands a form back to somebody without a session, who signs in next.
fn before_the_session(app: &App, next: &str) -> HandedBack {
    HandedBack::at(&app.sealer, &["sign-in", next])
}

/// The form that is sent again after the sign-in, if it is one: what its fields were.
pub(super) fn sent_again(
    app: &App,
    viewer: &Viewer,
    form: &str,
    fields: &Fields,
) -> Option<Answer<Fields>> {
    let sealed = Some(fields.text(AGAIN)).filter(|sealed| !sealed.is_empty())?;
    let place = HandedBack::at(&app.sealer, &[&viewer.form_token, form]);
    let read = |typed: SecretString| Fields::read(typed.expose_secret().as_bytes());
    let opened = place.open(AGAIN, sealed, app.clock.now());
    Some(opened.map(|typed| read(typed).of_no_session()).map_err(|_| {
        Refusal::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "What you typed is no longer kept",
            "Nothing was changed. Open the form and fill it in again.",
        )
    }))
}

#[derive(Deserialize)]
pub(crate) struct NextQuery {
    next: Option<String>,
}

/// To the sign-in, remembering where somebody wanted to go.
pub(super) fn send_there(root: &str, headers: &HeaderMap, uri: &Uri) -> Response {
    let mut next = below(root, uri).join("/");
    if let Some(query) = uri.query() {
        next = format!("{next}?{query}");
    }
    let to = address(root, &next);
    if headers.contains_key("hx-request") {
        let to = HeaderValue::from_str(&to).unwrap_or_else(|_| HeaderValue::from_static("/"));
        return (StatusCode::NO_CONTENT, [("hx-redirect", to)]).into_response();
    }
    go_to(&to)
}

/// The sign-in that leads to `next`, which is below the root.
pub(super) fn address(root: &str, next: &str) -> String {
    format!("{root}sign-in?next={}", encoded(next))
}

/// The parts of an address below `/`, whatever path the public address has before it.
pub(super) fn below<'a>(root: &str, uri: &'a Uri) -> Vec<&'a str> {
    let depth = root.matches("../").count() + 1;
    let segments: Vec<&str> = uri.path().split('/').collect();
    segments[segments.len().saturating_sub(depth)..].to_vec()
}

/// The sign-in in place of what was sent without a session: it was not done. What was typed into a
/// form of this site is kept, to be sent again; a button leads back to its page.
pub(super) async fn instead(app: &App, root: &str, is_form: bool, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let sent = match is_form && is_from_here(&parts.headers) {
        true => to_bytes(body, LARGEST).await.unwrap_or_default(),
        false => Bytes::new(),
    };
    let mut next = below(root, &parts.uri);
    if !is_form {
        next.pop();
    }
    let next = next.join("/");
    let seal = || {
        let (place, sent) = (before_the_session(app, &next), String::from_utf8_lossy(&sent));
        place.seal(AGAIN, &sent, app.clock.now(), SESSION_LASTS)
    };
    let kept = if sent.is_empty() { String::new() } else { seal().unwrap_or_default() };
    let frame = Frame { root: root.to_owned(), viewer: None, here: None, done: None };
    let page =
        SignIn { shell: frame.shell("", "Sign in"), next, problem: None, unsent: true, kept };
    respond(StatusCode::UNAUTHORIZED, &page)
}

/// `GET /sign-in`
pub(crate) async fn show(frame: Frame, Params(query): Params<NextQuery>) -> Response {
    let next = safe(query.next.as_deref().unwrap_or_default());
    let shell = frame.shell("", "Sign in");
    let (problem, unsent, kept) = (None, false, String::new());
    respond(StatusCode::OK, &SignIn { shell, next, problem, unsent, kept })
}

/// `POST /sign-in`
pub(crate) async fn try_key(
    State(app): State<App>,
    frame: Frame,
    address: ClientAddress,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let fields = Fields::read(body.get(..4 * LARGEST).unwrap_or(&body));
    match begin(&app, &frame, &address, &fields, is_from_here(&headers)).await {
        Ok(response) => response,
        Err(refusal) => shell::refusal(&frame.root, None, refusal.into_response()),
    }
}

async fn begin(
    app: &App,
    frame: &Frame,
    address: &ClientAddress,
    fields: &Fields,
    is_from_here: bool,
) -> Answer<Response> {
    let next = safe(fields.text("next"));
    // Another site could have something of its own sent in somebody's name.
    let kept = Some(fields.text("kept")).filter(|_| is_from_here && !next.is_empty());
    let kept = kept.unwrap_or_default();
    let again = |status, problem: &str| {
        let page = SignIn {
            shell: frame.shell("", "Sign in"),
            next: next.clone(),
            problem: Some(problem.to_owned()),
            unsent: false,
            kept: kept.to_owned(),
        };
        respond(status, &page)
    };
    let now = app.clock.now();
    if app.store.wrong_keys(&address.0, now).await? >= TRIES_A_MINUTE {
        let mut slow = again(
            StatusCode::TOO_MANY_REQUESTS,
            "Too many wrong keys from your address. Wait a minute.",
        );
        slow.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("60"));
        return Ok(slow);
    }
    let secret = fields.text("key").trim();
    let Some(key) = app.store.admin_key(secret).await? else {
        app.store.count_wrong_key(&address.0, now).await?;
        tracing::warn!(client = address.0, "somebody tried to sign in with an invalid key");
        return Ok(again(StatusCode::UNAUTHORIZED, "That key is not valid."));
    };
    let session = Session::begin(admin_key_digest(secret), now);
    let value = session.to_cookie(&app.signer);
    let viewer = Viewer::new(app, key, &session);
    let caller = viewer.caller.clone();
    let mut response = match before_the_session(app, &next).open(AGAIN, kept, now) {
        Err(_) => {
            go_to(&format!("{}{next}", if frame.root.is_empty() { "./" } else { &frame.root }))
        }
        Ok(typed) => {
            let place = HandedBack::at(&app.sealer, &[&viewer.form_token, &next]);
            let kept = place.seal(AGAIN, typed.expose_secret(), now, SESSION_LASTS)?;
            let frame = Frame { viewer: Some(viewer), ..frame.clone() };
            let shell = frame.shell("", "Signed in");
            respond(StatusCode::OK, &SendAgain { shell, next, kept })
        }
    };
    let (what, address) = ("sign in".to_owned(), address.0.clone());
    let asked = Asked { what, address, ..Asked::default() };
    access::record(app, &caller, asked, access::ending(&response)).await;
    let cookie = cookie(app, value.expose_secret(), SESSION_LASTS.as_secs());
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}

/// `POST /sign-out`
pub(crate) async fn leave(State(app): State<App>, frame: Frame) -> Response {
    let mut response = go_to(&format!("{}sign-in", frame.root));
    response.headers_mut().insert(header::SET_COOKIE, cookie(&app, "", 0));
    response
}

/// A way below `/` that stays below it; the overview when it would lead elsewhere.
fn safe(next: &str) -> String {
    let leads_away = next.starts_with(['/', '\\'])
        || next.contains("//")
        || next.contains('\\')
        || next.contains("..")
        || next.split(['/', '?', '#']).next().is_some_and(|first| first.contains(':'))
        || next.chars().any(char::is_control);
    if leads_away { String::new() } else { next.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_stays_here() {
        for kept in ["", "stacks/network", "runs/r1?action=create", "events?project=7"] {
            assert_eq!(safe(kept), kept);
        }
        for away in [
            "//evil",
            "/\\evil",
            "https://evil",
            "javascript:alert(1)",
            "\\evil",
            "a//evil",
            "../x",
        ] {
            assert_eq!(safe(away), "", "{away}");
        }
    }

    #[test]
    fn somebody_is_sent_to_sign_in_and_back() {
        let to = |root: &str, uri: &str| {
            let response = send_there(root, &HeaderMap::new(), &uri.parse().unwrap());
            response.headers()[header::LOCATION].to_str().unwrap().to_owned()
        };
        assert_eq!(to("", "/"), "sign-in?next=");
        assert_eq!(to("../", "/runs/r1?a=b"), "../sign-in?next=runs%2Fr1%3Fa%3Db");
        assert_eq!(to("../../", "/prod/stacks/net/edit"), "../../sign-in?next=stacks%2Fnet%2Fedit");
    }
}
