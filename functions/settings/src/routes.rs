//! Every route, with the role it needs and what it does in words: those of the pages here, those of
//! the API in `api`.

use crate::{
    access::{Access, Guard, guard},
    activities, api,
    app::{App, Deps},
    commands,
    openapi::{self, BodyOf, Operation, Tag, schema_of},
    pages,
    refusal::Refusal,
    registry, runs,
};
use axum::{
    Router,
    handler::Handler,
    http::{Method, StatusCode},
    middleware::{from_fn, from_fn_with_state},
    routing::{MethodFilter, MethodRouter, on},
};
use gantry_domain::rights::Right::{self, Admin, Deploy, Edit, Read};
use gantry_setup::web::{in_time, taking};
use schemars::JsonSchema;

/// A route.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    /// What a request for a change asks for, for the list of activities.
    what: &'static str,
    /// The address has a question, without whose answer nothing is done.
    asks: bool,
    /// The parameters that it takes behind the address's `?`; others are refused.
    takes: &'static [&'static str],
    /// What the API's description says of it; none of a page.
    pub(crate) operation: Option<Operation>,
    handler: MethodRouter<App>,
}

pub(crate) fn route<H, T>(method: Method, path: &'static str, access: Access, handler: H) -> Route
where
    H: Handler<T, App>,
    T: 'static,
{
    let filter = MethodFilter::try_from(method.clone()).unwrap_or(MethodFilter::GET);
    let handler = on(filter, handler);
    Route { method, path, access, what: "", asks: false, takes: &[], operation: None, handler }
}

/// What the description says of a route of the API. [`Self::named`] comes first.
impl Route {
    /// What it belongs to, its name for programs, and what it does.
    pub(crate) fn named(self, tag: Tag, id: &'static str, summary: &'static str) -> Self {
        Self { operation: Some(Operation::new(tag, id, summary)), ..self }
    }

    fn described(self, more: impl FnOnce(Operation) -> Operation) -> Self {
        Self { operation: self.operation.map(more), ..self }
    }

    /// More than the summary says.
    pub(crate) fn about(self, about: &'static str) -> Self {
        self.described(|operation| operation.about(about))
    }

    /// Takes the fields of `Q` behind its `?`: `takes` are their names.
    pub(crate) fn taking<Q: JsonSchema>(self, takes: &'static [&'static str]) -> Self {
        Self { takes, ..self }.described(|operation| operation.query(schema_of::<Q>))
    }

    /// Takes a header, which is optional.
    pub(crate) fn header(self, (name, words): (&'static str, &'static str)) -> Self {
        self.described(|operation| operation.header(name, words))
    }

    /// Takes a body, or none.
    pub(crate) fn body(self, body: Option<BodyOf>) -> Self {
        self.described(|operation| operation.body(body))
    }

    /// Needs a body.
    pub(crate) fn sends<B: JsonSchema>(self) -> Self {
        self.body(Some(BodyOf::required::<B>()))
    }

    /// Takes a body, which may be empty.
    pub(crate) fn may_send<B: JsonSchema>(self) -> Self {
        self.body(Some(BodyOf::optional::<B>()))
    }

    /// Answers 200 with `A`.
    pub(crate) fn gives<A: JsonSchema>(self, words: &'static str) -> Self {
        self.described(|operation| operation.json(200, words, schema_of::<A>))
    }

    /// Answers 200 with `A`, in another form of JSON.
    pub(crate) fn gives_as<A: JsonSchema>(self, kind: &'static str, words: &'static str) -> Self {
        self.described(|operation| operation.answer(200, words, Some((kind, schema_of::<A>))))
    }

    /// Answers 201 with `A`.
    pub(crate) fn makes<A: JsonSchema>(self, words: &'static str) -> Self {
        self.described(|operation| operation.json(201, words, schema_of::<A>))
    }

    /// Answers 204.
    pub(crate) fn ends(self, words: &'static str) -> Self {
        self.described(|operation| operation.answer(204, words, None))
    }

    /// Answers 202 with `A` while the outcome is not known.
    pub(crate) fn or_later<A: JsonSchema>(self, words: &'static str) -> Self {
        self.described(|operation| operation.json(202, words, schema_of::<A>))
    }

    /// May refuse with these, besides those that follow from what it is.
    pub(crate) fn refuses(self, statuses: &'static [u16]) -> Self {
        self.described(|operation| operation.refusals(statuses))
    }
}

