//! Gantry's admin API, as a person with `curl` uses it.

use reqwest::{Method, StatusCode};
use serde_json::Value;
use std::{net::SocketAddr, time::Duration};

/// Speaks to the host with a key.
#[derive(Clone)]
pub(crate) struct Api {
    http: reqwest::Client,
    base: String,
    key: String,
}

/// An answer that nobody has judged yet.
#[derive(Debug)]
#[must_use]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: String,
    asked: String,
}

impl Answer {
    /// The body of a success.
    #[track_caller]
    pub(crate) fn good(self) -> Value {
        assert!(self.status.is_success(), "{} answered {}: {}", self.asked, self.status, self.body);
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// The body of a refusal with this status.
    #[track_caller]
    pub(crate) fn refused(self, status: u16) -> String {
        assert_eq!(self.status.as_u16(), status, "{} answered {}", self.asked, self.body);
        self.body
    }
}

impl Api {
    pub(crate) fn new(address: SocketAddr, key: &str) -> Self {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(60)).no_proxy();
        let base = format!("http://{address}");
        Self { http: http.build().unwrap(), base, key: key.to_owned() }
    }

    /// The same with another key.
    pub(crate) fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, None).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.ask(Method::PUT, path, Some(body)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask(Method::POST, path, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.ask(Method::DELETE, path, None).await
    }

    /// A page, as somebody sees it who has nothing but its address.
    pub(crate) async fn page(&self, address: &str) -> Answer {
        let answer = self.http.get(address).send().await.unwrap();
        let status = answer.status();
        Answer { status, body: answer.text().await.unwrap(), asked: address.to_owned() }
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let asked = format!("{method} {path}");
        let request = self.http.request(method, format!("{}/api/v1{path}", self.base));
        let request = request.bearer_auth(&self.key);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let answer = request.send().await.unwrap_or_else(|error| panic!("{asked}: {error:?}"));
        let status = answer.status();
        Answer { status, body: answer.text().await.unwrap(), asked }
    }
}

/// What stands at a pointer, as text; empty when nothing does.
pub(crate) fn text(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    }
}

/// The list at a pointer; empty when nothing is there.
pub(crate) fn array<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
