//! Every route of the API, with what its description says of it.
//!
//! That an address may refuse a key, a body, a parameter, or a name that is nowhere follows from what
//! it is; a row tells what else it may refuse.

use crate::{
    activities,
    commands::{self, CommandView},
    drift, events, integration, keys, modules, notifications,
    openapi::{
        AnyObject, BodyOf, ConnectGitLab, HoldRunners, MakeKey, MakeVersion, ModuleChange,
        NewModule, NewNotificationTarget, NewStack, NewUpload, NotificationTargetChange, Redrive,
        RotateSecret, SetDrift, SetUpSignIn, StackChange, StartPreview,
        Tag::{Events, Integration, Keys, Modules, Notifications, Operations, Runs, Stacks},
        YankVersion,
    },
    operations, people, previews,
    routes::{Route, delete, open, post, put, read},
    runs, stacks,
};
use axum::{
    http::{HeaderValue, header},
    response::IntoResponse,
};
use gantry_domain::plan::Change;
use gantry_domain::rights::Right::{Admin, Deploy, Edit, Preview, Read};
use gantry_store::config::DriftDefaults;

/// Where a list goes on, and how much of it is answered at once.
const PAGING: &[&str] = &["after", "limit"];
/// The same for lists that are searched.
const SEARCHING: &[&str] = &["after", "limit", "search", "label", "state"];

/// The same for what is in a state.
const LISTING: &[&str] = &["after", "limit", "search"];

const IDEMPOTENCY_KEY: (&str, &str) =
    ("Idempotency-Key", "The request's ID. The same ID again stands for the same command.");
const IF_MATCH: (&str, &str) = ("If-Match", "The version that the change is based on.");

const A_PAGE: &str = "A page of the list.";

/// The whole API.
pub(crate) fn routes() -> Vec<Route> {
    let mut routes = vec![
        open("/api/v1/openapi.json", description)
            .named(Operations, "showDescription", "This description")
            .gives::<AnyObject>("An OpenAPI document."),
    ];
    routes.extend(of_integration());
    routes.extend(of_keys());
    routes.extend(of_sessions());
    routes.extend(of_stacks());
    routes.extend(of_modules());
    routes.extend(of_runs());
    routes.extend(of_commands());
    routes.extend(of_previews());
    routes.extend(of_events());
    routes.extend(of_notifications());
    routes.extend(of_operations());
    routes
}

fn of_integration() -> Vec<Route> {
    const INTEGRATION: &str = "/api/v1/integration";
    const SIGN_IN: &str = "/api/v1/sign-in";
    vec![
        read(INTEGRATION, Read, integration::show)
            .named(Integration, "showIntegration", "The GitLab server")
            .gives::<integration::IntegrationView>(
                "The webhook's secrets are shown to admins only; the API token never.",
            ),
        put(INTEGRATION, Admin, "connect GitLab", integration::connect)
            .named(Integration, "connectGitLab", "Connect a GitLab server")
            .about(
                "The server and the token are checked first; nothing is saved if they do not work.",
            )
            .sends::<ConnectGitLab>()
            .gives::<integration::IntegrationView>("What was found.")
            .refuses(&[409, 502, 503]),
        delete(INTEGRATION, Admin, "unlink GitLab", integration::unlink)
            .named(Integration, "unlinkGitLab", "Unlink the GitLab server")
            .gives::<integration::Unlinked>(
                "Webhooks are still answered, nothing runs, and stacks are kept.",
            )
            .refuses(&[409]),
        post(
            "/api/v1/integration/rotate-secret",
            Admin,
            "replace the webhook secret",
            integration::rotate,
        )
        .named(Integration, "rotateWebhookSecret", "Replace the webhook secret")
        .about(
            "Updates the webhooks created by Gantry and lists the projects that still use the old \
             secret.",
        )
        .may_send::<RotateSecret>()
        .gives::<integration::Rotated>("The previous one keeps working for 7 days.")
        .refuses(&[409]),
        read(SIGN_IN, Admin, people::show_settings)
            .named(Integration, "showSignIn", "How people sign in with GitLab")
            .gives::<people::SignInView>("The application's secret is never shown."),
        put(SIGN_IN, Admin, "set up signing in with GitLab", people::save_settings)
            .named(Integration, "setUpSignIn", "Let people sign in with GitLab")
            .about(
                "GitLab is asked whether it knows the application's ID and secret; nothing is saved \
                 if not. Whether it has the redirect URI shows only when somebody signs in.",
            )
            .sends::<SetUpSignIn>()
            .gives::<people::SignInView>("It is set up.")
            .refuses(&[409, 502, 503]),
        delete(SIGN_IN, Admin, "end signing in with GitLab", people::remove_settings)
            .named(Integration, "endSignIn", "End signing in with GitLab")
            .ends("Nobody can sign in with GitLab, and sessions that were begun so have ended."),
    ]
}

