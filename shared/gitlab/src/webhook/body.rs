//! The few fields of a webhook's body that Gantry looks at.
//!
//! Fields come and go between versions, and custom templates put anything anywhere: a field of
//! another type than expected counts as missing. What is not looked at is not even parsed.

use gantry_domain::{MergeRequestIid, ProjectId};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;

/// The top level. Every field is kept as text until somebody asks for it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Body<'a> {
    #[serde(borrow)]
    object_kind: Raw<'a>,
    #[serde(borrow)]
    event_name: Raw<'a>,
    #[serde(borrow, rename = "ref")]
    full_ref: Raw<'a>,
    #[serde(borrow)]
    before: Raw<'a>,
    #[serde(borrow)]
    after: Raw<'a>,
    #[serde(borrow)]
    checkout_sha: Raw<'a>,
    #[serde(borrow)]
    project_id: Raw<'a>,
    #[serde(borrow)]
    project: Raw<'a>,
    #[serde(borrow)]
    object_attributes: Raw<'a>,
    #[serde(borrow)]
    merge_request: Raw<'a>,
    #[serde(borrow)]
    external_approval_rule: Raw<'a>,
    #[serde(borrow)]
    external_status_check: Raw<'a>,
}

type Raw<'a> = Option<&'a RawValue>;

/// The merge request or the note.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Attributes<'a> {
    #[serde(borrow)]
    id: Raw<'a>,
    #[serde(borrow)]
    iid: Raw<'a>,
    #[serde(borrow)]
    action: Raw<'a>,
    #[serde(borrow)]
    updated_at: Raw<'a>,
    #[serde(borrow)]
    oldrev: Raw<'a>,
    #[serde(borrow)]
    last_commit: Raw<'a>,
    #[serde(borrow)]
    target_project_id: Raw<'a>,
    #[serde(borrow)]
    project_id: Raw<'a>,
    #[serde(borrow)]
    note: Raw<'a>,
    #[serde(borrow)]
    noteable_type: Raw<'a>,
    #[serde(borrow)]
    discussion_id: Raw<'a>,
    #[serde(borrow)]
    system: Raw<'a>,
    #[serde(borrow)]
    internal: Raw<'a>,
}

#[derive(Deserialize)]
struct WithIid<'a> {
    #[serde(borrow)]
    iid: Raw<'a>,
}

#[derive(Deserialize)]
struct WithId<'a> {
    #[serde(borrow)]
    id: Raw<'a>,
}

impl<'a> Body<'a> {
    /// None when the bytes are not a JSON object.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        // A list would do for serde, which takes it for the fields in their order.
        let bytes = bytes.trim_ascii_start();
        bytes.starts_with(b"{").then(|| serde_json::from_slice(bytes).ok())?
    }

    /// `push`, `merge_request`, …; system hooks say it in `event_name`.
    pub(super) fn kind(&self) -> Option<String> {
        text(self.object_kind).or_else(|| text(self.event_name))
    }

    pub(super) fn full_ref(&self) -> Option<String> {
        text(self.full_ref)
    }

    pub(super) fn before(&self) -> Option<String> {
        text(self.before)
    }

    pub(super) fn after(&self) -> Option<String> {
        text(self.after)
    }

    pub(super) fn checkout_sha(&self) -> Option<String> {
        text(self.checkout_sha)
    }

    /// The calls of GitLab's *external status checks* look like merge request hooks.
    pub(super) fn is_status_check(&self) -> bool {
        self.external_approval_rule.is_some() || self.external_status_check.is_some()
    }

    /// The merge request that a comment is on.
    pub(super) fn commented(&self) -> Option<MergeRequestIid> {
        let of = object::<WithIid<'_>>(self.merge_request)?;
        number(of.iid).map(MergeRequestIid)
    }

    pub(super) fn attributes(&self) -> Attributes<'a> {
        object(self.object_attributes).unwrap_or_default()
    }

    /// `project.id`, which older servers leave out, or one of the places that say the same.
    pub(super) fn project(&self) -> Option<ProjectId> {
        let attributes = self.attributes();
        [
            object::<WithId<'_>>(self.project).and_then(|project| project.id),
            self.project_id,
            attributes.target_project_id,
            attributes.project_id,
        ]
        .into_iter()
        .find_map(number)
        .map(ProjectId)
    }
}

impl Attributes<'_> {
    pub(super) fn iid(&self) -> Option<MergeRequestIid> {
        number(self.iid).map(MergeRequestIid)
    }

    pub(super) fn id(&self) -> Option<u64> {
        number(self.id)
    }

    pub(super) fn action(&self) -> Option<String> {
        text(self.action)
    }

    pub(super) fn note(&self) -> Option<String> {
        text(self.note)
    }

    pub(super) fn discussion(&self) -> Option<String> {
        text(self.discussion_id)
    }

    /// A person's comment on a merge request, which everybody can read who can read that, and that
    /// was just written. Before 16.11 bodies did not say so, and came only then.
    pub(super) fn is_new_comment(&self) -> bool {
        let is = |flag| read::<bool>(flag).unwrap_or(false);
        text(self.noteable_type).as_deref() == Some("MergeRequest")
            && self.action().is_none_or(|action| action == "create")
            && !is(self.system)
            && !is(self.internal)
    }

    pub(super) fn updated_at(&self) -> Option<String> {
        text(self.updated_at)
    }

    pub(super) fn oldrev(&self) -> Option<String> {
        text(self.oldrev)
    }

    pub(super) fn last_commit(&self) -> Option<String> {
        object::<WithId<'_>>(self.last_commit).and_then(|commit| text(commit.id))
    }
}

fn object<'a, T: Deserialize<'a>>(raw: Raw<'a>) -> Option<T> {
    let json = raw?.get();
    json.starts_with('{').then(|| serde_json::from_str(json).ok())?
}

fn read<T: DeserializeOwned>(raw: Raw<'_>) -> Option<T> {
    serde_json::from_str(raw?.get()).ok()
}

/// A text that is not empty.
fn text(raw: Raw<'_>) -> Option<String> {
    read::<String>(raw).filter(|text| !text.is_empty())
}

/// A number above zero, in quotes or not.
fn number(raw: Raw<'_>) -> Option<u64> {
    read::<u64>(raw).or_else(|| read::<String>(raw)?.parse().ok()).filter(|&number| number > 0)
}
