//! Whether a merge request was approved.

use crate::{Client, Error, absent::Thing, api::notes::Author, call::Call};
use gantry_domain::{MergeRequestIid, ProjectId, UserId};
use http::Method;
use serde::Deserialize;

/// Who has approved a merge request, and whether that is enough.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "RawApprovals")]
pub struct MergeRequestApprovals {
    /// GitLab's own word: on Premium that its approval rules are satisfied, which they are too where
    /// they ask for nothing; elsewhere that somebody has approved.
    pub is_approved: bool,
    /// Everybody who has approved it, whether a rule asked for them or not.
    pub by: Vec<Author>,
}

#[derive(Deserialize)]
struct RawApprovals {
    approved: Option<bool>,
    approvals_left: Option<u32>,
    // Every edition says it, and no answer is read without it.
    approved_by: Vec<Approval>,
}

#[derive(Deserialize)]
struct Approval {
    user: Option<Author>,
}

impl From<RawApprovals> for MergeRequestApprovals {
    fn from(raw: RawApprovals) -> Self {
        // Premium's documented answer has only the number.
        let is_approved = raw.approved.unwrap_or(raw.approvals_left == Some(0));
        Self { is_approved, by: raw.approved_by.into_iter().filter_map(|each| each.user).collect() }
    }
}

impl MergeRequestApprovals {
    /// True when GitLab calls it approved, and somebody else than its author has approved it: rules
    /// that ask for nothing are satisfied without anybody, and authors may approve their own where
    /// the project allows it.
    pub fn is_reviewed(&self, author: Option<UserId>) -> bool {
        self.is_approved && self.by.iter().any(|user| Some(user.id) != author)
    }
}

impl Client {
    /// The approvals of a merge request of the target project, merged ones included; none when
    /// there is no such merge request.
    pub async fn merge_request_approvals(
        &self,
        project: ProjectId,
        iid: MergeRequestIid,
    ) -> Result<Option<MergeRequestApprovals>, Error> {
        let number = iid.to_string();
        let call = Call::project(Method::GET, project, &["merge_requests", &number, "approvals"]);
        self.find(Thing::MergeRequest.named(project, &number), call).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> MergeRequestApprovals {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn premium_counts_and_other_editions_say_so() {
        let by_root = r#"[{"user": {"id": 1, "username": "root", "name": "Administrator",
            "state": "active"}, "approved_at": "2016-06-09T01:45:21.720Z"}]"#;
        let premium = |required: u32, left: u32, by: &str| {
            read(&format!(
                r#"{{"id": 5, "iid": 5, "project_id": 1, "title": "Approvals API",
                "state": "merged", "merge_status": "can_be_merged", "approved_by": {by},
                "approvals_required": {required}, "approvals_left": {left}}}"#
            ))
        };
        let free = |approved: bool, by: &str| {
            read(&format!(
                r#"{{"user_has_approved": false, "user_can_approve": false,
                "approved": {approved}, "approved_by": {by}}}"#
            ))
        };
        for (approvals, approved, reviewed) in [
            (premium(2, 1, by_root), false, false),
            (premium(1, 0, by_root), true, true),
            // Nothing was asked for, and nobody looked.
            (premium(0, 0, "[]"), true, false),
            (free(true, by_root), true, true),
            (free(false, "[]"), false, false),
        ] {
            let told = (approvals.is_approved, approvals.is_reviewed(Some(UserId(9))));
            assert_eq!(told, (approved, reviewed), "{approvals:?}");
            assert!(!approvals.is_reviewed(Some(UserId(1))), "by its author alone");
        }
    }

    #[test]
    fn another_services_json_is_not_an_answer() {
        for json in ["{}", r#"{"status": "ok"}"#, r#"{"approved": true, "approved_by": null}"#] {
            assert!(serde_json::from_str::<MergeRequestApprovals>(json).is_err(), "{json}");
        }
    }
}
