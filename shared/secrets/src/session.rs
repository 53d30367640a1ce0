//! Sessions at the pages: a signed value in a cookie that names an admin key by its digest, or the
//! record of a person's session, and the token that every form of the session carries.
//!
//! A session ends with its time, and with what it names: whoever reads one looks that up.

use crate::{Signer, TokenRefused};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use rand::Rng as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

/// How long a session is good.
pub const SESSION_LASTS: SignedDuration = SignedDuration::from_hours(12);

/// The name of the cookie.
pub const SESSION_COOKIE: &str = "gantry_session";

const COOKIE: &str = "session";
const FORM: &str = "form";

/// A person who signed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The digest of the admin key, or the sort key of the record of a person's session.
    pub key: String,
    /// Unix seconds at which it ends.
    expires: i64,
    /// Tells sessions of one key apart.
    nonce: String,
}

impl Session {
    /// A new session for the admin key with this digest, or for a record with this sort key.
    pub fn begin(key: String, now: Timestamp) -> Self {
        let expires = (now + SESSION_LASTS).as_second();
        Self { key, expires, nonce: Self::new_id() }
    }

    /// 128 random bits, as text.
    pub fn new_id() -> String {
        let mut id = [0u8; 16];
        rand::rng().fill_bytes(&mut id);
        URL_SAFE_NO_PAD.encode(id)
    }

    /// The cookie's value.
    pub fn to_cookie(&self, signer: &Signer) -> SecretString {
        let body = URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default());
        let signature = signer.sign_text(COOKIE, &body);
        SecretString::from(format!("{body}.{}", signature.expose_secret()))
    }

    /// The session that a cookie's value says, if it was made here and is still good.
    pub fn from_cookie(signer: &Signer, value: &str, now: Timestamp) -> Result<Self, TokenRefused> {
        let (body, signature) = value.split_once('.').ok_or(TokenRefused::Wrong)?;
        if !signer.signed_text(COOKIE, body, signature) {
            return Err(TokenRefused::Wrong);
        }
        let session: Self = URL_SAFE_NO_PAD
            .decode(body)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .ok_or(TokenRefused::Wrong)?;
        if now.as_second() >= session.expires {
            return Err(TokenRefused::Expired);
        }
        Ok(session)
    }

    /// The good session among the values of `Cookie` headers, if there is one.
    pub fn among<'a>(
        signer: &Signer,
        cookies: impl IntoIterator<Item = &'a str>,
        now: Timestamp,
    ) -> Option<Self> {
        cookies
            .into_iter()
            .flat_map(|value| value.split(';'))
            .filter_map(|cookie| cookie.trim().split_once('='))
            .filter(|(name, _)| *name == SESSION_COOKIE)
            .find_map(|(_, value)| Self::from_cookie(signer, value, now).ok())
    }

    /// What every form of this session carries: another site cannot know it.
    pub fn form_token(&self, signer: &Signer) -> SecretString {
        signer.sign_text(FORM, &format!("{}.{}.{}", self.key, self.expires, self.nonce))
    }

    /// True for this session's own form token.
    pub fn is_form_token(&self, signer: &Signer, token: &str) -> bool {
        let own = self.form_token(signer);
        own.expose_secret().as_bytes().ct_eq(token.as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_good_for_its_time_here_and_unchanged() {
        let (here, there) = (Signer::new(&"here".into()), Signer::new(&"there".into()));
        let now = Timestamp::from_second(1_000).unwrap();
        let session = Session::begin("digest".to_owned(), now);
        let cookie = session.to_cookie(&here);
        let cookie = cookie.expose_secret();
        assert_eq!(Session::from_cookie(&here, cookie, now).unwrap(), session);
        let header = format!("a=b; {SESSION_COOKIE}=forged; {SESSION_COOKIE}={cookie}");
        assert_eq!(Session::among(&here, ["x=y", &header], now), Some(session.clone()));
        assert_eq!(Session::among(&there, [header.as_str()], now), None);
        let end = now + SESSION_LASTS;
        assert_eq!(Session::from_cookie(&here, cookie, end), Err(TokenRefused::Expired));
        assert_eq!(Session::from_cookie(&there, cookie, now), Err(TokenRefused::Wrong));
        let other = Session { key: "admin".to_owned(), ..session.clone() };
        let body = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&other).unwrap());
        let (_, signature) = cookie.split_once('.').unwrap();
        let forged = format!("{body}.{signature}");
        assert_eq!(Session::from_cookie(&here, &forged, now), Err(TokenRefused::Wrong));
    }

    #[test]
    fn a_form_token_is_good_in_its_own_session_alone() {
        let signer = Signer::new(&"key".into());
        let now = Timestamp::from_second(1_000).unwrap();
        let (one, two) =
            (Session::begin("digest".to_owned(), now), Session::begin("digest".to_owned(), now));
        let token = one.form_token(&signer);
        assert!(one.is_form_token(&signer, token.expose_secret()));
        assert!(!two.is_form_token(&signer, token.expose_secret()));
        assert!(!one.is_form_token(&signer, ""));
        // A cookie's signature is no form token, and the other way round.
        let cookie = one.to_cookie(&signer);
        let (_, signature) = cookie.expose_secret().split_once('.').unwrap();
        assert!(!one.is_form_token(&signer, signature));
    }
}
