//! Messages of a stack: they make and move its runs, one at a time.

use super::{Command, MessageIds, NotStarted, Routing, json};
use crate::QueueName;
use gantry_domain::{
    CommitSha, EventId, MergeRequestIid, RunId, StackId,
    approval::Person,
    ids::short_digest,
    module::Packed,
    protocol::Report,
    run::{Interest, Trigger},
};
use serde::{Deserialize, Serialize};

/// A message of `events.fifo` that is ordered with the others of its stack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum StackMessage {
    /// An event asks a stack for a run.
    Trigger {
        /// The stack.
        stack: StackId,
        /// The event that was decided.
        event: EventId,
        /// What to run.
        trigger: Box<Trigger>,
    },
    /// A branch or merge request is no longer interested in a run.
    #[serde(rename = "unwant")]
    Release {
        /// The run's stack.
        stack: StackId,
        /// The run.
        run: RunId,
        /// What was interested in it.
        #[serde(rename = "want")]
        interest: Interest,
        /// The event that ended the interest.
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
        /// The name of the key that was used, or the person, as people read it.
        actor: String,
        /// The person at GitLab, where one asks: signed in, or with a key that they made.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        person: Option<Person>,
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
    /// The run was given a slot.
    Grant {
        /// The run's stack.
        stack: StackId,
        /// The run.
        run: RunId,
        /// The number of this grant: a slot granted again has another one.
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
        /// What the cloud, or this machine, said.
        words: String,
    },
    /// The archive of a run's commit is there, or cannot be had.
    Fetched {
        /// The run's stack.
        stack: StackId,
        /// The run that waits for it, or will.
        run: RunId,
        /// It is there.
        is_there: bool,
        /// And was not, before this run asked for it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_new: bool,
        /// The commit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        commit: Option<CommitSha>,
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
    /// A time of a stack's own may have come, or its settings ask for others.
    TimerDue {
        /// The stack.
        stack: StackId,
        /// Tells this nudge apart.
        version: u64,
    },
    /// A deploy was applied: plans of open merge requests that are older are made again, a few with
    /// each message.
    Replan {
        /// The stack.
        stack: StackId,
        /// The deploy.
        run: RunId,
        /// The last merge request that was looked at; none at first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<MergeRequestIid>,
        /// How often all of them were looked at before, because GitLab could not say of each whether
        /// it can be merged.
        #[serde(default, skip_serializing_if = "is_zero")]
        round: u32,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl StackMessage {
    fn stack(&self) -> &StackId {
        match self {
            Self::Trigger { stack, .. }
            | Self::Release { stack, .. }
            | Self::Command { stack, .. }
            | Self::Report { stack, .. }
            | Self::Grant { stack, .. }
            | Self::RunDue { stack, .. }
            | Self::NotStarted { stack, .. }
            | Self::Fetched { stack, .. }
            | Self::Packaged { stack, .. }
            | Self::StackDue { stack, .. }
            | Self::TimerDue { stack, .. }
            | Self::Replan { stack, .. } => stack,
        }
    }
}

impl Routing for StackMessage {
    fn queue(&self) -> QueueName {
        QueueName::Events
    }

    fn kind(&self) -> &'static str {
        self.into()
    }

    fn group(&self) -> Option<String> {
        Some(format!("stack:{}", self.stack()))
    }

    fn occasion(&self) -> String {
        match self {
            // One event can ask a stack for two runs, or add two interests to one.
            Self::Trigger { stack, event, trigger } => {
                let Trigger { run_type, key, interest, .. } = &**trigger;
                let what = short_digest(&[&run_type.to_string(), key, &json(interest)]);
                format!("{event}.{stack}.{what}")
            }
            Self::Release { event, run, interest, .. } => {
                format!("unwant.{event}.{run}.{}", short_digest(&[&json(interest)]))
            }
            Self::Command { request, .. } => format!("command.{request}"),
            Self::Report { run, attempt, report, .. } => {
                format!("report.{run}.{attempt}.{}", report.sequence)
            }
            Self::Grant { run, grant, .. } => format!("grant.{run}.{grant}"),
            Self::RunDue { run, version, .. } => format!("due.{run}.{version}"),
            // What is said of it may become another, while it is tried again.
            Self::NotStarted { run, attempt, why: NotStarted::Delayed, words, .. } => {
                format!("not-started.{run}.{attempt}.delayed.{}", short_digest(&[words.as_str()]))
            }
            Self::NotStarted { run, attempt, why, .. } => {
                format!("not-started.{run}.{attempt}.{}", <&str>::from(why))
            }
            Self::Fetched { run, cause, .. } => format!("fetched.{run}.{cause}"),
            Self::Packaged { run, .. } => format!("packaged.{run}"),
            Self::StackDue { stack, version } => format!("stack-due.{stack}.{version}"),
            Self::TimerDue { stack, version } => format!("timer-due.{stack}.{version}"),
            Self::Replan { run, after, round, .. } => {
                let after = after.map(|iid| iid.to_string()).unwrap_or_default();
                format!("replan.{run}.{after}.{round}")
            }
        }
    }

    fn ids(&self) -> MessageIds<'_> {
        let of_stack = MessageIds { stack: Some(self.stack()), ..MessageIds::default() };
        match self {
            Self::Trigger { event, trigger, .. } => {
                MessageIds { event: Some(event), commit: Some(&trigger.commit), ..of_stack }
            }
            Self::Release { run, event, .. } => {
                MessageIds { event: Some(event), run: Some(run), ..of_stack }
            }
            Self::Command { request, .. } => MessageIds { event: Some(request), ..of_stack },
            Self::Report { run, .. }
            | Self::Grant { run, .. }
            | Self::RunDue { run, .. }
            | Self::NotStarted { run, .. }
            | Self::Fetched { run, .. }
            | Self::Packaged { run, .. }
            | Self::Replan { run, .. } => MessageIds { run: Some(run), ..of_stack },
            Self::StackDue { .. } | Self::TimerDue { .. } => of_stack,
        }
    }
}
