//! What travels through the queues.
//!
//! Messages are nudges: they carry ids, and the handler reads what is true now. Each knows its
//! own queue, group and deduplication id, so that no sender can get them wrong.
//!
//! A body is an [`Envelope`] in JSON. Readers ignore fields they do not know, and new fields get
//! a default, so that a rolling deployment never meets a message that it cannot read; what that
//! cannot express raises [`VERSION`], and the reader of version N also reads N−1. The files in
//! `golden/` are bodies as earlier builds wrote them.

use crate::QueueName;
use gantry_domain::{
    CommitSha, EventId, MergeRequestIid, ProjectId, RunId, StackId,
    event::{EventSource, Hook},
    ids::short_digest,
    protocol::Report,
    run::{Phase, RunType, Want},
};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
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
        serde_json::to_string(self).unwrap_or_default()
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
        /// The project.
        project: ProjectId,
        /// The commit.
        commit: CommitSha,
        /// What made it necessary: an archive that expired is asked for again.
        cause: String,
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

/// What an event asks a stack to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trigger {
    /// The type.
    pub run_type: RunType,
    /// What makes it the same run when asked for again.
    pub key: String,
    /// The commit.
    pub commit: CommitSha,
    /// The branch or tag, a bare name.
    pub git_ref: String,
    /// The stack's tracked branch when it was decided.
    pub tracked_branch: String,
    /// The source project, when it is not the stack's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fork_of: Option<ProjectId>,
    /// What wants a proposed run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub want: Option<Want>,
    /// How many stacks the event touches.
    pub stacks_touched: u32,
    /// Why, in one line for people.
    pub reason: String,
    /// Who asked, when a person did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// What a person can ask of a stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Command {
    /// Apply the plan that was shown.
    Confirm {
        /// The run.
        run: RunId,
    },
    /// Do not apply the plan.
    Discard {
        /// The run.
        run: RunId,
    },
    /// End the run.
    Stop {
        /// The run.
        run: RunId,
    },
    /// Run the same again, as a new run.
    Retry {
        /// The run.
        run: RunId,
        /// Also when its commit already has an answer.
        force: bool,
    },
    /// Discard the unconfirmed run and all queued ones but the newest.
    CatchUp,
    /// Let the stack run again after a lost apply.
    Unblock {
        /// What the person found.
        reason: String,
    },
    /// Start a run.
    Trigger {
        /// The type.
        run_type: RunType,
        /// A commit of the tracked branch; its live head when empty.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        commit: Option<CommitSha>,
    },
}

/// The secret with which a runner takes a phase. `Debug` shows nothing of it.
#[derive(Debug, Clone)]
pub struct ClaimToken(SecretString);

impl ClaimToken {
    /// The token itself.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl From<String> for ClaimToken {
    fn from(token: String) -> Self {
        Self(token.into())
    }
}

impl PartialEq for ClaimToken {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Serialize for ClaimToken {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.expose())
    }
}

impl<'de> Deserialize<'de> for ClaimToken {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

/// The ids that a message names, to search logs by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the id that it is named for")]
pub struct MessageIds<'a> {
    pub event: Option<&'a EventId>,
    pub project: Option<ProjectId>,
    pub stack: Option<&'a StackId>,
    pub run: Option<&'a RunId>,
    pub commit: Option<&'a CommitSha>,
}

impl Message {
    /// The queue it belongs to.
    pub fn queue(&self) -> QueueName {
        match self {
            Self::Hook { .. }
            | Self::Compare { .. }
            | Self::StackChanged { .. }
            | Self::Trigger { .. }
            | Self::Unwant { .. }
            | Self::Command { .. }
            | Self::Report { .. }
            | Self::Grant { .. }
            | Self::RunDue { .. }
            | Self::StackDue { .. }
            | Self::Dispatch { .. }
            | Self::Sweep { .. } => QueueName::Events,
            Self::Fetch { .. } => QueueName::Source,
            Self::Status { .. } | Self::Note { .. } | Self::Environment { .. } => {
                QueueName::Feedback
            }
            Self::Start { .. } => QueueName::Starts,
            Self::Resend { .. } => QueueName::Later,
        }
    }

    /// What it is ordered with; none on standard queues. At most 128 ASCII characters.
    pub fn group(&self) -> Option<String> {
        let group = match self {
            Self::Hook { hook, .. } => match hook.project() {
                Some(project) => format!("proj:{project}"),
                None => "proj:none".to_owned(),
            },
            Self::Compare { project, .. } | Self::StackChanged { project, .. } => {
                format!("proj:{project}")
            }
            Self::Trigger { stack, .. }
            | Self::Unwant { stack, .. }
            | Self::Command { stack, .. }
            | Self::Report { stack, .. }
            | Self::Grant { stack, .. }
            | Self::RunDue { stack, .. }
            | Self::StackDue { stack, .. } => format!("stack:{stack}"),
            Self::Dispatch { .. } => "room".to_owned(),
            Self::Sweep { .. } => "sweep".to_owned(),
            Self::Fetch { project, .. } => format!("src:{project}"),
            Self::Status { project, commit, .. } => format!("status:{project}:{commit}"),
            Self::Note { project, iid, .. } => format!("note:{project}:{iid}"),
            Self::Environment { stack, .. } => format!("env:{stack}"),
            Self::Start { .. } | Self::Resend { .. } => return None,
        };
        Some(at_most_128(group))
    }

