//! Keys that people make for themselves. Each is a session of its own, with its own token at GitLab:
//! it can never do more than its person, and ends when GitLab takes that token no more.

use super::{
    Someone,
    fresh::{self, Gone},
    sessions,
    sign_in::{Here, keep},
};
use crate::{
    access::{Caller, Holder},
    app::App,
    form::Form,
    refusal::{Answer, Refusal},
};
use axum::http::StatusCode;
use gantry_domain::UserId;
use gantry_secrets::{PersonTokens, random_secret};
use gantry_store::{
    config::{Person, admin_key_digest, persons_key, place_of_persons_key},
    keys,
};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The most keys that a person has.
const MOST: usize = 20;

/// What a person asks for, as their browser keeps it while they are at GitLab.
#[derive(Serialize, Deserialize)]
pub(super) struct Wanted {
    /// The key's name.
    name: String,
    /// How long it lasts.
    days: u16,
    /// Who asks for it: nobody else can come back for it.
    pub(super) person: UserId,
}

/// A key that was just created.
pub(crate) struct MadeKey {
    pub(crate) name: String,
    /// The key itself. It is never shown again.
    pub(crate) key: SecretString,
    pub(crate) expires_at: Timestamp,
}

/// Reads what a person asks for. Only in a session of theirs: a key makes none.
pub(super) async fn read(app: &App, caller: &Caller, body: Map<String, Value>) -> Answer<Wanted> {
    let Holder::Person(someone) = &caller.holder else {
        return Err(Refusal::conflict(
            "You are not signed in with GitLab",
            "Keys of your own go with your GitLab account. Sign in with GitLab first.",
        ));
    };
    not_with_a_key(caller)?;
    let person = someone.person.id;
    let mut form = Form::new(body);
    let asks = "Enter a name for the key, such as laptop.";
    let name = form.required_text("name", asks);
    let days = match form.text("days").as_deref() {
        Some("30") => 30,
        None | Some("90") => 90,
        Some("365") => 365,
        Some(_) => {
            form.wrong("days", "Choose 30 days, 90 days or 1 year");
            90
        }
    };
    if let Some(name) = &name {
        if name.chars().count() > 64 {
            form.wrong("name", "At most 64 characters are allowed");
        }
        if let Some(problem) = objection(app, person, name).await? {
            form.wrong("name", problem);
        }
    }
    form.check()?;
    let name = name.ok_or_else(|| Refusal::field("name", asks))?;
    Ok(Wanted { name, days, person })
}

/// Why a person gets no key of this name.
async fn objection(app: &App, person: UserId, name: &str) -> Answer<Option<String>> {
    let known = sessions::good(app, Some(person)).await?;
    let known: Vec<String> = known.into_iter().filter_map(|session| session.value.key).collect();
    Ok(if known.iter().any(|known| known == name) {
        Some("You already have a key with this name".to_owned())
    } else if known.len() >= MOST {
        Some(format!("You have {MOST} keys already. End one that you no longer use"))
    } else {
        None
    })
}

/// Makes the key that a person asked for, with the tokens that they came back from GitLab with.
pub(super) async fn make(
    app: &App,
    person: &Person,
    tokens: &PersonTokens,
    wanted: Wanted,
    here: &Here<'_>,
) -> Answer<MadeKey> {
    if let Some(problem) = objection(app, person.id, &wanted.name).await? {
        return Err(Refusal::conflict("No key was created", format!("{problem}.")));
    }
    let key = SecretString::from(persons_key(person.id, random_secret().expose_secret()));
    let place = keys::session(person.id, &admin_key_digest(key.expose_secret()));
    let lasts = SignedDuration::from_hours(i64::from(wanted.days) * 24);
    let name = Some(wanted.name.clone());
    let kept = keep(app, place, person, tokens, lasts, name, here).await?;
    Ok(MadeKey { name: wanted.name, key, expires_at: kept.expires_at })
}

/// Who has this key, and what its record is stored under; none where it is no key of a person.
pub(crate) async fn by_key(app: &App, secret: &str) -> Answer<Option<(Someone, String)>> {
    let Some(place) = place_of_persons_key(secret) else { return Ok(None) };
    match Box::pin(fresh::look(app, &place)).await? {
        Ok(someone) => Ok(Some((someone, place.sk))),
        Err(gone) => {
            tracing::warn!(?gone, "a request carried a person's key that is not valid");
            let why = match gone {
                Gone::Unknown => "There is no such key: it was ended, or its time is over.",
                Gone::Expired => "Its time is over.",
                Gone::NotOffered => "People cannot sign in with the GitLab server that it is of.",
                Gone::Refused => {
                    "GitLab does not accept its token any more: its person has left or was \
                     blocked, or no longer lets Gantry act for them."
                }
            };
            let detail = format!("{why} People create keys on the page Your account.");
            Err(Refusal::new(StatusCode::UNAUTHORIZED, "The key is not valid", detail))
        }
    }
}

/// Refuses a person's key where keys are made: they would outlive it.
pub(crate) fn not_with_a_key(caller: &Caller) -> Answer<()> {
    match &caller.holder {
        Holder::Person(someone) if someone.key.is_some() => Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "You don't have permission",
            "A person's key cannot create keys. Sign in, and create it on the pages.",
        )),
        _ => Ok(()),
    }
}
