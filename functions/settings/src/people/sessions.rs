//! The sessions of people, and their keys, which are sessions too: which there are, and how they end.
//!
//! One that ends is gone at once, here and at GitLab. What names it to people is not what it is used
//! with: nobody signs in with that.

use super::{fresh, label, provider, record_key};
use crate::{
    access::{About, Caller, Holder},
    app::App,
    form::Params,
    refusal::{Answer, Done, Refusal},
};
use axum::{
    Extension, Json,
    extract::{Path, State},
    http::StatusCode,
    response::IntoResponse,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use gantry_domain::{UserId, rights::Right, text::counted};
use gantry_secrets::{PersonTokens, Session};
use gantry_sign_in::Provider;
use gantry_store::{
    Expect, Key, Stored, Write,
    config::{Person, PersonSession},
    keys,
};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeMap, time::Duration};

/// The most sessions that a person has at the pages: whoever begins one more loses the oldest.
const MOST_AT_PAGES: usize = 20;
/// Sessions that are ended side by side.
const AT_ONCE: usize = 8;
/// GitLab is told of the end for so long at most.
const REVOKING: Duration = Duration::from_secs(10);

/// A session of a person: at the pages, or one that is used with a key.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Session")]
pub(crate) struct SessionView {
    /// Names it here. It is good for nothing else.
    pub(crate) id: String,
    /// Whose it is.
    pub(crate) person: SessionPerson,
    /// The key's name; null for a session at the pages.
    pub(crate) key: Option<String>,
    /// When its person signed in, or created the key.
    pub(crate) begun_at: Timestamp,
    /// When it was last used, give or take five minutes.
    pub(crate) last_used_at: Timestamp,
    /// When it ends by itself.
    pub(crate) expires_at: Timestamp,
    /// The browser that it was begun in, as it calls itself.
    pub(crate) browser: String,
    /// The address that it was begun from.
    pub(crate) address: String,
    /// This request uses it.
    pub(crate) current: bool,
}

/// A person who has signed in.
#[derive(Serialize, JsonSchema)]
pub(crate) struct SessionPerson {
    /// GitLab's ID.
    pub(crate) id: UserId,
    /// The user name, without `@`.
    pub(crate) username: String,
    /// The name.
    pub(crate) name: String,
}

/// Sessions of people.
#[derive(Serialize, JsonSchema)]
pub(crate) struct SessionList {
    /// By person, the oldest first.
    sessions: Vec<SessionView>,
}

/// How many were ended.
#[derive(Serialize, JsonSchema)]
pub(crate) struct EndedSessions {
    /// Sessions and keys.
    ended: usize,
}

/// Whose sessions are to be ended.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(crate) struct EndQuery {
    /// Admins only: a person by user name or GitLab's ID, of whom everything is ended. If omitted,
    /// all of your own but the one that this request uses.
    person: Option<String>,
}

/// Whose sessions are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The caller's.
    Own,
    /// All people's: for admins.
    Everybodys,
}

impl Whose {
    /// What the API tells a caller of.
    fn told_to(caller: &Caller) -> Self {
        if caller.may(Right::Admin) { Self::Everybodys } else { Self::Own }
    }
}

/// `GET /api/v1/sessions`
pub(crate) async fn list_sessions(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
) -> Answer<impl IntoResponse> {
    let sessions = listed(&app, &caller, Whose::told_to(&caller)).await?;
    Ok(Json(SessionList { sessions }))
}

