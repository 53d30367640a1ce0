//! Who may do what: the bearer key or the person, their rights, and a line in the list of activities
//! for whatever changes something, also when it was refused.

use crate::{
    app::App,
    people::{self, Someone},
    refusal::{Answer, Done, Refusal},
};
use axum::{
    RequestExt as _,
    extract::{MatchedPath, RawPathParams, Request, State},
    http::{HeaderMap, Method, StatusCode},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use gantry_domain::{
    EventId, ProjectId, RunId, StackId, StackSlug, approval, comment,
    rights::{self, Decision, Lacks, Level, Levels, Of, Right, StackLevels, Who},
    run::{Run, RunType},
    stack::Stack,
};
use gantry_setup::web::{ClientAddress, bearer};
use gantry_store::{
    Stored,
    config::{Activity, AdminKey, Role, SlugEntry, admin_key_digest},
    keys,
    scheduler::VersionRecord,
};
use std::sync::Arc;

/// What a route asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing, or the handler looks itself.
    Open,
    /// An access key with this right.
    Key(Right),
    /// A page: a session of a key, or of a person, with this right.
    Page(Right),
}

/// Who is asking. Handlers behind a guard get it as an extension.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// The key's name, or the person's.
    pub(crate) name: String,
    /// Whose rights count.
    pub(crate) holder: Holder,
    /// What the key, or the person's session or key, is stored under.
    pub(crate) digest: String,
    /// The request's id: from `Idempotency-Key`, or random.
    pub(crate) request: EventId,
}

/// Whose rights count.
#[derive(Debug, Clone)]
pub(crate) enum Holder {
    /// An access key's.
    Key(Role),
    /// A person's.
    Person(Arc<Someone>),
}

/// What a request is about, as far as its path says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    /// The installation as a whole, or a list of what the caller may see.
    Installation,
    /// Something that is not there.
    Nothing(&'static str),
    /// A stack or module, or something of it.
    Of {
        /// What the path names: a stack, a module, a run.
        what: &'static str,
        /// Its project; none where its code is not in GitLab.
        project: Option<ProjectId>,
        /// What the stack or module asks for, where that is more than the installation does.
        asks: StackLevels,
        /// A run that is never applied.
        is_preview: bool,
    },
}

impl About {
    /// This stack or module.
    pub(crate) fn stack(stack: &Stack) -> Self {
        let what = if stack.module.is_some() { "module" } else { "stack" };
        let asks = stack.settings.levels;
        Self::Of { what, project: stack.project(), asks, is_preview: false }
    }

    /// What a refusal calls it.
    fn what(self) -> &'static str {
        match self {
            Self::Installation => "page",
            Self::Nothing(what) | Self::Of { what, .. } => what,
        }
    }
}

impl Caller {
    /// Whoever has this key, which is stored under this digest.
    pub(crate) fn of_key(key: AdminKey, digest: String) -> Self {
        Self { name: key.name, holder: Holder::Key(key.role), digest, request: new_request() }
    }

    /// A person, in their session at the pages or with a key of theirs: the record of either is
    /// stored under this.
    pub(crate) fn of_person(someone: Someone, record: String) -> Self {
        Self {
            name: someone.label(),
            holder: Holder::Person(Arc::new(someone)),
            digest: record,
            request: new_request(),
        }
    }

    fn decide(&self, right: Right, about: About) -> Decision {
        let (of, project, asks) = match about {
            // Told as what they may not see.
            About::Nothing(_) => return Decision::Hidden,
            About::Installation => (Of::Installation, None, StackLevels::default()),
            About::Of { project: None, asks, .. } => (Of::Elsewhere, None, asks),
            About::Of { project, asks, .. } => (Of::Project, project, asks),
        };
        match &self.holder {
            Holder::Key(role) => {
                rights::decide(Who::Key(role.most()), right, of, &Levels::default())
            }
            Holder::Person(someone) => {
                let person = &someone.person;
                let level =
                    project.and_then(|project| person.levels.get(&project.to_string()).copied());
                let who = Who::Person { admin: person.admin, level };
                rights::decide(who, right, of, &asks.over(&someone.levels))
            }
        }
    }

