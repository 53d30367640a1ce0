//! Signing in with GitLab or with an admin key, and out again.

use super::{
    account,
    fields::Fields,
    go_to,
    guard::{LARGEST, is_from_elsewhere, is_from_here},
    respond,
    session::{Viewer, cookie, session, viewer},
    shell::{self, Frame, Shell},
    show::encoded,
};
use crate::{
    access::{self, Asked, Caller},
    app::App,
    form::Params,
    people::{self, Arrived, Begun, Here},
    refusal::{Answer, Refusal},
};
use askama::Template;
use axum::{
    body::{Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
};
use gantry_secrets::{HandedBack, SESSION_COOKIE, SESSION_LASTS, Session};
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
    /// The server that people can sign in with.
    gitlab: Option<String>,
    /// Something was sent, and was not done.
    unsent: bool,
    /// The fields that were sent, sealed.
    kept: String,
}

/// For a tab that was opened to sign in, while what was typed waits in another one.
#[derive(Template)]
#[template(path = "signed_in.html")]
struct SignedIn {
    shell: Shell,
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
    let gitlab = offered(app).await;
    let shell = frame.shell("", "Sign in");
    let page = SignIn { shell, next, problem: None, gitlab, unsent: true, kept };
    respond(StatusCode::UNAUTHORIZED, &page)
}

/// `GET /sign-in`
pub(crate) async fn show(
    State(app): State<App>,
    frame: Frame,
    Params(query): Params<NextQuery>,
) -> Response {
    let next = safe(query.next.as_deref().unwrap_or_default());
    let shell = frame.shell("", "Sign in");
    let (problem, gitlab) = (None, offered(&app).await);
    let page = SignIn { shell, next, problem, gitlab, unsent: false, kept: String::new() };
    respond(StatusCode::OK, &page)
}

/// The server that people can sign in with. Trouble counts as none: keys work without it.
async fn offered(app: &App) -> Option<String> {
    let is_offered = people::present(app).await.is_ok_and(|view| view.offered);
    let known = app.store.integration().await.ok().flatten().filter(|_| is_offered)?;
    let host = known.value.api_host;
    Some(host.trim_start_matches("https://").trim_start_matches("http://").to_owned())
}

/// The cookie in which a browser keeps a sign-in that is on its way.
pub(super) const ON_THE_WAY: &str = "gantry_sign_in";

/// `GET /sign-in/gitlab?next=`
pub(crate) async fn to_gitlab(
    State(app): State<App>,
    frame: Frame,
    Params(query): Params<NextQuery>,
) -> Response {
    let next = safe(query.next.as_deref().unwrap_or_default());
    let gone = async {
        let set_out = people::set_out(&app, &next).await?;
        let mut response = go_to(set_out.url.as_str());
        let seconds = people::ON_THE_WAY.as_secs();
        let cookie = cookie(&app, ON_THE_WAY, &set_out.kept, seconds);
        response.headers_mut().insert(header::SET_COOKIE, cookie);
        Answer::Ok(response)
    };
    gone.await.unwrap_or_else(|refusal| shell::refusal(&frame.root, None, refusal.into_response()))
}

/// `GET /sign-in/gitlab/callback?code=&state=`
pub(crate) async fn from_gitlab(
    State(app): State<App>,
    frame: Frame,
    address: ClientAddress,
    headers: HeaderMap,
    Params(arrival): Params<people::Arrival>,
) -> Response {
    let kept = cookies(&headers).find(|(name, _)| *name == ON_THE_WAY).map(|(_, kept)| kept);
    let browser = headers.get(header::USER_AGENT).and_then(|browser| browser.to_str().ok());
    let own = session(&app, &headers);
    let here =
        Here { browser: browser.unwrap_or_default(), address: &address.0, session: own.as_ref() };
    let mut response = match Box::pin(people::arrive(&app, kept, arrival, here)).await {
        Ok(arrived) => welcome(&app, &frame, &headers, &address, arrived).await,
        Err(refusal) => {
            tracing::warn!(client = address.0, outcome = refusal.outcome(), "nobody signed in");
            shell::refusal(&frame.root, None, refusal.into_response())
        }
    };
    // What was kept is good once.
    response.headers_mut().append(header::SET_COOKIE, cookie(&app, ON_THE_WAY, "", 0));
    response
}

/// What somebody came back from GitLab for, with its line in the list of activities.
async fn welcome(
    app: &App,
    frame: &Frame,
    headers: &HeaderMap,
    address: &ClientAddress,
    Arrived { someone, begun }: Arrived,
) -> Response {
    let (what, record, response) = match begun {
        Begun::Session { session, next } => {
            let value = session.to_cookie(&app.signer);
            let mut response = go_to(&format!("{}{next}", frame.root));
            let cookie =
                cookie(app, SESSION_COOKIE, value.expose_secret(), SESSION_LASTS.as_secs());
            response.headers_mut().append(header::SET_COOKIE, cookie);
            ("sign in with GitLab", session.key, response)
        }
        Begun::Key(made) => {
            let own = session(app, headers).map(|session| session.key);
            let response = account::made(app, frame, headers, made).await;
            ("create a key", own.unwrap_or_default(), response)
        }
    };
    let caller = Caller::of_person(someone, record);
    let asked = Asked { what: what.to_owned(), address: address.0.clone(), ..Asked::default() };
    access::record(app, &caller, asked, access::ending(&response)).await;
    response
}

/// Names and values of a request's cookies.
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(';')).filter_map(|cookie| cookie.trim().split_once('='))
}