fn of_keys() -> Vec<Route> {
    const KEYS: &str = "/api/v1/keys";
    vec![
        read(KEYS, Admin, keys::list)
            .named(Keys, "listKeys", "Access keys")
            .gives::<keys::KeyList>("All keys."),
        post(KEYS, Admin, "create a key", keys::create)
            .named(Keys, "makeKey", "Create a key")
            .sends::<MakeKey>()
            .makes::<keys::NewKey>("The key is shown only this once.")
            .refuses(&[409]),
        delete("/api/v1/keys/{id}", Admin, "delete a key", keys::delete)
            .named(Keys, "deleteKey", "Delete a key by its ID, its name, or the key itself")
            .ends("The key is deleted, and its sessions have ended.")
            .refuses(&[409]),
    ]
}

/// People's sessions, and the keys that they have made for themselves.
fn of_sessions() -> Vec<Route> {
    const SESSIONS: &str = "/api/v1/sessions";
    vec![
        read(SESSIONS, Read, people::list_sessions)
            .named(Keys, "listSessions", "Sessions and keys of people")
            .about(
                "Of people who sign in with GitLab: your own, and to admins everybody's. A key that \
                 a person has created is a session with a name.",
            )
            .gives::<people::SessionList>("All that are still good."),
        delete(SESSIONS, Read, "end sessions and keys", people::end_sessions)
            .named(Keys, "endSessions", "End all your other sessions and keys, or all of a person")
            .taking::<people::EndQuery>(&["person"])
            .gives::<people::EndedSessions>("They have ended.")
            .refuses(&[404, 409]),
        delete("/api/v1/sessions/{id}", Read, "end a session or key", people::end_session)
            .named(Keys, "endSession", "End a session or key of a person")
            .about("Your own; as an admin, anybody's. Its tokens at GitLab are revoked.")
            .ends("It has ended."),
    ]
}

fn of_stacks() -> Vec<Route> {
    const STACKS: &str = "/api/v1/stacks";
    const STACK: &str = "/api/v1/stacks/{slug}";
    vec![
        read(STACKS, Read, stacks::list)
            .named(Stacks, "listStacks", "Stacks, by slug")
            .taking::<stacks::ListQuery>(SEARCHING)
            .gives::<stacks::StackList>(A_PAGE),
        post(STACKS, Admin, "create a stack", stacks::create)
            .named(Stacks, "makeStack", "Create a stack")
            .sends::<NewStack>()
            .makes::<stacks::Checked>("The stack, and the findings about its project.")
            .refuses(&[409, 502, 503]),
        read(STACK, Read, stacks::show)
            .named(Stacks, "showStack", "A stack")
            .gives::<stacks::StackView>("The stack."),
        put(STACK, Edit, "change the stack {slug}", stacks::edit)
            .named(Stacks, "changeStack", "Change a stack")
            .about(
                "Project, branch, root and manage_state can be changed only while no deploy is in \
                 progress.",
            )
            .header(IF_MATCH)
            .sends::<StackChange>()
            .gives::<stacks::Checked>(
                "The stack, with findings if its project, branch or root changed.",
            )
            .refuses(&[409, 502, 503]),
        delete(STACK, Edit, "delete the stack {slug}", stacks::remove)
            .named(Stacks, "deleteStack", "Delete a stack")
            .taking::<stacks::RemoveQuery>(&["state"])
            .gives::<stacks::Deleted>("It is deleted. Its slug stays reserved.")
            .refuses(&[409]),
        read("/api/v1/stacks/{slug}/resources", Read, stacks::resources)
            .named(Stacks, "listResources", "The resources in a stack's state, by module and type")
            .about(
                "Each with the run that created it and the run that last changed it, found by \
                 comparing up to 20 versions of the state. Attributes are not shown.",
            )
            .taking::<stacks::ResourceQuery>(LISTING)
            .gives::<stacks::ResourceList>(A_PAGE)
            .refuses(&[503]),
        read("/api/v1/stacks/{slug}/outputs", Read, stacks::outputs)
            .named(Stacks, "listOutputs", "The outputs in a stack's state")
            .about("Sensitive values are not shown, and secrets are masked.")
            .gives::<stacks::OutputList>("The outputs, by name.")
            .refuses(&[503]),
        post(
            "/api/v1/stacks/{slug}/webhook",
            Edit,
            "create or repair the webhook of the stack {slug}",
            stacks::make_webhook,
        )
        .named(Stacks, "makeWebhook", "Create or repair the project's one webhook")
        .about(
            "If it cannot be created, the error contains what is needed to create it by hand in \
             `webhook`.",
        )
        .gives::<stacks::MadeWebhook>("The webhook.")
        .refuses(&[409, 502, 503]),
    ]
}

