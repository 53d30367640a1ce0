//! The id of a delivery, by which a repeated one is known.

use super::{body::Body, header};
use gantry_domain::{EventId, event::Hook};
use http::HeaderMap;
use sha2::{Digest as _, Sha256};

/// GitLab's own id of the delivery (19.0: `webhook-id`, 17.4: `Idempotency-Key`), which repeats
/// and resends keep. Older servers send none: then it is made of what the event is about.
pub fn delivery_id(headers: &HeaderMap, hook: &Hook, body: &[u8]) -> EventId {
    header(headers, "webhook-id")
        .or_else(|| header(headers, "idempotency-key"))
        .map_or_else(|| id_of_content(hook, body), EventId::from_untrusted)
}

fn id_of_content(hook: &Hook, bytes: &[u8]) -> EventId {
    let body = Body::read(bytes).unwrap_or_default();
    let attributes = body.attributes();
    let or_empty = Option::unwrap_or_default;
    match hook {
        Hook::Push { project, .. } | Hook::Tag { project, .. } => {
            let kind = if matches!(hook, Hook::Push { .. }) { "push" } else { "tag" };
            let (before, after) = (or_empty(body.before()), or_empty(body.after()));
            let full_ref: String = or_empty(body.full_ref());
            EventId::derive(kind, &[&project.to_string(), &full_ref, &before, &after])
        }
        Hook::MergeRequest { project, iid, .. } => EventId::derive(
            "mr",
            &[
                &project.to_string(),
                &iid.to_string(),
                &or_empty(attributes.action()),
                &or_empty(attributes.updated_at()),
                &or_empty(attributes.last_commit()),
                &or_empty(attributes.oldrev()),
            ],
        ),
        Hook::Note { project, .. } if attributes.id().is_some() => EventId::derive(
            "note",
            &[
                &project.to_string(),
                &attributes.id().unwrap_or_default().to_string(),
                &or_empty(attributes.updated_at()),
            ],
        ),
        Hook::Note { .. } | Hook::Other { .. } => {
            EventId::derive("body", &[&hex::encode(Sha256::digest(bytes))])
        }
    }
}
