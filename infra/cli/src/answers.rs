//! What the API answers, as far as the commands read it. Fields and words that are not known are
//! let pass: a newer Gantry may have more of them.

use jiff::Timestamp;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A run in a list.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct RunSummary {
    pub(crate) id: String,
    /// None where an older Gantry does not tell it.
    pub(crate) number: Option<u64>,
    pub(crate) stack: String,
    #[serde(rename = "type")]
    pub(crate) kind: Kind,
    /// It is a module's, which its tests carry out.
    #[serde(default)]
    pub(crate) module: bool,
    pub(crate) state: State,
    pub(crate) commit: String,
    pub(crate) git_ref: String,
    pub(crate) reason: String,
    pub(crate) by: Option<String>,
    /// None where somebody pushed something, or started a usual run.
    pub(crate) purpose: Option<Purpose>,
    /// Whoever uploaded its code, where that is no commit's.
    pub(crate) uploaded_by: Option<String>,
    pub(crate) delta: Option<Delta>,
    /// Checks that failed when they were last looked at.
    #[serde(default)]
    pub(crate) failing_checks: u64,
    pub(crate) applied: bool,
    /// One line on how it ended other than well.
    pub(crate) summary: Option<String>,
    pub(crate) created_at: Timestamp,
    pub(crate) since: Timestamp,
    pub(crate) page: Option<String>,
}

/// A run.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Run {
    #[serde(flatten)]
    pub(crate) summary: RunSummary,
    pub(crate) waits_for: Option<String>,
    pub(crate) stop_asked: Option<String>,
    #[serde(default)]
    pub(crate) options: Options,
    /// What differs and may.
    #[serde(default)]
    pub(crate) tolerated: u64,
    #[serde(default)]
    pub(crate) autodeploy: bool,
    /// None where no rule asks for anything.
    pub(crate) approval: Option<Approval>,
    #[serde(default)]
    pub(crate) reviews: Vec<Review>,
    #[serde(default)]
    pub(crate) lost: bool,
    pub(crate) ending: Option<Ending>,
    #[serde(default)]
    pub(crate) warnings: Vec<Warning>,
    pub(crate) change: Option<ChangeSummary>,
    #[serde(default)]
    pub(crate) actions: Vec<String>,
    #[serde(default)]
    pub(crate) refused_by_gitlab: Vec<String>,
}

impl RunSummary {
    /// How people call it: `network#6`.
    pub(crate) fn name(&self) -> String {
        match self.number {
            Some(number) => format!("{}#{number}", self.stack),
            None => self.id.clone(),
        }
    }

    /// What it executes: a commit, or what somebody uploaded.
    pub(crate) fn code(&self) -> String {
        let commit = self.short_commit();
        match &self.uploaded_by {
            Some(by) => format!("Uploaded by {by}, based on {commit}"),
            None => commit.to_owned(),
        }
    }

    /// It looks for what was changed elsewhere.
    pub(crate) fn is_drift(&self) -> bool {
        self.purpose == Some(Purpose::Drift)
    }

    /// Such a look has found something.
    pub(crate) fn has_drifted(&self) -> bool {
        self.is_drift() && self.delta.is_some_and(|delta| delta != Delta::default())
    }

    /// It executes a command, and plans nothing.
    pub(crate) fn is_task(&self) -> bool {
        matches!(self.purpose, Some(Purpose::Task { .. }))
    }

    /// The first digits of its commit.
    pub(crate) fn short_commit(&self) -> &str {
        self.commit.get(..8).unwrap_or(&self.commit)
    }
}

impl Run {
    pub(crate) fn may(&self, action: &str) -> bool {
        self.actions.iter().any(|known| known == action)
    }
}

/// What a run is for that nobody pushed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Purpose {
    Drift,
    Schedule {
        name: String,
    },
    Task {
        command: String,
        schedule: Option<String>,
    },
    Replan,
    #[serde(other)]
    Other,
}

/// How a run plans.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Options {
    pub(crate) mode: String,
    pub(crate) targets: Vec<String>,
    pub(crate) replace: Vec<String>,
    pub(crate) variables: Vec<OneOff>,
}

/// A variable of one run.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct OneOff {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) secret: bool,
}

/// What the rules about who confirms came to when they were last read.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Approval {
    pub(crate) message: String,
}

/// What somebody decided about a plan.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Review {
    pub(crate) by: Reviewer,
    pub(crate) decision: String,
    pub(crate) comment: Option<String>,
}

/// Somebody who decided.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Reviewer {
    pub(crate) username: String,
}

/// What a run is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Proposed,
    Tracked,
    Test,
    #[serde(other)]
    Other,
}

/// Where a run is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    Queued,
    Preparing,
    Initializing,
    Planning,
    Unconfirmed,
    Confirmed,
    Applying,
    Destroying,
    Testing,
    Finished,
    Failed,
    Stopped,
    Canceled,
    Discarded,
    #[serde(other)]
    Other,
}

