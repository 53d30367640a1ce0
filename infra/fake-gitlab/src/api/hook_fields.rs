//! What a project hook can be told, and what it tells.

use serde_json::{Value, json};
use url::Host;

use super::answer::Refusal;
use super::params::Params;
use super::shapes::api_time;
use crate::model::hook::EVENTS;
use crate::model::{Hook, ProjectId, State};

/// Takes the given fields into a hook; what is not given stays.
pub(crate) fn apply(state: &State, hook: &mut Hook, params: &Params) -> Result<(), Refusal> {
    let version = &state.config.version;
    params.check_texts(&["token", "signing_token", "push_events_branch_filter"])?;
    for event in EVENTS {
        if let Some(flag) = params.flag(event)? {
            hook.events.insert(event, flag);
        }
    }
    if let Some(flag) = params.flag("enable_ssl_verification")? {
        hook.enable_ssl_verification = flag;
    }
    if params.has("token") {
        let token = params.text("token").filter(|token| !token.is_empty());
        if token.as_deref().is_some_and(|token| token.contains('\n')) {
            return Err(Refusal::error(400, "token is invalid"));
        }
        hook.token = token;
    }
    // Before 19.0 the parameter does not exist, and unknown parameters are ignored.
    if params.has("signing_token") && version.signs_webhooks() {
        let token = params.text("signing_token").filter(|token| !token.is_empty());
        if token.as_deref().is_some_and(|token| !is_signing_token(token)) {
            let problem = "must be whsec_ followed by a base64-encoded 32-byte key";
            let body = json!({ "signing_token": [problem] });
            return Err(Refusal::message(422, body));
        }
        hook.signing_token = token;
    }
    if params.has("name") && version.at_least(17, 1) {
        hook.name = params.filled("name");
    }
    if params.has("description") && version.at_least(17, 1) {
        hook.description = params.filled("description");
    }
    if params.has("push_events_branch_filter") {
        hook.branch_filter = params.text("push_events_branch_filter");
    }
    let strategies = ["wildcard", "regex", "all_branches"];
    if let Some(strategy) = params.choice("branch_filter_strategy", &strategies)? {
        if strategy == "regex" {
            let text = "the fake GitLab does nothing with: branch_filter_strategy regex";
            return Err(Refusal::error(400, text));
        }
        hook.branch_filter_strategy = strategy.to_owned();
    }
    if let Some(Value::Array(headers)) = params.get("custom_headers")
        && version.at_least(16, 11)
    {
        if headers.len() > 20 {
            let problem = "number of custom headers exceeds 20";
            return Err(Refusal::message(422, json!({ "custom_headers": [problem] })));
        }
        let text = |header: &Value, key: &str| header[key].as_str().unwrap_or("").to_owned();
        hook.custom_headers =
            headers.iter().map(|header| (text(header, "key"), text(header, "value"))).collect();
    }
    if params.has("custom_webhook_template") && version.at_least(16, 10) {
        hook.custom_template = params.filled("custom_webhook_template");
    }
    Ok(())
}

/// `whsec_` and 32 bytes in base64.
fn is_signing_token(token: &str) -> bool {
    use base64::Engine;
    let key = token.strip_prefix("whsec_");
    let key = key.and_then(|key| base64::engine::general_purpose::STANDARD.decode(key).ok());
    key.is_some_and(|key| key.len() == 32)
}

/// Refuses addresses that GitLab would not call.
pub(crate) fn check_url(state: &State, text: &str) -> Result<(), Refusal> {
    let invalid = || Refusal::error(422, "Invalid url given");
    if text.contains(['{', '}']) {
        return Err(invalid());
    }
    let url = url::Url::parse(text).map_err(|_| invalid())?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(invalid());
    }
    let local = match url.host() {
        None => return Err(invalid()),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback() || ip.is_private() || ip.is_unspecified(),
        Some(Host::Ipv6(ip)) => ip.is_loopback() || ip.is_unspecified(),
    };
    if local && !state.config.allow_local_hooks { Err(invalid()) } else { Ok(()) }
}

/// A hook as the API shows it: no secrets.
pub(crate) fn hook_json(state: &State, project: ProjectId, hook: &Hook) -> Value {
    let version = &state.config.version;
    let headers: Vec<Value> =
        hook.custom_headers.iter().map(|(key, _)| json!({ "key": key })).collect();
    let mut body = json!({
        "id": hook.id,
        "url": hook.url,
        "name": hook.name,
        "description": hook.description,
        "project_id": project,
        "created_at": api_time(hook.created_at),
        "push_events_branch_filter": hook.branch_filter,
        "branch_filter_strategy": hook.branch_filter_strategy,
        "enable_ssl_verification": hook.enable_ssl_verification,
        "repository_update_events": false,
        "alert_status": hook.alert_status(state.now()),
        "disabled_until": hook.disabled_until.map(api_time),
        "url_variables": [],
        "custom_webhook_template": hook.custom_template,
        "custom_headers": headers,
    });
    for event in EVENTS {
        body[event] = json!(hook.wants(event));
    }
    if version.signs_webhooks() {
        body["token_present"] = json!(hook.token.is_some());
        body["signing_token_present"] = json!(hook.signing_token.is_some());
    }
    body
}