/// `POST /sign-in`
pub(crate) async fn try_key(
    State(app): State<App>,
    frame: Frame,
    address: ClientAddress,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    // Another site could sign somebody in with a key of its own, and see what they do with it.
    if is_from_elsewhere(&headers) {
        let refusal = Refusal::new(
            StatusCode::FORBIDDEN,
            "The form is not from this page",
            "Another site sent it. Nobody was signed in. Open this page yourself, and sign in here.",
        );
        return shell::refusal(&frame.root, None, refusal.into_response());
    }
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
    let (next, kept) = handed_over(fields, is_from_here);
    let gitlab = offered(app).await;
    let again = |status, problem: &str| {
        let page = SignIn {
            shell: frame.shell("", "Sign in"),
            next: next.clone(),
            problem: Some(problem.to_owned()),
            gitlab: gitlab.clone(),
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
    let caller = Caller::of_key(key, session.key.clone());
    let viewer = Viewer::new(app, caller.clone(), &session);
    let mut response = lead_on(app, frame, viewer, next, kept)?;
    let (what, address) = ("sign in".to_owned(), address.0.clone());
    let asked = Asked { what, address, ..Asked::default() };
    access::record(app, &caller, asked, access::ending(&response)).await;
    let cookie = cookie(app, SESSION_COOKIE, value.expose_secret(), SESSION_LASTS.as_secs());
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}

/// Where somebody wanted to go, and what they typed, if that is theirs: another site could have
/// something of its own sent in somebody's name.
fn handed_over(fields: &Fields, is_from_here: bool) -> (String, &str) {
    let next = safe(fields.text("next"));
    let kept = Some(fields.text("kept")).filter(|_| is_from_here && !next.is_empty());
    (next, kept.unwrap_or_default())
}

/// Leads somebody who has signed in to where they wanted to go; what they typed is sent again.
fn lead_on(app: &App, frame: &Frame, viewer: Viewer, next: String, kept: &str) -> Answer<Response> {
    let now = app.clock.now();
    let Ok(typed) = before_the_session(app, &next).open(AGAIN, kept, now) else {
        let root = if frame.root.is_empty() { "./" } else { &frame.root };
        return Ok(go_to(&format!("{root}{next}")));
    };
    let place = HandedBack::at(&app.sealer, &[&viewer.form_token, &next]);
    let kept = place.seal(AGAIN, typed.expose_secret(), now, SESSION_LASTS)?;
    let frame = Frame { viewer: Some(viewer), ..frame.clone() };
    let shell = frame.shell("", "Signed in");
    Ok(respond(StatusCode::OK, &SendAgain { shell, next, kept }))
}

/// `GET /sign-in/back`
pub(crate) async fn signed_in(frame: Frame) -> Response {
    respond(StatusCode::OK, &SignedIn { shell: frame.shell("", "Signed in") })
}

/// `POST /sign-in/again`: goes on with what was typed, in the session that was begun in another tab.
pub(crate) async fn go_on(
    State(app): State<App>,
    frame: Frame,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let fields = Fields::read(body.get(..4 * LARGEST).unwrap_or(&body));
    let (next, kept) = handed_over(&fields, is_from_here(&headers));
    // Nobody comes back to this address.
    let frame = Frame { here: None, ..frame };
    let gone_on = async {
        let Some(viewer) = viewer(&app, &headers).await? else {
            let (shell, gitlab) = (frame.shell("", "Sign in"), offered(&app).await);
            let kept = kept.to_owned();
            let page = SignIn { shell, next, problem: None, gitlab, unsent: true, kept };
            return Answer::Ok(respond(StatusCode::UNAUTHORIZED, &page));
        };
        lead_on(&app, &frame, viewer, next, kept)
    };
    let gone_on = gone_on.await;
    gone_on.unwrap_or_else(|refusal| shell::refusal(&frame.root, None, refusal.into_response()))
}

/// `POST /sign-out`
pub(crate) async fn leave(
    State(app): State<App>,
    frame: Frame,
    headers: HeaderMap,
) -> Answer<Response> {
    if let Some(session) = session(&app, &headers).filter(people::is_persons) {
        people::leave(&app, &session).await?;
    }
    let mut response = go_to(&format!("{}sign-in", frame.root));
    response.headers_mut().insert(header::SET_COOKIE, cookie(&app, SESSION_COOKIE, "", 0));
    Ok(response)
}

/// The longest way back. A browser keeps it, sealed, while its person is at GitLab, and browsers keep
/// at most 4 kB at once.
const LONGEST_WAY: usize = 1_500;

/// A way below `/` that stays below it; the overview when it would lead elsewhere.
fn safe(next: &str) -> String {
    // A browser takes an encoded dot for a dot.
    let path = next.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    let leads_away = next.len() > LONGEST_WAY
        || path.contains("%2e")
        || next.starts_with(['/', '\\'])
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
        for kept in ["", "stacks/network", "runs/r1?action=create", "runs?branch=v1%2e2"] {
            assert_eq!(safe(kept), kept);
        }
        let long = "x".repeat(LONGEST_WAY + 1);
        for away in [
            "//evil",
            "/\\evil",
            "https://evil",
            "javascript:alert(1)",
            "\\evil",
            "a//evil",
            "../x",
            "%2e%2e/%2E./x",
            "stacks/.%2e/%2E%2e/x?a",
            "runs?branch=%0Aevil\n",
            long.as_str(),
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
