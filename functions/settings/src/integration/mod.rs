//! The GitLab server: connecting it, looking at it, unlinking it.

mod check;
mod rotate;
mod view;
mod webhook;

pub(crate) use check::Found;
pub(crate) use rotate::{Rotated, rotate, rotate_secret};
pub(crate) use view::{Broken, IntegrationView, LastTrouble, broken};
pub(crate) use webhook::{Addresses, HookSecrets, by_hand, cannot_call, kept_secrets};

use crate::{
    access::{About, Caller},
    app::App,
    form::{Body, Form},
    people,
    refusal::{Answer, Done, Refusal},
};
use axum::{Extension, Json, extract::State, response::IntoResponse};
use gantry_domain::{integration::Integration, rights::Right};
use gantry_gitlab::{ApiHost, InvalidClient, webhook::WebhookSecrets};
use gantry_queue::SlotsMessage;
use gantry_secrets::SecretName;
use gantry_store::{Expect, Outcome, Stored, Write, config::ProjectEntry, keys};
use jiff::Timestamp;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Serialize;
use serde_json::{Map, Value};

/// `GET /api/v1/integration`
pub(crate) async fn show(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
) -> Answer<impl IntoResponse> {
    // What is wrong there names projects.
    if !caller.sees_all() {
        caller.check(Right::Admin, About::Installation)?;
    }
    present(&app, caller.may(Right::Admin)).await.map(Json)
}

/// The connection as it is now; its secrets are for admins.
pub(crate) async fn present(app: &App, with_secrets: bool) -> Answer<IntegrationView> {
    let integration = app.store.integration().await?.map(|found| found.value);
    let found = integration.as_ref().map(|known| Found::recorded(known, app.clock.now()));
    view::integration(app, integration, found, with_secrets).await
}

/// `PUT /api/v1/integration {"api_host", "token"}`
///
/// Nothing is saved unless GitLab answered and takes the token.
pub(crate) async fn connect(State(app): State<App>, Body(body): Body) -> Answer<impl IntoResponse> {
    let (integration, found) = link(&app, body).await?;
    let done =
        Done::new(format!("connected {} as {}", integration.api_host, integration.bot.username));
    let view = view::integration(&app, Some(integration), Some(found), true).await?;
    Ok((Extension(done), Json(view)))
}

/// Checks a server and a token, and saves both.
pub(crate) async fn link(app: &App, body: Map<String, Value>) -> Answer<(Integration, Found)> {
    let (host, token) = read(body)?;
    let client =
        app.gitlab.client(host.clone(), token.clone()).map_err(|problem| match problem {
            InvalidClient::Token => Refusal::field("token", problem.to_string()),
            InvalidClient::Certificate | InvalidClient::Tls(_) => {
                Refusal::field("api_host", format!("Cannot be reached from here: {problem}"))
            }
        })?;
    let now = app.clock.now();
    let before = app.store.integration().await?;
    let mut found = check::check(&client, now).await?;
    if let Some(before) = &before
        && before.value.api_host == host.as_str()
        && before.value.bot.id != found.user.id
    {
        found.warnings.insert(0, another_user(&before.value, &found));
    }
    let integration = save(app, before, &host, &token, &found, now).await?;
    app.secrets
        .get_or_make(SecretName::WebhookSecrets, || WebhookSecrets::generate().to_json())
        .await?;
    // What waits for a token that works goes on.
    nudge(app, &integration).await;
    Ok((integration, found))
}

fn read(body: Map<String, Value>) -> Answer<(ApiHost, SecretString)> {
    let mut form = Form::new(body);
    let host = form.required_text("api_host", "Enter GitLab's URL, such as https://gitlab.com.");
    let token = form.raw_text("token").map(|token| token.trim().to_owned());
    let token = token.filter(|token| !token.is_empty());
    if token.is_none() {
        form.wrong("token", "Enter an access token with the scope api.");
    }
    let host = host.and_then(|text| match text.parse::<ApiHost>() {
        Ok(host) => Some(host),
        Err(problem) => {
            form.wrong("api_host", problem.to_string());
            None
        }
    });
    form.check()?;
    let missing = || Refusal::field("api_host", "Enter GitLab's URL.");
    host.zip(token.map(SecretString::from)).ok_or_else(missing)
}

fn another_user(before: &Integration, found: &Found) -> String {
    format!(
        "The token belongs to another user: {} instead of {}. GitLab lets a user finish only its \
         own statuses, so the open ones of {} are finished with its old token. Revoke that one \
         once their runs have ended",
        found.user.username, before.bot.username, before.bot.username
    )
}

