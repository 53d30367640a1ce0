//! The project's one webhook: made, or repaired, never a second one.

use super::{changed_meanwhile, find};
use crate::{
    access::Caller,
    app::App,
    gitlab::{Linked, detached},
    integration::{Addresses, HookSecrets, by_hand, kept_secrets},
    refusal::{Answer, Done, Refusal},
};
use axum::{
    Extension, Json,
    extract::{Path, State},
    response::IntoResponse,
};
use gantry_domain::{ProjectId, feedback::Statuses, rights::Right, stack::Stack};
use gantry_gitlab::{Client, Error, HookSettings, ProjectHook};
use gantry_store::{Expect, Outcome, Stored, Write, config::ProjectEntry, keys};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

/// The webhook of a project, as it is now.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "MadeWebhook")]
pub(crate) struct Made {
    hook: HookView,
    /// It did not exist before.
    pub(crate) created: bool,
    /// What was wrong with the existing one.
    pub(crate) repaired: Vec<String>,
    /// GitLab's IDs of other webhooks of the project that call the same URL. Delete them there.
    duplicates: Vec<u64>,
    /// What may prevent it from working, in words.
    warnings: Vec<String>,
    /// Why GitLab cannot reach Gantry; null when it can, as far as is known.
    note: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ProjectHook")]
struct HookView {
    /// Its ID in GitLab.
    id: u64,
    /// The URL that it calls.
    url: String,
    project_id: ProjectId,
    /// The project's path in GitLab.
    project_path: String,
}

/// Makes or repairs the webhook of the stack's project.
pub(crate) async fn make(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(slug): Path<String>,
) -> Answer<impl IntoResponse> {
    let stack = find(&app, &slug).await?.value;
    let made = ensure_hook(&app, &caller, &stack).await?;
    let verb = if made.created { "created" } else { "repaired" };
    let done = Done::new(format!("{verb} the webhook of {}", made.hook.project_path));
    Ok((Extension(done), Json(made)))
}

/// Makes the webhook of the stack's project, or writes all that it should be to the one there is.
///
/// The secrets are those of all projects: whoever is no admin of the installation is told how to make
/// it by hand without them.
pub(crate) async fn ensure_hook(app: &App, caller: &Caller, stack: &Stack) -> Answer<Made> {
    ensure_for(app, caller.may(Right::Admin), stack).await
}

/// The same for somebody who is an admin, or is not.
async fn ensure_for(app: &App, is_admin: bool, stack: &Stack) -> Answer<Made> {
    let project = project_of(stack)?;
    let linked = app.gitlab.linked().await?;
    if let Some(why) = detached(stack, Some(&linked.integration)) {
        let detail = format!("Nothing runs because {why}.");
        return Err(Refusal::conflict("The stack is detached", detail));
    }
    let secrets = kept_secrets(app).await?;
    let Addresses { endpoint, note } =
        Addresses::of(app.public_url.as_ref(), &linked.integration.api_host);
    let note_events = takes_commands(app, project).await?;
    let manual = |refusal: Refusal, endpoint: Option<&str>| {
        let mut manual = by_hand(endpoint, Some(project), true, note_events);
        manual.secrets = is_admin.then(|| HookSecrets::of_new(&secrets));
        refusal.with("webhook", json!(manual))
    };
    let Some(url) = endpoint.clone().filter(|_| note.is_none()) else {
        let why = note.unwrap_or_default();
        let refusal = Refusal::conflict("GitLab cannot reach Gantry", why);
        return Err(manual(refusal, endpoint.as_deref()));
    };
    let settings = HookSettings {
        url,
        token: secrets.token.clone(),
        signing_token: secrets.signing_token.clone(),
        verify_tls: true,
        note_events,
    };
    let remembered = entry(app, project).await?;
    let hook = remembered.as_ref().and_then(|entry| entry.value.hook);
    let made = match ensure(&linked.client, project, hook, &settings).await {
        Ok(made) => made,
        Err(error) if error.is_refusal() => {
            return Err(manual(refused(&linked, &error), endpoint.as_deref()));
        }
        Err(error) => return Err(error.into()),
    };
    remember(app, project, stack, made.hook.id).await?;
    let warnings = warnings(&made.hook, &linked);
    Ok(Made {
        hook: HookView {
            id: made.hook.id,
            url: settings.url,
            project_id: project,
            project_path: stack.project_path.clone(),
        },
        created: made.created,
        repaired: made.repaired,
        duplicates: made.duplicates,
        warnings,
        note: None,
    })
}

/// Has the project's webhook call for comments too, now that a stack takes commands from them, where
/// Gantry has made the webhook. Where that cannot be done, the stack's page says what is missing.
pub(super) async fn add_comments(app: &App, before: Option<&Stack>, after: &Stack) {
    let Some(project) = after.project().filter(|_| after.settings.comment_commands) else { return };
    let did = before.is_some_and(|before| {
        before.settings.comment_commands && before.project() == Some(project)
    });
    if did {
        return;
    }
    let repaired = async {
        match entry(app, project).await?.and_then(|entry| entry.value.hook) {
            Some(_) => Box::pin(ensure_for(app, false, after)).await.map(drop),
            None => Ok(()),
        }
    };
    if repaired.await.is_err() {
        tracing::warn!(project.id = project.0, "the webhook does not call for comments yet");
    }
}

/// A stack of the project takes commands from comments.
async fn takes_commands(app: &App, project: ProjectId) -> Answer<bool> {
    let stacks = app.store.stacks_of_project(project).await?;
    let takes = |stack: &Stack| stack.deleted_at.is_none() && stack.settings.comment_commands;
    Ok(stacks.iter().any(takes))
}

/// How the project's webhook is, without changing anything.
pub(crate) struct HookHealth {
    /// What is wrong with it, or that it is missing; empty when all is well.
    pub(crate) problems: Vec<String>,
    /// There is one that calls here.
    pub(crate) is_there: bool,
    /// Why GitLab cannot call here at all.
    pub(crate) note: Option<String>,
}

/// Looks at the project's webhook.
pub(crate) async fn health(app: &App, linked: &Linked, project: ProjectId) -> Answer<HookHealth> {
    let Addresses { endpoint, note } =
        Addresses::of(app.public_url.as_ref(), &linked.integration.api_host);
    let url = endpoint.unwrap_or_default();
    let remembered = entry(app, project).await?.and_then(|entry| entry.value.hook);
    let hooks = match linked.client.hooks(project).await {
        Ok(hooks) => hooks,
        Err(error) if error.is_refusal() => {
            let problems = vec![format!("GitLab does not show the project's webhooks: {error}")];
            return Ok(HookHealth { problems, is_there: false, note });
        }
        Err(error) => return Err(error.into()),
    };
    let Some(hook) = choose(&hooks, remembered, &url) else {
        let problems = vec!["The project has no webhook that calls Gantry".to_owned()];
        return Ok(HookHealth { problems, is_there: false, note });
    };
    let mut problems = faults(hook, &url, takes_commands(app, project).await?);
    let same = hooks.iter().filter(|other| other.id != hook.id && is_same(&other.url, &url));
    let same: Vec<String> = same.map(|other| other.id.to_string()).collect();
    if !same.is_empty() {
        problems.push(format!(
            "Other webhooks also call Gantry (IDs {}). Delete them",
            same.join(", ")
        ));
    }
    if hook.is_disabled() {
        problems.push("GitLab disabled it after failures. Send a test from GitLab".to_owned());
    }
    Ok(HookHealth { problems, is_there: true, note })
}

struct Ensured {
    hook: ProjectHook,
    created: bool,
    repaired: Vec<String>,
    duplicates: Vec<u64>,
}

/// One webhook with the settings: the remembered one, or else the oldest that calls our address.
async fn ensure(
    client: &Client,
    project: ProjectId,
    remembered: Option<u64>,
    settings: &HookSettings,
) -> Result<Ensured, Error> {
    let before = client.hooks(project).await?;
    if let Some(hook) = choose(&before, remembered, &settings.url) {
        return repair(client, project, hook, &before, settings).await;
    }
    let made = client.create_hook(project, settings).await?;
    // Somebody may have done the same at the same time: the older one stays.
    let now = client.hooks(project).await?;
    match choose(&now, None, &settings.url) {
        Some(older) if older.id != made.id => {
            client.delete_hook(project, made.id).await?;
            repair(client, project, older, &now, settings).await
        }
        _ => {
            Ok(Ensured { hook: made, created: true, repaired: Vec::new(), duplicates: Vec::new() })
        }
    }
}

fn choose<'a>(
    hooks: &'a [ProjectHook],
    remembered: Option<u64>,
    url: &str,
) -> Option<&'a ProjectHook> {
    let by_id = hooks.iter().find(|hook| Some(hook.id) == remembered);
    by_id.or_else(|| hooks.iter().filter(|hook| is_same(&hook.url, url)).min_by_key(|hook| hook.id))
}

