//! What is kept where a commit's archive should be and cannot.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// How long the answer holds for runs that are handed out later; then GitLab is asked again.
const HOLDS: SignedDuration = SignedDuration::from_mins(10);

/// Why a commit's archive cannot be had. Kept in object storage as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFailed {
    /// For people: why, and what can be done.
    pub reason: String,
    /// When GitLab was asked.
    pub at: Timestamp,
}

impl SourceFailed {
    /// The archive is larger than is kept.
    pub fn too_large(largest: u64, at: Timestamp) -> Self {
        let megabytes = largest / 1_000_000;
        let reason = format!(
            "The commit's archive is larger than {megabytes} MB. Large files that Terraform does \
             not need can be left out with export-ignore in .gitattributes."
        );
        Self { reason, at }
    }

    /// GitLab does not have the commit, or the token does not see the project. `said` is GitLab's.
    pub fn not_found(said: &str, at: Timestamp) -> Self {
        let reason = format!(
            "GitLab does not have the commit, or Gantry's user may not see the project's code \
             ({}).",
            said.trim_end_matches('.')
        );
        Self { reason, at }
    }

    /// GitLab will not give it. `said` says why.
    pub fn refused(said: &str, at: Timestamp) -> Self {
        let reason = format!("The commit's archive cannot be had: {}.", said.trim_end_matches('.'));
        Self { reason, at }
    }

    /// What GitLab, or something before it, gave is no archive.
    pub fn no_archive(at: Timestamp) -> Self {
        Self::refused("what GitLab answered is not a gzip archive", at)
    }

    /// True when it is the answer for something that began at `since`; otherwise GitLab is asked
    /// again, because people mend what they are told about.
    pub fn counts_at(&self, since: Timestamp) -> bool {
        since.duration_since(self.at) < HOLDS
    }

    /// As it is kept.
    pub fn to_json(&self) -> Vec<u8> {
        // Serializing can only fail for maps without text keys, and there is no map in here.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads what was kept; none when it cannot be read, which is as good as not there.
    pub fn from_json(kept: &[u8]) -> Option<Self> {
        serde_json::from_slice(kept).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_holds_for_a_while() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let failed = SourceFailed { reason: "too large".to_owned(), at: at(1000) };
        assert!(failed.counts_at(at(900)), "it began before");
        assert!(failed.counts_at(at(1599)));
        assert!(!failed.counts_at(at(1600)));
        assert_eq!(SourceFailed::from_json(&failed.to_json()), Some(failed));
        assert_eq!(SourceFailed::from_json(b"?"), None);
    }

    #[test]
    fn reasons_that_people_read() {
        let at = Timestamp::UNIX_EPOCH;
        let reasons = [
            SourceFailed::too_large(500_000_000, at),
            SourceFailed::not_found("404 Commit Not Found", at),
            SourceFailed::refused("GitLab does not allow this: 403 Forbidden", at),
            SourceFailed::no_archive(at),
        ];
        insta::assert_snapshot!(reasons.map(|failed| failed.reason).join("\n"), @r"
        The commit's archive is larger than 500 MB. Large files that Terraform does not need can be left out with export-ignore in .gitattributes.
        GitLab does not have the commit, or Gantry's user may not see the project's code (404 Commit Not Found).
        The commit's archive cannot be had: GitLab does not allow this: 403 Forbidden.
        The commit's archive cannot be had: what GitLab answered is not a gzip archive.
        ");
    }
}
