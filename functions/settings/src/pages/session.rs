//! Who is signed in: the session's cookie, and what pages know of its key.

use super::show::Moment;
use crate::{
    access::{self, Caller},
    app::App,
    refusal::Refusal,
    stacks,
};
use axum::http::{HeaderMap, HeaderValue, header};
use gantry_domain::text::counted;
use gantry_secrets::{SESSION_COOKIE, Session};
use gantry_store::config::{AdminKey, Role};
use secrecy::ExposeSecret as _;

/// Somebody who is signed in, as pages need them.
#[derive(Debug, Clone)]
pub(crate) struct Viewer {
    pub(super) caller: Caller,
    pub(super) form_token: String,
    /// How many runs need confirmation: at most 100.
    pub(super) unconfirmed: usize,
    /// Messages that were given up, for those who can send them again.
    pub(super) given_up: Option<GivenUpView>,
}

/// Messages that were given up.
#[derive(Debug, Clone)]
pub(super) struct GivenUpView {
    /// `2 messages`.
    pub(super) messages: String,
    pub(super) since: Moment,
}

impl Viewer {
    /// Whoever has a session with this key.
    pub(super) fn new(app: &App, key: AdminKey, session: &Session) -> Self {
        let caller = Caller {
            name: key.name,
            role: key.role,
            digest: session.key.clone(),
            request: access::new_request(),
        };
        let form_token = session.form_token(&app.signer).expose_secret().to_owned();
        Self { caller, form_token, unconfirmed: 0, given_up: None }
    }
}

/// The way from the page at `path` (as the route is written) to `/`. The public address may have
/// a path of its own, so links are relative.
pub(super) fn root_of(path: &str) -> String {
    "../".repeat(path.matches('/').count().saturating_sub(1))
}

/// The session of a request, if its cookie is good.
pub(super) fn session(app: &App, headers: &HeaderMap) -> Option<Session> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    Session::among(&app.signer, cookies, app.clock.now())
}

/// Who is signed in; none when nobody is, or the key was deleted.
pub(super) async fn viewer(app: &App, headers: &HeaderMap) -> Result<Option<Viewer>, Refusal> {
    let Some(session) = session(app, headers) else { return Ok(None) };
    let key = async { Ok(app.store.admin_key_and_given_up(&session.key).await?) };
    let ((key, given_up), unconfirmed) = tokio::try_join!(key, stacks::unconfirmed(app))?;
    let Some(key) = key else { return Ok(None) };
    let given_up = given_up.filter(|_| key.role >= Role::Admin).map(|found| GivenUpView {
        messages: counted(usize::try_from(found.count).unwrap_or(usize::MAX), "message"),
        since: Moment::at(found.since, app.clock.now()),
    });
    Ok(Some(Viewer { unconfirmed, given_up, ..Viewer::new(app, key, &session) }))
}

/// A cookie that only this origin's requests carry, and no script reads.
pub(super) fn cookie(app: &App, value: &str, seconds: i64) -> HeaderValue {
    let secure = match &app.public_url {
        Some(url) if url.as_str().starts_with("https://") => "; Secure",
        _ => "",
    };
    let text = format!(
        "{SESSION_COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"
    );
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
