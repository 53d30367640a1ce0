//! Webhook deliveries: what is sent, how it is signed, what the outcome does to the hook.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

use crate::model::{HookEvent, ProjectId, State};

/// How many deliveries a hook's log keeps.
const LOG: usize = 1_000;

/// A webhook that waits to be sent; a copy of it is a resend.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The project whose hook it is.
    pub project: ProjectId,
    /// The hook.
    pub hook: u64,
    /// The event flag of the hook, such as `push_events`.
    pub trigger: &'static str,
    /// The value of `X-Gitlab-Event`.
    pub event: &'static str,
    /// `Idempotency-Key` and `webhook-id`: the same for every resend.
    pub key: String,
    /// The body, JSON.
    pub body: Bytes,
}

impl Delivery {
    /// The body as JSON.
    ///
    /// # Panics
    /// When a test has put something else there.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("the body of a delivery is JSON")
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

/// A request that is ready to be sent.
pub(crate) struct Outgoing {
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    /// An error says why the hook's template gives none: nothing is sent then, and it counts as a
    /// failure.
    pub(crate) body: Result<Bytes, String>,
    pub(crate) timeout: std::time::Duration,
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

impl State {
    /// Queues an event for every hook of the project that wants it.
    pub(crate) fn queue_hooks(
        &mut self,
        project: ProjectId,
        trigger: &'static str,
        branch: Option<&str>,
        body: &serde_json::Value,
    ) {
        let body = Bytes::from(body.to_string());
        let hooks = &self.projects[&project].hooks;
        let wanted = hooks.iter().filter(|hook| {
            hook.wants(trigger) && branch.is_none_or(|branch| hook.wants_branch(branch))
        });
        for hook in wanted {
            let (hook, event, body) = (hook.id, event_header(trigger), body.clone());
            self.outbox.push_back(Delivery { project, hook, trigger, event, key: uuid(), body });
        }
    }

    /// The request for a delivery; an error says why GitLab does not send it.
    pub(crate) fn prepare_delivery(
        &self,
        delivery: &Delivery,
        test: bool,
    ) -> Result<Outgoing, &'static str> {
        let project = self.projects.get(&delivery.project).ok_or("the project is gone")?;
        let hook = project.hooks.iter().find(|hook| hook.id == delivery.hook);
        let hook = hook.ok_or("the hook is gone")?;
        let now = self.now();
        if !test && self.config.auto_disable_hooks && hook.alert_status(now) != "executable" {
            return Err("the hook is disabled");
        }
        if delivery.body.len() > 25 * 1024 * 1024 {
            return Err("the body is over 25 MB");
        }
        let body = match &hook.custom_template {
            Some(template) => render(template, &delivery.body),
            None => Ok(delivery.body.clone()),
        };
        let version = &self.config.version;
        let mut headers: Vec<(String, String)> = hook.custom_headers.clone();
        let mut add = |name: &str, value: String| {
            headers.retain(|(custom, _)| !custom.eq_ignore_ascii_case(name));
            headers.push((name.to_owned(), value));
        };
        add("Content-Type", "application/json".to_owned());
        add("User-Agent", format!("GitLab/{version}"));
        add("X-Gitlab-Event", delivery.event.to_owned());
        if let Some(token) = &hook.token {
            add("X-Gitlab-Token", token.replace(['\r', '\n'], ""));
        }
        if version.at_least(14, 0) {
            add("X-Gitlab-Event-UUID", uuid());
        }
        if version.at_least(15, 0) {
            add("X-Gitlab-Instance", self.base_url.clone());
        }
        if version.at_least(16, 2) {
            add("X-Gitlab-Webhook-UUID", uuid());
        }
        if version.has_idempotency_key() {
            add("Idempotency-Key", delivery.key.clone());
        }
        if version.signs_webhooks() {
            let second = now.as_second();
            add("webhook-id", delivery.key.clone());
            add("webhook-timestamp", second.to_string());
            let token = hook.signing_token.as_deref().zip(body.as_ref().ok());
            let signature =
                token.and_then(|(token, body)| sign(token, &delivery.key, second, body));
            if let Some(signature) = signature {
                add("webhook-signature", signature);
            }
        }
        Ok(Outgoing { url: hook.url.clone(), headers, body, timeout: self.config.webhook_timeout })
    }

    /// Writes the outcome to the hook's log and failure counter.
    pub(crate) fn record_delivery(
        &mut self,
        delivery: &Delivery,
        sent: &[(String, String)],
        outcome: &Result<(u16, String), String>,
    ) {
        let (now, version) = (self.now(), self.config.version.clone());
        let id = self.next_id("hook_event");
        let Some(project) = self.projects.get_mut(&delivery.project) else { return };
        let Some(hook) = project.hooks.iter_mut().find(|hook| hook.id == delivery.hook) else {
            return;
        };
        hook.record(outcome.as_ref().ok().map(|(code, _)| *code), now, &version);
        let (response_status, response_body) = match outcome {
            Ok((code, body)) => (code.to_string(), body.chars().take(8 * 1024).collect()),
            Err(error) => ("internal error".to_owned(), error.clone()),
        };
        if hook.log.len() >= LOG {
            hook.log.remove(0);
        }
        hook.log.push(HookEvent {
            id,
            url: hook.url.clone(),
            trigger: delivery.trigger,
            event: delivery.event,
            key: delivery.key.clone(),
            body: String::from_utf8_lossy(&delivery.body).into_owned(),
            request_headers: redact(sent),
            response_status,
            response_body,
            created_at: now,
        });
    }
}

/// GitLab shows the token of a logged request as `[REDACTED]`.
fn redact(headers: &[(String, String)]) -> Vec<(String, String)> {
    let secret = |name: &str| matches!(name, "X-Gitlab-Token" | "webhook-signature");
    headers
        .iter()
        .map(|(name, value)| {
            let value = if secret(name) { "[REDACTED]" } else { value };
            (name.clone(), value.to_owned())
        })
        .collect()
}

/// `X-Gitlab-Event` of an event flag.
pub(crate) fn event_header(trigger: &str) -> &'static str {
    match trigger {
        "push_events" => "Push Hook",
        "tag_push_events" => "Tag Push Hook",
        "merge_requests_events" => "Merge Request Hook",
        "note_events" => "Note Hook",
        "confidential_note_events" => "Confidential Note Hook",
        "deployment_events" => "Deployment Hook",
        "pipeline_events" => "Pipeline Hook",
        "job_events" => "Job Hook",
        "releases_events" => "Release Hook",
        "wiki_page_events" => "Wiki Page Hook",
        "issues_events" => "Issue Hook",
        "confidential_issues_events" => "Confidential Issue Hook",
        _ => "Push Hook",
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
