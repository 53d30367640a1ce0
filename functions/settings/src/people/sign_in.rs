//! Signing in with GitLab, for a session at the pages or for a key.

use super::{
    Someone, fresh,
    key::{self, MadeKey, Wanted},
    sessions,
    settings::{provider_and_settings, seen_working},
};
use crate::{
    access::Caller,
    app::App,
    refusal::{Answer, Refusal},
};
use axum::http::StatusCode;
use gantry_gitlab::Error;
use gantry_secrets::{HandedBack, PersonTokens, SESSION_LASTS, Session};
use gantry_sign_in::{SignInError, SignedIn};
use gantry_store::{
    Expect, Key, Outcome, Stored, Write,
    config::{Person, PersonSession, SignIn},
    keys,
};
use jiff::SignedDuration;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use subtle::ConstantTimeEq as _;
use url::Url;

/// How long somebody may take at GitLab.
pub(crate) const ON_THE_WAY: SignedDuration = SignedDuration::from_mins(10);

/// Where what is remembered of a sign-in on its way is sealed for.
const PLACE: &[&str] = &["on the way to GitLab"];
const FIELD: &str = "sign-in";

/// What the browser keeps, sealed, while its person is at GitLab.
#[derive(Serialize, Deserialize)]
struct OnTheWay {
    state: String,
    nonce: String,
    verifier: String,
    /// Where they wanted to go, below `/`.
    next: String,
    /// The link that it is of: an answer of another server is none.
    generation: u32,
    /// The key that they asked for; none where they sign in.
    #[serde(default)]
    key: Option<Wanted>,
}

/// Somebody is on the way.
pub(crate) struct SetOut {
    /// Where they go next.
    pub(crate) url: Url,
    /// What their browser keeps.
    pub(crate) kept: String,
}

/// Sends somebody to GitLab, to sign in.
pub(crate) async fn set_out(app: &App, next: &str) -> Answer<SetOut> {
    send(app, next.to_owned(), None).await
}

/// Sends somebody who is signed in to GitLab, for a key.
pub(crate) async fn set_out_for_key(
    app: &App,
    caller: &Caller,
    body: Map<String, Value>,
) -> Answer<SetOut> {
    let wanted = key::read(app, caller, body).await?;
    send(app, String::new(), Some(wanted)).await
}

async fn send(app: &App, next: String, key: Option<Wanted>) -> Answer<SetOut> {
    let Some((settings, provider)) = provider_and_settings(app).await? else {
        return Err(not_offered());
    };
    let begun = provider.begin().await.map_err(refusal)?;
    let on_the_way = OnTheWay {
        state: begun.state.expose_secret().to_owned(),
        nonce: begun.nonce.expose_secret().to_owned(),
        verifier: begun.verifier.expose_secret().to_owned(),
        next,
        generation: settings.value.generation,
        key,
    };
    let text = serde_json::to_string(&on_the_way).unwrap_or_default();
    let place = HandedBack::at(&app.sealer, PLACE);
    let kept = place.seal(FIELD, &text, app.clock.now(), ON_THE_WAY)?;
    Ok(SetOut { url: begun.url, kept })
}

/// What GitLab sends somebody back with.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Arrival {
    pub(crate) code: Option<String>,
    pub(crate) state: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) error_description: Option<String>,
}

/// The browser that somebody comes back to.
pub(crate) struct Here<'a> {
    /// As it calls itself.
    pub(crate) browser: &'a str,
    pub(crate) address: &'a str,
    /// The session that it has already.
    pub(crate) session: Option<&'a Session>,
}

/// Somebody came back from GitLab.
pub(crate) struct Arrived {
    pub(crate) someone: Someone,
    pub(crate) begun: Begun,
}

/// What somebody came back for.
pub(crate) enum Begun {
    /// They have signed in.
    Session {
        session: Session,
        /// Where they wanted to go, below `/`.
        next: String,
    },
    /// They have a key.
    Key(MadeKey),
}

