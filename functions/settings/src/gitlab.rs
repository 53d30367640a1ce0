//! The connection to GitLab, as the records have it.

use crate::refusal::{Answer, Refusal};
use gantry_domain::{integration::Integration, stack::Stack};
use gantry_gitlab::{ApiHost, Client, ClientConfig, InvalidClient};
use gantry_secrets::{SecretName, Secrets};
use gantry_setup::Clock;
use gantry_store::Store;
use jiff::Timestamp;
use secrecy::SecretString;
use std::sync::Arc;
use tokio::sync::Mutex;

/// Makes clients, and keeps the last one while the settings stay as they are.
pub(crate) struct Connector {
    store: Store,
    secrets: Arc<dyn Secrets>,
    clock: Clock,
    ca_pem: Option<String>,
    last: Mutex<Option<(Timestamp, Client)>>,
}

/// A GitLab server that is linked, and a client for it.
pub(crate) struct Linked {
    pub(crate) integration: Integration,
    pub(crate) client: Client,
}

impl Connector {
    pub(crate) fn new(
        store: Store,
        secrets: Arc<dyn Secrets>,
        clock: Clock,
        ca_pem: Option<String>,
    ) -> Self {
        Self { store, secrets, clock, ca_pem, last: Mutex::default() }
    }

    /// A client for a server that is about to be linked.
    pub(crate) fn client(
        &self,
        host: ApiHost,
        token: SecretString,
    ) -> Result<Client, InvalidClient> {
        let clock = self.clock.clone();
        Client::new(ClientConfig {
            host,
            token,
            ca_pem: self.ca_pem.clone(),
            clock: Arc::new(move || clock.now()),
        })
    }

    /// The linked server; a refusal when there is none.
    pub(crate) async fn linked(&self) -> Answer<Linked> {
        let integration = match self.store.integration().await? {
            Some(found) if found.value.linked => found.value,
            _ => return Err(not_connected()),
        };
        let mut last = self.last.lock().await;
        if let Some((saved_at, client)) = &*last
            && *saved_at == integration.saved_at
        {
            return Ok(Linked { client: client.clone(), integration });
        }
        let token = self.secrets.get(SecretName::ApiToken).await?.ok_or_else(not_connected)?;
        let unusable = |problem: String| {
            Refusal::conflict("GitLab is not connected", format!("Connect it anew: {problem}"))
        };
        let host = integration
            .api_host
            .parse::<ApiHost>()
            .map_err(|problem| unusable(problem.to_string()))?;
        let client = self.client(host, token).map_err(|problem| unusable(problem.to_string()))?;
        *last = Some((integration.saved_at, client.clone()));
        Ok(Linked { integration, client })
    }
}

fn not_connected() -> Refusal {
    Refusal::conflict("GitLab is not connected", "Connect it first: PUT /api/v1/integration.")
}

/// Why nothing runs for a stack as far as the connection goes; none when it does.
pub(crate) fn detached(stack: &Stack, integration: Option<&Integration>) -> Option<String> {
    match integration {
        None => Some("GitLab is not connected".to_owned()),
        Some(integration) if !integration.linked => {
            Some(format!("{} was unlinked", integration.api_host))
        }
        Some(integration) if integration.generation != stack.generation => Some(format!(
            "its project belongs to a GitLab server that was linked before {}: point the stack \
             at a project there",
            integration.api_host
        )),
        Some(_) => None,
    }
}
