//! The few pages that there are: what this is, and a run, for links from GitLab.
//!
//! A page holds no script and no style of its own; everything that comes from outside is escaped.

mod html;
mod run;

pub(crate) use run::run;

use crate::app::App;
use axum::{
    Json,
    extract::State,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use html::Page;
use serde_json::json;

/// What a browser may do with a page: show it, with the stylesheet from here, and nothing else.
/// Addresses can hold a read key, so they are told to nobody and kept in no cache.
const HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (header::CONTENT_TYPE, "text/html; charset=utf-8"),
];

fn respond(status: StatusCode, page: Page) -> Response {
    let mut response = (status, page.finish()).into_response();
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// `GET /healthz`: the program runs. It asks nobody else.
pub(crate) async fn health() -> impl IntoResponse {
    Json(json!({ "status": "ok" }))
}

/// `GET /style.css`
pub(crate) async fn style() -> impl IntoResponse {
    let headers = [(header::CONTENT_TYPE, "text/css"), (header::CACHE_CONTROL, "max-age=3600")];
    (headers, include_str!("style.css"))
}

/// `GET /`
pub(crate) async fn home(State(app): State<App>) -> Response {
    let mut page = Page::new("", "Gantry");
    page.paragraph("This is Gantry: it turns pushes, tags and merge requests in GitLab into Terraform runs, and shows in GitLab what they found.");
    page.paragraph("There are no pages for settings yet; the JSON API does everything. Its description is at /api/v1/openapi.json. Every request carries an admin key:");
    let address = app.public_url.as_ref().map_or("http://<this address>", |url| url.as_str());
    page.preformatted(&[format!(
        "curl -H \"Authorization: Bearer $GANTRY_KEY\" {address}/api/v1/integration"
    )]);
    page.paragraph("The first admin key was made when Gantry first started. On AWS it is in Secrets Manager, in the secret whose name ends in admin-key; on one machine it is in the file secrets.json of Gantry's data folder, under admin-key.");
    page.paragraph("To begin, PUT /api/v1/integration with {\"api_host\": \"https://gitlab.com\", \"token\": \"…\"}, then POST /api/v1/stacks.");
    respond(StatusCode::OK, page)
}
