//! Replacing the webhooks' secret: the hooks that Gantry made are rewritten, all others go on with
//! the old secret until it ends.

use super::{
    Addresses, kept_secrets,
    webhook::{self, HookSecrets, Webhook},
};
use crate::{
    app::App,
    form::{Body, Form},
    gitlab::Linked,
    refusal::{Answer, Done, Refusal},
    stacks,
};
use axum::{Extension, Json, extract::State, response::IntoResponse};
use futures::{StreamExt as _, stream};
use gantry_domain::{ProjectId, text::counted};
use gantry_gitlab::{Client, HookSettings, webhook::WebhookSecrets};
use gantry_secrets::SecretName;
use gantry_store::{
    config::{ProjectEntry, ProjectStack},
    keys,
};
use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

/// How long the old secret still counts.
const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Projects that are rewritten at the same time.
const AT_ONCE: usize = 8;

/// `POST /api/v1/integration/rotate-secret {"end"?, "force"?}`
pub(crate) async fn rotate(State(app): State<App>, Body(body): Body) -> Answer<impl IntoResponse> {
    let (answer, outcome) = rotate_secret(&app, body).await?;
    Ok((Extension(Done::new(outcome)), Json(answer)))
}

/// The webhook secret as it is now, and which webhooks have it.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Rotated {
    webhook: Webhook,
    /// Every project with a webhook created by Gantry, or with a stack, by path.
    projects: Vec<RenewedHook>,
    /// Projects whose webhooks still send the previous secret.
    pub(crate) still_on_previous: Vec<RenewedHook>,
}

/// The outcome for the webhook of one project.
#[derive(Clone, Serialize, JsonSchema)]
pub(crate) struct RenewedHook {
    project_id: ProjectId,
    /// The project's path in GitLab.
    pub(crate) path: String,
    /// It sends the new secret.
    renewed: bool,
    /// Why it does not.
    pub(crate) problem: Option<String>,
}

/// Replaces the webhooks' secret, or ends the one before. Answers what the API answers, and one
/// line for people.
pub(crate) async fn rotate_secret(
    app: &App,
    body: Map<String, Value>,
) -> Answer<(Rotated, String)> {
    let mut form = Form::new(body);
    let end = form.flag("end").unwrap_or(false);
    let force = form.flag("force").unwrap_or(false);
    form.check()?;
    let now = app.clock.now();
    let before = kept_secrets(app).await?;
    let open = before.previous_token.as_ref().filter(|previous| previous.expires_at > now);
    if let Some(previous) = open
        && !end
        && !force
    {
        return Err(Refusal::conflict(
            "A rotation is in progress",
            format!(
                "Webhooks with the previous secret work until {}; another rotation would end that \
                 at once. Renew them (POST /api/v1/stacks/{{slug}}/webhook), revoke the previous \
                 secret with {{\"end\": true}}, or force it with {{\"force\": true}}.",
                previous.expires_at
            ),
        ));
    }
    let secrets = if end { before.without_previous() } else { before.rotate(now, KEPT) };
    // The new secret first: a hook that sends it must find it.
    app.secrets.put(SecretName::WebhookSecrets, &secrets.to_json()).await?;
    let host = app.store.integration().await?.map(|known| known.value.api_host).unwrap_or_default();
    let addresses = Addresses::of(app.public_url.as_ref(), &host);
    let endpoint = addresses.endpoint.as_deref();
    let hooks = if end { Vec::new() } else { renew_hooks(app, &secrets, endpoint).await? };
    let old: Vec<RenewedHook> = hooks.iter().filter(|hook| !hook.renewed).cloned().collect();
    let mut shown = webhook::by_hand(endpoint, None, true, false);
    shown.secrets = Some(HookSecrets::at(&secrets, now));
    let outcome = if end {
        "revoked the previous webhook secret".to_owned()
    } else {
        let still = if old.len() == 1 { "still uses" } else { "still use" };
        let projects = counted(old.len(), "project");
        format!("replaced the webhook secret; {projects} {still} the old one")
    };
    Ok((Rotated { webhook: shown, projects: hooks, still_on_previous: old }, outcome))
}

/// Rewrites every hook that Gantry made, and says which projects it could not do.
async fn renew_hooks(
    app: &App,
    secrets: &WebhookSecrets,
    endpoint: Option<&str>,
) -> Answer<Vec<RenewedHook>> {
    let projects = stacks::all_projects(app).await?;
    // Unlinked: hooks are listed as they are, and renewed one by one when a server is linked.
    let linked = app.gitlab.linked().await.ok();
    let mut results: Vec<RenewedHook> = stream::iter(projects)
        .map(|project| renew(app, linked.as_ref(), project, secrets, endpoint))
        .buffer_unordered(AT_ONCE)
        .filter_map(|result| async { result.transpose() })
        .collect::<Vec<Answer<RenewedHook>>>()
        .await
        .into_iter()
        .collect::<Answer<_>>()?;
    results.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(results)
}

/// One project; none when it has no stacks left.
async fn renew(
    app: &App,
    linked: Option<&Linked>,
    project: ProjectEntry,
    secrets: &WebhookSecrets,
    endpoint: Option<&str>,
) -> Answer<Option<RenewedHook>> {
    let stacks = app
        .store
        .query::<ProjectStack>(&keys::project_stacks(project.project), "", None, false, 1)
        .await?;
    if stacks.items.is_empty() && project.hook.is_none() {
        return Ok(None);
    }
    let problem = match (project.hook, linked) {
        (None, _) => {
            Some("its webhook was not created by Gantry; replace the secret by hand".to_owned())
        }
        (Some(_), None) => Some("GitLab is not connected".to_owned()),
        (Some(hook), Some(linked)) => {
            let settings = |url: String, verify_tls| HookSettings {
                url,
                token: secrets.token.clone(),
                signing_token: secrets.signing_token.clone(),
                verify_tls,
                note_events: false,
            };
            rewrite(&linked.client, &project, hook, endpoint, settings).await.err()
        }
    };
    let renewed = problem.is_none();
    Ok(Some(RenewedHook { project_id: project.project, path: project.path, renewed, problem }))
}

async fn rewrite(
    client: &Client,
    project: &ProjectEntry,
    hook: u64,
    endpoint: Option<&str>,
    settings: impl Fn(String, bool) -> HookSettings,
) -> Result<(), String> {
    let hooks = client.hooks(project.project).await.map_err(|error| error.to_string())?;
    let Some(found) = hooks.into_iter().find(|found| found.id == hook) else {
        return Err("the webhook created by Gantry no longer exists".to_owned());
    };
    if Some(found.url.as_str()) != endpoint {
        return Err("the webhook created by Gantry now calls another URL".to_owned());
    }
    let verify_tls = found.enable_ssl_verification.unwrap_or(true);
    client
        .update_hook(project.project, hook, &settings(found.url, verify_tls))
        .await
        .map(drop)
        .map_err(|error| error.to_string())
}