/// A route that everybody may read.
pub(crate) fn open<H: Handler<T, App>, T: 'static>(path: &'static str, handler: H) -> Route {
    route(Method::GET, path, Access::Open, handler)
}

/// A route that changes nothing.
pub(crate) fn read<H: Handler<T, App>, T: 'static>(
    path: &'static str,
    needs: Right,
    handler: H,
) -> Route {
    route(Method::GET, path, Access::Key(needs), handler)
}

/// A route that changes something.
fn change<H: Handler<T, App>, T: 'static>(
    method: Method,
    path: &'static str,
    needs: Right,
    what: &'static str,
    handler: H,
) -> Route {
    Route { what, ..route(method, path, Access::Key(needs), handler) }
}

pub(crate) fn post<H: Handler<T, App>, T: 'static>(
    path: &'static str,
    needs: Right,
    what: &'static str,
    handler: H,
) -> Route {
    change(Method::POST, path, needs, what, handler)
}

pub(crate) fn delete<H: Handler<T, App>, T: 'static>(
    path: &'static str,
    needs: Right,
    what: &'static str,
    handler: H,
) -> Route {
    change(Method::DELETE, path, needs, what, handler)
}

pub(crate) fn put<H: Handler<T, App>, T: 'static>(
    path: &'static str,
    needs: Right,
    what: &'static str,
    handler: H,
) -> Route {
    change(Method::PUT, path, needs, what, handler)
}

/// A page that shows something.
fn see<H: Handler<T, App>, T: 'static>(path: &'static str, needs: Right, handler: H) -> Route {
    route(Method::GET, path, Access::Page(needs), handler)
}

/// A page that shows what its address asks for, and where it was redirected to, what was done.
fn list<H: Handler<T, App>, T: 'static>(
    path: &'static str,
    takes: &'static [&'static str],
    handler: H,
) -> Route {
    let page = see(path, Read, handler);
    Route { handler: taking(page.handler, takes), ..page }
}

/// What the page of a run asks for, with the key of its link.
fn part_of_run<H: Handler<T, App>, T: 'static>(
    path: &'static str,
    takes: &'static [&'static str],
    handler: H,
) -> Route {
    let part = open(path, handler);
    Route { handler: taking(part.handler, takes), ..part }
}

/// A page's form that changes something.
fn send<H: Handler<T, App>, T: 'static>(
    path: &'static str,
    needs: Right,
    what: &'static str,
    handler: H,
) -> Route {
    Route { what, ..route(Method::POST, path, Access::Page(needs), handler) }
}

