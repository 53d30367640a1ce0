//! The scheduler: the only writer of runs. It decides what runs, when, and what comes next.
//!
//! Messages of a project (`proj:`) decide: they read GitLab and send each touched stack a trigger.
//! Messages of a stack (`stack:`) move that stack's runs, one at a time. Messages of the room
//! (`room`) give runners to runs. The sweep finds what no message brought forward.

mod builds;
mod commands;
mod comparing;
mod decide;
mod dispatch;
mod due;
mod effects;
mod facts;
mod hooks;
mod moves;
mod paths;
mod reach;
mod reports;
mod sources;
mod suites;
mod sweep;
mod triggers;
mod turns;

pub use builds::{Starter, told};
pub use reach::RunnerApi;

use gantry_domain::stack::Roles;
use gantry_gitlab::{Client, Connection, Error as GitlabError};
use gantry_queue::{Context, Failure, Handler, Message, Sender};
use gantry_secrets::Signer;
use gantry_setup::{Clock, Environment, environment::EnvironmentError};
use gantry_store::{Store, health::Outage};
use jiff::{SignedDuration, Timestamp};
use std::{sync::Arc, time::Duration};

/// What the scheduler works with.
#[derive(Clone)]
pub struct Deps {
    /// The records.
    pub store: Store,
    /// The queues.
    pub sender: Sender,
    /// GitLab, read only.
    pub gitlab: Arc<Connection>,
    /// Signs claim tokens.
    pub signer: Signer,
    /// The time.
    pub clock: Clock,
    /// The numbers that an operator may turn.
    pub limits: Limits,
    /// The cloud roles of runs whose stack names none; none where runners have no roles.
    pub roles: Option<Roles>,
    /// Where runners send their signs of life.
    pub runner_api: RunnerApi,
}

/// Numbers that an operator may turn.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How many runners at once.
    pub room: u32,
    /// How often a sweep comes by.
    pub sweep_every: SignedDuration,
    /// How often a project is compared with GitLab.
    pub compare_every: SignedDuration,
    /// How often while no webhook of the project was ever seen.
    pub compare_unseen_every: SignedDuration,
    /// How many calls of GitLab a minute may be made that nobody waits for: comparisons, and repeats
    /// of what GitLab refused.
    pub compare_calls: u32,
    /// Everything is compared anew that was not compared since: when a machine was started that
    /// GitLab could not call before.
    pub compare_anew_since: Timestamp,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            room: 10,
            sweep_every: SignedDuration::from_mins(1),
            compare_every: SignedDuration::from_mins(10),
            compare_unseen_every: SignedDuration::from_mins(10),
            compare_calls: 60,
            compare_anew_since: Timestamp::UNIX_EPOCH,
        }
    }
}

impl Limits {
    /// What `GANTRY_RUNNERS`, `GANTRY_COMPARE_EVERY` and `GANTRY_COMPARE_CALLS` set.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub fn from_environment(environment: Environment) -> Result<Self, EnvironmentError> {
        let usual = Self::default();
        let every =
            environment.parsed("GANTRY_COMPARE_EVERY", "a time span (10m)", usual.compare_every)?;
        let calls = "a number of calls a minute";
        Ok(Self {
            room: environment.parsed("GANTRY_RUNNERS", "a number of runs", usual.room)?,
            compare_every: every,
            compare_unseen_every: every,
            compare_calls: environment.parsed(
                "GANTRY_COMPARE_CALLS",
                calls,
                usual.compare_calls,
            )?,
            ..usual
        })
    }
}

/// The next try of what GitLab refused: it may be in trouble, or a person may give the right.
const REFUSED: Duration = Duration::from_secs(60);
/// How long a message waits so. What it was about is found by comparing then.
pub(crate) const REFUSALS_WAIT: SignedDuration = SignedDuration::from_hours(1);

/// Handles the messages of `events.fifo`.
#[derive(Clone)]
pub struct Scheduler {
    deps: Deps,
}

impl Scheduler {
    /// A scheduler.
    pub fn new(deps: Deps) -> Self {
        Self { deps }
    }
}

