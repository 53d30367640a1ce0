//! What travels through the queues.
//!
//! Messages are nudges: they carry ids, and the handler reads what is true now. Each knows its
//! own queue, group and deduplication id, so that no sender can get them wrong.
//!
//! A body is an [`Envelope`] in JSON. Readers ignore fields they do not know, and new fields get
//! a default, so that a rolling deployment never meets a message that it cannot read; what that
//! cannot express raises [`VERSION`], and the reader of version N also reads N−1. The files in
//! `golden/` are bodies as earlier builds wrote them.

mod parts;
mod routing;

pub use parts::{ClaimToken, Command, NotStarted};
pub use routing::MessageIds;

pub(crate) use routing::at_most_128;

use gantry_domain::{
    CommitSha, EventId, MergeRequestIid, ProjectId, Repository, RunId, StackId,
    event::{EventSource, Hook},
    module::Packed,
    protocol::Report,
    run::{Phase, Trigger, Want},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The version that this code writes.
pub const VERSION: u32 = 1;

/// A message with what every message has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope<M = Message> {
    /// The version of the message's form.
    pub v: u32,
    /// How many messages led to this one.
    #[serde(default)]
    pub hops: u32,
    /// When it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
    /// The message.
    pub message: M,
}

/// A body that is no message. The text names the place, never the content.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// It is not JSON, or not of a known form.
    #[error("the message cannot be read: {0}")]
    Malformed(String),
    /// It was written by a build that is newer, or older than the last one.
    #[error("the message has version {0}, this build reads {VERSION}")]
    Version(u32),
}

impl Envelope {
    /// The body as it is sent.
    pub fn to_body(&self) -> String {
        // Serializing can only fail for maps without string keys, and there is no map in here.
        let json = serde_json::to_string(self).unwrap_or_default();
        // All that a text in JSON can hold as it is and a queue does not take.
        json.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff")
    }

    /// Reads a body of this version or the one before.
    pub fn from_body(body: &str) -> Result<Self, ParseError> {
        #[derive(Deserialize)]
        struct Version {
            v: u32,
        }
        let malformed = |error: serde_json::Error| {
            // Its own text may quote the body.
            ParseError::Malformed(format!(
                "{:?} error at column {}",
                error.classify(),
                error.column()
            ))
        };
        let Version { v } = serde_json::from_str(body).map_err(malformed)?;
        match v {
            VERSION => serde_json::from_str(body).map_err(malformed),
            other => Err(ParseError::Version(other)),
        }
    }
}

