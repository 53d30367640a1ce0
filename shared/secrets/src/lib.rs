//! Secrets: where they are kept, how values are sealed, how tokens are signed.
//!
//! On AWS they live in Secrets Manager, on one machine in a file that only its owner may read.
//! Every secret is a [`SecretString`]: it has no `Display`, and its `Debug` says nothing.

mod file;
mod handed_back;
pub mod links;
mod manager;
mod notified;
mod person;
mod sealing;
mod session;
mod tokens;

pub use file::FileSecrets;
pub use handed_back::HandedBack;
pub use manager::ManagedSecrets;
pub use notified::{TargetPart, new_target_secret, open_for_target, seal_for_target, sign_webhook};
pub use person::{PersonTokens, open_application, seal_application};
pub use sealing::{SealError, Sealer};
pub use session::{SESSION_COOKIE, SESSION_LASTS, Session};
pub use tokens::{Signer, TokenFor, TokenKind, TokenRefused};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::Rng as _;
use secrecy::{ExposeSecret as _, SecretString};

/// The secrets that an installation has. Each is its own entry, so that access can be given one
/// by one: `webhook` reads only [`SecretName::WebhookSecrets`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SecretName {
    /// GitLab's API token.
    ApiToken,
    /// The API token of the user that was replaced by another one, to finish what it began.
    PreviousApiToken,
    /// What webhooks must prove that they know: JSON, current and previous.
    WebhookSecrets,
    /// The keys that sign claim, run and session tokens: JSON, current and previous.
    SigningKeys,
    /// The key that seals secret variables in the table.
    SealingKey,
    /// The generated first admin key.
    AdminKey,
}

impl SecretName {
    /// The name in Secrets Manager behind the installation's prefix, and in the local file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ApiToken => "gitlab-api-token",
            Self::PreviousApiToken => "gitlab-api-token-previous",
            Self::WebhookSecrets => "webhook-secrets",
            Self::SigningKeys => "signing-keys",
            Self::SealingKey => "sealing-key",
            Self::AdminKey => "admin-key",
        }
    }
}

/// Secrets could not be read or written; trying again later may help.
#[derive(Debug, thiserror::Error)]
#[error("the secret {name} could not be {attempted}: {problem}")]
pub struct SecretError {
    name: &'static str,
    attempted: &'static str,
    problem: String,
}

/// Where secrets are kept.
#[async_trait::async_trait]
pub trait Secrets: Send + Sync {
    /// The secret's value, or none when it was never written.
    async fn get(&self, name: SecretName) -> Result<Option<SecretString>, SecretError>;

    /// Replaces the secret's value.
    async fn put(&self, name: SecretName, value: &SecretString) -> Result<(), SecretError>;

    /// The secret's value; an error that names it when it is missing or empty.
    async fn required(&self, name: SecretName) -> Result<SecretString, SecretError> {
        let found = self.get(name).await?;
        found.filter(|value| !value.expose_secret().trim().is_empty()).ok_or(SecretError {
            name: name.as_str(),
            attempted: "used",
            problem: "it is missing or empty".to_owned(),
        })
    }

    /// The secret's value; made by `make` and written when there is none yet.
    async fn get_or_make(
        &self,
        name: SecretName,
        make: fn() -> SecretString,
    ) -> Result<SecretString, SecretError> {
        if let Some(found) = self.get(name).await? {
            return Ok(found);
        }
        self.put(name, &make()).await?;
        // Read again: when two programs start at once, both go on with the value that stayed.
        self.get(name).await?.ok_or(SecretError {
            name: name.as_str(),
            attempted: "read",
            problem: "it was written and is not there".to_owned(),
        })
    }
}

/// 256 random bits as text that is safe in addresses and headers.
pub fn random_secret() -> SecretString {
    let mut bytes = [0u8; 32];
    rand::rng().fill_bytes(&mut bytes);
    SecretString::from(URL_SAFE_NO_PAD.encode(bytes))
}
