//! Who sees a page, and which forms are taken: the session's cookie, the caller's rights, the form's
//! token. What changes something becomes a line in the list of activities, also when refused.

use super::{
    ask,
    fields::Fields,
    go_to,
    session::{Viewer, root_of, session, viewer},
    shell, sign_in,
};
use crate::{
    access::{self, Guard},
    refusal::{Done, Refusal},
};
use axum::{
    Extension,
    body::{Body, to_bytes},
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, Method, StatusCode},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use gantry_domain::EventId;

/// The largest form.
pub(super) const LARGEST: usize = 300 * 1024;

/// Lets somebody with a session, and the right that the route needs, see a page.
pub(crate) async fn guard(
    State(guard): State<Guard>,
    path: MatchedPath,
    mut request: Request,
    next: Next,
) -> Response {
    let root = root_of(path.as_str());
    let headers = request.headers().clone();
    let mut viewer = match viewer(&guard.app, request.headers()).await {
        Ok(Some(viewer)) => viewer,
        Ok(None) if request.method() == Method::POST => {
            return sign_in::instead(&guard.app, &root, guard.is_form, request).await;
        }
        Ok(None) => return sign_in::send_there(&root, request.headers(), request.uri()),
        Err(refusal) => return shell::refusal(&root, None, refusal.into_response()),
    };
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
    let asked = if changes {
        Some(access::describe(&guard.app, guard.what, &mut request).await)
    } else {
        None
    };
    let response = if let Err(refusal) = access::allow(&guard, &viewer.caller, &mut request).await {
        refusal.into_response()
    } else if changes {
        change(&guard, &mut viewer, &root, request, next).await
    } else {
        request.extensions_mut().insert(viewer.clone());
        request.extensions_mut().insert(viewer.caller.clone());
        next.run(request).await
    };
    if let Some(asked) = asked {
        access::record(&guard.app, &viewer.caller, asked, access::ending(&response)).await;
    }
    shell::gone(&headers, shell::refusal(&root, Some(&viewer), response))
}

async fn change(
    guard: &Guard,
    viewer: &mut Viewer,
    root: &str,
    request: Request,
    next: Next,
) -> Response {
    let app = &guard.app;
    let (mut parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LARGEST).await else {
        let detail = format!("A form may have at most {} kB.", LARGEST / 1024);
        return Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "The form is too large", detail)
            .into_response();
    };
    let fields = Fields::read(&body);
    let is_ours = session(app, &parts.headers)
        .is_some_and(|session| session.is_form_token(&app.signer, fields.text("_token")));
    if !is_ours || is_from_elsewhere(&parts.headers) {
        tracing::warn!(actor = viewer.caller.name, "a form without a valid token was refused");
        return Refusal::new(
            StatusCode::FORBIDDEN,
            "The form is not from this session",
            "Nothing was changed. Reload the page and try again. If you did not send this form, \
             another site tried to.",
        )
        .into_response();
    }
    let form = sign_in::below(root, &parts.uri).join("/");
    let fields = match sign_in::sent_again(app, viewer, &form, &fields) {
        None => fields,
        Some(Ok(typed)) => typed,
        Some(Err(refusal)) => return refusal.into_response(),
    };
    if guard.asks && !fields.has(ask::SURE) {
        let to = fields.as_query(parts.uri.path().rsplit('/').next().unwrap_or_default());
        return (Extension(Done::new("asked for confirmation first")), go_to(&to)).into_response();
    }
    // The same form sent twice is one request.
    if let Some(request) = Some(fields.text("_request")).filter(|text| !text.is_empty()) {
        viewer.caller.request = EventId::derive("form", &[&viewer.caller.digest, request]);
    }
    parts.extensions.insert(viewer.clone());
    parts.extensions.insert(viewer.caller.clone());
    parts.extensions.insert(fields);
    next.run(Request::from_parts(parts, Body::empty())).await
}

/// A browser says where a form comes from; one that does not is held back by the token.
pub(super) fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").and_then(|site| site.to_str().ok());
    site.is_some_and(|site| !matches!(site, "same-origin" | "none"))
}

/// The browser says that a page of this site sent it.
pub(super) fn is_from_here(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_some_and(|site| site == "same-origin")
}