/// Every message of every queue.
///
/// `cause` fields name what made the message necessary (`<run>.<state>`, a tick of the timer):
/// the same cause twice within five minutes is one message, a new cause is a new message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Message {
    // events.fifo
    /// GitLab called, or comparing found what a call would have said.
    Hook {
        /// The delivery.
        event: EventId,
        /// When it was taken in.
        received_at: Timestamp,
        /// Where it came from.
        source: EventSource,
        /// What it says.
        hook: Hook,
    },
    /// Compare what Gantry knows of a project with what GitLab has.
    Compare {
        /// The project.
        project: ProjectId,
        /// What made it necessary.
        cause: String,
    },
    /// A stack was made, edited or deleted.
    StackChanged {
        /// The stack's project.
        project: ProjectId,
        /// The stack.
        stack: StackId,
        /// What made it necessary: the request's id.
        cause: String,
    },
    /// An event asks a stack for a run.
    Trigger {
        /// The stack.
        stack: StackId,
        /// The event that was decided.
        event: EventId,
        /// What to run.
        trigger: Trigger,
    },
    /// A branch or merge request no longer wants a run.
    Unwant {
        /// The run's stack.
        stack: StackId,
        /// The run.
        run: RunId,
        /// What wanted it.
        want: Want,
        /// The event that ended the want.
        event: EventId,
        /// Why, for people (`merge request !12 was merged`).
        because: String,
    },
    /// A person asks for something.
    Command {
        /// The stack.
        stack: StackId,
        /// The request: the same one twice is one command.
        request: EventId,
        /// The name of the key that was used.
        actor: String,
        /// What is asked.
        command: Command,
    },
    /// A runner says what happened.
    Report {
        /// The run's stack.
        stack: StackId,
        /// The run.
        run: RunId,
        /// The attempt that the runner holds.
        attempt: u32,
        /// What happened.
        report: Report,
    },
    /// The dispatcher gives a run a place.
    Grant {
        /// The run's stack.
        stack: StackId,
        /// The run.
        run: RunId,
        /// The room's number of this grant: a place given again has another one.
        grant: u64,
    },
    /// Something about a run is due: a timeout, an outstanding effect.
    RunDue {
        /// The run's stack.
        stack: StackId,
        /// The run.
        run: RunId,
        /// The record's version that was due.
        version: u64,
    },
    /// A runner was not started, or ended before it claimed the phase.
    NotStarted {
        /// The run's stack.
        stack: StackId,
        /// The run.
        run: RunId,
        /// The attempt that was to be started.
        attempt: u32,
        /// How it came.
        why: NotStarted,
        /// The cloud's own words.
        words: String,
    },
    /// The archive of a run's commit is there, or cannot be had.
    Fetched {
        /// The run's stack.
        stack: StackId,
        /// The run that waits for it.
        run: RunId,
        /// It is there.
        is_there: bool,
        /// What made the fetch necessary.
        cause: String,
    },
    /// A module's code was packed, or cannot be.
    Packaged {
        /// The module.
        stack: StackId,
        /// The module's run that asked for it.
        run: RunId,
        /// What became of it.
        packed: Packed,
    },
    /// Something about a stack is due: look whether its next runs may go.
    StackDue {
        /// The stack.
        stack: StackId,
        /// The record's version that was due.
        version: u64,
    },
    /// A run entered the line or a place became free.
    Dispatch {
        /// What made it necessary.
        cause: String,
    },
    /// The timer: find what was lost.
    Sweep {
        /// The tick.
        cause: String,
    },

    // source.fifo
    /// Fetch a commit's archive, unless it is there.
    Fetch {
        /// Where the commit is.
        repository: Repository,
        /// The commit.
        commit: CommitSha,
        /// What made it necessary: an archive that expired is asked for again.
        cause: String,
        /// The run that waits for it, with its stack, and is told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        waits: Option<(StackId, RunId)>,
    },

    /// Pack a module's code for the registry.
    Package {
        /// The module.
        stack: StackId,
        /// The module's run that tested it.
        run: RunId,
        /// Where the commit is.
        repository: Repository,
        /// The commit.
        commit: CommitSha,
        /// The module's folder.
        root: String,
    },

    // feedback.fifo
    /// Bring a commit's statuses and gate up to date.
    Status {
        /// The project.
        project: ProjectId,
        /// The commit.
        commit: CommitSha,
        /// The record's counter when this was sent.
        want: u64,
    },
    /// Bring a merge request's note up to date.
    Note {
        /// The target project.
        project: ProjectId,
        /// The merge request.
        iid: MergeRequestIid,
        /// The record's counter when this was sent.
        want: u64,
    },
    /// Bring a stack's environment and deployments up to date.
    Environment {
        /// The stack.
        stack: StackId,
        /// The record's counter when this was sent.
        want: u64,
    },

    // starts
    /// Start a runner for a phase.
    Start {
        /// The run.
        run: RunId,
        /// Its stack.
        stack: StackId,
        /// What to execute.
        phase: Phase,
        /// The attempt.
        attempt: u32,
        /// What the runner shows to take the phase, once.
        claim_token: ClaimToken,
        /// When the token dies.
        expires_at: Timestamp,
        /// The cloud role that the runner gets, where runners have one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        role: Option<String>,
    },
    /// End the machine of a runner that was lost, or that has not begun and is not needed any more.
    EndRunner {
        /// The run that it was lost with, or started for.
        run: RunId,
        /// The runner's name: the build's id. None when it has not said it.
        runner: Option<String>,
    },

    // later
    /// Send a nudge again, after the delay that this message was sent with.
    Resend {
        /// The nudge.
        message: Box<Message>,
        /// Makes its deduplication id another one than the first time's.
        cause: String,
    },
}
