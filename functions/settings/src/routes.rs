//! Every route, with the role it needs and what it does in words.

use crate::{
    access::{Access, Guard, guard},
    app::{App, Deps},
    commands, events, integration, keys, modules, operations, pages,
    refusal::Refusal,
    registry, runs, stacks,
};
use axum::{
    Router,
    handler::Handler,
    http::{HeaderValue, Method, StatusCode, header},
    middleware::{from_fn, from_fn_with_state},
    response::IntoResponse,
    routing::{MethodFilter, MethodRouter, on},
};
use gantry_setup::web::{in_time, taking};
use gantry_store::config::Role::{self, Admin, Deploy, Read};

/// A route.
struct Route {
    method: Method,
    path: &'static str,
    access: Access,
    /// What a request for a change asks for, for the list of activities.
    what: &'static str,
    /// The address has a question, without whose answer nothing is done.
    asks: bool,
    /// The parameters that the API takes behind the address's `?`; others are refused.
    takes: &'static [&'static str],
    handler: MethodRouter<App>,
}

fn route<H, T>(method: Method, path: &'static str, access: Access, handler: H) -> Route
where
    H: Handler<T, App>,
    T: 'static,
{
    let filter = MethodFilter::try_from(method.clone()).unwrap_or(MethodFilter::GET);
    Route { method, path, access, what: "", asks: false, takes: &[], handler: on(filter, handler) }
}

impl Route {
    /// The same with parameters behind its `?`.
    fn taking(self, takes: &'static [&'static str]) -> Self {
        Self { takes, ..self }
    }
}

/// Where a list goes on, and how much of it is answered at once.
const PAGING: &[&str] = &["after", "limit"];
/// The same for lists that are searched.
const SEARCHING: &[&str] = &["after", "limit", "search", "label"];

/// A route that everybody may read.
fn open<H: Handler<T, App>, T: 'static>(path: &'static str, handler: H) -> Route {
    route(Method::GET, path, Access::Open, handler)
}

/// A route that changes nothing.
fn read<H: Handler<T, App>, T: 'static>(path: &'static str, needs: Role, handler: H) -> Route {
    route(Method::GET, path, Access::Key(needs), handler)
}

/// A route that changes something.
fn change<H: Handler<T, App>, T: 'static>(
    method: Method,
    path: &'static str,
    needs: Role,
    what: &'static str,
    handler: H,
) -> Route {
    Route { what, ..route(method, path, Access::Key(needs), handler) }
}

fn post<H: Handler<T, App>, T: 'static>(
    path: &'static str,
    needs: Role,
    what: &'static str,
    handler: H,
) -> Route {
    change(Method::POST, path, needs, what, handler)
}

fn delete<H: Handler<T, App>, T: 'static>(
    path: &'static str,
    needs: Role,
    what: &'static str,
    handler: H,
) -> Route {
    change(Method::DELETE, path, needs, what, handler)
}

fn put<H: Handler<T, App>, T: 'static>(
    path: &'static str,
    needs: Role,
    what: &'static str,
    handler: H,
) -> Route {
    change(Method::PUT, path, needs, what, handler)
}

/// A page that shows something.
fn see<H: Handler<T, App>, T: 'static>(path: &'static str, needs: Role, handler: H) -> Route {
    route(Method::GET, path, Access::Page(needs), handler)
}

/// A page's form that changes something.
fn send<H: Handler<T, App>, T: 'static>(
    path: &'static str,
    needs: Role,
    what: &'static str,
    handler: H,
) -> Route {
    Route { what, ..route(Method::POST, path, Access::Page(needs), handler) }
}

/// The same, which is done only once its question is answered: what the same address shows.
fn sure<H: Handler<T, App>, T: 'static>(
    path: &'static str,
    needs: Role,
    what: &'static str,
    handler: H,
) -> Route {
    Route { asks: true, ..send(path, needs, what, handler) }
}

const INTEGRATION: &str = "/api/v1/integration";
const STACKS: &str = "/api/v1/stacks";
const STACK: &str = "/api/v1/stacks/{slug}";
const STACK_RUNS: &str = "/api/v1/stacks/{slug}/runs";
const MODULES: &str = "/api/v1/modules";
const MODULE: &str = "/api/v1/modules/{slug}";
const VERSIONS: &str = "/api/v1/modules/{slug}/versions";
const KEYS: &str = "/api/v1/keys";

