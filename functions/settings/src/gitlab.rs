//! The connection to GitLab, as the records have it.

use crate::refusal::{Answer, Refusal};
use axum::http::StatusCode;
use gantry_connection::{Connection, NotConnected};
use gantry_domain::{integration::Integration, stack::Stack};
use gantry_gitlab::{ApiHost, Client, ClientConfig, Clock as GitlabClock, InvalidClient};
use gantry_secrets::Secrets;
use gantry_setup::web::Problem;
use gantry_store::Store;
use secrecy::SecretString;
use std::sync::Arc;

/// Makes clients: for the linked server, and for one that is about to be linked.
pub(crate) struct Connector {
    connection: Connection,
    clock: GitlabClock,
    ca_pem: Option<String>,
}

/// A GitLab server that is linked, and a client for it.
pub(crate) struct Linked {
    pub(crate) integration: Integration,
    pub(crate) client: Arc<Client>,
}

impl Connector {
    pub(crate) fn new(
        store: Store,
        secrets: Arc<dyn Secrets>,
        clock: GitlabClock,
        ca_pem: Option<String>,
    ) -> Self {
        let connection = Connection::new(store, secrets, Arc::clone(&clock));
        Self { connection: connection.trusting(ca_pem.clone()), clock, ca_pem }
    }

    /// A client for a server that is about to be linked.
    pub(crate) fn client(
        &self,
        host: ApiHost,
        token: SecretString,
    ) -> Result<Client, InvalidClient> {
        let (ca_pem, clock) = (self.ca_pem.clone(), Arc::clone(&self.clock));
        Client::new(ClientConfig { host, token, ca_pem, clock })
    }

    /// The linked server; a refusal when there is none.
    pub(crate) async fn linked(&self) -> Answer<Linked> {
        match self.connection.connected().await {
            Ok(found) => Ok(Linked { integration: found.integration.value, client: found.client }),
            Err(NotConnected::Store(error)) => Err(error.into()),
            Err(NotConnected::Secrets(error)) => Err(error.into()),
            Err(why) => {
                let mut problem = Problem::new(
                    StatusCode::CONFLICT,
                    "GitLab is not connected",
                    format!("Connect it first (PUT /api/v1/integration): {why}."),
                );
                if let Some(cause) = std::error::Error::source(&why) {
                    problem.detail = format!("{} {cause}.", problem.detail);
                }
                Err(Refusal::from(problem))
            }
        }
    }
}

/// Why nothing runs for a stack as far as the connection goes; none when it does.
pub(crate) fn detached(stack: &Stack, integration: Option<&Integration>) -> Option<String> {
    if stack.is_attached(integration) {
        return None;
    }
    match integration {
        None => Some("GitLab is not connected".to_owned()),
        Some(integration) if !integration.linked => {
            Some(format!("{} was unlinked", integration.api_host))
        }
        Some(integration) => Some(format!(
            "its project is on a GitLab server that was linked before {}; point the stack at a \
             project there",
            integration.api_host
        )),
    }
}