fn of_modules() -> Vec<Route> {
    const MODULES: &str = "/api/v1/modules";
    const MODULE: &str = "/api/v1/modules/{slug}";
    const VERSIONS: &str = "/api/v1/modules/{slug}/versions";
    vec![
        open("/api/v1/module-config.schema.json", modules::schema)
            .named(
                Modules,
                "showModuleConfigSchema",
                "The JSON Schema of .gantry/config.yml, for editors",
            )
            .gives_as::<AnyObject>("application/schema+json", "A JSON Schema."),
        read(MODULES, Read, modules::list)
            .named(Modules, "listModules", "Modules, by slug")
            .taking::<stacks::ListQuery>(SEARCHING)
            .gives::<modules::ModuleList>(A_PAGE),
        post(MODULES, Admin, "create a module", modules::create)
            .named(Modules, "makeModule", "Create a module")
            .sends::<NewModule>()
            .makes::<modules::ModuleView>("The module, and the findings about its project.")
            .refuses(&[409, 502, 503]),
        read(MODULE, Read, modules::show)
            .named(Modules, "showModule", "A module")
            .gives::<modules::ModuleView>("The module."),
        put(MODULE, Edit, "change the module {slug}", modules::edit)
            .named(Modules, "changeModule", "Change a module")
            .header(IF_MATCH)
            .sends::<ModuleChange>()
            .gives::<modules::ModuleView>("The module.")
            .refuses(&[409, 502, 503]),
        delete(MODULE, Edit, "delete the module {slug}", modules::remove)
            .named(Modules, "deleteModule", "Delete a module")
            .gives::<stacks::Deleted>("It is deleted. Its slug stays reserved.")
            .refuses(&[409]),
        read(VERSIONS, Read, modules::versions)
            .named(Modules, "listVersions", "A module's versions, the highest first")
            .taking::<modules::VersionQuery>(PAGING)
            .gives::<modules::VersionList>(A_PAGE),
        post(VERSIONS, Deploy, "create a version of the module {slug}", modules::make_version)
            .named(
                Modules,
                "makeVersion",
                "Test a commit, and create a version from it if its tests pass",
            )
            .header(IDEMPOTENCY_KEY)
            .sends::<MakeVersion>()
            .asks()
            .refuses(&[409, 502, 503]),
        read("/api/v1/modules/{slug}/versions/{version}", Read, modules::version)
            .named(
                Modules,
                "showVersion",
                "A version with its tests and what was read from its code",
            )
            .gives::<modules::TestedVersion>("The version."),
        post(
            "/api/v1/modules/{slug}/versions/{version}/yank",
            Edit,
            "yank the version {version} of the module {slug}, or undo that",
            modules::yank,
        )
        .named(Modules, "yankVersion", "Withdraw a version from use, or undo that")
        .header(IDEMPOTENCY_KEY)
        .may_send::<YankVersion>()
        .asks()
        .refuses(&[409, 503]),
    ]
}

fn of_runs() -> Vec<Route> {
    vec![
        read("/api/v1/stacks/{slug}/runs", Read, runs::list)
            .named(Runs, "listRuns", "A stack's runs, the newest first")
            .taking::<runs::ListQuery>(PAGING)
            .gives::<runs::RunList>(A_PAGE),
        read("/api/v1/runs", Read, runs::search)
            .named(Runs, "searchRuns", "Runs of all stacks and modules, the newest first")
            .about(
                "At most 2,000 runs are looked at for one page. It can have fewer runs than asked \
                 for, or none; what follows is behind `next` until that is null.",
            )
            .taking::<runs::RunQuery>(runs::FILTERS)
            .gives::<runs::RunList>(A_PAGE),
        read("/api/v1/waiting", Read, runs::waiting_list)
            .named(Runs, "listWaitingRuns", "Runs that need confirmation, the oldest first")
            .taking::<runs::ListQuery>(PAGING)
            .gives::<runs::RunList>(A_PAGE),
        read("/api/v1/runs/{id}", Read, runs::show)
            .named(Runs, "showRun", "A run")
            .taking::<runs::ShowQuery>(&["wait"])
            .gives::<runs::RunView>("The run."),
        read("/api/v1/runs/{id}/log", Read, runs::log)
            .named(Runs, "showLog", "A run's log")
            .taking::<runs::LogQuery>(&["after", "before", "find"])
            .gives::<runs::LogPart>("What comes after or before the cursor, or the matches."),
        read("/api/v1/runs/{id}/change", Read, runs::show_change)
            .named(Runs, "showChange", "What a run's plan found")
            .gives::<Change>("The change."),
        read("/api/v1/runs/{id}/compare", Read, runs::compare)
            .named(
                Runs,
                "compareRuns",
                "How a run's plan differs from the previous one of the same stack",
            )
            .taking::<runs::CompareQuery>(&["with"])
            .gives::<runs::CompareView>("The differences."),
        read("/api/v1/commands/{slug}/{request}", Read, commands::outcome)
            .named(Runs, "showCommand", "How a command ended")
            .gives::<CommandView>("It has been decided.")
            .or_later::<CommandView>("It has not been decided yet."),
    ]
}