    /// What made it necessary: a second message with the same id within five minutes is not
    /// delivered. None on standard queues. At most 128 ASCII characters.
    pub fn dedup_id(&self) -> Option<String> {
        self.queue().is_fifo().then(|| at_most_128(self.occasion()))
    }

    fn occasion(&self) -> String {
        match self {
            Self::Hook { event, .. } => format!("hook.{event}"),
            Self::Compare { project, cause } => format!("compare.{project}.{cause}"),
            Self::StackChanged { stack, cause, .. } => format!("changed.{stack}.{cause}"),
            // One event can ask a stack for two runs, or add two wants to one.
            Self::Trigger { stack, event, trigger } => {
                let Trigger { run_type, key, want, .. } = trigger;
                let what = short_digest(&[&run_type.to_string(), key, &format!("{want:?}")]);
                format!("{event}.{stack}.{what}")
            }
            Self::Unwant { event, run, want, .. } => {
                format!("unwant.{event}.{run}.{}", short_digest(&[&format!("{want:?}")]))
            }
            Self::Command { request, .. } => format!("command.{request}"),
            Self::Report { run, attempt, report, .. } => {
                format!("report.{run}.{attempt}.{}", report.sequence)
            }
            Self::Grant { run, grant, .. } => format!("grant.{run}.{grant}"),
            Self::RunDue { run, version, .. } => format!("due.{run}.{version}"),
            Self::StackDue { stack, version } => format!("stack-due.{stack}.{version}"),
            Self::Dispatch { cause } => format!("dispatch.{cause}"),
            Self::Sweep { cause } => format!("sweep.{cause}"),
            Self::Fetch { project, commit, cause } => format!("fetch.{project}.{commit}.{cause}"),
            Self::Status { project, commit, want } => format!("status.{project}.{commit}.{want}"),
            Self::Note { project, iid, want } => format!("note.{project}.{iid}.{want}"),
            Self::Environment { stack, want } => format!("env.{stack}.{want}"),
            Self::Start { run, attempt, .. } => format!("start.{run}.{attempt}"),
            Self::Resend { message, cause } => format!("again.{cause}.{}", message.occasion()),
        }
    }

    /// The message's name, for logs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Hook { .. } => "hook",
            Self::Compare { .. } => "compare",
            Self::StackChanged { .. } => "stack_changed",
            Self::Trigger { .. } => "trigger",
            Self::Unwant { .. } => "unwant",
            Self::Command { .. } => "command",
            Self::Report { .. } => "report",
            Self::Grant { .. } => "grant",
            Self::RunDue { .. } => "run_due",
            Self::StackDue { .. } => "stack_due",
            Self::Dispatch { .. } => "dispatch",
            Self::Sweep { .. } => "sweep",
            Self::Fetch { .. } => "fetch",
            Self::Status { .. } => "status",
            Self::Note { .. } => "note",
            Self::Environment { .. } => "environment",
            Self::Start { .. } => "start",
            Self::Resend { .. } => "resend",
        }
    }

    /// The ids it names.
    pub fn ids(&self) -> MessageIds<'_> {
        let none = MessageIds::default();
        match self {
            Self::Hook { event, hook, .. } => {
                MessageIds { event: Some(event), project: hook.project(), ..none }
            }
            Self::Compare { project, .. } | Self::Note { project, .. } => {
                MessageIds { project: Some(*project), ..none }
            }
            Self::StackChanged { project, stack, .. } => {
                MessageIds { project: Some(*project), stack: Some(stack), ..none }
            }
            Self::Trigger { stack, event, trigger } => MessageIds {
                event: Some(event),
                stack: Some(stack),
                commit: Some(&trigger.commit),
                ..none
            },
            Self::Unwant { stack, run, event, .. } => {
                MessageIds { event: Some(event), stack: Some(stack), run: Some(run), ..none }
            }
            Self::Command { stack, request, .. } => {
                MessageIds { event: Some(request), stack: Some(stack), ..none }
            }
            Self::Report { stack, run, .. }
            | Self::Grant { stack, run, .. }
            | Self::RunDue { stack, run, .. }
            | Self::Start { stack, run, .. } => {
                MessageIds { stack: Some(stack), run: Some(run), ..none }
            }
            Self::StackDue { stack, .. } | Self::Environment { stack, .. } => {
                MessageIds { stack: Some(stack), ..none }
            }
            Self::Fetch { project, commit, .. } | Self::Status { project, commit, .. } => {
                MessageIds { project: Some(*project), commit: Some(commit), ..none }
            }
            Self::Dispatch { .. } | Self::Sweep { .. } => none,
            Self::Resend { message, .. } => message.ids(),
        }
    }
}

/// SQS takes 1 to 128 characters of ASCII letters, digits and punctuation; anything else is
/// replaced by its digest.
pub(crate) fn at_most_128(id: String) -> String {
    if id.len() <= 128 && !id.is_empty() && id.bytes().all(|b| b.is_ascii_graphic()) {
        id
    } else {
        format!("digest.{}", short_digest(&[&id]))
    }
}
