//! Who is signed in: the session's cookie, and what pages know of its key.

use super::show::Moment;
use crate::{access::Caller, app::App, people, refusal::Refusal, stacks};
use axum::http::{HeaderMap, HeaderValue, header};
use gantry_domain::{rights::Right, text::counted};
use gantry_secrets::Session;
use gantry_store::{keys, scheduler::GivenUp};
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
    /// Whoever has this session.
    pub(super) fn new(app: &App, caller: Caller, session: &Session) -> Self {
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

/// Who is signed in; none when nobody is, the key was deleted, or the person's session has ended.
pub(super) async fn viewer(app: &App, headers: &HeaderMap) -> Result<Option<Viewer>, Refusal> {
    let Some(session) = session(app, headers) else { return Ok(None) };
    let (caller, given_up) = if people::is_persons(&session) {
        let someone = people::someone(app, &session).await?;
        let given_up = match someone.as_ref().is_some_and(|someone| someone.person.admin) {
            true => app.store.get::<GivenUp>(&keys::given_up()).await?.map(|found| found.value),
            false => None,
        };
        (someone.map(|someone| Caller::of_person(someone, session.key.clone())), given_up)
    } else {
        let (key, given_up) = app.store.admin_key_and_given_up(&session.key).await?;
        (key.map(|key| Caller::of_key(key, session.key.clone())), given_up)
    };
    let Some(caller) = caller else { return Ok(None) };
    let unconfirmed = stacks::unconfirmed(app, &caller).await?;
    let given_up = given_up.filter(|_| caller.may(Right::Admin)).map(|found| GivenUpView {
        messages: counted(usize::try_from(found.count).unwrap_or(usize::MAX), "message"),
        since: Moment::at(found.since, app.clock.now()),
    });
    Ok(Some(Viewer { unconfirmed, given_up, ..Viewer::new(app, caller, &session) }))
}

/// A cookie that only this origin's requests carry, and no script reads.
pub(super) fn cookie(app: &App, name: &str, value: &str, seconds: i64) -> HeaderValue {
    let secure = match &app.public_url {
        Some(url) if url.as_str().starts_with("https://") => "; Secure",
        _ => "",
    };
    let text = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