#[async_trait::async_trait]
impl Handler for Scheduler {
    async fn handle(&self, context: Context, message: Message) -> Result<(), Failure> {
        let sender = self.deps.sender.following(context.hops);
        let work = Work { deps: Deps { sender, ..self.deps.clone() } };
        let handled = work.handle(message).await;
        match handled {
            Err(failure) if work.waits_for_allowance(&failure, context.sent_at) => {
                Err(Failure { retry_after: Some(REFUSED), ..failure })
            }
            handled => handled,
        }
    }
}

/// The handling of one message. Everything it sends counts as following that message.
pub(crate) struct Work {
    pub(crate) deps: Deps,
}

impl Work {
    async fn handle(&self, message: Message) -> Result<(), Failure> {
        match message {
            Message::Hook { event, received_at, source, hook } => {
                self.on_hook(event, received_at, source, hook).await
            }
            Message::Compare { project, .. } => self.on_compare(project).await,
            Message::StackChanged { project, stack, .. } => {
                self.on_stack_changed(project, &stack).await
            }
            Message::Trigger { stack, event, trigger } => {
                self.on_trigger(&stack, Some(&event), trigger).await.map(|_| ())
            }
            Message::Unwant { run, want, because, .. } => {
                self.on_unwant(&run, &want, &because).await
            }
            Message::Command { stack, request, actor, command } => {
                self.on_command(&stack, &request, &actor, command).await
            }
            Message::Report { run, attempt, report, .. } => {
                self.on_report(&run, attempt, report).await
            }
            Message::NotStarted { run, attempt, why, words, .. } => {
                self.on_not_started(&run, attempt, why, &words).await
            }
            Message::Packaged { run, packed, .. } => self.on_packaged(&run, packed).await,
            Message::Fetched { run, is_there, .. } => self.on_fetched(&run, is_there).await,
            Message::Grant { run, .. } => self.on_grant(&run).await,
            Message::RunDue { run, .. } => self.on_run_due(&run).await,
            Message::StackDue { stack, .. } => self.on_stack_due(&stack).await,
            Message::Dispatch { .. } => self.on_dispatch().await,
            Message::Sweep { .. } => self.on_sweep().await,
            other => {
                tracing::error!(kind = other.kind(), "a message that is not the scheduler's");
                Ok(())
            }
        }
    }

    pub(crate) fn now(&self) -> jiff::Timestamp {
        self.deps.clock.now()
    }

    /// True while a message that came at `since` waits for GitLab to allow what it refused.
    pub(crate) fn waits_for_allowance(&self, failure: &Failure, since: Option<Timestamp>) -> bool {
        let is_new = since.is_some_and(|at| self.now().duration_since(at) < REFUSALS_WAIT);
        is_new && refusal(failure).is_some()
    }

    /// Writes down that GitLab does not work for us, if that is what went wrong.
    pub(crate) async fn note_outage(&self, failure: &Failure) -> Result<(), Failure> {
        match failure.error.downcast_ref().and_then(GitlabError::outage) {
            Some(outage) => self.note_health(Some(outage)).await,
            None => Ok(()),
        }
    }

    pub(crate) async fn note_health(&self, outage: Option<Outage>) -> Result<(), Failure> {
        Ok(self.deps.store.note_health("scheduler", outage, self.now()).await?)
    }

    /// The client for GitLab, or a wait: events are not lost while GitLab is not set up.
    pub(crate) async fn gitlab(&self) -> Result<Arc<Client>, Failure> {
        match self.deps.gitlab.current().await {
            Ok(client) => Ok(client),
            Err(error) => Err(Failure::wait(error, Duration::from_secs(30))),
        }
    }
}

/// What GitLab refused, if that is why.
pub(crate) fn refusal(failure: &Failure) -> Option<&GitlabError> {
    failure.error.downcast_ref::<GitlabError>().filter(|error| error.is_refusal())
}

/// Trouble at GitLab is no fault of the message: it waits. Everything else counts against it.
pub(crate) fn gitlab_failure(error: GitlabError) -> Failure {
    let wait = match &error {
        GitlabError::RateLimited { retry_after } => *retry_after,
        GitlabError::Unavailable { retry_after, .. } => {
            retry_after.unwrap_or(Duration::from_secs(10))
        }
        GitlabError::TokenRejected { .. } => Duration::from_secs(60),
        GitlabError::Conflict { .. } => Duration::from_secs(2),
        _ => return Failure::from(error),
    };
    Failure::wait(error, wait)
}
