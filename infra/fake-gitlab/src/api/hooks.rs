//! Project hooks: the API, test deliveries, the log and resending.

use serde_json::{Value, json};

use super::access::MAINTAINER;
use super::answer::{Answer, ApiResult, Refusal};
use super::params::Params;
use super::shapes::api_time;
use super::{Call, paging};
use crate::delivery::{Delivery, DeliveryResult, uuid};
use crate::git::NOTHING;
use crate::git::repo::RefChange;
use crate::model::hook::EVENTS;
use crate::model::{Hook, HookEvent, ProjectId, State, UserId};

/// Tests and resends a minute, project and user.
const TESTS_PER_MINUTE: u32 = 5;

/// A hook as the API shows it: no secrets.
fn hook_json(state: &State, hook: &Hook) -> Value {
    let mut body = json!({
        "id": hook.id,
        "url": hook.url,
        "push_events_branch_filter": hook.branch_filter,
        "custom_webhook_template": hook.custom_template,
        "enable_ssl_verification": hook.enable_ssl_verification,
        "alert_status": hook.alert_status(state.now()),
        "disabled_until": hook.disabled_until.map(api_time),
    });
    for (event, _) in EVENTS {
        body[event] = json!(hook.events.contains(event));
    }
    if state.config.version.signs_webhooks() {
        body["token_present"] = json!(hook.token.is_some());
        body["signing_token_present"] = json!(hook.signing_token.is_some());
    }
    body
}

fn find(state: &State, project: ProjectId, id: &str) -> Result<Hook, Refusal> {
    let id: u64 = id.parse().map_err(|_| Refusal::invalid("hook_id"))?;
    let found = state.project(project).hooks.iter().find(|hook| hook.id == id);
    found.cloned().ok_or_else(|| Refusal::not_found(""))
}

pub(crate) fn list(state: &State, call: &Call, project: ProjectId) -> ApiResult {
    state.require(call, project, MAINTAINER)?;
    let hooks: Vec<&Hook> = state.project(project).hooks.iter().collect();
    paging::page(call, hooks, |hook| hook_json(state, hook))
}

pub(crate) fn create(state: &mut State, call: &Call, project: ProjectId) -> ApiResult {
    state.require(call, project, MAINTAINER)?;
    let url = call.params.required("url")?;
    check_url(&url)?;
    let limit = state.config.limits.hooks_per_project;
    if state.project(project).hooks.len() >= limit {
        let text = format!("Maximum number of project hooks ({limit}) exceeded");
        return Err(Refusal::message(422, json!({ "base": [text] })));
    }
    let mut hook = Hook::new(state.next_id("hook"), url);
    apply(state, &mut hook, &call.params)?;
    let (body, line) = (hook_json(state, &hook), format!("hook {}", hook.url));
    state.project_mut(project).hooks.push(hook);
    Ok(Answer::created(body).wrote(line))
}

pub(crate) fn get(state: &State, call: &Call, project: ProjectId, id: &str) -> ApiResult {
    state.require(call, project, MAINTAINER)?;
    Ok(Answer::ok(hook_json(state, &find(state, project, id)?)))
}

pub(crate) fn update(state: &mut State, call: &Call, project: ProjectId, id: &str) -> ApiResult {
    state.require(call, project, MAINTAINER)?;
    let mut hook = find(state, project, id)?;
    let url = call.params.required("url")?;
    check_url(&url)?;
    if url != hook.url {
        // Secrets were made for the old address.
        hook.token = None;
        hook.signing_token = None;
        hook.url.clone_from(&url);
    }
    apply(state, &mut hook, &call.params)?;
    let body = hook_json(state, &hook);
    let hooks = state.project_mut(project).hooks.iter_mut();
    for known in hooks.filter(|known| known.id == hook.id) {
        known.clone_from(&hook);
    }
    Ok(Answer::ok(body).wrote(format!("changed hook {url}")))
}

pub(crate) fn delete(state: &mut State, call: &Call, project: ProjectId, id: &str) -> ApiResult {
    state.require(call, project, MAINTAINER)?;
    let hook = find(state, project, id)?;
    state.project_mut(project).hooks.retain(|known| known.id != hook.id);
    Ok(Answer::no_content().wrote(format!("deleted hook {}", hook.url)))
}

/// Takes the given fields into a hook; what is not given stays.
fn apply(state: &State, hook: &mut Hook, params: &Params) -> Result<(), Refusal> {
    params.check_texts(&[
        "token",
        "signing_token",
        "push_events_branch_filter",
        "custom_webhook_template",
    ])?;
    for (event, _) in EVENTS {
        match params.flag(event)? {
            Some(true) => drop(hook.events.insert(event)),
            Some(false) => drop(hook.events.remove(event)),
            None => {}
        }
    }
    if let Some(flag) = params.flag("enable_ssl_verification")? {
        hook.enable_ssl_verification = flag;
    }
    if params.has("token") {
        hook.token = params.text("token").filter(|token| !token.is_empty());
        if hook.token.as_deref().is_some_and(|token| token.contains('\n')) {
            return Err(Refusal::invalid("token"));
        }
    }
    // Before 19.0 the parameter does not exist, and unknown parameters are ignored.
    if params.has("signing_token") && state.config.version.signs_webhooks() {
        hook.signing_token = params.text("signing_token").filter(|token| !token.is_empty());
        if hook.signing_token.as_deref().is_some_and(|token| !is_signing_token(token)) {
            let problem = "must be whsec_ followed by a base64-encoded 32-byte key";
            return Err(Refusal::message(422, json!({ "signing_token": [problem] })));
        }
    }
    if params.has("push_events_branch_filter") {
        hook.branch_filter = params.text("push_events_branch_filter");
    }
    if params.has("custom_webhook_template") {
        hook.custom_template = params.filled("custom_webhook_template");
    }
    Ok(())
}

