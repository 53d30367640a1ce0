//! Webhook deliveries: what is sent, how it is signed, what the outcome does to the hook.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

use crate::model::hook::EVENTS;
use crate::model::{HookEvent, ProjectId, State};

/// How long a receiver may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How many deliveries a hook's log keeps.
const LOG: usize = 100;

/// A webhook that waits to be sent; a copy of it is a resend.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub(crate) project: ProjectId,
    pub(crate) hook: u64,
    /// The value of `X-Gitlab-Event`.
    pub(crate) event: &'static str,
    /// `Idempotency-Key` and `webhook-id`: the same for every resend.
    pub(crate) key: String,
    /// The body, JSON.
    pub(crate) body: Bytes,
}

impl Delivery {
    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// What came of a delivery.
#[derive(Clone, Debug)]
pub struct DeliveryResult {
    /// What was sent.
    pub delivery: Delivery,
    /// The receiver's status; `None` when there was no answer, or the hook is gone or disabled.
    pub status: Option<u16>,
    /// Why there was no answer.
    pub error: Option<String>,
}

impl DeliveryResult {
    /// Whether GitLab counts it as a success: any 2xx or 3xx.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.status.is_some_and(|code| (200..400).contains(&code))
    }
}

/// A random version 4 UUID.
pub(crate) fn uuid() -> String {
    let mut bytes: [u8; 16] = rand::random();
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex = hex::encode(bytes);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// The Standard Webhooks signature; `None` when the token is not one.
pub(crate) fn sign(token: &str, id: &str, timestamp: i64, body: &[u8]) -> Option<String> {
    let key = STANDARD.decode(token.strip_prefix("whsec_")?).ok()?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

/// The body that a hook's own template makes of an event: each `{{a.b}}` is replaced by that value of
/// the event, a text without its quotes (`render_custom_template` in GitLab's
/// `app/services/web_hook_service.rb`).
fn render(template: &str, event: &[u8]) -> Result<Bytes, String> {
    let failed = |why: &str| format!("Error while parsing rendered custom webhook template: {why}");
    let no_map = "You may be trying to access an array value, which is not supported.";
    let event: Value = serde_json::from_slice(event).unwrap_or_default();
    let (mut rendered, mut rest) = (String::new(), template);
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((path, after)) = after.split_once("}}") else { break };
        let mut value = &event;
        for part in path.split('.') {
            value = match value {
                Value::Object(map) => map.get(part).unwrap_or(&Value::Null),
                Value::Null => &Value::Null,
                _ => return Err(failed(no_map)),
            };
        }
        let text = value.to_string();
        let unquoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        rendered.extend([before, unquoted.unwrap_or(&text)]);
        rest = after;
    }
    rendered += rest;
    let body: Value = serde_json::from_str(&rendered).map_err(|why| failed(&why.to_string()))?;
    Ok(Bytes::from(body.to_string()))
}

/// Why GitLab sends nothing.
pub(crate) enum NotSent {
    /// There is nothing to send to.
    Nowhere(&'static str),
    /// The hook's template gives no JSON, which counts as a failure.
    Failed(String),
}

impl State {
    /// Queues an event for every hook of the project that wants it.
    pub(crate) fn queue_hooks(
        &mut self,
        project: ProjectId,
        trigger: &'static str,
        branch: Option<&str>,
        body: &Value,
    ) {
        let body = Bytes::from(body.to_string());
        let event = EVENTS.iter().find(|(name, _)| *name == trigger).map_or("", |(_, event)| event);
        let hooks = &self.projects[&project].hooks;
        let wanted = hooks.iter().filter(|hook| {
            hook.events.contains(trigger) && branch.is_none_or(|branch| hook.wants_branch(branch))
        });
        for hook in wanted.map(|hook| hook.id) {
            self.outbox.push_back(Delivery {
                project,
                hook,
                event,
                key: uuid(),
                body: body.clone(),
            });
        }
    }

    /// The request of a delivery; an error says why GitLab does not send it. What is sent by hand
    /// goes to disabled hooks too.
    pub(crate) fn prepare_delivery(
        &self,
        client: &reqwest::Client,
        delivery: &Delivery,
        by_hand: bool,
    ) -> Result<reqwest::RequestBuilder, NotSent> {
        let gone = NotSent::Nowhere;
        let project = self.projects.get(&delivery.project).ok_or(gone("the project is gone"))?;
        let hook = project.hooks.iter().find(|hook| hook.id == delivery.hook);
        let hook = hook.ok_or(gone("the hook is gone"))?;
        let now = self.now();
        if !by_hand && hook.alert_status(now) != "executable" {
            return Err(gone("the hook is disabled"));
        }
        let body = match &hook.custom_template {
            Some(template) => render(template, &delivery.body).map_err(NotSent::Failed)?,
            None => delivery.body.clone(),
        };
        let version = &self.config.version;
        let mut request = client
            .post(&hook.url)
            .timeout(TIMEOUT)
            .body(body.clone())
            .header("Content-Type", "application/json")
            .header("User-Agent", format!("GitLab/{version}"))
            .header("X-Gitlab-Event", delivery.event)
            .header("X-Gitlab-Event-UUID", uuid())
            .header("X-Gitlab-Instance", &self.base_url)
            .header("X-Gitlab-Webhook-UUID", uuid());
        if let Some(token) = &hook.token {
            request = request.header("X-Gitlab-Token", token.replace('\r', ""));
        }
        if version.at_least(17, 4) {
            request = request.header("Idempotency-Key", &delivery.key);
        }
        if version.signs_webhooks() {
            let second = now.as_second();
            request = request.header("webhook-id", &delivery.key);
            request = request.header("webhook-timestamp", second);
            let token = hook.signing_token.as_deref();
            let signature = token.and_then(|token| sign(token, &delivery.key, second, &body));
            if let Some(signature) = signature {
                request = request.header("webhook-signature", signature);
            }
        }
        Ok(request)
    }

    /// Writes the outcome to the hook's log and failure counter.
    pub(crate) fn record_delivery(&mut self, result: &DeliveryResult) {
        let (id, created_at) = (self.next_id("hook_event"), self.now());
        let delivery = &result.delivery;
        let Some(project) = self.projects.get_mut(&delivery.project) else { return };
        let Some(hook) = project.hooks.iter_mut().find(|hook| hook.id == delivery.hook) else {
            return;
        };
        hook.record(result.is_success(), created_at);
        if hook.log.len() >= LOG {
            hook.log.remove(0);
        }
        let response_status =
            result.status.map_or_else(|| "internal error".to_owned(), |code| code.to_string());
        let (url, delivery) = (hook.url.clone(), delivery.clone());
        hook.log.push(HookEvent { id, url, delivery, response_status, created_at });
    }
}

#[cfg(test)]
mod tests {
    use super::sign;

    #[test]
    fn signatures_follow_standard_webhooks() {
        let signature = sign(
            "whsec_dGVzdHRlc3R0ZXN0dGVzdHRlc3R0ZXN0dGVzdHRlc3Q=",
            "f5e5f430-f57b-4e6e-9fac-d9128cd7232f",
            1_744_578_123,
            br#"{"object_kind":"push"}"#,
        );
        assert_eq!(signature.as_deref(), Some("v1,Q/Xs0AQwFCrSU+Jqzp4d4uGCI2fQlx3ls7vaEn5SqGY="));
    }
}
