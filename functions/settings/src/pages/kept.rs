//! Secrets that were typed into a form that was refused: they come back with it, sealed for the
//! session and the form, and count where their fields are left empty.

use super::shell::Frame;
use crate::app::App;
use gantry_secrets::HandedBack;
use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret as _;

/// How long what was typed can be sent again.
const LASTS: SignedDuration = SignedDuration::from_mins(30);

/// What is said once it cannot.
pub(super) const TYPE_AGAIN: &str =
    "Enter it again. What was typed before is kept for 30 minutes, and only in the same session.";

/// Seals and opens what is typed into one form in one session.
pub(super) struct Keeper {
    /// None without a session.
    place: Option<HandedBack>,
    now: Timestamp,
}

impl Keeper {
    /// For the form at this address below the root.
    pub(super) fn of(app: &App, frame: &Frame, form: &str) -> Self {
        let session = frame.viewer.as_ref().map(|viewer| viewer.form_token.as_str());
        let place = session.map(|session| HandedBack::at(&app.sealer, &[session, form]));
        Self { place, now: app.clock.now() }
    }

    /// What the page has in place of what was typed into a field.
    pub(super) fn seal(&self, field: &str, typed: &str) -> Option<String> {
        self.place.as_ref()?.seal(field, typed, self.now, LASTS).ok()
    }

    /// What was typed into the field, if that was here and is not too long ago.
    pub(super) fn open(&self, field: &str, sealed: &str) -> Option<String> {
        let opened = self.place.as_ref()?.open(field, sealed, self.now).ok()?;
        Some(opened.expose_secret().to_owned())
    }
}