/// What people ask of stacks and runs.
fn of_commands() -> impl Iterator<Item = Route> {
    commands::TABLE.iter().map(|row| {
        let asked = row.ask;
        let handler = move |app, caller, of, body| commands::take(asked, app, caller, of, body);
        post(row.api, row.needs, row.what, handler)
            .named(row.tag, row.id, row.summary)
            .about(row.about)
            .header(IDEMPOTENCY_KEY)
            .body(row.body)
            .asks()
            // Each reads a body, also those that have no field.
            .refuses(&[400, 409, 413, 502, 503])
    })
}

/// Previews of uploaded code.
fn of_previews() -> Vec<Route> {
    const ARCHIVE: &str = "A tar.gz of at most 50 MB, with everything below one top folder.";
    vec![
        post(
            "/api/v1/stacks/{slug}/previews",
            Preview,
            "upload code for a preview of the stack {slug}",
            previews::place,
        )
        .named(Runs, "uploadPreview", "Ask where to upload code for a preview")
        .about(
            "The stack must allow it (`local_previews`). Upload the archive, then start the preview. \
             Refused with 409 while 50 uploads of the stack, or 1 GB of them, or 500 uploads of all \
             stacks, or 5 GB, are still needed for previews.",
        )
        .sends::<NewUpload>()
        .gives::<previews::Place>("Where to upload it. The URL works for 15 minutes.")
        .refuses(&[409]),
        put(
            "/api/v1/stacks/{slug}/previews/{digest}",
            Preview,
            "upload code for a preview of the stack {slug}",
            previews::take,
        )
        .named(Runs, "putPreview", "Upload code for a preview")
        .about("Only needed if there is no other URL to upload it to.")
        .body(Some(BodyOf::archive(ARCHIVE)))
        .ends("It is stored until its previews have ended; for 30 minutes if none is started.")
        .refuses(&[409]),
        post(
            "/api/v1/stacks/{slug}/previews/{digest}/start",
            Preview,
            "start a preview of uploaded code of the stack {slug}",
            previews::start,
        )
        .named(Runs, "startPreview", "Start a preview of uploaded code")
        .about("The run is never applied, and GitLab shows nothing of it.")
        .header(IDEMPOTENCY_KEY)
        .may_send::<StartPreview>()
        .asks()
        .refuses(&[409]),
    ]
}

fn of_events() -> Vec<Route> {
    vec![
        read("/api/v1/events", Read, events::list)
            .named(
                Events,
                "listEvents",
                "Webhooks and polled changes with what was decided, the newest first",
            )
            .taking::<events::EventQuery>(&["after", "limit", "project"])
            .gives::<events::EventList>(A_PAGE),
        read("/api/v1/events/{id}", Read, events::decisions)
            .named(Events, "showEvent", "Everything that was decided for an event")
            .gives::<events::EventDecisions>("The decisions."),
        read("/api/v1/activity", Read, activities::list)
            .named(Events, "listActivities", "What people did or tried to do, the newest first")
            .about(
                "At most 2,000 activities are looked at for one page. It can have fewer than asked \
                 for, or none; what follows is behind `next` until that is null.",
            )
            .taking::<activities::ActivityQuery>(activities::FILTERS)
            .gives::<activities::ActivityList>(A_PAGE),
        read("/api/v1/activity/export", Read, activities::export)
            .named(
                Events,
                "exportActivities",
                "What people did or tried to do as lines of JSON, the newest first",
            )
            .about(
                "One JSON object per line. The last line has only `next`: null if there is nothing \
                 more, otherwise the `after` of the request for the rest. A response has at most \
                 4 MB, and some 20,000 activities are looked at for it; without a last line, it is \
                 incomplete.",
            )
            .taking::<activities::ExportQuery>(activities::EXPORT_FILTERS)
            .gives_as::<activities::ActivityExportLine>("application/x-ndjson", "The lines."),
    ]
}