/// The same, which is done only once its question is answered: what the same address shows.
fn sure<H: Handler<T, App>, T: 'static>(
    path: &'static str,
    needs: Right,
    what: &'static str,
    handler: H,
) -> Route {
    Route { asks: true, ..send(path, needs, what, handler) }
}

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
        see("/sign-in/back", Read, page::signed_in),
        route(Method::POST, "/sign-in/again", Access::Open, page::go_on),
        open("/sign-in/gitlab", page::to_gitlab),
        open("/sign-in/gitlab/callback", page::from_gitlab),
        list("/", &["after", "done", "label", "limit", "search", "state"], page::overview),
        send("/sign-out", Read, "sign out", page::sign_out),
        see("/account", Read, page::account),
        send("/account/keys", Read, "ask for a key", page::begin_key),
        see("/account/end", Read, page::ask_end_own),
        sure("/account/end", Read, "end a session or key", page::end_own),
        see("/people", Admin, page::everybody),
        see("/people/end", Admin, page::ask_end),
        sure("/people/end", Admin, "end a session or key", page::end_of_others),
        see("/gitlab", Read, page::gitlab),
        send("/gitlab", Admin, "connect GitLab", page::connect_gitlab),
        see("/gitlab/rotate", Admin, page::ask_rotate),
        sure("/gitlab/rotate", Admin, "replace the webhook secret", page::rotate_secret),
        see("/gitlab/sign-in", Admin, page::sign_in_settings),
        send("/gitlab/sign-in", Admin, "set up signing in with GitLab", page::save_sign_in),
        send("/gitlab/sign-in/remove", Admin, "end signing in with GitLab", page::remove_sign_in),
        see("/gitlab/unlink", Admin, page::ask_unlink),
        sure("/gitlab/unlink", Admin, "unlink GitLab", page::unlink_gitlab),
        see("/stacks/new", Admin, page::new_stack),
        send("/stacks/new", Admin, "create a stack", page::create_stack),
        list("/stacks/{slug}", &["after", "before", "asked", "done", "made", "state"], page::stack),
        list("/stacks/{slug}/history", &[], page::history),
        list("/stacks/{slug}/outputs", &[], page::outputs),
        list("/stacks/{slug}/resources", &["after", "search"], page::resources),
        see("/stacks/{slug}/edit", Edit, page::edit_stack),
        send("/stacks/{slug}/edit", Edit, "change the stack {slug}", page::save_stack),
        see("/stacks/{slug}/check", Edit, page::check_stack),
        send(
            "/stacks/{slug}/webhook",
            Edit,
            "create or repair the webhook of the stack {slug}",
            page::repair_webhook,
        ),
        see("/stacks/{slug}/catch-up", Deploy, page::ask_catch_up),
        // What they ask about, only an admin's key does: people are refused.
        see("/stacks/{slug}/restore", Admin, page::ask_restore),
        see("/stacks/{slug}/unlock", Admin, page::ask_unlock),
        send("/stacks/{slug}/delete", Edit, "delete the stack {slug}", page::delete_stack),
        list("/modules", &["after", "done", "label", "limit", "search"], page::modules),
        see("/modules/new", Admin, page::new_module),
        send("/modules/new", Admin, "create a module", page::create_module),
        list("/modules/{slug}", &["asked", "done", "made"], page::module),
        see("/modules/{slug}/edit", Edit, page::edit_module),
        send("/modules/{slug}/edit", Edit, "change the module {slug}", page::save_module),
        send(
            "/modules/{slug}/versions",
            Deploy,
            "create a version of the module {slug}",
            page::make_version,
        ),
        send("/modules/{slug}/yank", Edit, "yank a version of the module {slug}", page::yank),
        send("/modules/{slug}/delete", Edit, "delete the module {slug}", page::delete_module),
        list("/runs", runs::FILTERS, page::runs),
        open("/runs/{id}", page::run),
        part_of_run("/runs/{id}/log", &["after", "before", "key", "times"], page::log),
        part_of_run("/runs/{id}/log.txt", &["after", "key", "times"], page::log_text),
        list("/runs/{id}/compare", &["with"], page::compare_runs),
        see("/runs/{id}/stop", Deploy, page::ask_stop),
        list("/events", &["after", "before", "done", "project"], page::events),
        see("/events/{id}", Read, page::event),
        list("/activity", activities::PAGE_FILTERS, page::activity),
        list("/activity/export", activities::EXPORT_FILTERS, activities::export),
        see("/keys", Admin, page::keys),
        send("/keys", Admin, "create a key", page::make_key),
        see("/keys/delete", Admin, page::ask_revoke),
        sure("/keys/delete", Admin, "delete a key", page::delete_key),
        see("/notifications", Admin, page::notifications),
        send("/notifications", Admin, "create a notification target", page::make_target),
        see("/notifications/{target}", Admin, page::notification_target),
        send(
            "/notifications/{target}",
            Admin,
            "change the notification target {target}",
            page::save_target,
        ),
        send(
            "/notifications/{target}/test",
            Admin,
            "test the notification target {target}",
            page::test_target,
        ),
        send(
            "/notifications/{target}/send",
            Admin,
            "resend a notification to {target}",
            page::send_notification,
        ),
        see("/notifications/{target}/delete", Admin, page::ask_delete_target),
        sure(
            "/notifications/{target}/delete",
            Admin,
            "delete the notification target {target}",
            page::delete_target,
        ),
        see("/operations", Admin, page::operations),
        see("/operations/redrive", Admin, page::ask_redrive),
        sure("/operations/redrive", Admin, "resend failed messages", page::redrive),
        send("/operations/pause", Admin, "pause or resume runs", page::pause),
        send(
            "/operations/drift",
            Admin,
            "set when stacks are looked at for drift",
            page::save_drift,
        ),
        see("/pick/projects", Admin, page::pick_projects),
        see("/pick/project", Admin, page::pick_project),
        see("/pick/branches", Admin, page::pick_branches),
        see("/pick/folders", Admin, page::pick_folders),
        see("/pick/root", Admin, page::pick_root),
    ];
    routes.extend(commands_of_pages());
    routes
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

