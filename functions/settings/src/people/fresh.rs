//! Keeping what is known of a person fresh: whoever needs it after a few minutes asks GitLab again,
//! each session with its own token, so that one whose token is good no more ends whatever others
//! its person has.

use super::{Someone, provider, record_key, sessions, settings::remember_group};
use crate::{
    app::App,
    refusal::{Answer, Refusal},
};
use gantry_domain::{
    AccessLevel, GroupId, ProjectId, UserId, approval::GroupReach, rights::Level, text::clean_line,
};
use gantry_gitlab::{Client, Error, InvalidClient};
use gantry_secrets::{PersonTokens, Session};
use gantry_setup::{deadline, web::Problem};
use gantry_sign_in::SignInError;
use gantry_store::{
    Expect, Key, Outcome, Stored, Write,
    config::{Person, PersonSession, ProjectEntry, SignIn},
    keys,
};
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::time::Instant;
use tracing::Instrument as _;

/// A right that is lost in GitLab is lost here after this at the latest.
const KNOWN_FOR: SignedDuration = SignedDuration::from_mins(5);
/// GitLab is asked again after this, so that whoever comes meanwhile need not wait.
const ASK_AFTER: SignedDuration = SignedDuration::from_mins(4);
/// Reading goes on for so long while GitLab cannot be asked.
const READING_GOES_ON: SignedDuration = SignedDuration::from_hours(1);
/// One request asks, and the others wait for it, for so long at most.
const ASKING: SignedDuration = SignedDuration::from_secs(30);
/// Its calls end within this: a refresh token is good once, and no two requests send the same.
const CALLS_END: Duration = Duration::from_secs(25);
/// What is known of a person stays for so long after GitLab was asked about them: longer than any
/// session or key of theirs.
const KEPT_FOR: SignedDuration = SignedDuration::from_hours(366 * 24);
/// Characters of a person's name.
const LONGEST_NAME: usize = 120;
/// An access token with less time left is renewed first.
const SOON: SignedDuration = SignedDuration::from_secs(60);

/// What asking GitLab again came to.
enum Asked {
    /// This is what GitLab says now.
    Known(Person),
    /// GitLab takes the person's token no more: they have signed out there, lost the application,
    /// or were blocked.
    Ended,
    /// GitLab did not answer.
    Away(String),
}

/// Why a session is good no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gone {
    /// There is no such session, or not any more.
    Unknown,
    /// Its time is over.
    Expired,
    /// People cannot sign in with GitLab any more, or another server is connected.
    NotOffered,
    /// GitLab takes its token no more.
    Refused,
}

/// Who has the session at the pages; none when it has ended.
pub(crate) async fn someone(app: &App, session: &Session) -> Answer<Option<Someone>> {
    let known = look(app, &record_key(session)).await?;
    Ok(known.ok().filter(|someone| someone.key.is_none()))
}

/// Who has the session whose record is there, or why nobody has.
pub(super) async fn look(app: &App, place: &Key) -> Answer<Result<Someone, Gone>> {
    let Some(found) = app.store.get::<PersonSession>(place).await? else {
        return Ok(Err(Gone::Unknown));
    };
    let now = app.clock.now();
    let settings = in_force(app).await?;
    let settings = match (over(&found.value, settings.as_ref(), now), settings) {
        (None, Some(settings)) => settings,
        (gone, _) => {
            // Nothing of it stays here until its record would vanish by itself.
            sessions::end(app, vec![found]).await?;
            return Ok(Err(gone.unwrap_or(Gone::NotOffered)));
        }
    };
    let levels = settings.levels;
    let person = app.store.get::<Person>(&keys::person(found.value.person)).await?;
    let person = person.map(|person| person.value);
    let Some(person) = person.filter(|person| person.generation == settings.generation) else {
        return Ok(Err(Gone::NotOffered));
    };
    let someone = |person: Person, away: Option<String>| Someone {
        person,
        levels,
        away,
        key: found.value.key.clone(),
    };
    let age = now.duration_since(found.value.proven_at());
    if age < ASK_AFTER {
        return Ok(Ok(someone(person, None)));
    }
    if !begins_to_ask(app, &found, now).await? {
        // Somebody else asks just now, or has, and GitLab did not answer.
        return match (age < KNOWN_FOR, &found.value.away) {
            (true, _) => Ok(Ok(someone(person, None))),
            (false, Some(_)) if age >= READING_GOES_ON => Err(too_long_away()),
            (false, Some(why)) => Ok(Ok(someone(person, Some(why.clone())))),
            (false, None) => wait(app, &found, someone(person, None), age).await,
        };
    }
    match ask_to_the_end(app, place, settings, person.clone()).await? {
        Asked::Known(person) => Ok(Ok(someone(person, None))),
        Asked::Ended => {
            sessions::forget(app, place).await?;
            Ok(Err(Gone::Refused))
        }
        Asked::Away(why) => {
            note_away(app, place, &why).await?;
            if age >= READING_GOES_ON {
                return Err(too_long_away());
            }
            let away = Some(why).filter(|_| age >= KNOWN_FOR);
            Ok(Ok(someone(person, away)))
        }
    }
}

