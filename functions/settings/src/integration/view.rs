//! The connection as it is answered.

use super::{
    Addresses,
    check::{Found, User},
    webhook,
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
use secrecy::ExposeSecret as _;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// `GET` and `PUT /api/v1/integration`.
#[derive(Serialize)]
pub(crate) struct IntegrationView {
    pub(crate) linked: bool,
    pub(crate) api_host: Option<String>,
    pub(crate) saved_at: Option<Timestamp>,
    pub(crate) found: Option<FoundView>,
    /// What does not work, as the functions that call GitLab saw it.
    pub(crate) broken: Vec<Broken>,
    /// What did not work before, and does again.
    pub(crate) last_trouble: Option<LastTrouble>,
    pub(crate) webhook: Value,
    /// Why GitLab cannot call here; none when it can, as far as is known.
    pub(crate) note: Option<String>,
}

/// What was found at the server.
#[derive(Serialize)]
pub(crate) struct FoundView {
    pub(crate) version: String,
    pub(crate) bot_user: User,
    pub(crate) scopes: Vec<String>,
    pub(crate) expires_on: Option<String>,
    pub(crate) warnings: Vec<String>,
}

/// What a function saw that does not work.
#[derive(Serialize)]
pub(crate) struct Broken {
    pub(crate) seen_by: &'static str,
    pub(crate) reason: String,
    pub(crate) since: Option<Timestamp>,
    #[serde(skip)]
    pub(crate) token_rejected: bool,
    #[serde(skip)]
    pub(crate) rate_limited: bool,
}

/// What a function saw that did not work, and later that it did.
#[derive(Serialize)]
pub(crate) struct LastTrouble {
    pub(crate) seen_by: &'static str,
    pub(crate) reason: String,
    pub(crate) since: Option<Timestamp>,
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
    let mut hook = webhook::by_hand(addresses.endpoint.as_deref(), None, signs);
    if let Some(members) = hook.as_object_mut()
        && with_secrets
        && let Some(kept) = app.secrets.get(SecretName::WebhookSecrets).await?
        && let Ok(secrets) = WebhookSecrets::from_json(&kept)
    {
        show_secrets(members, &secrets, app.clock.now());
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

/// The webhook's secrets are shown to admins whenever they ask: hooks are also made by hand.
pub(super) fn show_secrets(to: &mut Map<String, Value>, secrets: &WebhookSecrets, now: Timestamp) {
    let signing = secrets.signing_token.as_ref().map(|secret| secret.expose_secret());
    let previous = secrets.previous_token.as_ref().map(|previous| previous.expires_at);
    to.insert("secret".to_owned(), secrets.token.expose_secret().into());
    to.insert("signing_token".to_owned(), signing.into());
    let until = previous.filter(|until| *until > now);
    to.insert("previous_secret_until".to_owned(), json!(until));
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
