//! What is kept where a commit's archive should be and cannot, or is not yet.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// How long the answer holds for runs that are handed out later; then GitLab is asked again.
const HOLDS: SignedDuration = SignedDuration::from_mins(10);

/// After a try that was due so long ago the reason for it is not known to hold any more.
const STALE: SignedDuration = SignedDuration::from_secs(30);

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
            "The commit's archive is larger than {megabytes} MB. Use export-ignore in \
             .gitattributes to leave out large files that runs do not need."
        );
        Self { reason, at }
    }

    /// GitLab does not have the commit, or the token does not see the project. `said` is GitLab's.
    pub fn not_found(said: &str, at: Timestamp) -> Self {
        let reason = format!(
            "GitLab does not have the commit, or Gantry's user cannot see the project's code ({}).",
            said.trim_end_matches('.')
        );
        Self { reason, at }
    }

    /// GitLab will not give it. `said` says why.
    pub fn refused(said: &str, at: Timestamp) -> Self {
        let reason = format!(
            "The commit's archive could not be downloaded: {}.",
            said.trim_end_matches('.')
        );
        Self { reason, at }
    }

    /// What GitLab, or something before it, gives in place of the archive is none. `came` says what
    /// it is.
    pub fn no_archive(came: &str, at: Timestamp) -> Self {
        let reason = format!(
            "The commit's archive could not be downloaded: for an hour, GitLab's API returned \
             {came} instead. A proxy or firewall may be blocking repository/archive.tar.gz of \
             GitLab's API. Allow it, then start the run again."
        );
        Self { reason, at }
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

/// Why the archives of a repository's commits are not there yet. Kept in object storage as JSON,
/// one for each repository: they are fetched one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceWaits {
    /// For people: what is waited for.
    pub reason: String,
    /// When the next try is made.
    pub until: Timestamp,
}

impl SourceWaits {
    /// GitLab gives no more archives of the project for now.
    pub fn for_limit(until: Timestamp) -> Self {
        let reason = "GitLab allows five archive downloads per project per minute".to_owned();
        Self { reason, until }
    }

    /// Something is in trouble. `said` says what.
    pub fn for_trouble(said: &str, until: Timestamp) -> Self {
        Self { reason: said.trim_end_matches('.').to_owned(), until }
    }

    /// What a run is told that waits for its commit's archive.
    pub fn to_text(waits: Option<&Self>, now: Timestamp) -> String {
        match waits.filter(|waits| now.duration_since(waits.until) < STALE) {
            Some(Self { reason, until }) => {
                let seconds = until.duration_since(now).as_secs().max(0);
                format!("Waiting for the commit's source: {reason}. Next attempt in {seconds} s.")
            }
            None => "Waiting for the commit's source to be downloaded.".to_owned(),
        }
    }

    /// As it is kept.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads what was kept; none when it cannot be read.
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
    fn what_a_run_waits_for() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let limit = SourceWaits::for_limit(at(1060));
        let trouble = SourceWaits::for_trouble("gitlab.example answered 502.", at(1020));
        let texts = [
            SourceWaits::to_text(Some(&limit), at(1000)),
            SourceWaits::to_text(Some(&trouble), at(1025)),
            SourceWaits::to_text(Some(&limit), at(1090)),
            SourceWaits::to_text(None, at(1000)),
        ];
        insta::assert_snapshot!(texts.join("\n"), @r"
        Waiting for the commit's source: GitLab allows five archive downloads per project per minute. Next attempt in 60 s.
        Waiting for the commit's source: gitlab.example answered 502. Next attempt in 0 s.
        Waiting for the commit's source to be downloaded.
        Waiting for the commit's source to be downloaded.
        ");
        assert_eq!(SourceWaits::from_json(&limit.to_json()), Some(limit));
        assert_eq!(SourceWaits::from_json(b"?"), None);
    }

    #[test]
    fn reasons_that_people_read() {
        let at = Timestamp::UNIX_EPOCH;
        let reasons = [
            SourceFailed::too_large(500_000_000, at),
            SourceFailed::not_found("404 Commit Not Found", at),
            SourceFailed::refused("GitLab does not allow this: 403 Forbidden", at),
            SourceFailed::no_archive("a web page", at),
        ];
        insta::assert_snapshot!(reasons.map(|failed| failed.reason).join("\n"), @r"
        The commit's archive is larger than 500 MB. Use export-ignore in .gitattributes to leave out large files that runs do not need.
        GitLab does not have the commit, or Gantry's user cannot see the project's code (404 Commit Not Found).
        The commit's archive could not be downloaded: GitLab does not allow this: 403 Forbidden.
        The commit's archive could not be downloaded: for an hour, GitLab's API returned a web page instead. A proxy or firewall may be blocking repository/archive.tar.gz of GitLab's API. Allow it, then start the run again.
        ");
    }
}
