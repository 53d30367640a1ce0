//! Gantry's admin API, as a person with `curl` uses it.

use anyhow::bail;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use std::time::Duration;

/// Speaks to the host with its admin key.
pub(crate) struct Api {
    http: reqwest::Client,
    base: String,
    key: SecretString,
}

impl Api {
    pub(crate) fn new(gantry: &str, key: SecretString) -> anyhow::Result<Self> {
        let http =
            reqwest::Client::builder().timeout(Duration::from_secs(60)).no_proxy().build()?;
        Ok(Self { http, base: format!("{gantry}/api/v1"), key })
    }

    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.ask(self.http.get(format!("{}{path}", self.base)), path).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.ask(self.http.post(format!("{}{path}", self.base)).json(body), path).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.ask(self.http.put(format!("{}{path}", self.base)).json(body), path).await
    }

    /// Uploads an archive to the place that was answered: signed storage, or the API itself.
    pub(crate) async fn upload(
        &self,
        place: &Value,
        path: &str,
        archive: Vec<u8>,
    ) -> anyhow::Result<()> {
        let Some(url) = place["url"].as_str() else {
            let request = self.http.put(format!("{}{path}", self.base)).body(archive);
            return self.ask(request, path).await.map(drop);
        };
        let mut request = self.http.put(url).body(archive);
        for (name, value) in place["headers"].as_object().into_iter().flatten() {
            request = request.header(name, value.as_str().unwrap_or_default());
        }
        let answer = request.send().await?;
        let status = answer.status();
        if !status.is_success() {
            bail!("storage answered {status}: {}", answer.text().await?);
        }
        Ok(())
    }

    async fn ask(&self, request: reqwest::RequestBuilder, path: &str) -> anyhow::Result<Value> {
        let answer = request.bearer_auth(self.key.expose_secret()).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        if !status.is_success() {
            bail!("{path} answered {status}: {text}");
        }
        if text.is_empty() { Ok(Value::Null) } else { Ok(serde_json::from_str(&text)?) }
    }
}