    /// Whether the caller may do something with the installation.
    pub(crate) fn may(&self, right: Right) -> bool {
        self.may_with(right, About::Installation)
    }

    /// Whether the caller may do something with this.
    pub(crate) fn may_with(&self, right: Right, about: About) -> bool {
        self.decide(right, about) == Decision::Allowed
    }

    /// Whether the caller may know of what belongs to a project, or to none in GitLab: of all its
    /// stacks, whatever they ask for besides.
    pub(crate) fn sees(&self, project: Option<ProjectId>) -> bool {
        let asks = StackLevels::default();
        self.may_with(Right::Read, About::Of { what: "stack", project, asks, is_preview: false })
    }

    /// Nothing is kept from the caller.
    pub(crate) fn sees_all(&self) -> bool {
        match &self.holder {
            Holder::Key(role) => role.most().is_some(),
            Holder::Person(someone) => someone.person.admin,
        }
    }

    /// The key's role; none of a person.
    pub(crate) fn role(&self) -> Option<Role> {
        match &self.holder {
            Holder::Key(role) => Some(*role),
            Holder::Person(_) => None,
        }
    }

    /// The person at GitLab; none of a key, which GitLab does not know.
    pub(crate) fn person(&self) -> Option<approval::Person> {
        match &self.holder {
            Holder::Key(_) => None,
            Holder::Person(someone) => Some(approval::Person {
                id: someone.person.id,
                username: someone.person.username.clone(),
                name: someone.person.name.clone(),
            }),
        }
    }

    /// Refuses a person while it is not known what they may do.
    pub(crate) fn check_known(&self) -> Answer<()> {
        match &self.holder {
            Holder::Key(_) => Ok(()),
            Holder::Person(someone) => away(someone),
        }
    }

    /// Refuses what the caller may not do, and what is not known while GitLab is away.
    pub(crate) fn check(&self, right: Right, about: About) -> Answer<()> {
        let right = match about {
            About::Of { is_preview: true, .. } if right == Right::Deploy => Right::Preview,
            _ => right,
        };
        match self.decide(right, about) {
            Decision::Hidden => Err(Refusal::not_found(about.what())),
            Decision::Denied(lacks) => Err(self.lacks(right, lacks, about)),
            Decision::Allowed => match &self.holder {
                Holder::Person(someone) if right > Right::Read => away(someone),
                _ => Ok(()),
            },
        }
    }

    fn lacks(&self, right: Right, lacks: Lacks, about: About) -> Refusal {
        let detail = match lacks {
            Lacks::Role(_) => format!(
                "Your key {:?} has the role {}; this requires {}.",
                self.name,
                self.role().map_or("none", Role::as_str),
                Role::with(right).as_str()
            ),
            Lacks::Level { needs, has } => format!(
                "In GitLab you are {has} in this project; this requires {needs}{}. Somebody who is \
                 can do it, or give you that role there.",
                self.why(right, needs, about)
            ),
            Lacks::Admin => "Only admins of this Gantry can do this: people in one of its admin \
                             groups, and access keys with the role admin."
                .to_owned(),
        };
        Refusal::new(StatusCode::FORBIDDEN, "You don't have permission", detail)
    }

    /// Why it takes this level; nothing where it does everywhere here.
    fn why(&self, right: Right, needs: Level, about: About) -> &'static str {
        match &self.holder {
            Holder::Person(someone) if someone.levels.of(right) < Some(needs) => {
                match about.what() {
                    "module" => ", because the module asks for it",
                    _ => ", because the stack asks for it",
                }
            }
            _ => "",
        }
    }
}