/// The "Test" button: sends what the project has to show for an event.
pub(crate) fn test(
    state: &mut State,
    call: &Call,
    project: ProjectId,
    id: &str,
    trigger: &str,
) -> ApiResult {
    let user = take_test(state, call, project)?;
    let hook = find(state, project, id)?.id;
    let known = EVENTS.iter().find(|(name, _)| *name == trigger);
    let (_, event) = *known.ok_or_else(|| Refusal::bad_value("trigger"))?;
    let body = state.test_body(project, user, trigger).ok_or_else(|| {
        Refusal::message(422, "Ensure the project has at least one of what is tested.")
    })?;
    let body = bytes::Bytes::from(body.to_string());
    let delivery = Delivery { project, hook, event, key: uuid(), body };
    Ok(Answer::after_sending(delivery, tested))
}

fn tested(result: &DeliveryResult) -> ApiResult {
    if result.is_success() {
        return Ok(Answer::created(json!({ "message": "201 Created" })));
    }
    let why = match result.status {
        Some(code) => format!("Hook executed successfully but returned HTTP {code}"),
        None => format!("Hook execution failed: {}", result.error.clone().unwrap_or_default()),
    };
    Err(Refusal::message(422, why))
}

/// Takes one from the limit of tests and resends.
fn take_test(state: &mut State, call: &Call, project: ProjectId) -> Result<UserId, Refusal> {
    let user = state.require(call, project, MAINTAINER)?;
    state.take(format!("hook tests {project} {user}"), Some(TESTS_PER_MINUTE))?;
    Ok(user)
}

impl State {
    /// What a test sends: made from what the project has, nothing where it has nothing.
    fn test_body(&self, project: ProjectId, user: UserId, trigger: &str) -> Option<Value> {
        let found = self.project(project);
        match trigger {
            "push_events" => {
                let after = found.repo.branch(found.default_branch())?;
                let parents = found.repo.commit(after)?.parents.clone();
                let before = parents.first().copied().unwrap_or(NOTHING);
                let name = format!("refs/heads/{}", found.default_branch());
                Some(self.push_event(found, user, "push", &RefChange { name, before, after }))
            }
            "tag_push_events" => {
                let (name, after) = found.repo.refs_below("refs/tags/").last()?;
                let (name, before) = (format!("refs/tags/{name}"), NOTHING);
                Some(self.push_event(found, user, "tag_push", &RefChange { name, before, after }))
            }
            "merge_requests_events" => {
                let mr = found.merge_requests.last()?;
                Some(self.merge_request_event(mr, user, "open", None))
            }
            _ => {
                let mr = found.merge_requests.iter().rev().find(|mr| !mr.notes.is_empty())?;
                Some(self.note_event(mr, mr.notes.last()?, user, "create"))
            }
        }
    }
}

fn event_json(event: &HookEvent) -> Value {
    let trigger = EVENTS.iter().find(|(_, name)| *name == event.delivery.event);
    json!({
        "id": event.id,
        "url": event.url,
        "trigger": trigger.map(|(trigger, _)| trigger),
        "request_data": event.delivery.json(),
        "response_status": event.response_status,
        "created_at": api_time(event.created_at),
    })
}

/// The deliveries of the last week, newest first.
pub(crate) fn events(state: &State, call: &Call, project: ProjectId, id: &str) -> ApiResult {
    state.require(call, project, MAINTAINER)?;
    let hook = find(state, project, id)?;
    let wanted = call.params.list("status");
    let is = |code: &str, wanted: &str| match wanted {
        "successful" => code.starts_with('2'),
        "client_failure" => code.starts_with('4'),
        "server_failure" => code.starts_with('5') || code == "internal error",
        exact => code == exact,
    };
    let week = state.now() - jiff::SignedDuration::from_hours(7 * 24);
    let fits = |event: &&HookEvent| {
        let status = &event.response_status;
        event.created_at > week
            && (wanted.is_empty() || wanted.iter().any(|wanted| is(status, wanted)))
    };
    let found: Vec<&HookEvent> = hook.log.iter().rev().filter(fits).collect();
    paging::page(call, found, event_json)
}

/// Sends what is in the log once more.
pub(crate) fn resend(
    state: &mut State,
    call: &Call,
    project: ProjectId,
    id: &str,
    event: &str,
) -> ApiResult {
    take_test(state, call, project)?;
    let hook = find(state, project, id)?;
    let event: u64 = event.parse().map_err(|_| Refusal::invalid("hook_log_id"))?;
    let event = hook.log.iter().find(|known| known.id == event);
    let event = event.ok_or_else(|| Refusal::not_found(""))?;
    if event.url != hook.url {
        return Err(Refusal::message(422, "The hook URL has changed. Unable to resend."));
    }
    Ok(Answer::after_sending(event.delivery.clone(), resent))
}

fn resent(result: &DeliveryResult) -> ApiResult {
    let status = result.status.map_or_else(|| json!("internal error"), |code| json!(code));
    Ok(Answer::created(json!({ "response_status": status })))
}

/// `whsec_` and 32 bytes in base64.
fn is_signing_token(token: &str) -> bool {
    use base64::Engine;
    let key = token.strip_prefix("whsec_");
    let key = key.and_then(|key| base64::engine::general_purpose::STANDARD.decode(key).ok());
    key.is_some_and(|key| key.len() == 32)
}

/// Refuses addresses that GitLab would not call.
fn check_url(text: &str) -> Result<(), Refusal> {
    let url = url::Url::parse(text).ok().filter(|_| !text.contains(['{', '}']));
    if url.is_some_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
        return Ok(());
    }
    Err(Refusal::error(422, "Invalid url given"))
}