/// The pages, and the registry, which Terraform asks. Forms send POST alone, and each part of a path has a name of its own, so that
/// activities read well.
fn pages() -> Vec<Route> {
    use pages::handlers as page;
    let mut routes = vec![
        open("/healthz", page::health),
        open("/assets/{name}", pages::asset),
        open("/.well-known/terraform.json", registry::discovery),
        open("/registry/v1/modules/{namespace}/{name}/{provider}/versions", registry::versions),
        open(
            "/registry/v1/modules/{namespace}/{name}/{provider}/{version}/download",
            registry::download,
        ),
        open("/registry/v1/archives/{module}/{file}", registry::archive),
        open("/sign-in", page::sign_in),
        route(Method::POST, "/sign-in", Access::Open, page::try_key),
        see("/", Read, page::overview),
        send("/sign-out", Read, "sign out", page::sign_out),
        see("/gitlab", Read, page::gitlab),
        send("/gitlab", Admin, "connect GitLab", page::connect_gitlab),
        see("/gitlab/rotate", Admin, page::ask_rotate),
        sure("/gitlab/rotate", Admin, "replace the webhook secret", page::rotate_secret),
        see("/gitlab/unlink", Admin, page::ask_unlink),
        sure("/gitlab/unlink", Admin, "unlink GitLab", page::unlink_gitlab),
        see("/stacks/new", Admin, page::new_stack),
        send("/stacks/new", Admin, "make a stack", page::create_stack),
        see("/stacks/{slug}", Read, page::stack),
        see("/stacks/{slug}/edit", Admin, page::edit_stack),
        send("/stacks/{slug}/edit", Admin, "change the stack {slug}", page::save_stack),
        see("/stacks/{slug}/check", Admin, page::check_stack),
        send(
            "/stacks/{slug}/webhook",
            Admin,
            "make or repair the webhook of the stack {slug}",
            page::repair_webhook,
        ),
        see("/stacks/{slug}/catch-up", Deploy, page::ask_catch_up),
        see("/stacks/{slug}/restore", Admin, page::ask_restore),
        see("/stacks/{slug}/unlock", Admin, page::ask_unlock),
        send("/stacks/{slug}/delete", Admin, "delete the stack {slug}", page::delete_stack),
        see("/modules", Read, page::modules),
        see("/modules/new", Admin, page::new_module),
        send("/modules/new", Admin, "make a module", page::create_module),
        see("/modules/{slug}", Read, page::module),
        see("/modules/{slug}/edit", Admin, page::edit_module),
        send("/modules/{slug}/edit", Admin, "change the module {slug}", page::save_module),
        send(
            "/modules/{slug}/versions",
            Deploy,
            "make a version of the module {slug}",
            page::make_version,
        ),
        send("/modules/{slug}/yank", Admin, "yank a version of the module {slug}", page::yank),
        send("/modules/{slug}/delete", Admin, "delete the module {slug}", page::delete_module),
        open("/runs/{id}", page::run),
        open("/runs/{id}/log", page::log),
        open("/runs/{id}/log.txt", page::log_text),
        see("/runs/{id}/stop", Deploy, page::ask_stop),
        see("/events", Read, page::events),
        see("/activity", Read, page::activity),
        see("/keys", Admin, page::keys),
        send("/keys", Admin, "make a key", page::make_key),
        see("/keys/delete", Admin, page::ask_revoke),
        sure("/keys/delete", Admin, "delete a key", page::delete_key),
        see("/operations", Admin, page::operations),
        see("/operations/redrive", Admin, page::ask_redrive),
        sure("/operations/redrive", Admin, "send messages again that were given up", page::redrive),
        send("/operations/pause", Admin, "hold runners back, or let them start", page::pause),
        see("/pick/projects", Admin, page::pick_project),
        see("/pick/branches", Admin, page::pick_branch),
        see("/pick/root", Admin, page::pick_root),
    ];
    routes.extend(commands_of_pages());
    routes
}

