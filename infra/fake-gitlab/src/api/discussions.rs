//! Discussions of merge requests.

use super::answer::{Answer, ApiResult, Refusal};
use super::merge_requests::find;
use super::notes::{edit, first_line, may_read, only_commands};
use super::{Call, paging};
use crate::model::{MergeRequest, Note, ProjectId, State};
use crate::service::notes::{NoteOutcome, NotePlace};

/// Those of a discussion's comments that the caller reads; 404 where there are none.
fn readable<'a>(
    state: &State,
    call: &Call,
    project: ProjectId,
    mr: &'a MergeRequest,
    id: &'a str,
    missing: &str,
) -> Result<Vec<&'a Note>, Refusal> {
    let notes = mr.discussion(id).filter(|note| may_read(state, call, project, note));
    let notes: Vec<&Note> = notes.collect();
    if notes.is_empty() {
        return Err(Refusal::not_found(missing));
    }
    Ok(notes)
}

pub(crate) fn list(state: &State, call: &Call, project: ProjectId, iid: &str) -> ApiResult {
    let mr = find(state, call, project, iid)?;
    let mut found: Vec<(&str, Vec<&Note>)> = Vec::new();
    for note in mr.notes.iter().filter(|note| may_read(state, call, project, note)) {
        match found.iter_mut().find(|(id, _)| *id == note.discussion) {
            Some((_, notes)) => notes.push(note),
            None => found.push((note.discussion.as_str(), vec![note])),
        }
    }
    paging::page(call, found, |(id, notes)| state.discussion_json(id, &notes))
}

pub(crate) fn get(
    state: &State,
    call: &Call,
    project: ProjectId,
    iid: &str,
    id: &str,
) -> ApiResult {
    let mr = find(state, call, project, iid)?;
    let notes = readable(state, call, project, mr, id, "Discussion")?;
    Ok(Answer::ok(state.discussion_json(id, &notes)))
}

pub(crate) fn notes(
    state: &State,
    call: &Call,
    project: ProjectId,
    iid: &str,
    id: &str,
) -> ApiResult {
    let mr = find(state, call, project, iid)?;
    let notes = readable(state, call, project, mr, id, "Notes")?;
    Ok(Answer::ok(notes.into_iter().map(|note| state.note_json(note)).collect()))
}

/// Takes a comment, where the author has not written too many.
fn write(
    state: &mut State,
    call: &Call,
    project: ProjectId,
    iid: u64,
    place: &NotePlace,
) -> Result<(NoteOutcome, String), Refusal> {
    let user = call.user()?;
    let body = call.params.required("body")?;
    let limit = state.config.limits.notes_per_minute;
    state.take(format!("notes {user}"), limit)?;
    Ok((state.create_note(project, iid, user, &body, place)?, body))
}

/// Begins a thread.
pub(crate) fn create(state: &mut State, call: &Call, project: ProjectId, iid: &str) -> ApiResult {
    let iid = find(state, call, project, iid)?.iid;
    let (outcome, body) = write(state, call, project, iid, &NotePlace::Thread)?;
    Ok(match outcome {
        NoteOutcome::Kept(note) => {
            Answer::created(state.discussion_json(&note.discussion, &[&note]))
                .wrote(format!("thread !{iid} {:?}", first_line(&body)))
        }
        NoteOutcome::OnlyCommands(names) => only_commands(&names),
    })
}

/// Replies.
pub(crate) fn reply(
    state: &mut State,
    call: &Call,
    project: ProjectId,
    iid: &str,
    id: &str,
) -> ApiResult {
    let mr = find(state, call, project, iid)?;
    readable(state, call, project, mr, id, "Discussion")?;
    let iid = mr.iid;
    let place = NotePlace::Discussion(id.to_owned());
    let (outcome, body) = write(state, call, project, iid, &place)?;
    Ok(match outcome {
        NoteOutcome::Kept(note) => Answer::created(state.note_json(&note))
            .wrote(format!("reply !{iid} {:?}", first_line(&body))),
        NoteOutcome::OnlyCommands(names) => only_commands(&names),
    })
}

/// Resolves a thread, or opens it again.
pub(crate) fn update(
    state: &mut State,
    call: &Call,
    project: ProjectId,
    iid: &str,
    id: &str,
) -> ApiResult {
    let user = call.user()?;
    let resolved = call.params.flag("resolved")?.ok_or_else(|| Refusal::missing("resolved"))?;
    let mr = find(state, call, project, iid)?;
    readable(state, call, project, mr, id, "Discussion")?;
    let iid = mr.iid;
    state.resolve(project, iid, user, id, resolved)?;
    let mr = state.merge_request(project, iid)?;
    let notes = readable(state, call, project, mr, id, "Discussion")?;
    let word = if resolved { "resolved" } else { "unresolved" };
    Ok(Answer::ok(state.discussion_json(id, &notes)).wrote(format!("{word} a thread of !{iid}")))
}

/// Edits a comment, as its own address does, or resolves its thread: one of both.
pub(crate) fn edit_note(
    state: &mut State,
    call: &Call,
    project: ProjectId,
    iid: &str,
    id: &str,
    note: &str,
) -> ApiResult {
    match (call.params.has("body"), call.params.has("resolved")) {
        (true, false) => edit(state, call, project, iid, note),
        (false, true) => update(state, call, project, iid, id),
        _ => Err(Refusal::error(400, "body, resolved are mutually exclusive")),
    }
}
