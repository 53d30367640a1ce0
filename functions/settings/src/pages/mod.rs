//! The pages, on top of the API's own functions: they have no power that the API lacks.
//!
//! Pages are rendered here and work without scripts, but for a log that follows; scripts and styles
//! come from here alone. Everything from outside is escaped by the templates.

mod account;
mod activity;
mod ansi;
mod ask;
mod assets;
mod changes;
mod commands;
mod escape;
mod events;
mod fields;
mod forms;
mod gitlab;
mod guard;
mod kept;
mod markdown;
mod module;
mod notifications;
mod operations;
mod overview;
mod people;
mod pick;
mod run;
mod runs;
mod session;
mod sessions;
mod shell;
mod show;
mod sign_in;
mod sign_in_settings;
mod stack;
mod stack_form;
mod unpushed_form;
mod variables;

pub(crate) use assets::asset;
pub(crate) use guard::guard;
pub(crate) use shell::nowhere;

use askama::Template;
use axum::{
    Json,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

/// What a browser may do with a page: show it with styles and scripts from here, send its forms
/// here, and nothing else. Addresses can hold a read key, so they are told to nobody and kept in
/// no cache.
const HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; \
         connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (header::CONTENT_TYPE, "text/html; charset=utf-8"),
];

/// What the fields have that are wrong.
const WRONG: &str = r#" aria-invalid="true""#;

/// A page as an answer. The first field that is wrong has the focus.
fn respond(status: StatusCode, page: &impl Template) -> Response {
    let html = match page.render() {
        Ok(html) => html,
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    // Nothing from outside can say this: it would be escaped.
    let html = match status {
        StatusCode::UNPROCESSABLE_ENTITY => html.replacen(WRONG, &format!(" autofocus{WRONG}"), 1),
        _ => html,
    };
    let mut response = (status, html).into_response();
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn page(page: &impl Template) -> Response {
    respond(StatusCode::OK, page)
}

/// After a form: on to the page that shows what became of it. `to` is relative to the request.
fn go_to(to: &str) -> Response {
    let location = HeaderValue::from_str(to).unwrap_or_else(|_| HeaderValue::from_static("."));
    (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response()
}

/// `GET /healthz`: the program runs. It asks nobody else.
pub(crate) async fn health() -> impl IntoResponse {
    Json(json!({ "status": "ok" }))
}

/// The handlers of the routes.
pub(crate) mod handlers {
    pub(crate) use super::{
        account::{begin_key, end as end_own, show as account},
        activity::show as activity,
        ask::{
            catch_up as ask_catch_up, delete_target as ask_delete_target, end_of_others as ask_end,
            end_own as ask_end_own, redrive as ask_redrive, restore as ask_restore,
            revoke as ask_revoke, rotate as ask_rotate, stop as ask_stop, unlink as ask_unlink,
            unlock as ask_unlock,
        },
        commands::take as command,
        events::{show as events, show_one as event},
        gitlab::{
            connect as connect_gitlab, rotate as rotate_secret, show as gitlab,
            unlink as unlink_gitlab,
        },
        health,
        module::{list as modules, make_version, remove as delete_module, show as module, yank},
        notifications::{
            list as notifications, make as make_target, remove as delete_target,
            save as save_target, send_again as send_notification, show as notification_target,
            test as test_target,
        },
        operations::{pause, redrive, save_drift, show as operations},
        overview::show as overview,
        people::{delete_key, keys, make_key},
        pick::{
            branches as pick_branches, folders as pick_folders, project as pick_project,
            projects as pick_projects, root as pick_root,
        },
        run::{compare as compare_runs, log, log_text, show as run},
        runs::show as runs,
        sessions::{end as end_of_others, show as everybody},
        sign_in::{
            from_gitlab, go_on, leave as sign_out, show as sign_in, signed_in, to_gitlab, try_key,
        },
        sign_in_settings::{
            remove as remove_sign_in, save as save_sign_in, show as sign_in_settings,
        },
        stack::{
            check as check_stack, history, outputs, remove as delete_stack, repair_webhook,
            resources, show as stack,
        },
        stack_form::{
            create as create_stack, create_module, edit as edit_stack, edit_module,
            new as new_stack, new_module, save as save_stack, save_module,
        },
    };
}
