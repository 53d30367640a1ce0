//! People who sign in with GitLab: who they are, and what GitLab lets them do.
//!
//! A person's rights are their levels in GitLab projects. They are read with the person's own token
//! when they sign in, and again every few minutes while they use a session; the token is used for
//! nothing else, and goes with the session. A key that a person makes is a session too, with a token
//! of its own.

mod fresh;
mod key;
mod sessions;
mod settings;
mod sign_in;

pub(crate) use fresh::someone;
pub(crate) use key::{MadeKey, by_key, not_with_a_key};
pub(crate) use sessions::{
    EndQuery, EndedSessions, SessionList, SessionView, Whose, end_all, end_everything_of, end_one,
    end_others, end_session, end_sessions, everybody, find, leave, list_sessions, listed,
};
pub(crate) use settings::{
    SignInView, present, provider, remove, remove_settings, run_links, save, save_settings,
    show_settings,
};
pub(crate) use sign_in::{
    Arrival, Arrived, Begun, Here, ON_THE_WAY, arrive, set_out, set_out_for_key,
};

use crate::app::App;
use gantry_domain::rights::Levels;
use gantry_secrets::Session;
use gantry_sign_in::Provider;
use gantry_store::config::Person;
use std::sync::Arc;
use tokio::sync::Mutex;

/// A person, as a request has them.
#[derive(Debug, Clone)]
pub(crate) struct Someone {
    /// Who they are, and their levels as GitLab last told them.
    pub(crate) person: Person,
    /// Which level gives which right.
    pub(crate) levels: Levels,
    /// Why GitLab could not be asked again in time; none where it was.
    pub(crate) away: Option<String>,
    /// The name of the key that they use; none at the pages.
    pub(crate) key: Option<String>,
}

impl Someone {
    /// `Ada Lovelace @ada`, with the key if they use one: what stands beside everything that they
    /// do.
    pub(crate) fn label(&self) -> String {
        match &self.key {
            None => label(&self.person),
            Some(key) => format!("{} (key {key})", label(&self.person)),
        }
    }
}

/// `Ada Lovelace @ada`.
pub(crate) fn label(person: &Person) -> String {
    format!("{} @{}", person.name, person.username)
}

/// The provider of the settings that were read last.
#[derive(Default)]
pub(crate) struct LastProvider(Mutex<Option<(u64, u64, Arc<Provider>)>>);

/// Whether a session is a person's, and not that of a key.
pub(crate) fn is_persons(session: &Session) -> bool {
    gantry_store::keys::is_of_person(&session.key)
}

/// What the session's record stands under.
fn record_key(session: &Session) -> gantry_store::Key {
    gantry_store::Key::new(gantry_store::keys::SESSIONS, session.key.clone())
}

/// Where GitLab sends people back to, as its application must have it; none without a public URL.
pub(crate) fn callback(app: &App) -> Option<String> {
    app.public_url.as_ref().map(|url| format!("{}/sign-in/gitlab/callback", url.as_str()))
}