/// `DELETE /api/v1/sessions/{id}`
pub(crate) async fn end_session(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer<impl IntoResponse> {
    let words = end_one(&app, &caller, Whose::told_to(&caller), &id).await?;
    Ok((StatusCode::NO_CONTENT, Extension(Done::new(words))))
}

/// `DELETE /api/v1/sessions?person=`
pub(crate) async fn end_sessions(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Params(query): Params<EndQuery>,
) -> Answer<impl IntoResponse> {
    let (ended, words) = match query.person.as_deref() {
        Some(person) => end_everything_of(&app, &caller, person).await?,
        None => end_others(&app, &caller).await?,
    };
    Ok((Extension(Done::new(words)), Json(EndedSessions { ended })))
}

/// The sessions and keys that there are, by person, the oldest first.
pub(crate) async fn listed(app: &App, caller: &Caller, whose: Whose) -> Answer<Vec<SessionView>> {
    let sessions = of(app, caller, whose).await?;
    let wanted: Vec<Key> = people_of(&sessions).map(keys::person).collect();
    let people = app.store.get_many::<Person>(&wanted).await?;
    let people: BTreeMap<UserId, Person> =
        people.into_iter().map(|found| (found.value.id, found.value)).collect();
    let view = |session: &Stored<PersonSession>| {
        SessionView::of(session, people.get(&session.value.person), caller)
    };
    Ok(sessions.iter().map(view).collect())
}

/// Everybody who has signed in with the server that is connected, by name.
pub(crate) async fn everybody(app: &App) -> Answer<Vec<Person>> {
    let Some(settings) = fresh::in_force(app).await? else { return Ok(Vec::new()) };
    let all = app.store.query_all::<Person>(keys::PEOPLE, "").await?;
    let all = all.into_iter().map(|found| found.value);
    let mut all: Vec<Person> =
        all.filter(|person| person.generation == settings.generation).collect();
    all.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
    Ok(all)
}

/// One of the sessions that are meant, by the id that it has in a list.
pub(crate) async fn find(
    app: &App,
    caller: &Caller,
    whose: Whose,
    id: &str,
) -> Answer<SessionView> {
    let found = listed(app, caller, whose).await?.into_iter().find(|session| session.id == id);
    found.ok_or_else(no_session)
}

/// Ends one of the sessions that are meant. Answers what was done, in words.
pub(crate) async fn end_one(app: &App, caller: &Caller, whose: Whose, id: &str) -> Answer<String> {
    let all = of(app, caller, whose).await?;
    let found = all.into_iter().find(|session| id_of(&session.key) == id);
    let found = found.ok_or_else(no_session)?;
    let whom = found.value.person;
    if own(caller).is_none_or(|person| person.id != whom) {
        // Nobody ends what is others' while GitLab cannot say whether they still may.
        caller.check(Right::Admin, About::Installation)?;
    }
    let person = app.store.get::<Person>(&keys::person(whom)).await?;
    let person = person.map(|found| label(&found.value)).unwrap_or_default();
    let words = match &found.value.key {
        Some(key) => format!("ended the key {key:?} of {person}"),
        None => format!("ended a session of {person}"),
    };
    end(app, vec![found]).await?;
    Ok(words)
}

/// Ends all of the caller's own but the one that they use. Answers how many, and that in words.
pub(crate) async fn end_others(app: &App, caller: &Caller) -> Answer<(usize, String)> {
    let mut others = of(app, caller, Whose::Own).await?;
    others.retain(|session| session.key.sk != caller.digest);
    let count = others.len();
    end(app, others).await?;
    Ok((count, format!("ended {}", counted(count, "other session"))))
}

/// Ends everything of a person, for an admin: by user name or ID. Answers how many, and that in
/// words.
pub(crate) async fn end_everything_of(
    app: &App,
    caller: &Caller,
    person: &str,
) -> Answer<(usize, String)> {
    caller.check(Right::Admin, About::Installation)?;
    let all = everybody(app).await?;
    let by_id = all.iter().find(|known| known.id.to_string() == person);
    let name = person.strip_prefix('@').unwrap_or(person);
    let mut by_name = all.iter().filter(|known| known.username.eq_ignore_ascii_case(name));
    let found = match (by_id, by_name.next(), by_name.next()) {
        (Some(found), _, _) | (None, Some(found), None) => found,
        (None, Some(_), Some(_)) => {
            return Err(Refusal::conflict(
                "Several people had this user name",
                "A user name can pass to somebody else. Say whom you mean by GitLab's ID.",
            ));
        }
        (None, None, _) => return Err(Refusal::not_found("person")),
    };
    let sessions = good(app, Some(found.id)).await?;
    let count = sessions.len();
    end(app, sessions).await?;
    Ok((count, format!("ended {} of {}", counted(count, "session"), label(found))))
}

/// Ends every session and every key, where people cannot sign in any more: `provider` is the one
/// that they signed in with, while it could be asked.
pub(crate) async fn end_all(app: &App, provider: Option<&Provider>) -> Answer<()> {
    let all = app.store.query_all::<PersonSession>(keys::SESSIONS, "").await?;
    end_at(app, provider, all).await
}

/// Ends a person's session at the pages, because they sign out.
pub(crate) async fn leave(app: &App, session: &Session) -> Answer<()> {
    let found = app.store.get::<PersonSession>(&record_key(session)).await?;
    end(app, found.into_iter().collect()).await
}

/// The sessions that are still good: of a person, or of all. Those whose time is over end with it,
/// as their records may stay for days.
pub(super) async fn good(app: &App, person: Option<UserId>) -> Answer<Vec<Stored<PersonSession>>> {
    let prefix = person.map(keys::sessions_of).unwrap_or_default();
    let all = app.store.query_all::<PersonSession>(keys::SESSIONS, &prefix).await?;
    let (settings, now) = (fresh::in_force(app).await?, app.clock.now());
    let is_good = |session: &Stored<PersonSession>| {
        fresh::over(&session.value, settings.as_ref(), now).is_none()
    };
    let (mut good, over): (Vec<_>, Vec<_>) = all.into_iter().partition(is_good);
    if !over.is_empty() {
        end(app, over).await?;
    }
    good.sort_by_key(|session| (session.value.person, session.value.begun_at));
    Ok(good)
}

/// Ends what a person has no room for beside a new session at the pages, and what is over: nobody may
/// look at those records again.
pub(super) async fn make_room(app: &App, person: UserId) -> Answer<()> {
    let mut at_pages = good(app, Some(person)).await?;
    at_pages.retain(|session| session.value.key.is_none());
    at_pages.truncate((at_pages.len() + 1).saturating_sub(MOST_AT_PAGES));
    if at_pages.is_empty() { Ok(()) } else { end(app, at_pages).await }
}

/// Ends sessions, here and at GitLab.
pub(super) async fn end(app: &App, sessions: Vec<Stored<PersonSession>>) -> Answer<()> {
    // Where nobody can be asked, nobody needs to be told either.
    let provider = provider(app).await.ok().flatten();
    end_at(app, provider.as_deref(), sessions).await
}

async fn end_at(
    app: &App,
    provider: Option<&Provider>,
    sessions: Vec<Stored<PersonSession>>,
) -> Answer<()> {
    let forgotten: Vec<_> = sessions.iter().map(|session| forget(app, &session.key)).collect();
    stream::iter(forgotten).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
    if let Some(provider) = provider {
        let open = |session: &Stored<PersonSession>| {
            PersonTokens::open(&app.sealer, &session.key.sk, &session.value.tokens).ok()
        };
        let tokens: Vec<PersonTokens> = sessions.iter().filter_map(open).collect();
        revoke(provider, &tokens).await;
    }
    Ok(())
}

/// Removes the record of a session, and so the session.
pub(super) async fn forget(app: &App, place: &Key) -> Answer<()> {
    let delete = Write::Delete { key: place.clone(), expect: Expect::Any };
    let _gone_either_way = app.store.write(vec![delete]).await?;
    Ok(())
}

/// Tells GitLab that tokens are good no more. What it says of that does not matter: nobody has them
/// any more, and what asks in a person's name ends by itself within two hours.
pub(super) async fn revoke(provider: &Provider, tokens: &[PersonTokens]) {
    let all = tokens.iter().flat_map(|tokens| [&tokens.access, &tokens.refresh]);
    let told: Vec<_> = all.map(|token| provider.revoke(token)).collect();
    let told = stream::iter(told).buffer_unordered(AT_ONCE).for_each(|told| async move {
        if let Err(error) = told {
            tracing::warn!(%error, "a token of a session that has ended was not revoked");
        }
    });
    if tokio::time::timeout(REVOKING, told).await.is_err() {
        tracing::warn!("GitLab was not told in time of all sessions that have ended");
    }
}

/// The person who asks; none where a key of the installation does.
fn own(caller: &Caller) -> Option<&Person> {
    match &caller.holder {
        Holder::Person(someone) => Some(&someone.person),
        Holder::Key(_) => None,
    }
}

async fn of(app: &App, caller: &Caller, whose: Whose) -> Answer<Vec<Stored<PersonSession>>> {
    match (whose, own(caller)) {
        (Whose::Everybodys, _) => good(app, None).await,
        (Whose::Own, Some(person)) => good(app, Some(person.id)).await,
        (Whose::Own, None) => Ok(Vec::new()),
    }
}

/// The people of sessions that are in the order of their people, each once.
fn people_of(sessions: &[Stored<PersonSession>]) -> impl Iterator<Item = UserId> {
    let mut last = None;
    sessions.iter().filter_map(move |session| {
        let person = session.value.person;
        (last.replace(person) != Some(person)).then_some(person)
    })
}

/// What names a session in lists. It is made of what the cookie names it by, or of the key's digest,
/// and leads back to neither.
fn id_of(place: &Key) -> String {
    let digest = hex::encode(Sha256::digest(format!("a session\n{}", place.sk)));
    digest.get(..32).unwrap_or_default().to_owned()
}

fn no_session() -> Refusal {
    Refusal::not_found("session")
}

impl SessionView {
    fn of(session: &Stored<PersonSession>, person: Option<&Person>, caller: &Caller) -> Self {
        let id = id_of(&session.key);
        let current = session.key.sk == caller.digest;
        let session = &session.value;
        Self {
            id,
            person: SessionPerson {
                id: session.person,
                username: person.map(|person| person.username.clone()).unwrap_or_default(),
                name: person.map(|person| person.name.clone()).unwrap_or_default(),
            },
            key: session.key.clone(),
            begun_at: session.begun_at,
            last_used_at: session.proven_at(),
            expires_at: session.expires_at,
            browser: session.browser.clone(),
            address: session.address.clone(),
            current,
        }
    }
}
