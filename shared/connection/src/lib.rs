//! The client of the server that this installation is linked to.
//!
//! Each function holds one [`Connection`]. It asks the records and the secret store each time, and
//! makes a new client only when the settings or the token have changed since the last one: a
//! client's connections and rate limits outlive the message that it was first made for.

use gantry_domain::{UserId, integration::Integration};
use gantry_gitlab::{ApiHost, Client, ClientConfig, Clock, InvalidClient, InvalidHost};
use gantry_secrets::{SecretError, SecretName, Secrets};
use gantry_store::{Store, StoreError, Stored};
use secrecy::{ExposeSecret as _, SecretString};
use std::sync::Arc;
use tokio::sync::Mutex;

/// Makes clients for the linked server, and keeps the last one.
pub struct Connection {
    store: Store,
    secrets: Arc<dyn Secrets>,
    clock: Clock,
    ca_pem: Option<String>,
    last: Mutex<Option<Last>>,
}

struct Last {
    version: u64,
    token: SecretString,
    client: Arc<Client>,
}

/// A client, and the settings that it was made from.
#[derive(Clone)]
pub struct Connected {
    /// Talks to the server.
    pub client: Arc<Client>,
    /// The server, as the records had it when this was asked for.
    pub integration: Stored<Integration>,
}

/// Why there is no client now. All of it ends by a person's hand or by itself: wait, lose nothing.
#[derive(Debug, thiserror::Error)]
pub enum NotConnected {
    /// Nobody has set up a server yet.
    #[error("no GitLab server is set up")]
    NotSetUp,
    /// A person unlinked the server.
    #[error("the GitLab server is unlinked")]
    Unlinked,
    /// The settings are there and the token is not.
    #[error("the API token is missing from the secret store; save the GitLab settings again")]
    NoToken,
    /// The saved address is none.
    #[error("the saved address of the GitLab server is not valid")]
    Host(#[from] InvalidHost),
    /// The saved token or certificate cannot be used.
    #[error("the saved GitLab settings are not valid")]
    Settings(#[from] InvalidClient),
    /// The records cannot be read.
    #[error("the GitLab settings cannot be read")]
    Store(#[from] StoreError),
    /// The secret store cannot be read.
    #[error("the API token cannot be read")]
    Secrets(#[from] SecretError),
}

impl Connection {
    /// A connection to whichever server the records name.
    pub fn new(store: Store, secrets: Arc<dyn Secrets>, clock: Clock) -> Self {
        Self { store, secrets, clock, ca_pem: None, last: Mutex::default() }
    }

    /// The same, trusting these authorities (PEM) besides the machine's own.
    #[must_use]
    pub fn trusting(self, ca_pem: Option<String>) -> Self {
        Self { ca_pem, ..self }
    }

    /// The client for the linked server.
    pub async fn current(&self) -> Result<Arc<Client>, NotConnected> {
        Ok(self.connected().await?.client)
    }

    /// The client with the settings behind it: the bot user, the generation of project ids.
    pub async fn connected(&self) -> Result<Connected, NotConnected> {
        let integration = self.store.integration().await?.ok_or(NotConnected::NotSetUp)?;
        self.connected_by(integration).await
    }

    /// The same for whoever has just read the settings.
    pub async fn connected_by(
        &self,
        integration: Stored<Integration>,
    ) -> Result<Connected, NotConnected> {
        if !integration.value.linked {
            return Err(NotConnected::Unlinked);
        }
        let token = self.secrets.get(SecretName::ApiToken).await?.ok_or(NotConnected::NoToken)?;
        let mut last = self.last.lock().await;
        if let Some(last) = &*last
            && last.version == integration.version
            && last.token.expose_secret() == token.expose_secret()
        {
            return Ok(Connected { client: Arc::clone(&last.client), integration });
        }
        let client = self.client(&integration.value, token.clone())?;
        let version = integration.version;
        *last = Some(Last { version, token, client: Arc::clone(&client) });
        Ok(Connected { client, integration })
    }

    /// A client that acts as the user before the present one, if that was `user`: for finishing
    /// what only that user may finish. It is seldom needed, so it is made each time.
    pub async fn previous(
        &self,
        connected: &Connected,
        user: UserId,
    ) -> Result<Option<Arc<Client>>, NotConnected> {
        let integration = &connected.integration.value;
        if integration.previous_bot.as_ref().is_none_or(|previous| previous.id != user) {
            return Ok(None);
        }
        let token = self.secrets.get(SecretName::PreviousApiToken).await?;
        token.map(|token| self.client(integration, token)).transpose()
    }

    fn client(
        &self,
        integration: &Integration,
        token: SecretString,
    ) -> Result<Arc<Client>, NotConnected> {
        Ok(Arc::new(Client::new(ClientConfig {
            // Whether plain http is taken was decided when the settings were saved.
            host: ApiHost::parse_allowing_http(&integration.api_host)?,
            token,
            ca_pem: self.ca_pem.clone(),
            clock: Arc::clone(&self.clock),
        })?))
    }
}