impl State {
    /// Nothing comes after it.
    pub(crate) fn is_final(self) -> bool {
        matches!(
            self,
            Self::Finished | Self::Failed | Self::Stopped | Self::Canceled | Self::Discarded
        )
    }
}

/// Counts of what a plan would do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Delta {
    pub(crate) add: u64,
    pub(crate) change: u64,
    pub(crate) destroy: u64,
    pub(crate) import: u64,
    #[serde(rename = "move")]
    pub(crate) moved: u64,
    pub(crate) forget: u64,
    pub(crate) invoke: u64,
    pub(crate) outputs: u64,
}

/// What a plan found, in numbers.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ChangeSummary {
    pub(crate) tool: Option<String>,
    pub(crate) errored: bool,
    pub(crate) partial: bool,
    pub(crate) remarks: Vec<String>,
    pub(crate) drift: u64,
    pub(crate) deferred: u64,
    pub(crate) failing_checks: u64,
    pub(crate) tool_warnings: u64,
}

/// Why a run ended other than well.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Ending {
    pub(crate) summary: String,
    #[serde(default)]
    pub(crate) errors: Vec<String>,
    /// Somebody stopped its apply. An older Gantry does not tell it.
    #[serde(default)]
    pub(crate) interrupted: bool,
}

/// What the tool warns of.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Warning {
    pub(crate) summary: String,
    pub(crate) place: Option<String>,
    #[serde(default)]
    pub(crate) count: u64,
}

/// A stack in a list.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Stack {
    pub(crate) slug: String,
    pub(crate) project_path: String,
    pub(crate) branch: String,
    pub(crate) status: StackStatus,
}

/// How a stack is.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct StackStatus {
    pub(crate) detached: Option<String>,
    pub(crate) blocked: Option<Blocked>,
    #[serde(default)]
    pub(crate) branch_missing: bool,
    pub(crate) tracked_run: Option<String>,
    #[serde(default)]
    pub(crate) applying: bool,
    /// The deploy that failed, where none has succeeded since.
    pub(crate) failed: Option<String>,
    pub(crate) last_applied: Option<LastApplied>,
    /// None where nobody has looked.
    pub(crate) drift: Option<StackDrift>,
}

/// What was changed elsewhere.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct StackDrift {
    /// How much differs.
    #[serde(default)]
    pub(crate) found: u64,
}

/// Why no deploy of a stack starts.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Blocked {
    /// The run whose result is unknown.
    pub(crate) run: String,
    pub(crate) reason: String,
    pub(crate) since: Timestamp,
}

/// The last apply of a stack.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct LastApplied {
    pub(crate) at: Timestamp,
}

/// Where an archive is uploaded to.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct UploadPlace {
    /// A signed address; none where the API itself takes it.
    pub(crate) url: Option<String>,
    /// What has to come with it there.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
}

/// Something that was asked for.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Command {
    pub(crate) request: String,
    /// None while it is not decided.
    pub(crate) done: Option<bool>,
    pub(crate) message: Option<String>,
    pub(crate) run: Option<String>,
}

/// A part of a log.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct LogPart {
    pub(crate) pieces: Vec<LogPiece>,
    pub(crate) next: Option<String>,
    pub(crate) more: bool,
}

/// What a runner sent at once.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct LogPiece {
    pub(crate) text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_fields_of_a_newer_gantry_are_let_pass() {
        let run: RunSummary = serde_json::from_value(serde_json::json!({
            "id": "r-1", "number": 6, "stack": "network", "type": "drift", "state": "pondering",
            "commit": "4f1c2ab09d3e57f6a8b1c0d2e3f405162738495a", "git_ref": "main",
            "reason": "push to main", "by": null, "delta": { "add": 1, "teleport": 2 },
            "applied": false, "summary": null, "created_at": "2026-03-02T09:30:00Z",
            "since": "2026-03-02T09:31:40Z", "page": null, "mood": "good",
        }))
        .unwrap();
        assert_eq!((run.kind, run.state), (Kind::Other, State::Other));
        assert_eq!(run.purpose, None);
        let purpose = serde_json::json!({ "kind": "audit", "of": { "x": [1] } });
        let purpose: Purpose = serde_json::from_value(purpose).unwrap();
        assert_eq!(purpose, Purpose::Other);
        assert!(!run.state.is_final());
        assert_eq!((run.name().as_str(), run.short_commit()), ("network#6", "4f1c2ab0"));
        assert_eq!(run.code(), "4f1c2ab0");
        let uploaded = RunSummary { uploaded_by: Some("ada".to_owned()), ..run.clone() };
        assert_eq!(uploaded.code(), "Uploaded by ada, based on 4f1c2ab0");
        let older = RunSummary { number: None, ..run };
        assert_eq!(older.name(), "r-1");
    }
}
