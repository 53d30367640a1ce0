//! The connection as it is answered.

use super::{
    Addresses,
    check::{Found, User},
    webhook::{self, HookSecrets, Webhook},
};
use crate::{app::App, refusal::Answer};
use gantry_domain::integration::Integration;
use gantry_gitlab::webhook::WebhookSecrets;
use gantry_secrets::SecretName;
use gantry_store::{
    health::{Ended, Health},
    keys,
};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

/// The connection to GitLab.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Integration")]
pub(crate) struct IntegrationView {
    /// A server is connected.
    pub(crate) linked: bool,
    /// The URL of the server that is connected, or was connected last.
    pub(crate) api_host: Option<String>,
    /// When these settings were saved.
    pub(crate) saved_at: Option<Timestamp>,
    /// What the server reported when the settings were saved.
    pub(crate) found: Option<FoundView>,
    /// What does not work, as seen by the functions that call GitLab.
    pub(crate) broken: Vec<Broken>,
    /// The most recent problem that is over, as seen by the function that calls GitLab; null if there
    /// was none.
    pub(crate) last_trouble: Option<LastTrouble>,
    /// What a project's webhook needs.
    pub(crate) webhook: Webhook,
    /// Why GitLab cannot reach Gantry; null if no reason is known.
    pub(crate) note: Option<String>,
}

/// What the server reported.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "FoundServer")]
pub(crate) struct FoundView {
    /// GitLab's version.
    pub(crate) version: String,
    /// The user that the token acts as.
    pub(crate) bot_user: User,
    /// What the token may do, as GitLab names it; empty if GitLab does not report it.
    pub(crate) scopes: Vec<String>,
    /// The day on which the token expires at 00:00 UTC.
    #[schemars(extend("format" = "date"))]
    pub(crate) expires_on: Option<String>,
    /// Warnings about the token or the server, in words.
    pub(crate) warnings: Vec<String>,
}

/// A problem that a function sees.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Trouble")]
pub(crate) struct Broken {
    /// The function: `publisher` or `scheduler`.
    pub(crate) seen_by: &'static str,
    /// What does not work, in words.
    pub(crate) reason: String,
    /// When it began, if known.
    pub(crate) since: Option<Timestamp>,
    #[serde(skip)]
    pub(crate) token_rejected: bool,
    #[serde(skip)]
    pub(crate) rate_limited: bool,
}

/// A problem that a function saw, and that is over.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PastTrouble")]
pub(crate) struct LastTrouble {
    /// The function: `publisher` or `scheduler`.
    pub(crate) seen_by: &'static str,
    /// What did not work, in words.
    pub(crate) reason: String,
    /// When it began, if known.
    pub(crate) since: Option<Timestamp>,
    /// When it worked again.
    pub(crate) ended_at: Timestamp,
}

pub(super) async fn integration(
    app: &App,
    integration: Option<Integration>,
    found: Option<Found>,
    with_secrets: bool,
) -> Answer<IntegrationView> {
    let host = integration.as_ref().map_or("", |known| known.api_host.as_str());
    let addresses = Addresses::of(app.public_url.as_ref(), host);
    let signs = found.as_ref().is_some_and(Found::signs);
    let mut hook = webhook::by_hand(addresses.endpoint.as_deref(), None, signs, false);
    if with_secrets
        && let Some(kept) = app.secrets.get(SecretName::WebhookSecrets).await?
        && let Ok(secrets) = WebhookSecrets::from_json(&kept)
    {
        hook.secrets = Some(HookSecrets::at(&secrets, app.clock.now()));
    }
    let (broken, last_trouble) = troubles(app).await?;
    Ok(IntegrationView {
        linked: integration.as_ref().is_some_and(|known| known.linked),
        saved_at: integration.as_ref().map(|known| known.saved_at),
        broken,
        last_trouble,
        api_host: integration.map(|known| known.api_host),
        found: found.map(|found| FoundView {
            version: found.version,
            bot_user: found.user,
            scopes: found.scopes,
            expires_on: found.expires_on,
            warnings: found.warnings,
        }),
        webhook: hook,
        note: addresses.note,
    })
}

pub(crate) async fn broken(app: &App) -> Answer<Vec<Broken>> {
    Ok(troubles(app).await?.0)
}

/// What does not work, and the trouble that ended last.
async fn troubles(app: &App) -> Answer<(Vec<Broken>, Option<LastTrouble>)> {
    let (mut broken, mut over) = (Vec::new(), Vec::new());
    for seen_by in ["publisher", "scheduler"] {
        let health = app.store.get::<Health>(&keys::health(seen_by)).await?;
        let health = health.map(|health| health.value).unwrap_or_default();
        let Health { since, token_rejected, rate_limited, .. } = health;
        if let Some(reason) = health.broken {
            broken.push(Broken { seen_by, reason, since, token_rejected, rate_limited });
        }
        if let Some(Ended { reason, since, at: ended_at }) = health.ended {
            over.push(LastTrouble { seen_by, reason, since, ended_at });
        }
    }
    Ok((broken, over.into_iter().max_by_key(|trouble| trouble.ended_at)))
}
