//! Project hooks: the API, test deliveries, the log and resending.

use serde_json::{Value, json};

use super::access::MAINTAINER;
use super::answer::{Answer, ApiResult, Refusal};
use super::hook_fields::{apply, check_url, hook_json};
use super::params::Params;
use super::shapes::api_time;
use super::{Call, Outcome, paging};
use crate::delivery::{Delivery, event_header, uuid};
use crate::events::merge_request::MrEvent;
use crate::git::repo::RefChange;
use crate::git::{Oid, history};
use crate::model::hook::EVENTS;
use crate::model::{Hook, HookEvent, ProjectId, State, UserId};
use crate::service::push_options::PushOptions;

pub(crate) fn route(
    state: &mut State,
    call: &Call,
    project: ProjectId,
    path: &[&str],
) -> Option<Outcome> {
    let ["hooks", rest @ ..] = path else { return None };
    if let Err(refusal) = state.require(call, project, MAINTAINER) {
        return Some(Err(refusal).into());
    }
    let version = &state.config.version;
    let (tests, log, resends) =
        (version.at_least(16, 11), version.at_least(17, 3), version.at_least(17, 4));
    let outcome = match (call.method.as_str(), rest) {
        ("GET", []) => list(state, call, project).into(),
        ("POST", []) => create(state, call, project).into(),
        ("GET", [id]) => get(state, project, id).into(),
        ("PUT", [id]) => update(state, call, project, id).into(),
        ("DELETE", [id]) => delete(state, project, id).into(),
        ("POST", [id, "test", trigger]) if tests => {
            send(state.test_delivery(call, project, id, trigger))
        }
        ("GET", [id, "events"]) if log => events(state, call, project, id).into(),
        ("POST", [id, "events", event, "resend"]) if resends => {
            send(resend(state, call, project, id, event))
        }
        ("POST", [_, "test", _] | [_, "events", _, "resend"]) | ("GET", [_, "events"]) => {
            Err(Refusal::too_old()).into()
        }
        _ => return None,
    };
    Some(outcome)
}

fn send(delivery: Result<Delivery, Refusal>) -> Outcome {
    delivery.map_or_else(|refusal| Outcome::Answer(Err(refusal)), Outcome::Send)
}

fn find<'a>(state: &'a State, project: ProjectId, id: &str) -> Result<&'a Hook, Refusal> {
    let id: u64 = id.parse().map_err(|_| Refusal::invalid("hook_id"))?;
    let found = state.project(project).hooks.iter().find(|hook| hook.id == id);
    found.ok_or_else(|| Refusal::not_found(""))
}

fn list(state: &State, call: &Call, project: ProjectId) -> ApiResult {
    let hooks: Vec<&Hook> = state.project(project).hooks.iter().collect();
    paging::page(call, hooks, |hook| hook_json(state, project, hook))
}

fn get(state: &State, project: ProjectId, id: &str) -> ApiResult {
    Ok(Answer::ok(hook_json(state, project, find(state, project, id)?)))
}

fn create(state: &mut State, call: &Call, project: ProjectId) -> ApiResult {
    let hook = state.create_hook(project, &call.params)?;
    let line = format!("hook {}", hook.url);
    Ok(Answer::created(hook_json(state, project, &hook)).wrote(line))
}

fn update(state: &mut State, call: &Call, project: ProjectId, id: &str) -> ApiResult {
    let mut hook = find(state, project, id)?.clone();
    let url = call.params.required("url")?;
    check_url(state, &url)?;
    if url != hook.url {
        // Secrets were made for the old address.
        hook.token = None;
        hook.signing_token = None;
        hook.custom_headers.clear();
        hook.url.clone_from(&url);
    }
    apply(state, &mut hook, &call.params)?;
    let body = hook_json(state, project, &hook);
    let hooks = &mut state.project_mut(project).hooks;
    if let Some(slot) = hooks.iter_mut().find(|known| known.id == hook.id) {
        *slot = hook;
    }
    Ok(Answer::ok(body).wrote(format!("changed hook {url}")))
}

fn delete(state: &mut State, project: ProjectId, id: &str) -> ApiResult {
    let hook = find(state, project, id)?.clone();
    state.project_mut(project).hooks.retain(|known| known.id != hook.id);
    Ok(Answer::no_content().wrote(format!("deleted hook {}", hook.url)))
}

fn event_json(event: &HookEvent) -> Value {
    let headers: serde_json::Map<String, Value> = event
        .request_headers
        .iter()
        .map(|(name, value)| (name.clone(), Value::String(value.clone())))
        .collect();
    json!({
        "id": event.id,
        "url": event.url,
        "trigger": event.trigger,
        "request_headers": headers,
        "request_data": serde_json::from_str::<Value>(&event.body).unwrap_or_default(),
        "response_headers": {},
        "response_body": event.response_body,
        "execution_duration": 0.01,
        "response_status": event.response_status,
        "created_at": api_time(event.created_at),
    })
}