/// The API and the pages, and what is answered where there is nothing: other functions' routers,
/// which stand beside it in one process, have no fallback of their own.
pub fn router(deps: Deps) -> Router {
    let app = App::new(deps);
    let mut router = Router::new();
    let api = api::routes().into_iter().map(|route| {
        let handler = taking(route.handler, route.takes);
        Route { handler, ..route }
    });
    let shown = addresses();
    let of = |needs, route: &Route| Guard {
        app: app.clone(),
        needs,
        what: route.what,
        asks: route.asks,
        is_form: !route.asks && shown.contains(&route.path),
    };
    for route in api.chain(pages()) {
        let handler = match route.access {
            Access::Open => route.handler,
            Access::Key(needs) => {
                let state = of(needs, &route);
                route.handler.route_layer(from_fn_with_state(state, guard))
            }
            Access::Page(needs) => {
                let state = of(needs, &route);
                route.handler.route_layer(from_fn_with_state(state, pages::guard))
            }
        };
        router = router.route(route.path, handler);
    }
    router
        .method_not_allowed_fallback(wrong_method)
        .route("/api/{*rest}", axum::routing::any(unknown))
        .fallback(pages::nowhere)
        .layer(from_fn(in_time))
        .with_state(app)
}

/// The addresses of all that can be looked at: every page, and what the API answers to GET, with
/// names in braces for the parts that vary.
pub fn addresses() -> Vec<&'static str> {
    let all = api::routes().into_iter().chain(pages());
    all.filter(|route| route.method == Method::GET).map(|route| route.path).collect()
}

/// A route, for the test that compares who may use it with the documentation.
pub struct ServedRoute {
    /// Its method.
    pub method: Method,
    /// Its path, with names in braces for the parts that vary.
    pub path: &'static str,
    /// What it does, in words; empty for a page that shows something.
    pub what: &'static str,
}

/// Every route of the API and of the pages.
pub fn served() -> Vec<ServedRoute> {
    let all = api::routes().into_iter().chain(pages());
    all.map(|Route { method, path, what, operation, .. }| {
        let what = operation.map_or(what, |operation| operation.summary());
        ServedRoute { method, path, what }
    })
    .collect()
}

/// The routes that the description has.
pub(crate) fn documented() -> Vec<(Method, &'static str)> {
    api::routes().into_iter().map(|route| (route.method, route.path)).collect()
}

/// The API's description, made anew.
pub(crate) fn description() -> serde_json::Value {
    openapi::document(api::routes())
}

async fn unknown() -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "Not found",
        "The API has no such path. /api/v1/openapi.json lists those that it has.",
    )
}

async fn wrong_method() -> Refusal {
    Refusal::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "Method not allowed",
        "The path does not accept this method. /api/v1/openapi.json lists those that it accepts.",
    )
}
