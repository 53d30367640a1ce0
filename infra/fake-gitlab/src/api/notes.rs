//! Notes of merge requests.

use serde_json::json;

use super::access::{MAINTAINER, REPORTER};
use super::answer::{Answer, ApiResult, Refusal};
use super::merge_requests::find;
use super::{Call, paging};
use crate::model::{MergeRequest, Note, ProjectId, State, UserId};
use crate::service::notes::NoteOutcome;

pub(crate) fn route(
    state: &mut State,
    call: &Call,
    project: ProjectId,
    path: &[&str],
) -> Option<ApiResult> {
    let ["merge_requests", iid, "notes", rest @ ..] = path else { return None };
    match (call.method.as_str(), rest) {
        ("GET", []) => Some(list(state, call, project, iid)),
        ("POST", []) => Some(create(state, call, project, iid)),
        ("GET", [id]) => Some(get(state, call, project, iid, id)),
        ("PUT", [id]) => Some(edit(state, call, project, iid, id)),
        ("DELETE", [id]) => Some(delete(state, call, project, iid, id)),
        _ => None,
    }
}

/// Internal notes are for members from Reporter on.
fn may_read(state: &State, call: &Call, project: ProjectId, note: &Note) -> bool {
    !note.internal || state.level(project, call) >= REPORTER
}

fn list(state: &State, call: &Call, project: ProjectId, iid: &str) -> ApiResult {
    let mr = find(state, call, project, iid)?;
    let only_comments = call.params.text("activity_filter").as_deref() == Some("only_comments");
    let mut notes: Vec<&Note> =
        mr.notes.iter().filter(|note| !only_comments || !note.system).collect();
    let order = call.params.choice("order_by", &["created_at", "updated_at"])?;
    if order == Some("updated_at") {
        notes.sort_by_key(|note| note.updated_at);
    }
    if call.params.choice("sort", &["asc", "desc"])? != Some("asc") {
        notes.reverse();
    }
    // Unreadable notes are taken out after paging: a page may be short and not the last.
    let mut answer = paging::page(call, notes, |note| {
        if may_read(state, call, project, note) { state.note_json(mr, note) } else { json!(null) }
    })?;
    if let super::answer::Body::Json(serde_json::Value::Array(items)) = &mut answer.body {
        items.retain(|item| !item.is_null());
    }
    Ok(answer)
}

fn find_note<'a>(
    state: &'a State,
    call: &Call,
    project: ProjectId,
    iid: &str,
    id: &str,
) -> Result<(&'a MergeRequest, &'a Note), Refusal> {
    let mr = find(state, call, project, iid)?;
    let id: u64 = id.parse().map_err(|_| Refusal::invalid("note_id"))?;
    let note = mr.notes.iter().find(|note| note.id == id);
    let note = note.filter(|note| may_read(state, call, project, note));
    note.map(|note| (mr, note)).ok_or_else(|| Refusal::not_found(""))
}

fn get(state: &State, call: &Call, project: ProjectId, iid: &str, id: &str) -> ApiResult {
    let (mr, note) = find_note(state, call, project, iid, id)?;
    Ok(Answer::ok(state.note_json(mr, note)))
}

/// Only the author and maintainers may change a note; nobody changes a system note.
fn may_write(
    state: &State,
    call: &Call,
    project: ProjectId,
    iid: &str,
    id: &str,
) -> Result<(UserId, u64, u64), Refusal> {
    let user = call.user()?;
    let (mr, note) = find_note(state, call, project, iid, id)?;
    if note.system || (note.author != user && state.level(project, call) < MAINTAINER) {
        return Err(Refusal::forbidden());
    }
    Ok((user, mr.iid, note.id))
}

fn create(state: &mut State, call: &Call, project: ProjectId, iid: &str) -> ApiResult {
    let user = call.user()?;
    let iid = find(state, call, project, iid)?.iid;
    let body = call.params.required("body")?;
    let internal = call.params.flag("internal")?.or(call.params.flag("confidential")?);
    let limit = state.config.limits.notes_per_minute;
    state.take(format!("notes {user}"), limit)?;
    let outcome = state.create_note(project, iid, user, &body, internal.unwrap_or(false))?;
    let line = format!("note !{iid} {:?}", first_line(&body));
    match outcome {
        NoteOutcome::Kept(id) => {
            let (mr, note) = find_note(state, call, project, &iid.to_string(), &id.to_string())?;
            Ok(Answer::created(state.note_json(mr, note)).wrote(line))
        }
        NoteOutcome::OnlyCommands(names) => {
            let line = format!("quick actions !{iid} {}", names.join(" "));
            Ok(only_commands(&names).wrote(line))
        }
    }
}

/// There is no note; as an edit, there is none any more.
fn only_commands(names: &[String]) -> Answer {
    let body = json!({
        "commands_changes": {},
        "summary": [format!("Applied {}.", names.join(", "))],
    });
    Answer::new(202, super::answer::Body::Json(body))
}

fn edit(state: &mut State, call: &Call, project: ProjectId, iid: &str, id: &str) -> ApiResult {
    let (user, iid, id) = may_write(state, call, project, iid, id)?;
    let body = call.params.required("body")?;
    match state.edit_note(project, iid, user, id, &body)? {
        NoteOutcome::Kept(id) => {
            let (mr, note) = find_note(state, call, project, &iid.to_string(), &id.to_string())?;
            let line = format!("edited note !{iid} {:?}", first_line(&body));
            Ok(Answer::ok(state.note_json(mr, note)).wrote(line))
        }
        NoteOutcome::OnlyCommands(names) => {
            let line = format!("deleted note !{iid} by quick actions {}", names.join(" "));
            Ok(only_commands(&names).wrote(line))
        }
    }
}

fn delete(state: &mut State, call: &Call, project: ProjectId, iid: &str, id: &str) -> ApiResult {
    let (_, iid, id) = may_write(state, call, project, iid, id)?;
    state.merge_request_mut(project, iid).notes.retain(|note| note.id != id);
    Ok(Answer::no_content().wrote(format!("deleted note !{iid}")))
}

/// The first line that says something: no marker, no blank line.
fn first_line(body: &str) -> String {
    let line = body.lines().find(|line| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with("<!--")
    });
    line.unwrap_or_default().chars().take(80).collect()
}
