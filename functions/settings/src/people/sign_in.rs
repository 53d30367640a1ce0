//! Signing in with GitLab, and out again.

use super::{
    Someone, fresh,
    settings::{provider_and_settings, seen_working},
};
use crate::{
    app::App,
    refusal::{Answer, Refusal},
};
use axum::http::StatusCode;
use gantry_gitlab::Error;
use gantry_secrets::{HandedBack, PersonTokens, SESSION_LASTS, Session};
use gantry_sign_in::SignInError;
use gantry_store::{
    Expect, Outcome, Write,
    config::{Person, PersonSession},
    keys,
};
use jiff::SignedDuration;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
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
}

/// Somebody is on the way.
pub(crate) struct SetOut {
    /// Where they go next.
    pub(crate) url: Url,
    /// What their browser keeps.
    pub(crate) kept: String,
}

/// Sends somebody to GitLab.
pub(crate) async fn set_out(app: &App, next: &str) -> Answer<SetOut> {
    let Some((settings, provider)) = provider_and_settings(app).await? else {
        return Err(not_offered());
    };
    let begun = provider.begin().await.map_err(refusal)?;
    let on_the_way = OnTheWay {
        state: begun.state.expose_secret().to_owned(),
        nonce: begun.nonce.expose_secret().to_owned(),
        verifier: begun.verifier.expose_secret().to_owned(),
        next: next.to_owned(),
        generation: settings.value.generation,
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

/// Somebody has signed in.
pub(crate) struct Arrived {
    pub(crate) session: Session,
    pub(crate) someone: Someone,
    /// Where they wanted to go, below `/`.
    pub(crate) next: String,
}

/// Lets somebody in who comes back from GitLab, in the browser that set out.
pub(crate) async fn arrive(
    app: &App,
    kept: Option<&str>,
    arrival: Arrival,
    browser: &str,
    address: &str,
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
    if settings.value.generation != on_the_way.generation {
        return Err(not_from_here());
    }
    let code = arrival.code.unwrap_or_default();
    let (nonce, verifier) =
        (SecretString::from(on_the_way.nonce), SecretString::from(on_the_way.verifier));
    let signed_in = provider.finish(&code, &nonce, &verifier).await.map_err(refusal)?;
    let told = fresh::read(app, &settings.value, &signed_in.tokens.access).await?;
    let told = told.map_err(|error| unread(&error))?;
    let person = Person {
        id: signed_in.id,
        generation: settings.value.generation,
        username: signed_in.username,
        name: signed_in.name,
        admin: told.admin,
        levels: told.levels,
        read_at: told.at,
    };
    fresh::remember(app, &person).await?;
    let session = begin(app, &person, &signed_in.tokens, browser, address).await?;
    seen_working(app, &settings).await?;
    let someone = Someone { person, levels: settings.value.levels, away: None };
    Ok(Arrived { session, someone, next: on_the_way.next })
}

/// Keeps a new session: never one that was there before.
async fn begin(
    app: &App,
    person: &Person,
    tokens: &PersonTokens,
    browser: &str,
    address: &str,
) -> Answer<Session> {
    let now = app.clock.now();
    let key = keys::session(person.id, &Session::new_id());
    let session = Session::begin(key.sk.clone(), now);
    let record = PersonSession {
        person: person.id,
        generation: person.generation,
        begun_at: now,
        expires_at: now + SESSION_LASTS,
        tokens: tokens.seal(&app.sealer, &key.sk)?,
        browser: gantry_domain::text::clean_line(browser, 120),
        address: address.to_owned(),
        asking_until: None,
        away: None,
    };
    let write = Write::put(key, Expect::Absent, &record)?.expires(record.expires_at);
    match app.store.write(vec![write]).await? {
        Outcome::Written => Ok(session),
        Outcome::Stale => Err(Refusal::busy("Try again", "The session was not begun.", 1)),
    }
}

/// Ends a person's session, here and at GitLab. What GitLab says of it does not matter: the token
/// ends by itself within two hours, and nobody has it any more.
pub(crate) async fn leave(app: &App, session: &Session) -> Answer<()> {
    let key = super::record_key(session);
    let Some(found) = app.store.get::<PersonSession>(&key).await? else { return Ok(()) };
    let delete = Write::Delete { key, expect: Expect::Any };
    let _gone_either_way = app.store.write(vec![delete]).await?;
    let tokens = PersonTokens::open(&app.sealer, &session.key, &found.value.tokens);
    if let (Ok(tokens), Ok(Some((_, provider)))) = (tokens, provider_and_settings(app).await) {
        for token in [&tokens.access, &tokens.refresh] {
            if let Err(error) = provider.revoke(token).await {
                tracing::warn!(%error, "a token of a session that has ended was not revoked");
            }
        }
    }
    Ok(())
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
         changed. Nobody was signed in. Begin again.",
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
