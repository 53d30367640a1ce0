//! Somebody who is notified: a small server that remembers what it got, and answers as it is told.

use crate::{World, stops::Stops};
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::post,
};
use gantry_secrets::sign_webhook;
use jiff::Timestamp;
use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    net::Ipv4Addr,
    sync::{Arc, Mutex},
};
use tokio::net::TcpListener;

/// A part of the address that must be shown nowhere.
const HIDDEN: &str = "T0ken-of-the-channel";

/// How it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// With this status.
    Status(u16),
    /// With 429, and for how many seconds it wants to be left alone.
    TooMany(u32),
    /// With a redirect to itself.
    Redirect,
    /// Not at all.
    Never,
}

/// A message that it got.
#[derive(Debug, Clone)]
pub struct Message {
    /// `webhook-id`; empty where there is none.
    pub id: String,
    /// `webhook-timestamp`.
    pub timestamp: i64,
    /// `webhook-signature`.
    pub signature: String,
    /// The body, as it came.
    pub body: String,
}

impl Message {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// It is signed with this secret.
    pub fn is_signed_with(&self, secret: &str) -> bool {
        let at = Timestamp::from_second(self.timestamp).unwrap();
        let signed = sign_webhook(&[SecretString::from(secret)], &self.id, at, &self.body);
        !signed.is_empty() && self.signature.split(' ').any(|one| one == signed)
    }
}

/// The server. It ends with the story.
pub struct Target {
    /// What its messages are signed with; empty where they are not.
    pub secret: String,
    inner: Inner,
}

#[derive(Clone)]
struct Inner {
    stops: Stops,
    state: Arc<Mutex<(Answer, Vec<Message>)>>,
}

impl Target {
    /// How it answers from now on.
    pub fn answers(&self, answer: Answer) {
        self.inner.state.lock().unwrap().0 = answer;
    }

    /// Every request that it got: one that it did not accept, or whose sender ended over it, comes
    /// again.
    pub fn requests(&self) -> Vec<Message> {
        self.inner.state.lock().unwrap().1.clone()
    }

    /// What it was told, each once: `failed: network #1 failed`.
    pub fn told(&self) -> Vec<String> {
        let mut known = BTreeSet::new();
        let all = self.requests();
        let new = all.iter().filter(|message| known.insert(message.id.clone()));
        let lines = new.map(|message| {
            let body = message.json();
            let text = |pointer: &str| {
                body.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
            };
            format!("{}: {}", text("/type"), text("/data/title"))
        });
        lines.collect()
    }
}

impl World {
    /// Somebody who is notified under this name, with further fields of the API's request.
    pub async fn target(&mut self, name: &str, more: Value) -> Target {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new((Answer::Status(204), Vec::new())));
        let inner = Inner { stops: self.stops.clone(), state };
        let router = Router::new().route("/{*rest}", post(take)).with_state(inner.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let url = format!("http://{address}/hooks/{HIDDEN}");
        let mut body = json!({ "name": name, "kind": "webhook", "url": url });
        body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        let (status, made) = self.api(Method::POST, "/notifications", Some(body)).await;
        assert!(status.is_success(), "the target was refused: {made}");
        let secret = made["secret"].as_str().unwrap_or_default().to_owned();
        Target { secret, inner }
    }

    /// What became of a target's messages, as the API shows it, the newest first.
    pub async fn deliveries(&mut self, name: &str) -> Vec<Value> {
        let path = format!("/notifications/{name}/deliveries?limit=100");
        let (status, answer) = self.api(Method::GET, &path, None).await;
        assert!(status.is_success(), "{answer}");
        assert!(!answer.to_string().contains(HIDDEN), "{answer}");
        answer["deliveries"].as_array().cloned().unwrap_or_default()
    }

    /// The same as lines: `failed delivered`.
    pub async fn delivery_lines(&mut self, name: &str) -> Vec<String> {
        let all = self.deliveries(name).await;
        let line = |one: &Value| {
            let event = one["event"].as_str().unwrap_or("test");
            format!("{event} {}", one["state"].as_str().unwrap_or_default())
        };
        all.iter().map(line).collect()
    }
}

async fn take(State(inner): State<Inner>, headers: HeaderMap, body: Bytes) -> Response {
    inner.stops.before(|| "a notification".to_owned()).await;
    let text = |name: &str| {
        headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    let message = Message {
        id: text("webhook-id"),
        timestamp: text("webhook-timestamp").parse().unwrap_or_default(),
        signature: text("webhook-signature"),
        body: String::from_utf8(body.to_vec()).unwrap(),
    };
    let answer = {
        let mut state = inner.state.lock().unwrap();
        state.1.push(message);
        state.0
    };
    match answer {
        Answer::Status(status) => {
            let status = StatusCode::from_u16(status).unwrap();
            (status, format!("Said for {HIDDEN}\u{1b}[1m: {status}")).into_response()
        }
        Answer::TooMany(seconds) => {
            let wait = [(header::RETRY_AFTER, seconds.to_string())];
            (StatusCode::TOO_MANY_REQUESTS, wait).into_response()
        }
        Answer::Redirect => {
            (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "/elsewhere")]).into_response()
        }
        Answer::Never => std::future::pending().await,
    }
}
