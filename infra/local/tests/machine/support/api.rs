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
        // A page that sends elsewhere, to sign in, was not seen.
        let http = http.redirect(reqwest::redirect::Policy::none());
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

    /// Signs in with the key, as a browser; the cookie of the session.
    pub(crate) async fn sign_in(&self) -> String {
        let origin = self.base.as_str();
        let request = self.http.post(format!("{origin}/sign-in")).header("origin", origin);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let answer = request.body(format!("key={}", self.key)).send().await.unwrap();
        let cookie = answer.headers().get("set-cookie").expect("the key is not taken");
        cookie.to_str().unwrap().split(';').next().unwrap().to_owned()
    }

    /// A page or an answer of the API, as somebody sees it who has signed in and has the key.
    pub(crate) async fn look(&self, path: &str, cookie: &str) -> Answer {
        let request = self.http.get(format!("{}{path}", self.base)).header("cookie", cookie);
        // A page takes no key, and the API no session.
        let request = match path.starts_with("/api/") {
            true => request.bearer_auth(&self.key),
            false => request,
        };
        let answer = request.send().await.unwrap();
        let status = answer.status();
        Answer { status, body: answer.text().await.unwrap(), asked: path.to_owned() }
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