fn too_long_away() -> Refusal {
    Refusal::busy(
        "GitLab cannot be reached",
        "GitLab has not said for more than an hour what you may see. Try again later, or sign in \
         with an access key.",
        60,
    )
}

/// How people sign in, while the server that they do so with is connected; none where nobody can.
pub(super) async fn in_force(app: &App) -> Answer<Option<SignIn>> {
    let key = keys::sign_in();
    let (settings, integration) =
        tokio::try_join!(app.store.get::<SignIn>(&key), app.store.integration())?;
    let linked = integration.map(|found| found.value).filter(|known| known.linked);
    let both = settings.map(|found| found.value).zip(linked);
    Ok(both
        .filter(|(settings, linked)| settings.generation == linked.generation)
        .map(|(settings, _)| settings))
}

/// Why a session is over, whatever GitLab would say of it; none where it is not.
pub(super) fn over(
    session: &PersonSession,
    in_force: Option<&SignIn>,
    now: Timestamp,
) -> Option<Gone> {
    match in_force {
        _ if now >= session.expires_at => Some(Gone::Expired),
        Some(settings) if settings.generation == session.generation => None,
        _ => Some(Gone::NotOffered),
    }
}

/// Whoever comes within the next seconds need not wait for an answer that does not come.
async fn note_away(app: &App, key: &Key, why: &str) -> Answer<()> {
    if let Some(found) = app.store.get::<PersonSession>(key).await? {
        let away = PersonSession { away: Some(why.to_owned()), ..found.value.clone() };
        let _either_way = put(app, &found, &away).await?;
    }
    Ok(())
}

/// Takes it upon this request to ask; false where another one has done so just now.
async fn begins_to_ask(app: &App, session: &Stored<PersonSession>, now: Timestamp) -> Answer<bool> {
    if session.value.asking_until.is_some_and(|until| now < until) {
        return Ok(false);
    }
    let asking =
        PersonSession { asking_until: Some(now + ASKING), away: None, ..session.value.clone() };
    Ok(put(app, session, &asking).await? == Outcome::Written)
}

async fn put(
    app: &App,
    before: &Stored<PersonSession>,
    session: &PersonSession,
) -> Answer<Outcome> {
    let write = Write::put(before.key.clone(), before.unchanged(), session)?;
    Ok(app.store.write(vec![write.expires(session.expires_at)]).await?)
}

/// Waits for what another request of the same session learns.
async fn wait(
    app: &App,
    session: &Stored<PersonSession>,
    old: Someone,
    age: SignedDuration,
) -> Answer<Result<Someone, Gone>> {
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let Some(found) = app.store.get::<PersonSession>(&session.key).await? else {
            return Ok(Err(Gone::Refused));
        };
        if found.value.proven_at() > session.value.proven_at() {
            let known = app.store.get::<Person>(&keys::person(old.person.id)).await?;
            let person = known.map_or_else(|| old.person.clone(), |known| known.value);
            return Ok(Ok(Someone { person, ..old }));
        }
    }
    if age >= READING_GOES_ON {
        return Err(too_long_away());
    }
    Ok(Ok(Someone { away: Some("GitLab has not answered yet".to_owned()), ..old }))
}

