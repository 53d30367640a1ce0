//! A server on a loopback port that answers as a closure says and remembers what it was asked.

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, Response, Uri},
};
use gantry_domain::CommitSha;
use gantry_gitlab::{ApiHost, Client, ClientConfig};
use jiff::Timestamp;
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicI64, Ordering},
};

/// The client's time when the server starts, in Unix seconds.
pub(crate) const NOW: i64 = 1_800_000_000;

#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) line: String,
    pub(crate) body: Vec<u8>,
    uri: Uri,
    headers: HeaderMap,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub(crate) fn path(&self) -> &str {
        self.uri.path()
    }

    pub(crate) fn query(&self, name: &str) -> String {
        let url = url::Url::parse(&format!("http://x{}", self.uri)).expect("an address");
        let found = url.query_pairs().find(|(key, _)| key == name);
        found.map(|(_, value)| value.into_owned()).unwrap_or_default()
    }
}

pub(crate) struct Answer(Response<Body>);

impl Answer {
    pub(crate) fn text(status: u16, body: &str) -> Self {
        Self::bytes(status, body.as_bytes())
    }

    pub(crate) fn bytes(status: u16, body: &[u8]) -> Self {
        let body = Body::from(body.to_vec());
        Self(Response::builder().status(status).body(body).expect("an answer"))
    }

    pub(crate) fn json(status: u16, body: &str) -> Self {
        Self::text(status, body).header("content-type", "application/json")
    }

    pub(crate) fn html(status: u16) -> Self {
        Self::text(status, "<!DOCTYPE html>\n<html></html>").header("content-type", "text/html")
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.0.headers_mut().insert(name, value.parse().expect("a header's value"));
        self
    }
}

pub(crate) struct Server {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    now: Arc<AtomicI64>,
}

impl Server {
    pub(crate) async fn start(answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (answer, list) = (Arc::new(answer), Arc::clone(&seen));
        let router = Router::new().fallback(move |request: Request<Body>| {
            let (answer, list) = (Arc::clone(&answer), Arc::clone(&list));
            async move {
                let (parts, body) = request.into_parts();
                let body = axum::body::to_bytes(body, usize::MAX).await.expect("a body");
                let seen = Seen {
                    line: format!("{} {}", parts.method, parts.uri.path()),
                    body: body.to_vec(),
                    uri: parts.uri,
                    headers: parts.headers,
                };
                list.lock().expect("the list").push(seen.clone());
                answer(&seen).0
            }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, seen, now: Arc::new(AtomicI64::new(NOW)) }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("the list").clone()
    }

    pub(crate) fn advance(&self, seconds: i64) {
        self.now.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(crate) fn config(&self, path: &str) -> ClientConfig {
        let now = Arc::clone(&self.now);
        ClientConfig {
            host: ApiHost::parse(&format!("{}{path}", self.url)).expect("an address"),
            token: "glpat-secret".into(),
            ca_pem: None,
            clock: Arc::new(move || {
                Timestamp::from_second(now.load(Ordering::SeqCst)).expect("a time")
            }),
        }
    }

    pub(crate) fn client(&self, path: &str) -> Client {
        Client::new(self.config(path)).expect("a client")
    }
}

/// A commit id of one digit.
pub(crate) fn sha(digit: char) -> CommitSha {
    digit.to_string().repeat(40).parse().expect("a commit id")
}
