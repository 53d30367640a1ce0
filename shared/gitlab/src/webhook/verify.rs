//! Is this request from GitLab?
//!
//! Two proofs exist: the secret in clear text (`X-Gitlab-Token`, every version) and a signature of
//! the body (Standard Webhooks, GitLab 19.0). A request that carries a signature must pass it
//! as soon as we hold a key; the other proof does not help it then.

use super::{PreviousSecret, WebhookSecrets, header};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::HeaderMap;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

/// How far a signed request's time may be from ours, in seconds: the habit of Standard Webhooks.
const TOLERANCE: i64 = 300;

/// Whether a request proved that it knows today's secret or the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretAge {
    /// The secret that new hooks get.
    Current,
    /// The one before the last rotation: this hook has to be renewed before it expires.
    Previous,
}

/// Why a request is not taken for GitLab's. Never says what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// Neither `X-Gitlab-Token` nor a signature.
    #[error("the request carries neither a secret token nor a signature")]
    NothingSent,
    /// `X-Gitlab-Token` is none of ours.
    #[error("the secret token does not match")]
    WrongToken,
    /// The signature was not made with one of our keys over this body.
    #[error("the signature does not match")]
    WrongSignature,
    /// A signature without the id or the time that it covers.
    #[error("the request is signed, but its webhook-id or webhook-timestamp is missing or invalid")]
    BrokenSignature,
    /// Signed too long ago, or in the future: a replay, or a clock that is off.
    #[error("the request's signature is too old or from the future")]
    WrongTime,
}

impl VerifyError {
    /// True when the secret may have been replaced since it was read: read it again, and ask once
    /// more.
    pub fn may_be_our_secret(self) -> bool {
        matches!(self, Self::WrongToken | Self::WrongSignature)
    }
}

/// Checks that whoever sent `body` (the raw bytes, before any decoding of the JSON) knows one of
/// `secrets`.
pub fn verify(
    headers: &HeaderMap,
    body: &[u8],
    secrets: &WebhookSecrets,
    now: Timestamp,
) -> Result<(), VerifyError> {
    which_secret(headers, body, secrets, now).map(drop)
}

/// The same, and says which of the secrets it was.
pub fn which_secret(
    headers: &HeaderMap,
    body: &[u8],
    secrets: &WebhookSecrets,
    now: Timestamp,
) -> Result<SecretAge, VerifyError> {
    let signing = Pair::new(secrets.signing_token.as_ref(), &secrets.previous_signing_token, now);
    if headers.contains_key("webhook-signature") && !signing.is_empty() {
        return check_signature(headers, body, &signing, now);
    }
    let sent = headers.get("x-gitlab-token").ok_or(VerifyError::NothingSent)?;
    let sent = Sha256::digest(sent.as_bytes());
    let tokens = Pair::new(Some(&secrets.token), &secrets.previous_token, now);
    // Digests have one length: the comparison tells nothing about the secret's.
    tokens
        .find(|token| Sha256::digest(token.expose_secret().as_bytes()).ct_eq(&sent))
        .ok_or(VerifyError::WrongToken)
}

fn check_signature(
    headers: &HeaderMap,
    body: &[u8],
    keys: &Pair<'_>,
    now: Timestamp,
) -> Result<SecretAge, VerifyError> {
    let id = header(headers, "webhook-id").ok_or(VerifyError::BrokenSignature)?;
    let stamp = header(headers, "webhook-timestamp").ok_or(VerifyError::BrokenSignature)?;
    let signed_at: i64 = stamp.parse().map_err(|_| VerifyError::BrokenSignature)?;
    if now.as_second().abs_diff(signed_at) > TOLERANCE.unsigned_abs() {
        return Err(VerifyError::WrongTime);
    }
    let signatures: Vec<Vec<u8>> = headers
        .get_all("webhook-signature")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(str::split_whitespace)
        .filter_map(|entry| STANDARD.decode(entry.strip_prefix("v1,")?).ok())
        .collect();
    keys.find(|key| {
        let Some(made) = sign(key, id, stamp, body) else { return Choice::from(0) };
        signatures.iter().fold(Choice::from(0), |any, sent| any | made.ct_eq(sent.as_slice()))
    })
    .ok_or(VerifyError::WrongSignature)
}

/// The signature of one delivery; none when the key is not in GitLab's form.
fn sign(key: &SecretString, id: &str, stamp: &str, body: &[u8]) -> Option<Vec<u8>> {
    let key = STANDARD.decode(key.expose_secret().strip_prefix("whsec_")?).ok()?;
    if key.is_empty() {
        return None;
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
    for part in [id.as_bytes(), b".", stamp.as_bytes(), b".", body] {
        mac.update(part);
    }
    Some(mac.finalize().into_bytes().to_vec())
}

/// The secrets of one kind that count now.
struct Pair<'a> {
    current: Option<&'a SecretString>,
    previous: Option<&'a SecretString>,
}

impl<'a> Pair<'a> {
    fn new(
        current: Option<&'a SecretString>,
        previous: &'a Option<PreviousSecret>,
        now: Timestamp,
    ) -> Self {
        let filled = |secret: &&SecretString| !secret.expose_secret().trim().is_empty();
        let previous = previous.as_ref().filter(|secret| now < secret.expires_at);
        Self {
            current: current.filter(filled),
            previous: previous.map(|secret| &secret.value).filter(filled),
        }
    }

    fn is_empty(&self) -> bool {
        self.current.is_none() && self.previous.is_none()
    }

    /// Asks for both, always, so that the time does not tell which one matched.
    fn find(&self, matches: impl Fn(&SecretString) -> Choice) -> Option<SecretAge> {
        let ask = |secret: Option<&SecretString>| secret.map_or(Choice::from(0), &matches);
        let (current, previous) = (ask(self.current), ask(self.previous));
        if bool::from(current) {
            Some(SecretAge::Current)
        } else {
            bool::from(previous).then_some(SecretAge::Previous)
        }
    }
}
