//! What changed between two commits.

use crate::{Client, Commit, Error, absent::Thing, api::commits::RawLine, call::Call};
use gantry_domain::{CommitLine, CommitSha, ProjectId};
use http::Method;
use serde::Deserialize;
use std::collections::BTreeSet;

/// From this many changed files on a list may be cut: GitLab's usual limit is 1,000
/// (`diff_max_files`), gitlab.com's 3,000, and nothing in the answer says which.
const MOST_TRUSTED: usize = 1000;

/// The names of what changed between two commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compare {
    /// The changed paths; both names of a rename.
    pub paths: BTreeSet<String>,
    /// Set when there may be more than `paths`: what GitLab did instead of listing all, as a clause
    /// with a subject of its own.
    pub why_incomplete: Option<String>,
    /// The commits between the two.
    pub commit_count: usize,
    /// The title and author of the newest of them.
    pub line: CommitLine,
}

#[derive(Deserialize)]
struct Answer {
    diffs: Option<Vec<Diff>>,
    #[serde(default, deserialize_with = "crate::reading::or_default")]
    commits: Vec<serde::de::IgnoredAny>,
    commit: Option<RawLine>,
    #[serde(default, deserialize_with = "crate::reading::or_default")]
    compare_timeout: bool,
    #[serde(default, deserialize_with = "crate::reading::or_default")]
    overflow: bool,
}

#[derive(Deserialize)]
struct Diff {
    #[serde(default, deserialize_with = "crate::reading::filled")]
    old_path: Option<String>,
    #[serde(default, deserialize_with = "crate::reading::filled")]
    new_path: Option<String>,
}

impl From<Answer> for Compare {
    fn from(answer: Answer) -> Self {
        let Answer { diffs, commits, commit, compare_timeout, overflow } = answer;
        let listed = diffs.as_ref().map_or(0, Vec::len);
        let nameless = |diff: &Diff| diff.old_path.is_none() && diff.new_path.is_none();
        let why = if diffs.is_none() || diffs.iter().flatten().any(nameless) {
            Some("GitLab did not list the changed files".to_owned())
        } else if compare_timeout || overflow {
            Some("GitLab gave up listing the changed files".to_owned())
        } else if listed >= MOST_TRUSTED {
            Some(format!("GitLab listed {listed} changed files, and there may be more"))
        } else {
            None
        };
        let paths =
            diffs.into_iter().flatten().flat_map(|diff| [diff.old_path, diff.new_path]).flatten();
        Self {
            paths: paths.collect(),
            why_incomplete: why,
            commit_count: commits.len(),
            line: commit.map(CommitLine::from).unwrap_or_default(),
        }
    }
}

impl Client {
    /// What changed from one commit to another; none when the repository lacks one of them.
    /// `straight` compares the two (a push); otherwise `from` is replaced by the merge base
    /// (what `to` would change if merged). `from` is a commit or a branch's name, which saves
    /// asking for its head.
    pub async fn compare(
        &self,
        project: ProjectId,
        from: impl AsRef<str>,
        to: &CommitSha,
        straight: bool,
    ) -> Result<Option<Compare>, Error> {
        let call = Call::project(Method::GET, project, &["repository", "compare"])
            .query("from", from.as_ref())
            .query("to", to)
            .query("straight", straight);
        let what = Thing::Comparison.of(project);
        let body = self.unless_absent(what, self.bytes(call.clone()), self.bytes(call)).await?;
        let Some(body) = body else { return Ok(None) };
        let Some(body) = body else {
            return Ok(Some(Compare {
                paths: BTreeSet::new(),
                why_incomplete: Some("GitLab's comparison is too large to read".to_owned()),
                commit_count: 0,
                line: CommitLine::default(),
            }));
        };
        self.decode::<Answer>(Some(&body)).map(|answer| Some(answer.into()))
    }

    /// The same, which may be some seconds old: a push and its merge request ask for it one after the
    /// other. Where `from` is a branch, that may have moved meanwhile, as it may after any decision.
    pub async fn compare_lately(
        &self,
        project: ProjectId,
        from: &str,
        to: &CommitSha,
        straight: bool,
    ) -> Result<Option<Compare>, Error> {
        let asked = (project, from.to_owned(), to.clone(), straight);
        if let Some(found) = self.recent().comparisons.find(&asked, self.now()) {
            return Ok(Some(found));
        }
        let found = self.compare(project, from, to, straight).await?;
        // GitLab may list more the next time.
        if let Some(found) = found.as_ref().filter(|found| found.why_incomplete.is_none()) {
            self.recent().comparisons.keep(asked, self.now(), found.clone());
        }
        Ok(found)
    }

    /// The newest commit that two have in their histories; none when there is none, or the
    /// repository lacks one of them. `from` is a commit or a branch's name.
    pub async fn merge_base(
        &self,
        project: ProjectId,
        from: &str,
        to: &CommitSha,
    ) -> Result<Option<CommitSha>, Error> {
        let call = Call::project(Method::GET, project, &["repository", "merge_base"])
            .query("refs[]", from)
            .query("refs[]", to);
        match self.find::<Commit>(Thing::MergeBase.of(project), call).await {
            Ok(found) => Ok(found.map(|commit| commit.id)),
            Err(Error::Refused { message, .. }) if message.contains("Could not find ref") => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Compare {
        serde_json::from_str::<Answer>(json).unwrap().into()
    }

    #[test]
    fn both_names_of_a_rename_count() {
        let compare = read(
            r#"{"commits":[{"id":"x"},{"id":"y"}],"commit":{"id":"y","title":"Two","author_name":null},
            "compare_timeout":false,"compare_same_ref":false,
            "diffs":[{"old_path":"a/x.tf","new_path":"b/x.tf","renamed_file":true,"diff":""},
            {"old_path":"c","new_path":"c","too_large":true,"collapsed":true}]}"#,
        );
        assert_eq!(Vec::from_iter(&compare.paths), ["a/x.tf", "b/x.tf", "c"]);
        assert_eq!(compare.why_incomplete, None, "cut patches do not matter, names do");
        assert_eq!((compare.commit_count, &*compare.line.title), (2, "Two"));
    }

    #[test]
    fn every_sign_of_a_cut_list_is_heard() {
        for json in [
            r#"{"diffs":[],"commits":[],"compare_timeout":true}"#,
            r#"{"diffs":[],"overflow":true}"#,
            r#"{"diffs":null}"#,
            r#"{"commits":[]}"#,
            r#"{"diffs":[{"old_path":null,"new_path":""}]}"#,
        ] {
            assert!(read(json).why_incomplete.is_some(), "{json}");
        }
        let many = |count| {
            let diffs: Vec<String> =
                (0..count).map(|i| format!(r#"{{"old_path":"{i}","new_path":"{i}"}}"#)).collect();
            read(&format!(r#"{{"diffs":[{}]}}"#, diffs.join(",")))
        };
        assert_eq!(many(999).why_incomplete, None);
        assert!(many(1000).why_incomplete.is_some());
        let same = read(r#"{"diffs":[],"commits":null,"compare_same_ref":true}"#);
        assert_eq!(same.why_incomplete, None);
    }
}
