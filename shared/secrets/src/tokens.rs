//! Tokens that say what they are good for, signed with HMAC-SHA256.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use gantry_domain::{RunId, run::Phase};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// What a token is for. A token of one kind is never taken for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenKind {
    /// Buys a run token, once.
    Claim,
    /// Lets a runner execute one attempt of one phase.
    Run,
    /// Lets a reader see one run.
    Read,
    /// Lets a run read the module registry, or whoever has it one archive there.
    Registry,
}

/// What a token says. Everything in it is readable by its bearer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenFor {
    /// What it is for.
    pub kind: TokenKind,
    /// The run.
    pub run: RunId,
    /// The phase.
    pub phase: Phase,
    /// The attempt at that phase.
    pub attempt: u32,
    /// Unix seconds after which it is no longer good; none for read links, which end with
    /// their run.
    pub expires: Option<i64>,
}

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefused {
    /// Not signed by this installation, or for something else.
    #[error("the token is not from this installation or not for this request")]
    Wrong,
    /// It was good once.
    #[error("the token has expired")]
    Expired,
}

/// Signs and verifies tokens; the key can be replaced while old tokens are still about.
#[derive(Clone)]
pub struct Signer {
    current: SecretString,
    previous: Option<SecretString>,
}

#[derive(Serialize, Deserialize)]
struct Keys {
    current: String,
    previous: Option<String>,
}

impl Signer {
    /// A signer from the secret [`crate::SecretName::SigningKeys`]: JSON with `current` and
    /// `previous`, or one plain key.
    pub fn new(secret: &SecretString) -> Self {
        match serde_json::from_str::<Keys>(secret.expose_secret()) {
            Ok(keys) => {
                Self { current: keys.current.into(), previous: keys.previous.map(Into::into) }
            }
            Err(_) => Self { current: secret.clone(), previous: None },
        }
    }

    /// The token for `content`. The same content gives the same token.
    pub fn sign(&self, content: &TokenFor) -> SecretString {
        let body = URL_SAFE_NO_PAD.encode(serde_json::to_vec(content).unwrap_or_default());
        let signature = URL_SAFE_NO_PAD.encode(mac(&self.current, &body).finalize().into_bytes());
        SecretString::from(format!("{body}.{signature}"))
    }

    /// What the token says, if this installation signed it, it is of `kind` and still good.
    pub fn verify(
        &self,
        kind: TokenKind,
        token: &str,
        now: Timestamp,
    ) -> Result<TokenFor, TokenRefused> {
        let (body, signature) = token.split_once('.').ok_or(TokenRefused::Wrong)?;
        if !self.is_signed(body, signature) {
            return Err(TokenRefused::Wrong);
        }
        let content: TokenFor = URL_SAFE_NO_PAD
            .decode(body)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .ok_or(TokenRefused::Wrong)?;
        if content.kind != kind {
            return Err(TokenRefused::Wrong);
        }
        if content.expires.is_some_and(|expires| now.as_second() >= expires) {
            return Err(TokenRefused::Expired);
        }
        Ok(content)
    }

    /// A signature of `text` that is good for `purpose` alone.
    pub(crate) fn sign_text(&self, purpose: &str, text: &str) -> SecretString {
        let signed = mac(&self.current, &with_purpose(purpose, text)).finalize();
        SecretString::from(URL_SAFE_NO_PAD.encode(signed.into_bytes()))
    }

    /// True when `signature` is this installation's for `text` and `purpose`.
    pub(crate) fn signed_text(&self, purpose: &str, text: &str, signature: &str) -> bool {
        self.is_signed(&with_purpose(purpose, text), signature)
    }

    fn is_signed(&self, body: &str, signature: &str) -> bool {
        let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else { return false };
        [Some(&self.current), self.previous.as_ref()]
            .into_iter()
            .flatten()
            .any(|key| mac(key, body).verify_slice(&signature).is_ok())
    }
}

/// A token's body is base64, which has no line break: no text is ever taken for a token.
fn with_purpose(purpose: &str, text: &str) -> String {
    format!("{purpose}\n{text}")
}

fn mac(key: &SecretString, body: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose_secret().as_bytes())
        .unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
    mac.update(body.as_bytes());
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(kind: TokenKind, expires: Option<i64>) -> TokenFor {
        TokenFor { kind, run: "r1".parse().unwrap(), phase: Phase::Plan, attempt: 2, expires }
    }

    #[test]
    fn a_token_is_good_for_its_kind_its_time_and_its_key() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let old = Signer::new(&"old".into());
        let token = old.sign(&content(TokenKind::Claim, Some(100)));
        let token = token.expose_secret();
        assert_eq!(old.verify(TokenKind::Claim, token, at(99)).unwrap().attempt, 2);
        assert_eq!(old.verify(TokenKind::Claim, token, at(100)), Err(TokenRefused::Expired));
        assert_eq!(old.verify(TokenKind::Run, token, at(99)), Err(TokenRefused::Wrong));
        let rotated = Signer::new(&r#"{"current":"new","previous":"old"}"#.to_owned().into());
        assert!(rotated.verify(TokenKind::Claim, token, at(99)).is_ok());
        let later = Signer::new(&r#"{"current":"newer","previous":"new"}"#.to_owned().into());
        assert_eq!(later.verify(TokenKind::Claim, token, at(99)), Err(TokenRefused::Wrong));
    }

    #[test]
    fn a_changed_token_is_refused() {
        let signer = Signer::new(&"key".into());
        let token = signer.sign(&content(TokenKind::Run, None)).expose_secret().to_owned();
        let at = Timestamp::from_second(0).unwrap();
        assert!(signer.verify(TokenKind::Run, &token, at).is_ok());
        for i in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[i] = if bytes[i] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            // The last character of base64 carries unused bits; the rest must all matter.
            if changed != token && i != token.len() - 1 {
                assert!(signer.verify(TokenKind::Run, &changed, at).is_err(), "at {i}");
            }
        }
    }
}