/// The API.
fn api() -> Vec<Route> {
    let mut routes = vec![
        open("/api/v1/openapi.json", openapi),
        read(INTEGRATION, Read, integration::show),
        put(INTEGRATION, Admin, "connect GitLab", integration::connect),
        delete(INTEGRATION, Admin, "unlink GitLab", integration::unlink),
        post(
            "/api/v1/integration/rotate-secret",
            Admin,
            "replace the webhook secret",
            integration::rotate,
        ),
        read(KEYS, Admin, keys::list),
        post(KEYS, Admin, "make a key", keys::create),
        delete("/api/v1/keys/{id}", Admin, "delete a key", keys::delete),
        read(STACKS, Read, stacks::list).taking(SEARCHING),
        post(STACKS, Admin, "make a stack", stacks::create),
        read(STACK, Read, stacks::show),
        put(STACK, Admin, "change the stack {slug}", stacks::edit),
        delete(STACK, Admin, "delete the stack {slug}", stacks::remove).taking(&["state"]),
        post(
            "/api/v1/stacks/{slug}/webhook",
            Admin,
            "make or repair the webhook of the stack {slug}",
            stacks::make_webhook,
        ),
        read(STACK_RUNS, Read, runs::list).taking(PAGING),
        open("/api/v1/module-config.schema.json", modules::schema),
        read(MODULES, Read, modules::list).taking(SEARCHING),
        post(MODULES, Admin, "make a module", modules::create),
        read(MODULE, Read, modules::show),
        put(MODULE, Admin, "change the module {slug}", modules::edit),
        delete(MODULE, Admin, "delete the module {slug}", modules::remove),
        read(VERSIONS, Read, modules::versions).taking(PAGING),
        post(VERSIONS, Deploy, "make a version of the module {slug}", modules::make_version),
        read("/api/v1/modules/{slug}/versions/{version}", Read, modules::version),
        post(
            "/api/v1/modules/{slug}/versions/{version}/yank",
            Admin,
            "yank the version {version} of the module {slug}, or take that back",
            modules::yank,
        ),
        read("/api/v1/waiting", Read, runs::waiting_list).taking(PAGING),
        read("/api/v1/runs/{id}", Read, runs::show),
        read("/api/v1/runs/{id}/log", Read, runs::log).taking(&["after", "before", "find"]),
        read("/api/v1/runs/{id}/change", Read, runs::show_change),
        read("/api/v1/commands/{slug}/{request}", Read, commands::outcome),
        read("/api/v1/events", Read, events::list).taking(&["after", "limit", "project"]),
        read("/api/v1/events/{id}", Read, events::decisions),
        read("/api/v1/activity", Read, events::activity).taking(PAGING),
        read("/api/v1/operations", Admin, operations::show),
        post(
            "/api/v1/operations/redrive",
            Admin,
            "send messages again that were given up",
            operations::redrive,
        ),
        put(
            "/api/v1/operations/pause",
            Admin,
            "hold runners back, or let them start",
            operations::pause,
        ),
    ];
    routes.extend(commands_of_api());
    routes
}

/// The commands of the API.
fn commands_of_api() -> impl Iterator<Item = Route> {
    commands::TABLE.iter().map(|row| {
        let asked = row.ask;
        post(row.api, row.needs, row.what, move |app, caller, of, body| {
            commands::take(asked, app, caller, of, body)
        })
    })
}

/// The forms of commands.
fn commands_of_pages() -> impl Iterator<Item = Route> {
    commands::TABLE.iter().map(|row| {
        let form = send(row.page, row.needs, row.what, move |app, frame, caller, of, fields| {
            pages::handlers::command(row, app, frame, caller, of, fields)
        });
        Route { asks: row.sure, ..form }
    })
}

/// The API and the pages. There is no fallback but for addresses below `/api/`, so that other
/// functions' routers can stand beside it in one process.
pub fn router(deps: Deps) -> Router {
    let app = App::new(deps);
    let mut router = Router::new();
    let api = api().into_iter().map(|route| {
        let handler = taking(route.handler, route.takes);
        Route { handler, ..route }
    });
    for route in api.chain(pages()) {
        let handler = match route.access {
            Access::Open => route.handler,
            Access::Key(needs) => {
                let state = Guard { app: app.clone(), needs, what: route.what, asks: route.asks };
                route.handler.route_layer(from_fn_with_state(state, guard))
            }
            Access::Page(needs) => {
                let state = Guard { app: app.clone(), needs, what: route.what, asks: route.asks };
                route.handler.route_layer(from_fn_with_state(state, pages::guard))
            }
        };
        router = router.route(route.path, handler);
    }
    router
        .method_not_allowed_fallback(wrong_method)
        .route("/api/{*rest}", axum::routing::any(unknown))
        .layer(from_fn(in_time))
        .with_state(app)
}

/// The addresses of all that can be looked at: every page, and what the API answers to GET, with
/// names in braces for the parts that vary.
pub fn addresses() -> Vec<&'static str> {
    let all = api().into_iter().chain(pages());
    all.filter(|route| route.method == Method::GET).map(|route| route.path).collect()
}

/// The routes that the description has.
pub(crate) fn documented() -> Vec<(Method, &'static str)> {
    api().into_iter().map(|route| (route.method, route.path)).collect()
}

async fn openapi() -> impl IntoResponse {
    let content_type = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, content_type)], crate::OPENAPI)
}

async fn unknown() -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "Not found",
        "The API has no such address. /api/v1/openapi.json lists those that it has.",
    )
}

async fn wrong_method() -> Refusal {
    Refusal::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "Not this method",
        "The address does not take this method. /api/v1/openapi.json lists those that it takes.",
    )
}