/// Asks in a task of its own, which goes on when nobody waits for it any more: GitLab may have given
/// new tokens already, and the old ones are good no more.
async fn ask_to_the_end(app: &App, place: &Key, settings: SignIn, person: Person) -> Answer<Asked> {
    let (app, place) = (app.clone(), place.clone());
    let asking = Box::pin(async move { ask(&app, &place, &settings, person).await });
    let asking = deadline::until(Instant::now() + CALLS_END, asking.in_current_span());
    tokio::spawn(asking).await.map_err(|error| Problem::internal(&error))?
}

/// Asks GitLab again what the person may do, and remembers it.
async fn ask(app: &App, place: &Key, settings: &SignIn, person: Person) -> Answer<Asked> {
    // Read again: what was found before may lack what was renewed meanwhile.
    let Some(mut found) = app.store.get::<PersonSession>(place).await? else {
        return Ok(Asked::Ended);
    };
    let Ok(mut tokens) = PersonTokens::open(&app.sealer, &place.sk, &found.value.tokens) else {
        return Ok(Asked::Ended);
    };
    if tokens.expires_at <= app.clock.now() + SOON {
        match renew(app, &mut found, &tokens).await? {
            Ok(renewed) => tokens = renewed,
            Err(SignInError::Refused(_)) => return Ok(Asked::Ended),
            // An admin has to enter another secret of the application, say: nothing is wrong with
            // the person's own tokens.
            Err(error) => return Ok(Asked::Away(error.to_string())),
        }
    }
    let mut read = read(app, settings, &tokens.access).await?;
    if matches!(read, Err(Error::TokenRejected { .. })) {
        // Its time may be over by GitLab's clock.
        match renew(app, &mut found, &tokens).await? {
            Ok(renewed) => tokens = renewed,
            // Such as all of an application that is gone.
            Err(SignInError::Refused(_) | SignInError::WrongSecret) => return Ok(Asked::Ended),
            Err(error) => return Ok(Asked::Away(error.to_string())),
        }
        read = self::read(app, settings, &tokens.access).await?;
    }
    let told = match read {
        Ok(told) => told,
        Err(Error::TokenRejected { .. }) => return Ok(Asked::Ended),
        Err(error) => return Ok(Asked::Away(error.to_string())),
    };
    let person = Person {
        username: told.username,
        name: told.name,
        admin: told.admin,
        levels: told.levels,
        read_at: told.at,
        ..person
    };
    remember(app, &person).await?;
    let done = PersonSession { asking_until: None, asked_at: Some(told.at), ..found.value.clone() };
    // Whoever wrote it meanwhile knows as much, or has ended it.
    let _either_way = put(app, &found, &done).await?;
    Ok(Asked::Known(person))
}

/// New tokens, which are kept before they are used: the old ones are not good any more. Refused where
/// the session has ended.
async fn renew(
    app: &App,
    found: &mut Stored<PersonSession>,
    tokens: &PersonTokens,
) -> Answer<Result<PersonTokens, SignInError>> {
    let Some(provider) = provider(app).await? else {
        let why = "signing in with GitLab is not set up completely";
        return Ok(Err(SignInError::Unavailable(why.to_owned())));
    };
    let renewed = match provider.renew(&tokens.refresh).await {
        Ok(renewed) => renewed,
        Err(refused @ SignInError::Refused(_)) => {
            // Who else has renewed them meanwhile keeps what came of it.
            let now = app.store.get::<PersonSession>(&found.key).await?;
            let Some(now) = now.filter(|now| now.value.tokens != found.value.tokens) else {
                return Ok(Err(refused));
            };
            let kept = PersonTokens::open(&app.sealer, &found.key.sk, &now.value.tokens);
            *found = now;
            return Ok(kept.map_err(|_| refused));
        }
        Err(error) => return Ok(Err(error)),
    };
    let sealed = renewed.seal(&app.sealer, &found.key.sk)?;
    // Others note in the record that GitLab is away; nobody else has these tokens.
    for _ in 0..5 {
        let kept = PersonSession { tokens: sealed.clone(), ..found.value.clone() };
        if put(app, found, &kept).await? == Outcome::Written {
            found.version += 1;
            found.value = kept;
            return Ok(Ok(renewed));
        }
        match app.store.get::<PersonSession>(&found.key).await? {
            Some(now) => *found = now,
            None => break,
        }
    }
    // It was ended meanwhile, and these end with it.
    sessions::revoke(&provider, &[renewed]).await;
    Ok(Err(SignInError::Refused("the session has ended".to_owned())))
}

