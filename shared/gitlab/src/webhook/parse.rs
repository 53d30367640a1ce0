//! A webhook's body, translated into what it may mean for us.

use super::{body::Body, header};
use gantry_domain::{
    comment::may_hold_command,
    event::{Hook, NoteHint},
};
use http::HeaderMap;

/// The longest name or word that is kept of a body, in characters. Git allows no longer refs.
const LONGEST: usize = 255;

/// What an authentic request says. Never fails: what Gantry has no use for, or cannot read, is
/// [`Hook::Other`] and says so.
pub fn parse(headers: &HeaderMap, body: &[u8]) -> Hook {
    let event = header(headers, "x-gitlab-event");
    let Some(body) = Body::read(body) else {
        let what = format!("{}: the body is not a JSON object", event.unwrap_or("unknown event"));
        return other(&Body::default(), &what);
    };
    let kind = body.kind().or_else(|| event.and_then(kind_of_event).map(str::to_owned));
    let hook = match kind.as_deref() {
        Some("push" | "tag_push") => ref_hook(&body),
        Some("merge_request") if body.is_status_check() => {
            return other(&body, "external status check");
        }
        Some("merge_request") => merge_request(&body),
        Some("note") => note(&body),
        Some("confidential_note") => {
            body.project().map(|project| Hook::Note { project, note: None })
        }
        Some(kind) => return other(&body, kind),
        None => return other(&body, event.unwrap_or("a body without an event type")),
    };
    hook.unwrap_or_else(|| {
        let kind = kind.as_deref().unwrap_or_default();
        other(&body, &format!("{kind} with missing parts (a custom webhook template?)"))
    })
}

/// What a body without its kind must be, by the header `X-Gitlab-Event`.
fn kind_of_event(event: &str) -> Option<&'static str> {
    match event {
        "Push Hook" => Some("push"),
        "Tag Push Hook" => Some("tag_push"),
        "Merge Request Hook" => Some("merge_request"),
        "Note Hook" | "Confidential Note Hook" => Some("note"),
        _ => None,
    }
}

/// A branch or a tag, as the ref's prefix says: old servers' test button sends a `push` body as
/// tag hook.
fn ref_hook(body: &Body<'_>) -> Option<Hook> {
    let project = body.project()?;
    let full_ref = body.full_ref()?;
    let after = body.after().filter(|sha| !is_zero(sha)).map(clean);
    if let Some(branch) = full_ref.strip_prefix("refs/heads/").filter(|name| !name.is_empty()) {
        return Some(Hook::Push { project, branch: branch.to_owned(), claimed_head: after });
    }
    let tag = full_ref.strip_prefix("refs/tags/").filter(|name| !name.is_empty())?;
    // `after` is the tag object of an annotated tag; `checkout_sha` is the commit.
    let commit = body.checkout_sha().filter(|sha| !is_zero(sha)).map(clean);
    let claimed_commit = after.and_then(|after| commit.or(Some(after)));
    Some(Hook::Tag { project, tag: tag.to_owned(), claimed_commit })
}

fn merge_request(body: &Body<'_>) -> Option<Hook> {
    let attributes = body.attributes();
    Some(Hook::MergeRequest {
        project: body.project()?,
        iid: attributes.iid()?,
        action: attributes.action().map(clean),
    })
}

fn note(body: &Body<'_>) -> Option<Hook> {
    let attributes = body.attributes();
    let hint = || {
        attributes.note().filter(|text| may_hold_command(text))?;
        Some(NoteHint {
            iid: body.commented()?,
            note: attributes.id()?,
            discussion: attributes.discussion().map(clean),
        })
    };
    let note = attributes.is_new_comment().then(hint).flatten();
    Some(Hook::Note { project: body.project()?, note })
}

fn other(body: &Body<'_>, what: &str) -> Hook {
    Hook::Other { project: body.project(), what: clean(what.to_owned()) }
}

fn is_zero(sha: &str) -> bool {
    sha.bytes().all(|digit| digit == b'0')
}

/// A text from outside, short and without control characters.
fn clean(text: String) -> String {
    text.chars().filter(|c| !c.is_control()).take(LONGEST).collect()
}
