//! What a webhook must prove that it knows.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

/// The current webhook secrets, and those that were current and still count for a while.
/// An empty secret never matches anything.
#[derive(Debug, Clone)]
pub struct WebhookSecrets {
    /// What GitLab sends in `X-Gitlab-Token`.
    pub token: SecretString,
    /// The token before the last rotation.
    pub previous_token: Option<PreviousSecret>,
    /// The key of `webhook-signature` (GitLab 19.0): `whsec_` and 32 bytes in base64.
    pub signing_token: Option<SecretString>,
    /// The key before the last rotation.
    pub previous_signing_token: Option<PreviousSecret>,
}

/// A secret that was replaced.
#[derive(Debug, Clone)]
pub struct PreviousSecret {
    /// Its value.
    pub value: SecretString,
    /// From then on it no longer matches.
    pub expires_at: Timestamp,
}

/// The kept secrets cannot be read. Says nothing of their content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the webhook secrets are not in Gantry's format")]
pub struct InvalidSecrets;

/// The form in which the secrets are kept. Private, so that nothing serializes them by accident.
#[derive(Serialize, Deserialize)]
struct Kept {
    token: String,
    #[serde(default)]
    previous_token: Option<KeptPrevious>,
    #[serde(default)]
    signing_token: Option<String>,
    #[serde(default)]
    previous_signing_token: Option<KeptPrevious>,
}

#[derive(Serialize, Deserialize)]
struct KeptPrevious {
    value: String,
    expires_at: Timestamp,
}

impl WebhookSecrets {
    /// New random secrets, without previous ones.
    pub fn generate() -> Self {
        let signing_token = format!("whsec_{}", STANDARD.encode(rand::random::<[u8; 32]>()));
        Self {
            token: hex::encode(rand::random::<[u8; 32]>()).into(),
            previous_token: None,
            signing_token: Some(signing_token.into()),
            previous_signing_token: None,
        }
    }

    /// New random secrets; the present ones count for `keep` longer.
    pub fn rotate(&self, now: Timestamp, keep: SignedDuration) -> Self {
        let expires_at = now.saturating_add(keep).unwrap_or(Timestamp::MAX);
        let previous = |value: &SecretString| PreviousSecret { value: value.clone(), expires_at };
        Self {
            previous_token: Some(previous(&self.token)),
            previous_signing_token: self.signing_token.as_ref().map(previous),
            ..Self::generate()
        }
    }

    /// The same without the previous secrets: what an admin asks for when all hooks are renewed.
    pub fn without_previous(&self) -> Self {
        Self { previous_token: None, previous_signing_token: None, ..self.clone() }
    }

    /// The text to keep in a secret store.
    pub fn to_json(&self) -> SecretString {
        let text = |secret: &SecretString| secret.expose_secret().to_owned();
        let previous = |secret: &PreviousSecret| KeptPrevious {
            value: text(&secret.value),
            expires_at: secret.expires_at,
        };
        let kept = Kept {
            token: text(&self.token),
            previous_token: self.previous_token.as_ref().map(previous),
            signing_token: self.signing_token.as_ref().map(text),
            previous_signing_token: self.previous_signing_token.as_ref().map(previous),
        };
        SecretString::from(serde_json::to_string(&kept).unwrap_or_default())
    }

    /// Reads what [`WebhookSecrets::to_json`] wrote.
    pub fn from_json(kept: &SecretString) -> Result<Self, InvalidSecrets> {
        let kept: Kept = serde_json::from_str(kept.expose_secret()).map_err(|_| InvalidSecrets)?;
        let previous = |kept: KeptPrevious| PreviousSecret {
            value: kept.value.into(),
            expires_at: kept.expires_at,
        };
        Ok(Self {
            token: kept.token.into(),
            previous_token: kept.previous_token.map(previous),
            signing_token: kept.signing_token.map(SecretString::from),
            previous_signing_token: kept.previous_signing_token.map(previous),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_survive_being_kept() {
        let now = Timestamp::from_second(1_744_578_123).unwrap();
        let first = WebhookSecrets::generate();
        let second = first.rotate(now, SignedDuration::from_hours(168));
        let read = WebhookSecrets::from_json(&second.to_json()).unwrap();
        assert_eq!(read.token.expose_secret(), second.token.expose_secret());
        let previous = read.previous_token.unwrap();
        assert_eq!(previous.value.expose_secret(), first.token.expose_secret());
        assert_eq!(previous.expires_at.to_string(), "2025-04-20T21:02:03Z");
        assert!(read.previous_signing_token.is_some());
        assert!(second.without_previous().previous_token.is_none());
    }

    #[test]
    fn generated_secrets_are_long_different_and_in_gitlabs_form() {
        let (one, other) = (WebhookSecrets::generate(), WebhookSecrets::generate());
        assert_eq!(one.token.expose_secret().len(), 64);
        assert_ne!(one.token.expose_secret(), other.token.expose_secret());
        let signing = one.signing_token.unwrap();
        let key = signing.expose_secret().strip_prefix("whsec_").unwrap();
        assert_eq!(STANDARD.decode(key).unwrap().len(), 32);
    }

    #[test]
    fn nothing_shows_a_secret() {
        let secrets = WebhookSecrets::generate();
        let shown = format!("{secrets:?} {:?}", secrets.to_json());
        assert!(!shown.contains(secrets.token.expose_secret()));
        assert!(!shown.contains("whsec_"));
    }

    #[test]
    fn old_records_without_newer_fields_are_read() {
        let read = WebhookSecrets::from_json(&r#"{"token":"t"}"#.to_owned().into()).unwrap();
        assert!(read.signing_token.is_none() && read.previous_token.is_none());
        assert!(WebhookSecrets::from_json(&"t".to_owned().into()).is_err());
    }
}
