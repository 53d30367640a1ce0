//! Nudges: messages that say where to look, told apart by a number.

use gantry_domain::{CommitSha, MergeRequestIid, ProjectId};
use gantry_queue::Message;

/// A number that is the same for the same cause and differs for others: it tells nudges apart.
pub(crate) fn distinct(cause: &impl std::hash::Hash) -> u64 {
    use std::hash::{DefaultHasher, Hasher as _};
    let mut hasher = DefaultHasher::new();
    cause.hash(&mut hasher);
    hasher.finish()
}

/// The nudge with the number of the want that made it necessary.
pub(crate) fn numbered(nudge: Message, number: i64) -> Message {
    let want = number.unsigned_abs();
    match nudge {
        Message::Status { project, commit, .. } => Message::Status { project, commit, want },
        Message::Note { project, iid, .. } => Message::Note { project, iid, want },
        Message::Environment { stack, .. } => Message::Environment { stack, want },
        other => other,
    }
}

/// The nudge whose group is `target`.
pub(crate) fn nudge_for(target: &str) -> Option<Message> {
    match target.split(':').collect::<Vec<_>>().as_slice() {
        ["status", project, commit] => Some(Message::Status {
            project: ProjectId(project.parse().ok()?),
            commit: commit.parse::<CommitSha>().ok()?,
            want: 0,
        }),
        ["note", project, iid] => Some(Message::Note {
            project: ProjectId(project.parse().ok()?),
            iid: MergeRequestIid(iid.parse().ok()?),
            want: 0,
        }),
        ["env", stack] => Some(Message::Environment { stack: stack.parse().ok()?, want: 0 }),
        _ => None,
    }
}