fn is_same(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}

/// Writes all settings: GitLab never tells whether the secrets are the right ones, and forgets
/// them when the address changes.
async fn repair(
    client: &Client,
    project: ProjectId,
    hook: &ProjectHook,
    all: &[ProjectHook],
    settings: &HookSettings,
) -> Result<Ensured, Error> {
    // Somebody switched the check of the certificate off for a reason of theirs.
    let verify_tls = hook.enable_ssl_verification.unwrap_or(true);
    let settings = HookSettings { verify_tls, ..settings.clone() };
    let duplicates = all
        .iter()
        .filter(|other| other.id != hook.id && is_same(&other.url, &settings.url))
        .map(|other| other.id)
        .collect();
    let repaired = faults(hook, &settings.url, settings.note_events);
    let hook = client.update_hook(project, hook.id, &settings).await?;
    Ok(Ensured { hook, created: false, repaired, duplicates })
}

fn faults(hook: &ProjectHook, url: &str, note_events: bool) -> Vec<String> {
    let mut faults = Vec::new();
    if !is_same(&hook.url, url) {
        faults.push(format!("Wrong URL: {}", hook.url));
    }
    for (on, events) in [
        (hook.push_events, "Push"),
        (hook.tag_push_events, "Tag push"),
        (hook.merge_requests_events, "Merge request"),
        (hook.note_events || !note_events, "Comment"),
    ] {
        if !on {
            faults.push(format!("{events} events not enabled"));
        }
    }
    if let Some(filter) = &hook.push_events_branch_filter {
        faults.push(format!("Limited to branches like {filter}"));
    }
    if hook.token_present == Some(false) {
        faults.push("No secret token".to_owned());
    }
    faults
}

