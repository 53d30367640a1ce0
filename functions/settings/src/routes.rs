//! Every route, with the role it needs and what it does in words.

use crate::{
    access::{Access, Guard, guard},
    app::{App, Deps},
    commands, events, integration, keys, pages,
    refusal::Refusal,
    runs, stacks,
};
use axum::{
    Router,
    handler::Handler,
    http::{HeaderValue, Method, StatusCode, header},
    middleware::from_fn_with_state,
    response::IntoResponse,
    routing::{MethodFilter, MethodRouter, on},
};
use gantry_store::config::Role::{self, Admin, Deploy, Read};

/// A route.
struct Route {
    method: Method,
    path: &'static str,
    access: Access,
    /// What a request for a change asks for, for the list of activities.
    what: &'static str,
    handler: MethodRouter<App>,
}

fn route<H, T>(method: Method, path: &'static str, access: Access, handler: H) -> Route
where
    H: Handler<T, App>,
    T: 'static,
{
    let filter = MethodFilter::try_from(method.clone()).unwrap_or(MethodFilter::GET);
    Route { method, path, access, what: "", handler: on(filter, handler) }
}

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

const INTEGRATION: &str = "/api/v1/integration";
const STACKS: &str = "/api/v1/stacks";
const STACK: &str = "/api/v1/stacks/{slug}";
const STACK_RUNS: &str = "/api/v1/stacks/{slug}/runs";
const KEYS: &str = "/api/v1/keys";

fn all() -> Vec<Route> {
    vec![
        open("/", pages::home),
        open("/healthz", pages::health),
        open("/style.css", pages::style),
        open("/runs/{id}", pages::run),
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
        delete("/api/v1/keys/{key}", Admin, "delete the key {key}", keys::delete),
        read(STACKS, Read, stacks::list),
        post(STACKS, Admin, "make a stack", stacks::create),
        read(STACK, Read, stacks::show),
        put(STACK, Admin, "change the stack {slug}", stacks::edit),
        delete(STACK, Admin, "delete the stack {slug}", stacks::remove),
        post(
            "/api/v1/stacks/{slug}/webhook",
            Admin,
            "make or repair the webhook of the stack {slug}",
            stacks::make_webhook,
        ),
        post("/api/v1/stacks/{slug}/unblock", Admin, "unblock the stack {slug}", commands::unblock),
        post(
            "/api/v1/stacks/{slug}/catch-up",
            Deploy,
            "catch up with the stack {slug}",
            commands::catch_up,
        ),
        read(STACK_RUNS, Read, runs::list),
        post(STACK_RUNS, Deploy, "start a run of the stack {slug}", commands::start_run),
        read("/api/v1/runs/{id}", Read, runs::show),
        read("/api/v1/runs/{id}/log", Read, runs::log),
        read("/api/v1/runs/{id}/change", Read, runs::show_change),
        post("/api/v1/runs/{id}/confirm", Deploy, "confirm the run {id}", commands::confirm),
        post("/api/v1/runs/{id}/discard", Deploy, "discard the run {id}", commands::discard),
        post("/api/v1/runs/{id}/stop", Deploy, "stop the run {id}", commands::stop),
        post("/api/v1/runs/{id}/retry", Deploy, "retry the run {id}", commands::retry),
        read("/api/v1/commands/{slug}/{request}", Read, commands::outcome),
        read("/api/v1/events", Read, events::list),
        read("/api/v1/events/{id}", Read, events::decisions),
        read("/api/v1/activity", Read, events::activity),
    ]
}

/// The API and the pages. There is no fallback but for addresses below `/api/`, so that other
/// functions' routers can stand beside it in one process.
pub fn router(deps: Deps) -> Router {
    let app = App::new(deps);
    let mut router = Router::new();
    for route in all() {
        let handler = match route.access {
            Access::Open => route.handler,
            Access::Key(needs) => {
                let state = Guard { app: app.clone(), needs, what: route.what };
                route.handler.route_layer(from_fn_with_state(state, guard))
            }
        };
        router = router.route(route.path, handler);
    }
    router
        .method_not_allowed_fallback(wrong_method)
        .route("/api/{*rest}", axum::routing::any(unknown))
        .with_state(app)
}

/// The routes that the description has.
pub(crate) fn documented() -> Vec<(Method, &'static str)> {
    all().into_iter().map(|route| (route.method, route.path)).collect()
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