/// Nobody acts while it is not known whether they still may.
fn away(someone: &Someone) -> Answer<()> {
    match &someone.away {
        None => Ok(()),
        Some(why) => Err(Refusal::busy(
            "GitLab cannot be asked for your rights",
            format!(
                "{why}. Nothing was done: GitLab said last at {} what you may do, and that is too \
                 long ago. You can go on reading. Try again later, or use an access key.",
                someone.person.read_at.strftime("%Y-%m-%d %H:%M UTC")
            ),
            30,
        )),
    }
}

/// What a route's guard knows.
#[derive(Clone)]
pub(crate) struct Guard {
    pub(crate) app: App,
    pub(crate) needs: Right,
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
    let response = match allow(&guard, &caller, &mut request).await {
        Err(refusal) => refusal.into_response(),
        Ok(()) => {
            request.extensions_mut().insert(caller.clone());
            next.run(request).await
        }
    };
    if let Some(asked) = asked {
        record(&guard.app, &caller, asked, ending(&response)).await;
    }
    response
}

/// Refuses what the caller may not do with what the request is about.
pub(crate) async fn allow(guard: &Guard, caller: &Caller, request: &mut Request) -> Answer<()> {
    let about = match caller.role() {
        // Of a key, its role says everything.
        Some(_) => About::Installation,
        None => about(&guard.app, caller, request).await?,
    };
    caller.check(guard.needs, about)
}

/// What a request of somebody is about.
async fn about(app: &App, caller: &Caller, request: &mut Request) -> Answer<About> {
    let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let path = path.unwrap_or_default();
    let Ok(params) = request.extract_parts::<RawPathParams>().await else {
        return Ok(About::Installation);
    };
    let named = |name| params.iter().find(|(known, _)| *known == name).map(|(_, value)| value);
    let of_run = path.contains("/runs/{id}");
    let mut is_hidden = false;
    let (what, stack, is_preview) = match (named("slug"), named("id")) {
        (Some(slug), _) => {
            let what = if path.contains("/modules/{slug}") { "module" } else { "stack" };
            let slug = slug.parse().ok();
            let entry = match slug {
                Some(slug) => app.store.get::<SlugEntry>(&keys::slug(&slug)).await?,
                None => None,
            };
            (what, entry.map(|entry| entry.value.stack), false)
        }
        (None, Some(id)) if of_run => {
            let run = match id.parse().ok() {
                Some(id) => app.store.get::<Run>(&keys::run(&id)).await?,
                None => None,
            };
            let run = run.map(|run| run.value);
            let is_preview = run.as_ref().is_some_and(|run| run.run_type == RunType::Proposed);
            // Its code may be of a project that its stack was moved from.
            is_hidden = run.as_ref().is_some_and(|run| !caller.sees(run.project()));
            ("run", run.map(|run| run.stack), is_preview)
        }
        _ => return Ok(About::Installation),
    };
    Ok(match stack_or_in_vain(app, stack).await? {
        Some(Stored { value: stack, .. }) if !is_hidden => {
            let asks = stack.settings.levels;
            About::Of { what, project: stack.project(), asks, is_preview }
        }
        _ => About::Nothing(what),
    })
}

/// A stack that a name led to. A name that led nowhere takes as many reads, so that nobody learns from
/// the time of a refusal whether there is something that they may not see.
pub(crate) async fn stack_or_in_vain(
    app: &App,
    stack: Option<StackId>,
) -> Answer<Option<Stored<Stack>>> {
    Ok(match stack {
        Some(stack) => app.store.stack(&stack).await?,
        None => app.store.integration().await?.and(None),
    })
}

