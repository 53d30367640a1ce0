//! Commands in comments: `/gantry plan network` on a line of a merge request's comment.
//!
//! [`commands`] finds them, [`decide`] says what stacks are asked for them, and
//! [`crate::text::answer`] what their author is told. Who wrote the comment, and what they are in the
//! project, is read from GitLab before.

mod decide;
mod parse;
#[cfg(test)]
mod tests;

pub use decide::{Facts, RunFacts, StackFacts, decide};
pub use parse::{Command, Found, Line, commands, digest, may_hold_command};

use crate::{
    CommitSha, EventId, MergeRequestIid, ProjectId, RunId, StackId, StackSlug, rights::Level,
};
use serde::{Deserialize, Serialize};

/// What every command begins with.
pub const WORD: &str = "/gantry";
/// The most commands of one comment.
pub const MOST_COMMANDS: usize = 5;
/// The most stacks that one command asks.
pub const MOST_STACKS: usize = 50;
/// The most stacks that one reply lists.
pub const MOST_LISTED: usize = 20;

/// Where a comment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The merge request's project.
    pub project: ProjectId,
    /// The merge request.
    pub iid: MergeRequestIid,
    /// GitLab's id of the comment.
    pub note: u64,
}

/// What the ids of requests begin with that comments make; nobody else may choose one.
const REQUESTS: &str = "comment:";

impl Place {
    /// The id of one of the requests that the comment makes: the same one each time.
    pub fn request(&self, number: usize) -> EventId {
        let Self { project, iid, note } = self;
        EventId::from_untrusted(&format!("{REQUESTS}{project}:{iid}:{note}:{number}"))
    }

    /// The comment that made a request, if one did.
    pub fn of_request(request: &EventId) -> Option<Self> {
        let numbers = request.as_str().strip_prefix(REQUESTS)?.split(':');
        let numbers: Vec<u64> = numbers.map(|part| part.parse().ok()).collect::<Option<_>>()?;
        let [project, iid, note, _] = numbers.as_slice() else { return None };
        Some(Self { project: ProjectId(*project), iid: MergeRequestIid(*iid), note: *note })
    }
}

/// The id of a request that somebody chose: never one that a comment makes.
pub fn chosen_request(text: &str) -> EventId {
    match text.starts_with(REQUESTS) {
        true => EventId::derive("id", &[text]),
        false => EventId::from_untrusted(text),
    }
}

/// What became of one command of a comment, as it is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// The command, as it was written.
    pub line: String,
    /// What is told at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<Reply>,
    /// What was not asked, and why not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Refused>,
    /// What stacks are asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<Asked>,
}

/// What is told at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Reply {
    /// Which commands there are.
    Help {
        /// The command was none of them.
        unknown: bool,
        /// What previews take.
        preview: Level,
        /// What deploys take.
        deploy: Level,
        /// Stacks of the project that take commands.
        stacks: Vec<StackSlug>,
        /// And how many more.
        more: usize,
    },
    /// Why something runs, or does not.
    Why {
        /// What was decided for each stack.
        stacks: Vec<Why>,
        /// And for how many more.
        more: usize,
    },
}

/// What was decided for a stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// The stack.
    pub stack: StackSlug,
    /// Something runs for it.
    pub runs: bool,
    /// Why, or why not.
    pub reason: String,
}

/// What was not asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The stack that it was about, where it was about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<StackSlug>,
    /// Why not, in words for whoever wrote the comment.
    pub why: String,
}

/// What a stack is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The stack.
    pub stack: StackId,
    /// Its slug.
    pub slug: StackSlug,
    /// The request's id.
    pub request: EventId,
    /// What it is to do.
    pub action: Action,
}

/// What a stack is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Action {
    /// Preview a commit that no run was made for.
    Start {
        /// The commit.
        commit: CommitSha,
        /// The branch that has it.
        branch: String,
    },
    /// Preview again what a run has previewed.
    Retry {
        /// The run.
        run: RunId,
    },
    /// Apply the plan that was shown.
    Confirm {
        /// The run.
        run: RunId,
    },
    /// Do not apply it.
    Discard {
        /// The run.
        run: RunId,
    },
    /// End the run.
    Stop {
        /// The run.
        run: RunId,
    },
    /// Run again after a lost apply.
    Unblock {
        /// What the person found.
        reason: String,
    },
}
