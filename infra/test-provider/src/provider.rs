//! The provider as a whole: its configuration, and what is asked of no resource.

use crate::{
    diagnostics,
    outside::Outside,
    protocol::{
        Configure, Configured, Data, Diagnosed, DynamicValue, Empty, Identity, IdentitySchemas,
        Opened, Schemas, Upgrade, UpgradedIdentity, UpgradedState,
    },
    schema,
    value::{self, Object},
};
use anyhow::{Context as _, Result};
use rmpv::Value;
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::sync::watch;

/// One start of the provider.
#[derive(Default)]
pub(crate) struct Provider {
    outside: OnceLock<Outside>,
    stopped: watch::Sender<bool>,
}

impl Provider {
    pub(crate) async fn schemas(self: Arc<Self>, _: Empty) -> Schemas {
        schema::schemas()
    }

    pub(crate) async fn identities(self: Arc<Self>, _: Empty) -> IdentitySchemas {
        schema::identities()
    }

    pub(crate) async fn nothing_to_say(self: Arc<Self>, _: Empty) -> Empty {
        Empty {}
    }

    pub(crate) async fn configure(self: Arc<Self>, asked: Configure) -> Diagnosed {
        let config = value::object(asked.config.as_ref()).unwrap_or_default();
        let diagnostics = match Outside::new(value::text(&config, "folder")) {
            Ok(outside) => {
                let _configured_twice = self.outside.set(outside);
                Vec::new()
            }
            Err(error) => vec![diagnostics::error("The provider cannot be used", why(&error))],
        };
        Diagnosed { diagnostics }
    }

    /// Ends everything that waits: somebody has interrupted the tool.
    pub(crate) async fn stop(self: Arc<Self>, _: Empty) -> Empty {
        self.stopped.send_replace(true);
        Empty {}
    }

    /// The state has what it always had.
    pub(crate) async fn upgrade_state(self: Arc<Self>, asked: Upgrade) -> UpgradedState {
        UpgradedState { state: Some(as_it_is(asked)) }
    }

    pub(crate) async fn upgrade_identity(self: Arc<Self>, asked: Upgrade) -> UpgradedIdentity {
        UpgradedIdentity { identity: Some(Identity { data: Some(as_it_is(asked)) }) }
    }

    pub(crate) async fn read_data(self: Arc<Self>, asked: Configured) -> Data {
        let config = value::object(asked.config.as_ref()).unwrap_or_default();
        let id = value::text(&config, "id").to_owned();
        let found = self.outside().and_then(|outside| {
            outside.read(&id)?.with_context(|| format!("there is no object {id}"))
        });
        match found {
            Ok(mut found) => {
                found.retain(|name, _| ["id", "text", "number", "secret"].contains(&name.as_str()));
                Data { state: value::send(Some(&found)), diagnostics: Vec::new() }
            }
            Err(error) => {
                let error = diagnostics::error("The object cannot be read", why(&error));
                Data { state: None, diagnostics: vec![error] }
            }
        }
    }

    /// A token that says whose it is, so that tests can look for it.
    pub(crate) async fn open(self: Arc<Self>, asked: Configured) -> Opened {
        let mut token = value::object(asked.config.as_ref()).unwrap_or_default();
        let secret = format!("token-of-{}", value::text(&token, "name"));
        token.insert("value".to_owned(), Value::from(secret));
        Opened { diagnostics: Vec::new(), result: value::send(Some(&token)) }
    }

    pub(crate) async fn close(self: Arc<Self>, _: Empty) -> Diagnosed {
        Diagnosed::default()
    }

    pub(crate) fn outside(&self) -> Result<&Outside> {
        self.outside.get().context("the provider was not configured")
    }

    /// Waits, unless somebody interrupts.
    pub(crate) async fn wait(&self, seconds: Option<&Value>) -> Result<()> {
        let Some(seconds) = seconds.and_then(Value::as_f64) else { return Ok(()) };
        let mut stopped = self.stopped.subscribe();
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs_f64(seconds.clamp(0.0, 3600.0))) => Ok(()),
            _ = stopped.wait_for(|stopped| *stopped) => anyhow::bail!("it was interrupted"),
        }
    }
}

/// What a state's file has, as a value.
fn as_it_is(asked: Upgrade) -> DynamicValue {
    DynamicValue { msgpack: Vec::new(), json: asked.raw.unwrap_or_default().json }
}

/// An error with its causes.
pub(crate) fn why(error: &anyhow::Error) -> String {
    format!("{error:#}.")
}

/// What tells one object from all others.
pub(crate) fn identity(object: &Object) -> Option<Identity> {
    let id = object.get("id").filter(|id| id.is_str())?;
    let identity = Object::from([("id".to_owned(), id.clone())]);
    Some(Identity { data: value::send(Some(&identity)) })
}
