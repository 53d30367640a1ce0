//! Secrets Manager, with a short cache so that a busy function does not ask for each message.

use crate::{SecretError, SecretName, Secrets};
use aws_sdk_secretsmanager::{Client, error::DisplayErrorContext};
use secrecy::{ExposeSecret as _, SecretString};
use std::{collections::HashMap, time::Duration};
use tokio::{sync::Mutex, time::Instant};

const FRESH: Duration = Duration::from_secs(60);

/// Secrets in AWS Secrets Manager, each under `<prefix><name>`.
pub struct ManagedSecrets {
    client: Client,
    prefix: String,
    fresh: Duration,
    cache: Mutex<HashMap<SecretName, (Instant, Option<SecretString>)>>,
}

impl ManagedSecrets {
    /// Secrets behind `prefix` (`gantry/`).
    pub fn new(client: Client, prefix: String) -> Self {
        Self { client, prefix, fresh: FRESH, cache: Mutex::default() }
    }

    /// The same with a cache of this age at most; none with zero.
    #[must_use]
    pub fn fresh_for(self, fresh: Duration) -> Self {
        Self { fresh, ..self }
    }

    fn id(&self, name: SecretName) -> String {
        format!("{}{}", self.prefix, name.as_str())
    }
}

#[async_trait::async_trait]
impl Secrets for ManagedSecrets {
    async fn get(&self, name: SecretName) -> Result<Option<SecretString>, SecretError> {
        let mut cache = self.cache.lock().await;
        if let Some((at, value)) = cache.get(&name)
            && at.elapsed() < self.fresh
        {
            return Ok(value.clone());
        }
        let value = match self.client.get_secret_value().secret_id(self.id(name)).send().await {
            Ok(answer) => answer.secret_string.map(SecretString::from),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|e| e.is_resource_not_found_exception()) =>
            {
                None
            }
            Err(error) => {
                return Err(SecretError {
                    name: name.as_str(),
                    attempted: "read",
                    problem: DisplayErrorContext(&error).to_string(),
                });
            }
        };
        cache.insert(name, (Instant::now(), value.clone()));
        Ok(value)
    }

    async fn put(&self, name: SecretName, value: &SecretString) -> Result<(), SecretError> {
        let failed = |problem| SecretError { name: name.as_str(), attempted: "written", problem };
        let mut cache = self.cache.lock().await;
        cache.remove(&name);
        let text = value.expose_secret();
        match self
            .client
            .put_secret_value()
            .secret_id(self.id(name))
            .secret_string(text)
            .send()
            .await
        {
            Ok(_) => Ok(()),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|e| e.is_resource_not_found_exception()) =>
            {
                let made = self
                    .client
                    .create_secret()
                    .name(self.id(name))
                    .secret_string(text)
                    .send()
                    .await;
                made.map(|_| ()).map_err(|error| failed(DisplayErrorContext(&error).to_string()))
            }
            Err(error) => Err(failed(DisplayErrorContext(&error).to_string())),
        }
    }
}