fn events(state: &State, call: &Call, project: ProjectId, id: &str) -> ApiResult {
    let hook = find(state, project, id)?;
    let wanted = call.params.list("status");
    let is = |code: &str, wanted: &str| match wanted {
        "successful" => code.starts_with('2'),
        "client_failure" => code.starts_with('4'),
        "server_failure" => code.starts_with('5') || code == "internal error",
        exact => code == exact,
    };
    let week = state.now() - jiff::SignedDuration::from_hours(7 * 24);
    let found: Vec<&HookEvent> = hook
        .log
        .iter()
        .rev()
        .filter(|event| event.created_at > week)
        .filter(|event| {
            wanted.is_empty() || wanted.iter().any(|wanted| is(&event.response_status, wanted))
        })
        .collect();
    paging::page(call, found, event_json)
}

fn resend(
    state: &mut State,
    call: &Call,
    project: ProjectId,
    id: &str,
    event: &str,
) -> Result<Delivery, Refusal> {
    let user = call.user()?;
    let limit = state.config.limits.hook_tests_per_minute;
    state.take(format!("hook tests {project} {user}"), limit)?;
    let hook = find(state, project, id)?;
    let event: u64 = event.parse().map_err(|_| Refusal::invalid("hook_log_id"))?;
    let event = hook.log.iter().find(|known| known.id == event);
    let event = event.ok_or_else(|| Refusal::not_found(""))?;
    if event.url != hook.url {
        let text = "The hook URL has changed. Unable to resend.";
        return Err(Refusal::message(422, text));
    }
    Ok(Delivery {
        project,
        hook: hook.id,
        trigger: event.trigger,
        event: event.event,
        key: event.key.clone(),
        body: bytes::Bytes::from(event.body.clone().into_bytes()),
    })
}

impl State {
    /// Adds a hook with these fields.
    pub(crate) fn create_hook(
        &mut self,
        project: ProjectId,
        params: &Params,
    ) -> Result<Hook, Refusal> {
        let url = params.required("url")?;
        check_url(self, &url)?;
        let limit = self.config.limits.hooks_per_project;
        if self.project(project).hooks.len() >= limit {
            let text = format!("Maximum number of project hooks ({limit}) exceeded");
            return Err(Refusal::message(422, json!({ "base": [text] })));
        }
        let mut hook = Hook::new(url, self.now());
        apply(self, &mut hook, params)?;
        hook.id = self.next_id("hook");
        self.project_mut(project).hooks.push(hook.clone());
        Ok(hook)
    }

    /// The delivery of the "Test" button: made from what the project has.
    pub(crate) fn test_delivery(
        &mut self,
        call: &Call,
        project: ProjectId,
        id: &str,
        trigger: &str,
    ) -> Result<Delivery, Refusal> {
        let user = call.user()?;
        let limit = self.config.limits.hook_tests_per_minute;
        self.take(format!("hook tests {project} {user}"), limit)?;
        let hook = find(self, project, id)?.id;
        let trigger = EVENTS.iter().find(|event| **event == trigger);
        let trigger = *trigger.ok_or_else(|| Refusal::bad_value("trigger"))?;
        let body = self.test_body(project, user, trigger).ok_or_else(|| {
            Refusal::message(422, "Ensure the project has at least one of what is tested.")
        })?;
        let body = bytes::Bytes::from(body.to_string());
        Ok(Delivery { project, hook, trigger, event: event_header(trigger), key: uuid(), body })
    }

    fn test_body(&self, project: ProjectId, user: UserId, trigger: &str) -> Option<Value> {
        let found = self.project(project);
        match trigger {
            "push_events" => {
                let branch = found.default_branch();
                let head = found.repo.branch(branch)?;
                let log = history::log(&found.repo.objects, head, &[]);
                let before = log.get(2.min(log.len().saturating_sub(1))).map(|commit| commit.id);
                let change = RefChange {
                    name: format!("refs/heads/{branch}"),
                    before: before.unwrap_or(Oid::ZERO),
                    after: head,
                };
                Some(self.push_event(found, user, &change, &PushOptions::default()))
            }
            "tag_push_events" => {
                let (name, id) = found.repo.refs_below("refs/tags/").last()?;
                let name = format!("refs/tags/{name}");
                let change = RefChange { name, before: Oid::ZERO, after: id };
                Some(self.push_event(found, user, &change, &PushOptions::default()))
            }
            "merge_requests_events" => {
                let mr = found.merge_requests.last()?;
                Some(self.merge_request_event(mr, user, &MrEvent::new("open")))
            }
            "note_events" => {
                let mr = found.merge_requests.iter().rev().find(|mr| !mr.notes.is_empty())?;
                let note = mr.notes.last()?;
                Some(self.note_event(mr, note, user, "create"))
            }
            _ => None,
        }
    }
}