/// Lets somebody in who comes back from GitLab, in the browser that set out; who set out for a key
/// gets it in the session that they asked for it in.
pub(crate) async fn arrive(
    app: &App,
    kept: Option<&str>,
    arrival: Arrival,
    here: Here<'_>,
) -> Answer<Arrived> {
    let now = app.clock.now();
    let place = HandedBack::at(&app.sealer, PLACE);
    let opened = kept.and_then(|kept| place.open(FIELD, kept, now).ok());
    let on_the_way: OnTheWay = opened
        .and_then(|text| serde_json::from_str(text.expose_secret()).ok())
        .ok_or_else(not_from_here)?;
    let state = arrival.state.unwrap_or_default();
    if !bool::from(state.as_bytes().ct_eq(on_the_way.state.as_bytes())) {
        return Err(not_from_here());
    }
    if let Some(error) = arrival.error {
        return Err(turned_back(&error, arrival.error_description.as_deref()));
    }
    let Some((settings, provider)) = provider_and_settings(app).await? else {
        return Err(not_offered());
    };
    let OnTheWay { nonce, verifier, next, generation, key, .. } = on_the_way;
    if settings.value.generation != generation {
        return Err(not_from_here());
    }
    if let Some(wanted) = &key {
        is_still_here(app, wanted, here.session).await?;
    }
    let code = arrival.code.unwrap_or_default();
    let (nonce, verifier) = (SecretString::from(nonce), SecretString::from(verifier));
    let signed_in = provider.finish(&code, &nonce, &verifier).await.map_err(refusal)?;
    let arrived = let_in(app, &settings, &signed_in, next, key, &here).await;
    if arrived.is_err() {
        // Nothing of them is kept, so nobody has them.
        sessions::revoke(&provider, &[signed_in.tokens]).await;
    }
    arrived
}

/// A key is made for whoever asked for it, in a session that they still have.
async fn is_still_here(app: &App, wanted: &Wanted, session: Option<&Session>) -> Answer<()> {
    let someone = match session.filter(|session| super::is_persons(session)) {
        Some(session) => fresh::someone(app, session).await?,
        None => None,
    };
    match someone.is_some_and(|someone| someone.person.id == wanted.person) {
        true => Ok(()),
        false => Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "You are no longer signed in here",
            "The session in which you asked for a key has ended, or it is somebody else's. No key \
             was created. Sign in and begin again.",
        )),
    }
}

/// Keeps what somebody came back for, if they are whom it is for.
async fn let_in(
    app: &App,
    settings: &Stored<SignIn>,
    signed_in: &SignedIn,
    next: String,
    key: Option<Wanted>,
    here: &Here<'_>,
) -> Answer<Arrived> {
    if key.as_ref().is_some_and(|wanted| wanted.person != signed_in.id) {
        let detail = format!(
            "At GitLab you are signed in as @{}, and here as somebody else. No key was created. \
             Sign in at GitLab as who you are here, and begin again.",
            signed_in.username
        );
        let title = "GitLab knows you as somebody else";
        return Err(Refusal::new(StatusCode::FORBIDDEN, title, detail).quoting());
    }
    let told = fresh::read(app, &settings.value, &signed_in.tokens.access).await?;
    let told = told.map_err(|error| unread(&error))?;
    let person = Person {
        id: signed_in.id,
        generation: settings.value.generation,
        username: told.username,
        name: told.name,
        admin: told.admin,
        levels: told.levels,
        read_at: told.at,
    };
    fresh::remember(app, &person).await?;
    let begun = match key {
        Some(wanted) => Begun::Key(key::make(app, &person, &signed_in.tokens, wanted, here).await?),
        None => {
            let session = begin(app, &person, &signed_in.tokens, here).await?;
            Begun::Session { session, next }
        }
    };
    seen_working(app, &settings.value).await?;
    let levels = settings.value.levels;
    Ok(Arrived { someone: Someone { person, levels, away: None, key: None }, begun })
}