/// The key that a request carries.
pub(crate) async fn find_caller(app: &App, headers: &HeaderMap) -> Answer<Caller> {
    let unauthorized =
        |detail: &str| Refusal::new(StatusCode::UNAUTHORIZED, "An access key is required", detail);
    let secret = bearer(headers).ok_or_else(|| {
        unauthorized(
            "Send it as `Authorization: Bearer <key>`. The sign-in page says where to find it.",
        )
    })?;
    let caller = match people::by_key(app, secret).await? {
        Some((someone, record)) => Caller::of_person(someone, record),
        None => {
            let key = app.store.admin_key(secret).await?.ok_or_else(|| {
                tracing::warn!("a request carried an invalid key");
                unauthorized("The key is not one of this installation's keys, or it was deleted.")
            })?;
            Caller::of_key(key, admin_key_digest(secret))
        }
    };
    let sent = headers
        .get("idempotency-key")
        .and_then(|value| value.to_str().ok())
        .filter(|value| !value.trim().is_empty())
        .map(|value| comment::chosen_request(value.trim()));
    let request = sent.map(|sent| request_of(&caller.holder, sent));
    Ok(match request {
        Some(request) => Caller { request, ..caller },
        None => caller,
    })
}

/// The request that an ID stands for. A person's are their own: whoever may review could otherwise use
/// up an ID that somebody else is going to confirm with.
fn request_of(holder: &Holder, sent: EventId) -> EventId {
    match holder {
        Holder::Key(_) => sent,
        Holder::Person(someone) => {
            EventId::derive("request", &[&someone.person.id.to_string(), sent.as_str()])
        }
    }
}

pub(crate) fn new_request() -> EventId {
    EventId::derive("request", &[&rand::random::<u128>().to_string()])
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
    /// The project of what its path names.
    pub(crate) project: Option<ProjectId>,
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
                    let entry = entry_of(app, value).await;
                    asked.project = entry.as_ref().and_then(|(_, entry)| entry.found_by.project_id);
                    (asked.stack, module) = entry.map(|(slug, entry)| (slug, entry.stack)).unzip();
                    asked.stack.as_ref().map(StackSlug::to_string)
                }
                "id" => run_of(app, value).await.map(|run| {
                    let words = format!("{} #{}", run.slug, run.number);
                    asked.project = run.project();
                    asked.stack = Some(run.slug);
                    asked.run = Some((run.id, run.number));
                    words
                }),
                "version" if is_version(app, module.as_ref(), value).await => {
                    Some(value.to_owned())
                }
                "target" if is_target(app, value).await => Some(value.to_owned()),
                _ => None,
            };
            let shown = known.as_deref().unwrap_or("(not found)");
            asked.what = asked.what.replace(&format!("{{{name}}}"), shown);
        }
    }
    asked
}

/// Trouble counts as not known: the handler meets it too, and says so.
async fn entry_of(app: &App, slug: &str) -> Option<(StackSlug, SlugEntry)> {
    let slug: StackSlug = slug.parse().ok()?;
    let found = app.store.get::<SlugEntry>(&keys::slug(&slug)).await.ok()??;
    Some((slug, found.value))
}

async fn run_of(app: &App, id: &str) -> Option<Run> {
    Some(app.store.get::<Run>(&keys::run(&id.parse().ok()?)).await.ok()??.value)
}

async fn is_version(app: &App, module: Option<&StackId>, version: &str) -> bool {
    let Ok(version) = version.parse() else { return false };
    let Some(module) = module else {
        // As many reads as of a module that may not be seen.
        let _in_vain = app.store.integration().await;
        return false;
    };
    let key = keys::version(module, &version);
    matches!(app.store.get::<VersionRecord>(&key).await, Ok(Some(_)))
}

async fn is_target(app: &App, name: &str) -> bool {
    let Ok(name) = name.parse() else { return false };
    matches!(app.store.notification_target(&name).await, Ok(Some(_)))
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
    let Asked { what, address, stack, run, project } = asked;
    let Ending { words, status, made } = ending;
    let (run, run_number) = run.unzip();
    let activity = Activity {
        actor: caller.name.clone(),
        role: caller.role(),
        what,
        stack: stack.or(made),
        run,
        run_number,
        project,
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
