//! Notes of merge requests.

use serde_json::{Value, json};

use super::access::{MAINTAINER, REPORTER};
use super::answer::{Answer, ApiResult, Body, Refusal};
use super::merge_requests::find;
use super::{Call, paging};
use crate::model::{MergeRequest, Note, ProjectId, State, UserId};
use crate::service::notes::{NoteOutcome, NotePlace};

/// Internal notes are for members from Reporter on.
pub(super) fn may_read(state: &State, call: &Call, project: ProjectId, note: &Note) -> bool {
    !note.internal || state.level(project, call) >= REPORTER
}

pub(crate) fn list(state: &State, call: &Call, project: ProjectId, iid: &str) -> ApiResult {
    let mr = find(state, call, project, iid)?;
    let mut notes: Vec<&Note> = mr.notes.iter().collect();
    let order = call.params.choice("order_by", &["created_at", "updated_at"])?;
    if order == Some("updated_at") {
        notes.sort_by_key(|note| note.updated_at);
    }
    paging::sort(call, &mut notes, "desc")?;
    // Unreadable notes are taken out after paging: a page may be short and not the last.
    let mut answer = paging::page(call, notes, |note| {
        if may_read(state, call, project, note) { state.note_json(note) } else { Value::Null }
    })?;
    if let Body::Json(Value::Array(items)) = &mut answer.body {
        items.retain(|item| !item.is_null());
    }
    Ok(answer)
}

pub(crate) fn create(state: &mut State, call: &Call, project: ProjectId, iid: &str) -> ApiResult {
    let user = call.user()?;
    let iid = find(state, call, project, iid)?.iid;
    let body = call.params.required("body")?;
    let internal = call.params.flag("internal")?.or(call.params.flag("confidential")?);
    let limit = state.config.limits.notes_per_minute;
    state.take(format!("notes {user}"), limit)?;
    let into = NotePlace::Alone { internal: internal.unwrap_or(false) };
    Ok(match state.create_note(project, iid, user, &body, &into)? {
        NoteOutcome::Kept(note) => Answer::created(state.note_json(&note))
            .wrote(format!("note !{iid} {:?}", first_line(&body))),
        NoteOutcome::OnlyCommands(names) => {
            only_commands(&names).wrote(format!("quick actions !{iid} {}", names.join(" ")))
        }
    })
}

pub(super) fn find_note<'a>(
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

pub(crate) fn get(
    state: &State,
    call: &Call,
    project: ProjectId,
    iid: &str,
    id: &str,
) -> ApiResult {
    let (_, note) = find_note(state, call, project, iid, id)?;
    Ok(Answer::ok(state.note_json(note)))
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

pub(crate) fn delete(
    state: &mut State,
    call: &Call,
    project: ProjectId,
    iid: &str,
    id: &str,
) -> ApiResult {
    let (_, iid, id) = may_write(state, call, project, iid, id)?;
    state.delete_note(project, iid, id);
    Ok(Answer::no_content().wrote(format!("deleted note !{iid}")))
}

pub(crate) fn edit(
    state: &mut State,
    call: &Call,
    project: ProjectId,
    iid: &str,
    id: &str,
) -> ApiResult {
    let (user, iid, id) = may_write(state, call, project, iid, id)?;
    let body = call.params.required("body")?;
    Ok(match state.edit_note(project, iid, user, id, &body)? {
        NoteOutcome::Kept(note) => Answer::ok(state.note_json(&note))
            .wrote(format!("edited note !{iid} {:?}", first_line(&body))),
        NoteOutcome::OnlyCommands(names) => {
            let line = format!("deleted note !{iid} by quick actions {}", names.join(" "));
            only_commands(&names).wrote(line)
        }
    })
}

/// The emoji of a note.
pub(crate) fn awards(
    state: &State,
    call: &Call,
    project: ProjectId,
    iid: &str,
    id: &str,
) -> ApiResult {
    let (_, note) = find_note(state, call, project, iid, id)?;
    paging::page(call, note.awards.iter().collect(), |award| state.award_json(award, note.id))
}

/// Whoever reads a note may give it an emoji.
pub(crate) fn award(
    state: &mut State,
    call: &Call,
    project: ProjectId,
    iid: &str,
    id: &str,
) -> ApiResult {
    let user = call.user()?;
    let name = call.params.required("name")?;
    let (mr, note) = find_note(state, call, project, iid, id)?;
    let (iid, id) = (mr.iid, note.id);
    let award = state.award(project, iid, user, id, &name)?;
    let body = state.award_json(&award, id);
    Ok(Answer::created(body).wrote(format!("emoji {name} on a note of !{iid}")))
}

/// There is no note; as an edit, there is none any more.
pub(super) fn only_commands(names: &[String]) -> Answer {
    let summary = format!("Applied {}.", names.join(", "));
    Answer::new(202, Body::Json(json!({ "commands_changes": {}, "summary": [summary] })))
}

/// The first line that says something: no marker, no blank line.
pub(super) fn first_line(body: &str) -> String {
    let line = body.lines().find(|line| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with("<!--")
    });
    line.unwrap_or_default().chars().take(80).collect()
}