fn of_notifications() -> Vec<Route> {
    const TARGETS: &str = "/api/v1/notifications";
    const TARGET: &str = "/api/v1/notifications/{target}";
    vec![
        read(TARGETS, Admin, notifications::list)
            .named(Notifications, "listNotificationTargets", "Who is notified")
            .gives::<notifications::TargetList>("All targets."),
        post(TARGETS, Admin, "create a notification target", notifications::create)
            .named(Notifications, "makeNotificationTarget", "Create a notification target")
            .sends::<NewNotificationTarget>()
            .makes::<notifications::SavedTarget>("The secret is shown only this once.")
            .refuses(&[409]),
        read(TARGET, Admin, notifications::show)
            .named(Notifications, "showNotificationTarget", "A notification target")
            .gives::<notifications::TargetView>("The target."),
        put(TARGET, Admin, "change the notification target {target}", notifications::edit)
            .named(Notifications, "changeNotificationTarget", "Change a notification target")
            .about("A target that was disabled because it answered 410 is used again.")
            .sends::<NotificationTargetChange>()
            .gives::<notifications::SavedTarget>("The target, with its secret if that is new.")
            .refuses(&[409]),
        delete(TARGET, Admin, "delete the notification target {target}", notifications::delete)
            .named(Notifications, "deleteNotificationTarget", "Delete a notification target")
            .ends("It is deleted. What waits for it is not sent."),
        post(
            "/api/v1/notifications/{target}/test",
            Admin,
            "test the notification target {target}",
            notifications::try_target,
        )
        .named(Notifications, "testNotificationTarget", "Send a test message")
        .about("It is tried once. The list of messages shows how the target answered.")
        .header(IDEMPOTENCY_KEY)
        .or_later::<notifications::Requested>("It is sent shortly."),
        read("/api/v1/notifications/{target}/deliveries", Admin, notifications::list_deliveries)
            .named(Notifications, "listDeliveries", "The messages to a target, the newest first")
            .taking::<notifications::DeliveryQuery>(PAGING)
            .gives::<notifications::DeliveryList>(A_PAGE),
        post(
            "/api/v1/notifications/{target}/deliveries/{delivery}/send",
            Admin,
            "resend a notification to {target}",
            notifications::send_delivery,
        )
        .named(Notifications, "sendDelivery", "Send a message again")
        .about("It keeps its ID, so that a target can recognize it.")
        .or_later::<notifications::Requested>("It is sent shortly."),
    ]
}

fn of_operations() -> Vec<Route> {
    const DRIFT: &str = "/api/v1/drift";
    vec![
        read("/api/v1/operations", Admin, operations::show)
            .named(
                Operations,
                "showOperations",
                "Queues, failed messages, and whether runs are paused",
            )
            .gives::<operations::Operations>("The current state.")
            .refuses(&[503]),
        post("/api/v1/operations/redrive", Admin, "resend failed messages", operations::redrive)
            .named(Operations, "redriveMessages", "Resend failed messages")
            .may_send::<Redrive>()
            .gives::<operations::Redriven>(
                "How many of each queue were resent. At most 500 per queue; repeat it for more.",
            )
            .refuses(&[503]),
        put("/api/v1/operations/pause", Admin, "pause or resume runs", operations::pause)
            .named(Operations, "holdRunners", "Pause or resume runs")
            .about("Webhooks are still processed; runs in progress finish, and new runs queue.")
            .sends::<HoldRunners>()
            .gives::<operations::Paused>("Whether runs are paused now.")
            .refuses(&[503]),
        read(DRIFT, Read, drift::show)
            .named(
                Operations,
                "showDriftDefaults",
                "When stacks are looked at for drift that say nothing else",
            )
            .gives::<DriftDefaults>("What is set."),
        put(DRIFT, Admin, "set when stacks are looked at for drift", drift::save)
            .named(
                Operations,
                "setDriftDefaults",
                "Set when stacks are looked at for drift that say nothing else",
            )
            .about(
                "Each stack is looked at some time after the schedule's time, so that not all are \
                 at once.",
            )
            .sends::<SetDrift>()
            .gives::<DriftDefaults>("It is set."),
    ]
}

impl Route {
    /// Asks the scheduler for something, whose outcome may be known at once, or later.
    fn asks(self) -> Self {
        self.gives::<CommandView>("Done.")
            .or_later::<CommandView>("Requested; the outcome is not known yet.")
    }
}

async fn description() -> impl IntoResponse {
    let content_type = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, content_type)], crate::OPENAPI)
}