/// Keeps a new session: never one that was there before.
async fn begin(
    app: &App,
    person: &Person,
    tokens: &PersonTokens,
    here: &Here<'_>,
) -> Answer<Session> {
    sessions::make_room(app, person.id).await?;
    let place = keys::session(person.id, &Session::new_id());
    let session = Session::begin(place.sk.clone(), app.clock.now());
    keep(app, place, person, tokens, SESSION_LASTS, None, here).await?;
    Ok(session)
}

/// Keeps a new session of a person, at the pages or with the key of this name.
pub(super) async fn keep(
    app: &App,
    place: Key,
    person: &Person,
    tokens: &PersonTokens,
    lasts: SignedDuration,
    key: Option<String>,
    here: &Here<'_>,
) -> Answer<PersonSession> {
    let now = app.clock.now();
    let record = PersonSession {
        person: person.id,
        generation: person.generation,
        begun_at: now,
        expires_at: now + lasts,
        tokens: tokens.seal(&app.sealer, &place.sk)?,
        browser: gantry_domain::text::clean_line(here.browser, 120),
        address: here.address.to_owned(),
        asking_until: None,
        away: None,
        key,
        asked_at: Some(person.read_at),
    };
    let write = Write::put(place, Expect::Absent, &record)?.expires(record.expires_at);
    match app.store.write(vec![write]).await? {
        Outcome::Written => Ok(record),
        Outcome::Stale => Err(Refusal::busy("Try again", "The session was not begun.", 1)),
    }
}

fn not_offered() -> Refusal {
    Refusal::conflict(
        "Signing in with GitLab is not set up",
        "Use an access key. An admin can set it up on the page GitLab.",
    )
}

/// One answer for all that is forged, replayed, too late, or of another browser.
fn not_from_here() -> Refusal {
    Refusal::new(
        StatusCode::BAD_REQUEST,
        "This sign-in was not begun here",
        "It was begun in another browser, more than ten minutes ago, or before the settings \
         changed. Nobody was signed in, and no key was created. Begin again.",
    )
}

/// GitLab sent somebody back without a code.
fn turned_back(error: &str, description: Option<&str>) -> Refusal {
    let said = match error {
        "access_denied" => "You did not let Gantry see who you are. Nobody was signed in.".into(),
        "invalid_scope" => "The application in GitLab lacks a scope. It needs openid, profile and \
                            read_api. An admin can add them there."
            .to_owned(),
        _ => {
            let words = gantry_domain::text::clean_line(description.unwrap_or(error), 200);
            format!("GitLab said: {words}")
        }
    };
    Refusal::new(StatusCode::FORBIDDEN, "GitLab did not sign you in", said).quoting()
}

fn refusal(error: SignInError) -> Refusal {
    let (status, more) = match &error {
        SignInError::WrongSecret => (
            StatusCode::BAD_GATEWAY,
            "An admin must enter the application's ID and secret again, on the page GitLab.",
        ),
        SignInError::Refused(_) => (StatusCode::UNAUTHORIZED, "Begin again."),
        SignInError::OtherIssuer { .. } => (StatusCode::BAD_GATEWAY, "An admin must do that."),
        SignInError::NotProven(_) => (StatusCode::UNAUTHORIZED, "Begin again."),
        SignInError::Unavailable(_) => {
            (StatusCode::BAD_GATEWAY, "Try again later, or sign in with an access key.")
        }
    };
    let title = match status {
        StatusCode::BAD_GATEWAY => "GitLab cannot sign you in now",
        _ => "GitLab did not sign you in",
    };
    Refusal::new(status, title, format!("{error}. {more}"))
}

fn unread(error: &Error) -> Refusal {
    Refusal::new(
        StatusCode::BAD_GATEWAY,
        "GitLab did not say what you may do",
        format!("{error}. Nobody was signed in. Try again later."),
    )
}
