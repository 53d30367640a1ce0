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
use gantry_domain::{EventId, RunId, StackId, StackSlug, run::Run};
use gantry_setup::web::{ClientAddress, bearer};
use gantry_store::{
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
    let asked =
        if changes { Some(describe(&guard.app, guard.what, &mut request).await) } else { None };
    let response = if caller.role < guard.needs {
        too_low(&caller, guard.needs).into_response()
    } else {
        request.extensions_mut().insert(caller.clone());
        next.run(request).await
    };
    if let Some(asked) = asked {
        record(&guard.app, &caller, asked, ending(&response)).await;
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
    Refusal::new(
        StatusCode::FORBIDDEN,
        "You don't have permission",
        format!(
            "Your key {:?} has the role {}; this requires {}.",
            caller.name,
            caller.role.as_str(),
            needs.as_str()
        ),
    )
}

/// What a request for a change asks for.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// In words.
    pub(crate) what: String,
    /// Where it comes from.
    pub(crate) address: String,
    /// The stack or module that its path names, or that the run is of.
    pub(crate) stack: Option<StackSlug>,
    /// The run that its path names, with its number.
    pub(crate) run: Option<(RunId, u64)>,
}

/// What a request asks for: the route's words with the names in them that the request's path has. A
/// part of a path is written down only where it names something that is there: anything else may be
/// a secret in the wrong place.
pub(crate) async fn describe(app: &App, what: &'static str, request: &mut Request) -> Asked {
    let Ok(ClientAddress(address)) = request.extract_parts::<ClientAddress>().await;
    let mut asked = Asked { what: what.to_owned(), address, ..Asked::default() };
    if !what.contains('{') {
        return asked;
    }
    if let Ok(params) = request.extract_parts::<RawPathParams>().await {
        let mut module = None;
        for (name, value) in &params {
            let known = match name {
                "slug" => {
                    (asked.stack, module) = entry_of(app, value).await.unzip();
                    asked.stack.as_ref().map(StackSlug::to_string)
                }
                "id" => run_of(app, value).await.map(|run| {
                    let words = format!("{} #{}", run.slug, run.number);
                    asked.stack = Some(run.slug);
                    asked.run = Some((run.id, run.number));
                    words
                }),
                "version" if is_version(app, module.as_ref(), value).await => {
                    Some(value.to_owned())
                }
                _ => None,
            };
            let shown = known.as_deref().unwrap_or("(not found)");
            asked.what = asked.what.replace(&format!("{{{name}}}"), shown);
        }
    }
    asked
}

/// Trouble counts as not known: the handler meets it too, and says so.
async fn entry_of(app: &App, slug: &str) -> Option<(StackSlug, StackId)> {
    let slug: StackSlug = slug.parse().ok()?;
    let found = app.store.get::<SlugEntry>(&keys::slug(&slug)).await.ok()??;
    Some((slug, found.value.stack))
}

async fn run_of(app: &App, id: &str) -> Option<Run> {
    Some(app.store.get::<Run>(&keys::run(&id.parse().ok()?)).await.ok()??.value)
}

async fn is_version(app: &App, module: Option<&StackId>, version: &str) -> bool {
    let (Some(module), Ok(version)) = (module, version.parse()) else { return false };
    let key = keys::version(module, &version);
    matches!(app.store.get::<VersionRecord>(&key).await, Ok(Some(_)))
}

/// How a request ended.
pub(crate) struct Ending {
    /// In words.
    words: String,
    status: StatusCode,
    /// The stack or module that it made.
    made: Option<StackSlug>,
}

/// How a request ended, as its answer says.
pub(crate) fn ending(response: &Response) -> Ending {
    let status = response.status();
    match response.extensions().get::<Done>() {
        Some(done) => Ending { words: done.words().to_owned(), status, made: done.made().cloned() },
        None if is_refusal(status) => {
            let words = format!("refused with status {}", status.as_u16());
            Ending { words, status, made: None }
        }
        None => Ending { words: "done".to_owned(), status, made: None },
    }
}

fn is_refusal(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

/// Writes the line. A line that cannot be written is logged: what it tells of has happened.
pub(crate) async fn record(app: &App, caller: &Caller, asked: Asked, ending: Ending) {
    let Asked { what, address, stack, run } = asked;
    let Ending { words, status, made } = ending;
    let (run, run_number) = run.unzip();
    let activity = Activity {
        actor: caller.name.clone(),
        role: Some(caller.role),
        what,
        stack: stack.or(made),
        run,
        run_number,
        outcome: words,
        refused: is_refusal(status),
        status: Some(status.as_u16()),
        address: Some(address),
        request: Some(caller.request.clone()),
        at: app.clock.now(),
    };
    if let Err(error) = app.store.record_activity(&activity).await {
        tracing::error!(%error, actor = activity.actor, "an activity could not be recorded");
    }
}
