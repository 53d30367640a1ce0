//! Every request: faults, where it goes, what is remembered of it.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};

use super::{Shared, api_http, git_http, oauth_http};
use crate::faults::Fault;
use crate::observe::RequestRecord;
use crate::pages::{self, Page};

/// A connection that ends without an answer.
#[derive(Debug)]
pub(super) struct Dropped;

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection was dropped on request")
    }
}

impl std::error::Error for Dropped {}

/// A request that was read to its end.
pub(super) struct Read {
    pub(super) method: String,
    /// Still encoded.
    pub(super) path: String,
    pub(super) query: String,
    pub(super) headers: http::HeaderMap,
    pub(super) body: Bytes,
}

impl Read {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether a page elsewhere made a browser send it: that must not press our buttons.
    pub(super) fn is_foreign(&self) -> bool {
        let site = self.header("sec-fetch-site");
        site.is_some_and(|site| !matches!(site, "same-origin" | "none"))
    }
}

/// An answer and who asked.
pub(super) struct Handled {
    pub(super) response: Response<Bytes>,
    pub(super) user: Option<String>,
    /// Nothing has this address.
    pub(super) unknown: bool,
}

impl Handled {
    pub(super) fn new(response: Response<Bytes>, user: Option<String>) -> Self {
        Self { response, user, unknown: false }
    }
}

pub(super) async fn handle(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Dropped> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Dropped)?.to_bytes();
    let read = Read {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body,
    };
    if let Some(gate) = &shared.gate {
        gate(&read.method, &read.path).await;
    }
    let fault = shared.lock().faults.take(&read.method, &read.path);
    let mut record = RequestRecord {
        method: read.method.clone(),
        path: read.path.strip_prefix("/api/v4").unwrap_or(&read.path).to_owned(),
        query: read.query.clone(),
        status: 0,
        user: None,
    };
    let handled = match &fault {
        Some(Fault::Drop) => {
            shared.lock().observed.saw(record);
            return Err(Dropped);
        }
        Some(Fault::Hang) => {
            shared.lock().observed.saw(record);
            return std::future::pending().await;
        }
        Some(Fault::Status { code, body, headers }) => {
            Handled::new(plain(*code, body, headers), None)
        }
        Some(Fault::RateLimited { retry_after }) => {
            let headers = [("Retry-After".to_owned(), retry_after.to_string())];
            Handled::new(plain(429, "Retry later\n", &headers), None)
        }
        Some(Fault::ApplyThenDrop | Fault::ApplyThenHang) | None => route(&shared, read).await,
    };
    let dropped = matches!(fault, Some(Fault::ApplyThenDrop | Fault::ApplyThenHang));
    record.status = if dropped { 0 } else { handled.response.status().as_u16() };
    record.user = handled.user;
    {
        let mut state = shared.lock();
        if handled.unknown {
            state.observed.unknown.push(record.clone());
        }
        state.observed.saw(record);
    }
    match fault {
        Some(Fault::ApplyThenDrop) => return Err(Dropped),
        Some(Fault::ApplyThenHang) => return std::future::pending().await,
        _ => {}
    }
    Ok(handled.response.map(Full::new))
}

async fn route(shared: &Arc<Shared>, read: Read) -> Handled {
    if read.path.starts_with("/api/") {
        return api_http::handle(shared, &read).await;
    }
    if oauth_http::serves(&read.path) {
        return oauth_http::handle(shared, &read);
    }
    match git_http::Service::of(&read) {
        Some(service) => git_http::handle(shared, service, read).await,
        None => page(shared, &read),
    }
}

/// The pages for people; an address that is none of theirs is no gap of the API.
fn page(shared: &Arc<Shared>, read: &Read) -> Handled {
    let page = shared.with(|state| match read.method.as_str() {
        "GET" | "HEAD" => pages::get(state, &read.path, &read.query),
        "POST" if !read.is_foreign() => {
            pages::post(state, &read.path, &String::from_utf8_lossy(&read.body))
        }
        _ => Page::Missing,
    });
    let response = match page {
        Page::Html(text) => html(200, text),
        Page::Refused(text) => html(422, text),
        Page::Redirect(url) => plain(303, "", &[("location".to_owned(), url)]),
        Page::Missing => plain(404, "This page does not exist.\n", &[]),
    };
    Handled::new(response, None)
}

/// A page.
pub(super) fn html(code: u16, text: String) -> Response<Bytes> {
    let mut response = plain(code, "", &[]);
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert("content-type", kind);
    *response.body_mut() = Bytes::from(text);
    response
}

/// An answer that is not the API's own.
pub(super) fn plain(code: u16, body: &str, headers: &[(String, String)]) -> Response<Bytes> {
    let mut builder = Response::builder()
        .status(StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    let kind = match body.chars().next() {
        Some('{' | '[') => "application/json",
        Some('<') => "text/html",
        _ => "text/plain",
    };
    builder = builder.header("content-type", kind);
    for (name, value) in headers {
        builder = builder.header(name, value);
    }
    builder.body(Bytes::from(body.to_owned())).unwrap_or_default()
}
