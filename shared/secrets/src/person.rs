//! A person's tokens at GitLab, sealed for their session: nothing else opens them.

use crate::{SealError, Sealer};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

/// What asks GitLab in a person's name.
#[derive(Debug, Clone)]
pub struct PersonTokens {
    /// Sent with each request.
    pub access: SecretString,
    /// Good once, for the next two.
    pub refresh: SecretString,
    /// When `access` ends.
    pub expires_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct Text {
    access: String,
    refresh: String,
    expires_at: Timestamp,
}

impl PersonTokens {
    /// Seals them for a session.
    pub fn seal(&self, sealer: &Sealer, session: &str) -> Result<String, SealError> {
        let text = Text {
            access: self.access.expose_secret().to_owned(),
            refresh: self.refresh.expose_secret().to_owned(),
            expires_at: self.expires_at,
        };
        let text = serde_json::to_string(&text).map_err(|_| SealError)?;
        sealer.encrypt(&text, &bound_to(session))
    }

    /// What was sealed for the session.
    pub fn open(sealer: &Sealer, session: &str, sealed: &str) -> Result<Self, SealError> {
        let text = sealer.decrypt(sealed, &bound_to(session))?;
        let text: Text = serde_json::from_str(text.expose_secret()).map_err(|_| SealError)?;
        Ok(Self {
            access: text.access.into(),
            refresh: text.refresh.into(),
            expires_at: text.expires_at,
        })
    }
}

/// The secret of the OAuth application, sealed for the link to the server that it is of.
pub fn seal_application(
    sealer: &Sealer,
    generation: u32,
    secret: &SecretString,
) -> Result<String, SealError> {
    sealer.encrypt(secret.expose_secret(), &application(generation))
}

/// What [`seal_application`] sealed.
pub fn open_application(
    sealer: &Sealer,
    generation: u32,
    sealed: &str,
) -> Result<SecretString, SealError> {
    sealer.decrypt(sealed, &application(generation))
}

/// Begins with words, unlike what the values of variables are bound to.
fn bound_to(session: &str) -> Vec<u8> {
    format!("tokens of a session\n{session}").into_bytes()
}

fn application(generation: u32) -> Vec<u8> {
    format!("application\n{generation}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_open_for_their_own_session_alone() {
        let sealer = Sealer::new(&"key".into());
        let expires_at = Timestamp::from_second(1_000).unwrap();
        let tokens = PersonTokens { access: "first".into(), refresh: "second".into(), expires_at };
        let sealed = tokens.seal(&sealer, "7#a").unwrap();
        assert!(!sealed.contains("first"));
        let opened = PersonTokens::open(&sealer, "7#a", &sealed).unwrap();
        assert_eq!(opened.access.expose_secret(), "first");
        assert_eq!(opened.refresh.expose_secret(), "second");
        assert_eq!(opened.expires_at, expires_at);
        assert!(PersonTokens::open(&sealer, "7#b", &sealed).is_err());
        let secret = seal_application(&sealer, 1, &"hush".into()).unwrap();
        assert_eq!(open_application(&sealer, 1, &secret).unwrap().expose_secret(), "hush");
        assert!(open_application(&sealer, 2, &secret).is_err());
        assert!(PersonTokens::open(&sealer, "7#a", &secret).is_err());
    }
}