/// What GitLab says of a person.
pub(super) struct Told {
    pub(super) username: String,
    pub(super) name: String,
    pub(super) admin: bool,
    pub(super) levels: BTreeMap<String, Level>,
    /// When it was asked: what was changed after that is not in it.
    pub(super) at: Timestamp,
}

/// Asks GitLab with the person's own token who they are and what they may do.
pub(super) async fn read(
    app: &App,
    settings: &SignIn,
    access: &SecretString,
) -> Answer<Result<Told, Error>> {
    let at = app.clock.now();
    let linked = app.gitlab.linked().await?;
    if linked.integration.generation != settings.generation {
        return Err(Refusal::conflict(
            "GitLab was connected anew",
            "Another server was connected meanwhile. Sign in again.",
        ));
    }
    let unusable = |why: InvalidClient| {
        Refusal::conflict("GitLab cannot be asked", format!("GitLab's token is unusable: {why}"))
    };
    let client = linked.client.for_person(access).map_err(unusable)?;
    let projects = app.store.query_all::<ProjectEntry>(keys::PROJECTS, "").await?;
    let here: BTreeSet<ProjectId> = projects.into_iter().map(|entry| entry.value.project).collect();
    let told = async {
        let user = match client.current_user().await {
            // They are blocked, or kept out in another way: their token is good for nothing.
            Err(Error::Forbidden { message }) => return Err(Error::TokenRejected { message }),
            answer => answer?,
        };
        let (group, levels) =
            tokio::try_join!(group_of_admin(&client, settings, user.id), client.project_levels())?;
        let levels = levels
            .into_iter()
            .filter(|known| here.contains(&known.id))
            .filter_map(|known| Some((known.id.to_string(), Level::reached_by(known.level.0)?)))
            .collect();
        // Their name can be anything, and stands in lists and logs beside those of others.
        let name = clean_line(user.name.as_deref().unwrap_or_default(), LONGEST_NAME);
        let name = if name.is_empty() { user.username.clone() } else { name };
        let told = Told { username: user.username, name, admin: group.is_some(), levels, at };
        Ok((told, group))
    };
    let (told, group) = match told.await {
        Ok(told) => told,
        Err(error) => return Ok(Err(error)),
    };
    if let Some((path, id)) = group.filter(|(path, _)| !settings.admin_group_ids.contains_key(path))
    {
        remember_group(app, settings.generation, path, id).await?;
    }
    Ok(Ok(told))
}

/// The first of the groups that an admin named, by its path there, whose Maintainer the person is.
async fn group_of_admin(
    client: &Client,
    settings: &SignIn,
    person: UserId,
) -> Result<Option<(String, GroupId)>, Error> {
    for (path, known) in settings.groups_of_admins() {
        // A group that they cannot see is none that they are in.
        let Some(group) = client.group_meant(path, known).await? else { continue };
        let level = client.group_member_level(group.id, person, GroupReach::Inherited).await?;
        if level.is_some_and(|level| level >= AccessLevel::MAINTAINER) {
            return Ok(Some((path.to_owned(), group.id)));
        }
    }
    Ok(None)
}

/// Keeps what GitLab said, unless something newer is there.
pub(super) async fn remember(app: &App, person: &Person) -> Answer<()> {
    let key = keys::person(person.id);
    for _ in 0..3 {
        let before = app.store.get::<Person>(&key).await?;
        if before.as_ref().is_some_and(|before| {
            before.value.generation == person.generation && before.value.read_at > person.read_at
        }) {
            return Ok(());
        }
        let expect = before.as_ref().map_or(Expect::Absent, Stored::unchanged);
        let write = Write::put(key.clone(), expect, person)?;
        let write = write.expires(person.read_at + KEPT_FOR);
        if app.store.write(vec![write]).await? == Outcome::Written {
            return Ok(());
        }
    }
    Err(Refusal::busy("Try again", "Others signed in as you at the same time.", 1))
}