fn warnings(hook: &ProjectHook, linked: &Linked) -> Vec<String> {
    let mut warnings = Vec::new();
    if hook.is_disabled() {
        warnings.push(
            "GitLab disabled it after failures. A successful test delivery (Settings, Webhooks, \
             Test) enables it again"
                .to_owned(),
        );
    }
    if hook.enable_ssl_verification == Some(false) {
        warnings.push("GitLab does not verify this installation's certificate".to_owned());
    }
    if hook.signing_token_present != Some(true) {
        let version = linked.integration.server_version.as_deref().unwrap_or("this version");
        warnings.push(format!(
            "GitLab ({version}) does not sign its calls; only their secret authenticates them"
        ));
    }
    warnings
}

fn refused(linked: &Linked, error: &Error) -> Refusal {
    Refusal::conflict(
        "GitLab does not let Gantry create the webhook",
        format!(
            "{error}. Give {} the role Maintainer and try again, or create the webhook by hand \
             with the values in `webhook`.",
            linked.integration.bot.username
        ),
    )
}

fn project_of(stack: &Stack) -> Answer<ProjectId> {
    stack.project().ok_or_else(|| {
        Refusal::conflict(
            "No webhook to create",
            "The stack's code is not in GitLab, so its runs are started by hand.",
        )
    })
}

async fn entry(app: &App, project: ProjectId) -> Answer<Option<Stored<ProjectEntry>>> {
    Ok(app.store.get::<ProjectEntry>(&keys::project(project)).await?)
}

/// Keeps the hook's id: rotating the secret rewrites it.
async fn remember(app: &App, project: ProjectId, stack: &Stack, hook: u64) -> Answer<()> {
    for _ in 0..3 {
        let found = entry(app, project).await?;
        if found.as_ref().is_some_and(|entry| entry.value.hook == Some(hook)) {
            return Ok(());
        }
        let expect = found.as_ref().map_or(Expect::Absent, Stored::unchanged);
        let new = ProjectEntry {
            project,
            path: stack.project_path.clone(),
            hook: Some(hook),
            statuses: found.map_or(Statuses::default(), |entry| entry.value.statuses),
        };
        let write = Write::put(keys::project(project), expect, &new)?;
        if app.store.write(vec![write]).await? == Outcome::Written {
            return Ok(());
        }
    }
    Err(changed_meanwhile())
}