/// Saves token and record so that no function ever sends a token to a server it is not for: while
/// the server changes, nothing is linked.
async fn save(
    app: &App,
    before: Option<Stored<Integration>>,
    host: &ApiHost,
    token: &SecretString,
    found: &Found,
    now: Timestamp,
) -> Answer<Integration> {
    let mut expect = before.as_ref().map_or(Expect::Absent, Stored::unchanged);
    let before = before.map(|stored| stored.value);
    let same_host = before.as_ref().is_some_and(|known| known.api_host == host.as_str());
    // Whoever signed in with the server that is left: asked first, as nobody can be later.
    let left = if same_host { None } else { people::provider(app).await.ok().flatten() };
    if let Some(known) = before.as_ref().filter(|known| known.linked && !same_host) {
        put(app, expect, &Integration { linked: false, saved_at: now, ..known.clone() }).await?;
        if let Expect::Version(version) = &mut expect {
            *version += 1;
        }
    }
    let previous_bot = match &before {
        Some(known) if known.linked && same_host && known.bot.id != found.user.id => {
            let old = app.secrets.get(SecretName::ApiToken).await?;
            if let Some(old) = old {
                app.secrets.put(SecretName::PreviousApiToken, &old).await?;
            }
            Some(known.bot.clone())
        }
        Some(known) if same_host => known.previous_bot.clone(),
        _ => None,
    };
    app.secrets.put(SecretName::ApiToken, token).await?;
    let integration = Integration {
        api_host: host.to_string(),
        generation: match &before {
            Some(known) if same_host => known.generation,
            Some(known) => known.generation + 1,
            None => 1,
        },
        linked: true,
        server_version: Some(found.version.clone()),
        bot: found.bot(),
        previous_bot,
        token_scopes: found.scopes.clone(),
        token_expires_on: found.expires_on.clone(),
        saved_at: now,
        installation: before.map_or_else(
            || gantry_domain::ids::short_digest(&[&rand::random::<u128>().to_string()]),
            |known| known.installation,
        ),
    };
    put(app, expect, &integration).await?;
    if !same_host {
        forget_hooks(app).await?;
        people::end_all(app, left.as_deref()).await?;
    }
    Ok(integration)
}

/// Project and hook ids belong to their server: on another one they are somebody else's.
async fn forget_hooks(app: &App) -> Answer<()> {
    for project in app.store.query_all::<ProjectEntry>(keys::PROJECTS, "").await? {
        if project.value.hook.is_some() {
            let (key, expect) = (project.key.clone(), project.unchanged());
            let without = ProjectEntry { hook: None, ..project.value };
            // Somebody who was first made a hook at the new server.
            let _kept_when_stale =
                app.store.write(vec![Write::put(key, expect, &without)?]).await?;
        }
    }
    Ok(())
}

async fn put(app: &App, expect: Expect, integration: &Integration) -> Answer<()> {
    let write = Write::put(keys::integration(), expect, integration)?;
    match app.store.write(vec![write]).await? {
        Outcome::Written => Ok(()),
        Outcome::Stale => Err(Refusal::conflict(
            "Somebody else changed it",
            "The connection was changed at the same time. Check it and try again.",
        )),
    }
}

/// Lets the scheduler look at what waited. Losing this loses nothing: the timer does the same.
async fn nudge(app: &App, integration: &Integration) {
    let cause = format!("integration.{}", integration.saved_at.as_millisecond());
    if let Err(error) = app.sender.send(SlotsMessage::Sweep { cause }).await {
        tracing::warn!(%error, "the scheduler was not notified of a changed connection");
    }
}

/// The server was disconnected.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Unlinked {
    /// False.
    linked: bool,
    /// The server that was connected.
    api_host: String,
    /// What it means, in words.
    meaning: String,
}

/// `DELETE /api/v1/integration`: webhooks are still answered, nothing runs, stacks stay.
pub(crate) async fn unlink(State(app): State<App>) -> Answer<impl IntoResponse> {
    let unlinked = end(&app).await?;
    let meaning = "Webhooks are still answered, but nothing runs. Stacks are kept, detached, \
                   until a server is connected again. Revoke the token in GitLab.";
    let done = Done::new(format!("unlinked {}", unlinked.api_host));
    let meaning = meaning.to_owned();
    Ok((Extension(done), Json(Unlinked { linked: false, api_host: unlinked.api_host, meaning })))
}

/// Unlinks the server.
pub(crate) async fn end(app: &App) -> Answer<Integration> {
    let Some(before) = app.store.integration().await?.filter(|found| found.value.linked) else {
        return Err(Refusal::conflict("GitLab is not connected", "There is nothing to unlink."));
    };
    let expect = before.unchanged();
    // Asked first: nobody signs in with a server that is not linked, or out again.
    let left = people::provider(app).await.ok().flatten();
    let unlinked = Integration {
        linked: false,
        previous_bot: None,
        saved_at: app.clock.now(),
        ..before.value
    };
    put(app, expect, &unlinked).await?;
    // Secrets can be replaced but not removed; nothing looks at this one while nothing is linked.
    for token in [SecretName::ApiToken, SecretName::PreviousApiToken] {
        app.secrets.put(token, &SecretString::from("unlinked")).await?;
    }
    nudge(app, &unlinked).await;
    // The same server may be connected again, and nobody comes back with it unasked.
    people::end_all(app, left.as_deref()).await?;
    Ok(unlinked)
}
