//! Where each message goes, what it is ordered with, and what it is recognised by.

use super::{Message, Trigger};
use crate::QueueName;
use gantry_domain::{CommitSha, EventId, ProjectId, RunId, StackId, ids::short_digest};

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
            | Self::Packaged { .. }
            | Self::Fetched { .. }
            | Self::NotStarted { .. }
            | Self::Dispatch { .. }
            | Self::Sweep { .. } => QueueName::Events,
            Self::Fetch { .. } | Self::Package { .. } => QueueName::Source,
            Self::Status { .. } | Self::Note { .. } | Self::Environment { .. } => {
                QueueName::Feedback
            }
            Self::Start { .. } | Self::EndRunner { .. } => QueueName::Starts,
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
            | Self::Packaged { stack, .. }
            | Self::Fetched { stack, .. }
            | Self::NotStarted { stack, .. }
            | Self::StackDue { stack, .. } => format!("stack:{stack}"),
            Self::Dispatch { .. } => "room".to_owned(),
            Self::Sweep { .. } => "sweep".to_owned(),
            Self::Fetch { repository, .. } | Self::Package { repository, .. } => {
                format!("src:{}", repository.key())
            }
            Self::Status { project, commit, .. } => format!("status:{project}:{commit}"),
            Self::Note { project, iid, .. } => format!("note:{project}:{iid}"),
            Self::Environment { stack, .. } => format!("env:{stack}"),
            Self::Start { .. } | Self::EndRunner { .. } | Self::Resend { .. } => return None,
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
                let what = short_digest(&[&run_type.to_string(), key, &json(want)]);
                format!("{event}.{stack}.{what}")
            }
            Self::Unwant { event, run, want, .. } => {
                format!("unwant.{event}.{run}.{}", short_digest(&[&json(want)]))
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
            Self::Fetch { repository, commit, cause, .. } => {
                format!("fetch.{}.{commit}.{cause}", repository.key())
            }
            Self::Fetched { run, cause, .. } => format!("fetched.{run}.{cause}"),
            Self::Package { run, .. } => format!("package.{run}"),
            Self::Packaged { run, .. } => format!("packaged.{run}"),
            Self::Status { project, commit, want } => format!("status.{project}.{commit}.{want}"),
            Self::Note { project, iid, want } => format!("note.{project}.{iid}.{want}"),
            Self::Environment { stack, want } => format!("env.{stack}.{want}"),
            Self::NotStarted { run, attempt, why, .. } => {
                format!("not-started.{run}.{attempt}.{}", why.as_str())
            }
            Self::Start { run, attempt, .. } => format!("start.{run}.{attempt}"),
            Self::EndRunner { run, .. } => format!("end-runner.{run}"),
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
            Self::Fetched { .. } => "fetched",
            Self::Package { .. } => "package",
            Self::Packaged { .. } => "packaged",
            Self::Status { .. } => "status",
            Self::Note { .. } => "note",
            Self::Environment { .. } => "environment",
            Self::NotStarted { .. } => "not_started",
            Self::Start { .. } => "start",
            Self::EndRunner { .. } => "end_runner",
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
            | Self::Package { stack, run, .. }
            | Self::Packaged { stack, run, .. }
            | Self::Fetched { stack, run, .. }
            | Self::Grant { stack, run, .. }
            | Self::RunDue { stack, run, .. }
            | Self::NotStarted { stack, run, .. }
            | Self::Start { stack, run, .. } => {
                MessageIds { stack: Some(stack), run: Some(run), ..none }
            }
            Self::StackDue { stack, .. } | Self::Environment { stack, .. } => {
                MessageIds { stack: Some(stack), ..none }
            }
            Self::EndRunner { run, .. } => MessageIds { run: Some(run), ..none },
            Self::Fetch { repository, commit, .. } => {
                MessageIds { project: repository.project(), commit: Some(commit), ..none }
            }
            Self::Status { project, commit, .. } => {
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

fn json(want: &impl serde::Serialize) -> String {
    serde_json::to_string(want).unwrap_or_default()
}
