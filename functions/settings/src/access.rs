//! Who may do what: the bearer key, its role, and a line in the list of activities for whatever
//! changes something, also when it was refused.

use crate::{
    app::App,
    refusal::{Done, Refusal},
};
use axum::{
    RequestExt as _,
    extract::{RawPathParams, Request, State},
    http::{HeaderMap, Method, StatusCode},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use gantry_domain::{EventId, StackId, run::Run};
use gantry_setup::web::bearer;
use gantry_store::{
    Expect, Write,
    config::{Activity, Role, SlugEntry},
    keys,
    scheduler::VersionRecord,
};

/// What a route asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing, or the handler looks itself.
    Open,
    /// An admin key with at least this role.
    Key(Role),
    /// A page: a session of a key with at least this role.
    Page(Role),
}

/// Who is asking. Handlers behind [`Access::Key`] get it as an extension.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// The key's name.
    pub(crate) name: String,
    /// What it may do.
    pub(crate) role: Role,
    /// The key's digest: what it is stored under.
    pub(crate) digest: String,
    /// The request's id: from `Idempotency-Key`, or random.
    pub(crate) request: EventId,
}

/// What a route's guard knows.
#[derive(Clone)]
pub(crate) struct Guard {
    pub(crate) app: App,
    pub(crate) needs: Role,
    /// What the route does, in words: `delete the stack {slug}`.
    pub(crate) what: &'static str,
    /// A form without the answer to the address's question leads to it.
    pub(crate) asks: bool,
    /// The same address shows the form that is sent to it.
    pub(crate) is_form: bool,
}

/// Lets a caller with a good key through.
pub(crate) async fn guard(
    State(guard): State<Guard>,
    mut request: Request,
    next: Next,
) -> Response {
    let caller = match find_caller(&guard.app, request.headers()).await {
        Ok(caller) => caller,
        // Not recorded: whoever has no key could fill the table.
        Err(refusal) => return refusal.into_response(),
    };
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
    let what =
        if changes { describe(&guard.app, guard.what, &mut request).await } else { String::new() };
    let response = if caller.role < guard.needs {
        too_low(&caller, guard.needs).into_response()
    } else {
        request.extensions_mut().insert(caller.clone());
        next.run(request).await
    };
    if changes {
        record(&guard.app, caller.name, what, outcome(&response)).await;
    }
    response
}

/// The key that a request carries.
pub(crate) async fn find_caller(app: &App, headers: &HeaderMap) -> Result<Caller, Refusal> {
    let unauthorized =
        |detail: &str| Refusal::new(StatusCode::UNAUTHORIZED, "An access key is required", detail);
    let secret = bearer(headers).ok_or_else(|| {
        unauthorized(
            "Send it as `Authorization: Bearer <key>`. The sign-in page says where to find it.",
        )
    })?;
    let key = app.store.admin_key(secret).await?.ok_or_else(|| {
        tracing::warn!("a request carried an invalid key");
        unauthorized("The key is not one of this installation's keys, or it was deleted.")
    })?;
    let digest = gantry_store::config::admin_key_digest(secret);
    let request = headers
        .get("idempotency-key")
        .and_then(|value| value.to_str().ok())
        .filter(|value| !value.trim().is_empty())
        .map_or_else(new_request, |value| EventId::from_untrusted(value.trim()));
    Ok(Caller { name: key.name, role: key.role, digest, request })
}

pub(crate) fn new_request() -> EventId {
    EventId::derive("request", &[&rand::random::<u128>().to_string()])
}

pub(crate) fn too_low(caller: &Caller, needs: Role) -> Refusal {
    let word = |role| match role {
        Role::Worker => "worker",
        Role::Read => "read",
        Role::Deploy => "deploy",
        Role::Admin => "admin",
    };
    Refusal::new(
        StatusCode::FORBIDDEN,
        "You don't have permission",
        format!(
            "Your key {:?} has the role {}; this requires {}.",
            caller.name,
            word(caller.role),
            word(needs)
        ),
    )
}

/// The route's words with the names in them that the request's path has. A part of a path is
/// written down only where it names something that is there: anything else may be a secret in the
/// wrong place.
pub(crate) async fn describe(app: &App, what: &'static str, request: &mut Request) -> String {
    let mut text = what.to_owned();
    if !text.contains('{') {
        return text;
    }
    if let Ok(params) = request.extract_parts::<RawPathParams>().await {
        let mut module = None;
        for (name, value) in &params {
            let known = match name {
                "slug" => {
                    module = entry_of(app, value).await;
                    module.as_ref().map(|_| value.to_owned())
                }
                "id" => run_of(app, value).await,
                "version" if is_version(app, module.as_ref(), value).await => {
                    Some(value.to_owned())
                }
                _ => None,
            };
            let shown = known.as_deref().unwrap_or("(not found)");
            text = text.replace(&format!("{{{name}}}"), shown);
        }
    }
    text
}

/// Trouble counts as not known: the handler meets it too, and says so.
async fn entry_of(app: &App, slug: &str) -> Option<StackId> {
    let found = app.store.get::<SlugEntry>(&keys::slug(&slug.parse().ok()?)).await;
    Some(found.ok()??.value.stack)
}

/// A run as people call it: `network #6`.
async fn run_of(app: &App, id: &str) -> Option<String> {
    let run = app.store.get::<Run>(&keys::run(&id.parse().ok()?)).await.ok()??.value;
    Some(format!("{} #{}", run.slug, run.number))
}

async fn is_version(app: &App, module: Option<&StackId>, version: &str) -> bool {
    let (Some(module), Ok(version)) = (module, version.parse()) else { return false };
    let key = keys::version(module, &version);
    matches!(app.store.get::<VersionRecord>(&key).await, Ok(Some(_)))
}

/// How a request ended, as its answer says.
pub(crate) fn outcome(response: &Response) -> String {
    match response.extensions().get::<Done>() {
        Some(done) => done.words().to_owned(),
        None if response.status().is_success() => "done".to_owned(),
        None => format!("refused with status {}", response.status().as_u16()),
    }
}

/// Writes the line. A line that cannot be written is logged: what it tells of has happened.
pub(crate) async fn record(app: &App, actor: String, what: String, outcome: String) {
    tracing::info!(actor, what, outcome, "a change was requested");
    let at = app.clock.now();
    let activity = Activity { actor, what, outcome, at };
    // The request's own id may repeat; each try is a line of its own.
    let key = keys::activity(at, &new_request());
    let written = match Write::put(key, Expect::Absent, &activity) {
        Ok(write) => app.store.write(vec![write]).await.map(drop),
        Err(error) => Err(error),
    };
    if let Err(error) = written {
        tracing::error!(%error, actor = activity.actor, "an activity could not be recorded");
    }
}
